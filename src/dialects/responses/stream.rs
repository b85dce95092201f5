//! Writes a canonical stream as this dialect's events: `response.created`, then each item of the output with its parts and deltas, and
//! the whole response at the end. Thoughts and messages stand one after the other; calls may be open side by side, as some providers
//! interleave their arguments.

use serde_json::{Value, json};

use super::answer::{item_status, without_content};
use super::error;
use super::following;
use super::object::{Call, Encrypted, State, Writer, refusal_part, text_part};
use crate::dialects::conversation::{Event, Opaque, Stop, Usage};
use crate::dialects::custom_tools;
use crate::dialects::progress::Progress;
use crate::dialects::translate::{ClientError, StreamEncoder};

/// Writes one stream.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub(super) writer: Writer,
    pub(super) model: String,
    pub(super) begun: bool,
    /// The number of the next event.
    pub(super) sequence: u64,
    /// The items so far, as JSON; of one that is open, nothing.
    pub(super) output: Vec<String>,
    pub(super) open: Option<Open>,
    calls: Vec<OpenCall>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    /// What the whole response at the end has as `aipipe`.
    aipipe: Option<String>,
}

/// The thought or message under way.
#[derive(Debug, Clone)]
pub(super) enum Open {
    Thought { index: usize, text: String, opaque: Option<Opaque> },
    Message { index: usize, id: String, parts: Vec<Value>, part: Option<(PartKind, String)> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    Text,
    Refusal,
}

impl PartKind {
    fn value(self, text: &str) -> Value {
        match self {
            Self::Text => text_part(text),
            Self::Refusal => refusal_part(text),
        }
    }

    /// What events of a text have beside it.
    fn complete(self, data: &mut Value) {
        if let (Self::Text, Some(data)) = (self, data.as_object_mut()) {
            data.insert("logprobs".into(), json!([]));
        }
    }

    /// The name of its events, and of the member that holds the whole in the last of them.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("response.output_text", "text"),
            Self::Refusal => ("response.refusal", "refusal"),
        }
    }
}

/// A call whose arguments come.
#[derive(Debug, Clone)]
struct OpenCall {
    number: u32,
    index: usize,
    id: String,
    name: String,
    arguments: String,
    is_custom: bool,
}

