//! Whole answers: a canonical one as this dialect writes it, and what one that passes through says.

use aipipe_actors::money::NanoUsd;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::quirks::ChatQuirks;
use super::reader::{self, Choices, bit};
use super::relay::{failure, stop};
use super::usage;
use crate::dialects::client::{AnswerFacts, Slot};
use crate::dialects::conversation::{Answer, Choice, Media, Opaque, Part, Stop, Thought, ToolCall};
use crate::dialects::custom_tools;
use crate::dialects::translate::{AnswerError, Malformed};

/// How a client that sent the legacy `functions` reads calls, and everybody else.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ToolShape {
    /// `tool_calls`.
    #[default]
    Calls,
    /// `function_call`.
    LegacyFunction,
}

/// What an answer in this dialect has beside its content.
#[derive(Debug, Clone)]
pub struct AnswerShape {
    /// The answer's id, `chatcmpl-…`.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The shape of calls.
    pub tools: ToolShape,
    /// Names of the tools that take a text.
    pub custom_tools: Vec<String>,
}

impl AnswerShape {
    /// Whether this tool takes a text.
    pub(super) fn is_custom(&self, name: &str) -> bool {
        self.custom_tools.iter().any(|custom| custom == name)
    }
}

/// Writes an answer, its cost (USD) beside the usage.
pub fn write_answer(answer: &Answer, shape: &AnswerShape, cost: Option<NanoUsd>) -> Bytes {
    let choices: Vec<Value> =
        (0_u32..).zip(&answer.choices).map(|(index, choice)| choice_of(index, choice, shape)).collect();
    let head = json!({"id": shape.id, "object": "chat.completion", "created": shape.created, "model": answer.model, "choices": choices});
    let mut out = head.to_string();
    if let Some(figures) = &answer.usage {
        out.pop();
        out.push_str(",\"usage\":");
        usage::write(figures, cost.map(|cost| cost.to_string()).as_deref(), &mut out);
        out.push('}');
    }
    Bytes::from(out)
}

