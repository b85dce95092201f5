//! What the operator watches: the latest requests at a glance, and money over time.

use std::collections::BTreeMap;

use aipipe_actors::identity::{ModelId, ProviderId, RequestId, TenantId};
use aipipe_actors::ledger::{CacheUse, Outcome};
use aipipe_actors::money::NanoUsd;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};
use serde::Serialize;

use super::requests::usd;
use super::sqlite::value::{RowExt, nanos};
use super::{AdminScope, Reader, StoreError};

/// A ledger row without what is long: its attempts are counted, its decision is left out.
#[derive(Debug, Clone, Serialize)]
pub struct RequestLine {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub tenant: TenantId,
    /// When it was admitted.
    pub at: Timestamp,
    /// The client's dialect.
    pub dialect: String,
    /// The model that the client asked for.
    pub requested: String,
    /// Provider that answered, or of the last attempt.
    pub provider: ProviderId,
    /// Model that answered, or of the last attempt.
    pub model: ModelId,
    /// The complexity that the choice was made with.
    pub complexity: f64,
    /// How it ended; `reserved` while it is open.
    pub outcome: Outcome,
    /// Upstream calls.
    pub attempts: u64,
    /// What it cost.
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    pub cost: NanoUsd,
    /// From arrival to end, in milliseconds, where it has ended.
    pub latency_ms: Option<u64>,
    /// From arrival to the first content, in milliseconds, where there was any.
    pub ttft_ms: Option<u64>,
    /// What the cache had to do with it.
    pub cache: CacheUse,
}

impl RequestLine {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            request_id: RequestId::from_bytes(row.get("id")?),
            tenant: row.name("tenant", TenantId::parse)?,
            at: row.instant("at")?,
            dialect: row.get("dialect")?,
            requested: row.get("requested")?,
            provider: row.name("provider", ProviderId::parse)?,
            model: row.name("model", ModelId::parse)?,
            complexity: row.get("complexity")?,
            outcome: row.outcome("outcome")?,
            attempts: row.count("attempts")?,
            cost: NanoUsd(row.get("cost")?),
            latency_ms: row.optional_count("latency_ms")?,
            ttft_ms: row.optional_count("ttft_ms")?,
            cache: row.cache("cache")?,
        })
    }
}

/// What the parts of a series are named by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SeriesBy {
    /// Nothing: one series.
    #[default]
    All,
    /// Tenants.
    Tenant,
    /// Providers; a call counts where it went.
    Provider,
    /// Models; a call counts where it went.
    Model,
}

/// Which figures over time are asked for.
#[derive(Debug, Clone, Copy)]
pub struct SeriesQuery {
    /// From this instant on.
    pub since: Timestamp,
    /// Before this instant.
    pub until: Timestamp,
    /// Steps of equal length between them; 1 to [`SeriesQuery::MAX_STEPS`].
    pub steps: usize,
    /// What the parts are named by.
    pub by: SeriesBy,
}

impl SeriesQuery {
    /// The most steps.
    pub const MAX_STEPS: usize = 500;
    /// Series with a name of their own; what is less than theirs is one series together, named [`SeriesQuery::OTHER`].
    pub const MAX_NAMED: usize = 7;
    /// The name of all other series together.
    pub const OTHER: &'static str = "other";

    fn step(&self) -> i64 {
        let span = nanos(self.until).saturating_sub(nanos(self.since));
        let steps = i64::try_from(self.steps.clamp(1, Self::MAX_STEPS)).unwrap_or(1);
        // The last step may reach beyond the end, so that none is left over.
        (span / steps + i64::from(span % steps > 0)).max(1)
    }
}

/// Figures of some requests within a stretch of time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Requests that have ended, or calls by provider and model.
    pub requests: u64,
    /// Of them, failed or broken off.
    pub errors: u64,
    /// What they cost.
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    pub cost: NanoUsd,
    /// What the baseline model would have cost beyond that.
    #[serde(rename = "saved_usd", serialize_with = "usd")]
    pub saved: NanoUsd,
}

impl std::ops::AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.cost += other.cost;
        self.saved += other.saved;
    }
}

/// One named line of a plot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The tenant, provider or model; `all` where nothing parts them.
    pub name: String,
    /// The whole stretch.
    #[serde(flatten)]
    pub total: Flow,
    /// One a step, in order.
    pub points: Vec<Flow>,
}

/// Figures over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesSet {
    /// The beginning of the first step.
    pub since: Timestamp,
    /// The end of what was asked for.
    pub until: Timestamp,
    /// The length of a step.
    pub step_seconds: f64,
    /// Everything together.
    pub total: Flow,
    /// The parts, the most expensive first.
    pub series: Vec<Series>,
}

