//! Writes answers for a client of this dialect, whole or piece by piece: both are `GenerateContentResponse` objects.

use std::fmt::Write as _;

use aipipe_actors::identity::RequestId;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::following;
use super::signature;
use crate::dialects::carry::Arguments;
use crate::dialects::client::Frame;
use crate::dialects::conversation::{Answer, Choice, Event, Media, Opaque, Part, Stop, Usage};
use crate::dialects::gemini::THOUGHT_SIGNATURE;
use crate::dialects::progress::Progress;
use crate::dialects::translate::{ClientError, StreamEncoder};

/// A `GenerateContentResponse` without its figures.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    candidates: Vec<Candidate<'a>>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: u32,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<Piece<'a>>,
}

/// A part.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<File<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    file_uri: &'a str,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    id: &'a str,
    name: &'a str,
    args: Arguments<'a>,
}

impl<'a> Piece<'a> {
    fn text(text: &'a str) -> Self {
        Self { text: Some(text), ..Self::default() }
    }

    fn thought(text: &'a str) -> Self {
        Self { thought: true, ..Self::text(text) }
    }

    fn call(id: &'a str, name: &'a str, arguments: &'a str) -> Self {
        let function_call = Some(FunctionCall { id, name, args: Arguments::of(arguments) });
        Self { function_call, ..Self::default() }
    }

    fn media(media: &'a Media) -> Self {
        match media {
            Media::Inline { media_type, base64 } => {
                Self { inline_data: Some(Blob { mime_type: media_type, data: base64 }), ..Self::default() }
            }
            Media::Url(uri) | Media::FileId(uri) => Self { file_data: Some(File { file_uri: uri }), ..Self::default() },
        }
    }

    fn signed(self, opaque: Option<&Opaque>) -> Self {
        Self { thought_signature: opaque.map(written), ..self }
    }
}

/// Writes a whole answer.
pub(super) fn write(answer: &Answer, frame: &Frame) -> Bytes {
    let candidates = (0_u32..).zip(&answer.choices).map(|(index, choice)| candidate(index, choice)).collect();
    let body = response(candidates, &answer.model, &frame.request_id.to_string());
    Bytes::from(with_usage(body, answer.usage.as_ref(), None))
}

/// The response as JSON text; numbers in the arguments of calls stay as they were written.
fn response(candidates: Vec<Candidate<'_>>, model: &str, id: &str) -> String {
    let body = Response { candidates, model_version: model, response_id: id };
    // Texts, numbers and raw JSON can always be written.
    serde_json::to_string(&body).unwrap_or_default()
}

fn candidate(index: u32, choice: &Choice) -> Candidate<'_> {
    let parts = choice.parts.iter().filter_map(piece).collect();
    Candidate { content: Content { role: "model", parts }, finish_reason: Some(finish_reason(choice.stop)), index }
}

fn piece(part: &Part) -> Option<Piece<'_>> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) => Piece::text(text),
        // A signature that stands alone closes what came before it.
        Part::Reasoning(thought) if thought.text.is_empty() => Piece::text("").signed(thought.opaque.as_ref()),
        Part::Reasoning(thought) => Piece::thought(&thought.text).signed(thought.opaque.as_ref()),
        Part::ToolCall(call) => Piece::call(&call.id, &call.name, &call.arguments).signed(call.signature.as_ref()),
        Part::Image(media) | Part::Audio(media) | Part::Document { media, .. } => Piece::media(media),
        // No answer holds one.
        Part::ToolResult(_) => return None,
    })
}

/// Google's own signatures stand as they came, others' are wrapped with their origin.
fn written(opaque: &Opaque) -> String {
    match opaque.kind == THOUGHT_SIGNATURE && opaque.origin.is_empty() {
        true => opaque.data.clone(),
        false => signature::wrap(opaque),
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
fn with_usage(mut text: String, figures: Option<&Usage>, cost: Option<&str>) -> String {
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
#[derive(Clone)]
pub(super) struct Encoder {
    request_id: RequestId,
    /// The answer's id.
    pub(super) id: String,
    pub(super) model: String,
    call: Option<Call>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    /// What the last piece has as `aipipe`.
    aipipe: Option<String>,
}

#[derive(Clone)]
struct Call {
    id: String,
    name: String,
    arguments: String,
    signature: Option<Opaque>,
}

impl Encoder {
    pub(super) fn new(frame: &Frame) -> Self {
        let request_id = frame.request_id;
        let id = request_id.to_string();
        Self { request_id, id, model: String::new(), call: None, usage: None, stop: None, aipipe: None }
    }

    fn piece(&mut self, part: Piece<'_>, out: &mut Vec<u8>) {
        let content = Content { role: "model", parts: vec![part] };
        let body = response(vec![Candidate { content, finish_reason: None, index: 0 }], &self.model, &self.id);
        out.extend_from_slice(format!("data: {body}\r\n\r\n").as_bytes());
    }

    fn end_call(&mut self, out: &mut Vec<u8>) {
        let Some(call) = self.call.take() else { return };
        self.piece(Piece::call(&call.id, &call.name, &call.arguments).signed(call.signature.as_ref()), out);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => self.model.clone_from(model),
            Event::Text(text) | Event::Refusal(text) => {
                self.end_call(out);
                self.piece(Piece::text(text), out);
            }
            Event::Reasoning(text) => self.piece(Piece::thought(text), out),
            Event::ReasoningOpaque(opaque) => self.piece(Piece::text("").signed(Some(opaque)), out),
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
        let content = Content { role: "model", parts: vec![Piece::text("")] };
        let last = Candidate { content, finish_reason: Some(finish_reason(stop)), index: 0 };
        let body = response(vec![last], &self.model, &self.id);
        let mut body = with_usage(body, self.usage.as_ref(), cost_usd);
        if let Some(aipipe) = &self.aipipe {
            body.pop();
            body.push_str(&format!(",\"aipipe\":{aipipe}}}"));
        }
        out.extend_from_slice(format!("data: {body}\r\n\r\n").as_bytes());
    }

    fn error(&mut self, error: &ClientError<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&error_event(error, &self.request_id.to_string()));
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

/// The chunk that ends a stream which broke.
pub(super) fn error_event(failure: &ClientError<'_>, request_id: &str) -> Bytes {
    Bytes::from(format!("data: {}\r\n\r\n", error(failure, request_id)))
}
