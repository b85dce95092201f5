//! The metrics of one gateway and their text.
//!
//! The text is Prometheus text format 0.0.4 ([`CONTENT_TYPE`]), not OpenMetrics 1.0: every scraper and `promtool check metrics` reads it
//! without negotiation, and its `HELP` and `TYPE` lines carry a counter's whole name (`aipipe_requests_total`), where OpenMetrics would
//! put them under a name without `_total` that no query uses.
//!
//! Invariants:
//! - Labels are bounded. A model that [`LabelBounds`] does not know counts as `other`; a tenant is a label only where the operator says
//!   so, and then for every metric of a request: the number of series is multiplied by the number of tenants that are active.
//! - A series appears with the first request that needs it, with all its outcomes and kinds of tokens at zero: a catalogue of hundreds of
//!   models does not fill the text with zeros. From then on, counting a request allocates nothing.
//! - Counters never fall, and money is exact to the nano-dollar.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aipipe_actors::identity::{ModelId, ProviderId, TenantId};
use aipipe_actors::ledger::{CacheUse, Outcome};
use aipipe_actors::money::{NanoUsd, Tokens};
use arc_swap::ArcSwap;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::live::Live;
use super::names;
use super::usd::{Labels, UsdCounter, UsdFamily};

/// The content type of [`Meters::render`].
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// What stands for a provider or model that is not known.
const OTHER: &str = "other";
/// What stands for a provider and model that were never chosen, and for a tenant that is not known.
const NONE: &str = "none";
/// The outcome of what was turned away before a choice.
const REJECTED: &str = "rejected";

/// Whether a request's metrics say whose it was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum TenantLabel {
    /// They do not.
    #[default]
    Absent,
    /// They carry the label `tenant` (`metrics.tenant_label = true`).
    Present,
}

/// The label values that metrics may show.
#[derive(Debug, Default)]
pub struct LabelBounds {
    models: HashMap<ProviderId, HashSet<ModelId>>,
    tenant: TenantLabel,
}

impl LabelBounds {
    /// Bounds for these models of the catalogue.
    pub fn new(models: impl IntoIterator<Item = (ProviderId, ModelId)>, tenant: TenantLabel) -> Self {
        let mut known: HashMap<ProviderId, HashSet<ModelId>> = HashMap::new();
        for (provider, model) in models {
            known.entry(provider).or_default().insert(model);
        }
        Self { models: known, tenant }
    }

    /// The series of a request or call: reference counts, no text.
    fn key(&self, tenant: &TenantId, provider: &ProviderId, model: &ModelId) -> Key {
        let models = self.models.get(provider);
        Key {
            tenant: self.tenant(Some(tenant)),
            provider: models.is_some().then(|| provider.clone()),
            model: models.is_some_and(|models| models.contains(model)).then(|| model.clone()),
        }
    }

    /// The tenant as a label; `None` where there is no such label.
    fn tenant(&self, tenant: Option<&TenantId>) -> Option<TenantOrNone> {
        (self.tenant == TenantLabel::Present).then(|| tenant.cloned())
    }
}

/// A tenant, or `None` where the request named none that exists.
type TenantOrNone = Option<TenantId>;

/// Names a series; a provider or model that is `None` counts as `other`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Option<TenantOrNone>,
    provider: Option<ProviderId>,
    model: Option<ModelId>,
}

/// How a request that reached a choice ended, or one of its calls, as the label `outcome` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A whole answer was delivered.
    Ok,
    /// The client left before the end.
    Cancelled,
    /// The answer broke off after its first content.
    Truncated,
    /// No answer could be delivered.
    Failed,
}

impl Ending {
    const ALL: [Self; 4] = [Self::Ok, Self::Cancelled, Self::Truncated, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Truncated => "truncated",
            Self::Failed => "failed",
        }
    }

    /// Counts one in its place.
    fn count(self, counters: &[Counter; 4]) {
        if let Some((_, counter)) = Self::ALL.into_iter().zip(counters).find(|&(ending, _)| ending == self) {
            counter.inc();
        }
    }
}

