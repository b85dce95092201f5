//! Chat Completions as a provider's dialect. A number such as `d33` names a case of dialect translation that the test proves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod requests;
mod round_trip;
mod settings;
mod streams;

use aipipe_actors::catalogue::{Capability, Effort, Model, ParameterLimits, ReasoningControl};
use aipipe_actors::identity::{ModelId, ProviderId};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialects::conversation::{Conversation, Part, Role, Tool, ToolCall, ToolResult, Turn};
use crate::dialects::openai_chat::ChatUpstream;
use crate::dialects::translate::{EncodedRequest, UpstreamDialect as _};
use crate::providers::{Profile, built_in};

/// A model that can do everything, at one of the built-in providers.
fn model(provider: &str) -> Model {
    Model {
        provider: ProviderId::parse(provider).unwrap(),
        id: ModelId::parse("m").unwrap(),
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

/// The same, with these levels of effort.
fn thinking(provider: &str, efforts: &[Effort]) -> Model {
    let reasoning = if efforts.is_empty() { ReasoningControl::None } else { ReasoningControl::Level };
    Model {
        parameters: ParameterLimits { reasoning, efforts: efforts.to_vec(), ..ParameterLimits::default() },
        ..model(provider)
    }
}

/// The same, without these parameters.
fn refusing(provider: &str, names: &[&str]) -> Model {
    let refuses = names.iter().map(|&name| name.to_owned()).collect();
    Model { parameters: ParameterLimits { refuses, ..ParameterLimits::default() }, ..model(provider) }
}

fn upstream(provider: &str) -> ChatUpstream {
    ChatUpstream::new(built_in(provider).map_or(Profile::OPENAI, |row| row.profile))
}

fn encoded(conversation: &Conversation, model: &Model) -> EncodedRequest {
    upstream(model.provider.as_str()).encode_request(conversation, model).unwrap()
}

/// The body, and what was dropped.
fn encode(conversation: &Conversation, model: &Model) -> (Value, Vec<String>) {
    let encoded = encoded(conversation, model);
    (serde_json::from_slice(&encoded.body).unwrap(), encoded.dropped)
}

/// The field that cannot be carried.
fn refusal_of(conversation: &Conversation, model: &Model) -> String {
    upstream(model.provider.as_str()).encode_request(conversation, model).unwrap_err().field
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), signature: None })
}

fn result(call_id: &str, name: &str, parts: Vec<Part>) -> Part {
    Part::ToolResult(ToolResult { call_id: call_id.into(), name: name.into(), parts, is_error: false })
}

fn tool(name: &str) -> Tool {
    Tool { name: name.to_owned(), description: None, schema: Some(raw(r#"{"type":"object"}"#)), strict: None }
}

/// A conversation of one user message.
fn ask() -> Conversation {
    talk(vec![turn(Role::User, vec![text("hi")])])
}

fn talk(turns: Vec<Turn>) -> Conversation {
    Conversation { turns, ..Conversation::default() }
}
