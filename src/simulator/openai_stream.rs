//! Writes a chat answer as a stream of chunks.

use serde_json::{Map, Value, json};

use super::answer::{Event, Place};
use super::json::Json;
use super::openai_writer::{Writer, finish_reason, minimax_detail, openrouter_detail, think_tags};
use super::provider::Provider;
use super::quirks::{CallDeltas, Quirks, Shown, StreamUsage};
use super::text::{Reply, pieces};

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

impl Writer<'_> {
    pub(crate) fn stream_type(&self) -> &'static str {
        if self.provider() == Provider::OpenAi { "text/event-stream; charset=utf-8" } else { "text/event-stream" }
    }

    /// The events of the answer.
    pub(crate) fn stream(&self, replies: &[Reply]) -> Vec<Event> {
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
