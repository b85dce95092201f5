//! What `GET /admin/events` tells, as far as it is shown.

use jiff::Timestamp;
use serde::Deserialize;

/// What is known of the gateway.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Its address.
    pub(super) at: String,
    /// What it last told.
    pub(super) snapshot: Option<Snapshot>,
    /// Why it tells nothing more.
    pub(super) trouble: Option<String>,
}

/// One look at a gateway.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Snapshot {
    pub(super) overview: Overview,
    /// The latest requests, newest first; absent where the ledger cannot be read.
    pub(super) requests: Option<Vec<Request>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Overview {
    pub(super) well: bool,
    pub(super) conditions: Vec<Condition>,
    pub(super) version: String,
    pub(super) uptime_seconds: u64,
    pub(super) tenants: u64,
    pub(super) metrics: Metrics,
    pub(super) providers: Vec<Provider>,
    pub(super) actors: Actor,
    pub(super) actors_left_out: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Condition {
    pub(super) severity: String,
    pub(super) subject: String,
    pub(super) what: String,
    pub(super) since: Option<Timestamp>,
    pub(super) doing: String,
    pub(super) advice: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metrics {
    pub(super) total: Aggregate,
    pub(super) requests_under_way: u64,
    /// By name.
    pub(super) providers: std::collections::BTreeMap<String, Aggregate>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Aggregate {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Empty where nothing was spent.
    pub(super) cost_usd: String,
    pub(super) latency_ms: Percentiles,
    pub(super) ttft_ms: Percentiles,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Percentiles {
    pub(super) p50: u64,
    pub(super) p95: u64,
    pub(super) samples: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Provider {
    pub(super) name: String,
    /// Absent where the provider is switched off.
    pub(super) circuit: Option<String>,
    #[serde(default)]
    pub(super) in_flight: u64,
    #[serde(default)]
    pub(super) queue_depth: u64,
    /// Absent where the provider is switched off.
    pub(super) reach: Option<Calls>,
}

/// Calls of a provider since it started.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Calls {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) failures_last_minute: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) restarts: u64,
    pub(super) mailbox: u64,
    #[serde(default)]
    pub(super) children: Vec<Actor>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Request {
    pub(super) tenant: String,
    pub(super) at: Timestamp,
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) outcome: String,
    pub(super) attempts: u64,
    pub(super) cost_usd: String,
    pub(super) latency_ms: Option<u64>,
    pub(super) cache: String,
}
