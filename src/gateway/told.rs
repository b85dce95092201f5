//! Who hears of a request's end: metrics, the aggregator, the log and the trace.

use std::time::Duration;

use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{CacheUse, Closing};
use aipipe_actors::metrics::Completed;

use super::Gateway;
use crate::telemetry::traces::RequestSpan;
use crate::telemetry::{Ended, Ending};

/// A request that has ended.
pub(super) struct End<'a> {
    /// Its last record.
    pub(super) closing: &'a Closing,
    /// The complexity that the choice was made with.
    pub(super) complexity: f64,
    /// What the cache had to do with it.
    pub(super) cache: CacheUse,
    /// From its arrival to its end.
    pub(super) latency: Duration,
    /// From its arrival to the first content.
    pub(super) ttft: Option<Duration>,
    /// The client's request that it repeats for a second policy, where it does.
    pub(super) shadow_of: Option<RequestId>,
}

/// Tells of it.
pub(super) fn tell(gateway: &Gateway, end: &End<'_>, span: Option<&RequestSpan>) {
    let End { closing, complexity, cache, latency, ttft, shadow_of } = *end;
    let ended = Ended {
        tenant: &closing.tenant,
        provider: &closing.provider,
        model: &closing.model,
        ending: Ending::from(closing.outcome),
        latency,
        ttft,
        tokens: closing.tokens,
        cost: closing.cost,
        saved: closing.saved,
    };
    match shadow_of {
        Some(_) => gateway.meters.paid(&ended),
        None => {
            gateway.meters.cache(cache);
            gateway.meters.ended(&ended);
        }
    }
    let completed = Completed {
        provider: closing.provider.clone(),
        model: closing.model.clone(),
        outcome: shadow_of.is_none().then_some(closing.outcome),
        latency,
        ttft,
        tokens: closing.tokens,
        cost: closing.cost,
    };
    if gateway.aggregator.address.cast(completed).is_err() {
        tracing::debug!("the metrics aggregator is too busy to hear of a request's end");
    }
    tracing::info!(
        request_id = %closing.request_id,
        tenant = closing.tenant.as_str(),
        provider = closing.provider.as_str(),
        model = closing.model.as_str(),
        outcome = closing.outcome.as_str(),
        cache = cache.as_str(),
        attempts = closing.attempts.len(),
        input_tokens = closing.tokens.input,
        output_tokens = closing.tokens.output,
        cost_usd = %closing.cost,
        shadow_of = shadow_of.map(tracing::field::display),
        latency_ms = closing.latency_ms,
        ttft_ms = closing.ttft_ms,
        "request"
    );
    if let Some(span) = span {
        span.settled(closing, complexity, cache);
    }
}
