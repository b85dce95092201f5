//! Writes answers for a client of this dialect, whole or piece by piece: both are `GenerateContentResponse` objects.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::signature;
use crate::dialects::client::Frame;
use crate::dialects::conversation::{Answer, Choice, Event, Media, Opaque, Part, Stop, Usage};
use crate::dialects::gemini::THOUGHT_SIGNATURE;
use crate::dialects::translate::{ClientError, StreamEncoder};

/// Writes a whole answer.
pub(super) fn write(answer: &Answer, frame: &Frame) -> Bytes {
    let candidates: Vec<Value> =
        (0_u32..).zip(&answer.choices).map(|(index, choice)| candidate(index, choice)).collect();
    let mut body = json!({"candidates": candidates});
    finish_object(&mut body, &answer.model, frame);
    Bytes::from(with_usage(&body, answer.usage.as_ref(), None))
}

fn finish_object(body: &mut Value, model: &str, frame: &Frame) {
    if let Some(body) = body.as_object_mut() {
        body.insert("modelVersion".into(), model.into());
        body.insert("responseId".into(), frame.request_id.to_string().into());
    }
}

fn candidate(index: u32, choice: &Choice) -> Value {
    let parts: Vec<Value> = choice.parts.iter().filter_map(part).collect();
    let finish = finish_reason(choice.stop);
    json!({"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": index})
}

fn part(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) => json!({"text": text}),
        Part::Reasoning(thought) => {
            // A signature that stands alone closes what came before it.
            let mut part = if thought.text.is_empty() {
                json!({"text": ""})
            } else {
                json!({"text": thought.text, "thought": true})
            };
            sign(&mut part, thought.opaque.as_ref());
            part
        }
        Part::ToolCall(call) => {
            let mut part = function_call(&call.id, &call.name, &call.arguments);
            sign(&mut part, call.signature.as_ref());
            part
        }
        Part::Image(media) | Part::Audio(media) | Part::Document { media, .. } => match media {
            Media::Inline { media_type, base64 } => json!({"inlineData": {"mimeType": media_type, "data": base64}}),
            Media::Url(url) | Media::FileId(url) => json!({"fileData": {"fileUri": url}}),
        },
        // No answer holds one.
        Part::ToolResult(_) => return None,
    })
}

fn function_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"functionCall": {"id": id, "name": name, "args": object(arguments)}})
}

/// Arguments must be an object here; what a model wrote otherwise is kept as text.
fn object(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str::<Value>(arguments) {
        Ok(object @ Value::Object(_)) => object,
        Ok(_) | Err(_) => json!({"_raw": arguments}),
    }
}

/// Google's own signatures stand as they came, others' are wrapped with their origin.
fn sign(part: &mut Value, opaque: Option<&Opaque>) {
    let Some(opaque) = opaque else { return };
    let written = if opaque.kind == THOUGHT_SIGNATURE && opaque.origin.is_empty() {
        opaque.data.clone()
    } else {
        signature::wrap(opaque)
    };
    if let Some(part) = part.as_object_mut() {
        part.insert("thoughtSignature".into(), written.into());
    }
}

/// The figures as JSON; thoughts are counted beside the candidates here.
fn usage(figures: &Usage, cost: Option<&str>) -> String {
    let tokens = figures.tokens;
    let mut usage = format!(
        "{{\"promptTokenCount\":{},\"candidatesTokenCount\":{},\"totalTokenCount\":{}",
        tokens.input,
        tokens.output.saturating_sub(tokens.reasoning),
        tokens.input.saturating_add(tokens.output)
    );
    let optional = [("cachedContentTokenCount", tokens.cached_input), ("thoughtsTokenCount", tokens.reasoning)];
    for (name, count) in optional.into_iter().filter(|(_, count)| *count > 0) {
        // Writing to a string cannot fail.
        let _ = write!(usage, ",\"{name}\":{count}");
    }
    if let Some(cost) = cost {
        let _ = write!(usage, ",\"cost\":{cost}");
    }
    usage.push('}');
    usage
}

/// A response object with its figures, which stand as text so that decimals stay as they are.
fn with_usage(body: &Value, figures: Option<&Usage>, cost: Option<&str>) -> String {
    let mut text = body.to_string();
    if let Some(figures) = figures {
        text.pop();
        text.push_str(",\"usageMetadata\":");
        text.push_str(&usage(figures, cost));
        text.push('}');
    }
    text
}

