//! Reads a streamed answer, event by event.
//!
//! What is held back: a thought's signature until its block ends (it may come in pieces), the reason of the end until `message_stop`
//! (so that it is told once), and the `{}` of a call without arguments until it is known that the call was not cut off.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::block::{
    Calls, Kind, REDACTED, RedactedBlock, SIGNATURE, TextBlock, ThinkingBlock, ToolUseBlock, explanation, opaque,
    parse, stop_of,
};
use super::error::read_envelope;
use super::usage::Count;
use crate::dialects::conversation::{Event, Stop};
use crate::dialects::translate::{Malformed, Step, StreamDecoder, Undo};

/// Reads one stream.
pub(super) struct Decoder {
    origin: String,
    undo: Undo,
    count: Count,
    /// The id and model that were announced.
    announced: Option<(String, String)>,
    /// Blocks that have begun and not ended; Anthropic has one at a time.
    open: Vec<(u64, Block)>,
    next_call: u32,
    calls: Calls,
    /// A call whose block ended without arguments.
    empty_call: Option<EmptyCall>,
    content: Progress,
    ending: Option<Ending>,
}

#[derive(PartialEq, Eq)]
enum Progress {
    Awaited,
    Begun,
    Ended,
}

enum Block {
    Text,
    Thinking {
        signature: String,
    },
    Call {
        to: Target,
        arguments: Arguments,
    },
    /// Of a tool that the provider runs, or of a type that is not known.
    Ignored,
}

/// Where the arguments of a call go.
#[derive(Clone, Copy)]
enum Target {
    /// To the client's function of this number.
    Call(u32),
    /// Into the text: they are the answer.
    Text,
}

/// The arguments of an open call.
enum Arguments {
    /// None has come in a delta; the input that the block began with.
    Initial(String),
    /// They come in deltas.
    Streamed,
}

/// A call that ended without arguments: `{}`, unless the output limit cut it off.
struct EmptyCall(Target);

struct Ending {
    reason: String,
    sequence: Option<String>,
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageDelta<'a> {
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_sequence: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
}

/// What a `content_block_delta` adds to its block.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text {
        #[serde(borrow)]
        text: Cow<'a, str>,
    },
    #[serde(rename = "input_json_delta")]
    InputJson {
        #[serde(borrow)]
        partial_json: Cow<'a, str>,
    },
    #[serde(rename = "thinking_delta")]
    Thinking {
        #[serde(borrow)]
        thinking: Cow<'a, str>,
    },
    #[serde(rename = "signature_delta")]
    Signature {
        #[serde(borrow)]
        signature: Cow<'a, str>,
    },
    /// Citations and whatever else is beside the content.
    #[serde(other)]
    Other,
}

impl StreamDecoder for Decoder {
    fn event(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<Step, Malformed> {
        // OpenRouter ends its Messages streams with OpenAI's marker after `message_stop`.
        if self.content == Progress::Ended || matches!(data.trim(), "" | "[DONE]") {
            return Ok(Step::Continue);
        }
        let event: Data<'_> = parse(data, "stream event")?;
        match event.kind.as_deref().unwrap_or(name) {
            "message_start" => self.start(required(event.message, "message_start")?, out)?,
            "content_block_start" => {
                let index = index_of(event.index, "content_block_start")?;
                self.begin_block(index, required(event.content_block, "content_block_start")?, out)?;
            }
            "content_block_delta" => {
                let index = index_of(event.index, "content_block_delta")?;
                self.extend_block(index, required(event.delta, "content_block_delta")?, out)?;
            }
            "content_block_stop" => {
                let index = index_of(event.index, "content_block_stop")?;
                self.end_block(index, out);
            }
            "message_delta" => self.message_delta(&event, out)?,
            "message_stop" => {
                self.finish(out)?;
                return Ok(Step::End);
            }
            "ping" => out.push(Event::Ping),
            "error" => {
                let error = read_envelope(data).ok_or_else(|| Malformed("an error event cannot be read".to_owned()))?;
                return Ok(Step::Error(error));
            }
            _ => {}
        }
        Ok(Step::Continue)
    }

    fn close(&mut self, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.content == Progress::Ended {
            return Ok(());
        }
        Err(Malformed("the stream closed before message_stop".to_owned()))
    }
}

fn incomplete(event: &str) -> Malformed {
    Malformed(format!("a {event} event lacks what it announces"))
}

fn required<'a>(field: Option<&'a RawValue>, event: &str) -> Result<&'a str, Malformed> {
    field.map(RawValue::get).ok_or_else(|| incomplete(event))
}

fn index_of(index: Option<&RawValue>, event: &str) -> Result<u64, Malformed> {
    index.and_then(|index| index.get().parse().ok()).ok_or_else(|| incomplete(event))
}

impl Decoder {
    pub(super) fn new(origin: &str, undo: Undo) -> Self {
        Self {
            origin: origin.to_owned(),
            undo,
            count: Count::default(),
            announced: None,
            open: Vec::new(),
            next_call: 0,
            calls: Calls::None,
            empty_call: None,
            content: Progress::Awaited,
            ending: None,
        }
    }

    /// The beginning. A second one in the same stream (a fallback model took over) replaces model and figures; the model can be told
    /// only while there is no content.
    fn start(&mut self, message: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let start: Start<'_> = parse(message, "message_start event")?;
        let identity = (start.id.into_owned(), start.model.into_owned());
        if self.content == Progress::Awaited && self.announced.as_ref() != Some(&identity) {
            out.push(Event::Start { id: identity.0.clone(), model: identity.1.clone() });
            self.announced = Some(identity);
        }
        self.tell_usage(start.usage, out);
        Ok(())
    }