/// A request that ends in a live process is never `reserved` or `unsettled`; should one be said to, no answer was delivered.
impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Truncated => Self::Truncated,
            Outcome::Failed | Outcome::Reserved | Outcome::Unsettled => Self::Failed,
        }
    }
}

/// A request for which a model was chosen, at its end.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Who answered, or was asked last.
    pub provider: &'a ProviderId,
    /// Which model.
    pub model: &'a ModelId,
    /// How it ended.
    pub ending: Ending,
    /// From the request's arrival to its end.
    pub latency: Duration,
    /// From the request's arrival to the first content of the answer.
    pub ttft: Option<Duration>,
    /// What all attempts used; nothing for an answer from the cache.
    pub tokens: Tokens,
    /// What all attempts cost.
    pub cost: NanoUsd,
    /// What the baseline model would have cost, minus `cost`.
    pub saved: NanoUsd,
}

/// The metrics of one gateway.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    families: Families,
    bounds: ArcSwap<LabelBounds>,
    series: RwLock<HashMap<Key, Series>>,
    rejected: RwLock<HashMap<Option<TenantOrNone>, Counter>>,
    overhead: Histogram,
    cache: CacheCounters,
    spans: SpanCounters,
    rescues: TwoWays,
    hedges: TwoWays,
    shadows: TwoWays,
}

impl Meters {
    /// Metrics at zero.
    pub fn new(labels: LabelBounds) -> Self {
        let mut registry = Registry::default();
        let families = Families::register(&mut registry);
        let overhead = Histogram::new(names::OVERHEAD_BUCKETS);
        names::OVERHEAD.register(&mut registry, overhead.clone());
        let cache = CacheCounters::register(&mut registry);
        let spans = SpanCounters::register(&mut registry);
        let rescues = TwoWays::register(&mut registry, &names::RESCUES, ["continued", "failed"]);
        let hedges = TwoWays::register(&mut registry, &names::HEDGES, ["first", "lost"]);
        let shadows = TwoWays::register(&mut registry, &names::SHADOWS, ["sent", "skipped"]);
        let meters = Self {
            registry,
            families,
            bounds: ArcSwap::from_pointee(LabelBounds::default()),
            series: RwLock::default(),
            rejected: RwLock::default(),
            overhead,
            cache,
            spans,
            rescues,
            hedges,
            shadows,
        };
        meters.rebind(labels);
        meters
    }

    /// Goes on with other bounds, as after a reload of the catalogue. Series that exist keep their counts.
    pub fn rebind(&self, labels: LabelBounds) {
        if labels.tenant == TenantLabel::Absent {
            // Their labels are known before the first request, so a scraper sees them at zero.
            self.families.saved.counter(Labels::new());
            let mut rejected = self.rejected.write().unwrap_or_else(PoisonError::into_inner);
            rejected.entry(None).or_insert_with(|| self.families.rejected(None));
        }
        self.bounds.store(Arc::new(labels));
    }

    /// Counts a request for which a model was chosen, at its end.
    pub fn ended(&self, ended: &Ended<'_>) {
        let key = self.bounds.load().key(ended.tenant, ended.provider, ended.model);
        self.at(key, |series| series.count(ended));
    }

    /// Counts what was used and paid beside the requests of clients.
    pub fn paid(&self, ended: &Ended<'_>) {
        let key = self.bounds.load().key(ended.tenant, ended.provider, ended.model);
        self.at(key, |series| series.pay(ended));
    }

    /// Counts a request that was to be sent to a second policy's model too.
    pub fn shadowed(&self, is_sent: bool) {
        self.shadows.count(is_sent);
    }

    /// Counts a call of a provider, at its end.
    pub fn attempted(&self, tenant: &TenantId, (provider, model): (&ProviderId, &ModelId), outcome: Outcome) {
        let key = self.bounds.load().key(tenant, provider, model);
        self.at(key, |series| series.attempted(outcome.into()));
    }