/// Requests as a whole. A call for a second policy costs, and is no request.
macro_rules! whole {
    ($name:literal) => {
        concat!(
            "SELECT at, ",
            $name,
            " AS name, outcome, shadow_of IS NULL AS requests, cost, saved FROM requests WHERE at >= ?1 AND at < ?2 AND outcome <> 'reserved'"
        )
    };
}

/// Calls where they went; what was saved belongs to whoever answered, and so does a request without a call.
macro_rules! calls {
    ($name:literal) => {
        concat!(
            "SELECT at, json_extract(call.value, '$.",
            $name,
            "') AS name, json_extract(call.value, '$.outcome') AS outcome, shadow_of IS NULL AS requests, ",
            "json_extract(call.value, '$.cost') AS cost, 0 AS saved ",
            "FROM requests, json_each(attempts) AS call WHERE at >= ?1 AND at < ?2 AND requests.outcome <> 'reserved' ",
            "UNION ALL SELECT at, ",
            $name,
            ", outcome, attempts = '[]' AND shadow_of IS NULL, iif(attempts = '[]', cost, 0), saved ",
            "FROM requests WHERE at >= ?1 AND at < ?2 AND outcome <> 'reserved'"
        )
    };
}

/// The rows of a stretch of time, `?1` to `?2`, in parts that each belong to one name.
fn parts(by: SeriesBy) -> &'static str {
    match by {
        SeriesBy::All => whole!("'all'"),
        SeriesBy::Tenant => whole!("tenant"),
        SeriesBy::Provider => calls!("provider"),
        SeriesBy::Model => calls!("model"),
    }
}

impl Reader {
    /// The latest requests, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest(&self, _: AdminScope, limit: usize) -> Result<Vec<RequestLine>, StoreError> {
        self.scan(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, tenant, at, dialect, requested, provider, model, complexity, outcome, \
                 json_array_length(attempts) AS attempts, cost, latency_ms, ttft_ms, cache \
                 FROM requests ORDER BY at DESC, seq DESC LIMIT ?1",
            )?;
            let lines = statement.query_map([limit as i64], RequestLine::read)?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Money and requests over time, in steps of equal length.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn series(&self, _: AdminScope, query: SeriesQuery) -> Result<SeriesSet, StoreError> {
        let step = query.step();
        let parts = parts(query.by);
        let flows = self
            .scan(move |connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT name, (at - ?1) / ?3 AS step, SUM(requests) AS requests, \
                     SUM(requests * (outcome IN ('failed', 'truncated'))) AS errors, SUM(cost) AS cost, SUM(saved) AS saved \
                     FROM ({parts}) GROUP BY name, step"
                ))?;
                let mut rows = statement.query(params![nanos(query.since), nanos(query.until), step])?;
                let mut flows = Vec::new();
                while let Some(row) = rows.next()? {
                    let flow = Flow {
                        requests: row.count("requests")?,
                        errors: row.count("errors")?,
                        cost: NanoUsd(row.get("cost")?),
                        saved: NanoUsd(row.get("saved")?),
                    };
                    flows.push((row.get::<_, String>("name")?, row.count("step")?, flow));
                }
                Ok(flows)
            })
            .await?;
        Ok(arranged(query, step, flows))
    }
}

/// The flows as series of the same length, the most expensive first, what is beyond the bound together.
fn arranged(query: SeriesQuery, step: i64, flows: Vec<(String, u64, Flow)>) -> SeriesSet {
    let steps = query.steps.clamp(1, SeriesQuery::MAX_STEPS);
    let mut total = Flow::default();
    let mut named: BTreeMap<String, Series> = BTreeMap::new();
    for (name, place, flow) in flows {
        total += flow;
        let series = named.entry(name).or_insert_with_key(|name| empty(name, steps));
        add(series, usize::try_from(place).unwrap_or(usize::MAX), flow);
    }
    let mut series: Vec<Series> = named.into_values().collect();
    series.sort_by_key(|series| (std::cmp::Reverse((series.total.cost, series.total.requests)), series.name.clone()));
    if series.len() > SeriesQuery::MAX_NAMED + 1 {
        let mut other = empty(SeriesQuery::OTHER, steps);
        for small in series.split_off(SeriesQuery::MAX_NAMED) {
            other.total += small.total;
            for (sum, flow) in other.points.iter_mut().zip(small.points) {
                *sum += flow;
            }
        }
        series.push(other);
    }
    let step_seconds = SignedDuration::from_nanos(step).as_secs_f64();
    SeriesSet { since: query.since, until: query.until, step_seconds, total, series }
}

fn empty(name: &str, steps: usize) -> Series {
    Series { name: name.to_owned(), total: Flow::default(), points: vec![Flow::default(); steps] }
}

fn add(series: &mut Series, place: usize, flow: Flow) {
    series.total += flow;
    if let Some(point) = series.points.get_mut(place) {
        *point += flow;
    }
}
