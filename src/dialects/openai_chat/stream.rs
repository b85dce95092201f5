//! Writes a translated stream as this dialect has it: `chat.completion.chunk` events, then `[DONE]`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::answer::{AnswerShape, ToolShape, detail, extra_content, finish_reason, object};
use super::error;
use super::following;
use super::relay::UsageView;
use super::usage;
use crate::dialects::conversation::{Event, Opaque, Stop, Usage};
use crate::dialects::custom_tools;
use crate::dialects::progress::Progress;
use crate::dialects::translate::{ClientError, StreamEncoder};

/// Encodes the events of one answer. The reason to end, usage and cost are held back for the end: providers revise them on the way.
#[derive(Debug, Clone)]
pub struct ChatStreamEncoder {
    pub(super) shape: AnswerShape,
    view: UsageView,
    /// All of a chunk up to its delta, made when the model is known.
    head: Vec<u8>,
    pub(super) begun: bool,
    /// The text of the thought that a signature would close.
    thought: String,
    details: usize,
    /// For each call, whether arguments have been written.
    calls: Vec<bool>,
    /// Calls of tools that take a text: it stands within the arguments and can be told once they are whole.
    custom: Vec<CustomCall>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    /// What the last chunk with a choice has as `aipipe`.
    aipipe: Option<String>,
}

/// A call whose input is not told yet.
#[derive(Debug, Clone)]
struct CustomCall {
    index: u32,
    /// All of it but the input.
    start: Map<String, Value>,
    name: String,
    arguments: String,
}

impl ChatStreamEncoder {
    /// Stands before the first event.
    pub fn new(shape: AnswerShape, view: UsageView) -> Self {
        let mut encoder = Self {
            shape,
            view,
            head: Vec::new(),
            begun: false,
            thought: String::new(),
            details: 0,
            calls: Vec::new(),
            custom: Vec::new(),
            usage: None,
            stop: None,
            aipipe: None,
        };
        encoder.name_model("");
        encoder
    }

    pub(super) fn name_model(&mut self, model: &str) {
        let mut head = json!({"id": self.shape.id, "object": "chat.completion.chunk", "created": self.shape.created, "model": model}).to_string();
        head.pop();
        self.head = format!("data: {head},\"choices\":[").into_bytes();
    }

