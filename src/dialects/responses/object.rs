//! The `response` object as AiPipe writes it: what the request set is told back, and what the answer holds.

use serde_json::{Map, Value, json};

use super::scan::Scan;
use super::tools::{Declared, Names};
use crate::dialects::client::Frame;
use crate::dialects::conversation::{Opaque, Stop, Usage};
use crate::dialects::mark;
use crate::dialects::openai_chat::usage::part;

/// What is told back of a request, and what stands there where it said nothing.
const ECHOED: [(&str, &str); 17] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

/// Writes the objects of one answer.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// The response's id.
    pub(super) response_id: String,
    /// What the ids of items are made of.
    id: String,
    pub(super) created: u64,
    /// The settings of the request as members.
    settings: String,
    names: Names,
}

/// How an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State<'a> {
    /// More comes.
    InProgress,
    /// It has ended so.
    Ended(Stop, Option<&'a Usage>, Option<&'a str>),
}

impl Writer {
    /// For the answer to this request.
    pub(super) fn new(scan: &Scan<'_>, frame: &Frame) -> Self {
        let text = scan.found.text();
        let mut settings = String::from("\"background\":false,\"store\":false");
        for (name, default) in ECHOED {
            let written = scan.found.members.get(name).and_then(|member| text.get(member.value.clone()));
            let value = written.filter(|value| *value != "null").unwrap_or(default);
            settings.push_str(&format!(",\"{name}\":"));
            // An event is one line.
            settings.extend(value.chars().filter(|letter| !matches!(letter, '\n' | '\r')));
        }
        // A request whose tools cannot be read is not answered by a translation.
        let names = Declared::read(scan).map(|declared| declared.names).unwrap_or_default();
        let id = frame.request_id.to_string();
        Self { response_id: format!("resp_{id}"), id, created: frame.created, settings, names }
    }

    /// The object, with these items of output, each as JSON.
    pub(super) fn response(&self, model: &str, output: &[String], state: State<'_>) -> String {
        let (status, incomplete, usage, completed) = match state {
            State::InProgress => ("in_progress", Value::Null, "null".to_owned(), Value::Null),
            State::Ended(stop, usage, cost) => {
                let reason = incomplete_reason(stop);
                let status = if reason.is_some() { "incomplete" } else { "completed" };
                let details = reason.map_or(Value::Null, |reason| json!({"reason": reason}));
                (status, details, figures(usage, cost), Value::from(self.created))
            }
        };
        format!(
            "{{\"id\":{},\"object\":\"response\",\"created_at\":{},\"completed_at\":{completed},\"status\":\"{status}\",\
             \"error\":null,\"incomplete_details\":{incomplete},\"model\":{},\"output\":[{}],\"usage\":{usage},{}}}",
            Value::from(self.response_id.as_str()),
            self.created,
            Value::from(model),
            output.join(","),
            self.settings,
        )
    }

    /// The id of the item at a place of the output.
    pub(super) fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.id)
    }

    /// A thought. Its encrypted content stands there always: an item with an id alone would be looked for at a provider.
    pub(super) fn thought(&self, index: usize, text: &str, encrypted: Encrypted<'_>, status: &str) -> Value {
        let summary = if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) };
        let encrypted = match encrypted {
            Encrypted::Thought(opaque) => mark::thought(opaque),
            Encrypted::Call(signature) => mark::call(signature),
        };
        json!({
            "id": self.item_id("rs", index), "type": "reasoning", "summary": summary, "encrypted_content": encrypted, "status": status,
        })
    }

    /// A message with its parts.
    pub(super) fn message(&self, id: &str, parts: &[Value], status: &str) -> Value {
        json!({
            "id": id, "type": "message", "status": status, "content": parts, "role": "assistant",
        })
    }

    /// A call of a function, or of a custom tool.
    pub(super) fn call(&self, index: usize, call: &Call<'_>, status: &str) -> Value {
        let told = self.names.told(call.name);
        let (kind, prefix, member) =
            if told.is_custom { ("custom_tool_call", "ctc", "input") } else { ("function_call", "fc", "arguments") };
        let mut item = Map::new();
        item.insert("id".into(), self.item_id(prefix, index).into());
        item.insert("type".into(), kind.into());
        item.insert("status".into(), status.into());
        item.insert(member.into(), call.payload.into());
        item.insert("call_id".into(), call.id.into());
        item.insert("name".into(), told.name.into());
        if let Some(namespace) = told.namespace {
            item.insert("namespace".into(), namespace.into());
        }
        item.into()
    }

    /// Whether a function stands for a custom tool.
    pub(super) fn is_custom(&self, name: &str) -> bool {
        self.names.told(name).is_custom
    }
}

/// What stands in the encrypted content of a thought.
#[derive(Debug, Clone, Copy)]
pub(super) enum Encrypted<'a> {
    /// What its model wants back with it, if anything.
    Thought(Option<&'a Opaque>),
    /// What its model wants back with the call that follows.
    Call(&'a Opaque),
}

/// A call of one of the client's tools.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) id: &'a str,
    /// The function's name in the canonical form.
    pub(super) name: &'a str,
    /// Its arguments as JSON text, or a custom tool's input.
    pub(super) payload: &'a str,
}

/// A part of a message.
pub(super) fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

/// A refusal as a part of a message.
pub(super) fn refusal_part(text: &str) -> Value {
    json!({"type": "refusal", "refusal": text})
}

/// Why an answer is not complete, in the dialect's words.
fn incomplete_reason(stop: Stop) -> Option<&'static str> {
    match stop {
        Stop::Length | Stop::ContextFull | Stop::Paused => Some("max_output_tokens"),
        Stop::Filtered => Some("content_filter"),
        Stop::End | Stop::ToolUse | Stop::Sequence | Stop::Refusal => None,
    }
}

fn figures(usage: Option<&Usage>, cost: Option<&str>) -> String {
    let Some(usage) = usage else { return "null".to_owned() };
    let tokens = usage.tokens;
    let written = part("cache_write_tokens", tokens.cache_write);
    let (heard, said) = (part("audio_tokens", tokens.audio_input), part("audio_tokens", tokens.audio_output));
    let cost = cost.map(|cost| format!(",\"cost\":{cost}")).unwrap_or_default();
    format!(
        "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":{}{written}{heard}}},\"output_tokens\":{},\
         \"output_tokens_details\":{{\"reasoning_tokens\":{}{said}}},\"total_tokens\":{}{cost}}}",
        tokens.input,
        tokens.cached_input,
        tokens.output,
        tokens.reasoning,
        tokens.input.saturating_add(tokens.output),
    )
}
