//! What OpenAI, xAI and OpenRouter refuse in a Responses request.

use serde_json::Value;

use super::errors::Failure;
use super::json::Json;
use super::models;
use super::provider::Provider;
use super::responses::key_of;
use super::responses_writer::opened;
use super::server::Request;

/// Top-level fields of Responses.
const FIELDS: &[&str] = &[
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Types of tools.
const TOOLS: &[&str] = &[
    "apply_patch",
    "code_interpreter",
    "computer_use_preview",
    "custom",
    "file_search",
    "function",
    "image_generation",
    "local_shell",
    "mcp",
    "namespace",
    "shell",
    "tool_search",
    "web_search",
    "web_search_preview",
    "x_search",
];

/// The least that `max_output_tokens` may be.
const LEAST_OUTPUT: u64 = 16;

/// Refuses what the provider would refuse in the members of a body.
pub(crate) fn check(request: &Request<'_>) -> Result<(), Failure> {
    let (provider, body) = (request.site.provider, request.body);
    let unknown = body.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !FIELDS.contains(&&***name));
    if let Some(name) = unknown {
        return Err(Failure::at(name, Some("unknown_parameter"), format!("Unknown parameter: '{name}'.")));
    }
    if request.model.is_empty() {
        return Err(Failure::at("model", Some("missing_required_parameter"), "Missing required parameter: 'model'."));
    }
    if !models::exists(provider, &request.site.settings, request.model) {
        let text = format!("The requested model '{}' does not exist.", request.model);
        return Err(Failure::at("model", Some("model_not_found"), text));
    }
    if !(body["input"].is_string() || body["input"].is_array()) && body["previous_response_id"].is_null() {
        return Err(Failure::at("input", Some("missing_required_parameter"), "Missing required parameter: 'input'."));
    }
    if provider == Provider::OpenRouter && !body["previous_response_id"].is_null() {
        return Err(Failure::at("previous_response_id", None, "previous_response_id is not supported"));
    }
    if let Some(limit) = body["max_output_tokens"].as_u64().filter(|limit| *limit < LEAST_OUTPUT) {
        let text = format!(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT}, but got {limit} instead."
        );
        return Err(Failure::at("max_output_tokens", Some("integer_below_min_value"), text));
    }
    for name in ["temperature", "top_p"] {
        if provider == Provider::OpenAi && models::is_openai_reasoner(request.model) && !body[name].is_null() {
            let text = format!("Unsupported parameter: '{name}' is not supported with this model.");
            return Err(Failure::at(name, None, text));
        }
    }
    if !body["reasoning"].is_null() && provider == Provider::OpenAi && !models::is_openai_reasoner(request.model) {
        let text = "Unsupported parameter: 'reasoning.effort' is not supported with this model.";
        return Err(Failure::at("reasoning.effort", Some("unsupported_parameter"), text));
    }
    check_tools(body)
}

fn check_tools(body: &Value) -> Result<(), Failure> {
    for (position, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let kind = tool["type"].as_str().unwrap_or_default();
        if !TOOLS.contains(&kind) {
            let param = format!("tools[{position}].type");
            return Err(Failure::at(&*param, Some("invalid_value"), format!("Invalid value: '{kind}'.")));
        }
        if matches!(kind, "function" | "custom") && !tool["name"].is_string() {
            let param = format!("tools[{position}].name");
            let text = format!("Missing required parameter: '{param}'.");
            return Err(Failure::at(param, Some("missing_required_parameter"), text));
        }
    }
    let format = body.at("/text/format");
    if format["type"] == "json_schema" && !format["name"].is_string() {
        let text = "Missing required parameter: 'text.format.name'.";
        return Err(Failure::at("text.format.name", Some("missing_required_parameter"), text));
    }
    Ok(())
}

/// Looks up what items only name, and refuses a history that does not hold together.
pub(crate) fn check_history(request: &Request<'_>, items: &mut [Value]) -> Result<(), Failure> {
    for item in items.iter_mut() {
        let kind = item["type"].as_str().unwrap_or("message").to_owned();
        let only_named = match kind.as_str() {
            "item_reference" => true,
            "reasoning" => match item["encrypted_content"].as_str() {
                Some(content) => {
                    check_encrypted(request, content)?;
                    false
                }
                None => true,
            },
            "message" => {
                check_message(item)?;
                false
            }
            _ => false,
        };
        if let (true, Some(id)) = (only_named, item["id"].as_str().map(str::to_owned)) {
            *item = request.site.shelf.item(&id, key_of(request)).ok_or_else(|| {
                let text = format!(
                    "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to \
                     true, or remove this item from your input."
                );
                Failure { status: Some(404), ..Failure::at("input", None, text) }
            })?;
        }
    }
    check_calls(items)?;
    check_thoughts(items)
}

fn check_encrypted(request: &Request<'_>, content: &str) -> Result<(), Failure> {
    if opened(request, content) {
        return Ok(());
    }
    let start = content.get(..8).unwrap_or(content);
    let text = format!("The encrypted content {start}... could not be verified.");
    Err(Failure::at("input", Some("invalid_encrypted_content"), text))
}

fn check_message(item: &Value) -> Result<(), Failure> {
    let role = item["role"].as_str().unwrap_or_default();
    if !["user", "assistant", "system", "developer"].contains(&role) {
        return Err(Failure::at("input", Some("invalid_value"), format!("Invalid value: '{role}'.")));
    }
    let known = if role == "assistant" {
        &["output_text", "refusal"][..]
    } else {
        &["input_text", "input_image", "input_file", "input_audio"][..]
    };
    for part in item["content"].as_array().into_iter().flatten() {
        let kind = part["type"].as_str().unwrap_or_default();
        if !known.contains(&kind) {
            let text = format!("Invalid value: '{kind}'. Supported values are: '{}'.", known.join("', '"));
            return Err(Failure::at("input", Some("invalid_value"), text));
        }
    }
    Ok(())
}

/// Each result needs its call, and each call its result.
fn check_calls(items: &[Value]) -> Result<(), Failure> {
    let of = |suffix: &str| {
        let is_of = |item: &&Value| matches!(item["type"].as_str(), Some(kind) if kind == format!("function_call{suffix}") || kind == format!("custom_tool_call{suffix}"));
        items.iter().filter(is_of).filter_map(|item| item["call_id"].as_str()).collect::<Vec<_>>()
    };
    let (calls, outputs) = (of(""), of("_output"));
    if let Some(id) = outputs.iter().find(|id| !calls.contains(id)) {
        let text = format!("No tool call found for function call output with call_id {id}.");
        return Err(Failure::at("input", None, text));
    }
    match calls.iter().find(|id| !outputs.contains(id)) {
        Some(id) => Err(Failure::at("input", None, format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

/// A thought belongs to what the model did next.
fn check_thoughts(items: &[Value]) -> Result<(), Failure> {
    for (position, item) in items.iter().enumerate().filter(|(_, item)| item["type"] == "reasoning") {
        let next = items.get(position + 1);
        let follows = next.is_some_and(|next| next["role"] == "assistant" || next["role"].is_null());
        if !follows {
            let id = item["id"].as_str().unwrap_or_default();
            let text = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
            return Err(Failure::at("input", None, text));
        }
    }
    Ok(())
}