    fn at(&self, key: Key, count: impl FnOnce(&Series)) {
        if let Some(series) = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return count(series);
        }
        let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
        count(all.entry(key).or_insert_with_key(|key| self.families.series(key)));
    }

    /// Counts a request that was turned away before a choice; `tenant` is `None` where it named none that exists.
    pub fn rejected(&self, tenant: Option<&TenantId>) {
        let key = self.bounds.load().tenant(tenant);
        if let Some(counter) = self.rejected.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            counter.inc();
            return;
        }
        let mut all = self.rejected.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(key).or_insert_with_key(|key| self.families.rejected(key.as_ref())).inc();
    }

    /// Counts the gateway's own time from a request's arrival to its dispatch.
    pub fn overhead(&self, time: Duration) {
        self.overhead.observe(time.as_secs_f64());
    }

    /// Counts what the cache had to do with a request.
    pub fn cache(&self, result: CacheUse) {
        match result {
            CacheUse::Hit => self.cache.hit.inc(),
            CacheUse::Miss => self.cache.miss.inc(),
            CacheUse::Off => self.cache.off.inc(),
        };
    }

    /// What becomes of the spans of traces is counted here.
    pub(super) fn spans(&self) -> SpanCounters {
        self.spans.clone()
    }

    /// Counts a stream that broke after its first content and was to be continued.
    pub fn rescued(&self, is_continued: bool) {
        self.rescues.count(is_continued);
    }

    /// Counts a second call beside one that was slow to begin, when one of the two has begun or failed.
    pub fn hedged(&self, came_first: bool) {
        self.hedges.count(came_first);
    }

    /// The text for a scraper, of type [`CONTENT_TYPE`].
    pub fn render(&self, live: &Live<'_>) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a `String` cannot fail, and no encoder of ours does.
        let written = prometheus_text::encode(&mut text, &self.registry)
            .and_then(|()| self.families.cost.write(&mut text, &names::COST))
            .and_then(|()| self.families.saved.write(&mut text, &names::SAVED))
            .and_then(|()| prometheus_text::encode(&mut text, &live.registry()));
        debug_assert!(written.is_ok());
        text
    }
}

/// The metrics that have labels.
#[derive(Debug)]
struct Families {
    requests: Family<Labels, Counter>,
    attempts: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
    ttft: Family<Labels, Histogram, fn() -> Histogram>,
    tokens: Family<Labels, Counter>,
    cost: UsdFamily,
    saved: UsdFamily,
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let histograms =
            || Family::new_with_constructor((|| Histogram::new(names::LATENCY_BUCKETS)) as fn() -> Histogram);
        let families = Self {
            requests: Family::default(),
            attempts: Family::default(),
            duration: histograms(),
            ttft: histograms(),
            tokens: Family::default(),
            cost: UsdFamily::default(),
            saved: UsdFamily::default(),
        };
        names::REQUESTS.register(registry, families.requests.clone());
        names::ATTEMPTS.register(registry, families.attempts.clone());
        names::REQUEST_DURATION.register(registry, families.duration.clone());
        names::TIME_TO_FIRST_TOKEN.register(registry, families.ttft.clone());
        names::TOKENS.register(registry, families.tokens.clone());
        families
    }

    /// The handles of a series, at zero.
    fn series(&self, key: &Key) -> Series {
        let tenant = tenant_label(key.tenant.as_ref());
        let provider = key.provider.as_ref().map_or(OTHER, ProviderId::as_str);
        let model = key.model.as_ref().map_or(OTHER, ModelId::as_str);
        let labels = target_labels(&tenant, provider, model);
        let with = |name, value: &str| [labels.clone(), vec![(name, value.to_owned())]].concat();
        Series {
            requests: Ending::ALL.map(|ending| self.requests.get_or_create_owned(&with("outcome", ending.label()))),
            attempts: Ending::ALL.map(|ending| self.attempts.get_or_create_owned(&with("outcome", ending.label()))),
            duration: self.duration.get_or_create_owned(&labels),
            ttft: self.ttft.get_or_create_owned(&labels),
            tokens: TOKEN_KINDS.map(|kind| self.tokens.get_or_create_owned(&with("kind", kind))),
            cost: self.cost.counter(labels.clone()),
            saved: self.saved.counter(tenant),
        }
    }

    /// The counter of what is rejected before a choice.
    fn rejected(&self, tenant: Option<&TenantOrNone>) -> Counter {
        let mut labels = target_labels(&tenant_label(tenant), NONE, NONE);
        labels.push(("outcome", REJECTED.to_owned()));
        self.requests.get_or_create_owned(&labels)
    }
}

