//! The conversation as messages.
//!
//! Results of calls stand right after the message that made the calls, each in a message of its own; what they hold beside text follows
//! in a message of the user's, since a result takes text alone.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::Writing;
use super::settings::Thinks;
use crate::dialects::carry::{JSON_INSTRUCTION, cannot_carry};
use crate::dialects::conversation::{
    Conversation, Media, Opaque, Part, ResponseFormat, Role, Thought, ToolCall, ToolResult, Turn,
};
use crate::dialects::openai_chat::answer::detail;
use crate::dialects::openai_chat::upstream::message::UNSIGNED;
use crate::dialects::translate::CannotCarry;
use crate::providers::EffortField;

/// Stands in a result for media that follow it in a message of their own.
const MEDIA_BELOW: &str = "(media attached below)";
/// Stands for thoughts that are not known any more, where a provider refuses a call without any.
const NO_THOUGHTS: &str = "(not kept)";
/// How the bytes `%PDF-` begin in base64.
const PDF: &str = "JVBERi0";

#[derive(Debug, Default, Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Value>),
}

#[derive(Debug, Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

pub(super) fn write<'a>(writing: &mut Writing<'a>, thinks: Thinks) -> Result<Vec<Message<'a>>, CannotCarry> {
    let conversation = writing.conversation;
    let mut messages: Vec<Message<'a>> = conversation
        .instructions
        .iter()
        .map(String::as_str)
        .chain(json_instruction(conversation))
        .map(|text| Message { role: "system", content: Some(Content::Text(text.into())), ..Message::default() })
        .collect();
    let mut held = Held::default();
    let mut turns = conversation.turns.iter().peekable();
    while let Some(turn) = turns.next() {
        let name = turn.name.as_deref();
        match turn.role {
            Role::System => messages.push(Message {
                role: "system",
                content: Some(Content::Text(texts(&turn.parts).concat().into())),
                name,
                ..Message::default()
            }),
            Role::User => {
                held.take(&turn.parts, &mut messages);
                // Nothing may stand between the results of one answer's calls.
                if !turns.peek().is_some_and(|next| returns(next)) {
                    messages.extend(held.said(name, writing)?);
                }
            }
            Role::Assistant => messages.extend(assistant(&turn.parts, name, writing, thinks)?),
        }
    }
    Ok(messages)
}

/// OpenAI refuses its JSON mode where no message speaks of JSON; the clients of other dialects need not know.
fn json_instruction(conversation: &Conversation) -> Option<&'static str> {
    let said = conversation.turns.iter().flat_map(|turn| texts(&turn.parts));
    let mut all = conversation.instructions.iter().map(String::as_str).chain(said);
    let asks = matches!(conversation.format, ResponseFormat::JsonObject);
    (asks && !all.any(|text| text.to_ascii_lowercase().contains("json"))).then_some(JSON_INSTRUCTION)
}

fn texts(parts: &[Part]) -> Vec<&str> {
    parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}

fn returns(turn: &Turn) -> bool {
    turn.role == Role::User && turn.parts.iter().any(|part| matches!(part, Part::ToolResult(_)))
}

/// What waits until all results of calls are written, for they come first.
#[derive(Default)]
struct Held<'a> {
    /// What calls returned beside text.
    returned: Vec<&'a Part>,
    said: Vec<&'a Part>,
}

impl<'a> Held<'a> {
    /// Writes the results among the parts of a turn and keeps the rest.
    fn take(&mut self, parts: &'a [Part], messages: &mut Vec<Message<'a>>) {
        for part in parts {
            match part {
                Part::ToolResult(result) => {
                    messages.push(tool(result));
                    self.returned.extend(result.parts.iter().filter(|part| !matches!(part, Part::Text(_))));
                }
                other => self.said.push(other),
            }
        }
    }

    /// The user's message of what was kept.
    fn said(&mut self, name: Option<&'a str>, writing: &mut Writing<'a>) -> Result<Option<Message<'a>>, CannotCarry> {
        let mut parts = std::mem::take(&mut self.returned);
        parts.append(&mut self.said);
        if parts.is_empty() {
            return Ok(None);
        }
        let content = Some(content(&parts, writing)?);
        Ok(Some(Message { role: "user", name, content, ..Message::default() }))
    }
}

fn tool(result: &ToolResult) -> Message<'_> {
    let mut text = texts(&result.parts).concat();
    if text.is_empty() && !result.parts.is_empty() {
        text = MEDIA_BELOW.to_owned();
    }
    if result.is_error {
        // The dialect has no flag for it.
        text = format!("Error: {text}");
    }
    Message {
        role: "tool",
        content: Some(Content::Text(text.into())),
        tool_call_id: Some(&result.call_id),
        ..Message::default()
    }
}

fn content<'a>(parts: &[&'a Part], writing: &mut Writing<'_>) -> Result<Content<'a>, CannotCarry> {
    if let [Part::Text(text)] = parts {
        return Ok(Content::Text(text.into()));
    }
    let mut written = Vec::with_capacity(parts.len());
    for part in parts {
        written.push(match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Image(media) => json!({"type": "image_url", "image_url": {"url": address(media)?}}),
            Part::Document { media, name } => document(media, name.as_deref())?,
            Part::Audio(media) => audio(media)?,
            Part::Refusal(text) => json!({"type": "text", "text": text}),
            Part::Reasoning(_) => {
                writing.dropped.note("reasoning");
                continue;
            }
            Part::ToolCall(_) | Part::ToolResult(_) => {
                return cannot_carry("messages", "a call stands where none can be");
            }
        });
    }
    Ok(Content::Parts(written))
}

