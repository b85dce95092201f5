//! What Anthropic refuses in a request for a message.

use std::collections::HashSet;

use serde_json::Value;

use super::anthropic::signature;
use super::errors::{Failure, Kind};
use super::json::Json;
use super::models;
use super::provider::Provider;
use super::server::Request;

/// Top-level fields of a request for a message.
const FIELDS: &[&str] = &[
    "cache_control",
    "container",
    "context_management",
    "fallbacks",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// Refuses what Anthropic would refuse.
pub(crate) fn check(request: &Request<'_>) -> Result<(), Failure> {
    let body = request.body;
    match &body["max_tokens"] {
        Value::Null => return Err(Failure::bad("max_tokens: Field required")),
        limit if limit.as_u64().is_none() => return Err(Failure::bad("max_tokens: Input should be a valid integer")),
        limit if limit == 0 => return Err(Failure::bad("max_tokens: Input should be greater than or equal to 1")),
        _ => {}
    }
    check_countable(request)?;
    check_sampling(request)?;
    check_thinking(body)
}

/// The checks that a request to count tokens meets too.
pub(crate) fn check_countable(request: &Request<'_>) -> Result<(), Failure> {
    let body = request.body;
    if request.headers.get("anthropic-version").is_none() {
        return Err(Failure::bad("anthropic-version: header is required"));
    }
    if let Some((name, _)) = body.as_object().into_iter().flatten().find(|(name, _)| !FIELDS.contains(&name.as_str())) {
        return Err(Failure::bad(format!("{name}: Extra inputs are not permitted")));
    }
    if request.model.is_empty() {
        return Err(Failure::bad("model: Field required"));
    }
    if !models::exists(Provider::Anthropic, &request.site.settings, request.model) {
        return Err(Failure::usual(Provider::Anthropic, Kind::NoSuchModel, request.model));
    }
    let Some(messages) = body["messages"].as_array() else {
        return Err(Failure::bad("messages: Field required"));
    };
    if messages.is_empty() {
        return Err(Failure::bad("messages: at least one message is required"));
    }
    check_system(&body["system"])?;
    check_messages(request.model, messages)?;
    check_tool_turns(messages)?;
    check_end(request.model, messages)?;
    check_tools(body, messages)
}

/// Whether the request turns thinking on.
pub(crate) fn thinks(body: &Value) -> bool {
    matches!(body.at("/thinking/type").as_str(), Some("enabled" | "adaptive"))
}

fn check_system(system: &Value) -> Result<(), Failure> {
    match system {
        Value::Null | Value::String(_) => Ok(()),
        Value::Array(blocks) => {
            let blocks = blocks.iter().enumerate();
            for (position, block) in blocks {
                if block["type"] != "text" {
                    return Err(Failure::bad(format!("system.{position}.type: Input should be 'text'")));
                }
                if block["text"].as_str().is_none_or(str::is_empty) {
                    return Err(Failure::bad("system: text content blocks must be non-empty"));
                }
            }
            Ok(())
        }
        _ => Err(Failure::bad("system: Input should be a valid list")),
    }
}

fn check_messages(model: &str, messages: &[Value]) -> Result<(), Failure> {
    for (position, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if let Some((name, _)) =
            message.as_object().into_iter().flatten().find(|(name, _)| !["role", "content"].contains(&name.as_str()))
        {
            return Err(Failure::bad(format!("messages.{position}.{name}: Extra inputs are not permitted")));
        }
        match role {
            "user" | "assistant" => {}
            "system" if takes_system_messages(model) && position > 0 => {}
            "system" => {
                return Err(Failure::bad(
                    "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \"system\" as an \
                     input message role.",
                ));
            }
            _ => {
                return Err(Failure::bad(format!("messages.{position}.role: Input should be 'user' or 'assistant'")));
            }
        }
        match &message["content"] {
            Value::Null => return Err(Failure::bad(format!("messages.{position}.content: Field required"))),
            Value::String(text) if text.is_empty() => return Err(empty_content(position)),
            Value::String(_) => {}
            Value::Array(blocks) => {
                let last_assistant = role == "assistant" && position + 1 == messages.len();
                if blocks.is_empty() && !last_assistant {
                    return Err(empty_content(position));
                }
                for (at, block) in blocks.iter().enumerate() {
                    check_block(model, block, &format!("messages.{position}.content.{at}"))?;
                }
            }
            _ => return Err(Failure::bad(format!("messages.{position}.content: Input should be a valid list"))),
        }
    }
    Ok(())
}

/// Claude Opus 4.8 and later models take system messages within a conversation.
fn takes_system_messages(model: &str) -> bool {
    ["claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-fable-5", "claude-haiku-5"]
        .iter()
        .any(|start| model.starts_with(start))
}

fn empty_content(position: usize) -> Failure {
    Failure::bad(format!(
        "messages.{position}: all messages must have non-empty content except for the optional final assistant message"
    ))
}

fn check_block(model: &str, block: &Value, at: &str) -> Result<(), Failure> {
    let kind = block["type"].as_str().unwrap_or_default();
    match kind {
        "" => Err(Failure::bad(format!("{at}.type: Field required"))),
        "text" if block["text"].as_str().is_none_or(str::is_empty) => {
            Err(Failure::bad("messages: text content blocks must be non-empty"))
        }
        "tool_use" => {
            check_id(&block["id"], &format!("{at}.tool_use.id"))?;
            if !block["input"].is_object() {
                return Err(Failure::bad(format!("{at}.tool_use.input: Input should be a valid dictionary")));
            }
            Ok(())
        }
        "tool_result" => {
            check_id(&block["tool_use_id"], &format!("{at}.tool_result.tool_use_id"))?;
            let empty = |part: &Value| part["type"] == "text" && part["text"] == "";
            if block["content"].as_array().into_iter().flatten().any(empty) {
                return Err(Failure::bad("messages: text content blocks must be non-empty"));
            }
            Ok(())
        }
        "thinking" => {
            let Some(thinking) = block["thinking"].as_str() else {
                return Err(Failure::bad(format!("{at}.thinking.thinking: Field required")));
            };
            match block["signature"].as_str() {
                None => Err(Failure::bad(format!("{at}.thinking.signature: Field required"))),
                Some(given) if given == signature(model, thinking) => Ok(()),
                Some(_) => Err(Failure::bad(format!("{at}: Invalid `signature` in `thinking` block"))),
            }
        }
        "image_url" | "input_text" | "output_text" | "input_image" | "function_call" | "input_audio" => {
            Err(Failure::bad(format!(
                "{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            )))
        }
        _ => Ok(()),
    }
}

fn check_id(id: &Value, at: &str) -> Result<(), Failure> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    match id.as_str() {
        None => Err(Failure::bad(format!("{at}: Field required"))),
        Some(id) if id.is_empty() || !id.chars().all(good) => {
            Err(Failure::bad(format!("{at}: String should match pattern '^[a-zA-Z0-9_-]+$'")))
        }
        Some(_) => Ok(()),
    }
}

/// Calls of a message are answered by results at the head of the next; results answer calls of the message before.
fn check_tool_turns(messages: &[Value]) -> Result<(), Failure> {
    let ids = |message: Option<&Value>, kind: &str, field: &str| -> Vec<String> {
        let blocks = message.and_then(|message| message["content"].as_array()).into_iter().flatten();
        let of_kind = blocks.filter(|block| block["type"] == kind);
        of_kind.filter_map(|block| block[field].as_str()).map(str::to_owned).collect()
    };
    for (position, message) in messages.iter().enumerate() {
        let calls = ids(Some(message), "tool_use", "id");
        let answers: HashSet<String> =
            ids(messages.get(position + 1), "tool_result", "tool_use_id").into_iter().collect();
        let missing: Vec<&str> = calls.iter().filter(|id| !answers.contains(*id)).map(String::as_str).collect();
        if !missing.is_empty() && position + 1 < messages.len() {
            return Err(Failure::bad(format!(
                "messages.{position}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
                 must have a corresponding `tool_result` block in the next message.",
                missing.join(", ")
            )));
        }
        let before = position.checked_sub(1).and_then(|before| messages.get(before));
        let asked: HashSet<String> = ids(before, "tool_use", "id").into_iter().collect();
        if let Some(id) = ids(Some(message), "tool_result", "tool_use_id").iter().find(|id| !asked.contains(*id)) {
            return Err(Failure::bad(format!(
                "messages.{position}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must \
                 have a corresponding `tool_use` block in the previous message."
            )));
        }
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let first_other = blocks.iter().position(|block| block["type"] != "tool_result").unwrap_or(blocks.len());
        if blocks.iter().skip(first_other).any(|block| block["type"] == "tool_result") {
            return Err(Failure::bad(format!(
                "messages.{position}: `tool_result` blocks must come first in the content of the message"
            )));
        }
    }
    Ok(())
}

/// The last message may be the beginning of the answer, where the model takes that.
fn check_end(model: &str, messages: &[Value]) -> Result<(), Failure> {
    let Some(last) = messages.last().filter(|last| last["role"] == "assistant") else { return Ok(()) };
    let refuses =
        ["claude-opus-4-6", "claude-opus-4-7", "claude-sonnet-4-6"].iter().any(|start| model.starts_with(start))
            || takes_system_messages(model);
    if refuses {
        let text =
            "This model does not support assistant message prefill. The conversation must end with a user message.";
        return Err(Failure::bad(text));
    }
    let text = match &last["content"] {
        Value::String(text) => text.as_str(),
        blocks => blocks
            .as_array()
            .and_then(|blocks| blocks.last())
            .and_then(|block| block["text"].as_str())
            .unwrap_or_default(),
    };
    if text.ends_with(char::is_whitespace) {
        return Err(Failure::bad("messages: final assistant content cannot end with trailing whitespace"));
    }
    Ok(())
}

fn check_tools(body: &Value, messages: &[Value]) -> Result<(), Failure> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names = HashSet::new();
    for (position, tool) in tools.iter().enumerate() {
        let custom = tool["type"].is_null() || tool["type"] == "custom";
        let Some(name) = tool["name"].as_str().filter(|name| !name.is_empty()) else {
            if tool["type"] == "function" {
                let text = format!(
                    "tools.{position}: Input tag 'function' found using 'type' does not match any of the expected tags"
                );
                return Err(Failure::bad(text));
            }
            return Err(Failure::bad(format!("tools.{position}.custom.name: Field required")));
        };
        if !names.insert(name) {
            return Err(Failure::bad("tools: Tool names must be unique."));
        }
        let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if name.len() > 128 || !name.chars().all(good) {
            let text = format!("tools.{position}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'");
            return Err(Failure::bad(text));
        }
        if custom && tool["input_schema"].is_null() {
            return Err(Failure::bad(format!("tools.{position}.custom.input_schema: Field required")));
        }
        if custom && tool.at("/input_schema/type") != "object" {
            return Err(Failure::bad(format!("tools.{position}.custom.input_schema.type: Field required")));
        }
    }
    let in_history = |kind: &str| {
        let blocks = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
        blocks.into_iter().any(|block| block["type"] == kind)
    };
    if tools.is_empty() && (in_history("tool_use") || in_history("tool_result")) {
        return Err(Failure::bad(
            "Requests which have `tool_use` or `tool_result` blocks in messages must define tools.",
        ));
    }
    let choice = &body["tool_choice"];
    match choice["type"].as_str() {
        None if choice.is_null() => Ok(()),
        Some("auto" | "none") if tools.is_empty() => Ok(()),
        Some("auto" | "any" | "none") if !tools.is_empty() => Ok(()),
        Some("tool") => match choice["name"].as_str() {
            Some(name) if names.contains(name) => Ok(()),
            name => Err(Failure::bad(format!("Tool '{}' not found in provided tools", name.unwrap_or_default()))),
        },
        Some("any") => Err(Failure::bad("tool_choice: tools must be provided with this tool choice")),
        _ => Err(Failure::bad(
            "tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'",
        )),
    }
}

fn check_sampling(request: &Request<'_>) -> Result<(), Failure> {
    let body = request.body;
    let fixed = request.model.starts_with("claude-opus-4-7") || takes_system_messages(request.model);
    for field in ["temperature", "top_p", "top_k"] {
        if fixed && !body[field].is_null() {
            return Err(Failure::bad(format!("`{field}` is deprecated for this model.")));
        }
    }
    for field in ["temperature", "top_p"] {
        if body[field].as_f64().is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(Failure::bad(format!("{field}: range: 0..1")));
        }
    }
    if thinks(body) && body["temperature"].as_f64().is_some_and(|temperature| temperature != 1.0) {
        return Err(Failure::bad("`temperature` may only be set to 1 when thinking is enabled."));
    }
    let together = ["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"]
        .iter()
        .any(|start| request.model.starts_with(start));
    if together && !body["temperature"].is_null() && !body["top_p"].is_null() {
        return Err(Failure::bad(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        ));
    }
    let blank = |stop: &Value| stop.as_str().is_none_or(|stop| stop.trim().is_empty());
    if body["stop_sequences"].as_array().into_iter().flatten().any(blank) {
        return Err(Failure::bad("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    Ok(())
}

fn check_thinking(body: &Value) -> Result<(), Failure> {
    if body.at("/thinking/type") != "enabled" {
        return Ok(());
    }
    let budget = body.at("/thinking/budget_tokens").as_u64().unwrap_or(0);
    if budget < 1024 {
        return Err(Failure::bad("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"));
    }
    if body["max_tokens"].as_u64().is_some_and(|limit| limit <= budget) {
        return Err(Failure::bad("`max_tokens` must be greater than `thinking.budget_tokens`."));
    }
    if matches!(body.at("/tool_choice/type").as_str(), Some("any" | "tool")) {
        return Err(Failure::bad("Thinking may not be enabled when tool_choice forces tool use."));
    }
    Ok(())
}
