//! Whole answers: a canonical one as this dialect writes it, and what one that passes through says.

use std::borrow::Cow;

use aipipe_actors::money::Tokens;
use bytes::Bytes;
use serde::Serialize;

use super::reading;
use crate::dialects::anthropic::answer::unreadable_error;
use crate::dialects::anthropic::block::{Calls, SIGNATURE, stop_of};
use crate::dialects::anthropic::error::read_envelope;
use crate::dialects::anthropic::id::valid_id;
use crate::dialects::anthropic::usage::Count;
use crate::dialects::carry::Arguments;
use crate::dialects::client::{AnswerFacts, Slot};
use crate::dialects::conversation::{Answer, Choice, Part, Stop, Usage};
use crate::dialects::mark;
use crate::dialects::translate::{AnswerError, Malformed};

/// Whether the client gets the model's thoughts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thoughts {
    /// It asked for them, or will have to send them back with the results of its functions.
    Shown,
    /// It expects an answer that begins with its text.
    Hidden,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: Figures,
}

/// A content block of an answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Thinking { thinking: &'a str, signature: String },
    RedactedThinking { data: String },
    Text { text: &'a str },
    ToolUse { id: Cow<'a, str>, name: &'a str, input: Arguments<'a> },
}

/// The `usage` object: cached input stands beside the input, not within it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl Figures {
    /// The figures; SDKs want the object even where nothing is known.
    pub(super) fn of(usage: Option<&Usage>) -> Self {
        let Tokens { input, cached_input, cache_write, output, reasoning, .. } =
            usage.map(|usage| usage.tokens).unwrap_or_default();
        Self {
            input_tokens: input.saturating_sub(cached_input).saturating_sub(cache_write),
            cache_creation_input_tokens: cache_write,
            cache_read_input_tokens: cached_input,
            output_tokens: output,
            output_tokens_details: (reasoning > 0).then_some(OutputDetails { thinking_tokens: reasoning }),
        }
    }
}

/// What an answer holds, as far as the reason of its end depends on it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Holds {
    /// Calls of the client's functions.
    pub(super) calls: bool,
    /// A refusal.
    pub(super) refusal: bool,
}

/// The dialect's word for why an answer ended. What it holds decides where the provider only says that it was done: clients go on with
/// their loop at `tool_use` alone. A stop sequence that is not known by name is an end like any other.
pub(super) fn stop_reason(stop: Stop, sequence: Option<&str>, holds: Holds) -> &'static str {
    match stop {
        Stop::Length => "max_tokens",
        Stop::ContextFull => "model_context_window_exceeded",
        Stop::Refusal | Stop::Filtered => "refusal",
        Stop::Paused => "pause_turn",
        Stop::End | Stop::ToolUse | Stop::Sequence if holds.calls => "tool_use",
        Stop::End | Stop::ToolUse | Stop::Sequence if holds.refusal => "refusal",
        Stop::Sequence if sequence.is_some() => "stop_sequence",
        Stop::End | Stop::ToolUse | Stop::Sequence => "end_turn",
    }
}

/// Writes an answer; of several choices the first, since the dialect has room for one.
pub(super) fn write(answer: &Answer, id: &str, thoughts: Thoughts) -> Bytes {
    let choice = answer.choices.first();
    let mut content = Vec::new();
    let mut holds = Holds::default();
    for part in choice.map(|choice| choice.parts.as_slice()).unwrap_or_default() {
        push(part, choice, thoughts, &mut content);
        holds.refusal |= matches!(part, Part::Refusal(_));
    }
    holds.calls = content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
    let sequence = choice.and_then(|choice| choice.stop_sequence.as_deref());
    let message = Message {
        id,
        r#type: "message",
        role: "assistant",
        model: &answer.model,
        stop_reason: stop_reason(choice.map_or(Stop::End, |choice| choice.stop), sequence, holds),
        stop_sequence: sequence,
        usage: Figures::of(answer.usage.as_ref()),
        content,
    };
    // Texts, numbers and raw JSON can always be written.
    Bytes::from(serde_json::to_vec(&message).unwrap_or_default())
}

fn push<'a>(part: &'a Part, choice: Option<&Choice>, thoughts: Thoughts, content: &mut Vec<Block<'a>>) {
    match part {
        Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
        Part::Text(text) | Part::Refusal(text) => content.push(Block::Text { text }),
        Part::Reasoning(_) if thoughts == Thoughts::Hidden => {}
        Part::Reasoning(thought) => match (thought.text.as_str(), thought.opaque.as_ref()) {
            ("", None) => {}
            ("", Some(opaque)) if opaque.kind != SIGNATURE => {
                content.push(Block::RedactedThinking { data: mark::thought(Some(opaque)) });
            }
            (thinking, opaque) => content.push(Block::Thinking { thinking, signature: mark::thought(opaque) }),
        },
        // A call that the limit cut off before its arguments: an empty object would be an invention.
        Part::ToolCall(call) if call.arguments.is_empty() && choice.is_some_and(|c| c.stop == Stop::Length) => {}
        Part::ToolCall(call) => {
            content.extend(
                call.signature.as_ref().map(|signature| Block::RedactedThinking { data: mark::call(signature) }),
            );
            content.push(Block::ToolUse {
                id: valid_id(&call.id),
                name: &call.name,
                input: Arguments::of(&call.arguments),
            });
        }
        // Answers of this dialect have no images, and no answer holds the others.
        Part::Image(_) | Part::Document { .. } | Part::Audio(_) | Part::ToolResult(_) => {}
    }
}

/// Looks at an answer with status 200.
pub(super) fn read(body: &[u8]) -> Result<AnswerFacts, AnswerError> {
    let malformed = |what: String| AnswerError::Malformed(Malformed(what));
    let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8".into()))?;
    let reading = reading::read(text).map_err(|fault| malformed(format!("the answer is no message: {fault}")))?;
    if reading.is_error {
        return Err(AnswerError::Provider(read_envelope(text).unwrap_or_else(unreadable_error)));
    }
    if !reading.has_content_member {
        return Err(malformed("the answer has no content".into()));
    }
    let mut count = Count::default();
    reading.take_usage(text, &mut count);
    let calls = if reading.calls { Calls::Client } else { Calls::None };
    Ok(AnswerFacts {
        issued: Vec::new(),
        usage: count.usage(),
        stop: reading.stop_reason.map_or(Stop::End, |reason| stop_of(reason.raw(), calls)),
        is_whole: reading.stop_reason.is_some(),
        content_bytes: reading.content_bytes,
        cost_slot: reading.cost_slot(text),
        explanation_slot: Slot::End { at: reading.close, has_members: reading.has_members },
    })
}
