//! Whole answers: a canonical one as this dialect writes it, and what one that passes through says.

use bytes::Bytes;
use serde_json::Value;

use super::object::{Call, Encrypted, State, Writer, refusal_part, text_part};
use super::passing::unexplained;
use super::reading;
use crate::dialects::client::{AnswerFacts, Slot};
use crate::dialects::conversation::{Answer, Part, Stop, ToolCall};
use crate::dialects::custom_tools;
use crate::dialects::openai_chat::error::within_answer;
use crate::dialects::translate::{AnswerError, Malformed};

/// Writes an answer; of several choices the first, since the dialect has room for one.
pub(super) fn write(answer: &Answer, writer: &Writer) -> Bytes {
    let choice = answer.choices.first();
    let stop = choice.map_or(Stop::End, |choice| choice.stop);
    let mut output = Output { writer, stop, items: Vec::new(), message: Vec::new() };
    for part in choice.map(|choice| choice.parts.as_slice()).unwrap_or_default() {
        output.part(part);
    }
    output.end_message();
    let stop = without_content(stop, output.items.is_empty());
    let state = State::Ended(stop, answer.usage.as_ref(), None);
    Bytes::from(writer.response(&answer.model, &output.items, state))
}

/// A refusal without a word is told as what it looks like from outside.
pub(super) fn without_content(stop: Stop, is_empty: bool) -> Stop {
    if stop == Stop::Refusal && is_empty { Stop::Filtered } else { stop }
}

/// How the item stands with which an answer ended.
pub(super) fn item_status(stop: Stop) -> &'static str {
    match stop {
        Stop::Length | Stop::ContextFull | Stop::Filtered => "incomplete",
        Stop::End | Stop::ToolUse | Stop::Sequence | Stop::Refusal | Stop::Paused => "completed",
    }
}

struct Output<'a> {
    writer: &'a Writer,
    stop: Stop,
    items: Vec<String>,
    /// The parts of the message under way.
    message: Vec<Value>,
}

impl Output<'_> {
    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
            Part::Text(text) => self.text(text),
            Part::Refusal(text) => self.message.push(refusal_part(text)),
            Part::Reasoning(thought) => {
                if thought.text.is_empty() && thought.opaque.is_none() {
                    return;
                }
                self.end_message();
                let encrypted = Encrypted::Thought(thought.opaque.as_ref());
                self.push(self.writer.thought(self.items.len(), &thought.text, encrypted, "completed"));
            }
            Part::ToolCall(call) => self.call(call),
            // Answers of this dialect have none of them as content, and no answer holds results.
            Part::Image(_) | Part::Document { .. } | Part::Audio(_) | Part::ToolResult(_) => {}
        }
    }

    /// Texts that follow each other are one: a provider may have split a sentence at its sources.
    fn text(&mut self, text: &str) {
        let last = self.message.last_mut().filter(|part| part["type"] == "output_text");
        match last.and_then(|part| part.get_mut("text")) {
            Some(Value::String(so_far)) => so_far.push_str(text),
            _ => self.message.push(text_part(text)),
        }
    }

    fn call(&mut self, call: &ToolCall) {
        self.end_message();
        if let Some(signature) = &call.signature {
            self.push(self.writer.thought(self.items.len(), "", Encrypted::Call(signature), "completed"));
        }
        let is_cut = self.stop == Stop::Length && serde_json::from_str::<Value>(&call.arguments).is_err();
        let payload = match call.arguments.as_str() {
            "" if !is_cut => "{}".to_owned(),
            arguments if self.writer.is_custom(&call.name) => custom_tools::input(arguments),
            arguments => arguments.to_owned(),
        };
        let status = if is_cut { "incomplete" } else { "completed" };
        let told = Call { id: &call.id, name: &call.name, payload: &payload };
        self.push(self.writer.call(self.items.len(), &told, status));
    }

    fn end_message(&mut self) {
        if !self.message.is_empty() {
            let parts = std::mem::take(&mut self.message);
            let id = self.writer.item_id("msg", self.items.len());
            self.push(self.writer.message(&id, &parts, item_status(self.stop)));
        }
    }

    fn push(&mut self, item: Value) {
        self.items.push(item.to_string());
    }
}

/// Looks at an answer with status 200.
pub(super) fn read(body: &[u8]) -> Result<AnswerFacts, AnswerError> {
    let malformed = |what: String| AnswerError::Malformed(Malformed(what));
    let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8".into()))?;
    let reading = reading::whole(text).map_err(|fault| malformed(format!("the answer is no response: {fault}")))?;
    let failed = matches!(reading.status.raw(), "failed" | "cancelled");
    if let Some(error) = reading.error.map(within_answer).or_else(|| failed.then(unexplained)) {
        return Err(AnswerError::Provider(error));
    }
    let stop = reading.stop().filter(|_| reading.has_output);
    let stop = stop.ok_or_else(|| malformed("the answer has no output, or no status that ends it".into()))?;
    Ok(AnswerFacts {
        usage: reading.usage,
        stop,
        is_whole: true,
        content_bytes: reading.content_bytes,
        cost_slot: reading.cost_slot,
        explanation_slot: Slot::End { at: reading.end, has_members: true },
        issued: reading.issued,
    })
}
