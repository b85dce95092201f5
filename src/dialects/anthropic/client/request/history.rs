//! The messages as turns: calls linked to their results, thoughts with their origin.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::wire::{BlockIn, Content, MessageIn};
use super::{invalid, media, parse};
use crate::dialects::anthropic::block::{REDACTED, SIGNATURE};
use crate::dialects::anthropic::id::original_id;
use crate::dialects::conversation::{Opaque, Part, Role, Thought, ToolCall, ToolResult, Turn};
use crate::dialects::mark::{self, Marked};
use crate::dialects::translate::InvalidRequest;

/// What Claude Code puts before its instructions to be billed by: it changes with every call and would spoil a prefix cache.
const BILLING_LINE: &str = "x-anthropic-billing-header:";
/// Contents within a block that are read: a result holds a document, which holds blocks.
const MAX_NESTING: u8 = 2;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) instructions: Vec<String>,
    pub(super) turns: Vec<Turn>,
    /// Types of blocks that only Anthropic can use.
    pub(super) left_out: Vec<String>,
    /// Names of the functions called, by call id.
    called: HashMap<String, String>,
}

impl History {
    pub(super) fn system(&mut self, system: &RawValue) -> Result<(), InvalidRequest> {
        let texts = match Content::read(system, "system")? {
            Content::Text(text) => vec![text],
            Content::Blocks(blocks) => {
                let read = blocks.iter().enumerate().map(|(position, block)| instruction(block, position));
                read.collect::<Result<_, _>>()?
            }
        };
        self.instructions =
            texts.into_iter().filter(|text| !text.is_empty() && !text.starts_with(BILLING_LINE)).collect();
        Ok(())
    }

    pub(super) fn message(&mut self, index: usize, message: MessageIn) -> Result<(), InvalidRequest> {
        let role = match message.role.as_str() {
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => Role::User,
        };
        let mut parts = Vec::new();
        let content = message.content.map(|content| Content::read(&content, &format!("messages[{index}].content")));
        match content.transpose()? {
            None => {}
            Some(Content::Text(text)) => parts.extend(text_part(text)),
            Some(Content::Blocks(blocks)) => {
                // The signature of the call that follows.
                let mut signature = None;
                for (position, block) in blocks.iter().enumerate() {
                    let param = format!("messages[{index}].content[{position}]");
                    let block: BlockIn = parse(block.get(), &param)?;
                    self.block(block, &param, &mut signature, &mut parts)?;
                }
            }
        }
        // Of a turn that came out empty nothing is left to say.
        if !parts.is_empty() {
            self.turns.push(Turn { role, parts, name: None });
        }
        Ok(())
    }

    fn block(
        &mut self,
        block: BlockIn,
        param: &str,
        signature: &mut Option<Opaque>,
        parts: &mut Vec<Part>,
    ) -> Result<(), InvalidRequest> {
        match block.kind.as_str() {
            "thinking" => {
                let text = block.thinking.unwrap_or_default();
                let marked = mark::read_any(&block.signature.unwrap_or_default(), SIGNATURE);
                parts.extend(thought(text, marked).map(Part::Reasoning));
            }
            "redacted_thinking" => match mark::read_any(&block.data.unwrap_or_default(), REDACTED) {
                Marked::Call(opaque) => *signature = Some(opaque),
                marked => parts.extend(thought(String::new(), marked).map(Part::Reasoning)),
            },
            "tool_use" => parts.push(Part::ToolCall(self.call(block, param, signature.take())?)),
            "tool_result" => parts.push(Part::ToolResult(self.result(block, param)?)),
            _ if is_run_by_provider(&block.kind) => {
                if !self.left_out.contains(&block.kind) {
                    self.left_out.push(block.kind);
                }
            }
            _ => parts.extend(content(block, param, MAX_NESTING)?),
        }
        Ok(())
    }

    fn call(&mut self, block: BlockIn, param: &str, signature: Option<Opaque>) -> Result<ToolCall, InvalidRequest> {
        let (Some(id), Some(name)) = (block.id, block.name) else {
            return Err(invalid(Some(param), format!("`{param}` must have an `id` and a `name`")));
        };
        let id = original_id(&id).into_owned();
        self.called.insert(id.clone(), name.clone());
        let arguments = block.input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned());
        Ok(ToolCall { id, name, arguments, signature })
    }

    fn result(&self, block: BlockIn, param: &str) -> Result<ToolResult, InvalidRequest> {
        let id = block.tool_use_id.unwrap_or_default();
        let call_id = original_id(&id).into_owned();
        let name = self.called.get(&call_id).cloned().ok_or_else(|| {
            let param = format!("{param}.tool_use_id");
            invalid(Some(&param), format!("`{param}` names no call of an earlier message"))
        })?;
        let parts = block.content.map_or(Ok(Vec::new()), |content| blocks(&content, param, MAX_NESTING))?;
        Ok(ToolResult { call_id, name, parts, is_error: block.is_error.unwrap_or(false) })
    }
}

fn instruction(block: &RawValue, position: usize) -> Result<String, InvalidRequest> {
    let param = format!("system[{position}]");
    let block: BlockIn = parse(block.get(), &param)?;
    block.text.ok_or_else(|| invalid(Some(&param), format!("`{param}` must be a text block")))
}

fn text_part(text: String) -> Option<Part> {
    (!text.is_empty()).then_some(Part::Text(text))
}

fn thought(text: String, marked: Marked) -> Option<Thought> {
    let opaque = match marked {
        Marked::Thought(opaque) => Some(opaque),
        Marked::Call(_) | Marked::Nothing => None,
    };
    (!text.is_empty() || opaque.is_some()).then_some(Thought { text, opaque })
}

/// Calls of tools that the provider runs, and what came of them.
fn is_run_by_provider(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "mcp_tool_use" | "fallback")
        || (kind.ends_with("_tool_result") && kind != "tool_result")
}

/// The content of a result or a document: a text, or blocks.
pub(super) fn blocks(content: &RawValue, param: &str, nesting: u8) -> Result<Vec<Part>, InvalidRequest> {
    if content.get() == "null" {
        return Ok(Vec::new());
    }
    let nesting = nesting
        .checked_sub(1)
        .ok_or_else(|| invalid(Some(param), format!("`{param}` holds documents within documents")))?;
    let inner = match Content::read(content, param)? {
        Content::Text(text) => return Ok(text_part(text).into_iter().collect()),
        Content::Blocks(blocks) => blocks,
    };
    let mut parts = Vec::with_capacity(inner.len());
    for block in &inner {
        parts.extend(self::content(parse(block.get(), param)?, param, nesting)?);
    }
    Ok(parts)
}

/// A block that may stand in a message, a result or a document.
fn content(block: BlockIn, param: &str, nesting: u8) -> Result<Vec<Part>, InvalidRequest> {
    match block.kind.as_str() {
        "text" => Ok(block.text.and_then(text_part).into_iter().collect()),
        "image" | "document" => media::parts(block, param, nesting),
        // What a search among tools found.
        "tool_reference" => Ok(block.tool_name.and_then(text_part).into_iter().collect()),
        "search_result" => {
            let content = block.content.map_or(Ok(Vec::new()), |content| blocks(&content, param, nesting))?;
            let title = block.title.map(|title| Part::Text(media::titled("", Some(title), None)));
            Ok(title.into_iter().chain(content).collect())
        }
        kind => Err(invalid(Some(param), format!("`{param}` is of the type `{kind}`, which only Anthropic knows"))),
    }
}
