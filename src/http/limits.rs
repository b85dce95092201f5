//! What a tenant's limits by the minute still allow, in the headers from which the SDKs' users read it.
//!
//! OpenAI's names and durations (`x-ratelimit-remaining-requests`, `x-ratelimit-reset-tokens: 12s`;
//! <https://platform.openai.com/docs/guides/rate-limits>), Anthropic's names and instants at its own endpoint
//! (`anthropic-ratelimit-requests-reset: 2026-01-02T03:04:05Z`; <https://docs.claude.com/en/api/rate-limits>). A limit that the tenant
//! does not have is not told.

use aipipe_actors::routing::digest::ClientDialect;
use aipipe_actors::tenant::account::{Allowance, Room};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{Timestamp, Unit};

/// Adds the headers of one answer.
pub(super) fn tell(headers: &mut HeaderMap, dialect: ClientDialect, allowance: Allowance, now: Timestamp) {
    for (what, room) in [("requests", allowance.requests), ("tokens", allowance.tokens)] {
        let Some(Room { limit, remaining, reset }) = room else { continue };
        let (names, reset) = if dialect == ClientDialect::Messages {
            let at = now.checked_add(reset).and_then(|at| at.round(Unit::Second)).unwrap_or(Timestamp::MAX);
            (["limit", "remaining", "reset"].map(|kind| format!("anthropic-ratelimit-{what}-{kind}")), at.to_string())
        } else {
            (
                ["limit", "remaining", "reset"].map(|kind| format!("x-ratelimit-{kind}-{what}")),
                format!("{}s", reset.as_secs()),
            )
        };
        for (name, value) in names.into_iter().zip([limit.to_string(), remaining.to_string(), reset]) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }
}
