//! The global metrics aggregator: percentiles, cost and tokens per provider and model.
//!
//! The actor owns HDR histograms (two significant digits, one millisecond to one hour), so that memory is constant per model. It publishes
//! a summary each second. A crash loses the histograms since its last restart, and the summary says since when they count; counters that
//! must not reset stand outside, in the edges' registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::identity::{ModelId, ProviderId};
use crate::ledger::Outcome;
use crate::money::{NanoUsd, Tokens};
use crate::runtime::Behaviour;

const LOWEST_MS: u64 = 1;
const HIGHEST_MS: u64 = 3_600_000;
const SIGNIFICANT_DIGITS: u8 = 2;

/// A request that has ended.
#[derive(Debug, Clone)]
pub struct Completed {
    /// Who answered, or was asked last.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// How it ended; `None` of a call beside the clients' requests, of which cost and tokens alone count.
    pub outcome: Option<Outcome>,
    /// From the request's arrival to its end.
    pub latency: Duration,
    /// From the request's arrival to the first content.
    pub ttft: Option<Duration>,
    /// What it used.
    pub tokens: Tokens,
    /// What it cost.
    pub cost: NanoUsd,
}

/// Percentiles in milliseconds, with the number of samples that they stand on.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// One in twenty is slower.
    pub p95: u64,
    /// One in a hundred is slower.
    pub p99: u64,
    /// Samples.
    pub samples: u64,
}

/// What happened at one provider or with one model.
#[derive(Debug, Clone, Serialize)]
pub struct Aggregate {
    /// Requests ended.
    pub requests: u64,
    /// Of them, not answered whole.
    pub errors: u64,
    /// What they cost.
    pub cost_usd: String,
    /// What they used.
    pub tokens: Tokens,
    /// Latency of whole requests.
    pub latency_ms: Percentiles,
    /// Time to first token.
    pub ttft_ms: Percentiles,
    /// By model; empty for a model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Aggregate>,
}

/// Nothing.
impl Default for Aggregate {
    fn default() -> Self {
        Series::default().aggregate()
    }
}

/// What was last published.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Summary {
    /// Since when it counts: the aggregator's last start.
    pub since: Option<Timestamp>,
    /// Everything together.
    pub total: Aggregate,
    /// By provider, with its models.
    pub providers: BTreeMap<String, Aggregate>,
}

/// The aggregator: what outlives its actor.
pub struct Metrics {
    published: ArcSwap<Summary>,
    clock: Arc<dyn Clock>,
}

impl Metrics {
    /// An aggregator without samples.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { published: ArcSwap::default(), clock })
    }

    /// What was last published; at most a second old.
    pub fn summary(&self) -> Arc<Summary> {
        self.published.load_full()
    }
}

struct Series {
    requests: u64,
    errors: u64,
    cost: NanoUsd,
    tokens: Tokens,
    latency: Option<Histogram<u64>>,
    ttft: Option<Histogram<u64>>,
}

impl Default for Series {
    fn default() -> Self {
        // The bounds are constants that the histogram accepts; without one, counts go on without percentiles.
        let histogram = || Histogram::new_with_bounds(LOWEST_MS, HIGHEST_MS, SIGNIFICANT_DIGITS).ok();
        Self {
            requests: 0,
            errors: 0,
            cost: NanoUsd::ZERO,
            tokens: Tokens::default(),
            latency: histogram(),
            ttft: histogram(),
        }
    }
}

fn percentiles(histogram: Option<&Histogram<u64>>) -> Percentiles {
    histogram.map_or_else(Percentiles::default, |histogram| Percentiles {
        p50: histogram.value_at_quantile(0.50),
        p95: histogram.value_at_quantile(0.95),
        p99: histogram.value_at_quantile(0.99),
        samples: histogram.len(),
    })
}

impl Series {
    fn add(&mut self, completed: &Completed) {
        self.cost += completed.cost;
        self.tokens += completed.tokens;
        let Some(outcome) = completed.outcome else { return };
        self.requests += 1;
        self.errors += u64::from(outcome != Outcome::Ok);
        let record = |histogram: &mut Option<Histogram<u64>>, value: Duration| {
            if let Some(histogram) = histogram {
                histogram.saturating_record((value.as_millis() as u64).max(LOWEST_MS));
            }
        };
        record(&mut self.latency, completed.latency);
        if let Some(ttft) = completed.ttft {
            record(&mut self.ttft, ttft);
        }
    }

    fn aggregate(&self) -> Aggregate {
        Aggregate {
            requests: self.requests,
            errors: self.errors,
            cost_usd: self.cost.to_string(),
            tokens: self.tokens,
            latency_ms: percentiles(self.latency.as_ref()),
            ttft_ms: percentiles(self.ttft.as_ref()),
            models: BTreeMap::new(),
        }
    }
}

/// What one incarnation owns.
pub struct Incarnation {
    since: Timestamp,
    total: Series,
    providers: BTreeMap<ProviderId, (Series, BTreeMap<ModelId, Series>)>,
    dirty: bool,
}

impl Behaviour for Metrics {
    type Message = Completed;
    type State = Incarnation;

    fn kind(&self) -> &'static str {
        "metrics"
    }

    fn start(&self) -> Incarnation {
        Incarnation { since: self.clock.now(), total: Series::default(), providers: BTreeMap::new(), dirty: true }
    }

    fn handle(&self, state: &mut Incarnation, completed: Completed) {
        state.total.add(&completed);
        let (provider, models) = state.providers.entry(completed.provider.clone()).or_default();
        provider.add(&completed);
        models.entry(completed.model.clone()).or_default().add(&completed);
        state.dirty = true;
    }

    fn tick_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&self, state: &mut Incarnation) {
        if std::mem::take(&mut state.dirty) {
            self.published.store(Arc::new(summarise(state)));
        }
    }

    fn observe(&self, state: &Incarnation) -> Value {
        json!(summarise(state))
    }

    fn in_flight(&self) -> u64 {
        0
    }
}

fn summarise(state: &Incarnation) -> Summary {
    let providers = state.providers.iter().map(|(id, (series, models))| {
        let models = models.iter().map(|(id, series)| (id.to_string(), series.aggregate())).collect();
        (id.to_string(), Aggregate { models, ..series.aggregate() })
    });
    Summary { since: Some(state.since), total: state.total.aggregate(), providers: providers.collect() }
}
