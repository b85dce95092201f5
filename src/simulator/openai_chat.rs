//! Chat Completions as OpenAI, xAI, OpenRouter, MiniMax and Moonshot speak it; [`quirks`](super::quirks) has their differences.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::answer::{Answer, Delivery, Event, Place};
use super::errors::Failure;
use super::json::Json;
use super::models;
use super::openai_checks;
use super::provider::Provider;
use super::quirks::{CallDeltas, Quirks, Shown, StreamUsage};
use super::server::{Request, request_id_header};
use super::text::{Ask, Calls, Finish, Form, Reasoning, Reply, Tool, ToolChoice, pieces, reply};
use super::usage::{Caching, PromptItem, Usage};

/// Answers a call of `/chat/completions`.
pub(crate) fn answer(request: &Request<'_>) -> Result<Answer, Failure> {
    openai_checks::check(request)?;
    let items: Vec<PromptItem> = prompt(request.body).map(PromptItem::new).collect();
    let input = request.site.cache.input(request.model, &items, Caching::Automatic);
    let mut ask = read(request);
    let mut replies = Vec::new();
    let mut usage = input;
    for choice in 0..request.body["n"].as_u64().unwrap_or(1).clamp(1, 16) {
        ask.seed = request.site.settings.seed.wrapping_add(choice);
        let reply = reply(&ask, input);
        usage.output += reply.usage.output;
        usage.reasoning += reply.usage.reasoning;
        replies.push(reply);
    }
    let writer = Writer::new(request, usage);
    let mut answer = match request.delivery {
        Delivery::Whole => Answer::json(&writer.whole(&replies)),
        Delivery::Stream => Answer::stream(writer.stream_type(), writer.stream(&replies)),
    };
    answer.usage = Some(usage);
    answer.cost_ticks = writer.quirks.cost_ticks(request.model, &usage);
    answer.headers.extend(request_id_header(request.site.provider, format!("req_{}", request.hex("request", 32))));
    if request.site.provider == Provider::OpenRouter {
        answer.headers.push(("x-generation-id", writer.id));
    }
    Ok(answer)
}

/// The parts of a prompt in the order in which they are cached: tools, then messages.
fn prompt(body: &Value) -> impl Iterator<Item = &Value> {
    let parts = |name: &str| body[name].as_array().map(Vec::as_slice).unwrap_or_default();
    parts("tools").iter().chain(parts("messages"))
}

/// What the model sees.
fn read(request: &Request<'_>) -> Ask {
    let body = request.body;
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last_user = messages.iter().rposition(|message| message["role"] == "user");
    let after = messages.get(last_user.unwrap_or(0)..).unwrap_or_default();
    let results = after.iter().filter(|message| message["role"] == "tool").map(|message| text_of(&message["content"]));
    let format = &body["response_format"];
    let reasoning = match request.site.provider {
        provider if !models::reasons(provider, request.model, body) => Reasoning::No,
        Provider::Xai => Reasoning::BesideLimit,
        _ => Reasoning::WithinLimit,
    };
    Ask {
        user: last_user.and_then(|at| messages.get(at)).map(|message| text_of(&message["content"])).unwrap_or_default(),
        results: results.collect(),
        tools: body["tools"].as_array().into_iter().flatten().filter_map(tool).collect(),
        choice: tool_choice(&body["tool_choice"]),
        calls: if body["parallel_tool_calls"] == false { Calls::Single } else { Calls::Parallel },
        form: match format["type"].as_str() {
            Some("json_schema") => Form::Schema(format.at("/json_schema/schema").clone()),
            Some("json_object") => Form::Json,
            _ => Form::Prose,
        },
        limit: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        stop: match &body["stop"] {
            Value::String(stop) => vec![stop.clone()],
            stops => stops.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        },
        reasoning,
        says: request.says(),
        seed: 0,
    }
}

/// The text of a message's content: a string, or its text parts.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        parts => parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect(),
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let function = &tool["function"];
    Some(Tool { name: function["name"].as_str()?.to_owned(), parameters: function["parameters"].clone() })
}

fn tool_choice(choice: &Value) -> ToolChoice {
    match choice.as_str() {
        Some("none") => ToolChoice::Never,
        Some("required") => ToolChoice::Any,
        Some(_) => ToolChoice::Auto,
        None => match choice.at("/function/name").as_str() {
            Some(name) => ToolChoice::Named(name.to_owned()),
            None if choice.at("/allowed_tools/mode") == "required" => ToolChoice::Any,
            None => ToolChoice::Auto,
        },
    }
}