fn address(media: &Media) -> Result<String, CannotCarry> {
    match media {
        Media::Inline { media_type, base64 } => Ok(format!("data:{media_type};base64,{base64}")),
        Media::Url(url) => Ok(url.clone()),
        Media::FileId(_) => cannot_carry("messages", "an image that is stored at another provider"),
    }
}

/// A PDF as a file; a text, of which the dialect knows no files, as text under its name.
fn document(media: &Media, name: Option<&str>) -> Result<Value, CannotCarry> {
    let Media::Inline { media_type, base64 } = media else {
        return cannot_carry("messages", "a document by address or stored at another provider");
    };
    if media_type == "application/pdf" || base64.starts_with(PDF) {
        let file_data = format!("data:application/pdf;base64,{base64}");
        return Ok(
            json!({"type": "file", "file": {"filename": name.unwrap_or("document.pdf"), "file_data": file_data}}),
        );
    }
    if !is_text(media_type) {
        return cannot_carry("messages", "a document that is neither PDF nor text");
    }
    let text = STANDARD.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match (text, name) {
        (Some(text), Some(name)) => Ok(json!({"type": "text", "text": format!("{name}\n\n{text}")})),
        (Some(text), None) => Ok(json!({"type": "text", "text": text})),
        (None, _) => cannot_carry("messages", "a text document that is not UTF-8 in base64"),
    }
}

fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/") || matches!(essence, "application/json" | "application/xml")
}

fn audio(media: &Media) -> Result<Value, CannotCarry> {
    let Media::Inline { media_type, base64 } = media else {
        return cannot_carry("messages", "audio by address or stored at another provider");
    };
    let format = match media_type.as_str() {
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        _ => return cannot_carry("messages", "audio that is neither wav nor mp3"),
    };
    Ok(json!({"type": "input_audio", "input_audio": {"data": base64, "format": format}}))
}

/// An earlier answer; `None` where nothing of it is left, since an empty message is refused.
fn assistant<'a>(
    parts: &'a [Part],
    name: Option<&'a str>,
    writing: &mut Writing<'a>,
    thinks: Thinks,
) -> Result<Option<Message<'a>>, CannotCarry> {
    let mut message = Message { role: "assistant", name, ..Message::default() };
    let mut text: Option<String> = None;
    let mut thoughts = Vec::new();
    for part in parts {
        match part {
            Part::Text(piece) => text.get_or_insert_default().push_str(piece),
            Part::Refusal(piece) => message.refusal.get_or_insert_default().push_str(piece),
            Part::Reasoning(thought) => thoughts.push(thought),
            Part::ToolCall(call) => message.tool_calls.push(tool_call(call, writing)),
            Part::Image(_) | Part::Document { .. } | Part::Audio(_) => {
                return cannot_carry("messages", "media in an earlier answer");
            }
            Part::ToolResult(_) => return cannot_carry("messages", "a result stands in an earlier answer"),
        }
    }
    think_back(&thoughts, writing, thinks, &mut message);
    let text = text.filter(|text| !text.is_empty());
    if text.is_none() && message.tool_calls.is_empty() && message.refusal.is_none() {
        if message.reasoning_content.is_none() && message.reasoning_details.is_empty() {
            return Ok(None);
        }
        message.content = Some(Content::Text("".into()));
    } else {
        message.content = text.map(|text| Content::Text(text.into()));
    }
    Ok(Some(message))
}

fn tool_call<'a>(call: &'a ToolCall, writing: &mut Writing<'a>) -> Call<'a> {
    let names = writing.names;
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
    let own = |signature: &&Opaque| signature.origin == writing.origin;
    let own = call.signature.as_ref().filter(own);
    let extra_content = own.map(|own| json!({"google": {"thought_signature": own.data}}));
    if call.signature.is_some() && extra_content.is_none() {
        writing.dropped.note("thought_signature");
    }
    Call {
        id: &call.id,
        r#type: "function",
        function: Function { name: names.sent(&call.name), arguments },
        extra_content,
    }
}

/// Thoughts go back to the model that had them, in the form in which it gave them, and to no other.
fn think_back(thoughts: &[&Thought], writing: &mut Writing<'_>, thinks: Thinks, message: &mut Message<'_>) {
    let is_own = |thought: &&&Thought| thought.opaque.as_ref().is_some_and(|opaque| opaque.origin == writing.origin);
    let own: Vec<&&Thought> = thoughts.iter().filter(is_own).collect();
    if own.len() < thoughts.len() {
        writing.dropped.note("reasoning");
    }
    let switched = writing.profile.thinking_switch.is_some();
    if writing.profile.effort == EffortField::ReasoningObject {
        let details = own.iter().filter_map(|thought| Some((thought, thought.opaque.as_ref()?)));
        message.reasoning_details = details
            .filter(|(_, opaque)| opaque.data != UNSIGNED)
            .enumerate()
            .map(|(index, (thought, opaque))| {
                let mut detail = detail(index, &thought.text, opaque);
                if let Some(detail) = detail.as_object_mut() {
                    detail.shift_remove("origin");
                }
                detail
            })
            .collect();
    } else if switched && writing.profile.reasoning_split {
        message.reasoning_details =
            own.iter().map(|thought| json!({"type": "reasoning.text", "text": thought.text})).collect();
    } else if switched {
        let text: String = own.iter().map(|thought| thought.text.as_str()).collect();
        let is_needed = thinks == Thinks::Maybe && !message.tool_calls.is_empty();
        message.reasoning_content = match text.is_empty() {
            false => Some(text),
            true => is_needed.then(|| NO_THOUGHTS.to_owned()),
        };
    } else if !own.is_empty() {
        writing.dropped.note("reasoning");
    }
}
