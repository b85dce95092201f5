//! What a client is answered, read along for the span of its request, where the tenant's content may be told.
//!
//! It is read from the bytes that go to the client, whoever wrote them: passed through, translated, continued or from the cache. What
//! cannot be read is not told; the answer itself is never touched.

use std::sync::Arc;

use aipipe_actors::routing::digest::ClientDialect;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::dialects;
use crate::dialects::conversation::{Part, Stop, Thought, ToolCall};
use crate::dialects::translate::{StreamDecoder, Undo};
use crate::telemetry::traces::{MOST_BYTES, RequestSpan, Transcript};
use crate::upstream::sse::SseDecoder;

/// Tells a span of a whole answer.
pub(super) fn whole(span: &RequestSpan, dialect: ClientDialect, body: &[u8]) {
    let transcript = match dialects::reader(dialect) {
        Some(reader) => reader.decode_answer(body, "", &Undo::default()).ok().map(Transcript::from),
        None => serde_json::from_slice(body).ok().map(|response: Response| {
            let mut transcript = Transcript::default();
            let items = response.output.iter().filter_map(Item::read);
            items.flat_map(Item::into_parts).for_each(|part| transcript.part(part));
            transcript.stopped(response.stop());
            transcript
        }),
    };
    if let Some(transcript) = transcript {
        span.answered(transcript);
    }
}

/// A stream on its way to the client. Its span is told what has come when it is dropped.
pub(super) struct Overheard {
    span: Arc<RequestSpan>,
    framing: SseDecoder,
    reader: Option<Box<dyn StreamDecoder>>,
    transcript: Transcript,
    /// Text of a Responses item that has not come to its end.
    begun: String,
}

impl Overheard {
    /// Stands before the first event.
    pub(super) fn new(span: Arc<RequestSpan>, dialect: ClientDialect) -> Self {
        let reader = dialects::reader(dialect).map(|reader| reader.stream_decoder("", Undo::default()));
        let (framing, transcript) = (SseDecoder::default(), Transcript::default());
        Self { span, framing, reader, transcript, begun: String::new() }
    }

    /// These bytes go to the client.
    pub(super) fn passed(&mut self, bytes: &Bytes) {
        let mut events = Vec::new();
        if self.framing.feed(bytes.clone(), &mut events).is_err() {
            return;
        }
        for event in events.iter().filter(|event| !event.is_comment()) {
            let Some(reader) = &mut self.reader else {
                self.response_event(event.data());
                continue;
            };
            let mut steps = Vec::new();
            // An event that cannot be read has nothing to tell.
            let _ = reader.event(event.name(), event.data(), &mut steps);
            steps.into_iter().for_each(|step| self.transcript.event(step));
        }
    }

    /// Of a stream of Responses: items are told whole where they have ended.
    fn response_event(&mut self, data: &str) {
        let Ok(event) = serde_json::from_str::<ResponseEvent>(data) else { return };
        match &*event.kind {
            "response.output_text.delta" if self.begun.len() <= MOST_BYTES => self.begun.push_str(&event.delta),
            "response.output_item.done" => {
                self.begun.clear();
                let parts = Item::read(&event.item).map(Item::into_parts).unwrap_or_default();
                parts.into_iter().for_each(|part| self.transcript.part(part));
            }
            "response.completed" | "response.incomplete" => self.transcript.stopped(event.response.stop()),
            _ => {}
        }
    }
}

impl Drop for Overheard {
    fn drop(&mut self) {
        if let Some(reader) = &mut self.reader {
            let mut steps = Vec::new();
            // A stream that broke off has told all that it had.
            let _ = reader.close(&mut steps);
            steps.into_iter().for_each(|step| self.transcript.event(step));
        }
        if !self.begun.is_empty() {
            self.transcript.part(Part::Text(std::mem::take(&mut self.begun)));
        }
        self.span.answered(std::mem::take(&mut self.transcript));
    }
}

/// An event of a stream of Responses, as far as it is told of.
#[derive(Debug, Deserialize)]
struct ResponseEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    delta: String,
    #[serde(default)]
    item: Value,
    #[serde(default)]
    response: Response,
}

/// A whole answer of Responses, as far as it is told of.
#[derive(Debug, Default, Deserialize)]
struct Response {
    #[serde(default)]
    output: Vec<Value>,
    #[serde(default)]
    incomplete_details: Option<Incomplete>,
}

#[derive(Debug, Deserialize)]
struct Incomplete {
    #[serde(default)]
    reason: Option<String>,
}

/// What an item says. What the provider's own tools did is not told.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    Message { content: Vec<Piece> },
    FunctionCall { call_id: String, name: String, arguments: String },
    CustomToolCall { call_id: String, name: String, input: String },
    Reasoning { summary: Vec<Piece> },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece {
    OutputText {
        text: String,
    },
    SummaryText {
        text: String,
    },
    Refusal {
        refusal: String,
    },
    #[serde(other)]
    Other,
}

impl Item {
    fn read(item: &Value) -> Option<Self> {
        Self::deserialize(item).ok()
    }

    fn into_parts(self) -> Vec<Part> {
        let call = |id, name, arguments| vec![Part::ToolCall(ToolCall { id, name, arguments, signature: None })];
        match self {
            Self::Message { content: pieces } | Self::Reasoning { summary: pieces } => {
                pieces.into_iter().filter_map(Piece::into_part).collect()
            }
            Self::FunctionCall { call_id, name, arguments } => call(call_id, name, arguments),
            Self::CustomToolCall { call_id, name, input } => call(call_id, name, input),
        }
    }
}

impl Piece {
    fn into_part(self) -> Option<Part> {
        match self {
            Self::OutputText { text } => Some(Part::Text(text)),
            Self::SummaryText { text } => Some(Part::Reasoning(Thought { text, opaque: None })),
            Self::Refusal { refusal } => Some(Part::Refusal(refusal)),
            Self::Other => None,
        }
    }
}

impl Response {
    fn stop(&self) -> Stop {
        let reason = self.incomplete_details.as_ref().map(|details| details.reason.as_deref());
        let is_call = |item| matches!(Item::read(item), Some(Item::FunctionCall { .. } | Item::CustomToolCall { .. }));
        match reason {
            Some(Some("content_filter")) => Stop::Filtered,
            Some(_) => Stop::Length,
            None if self.output.iter().any(is_call) => Stop::ToolUse,
            None => Stop::End,
        }
    }
}