/// One change that a stream tells.
enum Bit<'a> {
    Reasoning(&'a str),
    Text(&'a str),
    /// A call's name, with all of its arguments or none.
    Call {
        index: usize,
        name: &'a str,
        arguments: &'a str,
    },
    Arguments {
        index: usize,
        piece: &'a str,
    },
}

/// Writes the answer to one request.
struct Writer<'a> {
    request: &'a Request<'a>,
    quirks: Quirks,
    model: String,
    id: String,
    created: u64,
    usage: Usage,
    /// OpenAI pads its deltas so that their lengths tell nothing.
    padding: String,
    /// Calls that the conversation already holds; Kimi numbers on from there.
    earlier_calls: usize,
}

impl<'a> Writer<'a> {
    fn new(request: &'a Request<'a>, usage: Usage) -> Self {
        let provider = request.site.provider;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let id = match provider {
            Provider::Xai => {
                let groups = [8, 4, 4, 4, 12].map(|length| request.hex(&format!("id{length}"), length));
                groups.join("-")
            }
            Provider::OpenRouter => format!("gen-{created}-{}", request.id("id", 20)),
            Provider::MiniMax => request.hex("id", 32),
            Provider::Moonshot => format!("chatcmpl-{}", request.hex("id", 24)),
            _ => format!("chatcmpl-{}", request.id("id", 29)),
        };
        let messages = request.body["messages"].as_array().into_iter().flatten();
        let calls = |message: &Value| message["tool_calls"].as_array().map_or(0, Vec::len);
        Self {
            request,
            quirks: Quirks::of(provider, request.body),
            model: models::answering_name(provider, request.model),
            id,
            created,
            usage,
            padding: request.id("padding", 16),
            earlier_calls: messages.map(calls).sum(),
        }
    }

    fn provider(&self) -> Provider {
        self.quirks.provider
    }

    fn usage_object(&self) -> Value {
        self.quirks.usage(self.request.model, &self.usage)
    }

    fn call_id(&self, index: usize, name: &str) -> String {
        let salt = format!("call{index}");
        match self.provider() {
            Provider::Xai => {
                let digits = self.request.hex(&salt, 8);
                format!("call_{}", digits.replace(|digit: char| !digit.is_ascii_digit(), "7"))
            }
            Provider::MiniMax => format!("call_function_{}_{}", self.request.id(&salt, 12).to_lowercase(), index + 1),
            Provider::Moonshot => format!("functions.{name}:{}", self.earlier_calls + index),
            _ => format!("call_{}", self.request.id(&salt, 24)),
        }
    }

    /// OpenAI's reasoning models have neither logprobs nor a fingerprint.
    fn plain_openai(&self) -> bool {
        self.provider() == Provider::OpenAi && !models::is_openai_reasoner(self.request.model)
    }

    fn fingerprint(&self) -> Value {
        match self.provider() {
            Provider::OpenAi if self.plain_openai() => json!("fp_8b22347a3e"),
            Provider::Xai => json!("fp_25ea88a038"),
            Provider::Moonshot => json!("fpv0_41b1161c"),
            _ => Value::Null,
        }
    }

    // ── Whole answers ──

    fn whole(&self, replies: &[Reply]) -> Value {
        let choices: Vec<Value> = replies.iter().enumerate().map(|(index, reply)| self.choice(index, reply)).collect();
        let usage = if self.request.tells_usage() { self.usage_object() } else { Value::Null };
        let (id, created, model) = (&self.id, self.created, &self.model);
        let mut whole = match self.provider() {
            Provider::Xai => json!({
                "id": id, "object": "chat.completion", "created": created, "model": model, "choices": choices, "usage": usage,
                "system_fingerprint": self.fingerprint(),
            }),
            Provider::OpenRouter => json!({
                "id": id, "object": "chat.completion", "created": created, "model": model, "provider": "Simulated",
                "system_fingerprint": null, "service_tier": "default", "choices": choices, "usage": usage,
            }),
            Provider::MiniMax => json!({
                "id": id, "choices": choices, "created": created, "model": model, "object": "chat.completion", "usage": usage,
                "input_sensitive": false, "output_sensitive": false, "input_sensitive_type": 0, "output_sensitive_type": 0,
                "output_sensitive_int": 0, "base_resp": {"status_code": 0, "status_msg": ""},
            }),
            Provider::Moonshot => json!({
                "id": id, "object": "chat.completion", "created": created, "model": model, "choices": choices, "usage": usage,
            }),
            _ => json!({
                "id": id, "object": "chat.completion", "created": created, "model": model, "choices": choices, "usage": usage,
                "service_tier": "default", "system_fingerprint": self.fingerprint(),
            }),
        };
        if let (false, Some(fields)) = (self.request.tells_usage(), whole.as_object_mut()) {
            fields.shift_remove("usage");
        }
        whole
    }