    fn tell_usage(&mut self, usage: Option<&RawValue>, out: &mut Vec<Event>) {
        if let Some(usage) = usage {
            self.count.take(usage);
            out.extend(self.count.usage().map(Event::Usage));
        }
    }

    fn begin_block(&mut self, index: u64, block: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.content = Progress::Begun;
        self.complete_empty_call(out);
        let kind: Kind<'_> = parse(block, "content block")?;
        let opened = match kind.name.as_ref() {
            "text" => {
                let TextBlock { text } = parse(block, "text block")?;
                push_text(text, Event::Text, out);
                Block::Text
            }
            "thinking" => {
                let ThinkingBlock { thinking, signature } = parse(block, "thinking block")?;
                push_text(thinking, Event::Reasoning, out);
                Block::Thinking { signature: signature.into_owned() }
            }
            "redacted_thinking" => {
                let RedactedBlock { data } = parse(block, "redacted_thinking block")?;
                out.push(Event::ReasoningOpaque(opaque(&self.origin, REDACTED, data.into_owned())));
                Block::Ignored
            }
            "tool_use" => self.begin_call(parse(block, "tool_use block")?, out),
            _ => Block::Ignored,
        };
        self.open.retain(|(at, _)| *at != index);
        self.open.push((index, opened));
        Ok(())
    }

    fn begin_call(&mut self, block: ToolUseBlock<'_>, out: &mut Vec<Event>) -> Block {
        let arguments = Arguments::Initial(block.input.map_or("{}", RawValue::get).to_owned());
        if self.undo.is_answer(&block.name) {
            if self.calls == Calls::None {
                self.calls = Calls::Answer;
            }
            return Block::Call { to: Target::Text, arguments };
        }
        self.calls = Calls::Client;
        let index = self.next_call;
        self.next_call += 1;
        let name = self.undo.original_name(&block.name).to_owned();
        out.push(Event::ToolCallStart { index, id: block.id.into_owned(), name, signature: None });
        Block::Call { to: Target::Call(index), arguments }
    }

    fn extend_block(&mut self, index: u64, delta: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let block = self.open.iter_mut().find_map(|(at, block)| (*at == index).then_some(block));
        let Some(block) = block else {
            return Err(Malformed("a content_block_delta belongs to no open block".to_owned()));
        };
        match (block, parse(delta, "content_block_delta event")?) {
            (Block::Ignored, _) | (_, Delta::Other) => {}
            (Block::Text, Delta::Text { text }) => push_text(text, Event::Text, out),
            (Block::Thinking { .. }, Delta::Thinking { thinking }) => push_text(thinking, Event::Reasoning, out),
            (Block::Thinking { signature }, Delta::Signature { signature: more }) => signature.push_str(&more),
            (Block::Call { to, arguments }, Delta::InputJson { partial_json }) => {
                if !partial_json.is_empty() {
                    *arguments = Arguments::Streamed;
                    out.push(to.arguments(partial_json.into_owned()));
                }
            }
            _ => return Err(Malformed("a content_block_delta does not fit its block".to_owned())),
        }
        Ok(())
    }

    fn end_block(&mut self, index: u64, out: &mut Vec<Event>) {
        let Some(position) = self.open.iter().position(|(at, _)| *at == index) else { return };
        match self.open.swap_remove(position).1 {
            Block::Thinking { signature } if !signature.is_empty() => {
                out.push(Event::ReasoningOpaque(opaque(&self.origin, SIGNATURE, signature)));
            }
            Block::Call { to, arguments: Arguments::Initial(input) } => match input.as_str() {
                "{}" => {
                    self.complete_empty_call(out);
                    self.empty_call = Some(EmptyCall(to));
                }
                _ => out.push(to.arguments(input)),
            },
            _ => {}
        }
    }

    /// Gives a call without arguments its `{}`: more came after it, so it was not cut off.
    fn complete_empty_call(&mut self, out: &mut Vec<Event>) {
        if let Some(EmptyCall(to)) = self.empty_call.take() {
            out.push(to.arguments("{}".to_owned()));
        }
    }

    fn message_delta(&mut self, event: &Data<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if let Some(delta) = event.delta {
            let delta: MessageDelta<'_> = parse(delta.get(), "message_delta event")?;
            if let Some(reason) = delta.stop_reason {
                self.ending = Some(Ending {
                    reason: reason.into_owned(),
                    sequence: delta.stop_sequence.map(Cow::into_owned),
                    explanation: delta.stop_details.and_then(explanation),
                });
            }
        }
        self.tell_usage(event.usage, out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        while let Some(&(index, _)) = self.open.first() {
            self.end_block(index, out);
        }
        let ending = self.ending.take().ok_or_else(|| Malformed("the stream does not say why it ended".to_owned()))?;
        let reason = stop_of(&ending.reason, self.calls);
        if reason != Stop::Length {
            self.complete_empty_call(out);
        }
        if reason == Stop::Refusal {
            out.extend(ending.explanation.map(Event::Refusal));
        }
        out.push(Event::Stop { reason, sequence: ending.sequence });
        self.content = Progress::Ended;
        Ok(())
    }
}

impl Target {
    fn arguments(self, delta: String) -> Event {
        match self {
            Self::Call(index) => Event::ToolArguments { index, delta },
            Self::Text => Event::Text(delta),
        }
    }
}

fn push_text(text: Cow<'_, str>, event: fn(String) -> Event, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(event(text.into_owned()));
    }
}