fn tenant_label(tenant: Option<&TenantOrNone>) -> Labels {
    let text = |tenant: &TenantOrNone| tenant.as_ref().map_or(NONE, TenantId::as_str).to_owned();
    tenant.map(|tenant| ("tenant", text(tenant))).into_iter().collect()
}

fn target_labels(tenant: &Labels, provider: &str, model: &str) -> Labels {
    [tenant.clone(), vec![("provider", provider.to_owned()), ("model", model.to_owned())]].concat()
}

/// The kinds of tokens, as the label `kind` says them.
const TOKEN_KINDS: [&str; 5] = ["input", "cached_input", "cache_write", "output", "reasoning"];

/// Their numbers, in the order of [`TOKEN_KINDS`].
fn by_kind(tokens: &Tokens) -> [u64; 5] {
    [tokens.input, tokens.cached_input, tokens.cache_write, tokens.output, tokens.reasoning]
}

/// The handles that a request's end counts on.
#[derive(Debug)]
struct Series {
    /// In the order of [`Ending::ALL`].
    requests: [Counter; 4],
    /// In the order of [`Ending::ALL`].
    attempts: [Counter; 4],
    duration: Histogram,
    ttft: Histogram,
    /// In the order of [`TOKEN_KINDS`].
    tokens: [Counter; 5],
    cost: Arc<UsdCounter>,
    saved: Arc<UsdCounter>,
}

impl Series {
    fn count(&self, ended: &Ended<'_>) {
        ended.ending.count(&self.requests);
        self.duration.observe(ended.latency.as_secs_f64());
        if let Some(ttft) = ended.ttft {
            self.ttft.observe(ttft.as_secs_f64());
        }
        self.pay(ended);
    }

    fn pay(&self, ended: &Ended<'_>) {
        for (count, counter) in by_kind(&ended.tokens).into_iter().zip(&self.tokens) {
            counter.inc_by(count);
        }
        self.cost.add(ended.cost);
        self.saved.add(ended.saved);
    }

    fn attempted(&self, ending: Ending) {
        ending.count(&self.attempts);
    }
}

/// What ends in one of two ways, as the label `result` says it.
#[derive(Debug)]
struct TwoWays {
    yes: Counter,
    no: Counter,
}

impl TwoWays {
    fn register(registry: &mut Registry, name: &names::Name, [yes, no]: [&str; 2]) -> Self {
        let family: Family<Labels, Counter> = Family::default();
        name.register(registry, family.clone());
        let counter = |result: &str| family.get_or_create_owned(&vec![("result", result.to_owned())]);
        Self { yes: counter(yes), no: counter(no) }
    }

    fn count(&self, is_yes: bool) {
        if is_yes {
            self.yes.inc()
        } else {
            self.no.inc()
        };
    }
}

#[derive(Debug)]
struct CacheCounters {
    hit: Counter,
    miss: Counter,
    off: Counter,
}

impl CacheCounters {
    fn register(registry: &mut Registry) -> Self {
        let family: Family<Labels, Counter> = Family::default();
        names::CACHE_REQUESTS.register(registry, family.clone());
        let counter = |result: CacheUse| family.get_or_create_owned(&vec![("result", result.as_str().to_owned())]);
        Self { hit: counter(CacheUse::Hit), miss: counter(CacheUse::Miss), off: counter(CacheUse::Off) }
    }
}

/// What became of the spans of traces.
#[derive(Debug, Clone)]
pub(super) struct SpanCounters {
    /// The collector has them.
    pub(super) exported: Counter,
    /// The queue was full, or the collector did not take them.
    pub(super) dropped: Counter,
}

impl SpanCounters {
    fn register(registry: &mut Registry) -> Self {
        let family: Family<Labels, Counter> = Family::default();
        names::SPANS.register(registry, family.clone());
        let counter = |result: &str| family.get_or_create_owned(&vec![("result", result.to_owned())]);
        Self { exported: counter("exported"), dropped: counter("dropped") }
    }
}

#[cfg(test)]
mod tests;
