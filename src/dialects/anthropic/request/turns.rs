//! The messages: turns of one role become one message, results open the user's, calls close the assistant's.

use std::borrow::Cow;

use aipipe_actors::catalogue::{Capability, Model};
use serde::Serialize;

use super::media::{self, Source};
use crate::dialects::anthropic::block::{REDACTED, SIGNATURE};
use crate::dialects::anthropic::id::valid_id;
use crate::dialects::carry::{Arguments, cannot};
use crate::dialects::conversation::{Conversation, Part, Role, Thought, ToolCall, ToolResult, Turn};
use crate::dialects::function_names::FunctionNames;
use crate::dialects::translate::CannotCarry;

/// A message.
#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    role: Speaker,
    content: Vec<Block<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    User,
    Assistant,
}

/// A content block.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Arguments<'a>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
}

/// The conversation as messages, and what of their end bears on the rest of the request.
pub(super) struct Transcript<'a> {
    pub(super) messages: Vec<Message<'a>>,
    /// The last message is the model's own and to be continued.
    pub(super) ends_in_prefill: bool,
    /// It ends in the middle of a tool loop in which this model has not been thinking.
    pub(super) thought_is_missing: bool,
}

/// Writes the turns for the model at `origin` (`provider/model`), whose thoughts alone are kept.
pub(super) fn transcript<'a>(
    conversation: &'a Conversation,
    model: &Model,
    names: &'a FunctionNames,
    origin: &str,
) -> Result<Transcript<'a>, CannotCarry> {
    let mut drafts: Vec<Draft<'a>> = Vec::with_capacity(conversation.turns.len());
    for turn in &conversation.turns {
        let speaker = if turn.role == Role::Assistant { Speaker::Assistant } else { Speaker::User };
        // Of a turn that came out empty nothing is left, and its neighbours become one message.
        if drafts.last().is_some_and(Draft::is_empty) {
            drafts.pop();
        }
        if drafts.last().is_none_or(|draft| draft.speaker != speaker) {
            drafts.push(Draft::new(speaker));
        }
        if let Some(draft) = drafts.last_mut() {
            draft.take(turn, names, origin)?;
        }
    }
    finish(drafts.into_iter().filter(|draft| !draft.is_empty()).map(Draft::finish).collect(), model)
}

fn finish<'a>(mut messages: Vec<Message<'a>>, model: &Model) -> Result<Transcript<'a>, CannotCarry> {
    let mut ends_in_prefill = false;
    if let Some(last) = messages.last_mut().filter(|last| last.role == Speaker::Assistant) {
        ends_in_prefill = true;
        // Anthropic refuses white space at the end of a message that it is to continue.
        if let Some(Block::Text { text }) = last.content.last_mut() {
            *text = match std::mem::take(text) {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
                Cow::Owned(text) => Cow::Owned(text.trim_end().to_owned()),
            };
        }
    }
    if ends_in_prefill && !model.capabilities.contains(Capability::Prefill) {
        return Err(cannot("messages", "this model does not continue a last assistant message"));
    }
    if messages.is_empty() {
        return Err(cannot("messages", "this provider needs a user message with content"));
    }
    let thought_is_missing = thought_is_missing(&messages);
    Ok(Transcript { messages, ends_in_prefill, thought_is_missing })
}

/// A tool loop is one turn to Anthropic, which thinks at its beginning and may think again at each step: one thought at either end of the
/// loop shows that the model has been thinking in it.
fn thought_is_missing(messages: &[Message<'_>]) -> bool {
    let mut steps = messages.rchunks_exact(2).map_while(|step| match step {
        [calls, results] if matches!(results.content.first(), Some(Block::ToolResult { .. })) => {
            Some(matches!(calls.content.first(), Some(Block::Thinking { .. } | Block::RedactedThinking { .. })))
        }
        _ => None,
    });
    let Some(thinks_last) = steps.next() else { return false };
    let thinks_first = steps.last().unwrap_or(thinks_last);
    !thinks_first && !thinks_last
}

/// A message in the making: what must stand first and what after it, each in the client's order.
struct Draft<'a> {
    speaker: Speaker,
    /// The user's results, the assistant's thoughts and text.
    first: Vec<Block<'a>>,
    /// The user's text and media, the assistant's calls.
    second: Vec<Block<'a>>,
}

