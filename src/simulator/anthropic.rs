//! Anthropic's Messages and token counts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::{Answer, Delivery, Event, Place};
use super::anthropic_checks;
use super::errors::Failure;
use super::json::Json;
use super::models;
use super::provider::Provider;
use super::server::{Request, request_id_header};
use super::text::{Ask, Calls, Finish, Form, Reasoning, Reply, Tool, ToolChoice, hash, pieces, reply};
use super::usage::{Caching, PER_MESSAGE, PromptItem, Usage, tokens_of};

/// Answers a call of `/v1/messages`.
pub(crate) fn answer(request: &Request<'_>) -> Result<Answer, Failure> {
    anthropic_checks::check(request)?;
    let items: Vec<PromptItem> = prompt(request.body).into_iter().map(PromptItem::new).collect();
    let input = request.site.cache.input(request.model, &items, Caching::Marked);
    let reply = reply(&read(request), input);
    let writer = Writer { request, model: models::answering_name(Provider::Anthropic, request.model), reply: &reply };
    let mut answer = match request.delivery {
        Delivery::Whole => Answer::json(&writer.whole()),
        Delivery::Stream => Answer::stream("text/event-stream; charset=utf-8", writer.stream()),
    };
    answer.usage = Some(reply.usage);
    answer.headers.extend(rate_headers());
    answer.headers.extend(request_id_header(Provider::Anthropic, format!("req_{}", request.id("request", 24))));
    Ok(answer)
}

/// Answers a call of `/v1/messages/count_tokens`.
pub(crate) fn count_tokens(request: &Request<'_>) -> Result<Answer, Failure> {
    anthropic_checks::check_countable(request)?;
    let input: u64 = prompt(request.body).into_iter().map(|part| tokens_of(part) + PER_MESSAGE).sum();
    let mut answer = Answer::json(&json!({"input_tokens": input}));
    answer.usage = Some(Usage { input, ..Usage::default() });
    Ok(answer)
}

/// The parts of a prompt in the order in which they are cached: tools, system blocks, then each message.
fn prompt(body: &Value) -> Vec<&Value> {
    let mut parts: Vec<&Value> = body["tools"].as_array().into_iter().flatten().collect();
    match &body["system"] {
        Value::Array(blocks) => parts.extend(blocks),
        Value::Null => {}
        system => parts.push(system),
    }
    parts.extend(body["messages"].as_array().into_iter().flatten());
    parts
}

/// What the model sees.
fn read(request: &Request<'_>) -> Ask {
    let body = request.body;
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let users = || messages.iter().enumerate().filter(|(_, message)| message["role"] == "user");
    let user = users().map(|(at, message)| (at, text_of(&message["content"]))).rfind(|(_, text)| !text.is_empty());
    let from = user.as_ref().map_or(0, |(at, _)| *at);
    let results =
        users().filter(|(at, _)| *at >= from).flat_map(|(_, message)| results_in(&message["content"])).collect();
    let choice = &body["tool_choice"];
    let format = body.at("/output_config/format");
    let format = if format.is_null() { &body["output_format"] } else { format };
    Ask {
        user: user.map(|(_, text)| text).unwrap_or_default(),
        results,
        tools: body["tools"].as_array().into_iter().flatten().filter_map(tool).collect(),
        choice: match choice["type"].as_str() {
            Some("any") => ToolChoice::Any,
            Some("none") => ToolChoice::Never,
            Some("tool") => ToolChoice::Named(choice["name"].as_str().unwrap_or_default().to_owned()),
            _ => ToolChoice::Auto,
        },
        calls: if choice["disable_parallel_tool_use"] == true { Calls::Single } else { Calls::Parallel },
        form: if format["type"] == "json_schema" { Form::Schema(format["schema"].clone()) } else { Form::Prose },
        limit: body["max_tokens"].as_u64(),
        stop: body["stop_sequences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        reasoning: if anthropic_checks::thinks(body) { Reasoning::WithinLimit } else { Reasoning::No },
        begun: messages
            .last()
            .filter(|message| message["role"] == "assistant")
            .map(|message| text_of(&message["content"]))
            .unwrap_or_default(),
        says: request.says(),
        seed: request.site.settings.seed,
    }
}

/// The text of a message's content: a string, or its text blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        blocks => blocks.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect(),
    }
}

fn results_in(content: &Value) -> Vec<String> {
    let blocks = content.as_array().into_iter().flatten().filter(|block| block["type"] == "tool_result");
    blocks.map(|block| text_of(&block["content"])).collect()
}

/// A client's tool; those of Anthropic's own types have no schema and are not called here.
fn tool(tool: &Value) -> Option<Tool> {
    tool.get("input_schema")?;
    Some(Tool { name: tool["name"].as_str()?.to_owned(), parameters: tool["input_schema"].clone() })
}

/// The signature of a thinking block: bound to the model and to every letter, as the real one is.
pub(crate) fn signature(model: &str, thinking: &str) -> String {
    let digest = hash(format!("{model}\n{thinking}").as_bytes());
    STANDARD.encode([digest.to_le_bytes(), digest.rotate_left(32).to_be_bytes(), *b"simulatd"].concat())
}

fn rate_headers() -> [(&'static str, String); 3] {
    [
        ("anthropic-ratelimit-requests-limit", "20000".to_owned()),
        ("anthropic-ratelimit-requests-remaining", "19999".to_owned()),
        ("anthropic-ratelimit-requests-reset", "2026-04-05T10:39:17Z".to_owned()),
    ]
}

struct Writer<'a> {
    request: &'a Request<'a>,
    model: String,
    reply: &'a Reply,
}

