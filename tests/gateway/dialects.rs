//! What clients of each dialect send and how they read what comes back.

use aipipe::simulator::Provider;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{Answer, Bench};

/// The API that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Chat,
    Messages,
    Gemini,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::Chat, Self::Messages, Self::Gemini];

    /// Whether the provider speaks it too, so that nothing is translated.
    pub(crate) fn is_spoken_by(self, provider: Provider) -> bool {
        match self {
            Self::Messages => provider == Provider::Anthropic,
            Self::Gemini => provider == Provider::Gemini,
            Self::Chat => !matches!(provider, Provider::Anthropic | Provider::Gemini),
        }
    }

    /// A question to a model.
    pub(crate) fn ask(self, bench: &Bench, model: &str, prompt: &str) -> RequestBuilder {
        self.request(bench, model, prompt, false)
    }

    /// The same, streamed.
    pub(crate) fn ask_stream(self, bench: &Bench, model: &str, prompt: &str) -> RequestBuilder {
        self.request(bench, model, prompt, true)
    }

    fn request(self, bench: &Bench, model: &str, prompt: &str, stream: bool) -> RequestBuilder {
        let messages = json!([{"role": "user", "content": prompt}]);
        match self {
            Self::Chat => bench.chat(&json!({"model": model, "messages": messages, "stream": stream})),
            Self::Messages => {
                let body = json!({"model": model, "max_tokens": 4_000, "messages": messages, "stream": stream});
                bench.post("/v1/messages", &body)
            }
            Self::Gemini => {
                let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                let body = json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]});
                bench.post(&format!("/v1beta/models/{model}:{method}"), &body)
            }
        }
    }

    /// The error's code and message, when it has the shape that an SDK of the dialect makes its typed error of.
    pub(crate) fn error(self, answer: &Answer) -> (String, String) {
        let body = answer.json();
        let error = &body["error"];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
        assert!(!answer.header("x-request-id").is_empty(), "{}", answer.text);
        let code = match self {
            Self::Chat => {
                let mut members: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
                members.sort_unstable();
                assert_eq!(members, ["code", "message", "param", "type"], "{}", answer.text);
                assert!(error["type"].is_string(), "{}", answer.text);
                text(&error["code"])
            }
            Self::Messages => {
                assert_eq!(body["type"], "error", "{}", answer.text);
                assert_eq!(body["request_id"], answer.header("x-request-id"), "{}", answer.text);
                let kind = match answer.status {
                    400 | 422 => "invalid_request_error",
                    401 => "authentication_error",
                    402 => "billing_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    503 => "overloaded_error",
                    504 => "timeout_error",
                    _ => "api_error",
                };
                assert_eq!(error["type"], kind, "{}", answer.text);
                text(&error["code"])
            }
            Self::Gemini => {
                assert_eq!(error["code"], answer.status, "{}", answer.text);
                let status = match answer.status {
                    401 => "UNAUTHENTICATED",
                    402 | 403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    429 => "RESOURCE_EXHAUSTED",
                    400..500 => "INVALID_ARGUMENT",
                    503 => "UNAVAILABLE",
                    504 => "DEADLINE_EXCEEDED",
                    _ => "INTERNAL",
                };
                assert_eq!(error["status"], status, "{}", answer.text);
                text(&error["details"][0]["reason"])
            }
        };
        (code, text(&error["message"]))
    }
}

/// Puts a message together from the events of its stream as Anthropic's SDKs do: by the events' names, each delta to the one open block.
pub(crate) fn message_of(stream: &str) -> Value {
    let mut message = Value::Null;
    let mut open = false;
    let mut input = String::new();
    let mut ended = false;
    for event in stream.split_terminator("\n\n").filter(|event| !event.starts_with(':')) {
        let (name, data) = event.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: ")).unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name, "{stream}");
        assert!(!ended, "something follows the end: {stream}");
        let position = message["content"].as_array().map_or(0, Vec::len);
        match name {
            "message_start" => {
                assert!(message.is_null() && data["message"]["usage"]["input_tokens"].is_u64(), "{stream}");
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert!(!open && data["index"] == position, "{stream}");
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
                open = true;
            }
            "content_block_delta" => {
                assert!(open && data["index"] == position - 1, "a delta for a block that is not open: {stream}");
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                for member in ["text", "thinking", "signature"] {
                    if let Some(more) = data["delta"][member].as_str() {
                        block[member] = json!(format!("{}{more}", block[member].as_str().unwrap()));
                    }
                }
                input.push_str(data["delta"]["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                assert!(open && data["index"] == position - 1, "{stream}");
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                if block["type"] == "tool_use" && !input.is_empty() {
                    block["input"] = serde_json::from_str(&std::mem::take(&mut input)).unwrap();
                }
                assert!(block["type"] != "thinking" || block["signature"] != "", "an unsigned thought: {stream}");
                open = false;
            }
            "message_delta" => {
                assert!(!open && message["stop_reason"].is_null(), "{stream}");
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["usage"] = data["usage"].clone();
            }
            "message_stop" => ended = true,
            "ping" => {}
            other => panic!("{other} in {stream}"),
        }
    }
    assert!(ended && message["stop_reason"].is_string(), "{stream}");
    message
}
