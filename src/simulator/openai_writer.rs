//! Writes a chat answer as one document, and what streams share with it: ids, usage and small parts.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::models;
use super::provider::Provider;
use super::quirks::{Quirks, Shown};
use super::server::Request;
use super::text::{Finish, Reply};
use super::usage::Usage;

/// Writes the answer to one request.
pub(crate) struct Writer<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) quirks: Quirks,
    pub(crate) model: String,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) usage: Usage,
    /// OpenAI pads its deltas so that their lengths tell nothing.
    pub(crate) padding: String,
    /// Calls that the conversation already holds; Kimi numbers on from there.
    earlier_calls: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(request: &'a Request<'a>, usage: Usage) -> Self {
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

    pub(crate) fn provider(&self) -> Provider {
        self.quirks.provider
    }

    pub(crate) fn usage_object(&self) -> Value {
        self.quirks.usage(self.request.model, &self.usage)
    }

    pub(crate) fn call_id(&self, index: usize, name: &str) -> String {
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
    pub(crate) fn plain_openai(&self) -> bool {
        self.provider() == Provider::OpenAi && !models::is_openai_reasoner(self.request.model)
    }

    pub(crate) fn fingerprint(&self) -> Value {
        match self.provider() {
            Provider::OpenAi if self.plain_openai() => json!("fp_8b22347a3e"),
            Provider::Xai => json!("fp_25ea88a038"),
            Provider::Moonshot => json!("fpv0_41b1161c"),
            _ => Value::Null,
        }
    }

    pub(crate) fn whole(&self, replies: &[Reply]) -> Value {
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
}

pub(crate) fn finish_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Done | Finish::Stopped(_) => "stop",
        Finish::Calls => "tool_calls",
        Finish::Limit => "length",
    }
}

pub(crate) fn think_tags(reply: &Reply) -> String {
    if reply.reasoning.is_empty() {
        return reply.text.clone();
    }
    format!("<think>\n{}\n</think>\n\n{}", reply.reasoning, reply.text)
}

pub(crate) fn openrouter_detail(text: &str) -> Value {
    json!({"type": "reasoning.text", "text": text, "index": 0, "format": null})
}

pub(crate) fn minimax_detail(text: &str) -> Value {
    json!({"type": "reasoning.text", "id": "reasoning-text-1", "format": "MiniMax-response-v1", "index": 0, "text": text})
}