    fn choice(&self, index: usize, reply: &Reply) -> Value {
        let message = self.message(reply);
        let finish = finish_reason(reply);
        match self.provider() {
            Provider::OpenRouter => json!({
                "index": index, "logprobs": null, "finish_reason": finish,
                "native_finish_reason": Quirks::native_finish(self.request.model, finish), "message": message,
            }),
            Provider::MiniMax => json!({"finish_reason": finish, "index": index, "message": message}),
            _ if self.plain_openai() => {
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
            }
            _ => json!({"index": index, "message": message, "finish_reason": finish}),
        }
    }

    fn message(&self, reply: &Reply) -> Value {
        let mut message = Map::new();
        let mut add = |name: &str, value: Value| message.insert(name.to_owned(), value);
        let provider = self.provider();
        let shown = !reply.reasoning.is_empty();
        add("role", json!("assistant"));
        let silent = reply.text.is_empty() && !reply.calls.is_empty();
        add(
            "content",
            match self.quirks.reasoning {
                Shown::ThinkTags if shown => json!(think_tags(reply)),
                _ if silent && matches!(provider, Provider::OpenAi | Provider::OpenRouter) => Value::Null,
                _ => json!(reply.text),
            },
        );
        if provider == Provider::MiniMax {
            add("name", json!("MiniMax AI"));
            add("audio_content", json!(""));
        }
        match self.quirks.reasoning {
            Shown::ReasoningContent if shown => {
                add("reasoning_content", json!(reply.reasoning));
            }
            Shown::Split if shown => {
                add("reasoning_content", json!(reply.reasoning));
                add("reasoning_details", json!([minimax_detail(&reply.reasoning)]));
            }
            Shown::Details => {
                add("refusal", Value::Null);
                add("reasoning", if shown { json!(reply.reasoning) } else { Value::Null });
                if shown {
                    add("reasoning_details", json!([openrouter_detail(&reply.reasoning)]));
                }
            }
            _ => {}
        }
        if !reply.calls.is_empty() {
            add(
                "tool_calls",
                reply
                    .calls
                    .iter()
                    .enumerate()
                    .map(|(index, call)| {
                        let function = json!({"name": call.name, "arguments": call.arguments});
                        let id = self.call_id(index, &call.name);
                        match provider {
                            Provider::Xai => json!({"id": id, "function": function, "type": "function"}),
                            Provider::OpenRouter => {
                                json!({"type": "function", "index": index, "id": id, "function": function})
                            }
                            Provider::MiniMax | Provider::Moonshot => {
                                json!({"index": index, "id": id, "type": "function", "function": function})
                            }
                            _ => json!({"id": id, "type": "function", "function": function}),
                        }
                    })
                    .collect(),
            );
        }
        if matches!(provider, Provider::OpenAi | Provider::Xai) {
            add("refusal", Value::Null);
        }
        if provider == Provider::OpenAi {
            add("annotations", json!([]));
        }
        Value::Object(message)
    }

    // ── Streams ──

