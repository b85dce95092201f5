//! A tenant's figures over a stretch of time, computed from its rows.
//!
//! The totals count requests as the client saw them. By provider and by model each upstream call counts where it went, so that a call
//! that failed and was made good elsewhere stays with whoever failed it; a request without a call (from the cache) counts with whoever
//! had given the answer. So costs and tokens of the parts add up to those of the whole. Of a call for a tenant's second policy cost and
//! tokens alone count: it is no request of a client's.

use std::collections::BTreeMap;

use aipipe_actors::identity::{ModelId, ProviderId, TenantId};
use aipipe_actors::ledger::{Attempt, CacheUse, Outcome};
use aipipe_actors::money::{NanoUsd, Tokens};
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Serialize;

use super::requests::{tokens, usd};
use super::sqlite::value::{RowExt, nanos};
use super::{Reader, StoreError, repricing};

/// A tenant's figures, in the shape of the admin API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantStats {
    /// Whose.
    pub tenant: TenantId,
    /// From this instant.
    pub since: Timestamp,
    /// Before this instant.
    pub until: Timestamp,
    /// All requests.
    #[serde(flatten)]
    pub total: Totals,
    /// By provider.
    pub providers: BTreeMap<ProviderId, Totals>,
    /// By model.
    pub models: BTreeMap<ModelId, Totals>,
}

/// Figures of some requests.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Totals {
    /// Requests that have ended, those answered from the cache included; of a provider or model, its calls and the answers of its that
    /// came from the cache.
    pub requests: u64,
    /// Those that failed or broke off.
    pub errors: u64,
    /// Those answered from the cache.
    pub cache_hits: u64,
    /// Those left open by a process that died, whose cost is an upper bound.
    pub unsettled: u64,
    /// What they cost.
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    pub cost: NanoUsd,
    /// What the baseline model would have cost beyond that.
    #[serde(rename = "saved_usd", serialize_with = "usd")]
    pub saved: NanoUsd,
    /// What they used.
    pub tokens: TokenTotals,
    /// How long they took, in milliseconds.
    pub latency_ms: Percentiles,
    /// How long the first content took, in milliseconds.
    pub ttft_ms: Percentiles,
    /// Share of those that were answered whole among those that neither came from the cache nor were given up by the client.
    pub success_rate: Option<f64>,
}

/// Tokens by kind: `input` holds `cached_input`, `output` holds `reasoning`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TokenTotals {
    /// All input.
    pub input: u64,
    /// Of it, read from a provider's prompt cache.
    pub cached_input: u64,
    /// All output.
    pub output: u64,
    /// Of it, hidden reasoning.
    pub reasoning: u64,
}

/// Quantiles by nearest rank; absent where there is nothing to rank.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half are no larger.
    pub p50: Option<u64>,
    /// 95 in 100 are no larger.
    pub p95: Option<u64>,
    /// 99 in 100 are no larger.
    pub p99: Option<u64>,
}

impl Reader {
    /// A tenant's figures over the requests admitted from `since` on and before `until`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stats(
        &self,
        tenant: &TenantId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<TenantStats, StoreError> {
        let tenant = tenant.clone();
        self.scan(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT provider, model, outcome, cache, cost, saved, input_tokens, cached_input_tokens, cache_write_tokens, \
                 output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, latency_ms, ttft_ms, attempts, repriced, \
                 shadow_of IS NOT NULL AS is_shadow \
                 FROM requests WHERE tenant = ?1 AND at >= ?2 AND at < ?3 AND outcome <> 'reserved'",
            )?;
            let mut rows = statement.query(params![tenant.as_str(), nanos(since), nanos(until)])?;
            let mut figures = Figures::default();
            while let Some(row) = rows.next()? {
                figures.add(&Ended::read(row)?);
            }
            Ok(figures.into_stats(tenant, since, until))
        })
        .await
    }
}

/// What the figures take from a row.
#[derive(Debug, Clone)]
struct Ended {
    provider: ProviderId,
    model: ModelId,
    outcome: Outcome,
    cache: CacheUse,
    cost: NanoUsd,
    saved: NanoUsd,
    tokens: Tokens,
    latency_ms: Option<u64>,
    ttft_ms: Option<u64>,
    attempts: Vec<Attempt>,
    is_shadow: bool,
}

impl Ended {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            provider: row.name("provider", ProviderId::parse)?,
            model: row.name("model", ModelId::parse)?,
            outcome: row.outcome("outcome")?,
            cache: row.cache("cache")?,
            cost: NanoUsd(row.get("cost")?),
            saved: NanoUsd(row.get("saved")?),
            tokens: tokens(row)?,
            latency_ms: row.optional_count("latency_ms")?,
            ttft_ms: row.optional_count("ttft_ms")?,
            attempts: repricing::attempts(row)?,
            is_shadow: row.get("is_shadow")?,
        })
    }

    /// The request as a whole.
    fn whole(&self) -> Part {
        Part {
            outcome: self.outcome,
            cache: self.cache,
            cost: self.cost,
            tokens: self.tokens,
            latency_ms: self.latency_ms,
        }
    }
}