/// There is no reason of its own for calls.
pub(super) fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::ToolUse | Stop::Sequence => "STOP",
        Stop::Length | Stop::ContextFull | Stop::Paused => "MAX_TOKENS",
        Stop::Refusal | Stop::Filtered => "SAFETY",
    }
}

/// Google's name of a status.
pub(super) fn status_name(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        400..500 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

/// The error object; AiPipe's own code stands in its first detail.
pub(super) fn error(error: &ClientError<'_>, request_id: &str) -> Value {
    let mut metadata = Map::new();
    metadata.insert("request_id".into(), request_id.into());
    if let Some(param) = error.param {
        metadata.insert("param".into(), param.into());
    }
    let detail = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code, "domain": "aipipe", "metadata": metadata,
    });
    json!({"error": {
        "code": error.status.as_u16(),
        "message": error.message,
        "status": status_name(error.status.as_u16()),
        "details": [detail],
    }})
}

/// Encodes the events of one answer. A call is written when it is whole: this dialect has no other way.
pub(super) struct Encoder {
    frame: Frame,
    model: String,
    call: Option<Call>,
    has_content: bool,
    usage: Option<Usage>,
    stop: Option<Stop>,
}

struct Call {
    id: String,
    name: String,
    arguments: String,
    signature: Option<Opaque>,
}

impl Encoder {
    pub(super) fn new(frame: Frame) -> Self {
        Self { frame, model: String::new(), call: None, has_content: false, usage: None, stop: None }
    }

    fn piece(&mut self, part: Value, out: &mut Vec<u8>) {
        self.has_content = true;
        let body = json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]});
        self.write(body, out);
    }

    fn write(&self, mut body: Value, out: &mut Vec<u8>) {
        finish_object(&mut body, &self.model, &self.frame);
        out.extend_from_slice(format!("data: {body}\r\n\r\n").as_bytes());
    }

    fn end_call(&mut self, out: &mut Vec<u8>) {
        let Some(call) = self.call.take() else { return };
        let mut part = function_call(&call.id, &call.name, &call.arguments);
        sign(&mut part, call.signature.as_ref());
        self.piece(part, out);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => self.model.clone_from(model),
            Event::Text(text) | Event::Refusal(text) => {
                self.end_call(out);
                self.piece(json!({"text": text}), out);
            }
            Event::Reasoning(text) => self.piece(json!({"text": text, "thought": true}), out),
            Event::ReasoningOpaque(opaque) => {
                let mut part = json!({"text": ""});
                sign(&mut part, Some(opaque));
                self.piece(part, out);
            }
            Event::ToolCallStart { id, name, signature, .. } => {
                self.end_call(out);
                let (id, name) = (id.clone(), name.clone());
                self.call = Some(Call { id, name, arguments: String::new(), signature: signature.clone() });
            }
            Event::ToolArguments { delta, .. } => {
                if let Some(call) = &mut self.call {
                    call.arguments.push_str(delta);
                }
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop { reason, .. } => self.stop = Some(*reason),
            // There is no sign of life without content.
            Event::Ping => {}
        }
    }

    fn finish(&mut self, cost_usd: Option<&str>, out: &mut Vec<u8>) {
        let stop = self.stop.unwrap_or(Stop::End);
        // A call that the limit cut off is half JSON: nobody could run it.
        if stop == Stop::Length {
            self.call = None;
        }
        self.end_call(out);
        let content = json!({"role": "model", "parts": [{"text": ""}]});
        let candidate = json!({"content": content, "finishReason": finish_reason(stop), "index": 0});
        let mut body = json!({"candidates": [candidate]});
        finish_object(&mut body, &self.model, &self.frame);
        let body = with_usage(&body, self.usage.as_ref(), cost_usd);
        out.extend_from_slice(format!("data: {body}\r\n\r\n").as_bytes());
    }

    fn error(&mut self, error: &ClientError<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&error_event(error, &self.frame.request_id.to_string()));
    }
}

/// The chunk that ends a stream which broke.
pub(super) fn error_event(failure: &ClientError<'_>, request_id: &str) -> Bytes {
    Bytes::from(format!("data: {}\r\n\r\n", error(failure, request_id)))
}
