//! The conversation as messages.
//!
//! Results of calls stand right after the message that made the calls, each in a message of its own; what they hold beside text follows
//! in a message of the user's, since a result takes text alone.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::settings::Thinks;
use super::{Writing, cannot_carry};
use crate::dialects::conversation::{Media, Part, Role, Thought, ToolCall, ToolResult};
use crate::dialects::openai_chat::answer::detail;
use crate::dialects::openai_chat::upstream::message::UNSIGNED;
use crate::dialects::translate::CannotCarry;
use crate::providers::EffortField;

/// Stands in a result for media that follow it in a message of their own.
const MEDIA_BELOW: &str = "(media attached below)";
/// Stands for thoughts that are not known any more, where a provider refuses a call without any.
const NO_THOUGHTS: &str = "(not kept)";

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
        .map(|text| Message { role: "system", content: Some(Content::Text(text.into())), ..Message::default() })
        .collect();
    for turn in &conversation.turns {
        let name = turn.name.as_deref();
        match turn.role {
            Role::System => messages.push(Message {
                role: "system",
                content: Some(Content::Text(texts(&turn.parts).concat().into())),
                name,
                ..Message::default()
            }),
            Role::User => user(&turn.parts, name, writing, &mut messages)?,
            Role::Assistant => messages.push(assistant(&turn.parts, name, writing, thinks)?),
        }
    }
    Ok(messages)
}

fn texts(parts: &[Part]) -> Vec<&str> {
    parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}

/// What the user said and what the calls returned: the results first, as the dialect wants them.
fn user<'a>(
    parts: &'a [Part],
    name: Option<&'a str>,
    writing: &mut Writing<'a>,
    messages: &mut Vec<Message<'a>>,
) -> Result<(), CannotCarry> {
    let mut said: Vec<&Part> = Vec::new();
    let mut returned: Vec<&Part> = Vec::new();
    for part in parts {
        match part {
            Part::ToolResult(result) => {
                messages.push(tool(result));
                returned.extend(result.parts.iter().filter(|part| !matches!(part, Part::Text(_))));
            }
            other => said.push(other),
        }
    }
    returned.append(&mut said);
    if !returned.is_empty() {
        let content = Some(content(&returned, writing)?);
        messages.push(Message { role: "user", name, content, ..Message::default() });
    }
    Ok(())
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
                writing.drop("reasoning");
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

fn document(media: &Media, name: Option<&str>) -> Result<Value, CannotCarry> {
    let Media::Inline { media_type, base64 } = media else {
        return cannot_carry("messages", "a document by address or stored at another provider");
    };
    let file_data = format!("data:{media_type};base64,{base64}");
    Ok(json!({"type": "file", "file": {"filename": name.unwrap_or("document.pdf"), "file_data": file_data}}))
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

fn assistant<'a>(
    parts: &'a [Part],
    name: Option<&'a str>,
    writing: &mut Writing<'a>,
    thinks: Thinks,
) -> Result<Message<'a>, CannotCarry> {
    let mut message = Message { role: "assistant", name, ..Message::default() };
    let mut text: Option<String> = None;
    let mut thoughts = Vec::new();
    for part in parts {
        match part {
            Part::Text(piece) => text.get_or_insert_default().push_str(piece),
            Part::Refusal(piece) => message.refusal.get_or_insert_default().push_str(piece),
            Part::Reasoning(thought) => thoughts.push(thought),
            Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
                if signature.is_some() {
                    writing.drop("thought_signature");
                }
                let arguments = if arguments.trim().is_empty() { "{}" } else { arguments.as_str() };
                message.tool_calls.push(Call { id, r#type: "function", function: Function { name, arguments } });
            }
            Part::Image(_) | Part::Document { .. } | Part::Audio(_) => {
                return cannot_carry("messages", "media in an earlier answer");
            }
            Part::ToolResult(_) => return cannot_carry("messages", "a result stands in an earlier answer"),
        }
    }
    think_back(&thoughts, writing, thinks, &mut message);
    message.content = text.map(|text| Content::Text(text.into()));
    if message.content.is_none() && message.tool_calls.is_empty() && message.refusal.is_none() {
        message.content = Some(Content::Text("".into()));
    }
    Ok(message)
}

/// Thoughts go back to the model that had them, in the form in which it gave them, and to no other.
fn think_back(thoughts: &[&Thought], writing: &mut Writing<'_>, thinks: Thinks, message: &mut Message<'_>) {
    let is_own = |thought: &&&Thought| thought.opaque.as_ref().is_some_and(|opaque| opaque.origin == writing.origin);
    let own: Vec<&&Thought> = thoughts.iter().filter(is_own).collect();
    if own.len() < thoughts.len() {
        writing.drop("reasoning");
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
        writing.drop("reasoning");
    }
}
