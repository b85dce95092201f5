//! What an answer is made of, whole or streamed: its blocks, what only its model can read, why it ended.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialects::conversation::{Opaque, Stop};
use crate::dialects::translate::Malformed;

/// The type of a block.
#[derive(Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) name: Cow<'a, str>,
}

/// A `text` block.
#[derive(Deserialize)]
pub(super) struct TextBlock<'a> {
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
}

/// A `thinking` block; models that keep their thoughts to themselves sign an empty text.
#[derive(Deserialize)]
pub(super) struct ThinkingBlock<'a> {
    #[serde(borrow, default)]
    pub(super) thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) signature: Cow<'a, str>,
}

/// A `redacted_thinking` block.
#[derive(Deserialize)]
pub(super) struct RedactedBlock<'a> {
    #[serde(borrow)]
    pub(super) data: Cow<'a, str>,
}

/// A `tool_use` block.
#[derive(Deserialize)]
pub(super) struct ToolUseBlock<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
}

/// The kind of [`Opaque`] that signs a `thinking` block.
pub(in crate::dialects) const SIGNATURE: &str = "signature";
/// The kind of [`Opaque`] that is a `redacted_thinking` block.
pub(in crate::dialects) const REDACTED: &str = "redacted";

/// Parses a block; the error says which and quotes nothing.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T, Malformed> {
    serde_json::from_str(json).map_err(|_| Malformed(format!("a {what} cannot be read")))
}

/// Whether an answer holds calls of the client's functions, and whether it came as one itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// No call at all.
    #[default]
    None,
    /// Only the call that is the answer.
    Answer,
    /// Calls of the client's functions.
    Client,
}

/// Marks what only the model at `origin` can read.
pub(super) fn opaque(origin: &str, kind: &'static str, data: String) -> Opaque {
    Opaque { origin: origin.to_owned(), kind, data }
}

/// Why the answer ended. Reasons that are not known yet are taken as a proper end, since only complete answers carry one.
pub(super) fn stop_of(reason: &str, calls: Calls) -> Stop {
    match (reason, calls) {
        ("tool_use", Calls::Answer) => Stop::End,
        // Servers that only speak like Anthropic may call functions and say that they are done.
        ("tool_use", _) | ("end_turn", Calls::Client) => Stop::ToolUse,
        ("max_tokens", _) => Stop::Length,
        ("model_context_window_exceeded", _) => Stop::ContextFull,
        ("stop_sequence", _) => Stop::Sequence,
        ("refusal", _) => Stop::Refusal,
        ("pause_turn", _) => Stop::Paused,
        _ => Stop::End,
    }
}

/// What the provider says about a refusal.
pub(super) fn explanation(stop_details: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Details {
        explanation: Option<String>,
    }
    serde_json::from_str::<Option<Details>>(stop_details.get()).ok()??.explanation.filter(|text| !text.is_empty())
}
