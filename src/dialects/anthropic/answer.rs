//! Reads a whole answer.
//!
//! Text, thoughts and tool calls become parts in their order. Blocks of tools that the provider ran itself (searches, their results) say
//! nothing that a client of another dialect could use; the text between them is kept.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::block::{
    Calls, Kind, REDACTED, RedactedBlock, SIGNATURE, TextBlock, ThinkingBlock, ToolUseBlock, explanation, opaque,
    parse, stop_of,
};
use super::error::read_envelope;
use super::usage::Count;
use crate::dialects::conversation::{Answer, Choice, Part, Stop, Thought, ToolCall};
use crate::dialects::translate::{AnswerError, Malformed, ProviderError, Undo};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_sequence: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Reads the body of a 200.
pub(super) fn decode(body: &[u8], origin: &str, undo: &Undo) -> Result<Answer, AnswerError> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8"))?;
    let message: Message<'_> = serde_json::from_str(text).map_err(|_| malformed("the answer is no Messages object"))?;
    if message.error.is_some_and(|error| error.get() != "null") {
        return Err(AnswerError::Provider(read_envelope(text).unwrap_or_else(unreadable_error)));
    }
    let blocks = message.content.ok_or_else(|| malformed("the answer has no content"))?;
    let mut content = Content::default();
    for block in blocks {
        content.take(block.get(), origin, undo).map_err(AnswerError::Malformed)?;
    }
    let reason = message.stop_reason.ok_or_else(|| malformed("the answer does not say why it ended"))?;
    let stop = stop_of(&reason, content.calls);
    if stop == Stop::Refusal {
        content.parts.extend(message.stop_details.and_then(explanation).map(Part::Refusal));
    }
    let mut count = Count::default();
    if let Some(usage) = message.usage {
        count.take(usage);
    }
    let choice = Choice { parts: content.parts, stop, stop_sequence: message.stop_sequence.map(Cow::into_owned) };
    Ok(Answer {
        id: message.id.into_owned(),
        model: message.model.into_owned(),
        choices: vec![choice],
        usage: count.usage(),
    })
}

fn malformed(what: &str) -> AnswerError {
    AnswerError::Malformed(Malformed(what.to_owned()))
}

/// What an error comes to that says nothing.
pub(super) fn unreadable_error() -> ProviderError {
    ProviderError {
        status: http::StatusCode::INTERNAL_SERVER_ERROR,
        code: None,
        message: "the provider reported an error without a reason".to_owned(),
        param: None,
        retry_after: None,
    }
}

/// The parts so far.
#[derive(Default)]
struct Content {
    parts: Vec<Part>,
    /// Whether a function of the client was called.
    calls: Calls,
    /// Whether the block before was text: a sentence with citations comes as several blocks, which are one text.
    in_text: bool,
}

impl Content {
    fn take(&mut self, block: &str, origin: &str, undo: &Undo) -> Result<(), Malformed> {
        let kind: Kind<'_> = parse(block, "content block")?;
        let follows_text = std::mem::take(&mut self.in_text);
        let part = match kind.name.as_ref() {
            "text" => {
                let TextBlock { text } = parse(block, "text block")?;
                self.in_text = true;
                if let (true, Some(Part::Text(before))) = (follows_text, self.parts.last_mut()) {
                    before.push_str(&text);
                    return Ok(());
                }
                Part::Text(text.into_owned())
            }
            "thinking" => {
                let block: ThinkingBlock<'_> = parse(block, "thinking block")?;
                let signature = block.signature.into_owned();
                let opaque = (!signature.is_empty()).then(|| opaque(origin, SIGNATURE, signature));
                Part::Reasoning(Thought { text: block.thinking.into_owned(), opaque })
            }
            "redacted_thinking" => {
                let RedactedBlock { data } = parse(block, "redacted_thinking block")?;
                let opaque = Some(opaque(origin, REDACTED, data.into_owned()));
                Part::Reasoning(Thought { text: String::new(), opaque })
            }
            "tool_use" => self.tool_use(parse(block, "tool_use block")?, undo),
            _ => return Ok(()),
        };
        self.parts.push(part);
        Ok(())
    }

    fn tool_use(&mut self, block: ToolUseBlock<'_>, undo: &Undo) -> Part {
        let arguments = block.input.map_or("{}", RawValue::get).to_owned();
        if undo.is_answer(&block.name) {
            if self.calls == Calls::None {
                self.calls = Calls::Answer;
            }
            return Part::Text(arguments);
        }
        self.calls = Calls::Client;
        Part::ToolCall(ToolCall {
            id: block.id.into_owned(),
            name: undo.original_name(&block.name).to_owned(),
            arguments,
            signature: None,
        })
    }
}