    fn stream_type(&self) -> &'static str {
        if self.provider() == Provider::OpenAi { "text/event-stream; charset=utf-8" } else { "text/event-stream" }
    }

    fn stream(&self, replies: &[Reply]) -> Vec<Event> {
        let mut events = Vec::new();
        if self.provider() == Provider::OpenRouter {
            let comments = ": OPENROUTER PROCESSING\n\n".repeat(3);
            events.push(Event { place: Place::Opening, bytes: comments.into() });
        }
        for (index, reply) in replies.iter().enumerate() {
            self.stream_choice(index, reply, &mut events);
        }
        let asked = self.request.body.at("/stream_options/include_usage") == true;
        let own_chunk = match self.quirks.stream_usage {
            StreamUsage::OwnChunkIfAsked => asked,
            StreamUsage::InsideChoice => asked && self.request.model.starts_with("kimi-k3"),
            StreamUsage::OwnChunk => true,
            StreamUsage::SecondFinish => false,
        };
        if own_chunk && self.request.tells_usage() {
            events.push(event(Place::Closing, &self.chunk(None, Some(self.usage_object()))));
        }
        if self.quirks.ends_with_done {
            events.push(Event { place: Place::Closing, bytes: "data: [DONE]\n\n".into() });
        }
        events
    }

    fn stream_choice(&self, index: usize, reply: &Reply, events: &mut Vec<Event>) {
        let finish = finish_reason(reply);
        if self.quirks.opens_with_role {
            let silent = reply.text.is_empty() && !reply.calls.is_empty();
            let mut delta = json!({"role": "assistant", "content": if silent { Value::Null } else { json!("") }});
            if self.plain_openai() {
                delta.set("refusal", Value::Null);
            }
            events.push(event(Place::Opening, &self.chunk(Some(self.delta_choice(index, delta, None)), None)));
        }
        let thinking = if self.quirks.reasoning == Shown::ThinkTags { think_tags(reply) } else { String::new() };
        let bits = self.bits(reply, &thinking);
        let last = bits.len().saturating_sub(1);
        for (position, bit) in bits.iter().enumerate() {
            let mut delta = self.delta(bit);
            if position == 0
                && self.provider() == Provider::Xai
                && let Some(fields) = delta.as_object_mut()
            {
                fields.insert("role".to_owned(), json!("assistant"));
            }
            let ends = (self.quirks.finishes_with_content && position == last).then_some(finish);
            events.push(event(Place::Delta, &self.chunk(Some(self.delta_choice(index, delta, ends)), None)));
        }
        if self.quirks.finishes_with_content && !bits.is_empty() {
            return;
        }
        let delta = match self.quirks.stream_usage {
            StreamUsage::SecondFinish => json!({"content": "", "role": "assistant"}),
            _ => json!({}),
        };
        let mut choice = self.delta_choice(index, delta, Some(finish));
        let told = self.request.tells_usage();
        if told && self.quirks.stream_usage == StreamUsage::InsideChoice {
            choice.set("usage", self.usage_object());
        }
        events.push(event(Place::Closing, &self.chunk(Some(choice.clone()), None)));
        if told && self.quirks.stream_usage == StreamUsage::SecondFinish {
            events.push(event(Place::Closing, &self.chunk(Some(choice), Some(self.usage_object()))));
        }
    }

    fn bits<'b>(&self, reply: &'b Reply, thinking: &'b str) -> Vec<Bit<'b>> {
        let mut bits = Vec::new();
        let words = match self.provider() {
            Provider::OpenRouter => 3,
            Provider::MiniMax => 8,
            _ => 1,
        };
        match self.quirks.reasoning {
            Shown::Hidden => {}
            Shown::ThinkTags => {
                bits.extend(pieces(thinking, words).into_iter().map(Bit::Text));
            }
            _ => bits.extend(pieces(&reply.reasoning, words).into_iter().map(Bit::Reasoning)),
        }
        if self.quirks.reasoning != Shown::ThinkTags {
            bits.extend(pieces(&reply.text, words).into_iter().map(Bit::Text));
        }
        for (index, call) in reply.calls.iter().enumerate() {
            match self.quirks.calls {
                CallDeltas::OnePiece => bits.push(Bit::Call { index, name: &call.name, arguments: &call.arguments }),
                CallDeltas::Pieces => {
                    bits.push(Bit::Call { index, name: &call.name, arguments: "" });
                    let middle = (0..=call.arguments.len() / 2).rev().find(|at| call.arguments.is_char_boundary(*at));
                    let (first, second) = call.arguments.split_at(middle.unwrap_or(0));
                    let halves = [first, second].into_iter().filter(|piece| !piece.is_empty());
                    bits.extend(halves.map(|piece| Bit::Arguments { index, piece }));
                }
            }
        }
        bits
    }

    fn delta(&self, bit: &Bit<'_>) -> Value {
        let mut delta = Map::new();
        let mut add = |name: &str, value: Value| delta.insert(name.to_owned(), value);
        let repeats = !self.quirks.in_every_delta.is_empty();
        match bit {
            Bit::Text(text) => {
                add("content", json!(text));
            }
            Bit::Reasoning(_) if repeats => {
                add("content", json!(""));
            }
            Bit::Call { .. } | Bit::Arguments { .. } if self.provider() == Provider::OpenRouter => {
                add("content", Value::Null);
            }
            _ => {}
        }
        for (name, value) in self.quirks.in_every_delta {
            add(name, json!(value));
        }
        match bit {
            Bit::Text(_) => {}
            Bit::Reasoning(text) => match self.quirks.reasoning {
                Shown::Details => {
                    add("reasoning", json!(text));
                    add("reasoning_details", json!([openrouter_detail(text)]));
                }
                Shown::Split => {
                    add("reasoning_content", json!(text));
                    add("reasoning_details", json!([minimax_detail(text)]));
                }
                _ => {
                    add("reasoning_content", json!(text));
                }
            },
            Bit::Call { index, name, arguments } => {
                let function = json!({"name": name, "arguments": arguments});
                let id = self.call_id(*index, name);
                add(
                    "tool_calls",
                    match self.quirks.calls {
                        CallDeltas::OnePiece => {
                            json!([{"id": id, "function": function, "index": index, "type": "function"}])
                        }
                        CallDeltas::Pieces => {
                            json!([{"index": index, "id": id, "type": "function", "function": function}])
                        }
                    },
                );
            }
            Bit::Arguments { index, piece } => {
                add("tool_calls", json!([{"index": index, "function": {"arguments": piece}}]));
            }
        }
        Value::Object(delta)
    }

    fn delta_choice(&self, index: usize, delta: Value, finish: Option<&str>) -> Value {
        match self.provider() {
            Provider::OpenRouter => json!({
                "index": index, "delta": delta, "finish_reason": finish,
                "native_finish_reason": finish.map(|finish| Quirks::native_finish(self.request.model, finish)),
            }),
            Provider::Xai | Provider::MiniMax if finish.is_none() => json!({"index": index, "delta": delta}),
            Provider::MiniMax => json!({"finish_reason": finish, "index": index, "delta": delta}),
            _ if self.plain_openai() => {
                json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish})
            }
            _ => json!({"index": index, "delta": delta, "finish_reason": finish}),
        }
    }

    /// A chunk around a choice, or around none.
    fn chunk(&self, choice: Option<Value>, usage: Option<Value>) -> Value {
        let choices: Vec<Value> = choice.into_iter().collect();
        let (id, created, model) = (&self.id, self.created, &self.model);
        let object = "chat.completion.chunk";
        match self.provider() {
            Provider::Xai => {
                let mut chunk =
                    json!({"id": id, "object": object, "created": created, "model": model, "choices": choices});
                if let Some(usage) = usage {
                    chunk.set("usage", usage);
                }
                chunk.set("system_fingerprint", self.fingerprint());
                chunk
            }
            Provider::OpenRouter => {
                let mut chunk = json!({
                    "id": id, "object": object, "created": created, "model": model, "provider": "Simulated", "choices": choices,
                });
                if let Some(usage) = usage {
                    chunk.set("usage", usage);
                }
                chunk
            }
            Provider::MiniMax => match usage {
                Some(usage) => json!({
                    "id": id, "choices": choices, "created": created, "model": model, "object": object, "usage": usage,
                    "base_resp": {"status_code": 0, "status_msg": ""},
                }),
                None => json!({
                    "id": id, "choices": choices, "created": created, "model": model, "object": object, "usage": null,
                    "input_sensitive": false, "output_sensitive": false, "input_sensitive_type": 0, "output_sensitive_type": 0,
                    "output_sensitive_int": 0,
                }),
            },
            Provider::Moonshot => {
                let mut chunk = json!({
                    "id": id, "object": object, "created": created, "model": model, "choices": choices,
                    "system_fingerprint": self.fingerprint(),
                });
                if let Some(usage) = usage {
                    chunk.set("usage", usage);
                }
                chunk
            }
            _ => {
                let asked = self.request.body.at("/stream_options/include_usage") == true;
                let padding = self.padding.get(..choices.first().map_or(6, |choice| choice.to_string().len() % 15));
                let mut chunk = json!({
                    "id": id, "object": object, "created": created, "model": model, "service_tier": "default",
                    "system_fingerprint": self.fingerprint(), "choices": choices,
                });
                if usage.is_some() || asked {
                    chunk.set("usage", usage.unwrap_or_default());
                }
                chunk.set("obfuscation", json!(padding.unwrap_or_default()));
                chunk
            }
        }
    }
}

fn event(place: Place, chunk: &Value) -> Event {
    Event { place, bytes: format!("data: {chunk}\n\n").into() }
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Done | Finish::Stopped(_) => "stop",
        Finish::Calls => "tool_calls",
        Finish::Limit => "length",
    }
}

fn think_tags(reply: &Reply) -> String {
    if reply.reasoning.is_empty() {
        return reply.text.clone();
    }
    format!("<think>\n{}\n</think>\n\n{}", reply.reasoning, reply.text)
}

fn openrouter_detail(text: &str) -> Value {
    json!({"type": "reasoning.text", "text": text, "index": 0, "format": null})
}

fn minimax_detail(text: &str) -> Value {
    json!({"type": "reasoning.text", "id": "reasoning-text-1", "format": "MiniMax-response-v1", "index": 0, "text": text})
}