fn choice_of(index: u32, choice: &Choice, shape: &AnswerShape) -> Value {
    let tools = shape.tools;
    let mut text: Option<String> = None;
    let mut refusal: Option<String> = None;
    let mut reasoning = String::new();
    let (mut details, mut calls, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for part in &choice.parts {
        match part {
            Part::Text(piece) => text.get_or_insert_default().push_str(piece),
            Part::Refusal(piece) => refusal.get_or_insert_default().push_str(piece),
            Part::Reasoning(thought) => {
                reasoning.push_str(&thought.text);
                if let Some(opaque) = &thought.opaque {
                    details.push(detail(details.len(), &thought.text, opaque));
                }
            }
            Part::ToolCall(call) => calls.push(call),
            Part::Image(media) => images.push(json!({"type": "image_url", "image_url": {"url": address(media)}})),
            // No answer holds these, and the dialect has no place for them.
            Part::Document { .. } | Part::Audio(_) | Part::ToolResult(_) => {}
        }
    }
    let mut message = object([("role", "assistant".into()), ("content", text.into()), ("refusal", refusal.into())]);
    if !reasoning.is_empty() {
        message.insert("reasoning_content".into(), reasoning.into());
    }
    if !details.is_empty() {
        message.insert("reasoning_details".into(), details.into());
    }
    if !images.is_empty() {
        message.insert("images".into(), images.into());
    }
    match (tools, calls.first()) {
        (ToolShape::LegacyFunction, Some(call)) => {
            let function = json!({"name": call.name, "arguments": arguments(&call.arguments, choice.stop)});
            message.insert("function_call".into(), function);
        }
        (ToolShape::Calls, Some(_)) => {
            let calls = calls.iter().map(|call| tool_call(call, choice.stop, shape)).collect();
            message.insert("tool_calls".into(), calls);
        }
        (_, None) => {}
    }
    let finish = finish_reason(choice.stop, !calls.is_empty(), tools);
    json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
}

fn tool_call(call: &ToolCall, stop: Stop, shape: &AnswerShape) -> Value {
    let (kind, called) = if shape.is_custom(&call.name) {
        ("custom", json!({"name": call.name, "input": custom_tools::input(&call.arguments)}))
    } else {
        ("function", json!({"name": call.name, "arguments": arguments(&call.arguments, stop)}))
    };
    let mut written = object([("id", call.id.as_str().into()), ("type", kind.into()), (kind, called)]);
    if let Some(signature) = &call.signature {
        written.insert("extra_content".into(), extra_content(signature));
    }
    written.into()
}

/// An object with these members in this order.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Clients parse the arguments: no argument is an empty object, unless the limit cut the call off.
fn arguments(text: &str, stop: Stop) -> &str {
    if text.is_empty() && stop != Stop::Length { "{}" } else { text }
}

/// Google's own place for a thought signature in this dialect; the origin stands beside it.
pub(super) fn extra_content(signature: &Opaque) -> Value {
    json!({"google": {"thought_signature": signature.data}, "aipipe": {"origin": signature.origin}})
}

/// A thought in the form of OpenRouter's `reasoning_details`, which clients are known to send back, with the origin added.
pub(super) fn detail(index: usize, text: &str, opaque: &Opaque) -> Value {
    let format = match opaque.kind {
        "signature" | "redacted" => "anthropic-claude-v1",
        "thought_signature" => "google-gemini-v1",
        _ => "openai-responses-v1",
    };
    let signed = matches!(opaque.kind, "signature" | "thought_signature");
    let data = opaque.data.as_str();
    let mut detail = if signed {
        object([("type", "reasoning.text".into()), ("text", text.into()), ("signature", data.into())])
    } else {
        object([("type", "reasoning.encrypted".into()), ("data", data.into())])
    };
    let origin = opaque.origin.as_str();
    detail.extend(object([("format", format.into()), ("index", index.into()), ("origin", origin.into())]));
    detail.into()
}

/// The thought that [`detail`] wrote, or that OpenRouter did (then without an origin).
pub(super) fn thought_of(detail: &Value) -> Option<Thought> {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default();
    let google = text("format").starts_with("google");
    let (data, kind) = match text("type") {
        "reasoning.text" if google => (text("signature"), "thought_signature"),
        "reasoning.text" => (text("signature"), "signature"),
        "reasoning.encrypted" if text("format").starts_with("anthropic") => (text("data"), "redacted"),
        "reasoning.encrypted" if google => (text("data"), "thought_signature"),
        "reasoning.encrypted" => (text("data"), "encrypted"),
        "reasoning.summary" => return Some(Thought { text: text("summary").to_owned(), opaque: None }),
        _ => return None,
    };
    let opaque = (!data.is_empty()).then(|| Opaque { origin: text("origin").to_owned(), kind, data: data.to_owned() });
    Some(Thought { text: text("text").to_owned(), opaque })
}

fn address(media: &Media) -> String {
    match media {
        Media::Inline { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        Media::Url(url) | Media::FileId(url) => url.clone(),
    }
}

/// The dialect's word for why an answer ended; calls make it `tool_calls` also where the provider only said that it was done.
pub(super) fn finish_reason(stop: Stop, calls_tools: bool, tools: ToolShape) -> &'static str {
    match stop {
        Stop::Length | Stop::ContextFull | Stop::Paused => "length",
        Stop::Refusal | Stop::Filtered => "content_filter",
        Stop::ToolUse | Stop::End | Stop::Sequence if calls_tools => match tools {
            ToolShape::Calls => "tool_calls",
            ToolShape::LegacyFunction => "function_call",
        },
        Stop::ToolUse | Stop::End | Stop::Sequence => "stop",
    }
}

/// Looks at an answer with status 200.
///
/// # Errors
/// [`AnswerError`] where it is an error in disguise or no answer at all.
pub fn read_answer(body: &[u8], quirks: ChatQuirks) -> Result<AnswerFacts, AnswerError> {
    let malformed = |what: String| AnswerError::Malformed(Malformed(what));
    let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8".into()))?;
    let reading =
        reader::read(text, quirks).map_err(|fault| malformed(format!("the answer is not a completion: {fault}")))?;
    if let Some(error) = failure(&reading) {
        return Err(AnswerError::Provider(error));
    }
    if !matches!(reading.choices, Choices::List(1..)) {
        return Err(malformed("the answer has no choices".into()));
    }
    let stops = || reading.finishes.iter().map(|finish| stop(finish, reading.has_tool_calls));
    let finished = reading.finishes.iter().fold(0, |bits, finish| bits | bit(finish.index));
    Ok(AnswerFacts {
        issued: Vec::new(),
        usage: reading.usage.or(reading.choice_usage),
        stop: stops().find(|&stop| stop == Stop::Length).or_else(|| stops().next()).unwrap_or(Stop::End),
        is_whole: reading.met & !finished == 0,
        content_bytes: reading.content_bytes,
        cost_slot: reading.cost_slot,
        explanation_slot: Slot::End { at: reading.close, has_members: reading.has_members },
    })
}
