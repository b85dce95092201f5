//! Writes an answer of the Responses API: the whole object, and the events of a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::answer::{Event, Place};
use super::json::Json;
use super::models;
use super::provider::Provider;
use super::quirks::Quirks;
use super::responses::key_of;
use super::server::Request;
use super::text::{Finish, Reply, hash, pieces};
use super::usage::Usage;

/// Writes the answer to one request.
pub(crate) struct Writer<'a> {
    request: &'a Request<'a>,
    usage: Usage,
    id: String,
    created: u64,
}

/// What stands before the text in encrypted content: whose it is.
fn seal(request: &Request<'_>) -> String {
    format!("{}/{:x}/", request.site.provider, hash(key_of(request).as_bytes()))
}

/// Whether this provider wrote the encrypted content, for this key.
pub(crate) fn opened(request: &Request<'_>, content: &str) -> bool {
    let text = STANDARD.decode(content).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.is_some_and(|text| text.starts_with(&seal(request)))
}

impl<'a> Writer<'a> {
    pub(crate) fn new(request: &'a Request<'a>, usage: Usage) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let id = match request.site.provider {
            Provider::Xai => [8, 4, 4, 4, 12].map(|length| request.hex(&format!("id{length}"), length)).join("-"),
            Provider::OpenRouter => format!("gen-{created}-{}", request.id("id", 20)),
            _ => format!("resp_{}", request.hex("id", 50)),
        };
        Self { request, usage, id, created }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn provider(&self) -> Provider {
        self.request.site.provider
    }

    fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}", self.request.hex(&format!("{prefix}{index}"), 50))
    }

    /// Answers in the order of the output.
    fn items(&self, reply: &Reply) -> Vec<Value> {
        let mut items = Vec::new();
        let is_cut = reply.finish == Finish::Limit;
        let status = if is_cut { "incomplete" } else { "completed" };
        if !reply.reasoning.is_empty() {
            items.push(self.thought(reply));
        }
        if !reply.text.is_empty() {
            let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text});
            items.push(json!({
                "id": self.item_id("msg", items.len()), "type": "message", "status": status, "content": [part], "role": "assistant",
            }));
        }
        for (index, call) in reply.calls.iter().enumerate() {
            let call_id = format!("call_{}", self.request.id(&format!("call{index}"), 24));
            let declared = self.request.body["tools"].as_array().into_iter().flatten();
            let is_custom =
                declared.filter(|tool| tool["name"] == call.name.as_str()).any(|tool| tool["type"] == "custom");
            items.push(if is_custom {
                let input = call.object().map(|object| object.at("/input").clone()).unwrap_or_default();
                json!({
                    "id": self.item_id("ctc", index), "type": "custom_tool_call", "status": status, "call_id": call_id,
                    "input": input, "name": call.name,
                })
            } else {
                json!({
                    "id": self.item_id("fc", index), "type": "function_call", "status": status, "arguments": call.arguments,
                    "call_id": call_id, "name": call.name,
                })
            });
        }
        items
    }

    /// OpenAI shows a summary where one is asked for; the others always do.
    fn thought(&self, reply: &Reply) -> Value {
        let body = self.request.body;
        let shows = self.provider() != Provider::OpenAi || !body.at("/reasoning/summary").is_null();
        let summary = if shows { json!([{"type": "summary_text", "text": reply.reasoning}]) } else { json!([]) };
        let mut item = json!({"id": self.item_id("rs", 0), "type": "reasoning", "summary": summary});
        let includes = body["include"].as_array().into_iter().flatten();
        let asked = includes.into_iter().any(|what| what == "reasoning.encrypted_content");
        if asked || self.provider() == Provider::OpenRouter {
            let sealed = STANDARD.encode(format!("{}{}", seal(self.request), reply.reasoning));
            item.set("encrypted_content", json!(sealed));
        }
        if self.provider() == Provider::OpenRouter {
            item.set("format", json!("openai-responses-v1"));
        }
        item
    }

    fn usage(&self) -> Value {
        let Usage { input, cached, output, reasoning, .. } = self.usage;
        let mut usage = json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": input + output,
        });
        let ticks = Quirks::of(self.provider(), self.request.body).cost_ticks(self.request.model, &self.usage);
        match (self.provider(), ticks) {
            (Provider::Xai, Some(ticks)) => {
                usage.set("num_sources_used", json!(0));
                usage.set("num_server_side_tools_used", json!(0));
                usage.set("cost_in_usd_ticks", json!(ticks));
            }
            (Provider::OpenRouter, Some(ticks)) => {
                usage.set("cost", json!(ticks as f64 / 1e10));
                usage.set("is_byok", json!(false));
            }
            _ => {}
        }
        usage
    }

    /// The whole answer.
    pub(crate) fn response(&self, reply: &Reply) -> Value {
        let usage = if self.request.tells_usage() { self.usage() } else { Value::Null };
        let (status, details) = match reply.finish {
            Finish::Limit => ("incomplete", json!({"reason": "max_output_tokens"})),
            _ => ("completed", Value::Null),
        };
        self.object(status, details, self.items(reply), usage)
    }

    fn object(&self, status: &str, details: Value, output: Vec<Value>, usage: Value) -> Value {
        let body = self.request.body;
        let mut text = json!({"format": {"type": "text"}});
        if self.provider() == Provider::OpenAi {
            text.set("verbosity", json!("medium"));
        }
        let is_router = self.provider() == Provider::OpenRouter;
        let reasoning = if is_router { Value::Null } else { json!({"effort": null, "summary": null}) };
        let mut told = Map::new();
        for (name, default) in [
            ("instructions", Value::Null),
            ("max_output_tokens", Value::Null),
            ("parallel_tool_calls", json!(true)),
            ("previous_response_id", Value::Null),
            ("prompt_cache_key", Value::Null),
            ("reasoning", reasoning),
            ("temperature", json!(1.0)),
            ("text", text),
            ("tool_choice", json!("auto")),
            ("tools", json!([])),
            ("top_p", json!(1.0)),
            ("truncation", json!("disabled")),
            ("metadata", json!({})),
            ("user", Value::Null),
        ]
        .into_iter()
        .filter(|(name, _)| !(is_router && *name == "user"))
        {
            let given = Some(body[name].clone()).filter(|given| !given.is_null());
            told.insert(name.to_owned(), given.unwrap_or(default));
        }
        let keeps = !is_router && body["store"] != false;
        let mut object = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "background": false, "error": null,
            "incomplete_details": details, "model": models::answering_name(self.provider(), self.request.model), "output": output,
            "service_tier": "default", "store": keeps, "usage": usage,
        });
        if let Some(fields) = object.as_object_mut() {
            fields.extend(told);
        }
        object
    }

    /// The events of the answer.
    pub(crate) fn stream(&self, reply: &Reply, whole: &Value) -> Vec<Event> {
        let mut stream = Stream { writer: self, events: Vec::new(), number: 0 };
        if self.provider() == Provider::OpenRouter {
            stream.events.push(Event { place: Place::Opening, bytes: ": OPENROUTER PROCESSING\n\n".into() });
        }
        let begun = self.object("in_progress", Value::Null, Vec::new(), Value::Null);
        stream.push(Place::Opening, "response.created", json!({"response": begun}));
        stream.push(Place::Opening, "response.in_progress", json!({"response": begun}));
        for (index, item) in whole["output"].as_array().into_iter().flatten().enumerate() {
            stream.item(index, item);
        }
        let end = if reply.finish == Finish::Limit { "response.incomplete" } else { "response.completed" };
        stream.push(Place::Closing, end, json!({"response": whole}));
        let mut events = stream.events;
        if self.provider() == Provider::OpenRouter {
            events.push(Event { place: Place::Closing, bytes: "data: [DONE]\n\n".into() });
        }
        events
    }

    /// The event that tells an error in the middle of a stream.
    pub(crate) fn error_event(&self) -> Bytes {
        let error = json!({
            "type": "server_error", "code": "server_error", "param": null,
            "message": "The server had an error while processing your request. Sorry about that!",
        });
        let data = json!({"type": "error", "sequence_number": 99, "error": error});
        Bytes::from(format!("event: error\ndata: {data}\n\n"))
    }
}

