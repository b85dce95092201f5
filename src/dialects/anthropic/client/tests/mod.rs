//! What the client surface reads and writes, case by case, on small pieces of traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod decoding;
mod facts;
mod passing;
mod requests;
mod streams;

use aipipe_actors::catalogue::{Capability, Effort, Model, ParameterLimits, ReasoningControl};
use aipipe_actors::identity::{ModelId, ProviderId, RequestId};
use serde_json::{Value, json};

use super::Messages;
use crate::dialects::client::{Addressed, Chosen, ClientRequest, ClientSurface as _, Decoded, Frame, Target};
use crate::dialects::conversation::Opaque;
use crate::dialects::issued::Holdings;
use crate::dialects::translate::InvalidRequest;
use crate::providers::Profile;

/// A body with these members beside a plain question.
fn body(extra: &Value) -> String {
    let mut body = json!({"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body.to_string()
}

fn try_scan(text: &str) -> Result<Box<dyn ClientRequest + '_>, InvalidRequest> {
    Messages.scan(text.as_bytes(), &Addressed::default())
}

/// Scans such a body.
fn scanned(extra: &Value) -> Box<dyn ClientRequest> {
    try_scan(body(extra).leak()).unwrap()
}

fn decoded(extra: &Value) -> Decoded {
    scanned(extra).decode().unwrap()
}

/// Messages of the user and the assistant by turns, beginning with the user.
fn talk(contents: &[Value]) -> Value {
    let roles = ["user", "assistant"].into_iter().cycle();
    let messages: Value =
        roles.zip(contents).map(|(role, content)| json!({"role": role, "content": content})).collect();
    json!({"messages": messages})
}

fn model(reasoning: ReasoningControl, efforts: &[Effort]) -> Model {
    Model {
        provider: ProviderId::parse("anthropic").unwrap(),
        id: ModelId::parse("claude-test").unwrap(),
        aliases: Vec::new(),
        rates: None,
        quality: 0.5,
        auto: true,
        context_tokens: 200_000,
        max_output_tokens: 64_000,
        capabilities: Capability::ALL.into_iter().collect(),
        parameters: ParameterLimits { reasoning, efforts: efforts.to_vec(), ..ParameterLimits::default() },
        token_ratio: 1.0,
        added: aipipe_actors::catalogue::AddedTokens::default(),
        retires_on: None,
    }
}

/// The body for a provider of the same dialect, and what was left out.
fn passed(text: &str, model: &Model, chosen: Chosen) -> (String, Vec<String>) {
    let prepared = try_scan(text).unwrap().pass(&Target {
        model,
        chosen,
        profile: &Profile::ANTHROPIC,
        holdings: &Holdings::default(),
    });
    (String::from_utf8(prepared.body.to_vec()).unwrap(), prepared.dropped)
}

fn frame() -> Frame {
    Frame { request_id: RequestId::generate(), created: 0 }
}

fn opaque(origin: &str, kind: &'static str, data: &str) -> Opaque {
    Opaque { origin: origin.to_owned(), kind, data: data.to_owned() }
}
