//! The messages as turns: instructions at the head, calls linked to their results, thoughts with their origin.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::super::answer::thought_of;
use super::invalid;
use super::wire::{CallIn, ContentIn, ImageIn, MessageIn, PieceIn};
use crate::dialects::conversation::{Opaque, Part, Role, Thought, ToolCall, ToolResult, Turn};
use crate::dialects::custom_tools;
use crate::dialects::openai_chat::media;
use crate::dialects::translate::InvalidRequest;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) instructions: Vec<String>,
    pub(super) turns: Vec<Turn>,
    /// Names of the functions called, by call id.
    called: HashMap<String, String>,
    /// Calls that had no id and wait for their results, in order: legacy functions, and servers that leave ids empty.
    unnamed: VecDeque<String>,
}

impl History {
    pub(super) fn message(&mut self, index: usize, message: MessageIn) -> Result<(), InvalidRequest> {
        match &*message.role {
            "system" | "developer" => self.instruction(index, message),
            "user" => {
                let parts = parts(index, message.content)?;
                self.turns.push(Turn { role: Role::User, parts, name: message.name });
                Ok(())
            }
            "assistant" => self.answer(index, message),
            _ => self.result(index, message),
        }
    }

    /// At the head an instruction; later a note in its place, since moving it would change what it refers to.
    fn instruction(&mut self, index: usize, message: MessageIn) -> Result<(), InvalidRequest> {
        let parts = parts(index, message.content)?;
        if !self.turns.is_empty() {
            self.turns.push(Turn { role: Role::System, parts, name: message.name });
            return Ok(());
        }
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(piece) => text.push_str(&piece),
                _ => return Err(at(index, ".content", "may hold only text in an instruction")),
            }
        }
        if !text.is_empty() {
            self.instructions.push(text);
        }
        Ok(())
    }

    fn answer(&mut self, index: usize, message: MessageIn) -> Result<(), InvalidRequest> {
        let mut turn = thoughts(&message);
        turn.extend(parts(index, message.content)?);
        turn.extend(message.refusal.filter(|text| !text.is_empty()).map(Part::Refusal));
        for (position, call) in message.tool_calls.unwrap_or_default().into_iter().enumerate() {
            turn.push(Part::ToolCall(self.call(index, position, call)?));
        }
        if let Some(function) = message.function_call {
            let call = CallIn { id: None, function: Some(function), custom: None, extra_content: None };
            turn.push(Part::ToolCall(self.call(index, turn.len(), call)?));
        }
        self.turns.push(Turn { role: Role::Assistant, parts: turn, name: message.name });
        Ok(())
    }

    fn call(&mut self, index: usize, position: usize, call: CallIn) -> Result<ToolCall, InvalidRequest> {
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => (function.name, function.arguments.unwrap_or_default()),
            (None, Some(custom)) => (custom.name, custom_tools::arguments(&custom.input.unwrap_or_default())),
            (None, None) => {
                let member = format!(".tool_calls[{position}].function");
                return Err(at(index, &member, "is required to translate the call"));
            }
        };
        let id = match call.id.filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => {
                let id = format!("call_{index}_{position}");
                self.unnamed.push_back(id.clone());
                id
            }
        };
        self.called.insert(id.clone(), name.clone());
        let signature = call.extra_content.as_ref().and_then(signature);
        Ok(ToolCall { id, name, arguments, signature })
    }

    fn result(&mut self, index: usize, message: MessageIn) -> Result<(), InvalidRequest> {
        let id = match message.tool_call_id.filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => self.unnamed.pop_front().ok_or_else(|| at(index, ".tool_call_id", "is required"))?,
        };
        let name = self
            .called
            .get(&id)
            .cloned()
            .ok_or_else(|| at(index, ".tool_call_id", "names no call of an earlier message"))?;
        let result = ToolResult { call_id: id, name, parts: parts(index, message.content)?, is_error: false };
        self.turns.push(Turn { role: Role::User, parts: vec![Part::ToolResult(result)], name: None });
        Ok(())
    }
}

fn at(index: usize, member: &str, rule: &str) -> InvalidRequest {
    let param = format!("messages[{index}]{member}");
    invalid(Some(&param), format!("`{param}` {rule}"))
}

/// The thoughts of an earlier answer. The details hold the same text as `reasoning_content`, with what the model wants back; the plain
/// text counts only where there are none.
fn thoughts(message: &MessageIn) -> Vec<Part> {
    let details: Vec<Part> =
        message.reasoning_details.iter().flatten().filter_map(thought_of).map(Part::Reasoning).collect();
    if !details.is_empty() {
        return details;
    }
    let plain = message.reasoning_content.as_ref().or(message.reasoning.as_ref()).filter(|text| !text.is_empty());
    plain.map(|text| Part::Reasoning(Thought { text: text.clone(), opaque: None })).into_iter().collect()
}

fn signature(extra: &Value) -> Option<Opaque> {
    let data = extra.get("google")?.get("thought_signature")?.as_str()?;
    let origin = extra.get("aipipe").and_then(|own| own.get("origin")).and_then(Value::as_str).unwrap_or_default();
    Some(Opaque { origin: origin.to_owned(), kind: "thought_signature", data: data.to_owned() })
}

fn parts(index: usize, content: Option<ContentIn>) -> Result<Vec<Part>, InvalidRequest> {
    match content {
        None => Ok(Vec::new()),
        Some(ContentIn::Text(text)) if text.is_empty() => Ok(Vec::new()),
        Some(ContentIn::Text(text)) => Ok(vec![Part::Text(text)]),
        Some(ContentIn::Parts(pieces)) => {
            let read = pieces.into_iter().enumerate().map(|(position, piece)| part(index, position, piece));
            let mut parts = read.collect::<Result<Vec<_>, _>>()?;
            parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
            Ok(parts)
        }
    }
}

fn part(index: usize, position: usize, piece: PieceIn) -> Result<Part, InvalidRequest> {
    let member = |name: &str| format!(".content[{position}].{name}");
    let param = |name: &str| format!("messages[{index}]{}", member(name));
    let missing = |name: &str| at(index, &member(name), "is required for this type");
    match piece.kind.as_deref() {
        None | Some("text") => piece.text.map(Part::Text).ok_or_else(|| missing("text")),
        Some("refusal") => piece.refusal.map(Part::Refusal).ok_or_else(|| missing("refusal")),
        Some("image_url") => match piece.image_url.ok_or_else(|| missing("image_url"))? {
            ImageIn::Url(url) | ImageIn::Object { url } => media::image(url, &param("image_url.url")),
        },
        Some("input_audio") => {
            let audio = piece.input_audio.ok_or_else(|| missing("input_audio"))?;
            Ok(media::audio(audio.data, audio.format.as_deref()))
        }
        Some("file") => {
            let file = piece.file.ok_or_else(|| missing("file"))?;
            media::file(file.file_id, file.file_data, file.filename, &param("file"))
        }
        Some(_) => Err(at(index, &member("type"), "is unknown to providers of other dialects")),
    }
}