impl Writer<'_> {
    fn stop(&self) -> (&'static str, Value) {
        match &self.reply.finish {
            Finish::Done => ("end_turn", Value::Null),
            Finish::Calls => ("tool_use", Value::Null),
            Finish::Limit => ("max_tokens", Value::Null),
            Finish::Stopped(sequence) => ("stop_sequence", json!(sequence)),
        }
    }

    /// Input beside the cache, which this provider counts apart.
    fn usage(&self, output: u64) -> Value {
        let Usage { input, cached, cache_written, .. } = self.reply.usage;
        json!({
            "input_tokens": input - cached - cache_written,
            "cache_creation_input_tokens": cache_written,
            "cache_read_input_tokens": cached,
            "cache_creation": {"ephemeral_5m_input_tokens": cache_written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output,
            "service_tier": "standard",
            "inference_geo": "not_available",
        })
    }

    fn message(&self, content: Value, stop: (Value, Value), usage: Value) -> Value {
        let mut message = json!({
            "model": self.model,
            "id": format!("msg_01{}", self.request.id("message", 22)),
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": stop.0,
            "stop_sequence": stop.1,
            "stop_details": null,
        });
        if self.request.tells_usage() {
            message.set("usage", usage);
        }
        message
    }

    /// The calls that can be told: the arguments of one that was cut short are no object.
    fn tool_blocks(&self) -> Vec<Value> {
        let calls = self.reply.calls.iter().enumerate();
        calls.filter_map(|(index, call)| Some(self.tool_block(index, &call.name, call.object()?))).collect()
    }

    fn tool_block(&self, index: usize, name: &str, input: Value) -> Value {
        let id = format!("toolu_01{}", self.request.id(&format!("call{index}"), 22));
        json!({"type": "tool_use", "id": id, "name": name, "input": input, "caller": {"type": "direct"}})
    }

    fn whole(&self) -> Value {
        let mut content = Vec::new();
        if !self.reply.reasoning.is_empty() {
            let signature = signature(self.request.model, &self.reply.reasoning);
            content.push(json!({"type": "thinking", "thinking": self.reply.reasoning, "signature": signature}));
        }
        if !self.reply.text.is_empty() {
            content.push(json!({"type": "text", "text": self.reply.text}));
        }
        content.extend(self.tool_blocks());
        let (reason, sequence) = self.stop();
        self.message(json!(content), (json!(reason), sequence), self.usage(self.reply.usage.output))
    }

    fn stream(&self) -> Vec<Event> {
        let mut stream = Stream { events: Vec::new(), block: 0 };
        let start = self.message(json!([]), (Value::Null, Value::Null), self.usage(1));
        stream.push(Place::Opening, "message_start", &json!({"type": "message_start", "message": start}));
        if !self.reply.reasoning.is_empty() {
            stream.open(json!({"type": "thinking", "thinking": "", "signature": ""}));
            for piece in pieces(&self.reply.reasoning, 4) {
                stream.delta(json!({"type": "thinking_delta", "thinking": piece}));
            }
            let signature = signature(self.request.model, &self.reply.reasoning);
            stream.delta(json!({"type": "signature_delta", "signature": signature}));
            stream.close();
        }
        if !self.reply.text.is_empty() {
            stream.open(json!({"type": "text", "text": ""}));
            for piece in pieces(&self.reply.text, 4) {
                stream.delta(json!({"type": "text_delta", "text": piece}));
            }
            stream.close();
        }
        for (index, call) in self.reply.calls.iter().enumerate() {
            stream.open(self.tool_block(index, &call.name, json!({})));
            stream.delta(json!({"type": "input_json_delta", "partial_json": ""}));
            if call.arguments != "{}" {
                for piece in pieces(&call.arguments, 2) {
                    stream.delta(json!({"type": "input_json_delta", "partial_json": piece}));
                }
            }
            stream.close();
        }
        let (reason, sequence) = self.stop();
        let mut delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence, "stop_details": null},
        });
        if self.request.tells_usage() {
            let Usage { input, cached, cache_written, output, .. } = self.reply.usage;
            delta.set(
                "usage",
                json!({
                    "input_tokens": input - cached - cache_written,
                    "cache_creation_input_tokens": cache_written,
                    "cache_read_input_tokens": cached,
                    "output_tokens": output,
                }),
            );
        }
        stream.push(Place::Closing, "message_delta", &delta);
        stream.push(Place::Closing, "message_stop", &json!({"type": "message_stop"}));
        stream.events
    }
}

struct Stream {
    events: Vec<Event>,
    /// The index of the open or next block.
    block: usize,
}

impl Stream {
    /// Data lines are padded with spaces, so that their lengths tell nothing.
    fn push(&mut self, place: Place, name: &str, data: &Value) {
        let data = data.to_string();
        let spaces = data.len() % 16;
        let bytes = format!("event: {name}\ndata: {data}{:spaces$}\n\n", "").into();
        self.events.push(Event { place, bytes });
    }

    fn open(&mut self, block: Value) {
        let start = json!({"type": "content_block_start", "index": self.block, "content_block": block});
        self.push(Place::Opening, "content_block_start", &start);
        if self.block == 0 {
            let bytes = "event: ping\ndata: {\"type\": \"ping\"}\n\n".into();
            self.events.push(Event { place: Place::Opening, bytes });
        }
    }

    fn delta(&mut self, delta: Value) {
        let delta = json!({"type": "content_block_delta", "index": self.block, "delta": delta});
        self.push(Place::Delta, "content_block_delta", &delta);
    }

    fn close(&mut self) {
        let stop = json!({"type": "content_block_stop", "index": self.block});
        self.push(Place::Closing, "content_block_stop", &stop);
        self.block += 1;
    }
}
