//! Conversations and models to test with.

use aipipe_actors::catalogue::{Capabilities, Capability, Model, ParameterLimits};
use aipipe_actors::identity::{ModelId, ProviderId};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialects::anthropic::Anthropic;
use crate::dialects::conversation::{Conversation, Part, Role, Tool, ToolCall, ToolResult, Turn};
use crate::dialects::translate::{EncodedRequest, UpstreamDialect as _};

/// A model that can do everything and takes every parameter but reasoning.
pub(super) fn model() -> Model {
    Model {
        provider: ProviderId::parse("anthropic").unwrap(),
        id: ModelId::parse("claude-test").unwrap(),
        aliases: Vec::new(),
        rates: None,
        quality: 0.5,
        auto: false,
        context_tokens: 200_000,
        max_output_tokens: 64_000,
        capabilities: Capability::ALL.into_iter().collect(),
        parameters: ParameterLimits::default(),
        token_ratio: 1.0,
        added: aipipe_actors::catalogue::AddedTokens::default(),
        retires_on: None,
    }
}

/// A model without structured output of its own.
pub(super) fn without_schemas() -> Model {
    Model { capabilities: all_but(Capability::JsonSchema), ..model() }
}

pub(super) fn without_prefill() -> Capabilities {
    all_but(Capability::Prefill)
}

fn all_but(missing: Capability) -> Capabilities {
    Capability::ALL.into_iter().filter(|&capability| capability != missing).collect()
}

pub(super) fn encoded(conversation: &Conversation, model: &Model) -> EncodedRequest {
    Anthropic.encode_request(conversation, model).unwrap()
}

/// The body and what was dropped.
pub(super) fn encode(conversation: &Conversation, model: &Model) -> (Value, Vec<String>) {
    let encoded = encoded(conversation, model);
    (serde_json::from_slice(&encoded.body).unwrap(), encoded.dropped)
}

/// The field that cannot be carried.
pub(super) fn refusal_of(conversation: &Conversation, model: &Model) -> String {
    Anthropic.encode_request(conversation, model).unwrap_err().field
}

pub(super) fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

pub(super) fn say(role: Role, text: &str) -> Turn {
    turn(role, vec![Part::Text(text.to_owned())])
}

/// A conversation of one user message.
pub(super) fn user(text: &str) -> Conversation {
    Conversation { turns: vec![say(Role::User, text)], ..Conversation::default() }
}

pub(super) fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

pub(super) fn result(call_id: &str, text: &str) -> Part {
    let parts = vec![Part::Text(text.to_owned())];
    Part::ToolResult(ToolResult { call_id: call_id.into(), name: "f".into(), parts, is_error: false })
}

pub(super) fn tool(name: &str, schema: Option<&str>) -> Tool {
    Tool { name: name.into(), description: None, schema: schema.map(raw), strict: None }
}

pub(super) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}