    /// One chunk with one choice.
    fn chunk(&self, delta: &[u8], finish: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{");
        out.extend_from_slice(delta);
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        match finish {
            Some(reason) => {
                out.push(b'"');
                out.extend_from_slice(reason.as_bytes());
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        if let Some(aipipe) = self.aipipe.as_ref().filter(|_| finish.is_some()) {
            out.extend_from_slice(b",\"aipipe\":");
            out.extend_from_slice(aipipe.as_bytes());
        }
        // With `include_usage` every chunk but the last has a usage of null.
        out.extend_from_slice(if self.view == UsageView::Shown { b",\"usage\":null}\n\n" } else { b"}\n\n" });
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.chunk(b"\"role\":\"assistant\",\"content\":\"\"", None, out);
        }
    }

    fn member(&self, name: &str, value: &Value, out: &mut Vec<u8>) {
        self.chunk(format!("\"{name}\":{value}").as_bytes(), None, out);
    }

    /// A delta that is one text.
    fn text(&self, name: &str, text: &str, out: &mut Vec<u8>) {
        let mut delta = Vec::with_capacity(name.len() + text.len() + 8);
        delta.push(b'"');
        delta.extend_from_slice(name.as_bytes());
        delta.extend_from_slice(b"\":");
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut delta, text);
        self.chunk(&delta, None, out);
    }

    /// One piece of a call: its function's name and arguments, and at its start what else it has.
    fn call(&self, index: u32, start: Map<String, Value>, function: Value, out: &mut Vec<u8>) {
        match self.shape.tools {
            ToolShape::Calls => {
                let mut call = object([("index", index.into())]);
                call.extend(start);
                call.insert("function".into(), function);
                self.member("tool_calls", &json!([call]), out);
            }
            // The legacy shape has room for one call.
            ToolShape::LegacyFunction if index == 0 => self.member("function_call", &function, out),
            ToolShape::LegacyFunction => {}
        }
    }

    fn call_start(&mut self, index: u32, call: (&str, &str), signature: Option<&Opaque>, out: &mut Vec<u8>) {
        self.complete_last_call(out);
        let (id, name) = call;
        let is_custom = self.shape.is_custom(name);
        let kind = if is_custom { "custom" } else { "function" };
        let mut start = object([("id", id.into()), ("type", kind.into())]);
        if let Some(signature) = signature {
            start.insert("extra_content".into(), extra_content(signature));
        }
        // What a custom tool gets is written at the end.
        self.calls.push(is_custom);
        if is_custom {
            self.custom.push(CustomCall { index, start, name: name.to_owned(), arguments: String::new() });
        } else {
            self.call(index, start, json!({"name": name, "arguments": ""}), out);
        }
    }

    fn arguments(&mut self, index: u32, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if let Some(custom) = self.custom.iter_mut().find(|call| call.index == index) {
            return custom.arguments.push_str(text);
        }
        if let Some(written) = usize::try_from(index).ok().and_then(|index| self.calls.get_mut(index)) {
            *written = true;
        }
        self.call(index, Map::new(), json!({"arguments": text}), out);
    }

    fn tell_custom_calls(&mut self, out: &mut Vec<u8>) {
        for CustomCall { index, start, name, arguments } in std::mem::take(&mut self.custom) {
            let mut call = object([("index", index.into())]);
            call.extend(start);
            call.insert("custom".into(), json!({"name": name, "input": custom_tools::input(&arguments)}));
            self.member("tool_calls", &json!([call]), out);
        }
    }

    /// Clients parse the arguments of a call: one without any gets an empty object.
    fn complete_last_call(&mut self, out: &mut Vec<u8>) {
        if self.calls.last() == Some(&false) {
            let index = u32::try_from(self.calls.len() - 1).unwrap_or(u32::MAX);
            self.arguments(index, "{}", out);
        }
    }
}

impl StreamEncoder for ChatStreamEncoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => self.name_model(model),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop { reason, .. } => self.stop = Some(*reason),
            Event::Ping => return out.extend_from_slice(b": keep-alive\n\n"),
            _ => {}
        }
        self.begin(out);
        match event {
            Event::Text(text) => self.text("content", text, out),
            Event::Refusal(text) => self.text("refusal", text, out),
            Event::Reasoning(text) => {
                self.thought.push_str(text);
                self.text("reasoning_content", text, out);
            }
            Event::ReasoningOpaque(opaque) => {
                let thought = std::mem::take(&mut self.thought);
                let detail = detail(self.details, &thought, opaque);
                self.details += 1;
                self.member("reasoning_details", &json!([detail]), out);
            }
            Event::ToolCallStart { index, id, name, signature } => {
                self.call_start(*index, (id, name), signature.as_ref(), out);
            }
            Event::ToolArguments { index, delta } => self.arguments(*index, delta, out),
            Event::Start { .. } | Event::Usage(_) | Event::Stop { .. } | Event::Ping => {}
        }
    }

    fn finish(&mut self, cost_usd: Option<&str>, out: &mut Vec<u8>) {
        self.begin(out);
        let stop = self.stop.unwrap_or(Stop::End);
        // A call that the limit cut off stays as it is: an empty object would be an invention.
        if stop != Stop::Length {
            self.complete_last_call(out);
        }
        self.tell_custom_calls(out);
        let reason = finish_reason(stop, !self.calls.is_empty(), self.shape.tools);
        self.chunk(b"", Some(reason), out);
        if let (UsageView::Shown, Some(figures)) = (self.view, &self.usage) {
            let mut tail = String::from("],\"usage\":");
            usage::write(figures, cost_usd, &mut tail);
            tail.push_str("}\n\n");
            out.extend_from_slice(&self.head);
            out.extend_from_slice(tail.as_bytes());
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn error(&mut self, error: &ClientError<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&error_event(error));
    }

    fn follow(&mut self, data: &str, progress: &mut Progress) {
        following::follow(self, data, progress);
    }

    fn tell(&mut self, aipipe: String) {
        self.aipipe = Some(aipipe);
    }

    fn copy(&self) -> Box<dyn StreamEncoder> {
        Box::new(self.clone())
    }
}

/// The event that ends a stream which broke: clients raise it, and no `[DONE]` follows.
pub fn error_event(error: &ClientError<'_>) -> Bytes {
    let mut out = b"data: ".to_vec();
    out.extend_from_slice(&error::write_error(error));
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}
