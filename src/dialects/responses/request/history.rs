//! The items as turns: what one answer held in one turn, calls linked to their results, thoughts with their origin.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::dialects::conversation::{Opaque, Part, Role, Thought, ToolCall, ToolResult, Turn};
use crate::dialects::custom_tools;
use crate::dialects::mark::{self, Marked};
use crate::dialects::openai_chat::media;
use crate::dialects::responses::tools::Names;
use crate::dialects::scan::invalid;
use crate::dialects::translate::InvalidRequest;

/// An item of the input, as far as it can be translated.
#[derive(Debug, Deserialize)]
pub(super) struct ItemIn {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    content: Option<Value>,
    call_id: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    arguments: Option<Value>,
    input: Option<Value>,
    output: Option<Value>,
    summary: Option<Value>,
    encrypted_content: Option<String>,
}

/// What has been read so far.
#[derive(Debug)]
pub(super) struct History<'a> {
    pub(super) instructions: Vec<String>,
    pub(super) turns: Vec<Turn>,
    names: &'a Names,
    /// Names of the functions called, by call id.
    called: HashMap<String, String>,
    /// The signature of the call that follows.
    signature: Option<Opaque>,
}

impl<'a> History<'a> {
    pub(super) fn new(names: &'a Names) -> Self {
        Self { instructions: Vec::new(), turns: Vec::new(), names, called: HashMap::new(), signature: None }
    }

    pub(super) fn instruct(&mut self, instructions: Option<String>) {
        self.instructions.extend(instructions.filter(|text| !text.is_empty()));
    }

    /// An input that is one text.
    pub(super) fn ask(&mut self, text: String) {
        self.turns.push(Turn { role: Role::User, parts: vec![Part::Text(text)], name: None });
    }

    pub(super) fn item(&mut self, index: usize, item: ItemIn) -> Result<(), InvalidRequest> {
        let kind = item.kind.clone().unwrap_or_else(|| "message".to_owned());
        match kind.as_str() {
            "message" => self.message(index, item),
            "reasoning" => {
                self.thought(&item);
                Ok(())
            }
            "function_call" | "custom_tool_call" => self.call(index, item, kind == "custom_tool_call"),
            "function_call_output" | "custom_tool_call_output" => self.result(index, item),
            _ => Err(at(index, ".type", "is of a type that only a provider of this dialect knows")),
        }
    }

    fn message(&mut self, index: usize, item: ItemIn) -> Result<(), InvalidRequest> {
        let parts = parts(index, ".content", item.content)?;
        match item.role.as_deref() {
            Some("assistant") => self.answer(parts),
            Some("user") => self.turns.push(Turn { role: Role::User, parts, name: None }),
            // At the head an instruction; later a note in its place, since moving it would change what it refers to.
            Some(_) if self.turns.is_empty() => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(piece) => text.push_str(&piece),
                        _ => return Err(at(index, ".content", "may hold only text in an instruction")),
                    }
                }
                self.instruct(Some(text));
            }
            _ => self.turns.push(Turn { role: Role::System, parts, name: None }),
        }
        Ok(())
    }

    /// More of the answer that the last items are of, or of a new one.
    fn answer(&mut self, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            Some(turn) if turn.role == Role::Assistant => turn.parts.extend(parts),
            _ => self.turns.push(Turn { role: Role::Assistant, parts, name: None }),
        }
    }

    /// What a provider of this dialect encrypted cannot be read elsewhere: of such a thought only the summary goes along.
    fn thought(&mut self, item: &ItemIn) {
        let opaque = match item.encrypted_content.as_deref().and_then(mark::read) {
            Some(Marked::Call(opaque)) => {
                self.signature = Some(opaque);
                return;
            }
            Some(Marked::Thought(opaque)) => Some(opaque),
            Some(Marked::Nothing) | None => None,
        };
        let text = summary(item.content.as_ref()).or_else(|| summary(item.summary.as_ref())).unwrap_or_default();
        if !text.is_empty() || opaque.is_some() {
            self.answer(vec![Part::Reasoning(Thought { text, opaque })]);
        }
    }

    fn call(&mut self, index: usize, item: ItemIn, is_custom: bool) -> Result<(), InvalidRequest> {
        let id = item.call_id.ok_or_else(|| at(index, ".call_id", "is required"))?;
        let name = item.name.ok_or_else(|| at(index, ".name", "is required"))?;
        let name = self.names.canonical(&name, item.namespace.as_deref());
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let arguments = if is_custom { custom_tools::arguments(&text(item.input)) } else { text(item.arguments) };
        self.called.insert(id.clone(), name.clone());
        let signature = self.signature.take();
        self.answer(vec![Part::ToolCall(ToolCall { id, name, arguments, signature })]);
        Ok(())
    }

    fn result(&mut self, index: usize, item: ItemIn) -> Result<(), InvalidRequest> {
        let call_id = item.call_id.ok_or_else(|| at(index, ".call_id", "is required"))?;
        let name = self
            .called
            .get(&call_id)
            .cloned()
            .ok_or_else(|| at(index, ".call_id", "names no call of an earlier item"))?;
        let parts = parts(index, ".output", item.output)?;
        let result = ToolResult { call_id, name, parts, is_error: false };
        self.turns.push(Turn { role: Role::User, parts: vec![Part::ToolResult(result)], name: None });
        Ok(())
    }
}

fn at(index: usize, member: &str, rule: &str) -> InvalidRequest {
    let param = format!("input[{index}]{member}");
    invalid(Some(&param), format!("`{param}` {rule}"))
}

/// The texts of a thought, a paragraph each; `None` where there are none.
fn summary(parts: Option<&Value>) -> Option<String> {
    let texts: Vec<&str> = parts?.as_array()?.iter().filter_map(|part| part.get("text")?.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// The content of a message or a result: a text, or parts.
fn parts(index: usize, member: &str, content: Option<Value>) -> Result<Vec<Part>, InvalidRequest> {
    match content {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(Part::Text(text)).into_iter().collect()),
        Some(Value::Array(pieces)) => {
            let mut parts = Vec::with_capacity(pieces.len());
            for (position, piece) in pieces.into_iter().enumerate() {
                parts.extend(part(&format!("input[{index}]{member}[{position}]"), piece)?);
            }
            Ok(parts)
        }
        Some(_) => Err(at(index, member, "must be a text or an array of parts")),
    }
}

fn part(param: &str, mut piece: Value) -> Result<Option<Part>, InvalidRequest> {
    let mut text = |name: &str| match piece.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let kind = text("type").unwrap_or_default();
    Ok(Some(match kind.as_str() {
        "input_text" | "output_text" | "text" => {
            let text = text("text").unwrap_or_default();
            return Ok((!text.is_empty()).then_some(Part::Text(text)));
        }
        "refusal" => {
            let text = text("refusal").unwrap_or_default();
            return Ok((!text.is_empty()).then_some(Part::Refusal(text)));
        }
        "input_image" => {
            let url = text("image_url").or_else(|| text("file_id"));
            let url =
                url.ok_or_else(|| invalid(Some(param), format!("`{param}` must hold `image_url` or `file_id`")))?;
            media::image(url, param)?
        }
        "input_file" => {
            let data = text("file_data").or_else(|| text("file_url"));
            media::file(text("file_id"), data, text("filename"), param)?
        }
        _ => {
            let rule = format!("`{param}` is of the type `{kind}`, which only a provider of this dialect knows");
            return Err(invalid(Some(param), rule));
        }
    }))
}
