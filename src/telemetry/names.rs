//! The name, help text and buckets of every metric: the table behind the text that scrapers read.
//!
//! Names are part of the interface, so they are written here as they are exposed, once.

use prometheus_client::registry::{Metric, Registry};

/// A metric as a scraper sees it.
pub(super) struct Name {
    /// The name on the sample lines (of a histogram without `_bucket`, `_sum`, `_count`).
    pub(super) exposed: &'static str,
    /// What it says, without a full stop: the text format's writer adds one.
    pub(super) help: &'static str,
}

impl Name {
    const fn new(exposed: &'static str, help: &'static str) -> Self {
        Self { exposed, help }
    }

    /// Registers a metric under this name, without the suffix that the writer adds for a counter (`_total`) or an info (`_info`).
    pub(super) fn register(&self, registry: &mut Registry, metric: impl Metric) {
        let stem = self.exposed.strip_suffix("_total").or_else(|| self.exposed.strip_suffix("_info"));
        registry.register(stem.unwrap_or(self.exposed), self.help, metric);
    }
}

pub(super) const REQUESTS: Name = Name::new("aipipe_requests_total", "Requests ended, by outcome");
pub(super) const ATTEMPTS: Name = Name::new(
    "aipipe_attempts_total",
    "Calls of providers ended, by outcome; what failed over is a failed attempt of a request that may have ended well",
);
pub(super) const REQUEST_DURATION: Name =
    Name::new("aipipe_request_duration_seconds", "From a request's arrival to its end; without what was rejected");
pub(super) const TIME_TO_FIRST_TOKEN: Name = Name::new(
    "aipipe_time_to_first_token_seconds",
    "From a request's arrival to the first content of its answer, where it had any",
);
pub(super) const OVERHEAD: Name =
    Name::new("aipipe_overhead_seconds", "The gateway's own time from a request's arrival to its dispatch");
pub(super) const TOKENS: Name =
    Name::new("aipipe_tokens_total", "Tokens used; input holds cached_input and cache_write, output holds reasoning");
pub(super) const COST: Name = Name::new("aipipe_cost_usd_total", "Cost of all attempts in USD, exact");
pub(super) const SAVED: Name = Name::new(
    "aipipe_saved_usd_total",
    "Cost at the baseline model minus cost, in USD, exact: the highest that the sum has reached",
);
pub(super) const QUEUE_DEPTH: Name = Name::new("aipipe_provider_queue_depth", "Requests waiting for a place");
pub(super) const IN_FLIGHT: Name = Name::new("aipipe_provider_in_flight", "Calls in flight");
pub(super) const CIRCUIT_STATE: Name =
    Name::new("aipipe_provider_circuit_state", "The worst circuit of the provider: 0 closed, 1 half open, 2 open");
pub(super) const CACHE_REQUESTS: Name =
    Name::new("aipipe_cache_requests_total", "Requests by what the cache had to do with them");
pub(super) const SPANS: Name =
    Name::new("aipipe_spans_total", "Spans of traces, by whether the collector has them or they were dropped");
pub(super) const RESCUES: Name = Name::new(
    "aipipe_rescues_total",
    "Streams that broke after their first content and were to be continued, by whether another model did",
);
pub(super) const HEDGES: Name = Name::new(
    "aipipe_hedges_total",
    "Second calls beside one that was slow to begin, by whether their content came first",
);
pub(super) const SHADOWS: Name = Name::new(
    "aipipe_shadow_calls_total",
    "Requests that were to be sent to the model of a tenant's second policy too, by whether they were",
);
pub(super) const ACTOR_RESTARTS: Name =
    Name::new("aipipe_actor_restarts_total", "Restarts of actors; all tenants' actors together");
pub(super) const MAILBOX_DEPTH: Name =
    Name::new("aipipe_actor_mailbox_depth", "Messages waiting for an actor; all tenants' actors together");
pub(super) const LEDGER_UNSETTLED: Name =
    Name::new("aipipe_ledger_unsettled", "Requests that were open when a process died, counted at their reservation");
pub(super) const BUILD_INFO: Name = Name::new("aipipe_build_info", "The running program");

/// Upper bounds in seconds for whole requests and first tokens: from a cache hit to the longest reasoning.
pub(super) const LATENCY_BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Upper bounds in seconds for the gateway's own time, 10 µs to 100 ms.
pub(super) const OVERHEAD_BUCKETS: [f64; 13] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1];