impl Encoder {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            writer,
            model: String::new(),
            begun: false,
            sequence: 0,
            output: Vec::new(),
            open: None,
            calls: Vec::new(),
            usage: None,
            stop: None,
            aipipe: None,
        }
    }

    /// Appends one event, numbered.
    fn write(&mut self, name: &str, mut data: Value, out: &mut Vec<u8>) {
        if let Some(data) = data.as_object_mut() {
            data.shift_insert(0, "type".into(), name.into());
            data.insert("sequence_number".into(), self.sequence.into());
        }
        self.sequence = self.sequence.saturating_add(1);
        out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
    }

    /// An event with the whole response, which stands as text so that decimals stay as they are.
    fn write_response(&mut self, name: &str, response: &str, out: &mut Vec<u8>) {
        let number = self.sequence;
        self.sequence = self.sequence.saturating_add(1);
        let data = format!("{{\"type\":\"{name}\",\"response\":{response},\"sequence_number\":{number}}}");
        out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
    }

    /// The beginning is held back until there is something to begin: until then a provider may still name another model.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let response = self.writer.response(&self.model, &[], State::InProgress);
        self.write_response("response.created", &response, out);
        self.write_response("response.in_progress", &response, out);
    }

    /// Takes the next place of the output and says what begins there.
    fn add(&mut self, item: impl FnOnce(&Writer, usize) -> Value, out: &mut Vec<u8>) -> usize {
        self.begin(out);
        let index = self.output.len();
        self.output.push(String::new());
        let item = item(&self.writer, index);
        self.write("response.output_item.added", json!({"output_index": index, "item": item}), out);
        index
    }

    /// An item is whole.
    fn done(&mut self, index: usize, item: Value, out: &mut Vec<u8>) {
        if let Some(place) = self.output.get_mut(index) {
            *place = item.to_string();
        }
        self.write("response.output_item.done", json!({"output_index": index, "item": item}), out);
    }

    fn thought(&mut self, text: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Thought { opaque: None, .. })) {
            self.close("completed", out);
            self.open_thought(out);
        }
        let Some(Open::Thought { index, text: so_far, .. }) = &mut self.open else { return };
        let (index, begins) = (*index, so_far.is_empty());
        so_far.push_str(text);
        let id = self.writer.item_id("rs", index);
        if begins {
            let part = json!({"type": "summary_text", "text": ""});
            let data = json!({"item_id": id, "output_index": index, "summary_index": 0, "part": part});
            self.write("response.reasoning_summary_part.added", data, out);
        }
        let data = json!({"item_id": id, "output_index": index, "summary_index": 0, "delta": text});
        self.write("response.reasoning_summary_text.delta", data, out);
    }

    fn open_thought(&mut self, out: &mut Vec<u8>) {
        let item = |writer: &Writer, index| json!({"id": writer.item_id("rs", index), "type": "reasoning", "summary": [], "status": "in_progress"});
        let index = self.add(item, out);
        self.open = Some(Open::Thought { index, text: String::new(), opaque: None });
    }

    /// What ends a thought; without one before it, it is a thought of its own.
    fn sign(&mut self, opaque: &Opaque, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Thought { opaque: None, .. })) {
            self.close("completed", out);
            self.open_thought(out);
        }
        if let Some(Open::Thought { opaque: place, .. }) = &mut self.open {
            *place = Some(opaque.clone());
        }
    }

    fn text(&mut self, kind: PartKind, text: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Message { .. })) {
            self.close("completed", out);
            let index = self.output.len();
            let id = self.writer.item_id("msg", index);
            self.add(|writer, _| writer.message(&id, &[], "in_progress"), out);
            self.open = Some(Open::Message { index, id, parts: Vec::new(), part: None });
        }
        if !matches!(&self.open, Some(Open::Message { part: Some((open, _)), .. }) if *open == kind) {
            self.close_part(out);
            self.open_part(kind, out);
        }
        let Some(Open::Message { index, id, parts, part: Some((_, so_far)) }) = &mut self.open else { return };
        so_far.push_str(text);
        let (index, content) = (*index, parts.len());
        let mut data = json!({
            "item_id": id, "output_index": index, "content_index": content, "delta": text,
        });
        kind.complete(&mut data);
        self.write(&format!("{}.delta", kind.names().0), data, out);
    }

    fn open_part(&mut self, kind: PartKind, out: &mut Vec<u8>) {
        let Some(Open::Message { index, id, parts, part }) = &mut self.open else { return };
        *part = Some((kind, String::new()));
        let (index, content) = (*index, parts.len());
        let data = json!({"item_id": id, "output_index": index, "content_index": content, "part": kind.value("")});
        self.write("response.content_part.added", data, out);
    }

    fn close_part(&mut self, out: &mut Vec<u8>) {
        let Some(Open::Message { index, id, parts, part }) = &mut self.open else { return };
        let Some((kind, text)) = part.take() else { return };
        let (index, id, content) = (*index, id.clone(), parts.len());
        let value = kind.value(&text);
        parts.push(value.clone());
        let (event, member) = kind.names();
        let mut data = json!({"item_id": id, "output_index": index, "content_index": content, member: text});
        kind.complete(&mut data);
        self.write(&format!("{event}.done"), data, out);
        let data = json!({"item_id": id, "output_index": index, "content_index": content, "part": value});
        self.write("response.content_part.done", data, out);
    }

    /// Ends the thought or message under way.
    fn close(&mut self, status: &str, out: &mut Vec<u8>) {
        self.close_part(out);
        match self.open.take() {
            None => {}
            Some(Open::Message { index, id, parts, .. }) => {
                let item = self.writer.message(&id, &parts, status);
                self.done(index, item, out);
            }
            Some(Open::Thought { index, text, opaque }) => {
                if !text.is_empty() {
                    let id = self.writer.item_id("rs", index);
                    let data = json!({"item_id": id, "output_index": index, "summary_index": 0, "text": text});
                    self.write("response.reasoning_summary_text.done", data, out);
                    let part = json!({"type": "summary_text", "text": text});
                    let data = json!({"item_id": id, "output_index": index, "summary_index": 0, "part": part});
                    self.write("response.reasoning_summary_part.done", data, out);
                }
                let item = self.writer.thought(index, &text, Encrypted::Thought(opaque.as_ref()), "completed");
                self.done(index, item, out);
            }
        }
    }

    fn call_start(&mut self, number: u32, (id, name): (&str, &str), signature: Option<&Opaque>, out: &mut Vec<u8>) {
        self.close("completed", out);
        if let Some(signature) = signature {
            let item = |writer: &Writer, index| writer.thought(index, "", Encrypted::Call(signature), "in_progress");
            let index = self.add(item, out);
            let item = self.writer.thought(index, "", Encrypted::Call(signature), "completed");
            self.done(index, item, out);
        }
        let call = Call { id, name, payload: "" };
        let index = self.add(|writer, index| writer.call(index, &call, "in_progress"), out);
        let is_custom = self.writer.is_custom(name);
        let (id, name) = (id.to_owned(), name.to_owned());
        self.calls.push(OpenCall { number, index, id, name, arguments: String::new(), is_custom });
    }

    fn arguments(&mut self, number: u32, delta: &str, out: &mut Vec<u8>) {
        let Some(call) = self.calls.iter_mut().find(|call| call.number == number && !delta.is_empty()) else { return };
        call.arguments.push_str(delta);
        if call.is_custom {
            // Its input stands within the arguments and can be told once they are whole.
            return;
        }
        let index = call.index;
        let data = json!({"item_id": self.writer.item_id("fc", index), "output_index": index, "delta": delta});
        self.write("response.function_call_arguments.delta", data, out);
    }

    /// Ends all calls: a client may run them from here on.
    fn close_calls(&mut self, stop: Stop, out: &mut Vec<u8>) {
        for call in std::mem::take(&mut self.calls) {
            let is_cut = stop == Stop::Length && serde_json::from_str::<Value>(&call.arguments).is_err();
            let index = call.index;
            let payload = if call.is_custom {
                let input = custom_tools::input(&call.arguments);
                let id = self.writer.item_id("ctc", index);
                let data = json!({"item_id": id, "output_index": index, "delta": input});
                self.write("response.custom_tool_call_input.delta", data, out);
                let data = json!({"item_id": id, "output_index": index, "input": input});
                self.write("response.custom_tool_call_input.done", data, out);
                input
            } else {
                let id = self.writer.item_id("fc", index);
                let mut arguments = call.arguments;
                if arguments.is_empty() && !is_cut {
                    // Clients parse the arguments of a call: one without any gets an empty object.
                    arguments.push_str("{}");
                    let data = json!({"item_id": id, "output_index": index, "delta": "{}"});
                    self.write("response.function_call_arguments.delta", data, out);
                }
                let name = call.name.as_str();
                let data = json!({"item_id": id, "output_index": index, "name": name, "arguments": arguments});
                self.write("response.function_call_arguments.done", data, out);
                arguments
            };
            let status = if is_cut { "incomplete" } else { "completed" };
            let told = Call { id: &call.id, name: &call.name, payload: &payload };
            let item = self.writer.call(index, &told, status);
            self.done(index, item, out);
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => self.model.clone_from(model),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop { reason, .. } => self.stop = Some(*reason),
            Event::Ping if !self.begun => {}
            Event::Ping => out.extend_from_slice(b": keep-alive\n\n"),
            Event::Text(text) | Event::Refusal(text) | Event::Reasoning(text) if text.is_empty() => {}
            Event::Text(text) => self.text(PartKind::Text, text, out),
            Event::Refusal(text) => self.text(PartKind::Refusal, text, out),
            Event::Reasoning(text) => self.thought(text, out),
            Event::ReasoningOpaque(opaque) => self.sign(opaque, out),
            Event::ToolCallStart { index, id, name, signature } => {
                self.call_start(*index, (id, name), signature.as_ref(), out);
            }
            Event::ToolArguments { index, delta } => self.arguments(*index, delta, out),
        }
    }

    fn finish(&mut self, cost_usd: Option<&str>, out: &mut Vec<u8>) {
        self.begin(out);
        let stop = self.stop.unwrap_or(Stop::End);
        self.close(item_status(stop), out);
        self.close_calls(stop, out);
        let stop = without_content(stop, self.output.is_empty());
        let state = State::Ended(stop, self.usage.as_ref(), cost_usd);
        let mut response = self.writer.response(&self.model, &self.output, state);
        if let Some(aipipe) = &self.aipipe {
            response.pop();
            response.push_str(&format!(",\"aipipe\":{aipipe}}}"));
        }
        let is_incomplete = matches!(stop, Stop::Length | Stop::ContextFull | Stop::Paused | Stop::Filtered);
        let name = if is_incomplete { "response.incomplete" } else { "response.completed" };
        self.write_response(name, &response, out);
    }

    fn error(&mut self, error: &ClientError<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        let output: Vec<String> = self.output.iter().filter(|item| !item.is_empty()).cloned().collect();
        let response = self.writer.response(&self.model, &output, State::InProgress);
        out.extend_from_slice(&error::events(error, self.sequence, &response));
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