/// One thing to count: a request, or a call of it.
#[derive(Debug, Clone, Copy)]
struct Part {
    outcome: Outcome,
    cache: CacheUse,
    cost: NanoUsd,
    tokens: Tokens,
    latency_ms: Option<u64>,
}

impl From<&Attempt> for Part {
    fn from(attempt: &Attempt) -> Self {
        Self {
            outcome: attempt.outcome,
            cache: CacheUse::Off,
            cost: attempt.cost,
            tokens: attempt.tokens,
            latency_ms: Some(attempt.latency_ms),
        }
    }
}

#[derive(Debug, Default)]
struct Figures {
    total: Tally,
    providers: BTreeMap<ProviderId, Tally>,
    models: BTreeMap<ModelId, Tally>,
}

impl Figures {
    fn add(&mut self, request: &Ended) {
        if request.is_shadow {
            return self.add_shadow(request);
        }
        self.total.count(request.whole());
        self.total.answered(request);
        if request.attempts.is_empty() {
            self.of(&request.provider, &request.model, |tally| tally.count(request.whole()));
        }
        for attempt in &request.attempts {
            self.of(&attempt.provider, &attempt.model, |tally| tally.count(attempt.into()));
        }
        self.of(&request.provider, &request.model, |tally| tally.answered(request));
    }

    /// A call of a second policy's model is no request of a client's, but is paid.
    fn add_shadow(&mut self, request: &Ended) {
        self.total.pay(request.whole());
        self.total.totals.saved += request.saved;
        for attempt in &request.attempts {
            self.of(&attempt.provider, &attempt.model, |tally| tally.pay(attempt.into()));
        }
        self.of(&request.provider, &request.model, |tally| tally.totals.saved += request.saved);
    }

    fn of(&mut self, provider: &ProviderId, model: &ModelId, change: impl Fn(&mut Tally)) {
        change(self.providers.entry(provider.clone()).or_default());
        change(self.models.entry(model.clone()).or_default());
    }

    fn into_stats(self, tenant: TenantId, since: Timestamp, until: Timestamp) -> TenantStats {
        TenantStats {
            tenant,
            since,
            until,
            total: self.total.into_totals(),
            providers: self.providers.into_iter().map(|(name, tally)| (name, tally.into_totals())).collect(),
            models: self.models.into_iter().map(|(name, tally)| (name, tally.into_totals())).collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    totals: Totals,
    tokens: Tokens,
    succeeded: u64,
    latencies: Sample,
    ttfts: Sample,
}

impl Tally {
    fn count(&mut self, part: Part) {
        self.totals.requests += 1;
        self.pay(part);
        self.latencies.extend(part.latency_ms);
        if part.cache == CacheUse::Hit {
            self.totals.cache_hits += 1;
            return;
        }
        match part.outcome {
            Outcome::Ok => self.succeeded += 1,
            Outcome::Failed | Outcome::Truncated => self.totals.errors += 1,
            Outcome::Unsettled => self.totals.unsettled += 1,
            Outcome::Cancelled | Outcome::Reserved => {}
        }
    }

    fn pay(&mut self, part: Part) {
        self.totals.cost += part.cost;
        self.tokens += part.tokens;
    }

    /// Counts what belongs to whoever gave the answer.
    fn answered(&mut self, request: &Ended) {
        self.totals.saved += request.saved;
        self.ttfts.extend(request.ttft_ms);
    }

    fn into_totals(self) -> Totals {
        let judged = self.succeeded + self.totals.errors;
        Totals {
            tokens: TokenTotals {
                input: self.tokens.input,
                cached_input: self.tokens.cached_input,
                output: self.tokens.output,
                reasoning: self.tokens.reasoning,
            },
            latency_ms: self.latencies.percentiles(),
            ttft_ms: self.ttfts.percentiles(),
            success_rate: (judged > 0).then(|| self.succeeded as f64 / judged as f64),
            ..self.totals
        }
    }
}

/// Durations in milliseconds, all of them: four bytes each.
#[derive(Debug, Default)]
struct Sample(Vec<u32>);

impl Sample {
    fn extend(&mut self, value: Option<u64>) {
        self.0.extend(value.map(|value| u32::try_from(value).unwrap_or(u32::MAX)));
    }

    fn percentiles(mut self) -> Percentiles {
        self.0.sort_unstable();
        let rank = |percent: usize| {
            let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
            self.0.get(place).map(|value| u64::from(*value))
        };
        Percentiles { p50: rank(50), p95: rank(95), p99: rank(99) }
    }
}