/// The events of one stream while they are gathered.
struct Stream<'a> {
    writer: &'a Writer<'a>,
    events: Vec<Event>,
    number: u64,
}

impl Stream<'_> {
    fn push(&mut self, place: Place, name: &str, mut data: Value) {
        data.set("type", json!(name));
        data.set("sequence_number", json!(self.number));
        self.number += 1;
        let line = match self.writer.provider() {
            Provider::OpenRouter => String::new(),
            _ => format!("event: {name}\n"),
        };
        self.events.push(Event { place, bytes: format!("{line}data: {data}\n\n").into() });
    }

    fn item(&mut self, index: usize, item: &Value) {
        let mut begun = item.clone();
        begun.set("status", json!("in_progress"));
        for (field, empty) in
            [("content", json!([])), ("summary", json!([])), ("arguments", json!("")), ("input", json!(""))]
        {
            if !item[field].is_null() {
                begun.set(field, empty);
            }
        }
        self.push(Place::Opening, "response.output_item.added", json!({"output_index": index, "item": begun}));
        let place = json!({"item_id": item["id"], "output_index": index});
        match item["type"].as_str() {
            Some("message") => {
                let mut part = item.at("/content/0").clone();
                let text = part.at("/text").as_str().unwrap_or_default().to_owned();
                let mut place = place;
                place.set("content_index", json!(0));
                let whole = part.clone();
                part.set("text", json!(""));
                self.framed(&place, "content_part", &part, &whole, |stream| {
                    stream.deltas(&place, "response.output_text", "text", &text);
                });
            }
            Some("reasoning") => {
                for (number, part) in item["summary"].as_array().into_iter().flatten().enumerate() {
                    let text = part["text"].as_str().unwrap_or_default();
                    let mut place = place.clone();
                    place.set("summary_index", json!(number));
                    let empty = json!({"type": "summary_text", "text": ""});
                    self.framed(&place, "reasoning_summary_part", &empty, part, |stream| {
                        stream.deltas(&place, "response.reasoning_summary_text", "text", text);
                    });
                }
            }
            Some("function_call") => {
                let text = item["arguments"].as_str().unwrap_or_default();
                self.deltas(&place, "response.function_call_arguments", "arguments", text);
            }
            Some("custom_tool_call") => {
                let text = item["input"].as_str().unwrap_or_default();
                self.deltas(&place, "response.custom_tool_call_input", "input", text);
            }
            _ => {}
        }
        self.push(Place::Closing, "response.output_item.done", json!({"output_index": index, "item": item}));
    }

    fn framed(&mut self, place: &Value, name: &str, empty: &Value, whole: &Value, within: impl FnOnce(&mut Self)) {
        let with = |part: &Value| {
            let mut data = place.clone();
            data.set("part", part.clone());
            data
        };
        self.push(Place::Opening, &format!("response.{name}.added"), with(empty));
        within(self);
        self.push(Place::Closing, &format!("response.{name}.done"), with(whole));
    }

    fn deltas(&mut self, place: &Value, name: &str, field: &str, text: &str) {
        for piece in pieces(text, 1) {
            let mut data = place.clone();
            data.set("delta", json!(piece));
            if self.writer.provider() == Provider::OpenAi {
                data.set("obfuscation", json!(self.writer.request.id("padding", 12)));
            }
            self.push(Place::Delta, &format!("{name}.delta"), data);
        }
        let mut data = place.clone();
        data.set(field, json!(text));
        self.push(Place::Closing, &format!("{name}.done"), data);
    }
}
