#![allow(clippy::unwrap_used)]

//! Records for the store's tests.

use aipipe_actors::identity::{ModelId, ProviderId, RequestId, TenantId};
use aipipe_actors::ledger::{Attempt, CacheUse, Closing, Opening, Outcome, Raise};
use aipipe_actors::money::{NanoUsd, Rate, Rates, Tokens};
use jiff::Timestamp;
use serde_json::value::RawValue;

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(super) fn provider(name: &str) -> ProviderId {
    ProviderId::parse(name).unwrap()
}

pub(super) fn model(name: &str) -> ModelId {
    ModelId::parse(name).unwrap()
}

pub(super) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn id(number: u128) -> RequestId {
    RequestId::from_bytes(number.to_be_bytes())
}

pub(super) fn rates() -> Rates {
    Rates { input: Rate(150_000_000), output: Rate(600_000_000), ..Rates::default() }
}

pub(super) fn opening(number: u128) -> Opening {
    Opening {
        request_id: id(number),
        tenant: tenant("acme"),
        at: instant("2026-03-31T23:30:00Z"),
        dialect: "chat".into(),
        requested: "auto".into(),
        complexity: 0.412,
        provider: provider("openai"),
        model: model("gpt-4o-mini"),
        rates: rates(),
        reserved: NanoUsd(9_000),
        cache: CacheUse::Miss,
        tags: vec!["nightly".into()],
        decision: RawValue::NULL.to_owned().into(),
        shadow_of: None,
    }
}

pub(super) fn raise(number: u128, reserved: i64) -> Raise {
    Raise {
        request_id: id(number),
        tenant: tenant("acme"),
        provider: provider("xai"),
        model: model("grok-4"),
        reserved: NanoUsd(reserved),
    }
}

pub(super) fn attempt(outcome: Outcome, cost: i64) -> Attempt {
    Attempt {
        provider: provider("openai"),
        model: model("gpt-4o-mini"),
        outcome,
        status: Some(200),
        latency_ms: 700,
        tokens: Tokens {
            input: 100,
            cached_input: 40,
            output: 20,
            audio_input: 30,
            audio_output: 5,
            ..Tokens::default()
        },
        estimated: false,
        rates: rates(),
        cost: NanoUsd(cost),
        fault: None,
        role: None,
    }
}

pub(super) fn closing(number: u128, cost: i64) -> Closing {
    let attempt = attempt(Outcome::Ok, cost);
    Closing {
        request_id: id(number),
        tenant: tenant("acme"),
        at: instant("2026-04-01T00:10:00Z"),
        outcome: Outcome::Ok,
        provider: attempt.provider.clone(),
        model: attempt.model.clone(),
        tokens: attempt.tokens,
        estimated: false,
        cost: NanoUsd(cost),
        saved: NanoUsd(50),
        latency_ms: 720,
        ttft_ms: Some(310),
        attempts: vec![attempt],
    }
}