impl<'a> Draft<'a> {
    fn new(speaker: Speaker) -> Self {
        Self { speaker, first: Vec::new(), second: Vec::new() }
    }

    fn take(&mut self, turn: &'a Turn, names: &'a FunctionNames, origin: &str) -> Result<(), CannotCarry> {
        let mut speaker_name = turn.name.as_deref().filter(|_| turn.role == Role::User);
        for part in &turn.parts {
            match (self.speaker, part) {
                (Speaker::Assistant, Part::ToolCall(call)) => self.second.push(tool_use(call, names)),
                (Speaker::Assistant, Part::Reasoning(thought)) => self.first.extend(thinking(thought, origin)),
                (Speaker::Assistant, Part::Text(text) | Part::Refusal(text)) => self.first.extend(text_block(text)),
                (Speaker::User, Part::ToolResult(result)) => self.first.push(tool_result(result)?),
                (Speaker::User, Part::Text(text)) if turn.role == Role::System => {
                    self.second.extend(text_block(text).map(|_| system_note(text)));
                }
                (Speaker::User, Part::Text(text)) => match (text_block(text), speaker_name.take()) {
                    (Some(_), Some(name)) => self.second.push(named(name, text)),
                    (block, _) => self.second.extend(block),
                },
                (Speaker::User, part) => self.second.extend(content(part)?),
                (Speaker::Assistant, _) => {
                    return Err(cannot("messages", "this provider's assistant messages hold text and calls only"));
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.second.is_empty()
    }

    fn finish(self) -> Message<'a> {
        let mut content = self.first;
        content.extend(self.second);
        Message { role: self.speaker, content }
    }
}

/// A text block; `None` for white space, which Anthropic refuses.
fn text_block(text: &str) -> Option<Block<'_>> {
    (!text.trim().is_empty()).then_some(Block::Text { text: Cow::Borrowed(text) })
}

/// An instruction in the middle of the conversation stays at its place: at the head it would change what came before it and break the
/// provider's prefix cache.
fn system_note(text: &str) -> Block<'static> {
    Block::Text { text: Cow::Owned(format!("<system_note>\n{text}\n</system_note>")) }
}

/// Anthropic has no names for speakers.
fn named(name: &str, text: &str) -> Block<'static> {
    Block::Text { text: Cow::Owned(format!("{name}: {text}")) }
}

/// Text and media of a user message or a result.
fn content(part: &Part) -> Result<Option<Block<'_>>, CannotCarry> {
    match part {
        Part::Text(text) | Part::Refusal(text) => Ok(text_block(text)),
        Part::Image(image) => Ok(Some(Block::Image { source: media::image(image)? })),
        Part::Document { media, name } => {
            Ok(Some(Block::Document { source: media::document(media)?, title: name.as_deref() }))
        }
        Part::Audio(_) => Err(cannot("messages", "this provider takes no audio")),
        // Thoughts are the model's; others' are not carried.
        Part::Reasoning(_) => Ok(None),
        Part::ToolCall(_) | Part::ToolResult(_) => {
            Err(cannot("messages", "a call or a result stands where this provider has no place for it"))
        }
    }
}

/// A thought, if this very model had it; a signature is worth nothing to any other.
fn thinking<'a>(thought: &'a Thought, origin: &str) -> Option<Block<'a>> {
    let opaque = thought.opaque.as_ref().filter(|opaque| opaque.origin == origin)?;
    match opaque.kind {
        SIGNATURE => Some(Block::Thinking { thinking: &thought.text, signature: &opaque.data }),
        REDACTED => Some(Block::RedactedThinking { data: &opaque.data }),
        _ => None,
    }
}

fn tool_use<'a>(call: &'a ToolCall, names: &'a FunctionNames) -> Block<'a> {
    Block::ToolUse { id: valid_id(&call.id), name: names.sent(&call.name), input: Arguments::of(&call.arguments) }
}

fn tool_result(result: &ToolResult) -> Result<Block<'_>, CannotCarry> {
    let mut blocks = Vec::with_capacity(result.parts.len());
    for part in &result.parts {
        blocks.extend(content(part)?);
    }
    Ok(Block::ToolResult { tool_use_id: valid_id(&result.call_id), content: blocks, is_error: result.is_error })
}
