//! What the five OpenAI-compatible providers refuse in a chat request.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Failure, Kind};
use super::json::Json;
use super::models;
use super::openai_chat::text_of;
use super::provider::Provider;
use super::server::Request;

/// Top-level fields of Chat Completions.
const FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Fields that a provider takes beside these.
fn own_fields(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Xai => &["deferred", "search_parameters"],
        Provider::OpenRouter => &[
            "cache_control",
            "image_config",
            "include_reasoning",
            "min_p",
            "models",
            "plugins",
            "provider",
            "reasoning",
            "repetition_penalty",
            "route",
            "session_id",
            "structured_outputs",
            "top_a",
            "top_k",
            "trace",
            "transforms",
            "usage",
        ],
        Provider::MiniMax => &["mask_sensitive_info", "reasoning_split", "thinking"],
        Provider::Moonshot => &["thinking"],
        _ => &[],
    }
}

/// Refuses what the provider would refuse.
pub(crate) fn check(request: &Request<'_>) -> Result<(), Failure> {
    let (provider, body) = (request.site.provider, request.body);
    check_fields(provider, body)?;
    if request.model.is_empty() {
        return Err(Failure::bad("you must provide a model parameter"));
    }
    if !models::exists(provider, &request.site.settings, request.model) {
        return Err(Failure::usual(provider, Kind::NoSuchModel, request.model));
    }
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Err(Failure::at("messages", None, "Missing required parameter: 'messages'."));
    };
    check_messages(messages)?;
    check_calls_are_answered(messages)?;
    check_tools(body)?;
    check_options(request)?;
    match provider {
        Provider::OpenAi => check_openai(request, messages),
        Provider::Xai => check_xai(request),
        Provider::MiniMax => check_minimax(body),
        Provider::Moonshot => check_moonshot(request, messages),
        _ => Ok(()),
    }
}

fn check_fields(provider: Provider, body: &Value) -> Result<(), Failure> {
    let fields = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let mut unknown = fields.filter(|name| !FIELDS.contains(name) && !own_fields(provider).contains(name));
    match unknown.next() {
        None => Ok(()),
        Some(name) if provider == Provider::OpenAi => {
            Err(Failure::bad(format!("Unrecognized request argument supplied: {name}")))
        }
        Some(name) => Err(Failure::bad(format!("Unrecognized request argument supplied: {name} (unknown field)"))),
    }
}

fn check_messages(messages: &[Value]) -> Result<(), Failure> {
    for (position, message) in messages.iter().enumerate() {
        let at = |field: &str| format!("messages[{position}].{field}");
        let role = message["role"].as_str().unwrap_or_default();
        if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
            let text = format!(
                "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
            );
            return Err(Failure::at(at("role"), Some("invalid_value"), text));
        }
        let has_calls = message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
        match &message["content"] {
            Value::String(_) => {}
            Value::Null
                if role == "assistant"
                    && (has_calls || !message["refusal"].is_null() || !message["function_call"].is_null()) => {}
            Value::Array(parts) => check_parts(parts, position)?,
            Value::Null => {
                let text = "Invalid value for 'content': expected a string, got null.";
                return Err(Failure::at(at("content"), None, text));
            }
            _ => {
                let text =
                    format!("Invalid type for '{}': expected one of an array of objects or string.", at("content"));
                return Err(Failure::at(at("content"), Some("invalid_type"), text));
            }
        }
        if role == "tool" && message["tool_call_id"].as_str().is_none_or(str::is_empty) {
            let text = format!("Missing required parameter: '{}'.", at("tool_call_id"));
            return Err(Failure::at(at("tool_call_id"), Some("missing_required_parameter"), text));
        }
        for (call_position, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            if call["id"].as_str().is_none()
                || call.at("/function/name").as_str().is_none()
                || !call.at("/function/arguments").is_string()
            {
                let param = at(&format!("tool_calls[{call_position}]"));
                let text = format!(
                    "Invalid type for '{param}': a call needs 'id', 'function.name' and 'function.arguments' as a string."
                );
                return Err(Failure::at(param, Some("invalid_type"), text));
            }
        }
    }
    Ok(())
}

fn check_parts(parts: &[Value], position: usize) -> Result<(), Failure> {
    let known = ["text", "image_url", "input_audio", "refusal", "audio", "file", "video_url"];
    for (part_position, part) in parts.iter().enumerate() {
        let param = format!("messages[{position}].content[{part_position}].type");
        let kind = part["type"].as_str().unwrap_or_default();
        if !known.contains(&kind) {
            let text = format!(
                "Invalid value: '{kind}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'."
            );
            return Err(Failure::at(param, Some("invalid_value"), text));
        }
        if kind == "image_url" && !part.at("/image_url/url").is_string() {
            let text = "Invalid type for 'image_url': expected an object, but got a string instead.";
            return Err(Failure::at(param, Some("invalid_type"), text));
        }
    }
    Ok(())
}

/// Each call needs its result before anything else is said, and each result its call.
fn check_calls_are_answered(messages: &[Value]) -> Result<(), Failure> {
    let mut open: HashSet<&str> = HashSet::new();
    for (position, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            if !open.remove(id) {
                let text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.";
                return Err(Failure::at(format!("messages[{position}].role"), None, text));
            }
            continue;
        }
        unanswered(&open)?;
        open = message["tool_calls"].as_array().into_iter().flatten().filter_map(|call| call["id"].as_str()).collect();
    }
    unanswered(&open)
}

fn unanswered(open: &HashSet<&str>) -> Result<(), Failure> {
    match open.iter().min() {
        None => Ok(()),
        Some(id) => Err(Failure::at(
            "messages",
            None,
            format!(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The \
                 following tool_call_ids did not have response messages: {id}"
            ),
        )),
    }
}

fn check_tools(body: &Value) -> Result<(), Failure> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names = HashSet::new();
    for (position, tool) in tools.iter().enumerate() {
        let param = format!("tools[{position}].function.name");
        let kind = tool["type"].as_str().unwrap_or_default();
        if kind != "function" {
            // Hosted tools have shapes of their own.
            if kind.is_empty() || tool.get("input_schema").is_some() {
                let text = format!("Missing required parameter: 'tools[{position}].type'.");
                return Err(Failure::at(format!("tools[{position}].type"), Some("missing_required_parameter"), text));
            }
            continue;
        }
        let name = tool.at("/function/name").as_str().unwrap_or_default();
        let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
            let text = format!(
                "Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            );
            return Err(Failure::at(param, Some("invalid_value"), text));
        }
        let parameters = tool.at("/function/parameters");
        if !parameters.is_null() && parameters["type"] != "object" {
            let text =
                format!("Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"'.");
            return Err(Failure::at(
                format!("tools[{position}].function.parameters"),
                Some("invalid_function_parameters"),
                text,
            ));
        }
        names.insert(name);
    }
    let choice = &body["tool_choice"];
    if !choice.is_null() && choice != "none" && tools.is_empty() && body["functions"].is_null() {
        return Err(Failure::at("tool_choice", None, "'tool_choice' is only allowed when 'tools' are specified."));
    }
    match choice.at("/function/name").as_str() {
        Some(name) if !names.contains(name) => {
            let text = format!("Invalid value for 'tool_choice': the tool '{name}' is not among 'tools'.");
            Err(Failure::at("tool_choice", Some("invalid_value"), text))
        }
        _ => Ok(()),
    }
}

fn check_options(request: &Request<'_>) -> Result<(), Failure> {
    let (provider, body) = (request.site.provider, request.body);
    if !body["stream_options"].is_null() && body["stream"] != true && provider == Provider::OpenAi {
        let text = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Failure::at("stream_options", None, text));
    }
    if let Some(temperature) = body["temperature"].as_f64() {
        if temperature < 0.0 {
            let text = format!(
                "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got {temperature} instead."
            );
            return Err(Failure::at("temperature", Some("decimal_below_min_value"), text));
        }
        if temperature > 2.0 {
            let text = format!(
                "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got {temperature} instead."
            );
            return Err(Failure::at("temperature", Some("decimal_above_max_value"), text));
        }
    }
    for limit in ["max_tokens", "max_completion_tokens"] {
        if body[limit].as_i64().is_some_and(|tokens| tokens < 1) {
            let text = format!("Invalid '{limit}': integer below minimum value. Expected a value >= 1.");
            return Err(Failure::at(limit, Some("integer_below_min_value"), text));
        }
    }
    let format = &body["response_format"];
    if format["type"] == "json_schema"
        && (!format.at("/json_schema/name").is_string() || !format.at("/json_schema/schema").is_object())
    {
        let text = "Missing required parameter: 'response_format.json_schema'.";
        return Err(Failure::at("response_format.json_schema", Some("missing_required_parameter"), text));
    }
    if body["stop"].as_array().is_some_and(|stops| stops.len() > 4) {
        let text = "Invalid 'stop': array too long. Expected an array with maximum length 4.";
        return Err(Failure::at("stop", Some("array_above_max_length"), text));
    }
    Ok(())
}

fn check_openai(request: &Request<'_>, messages: &[Value]) -> Result<(), Failure> {
    let body = request.body;
    if body.at("/response_format/type") == "json_object" {
        let says_json = |message: &Value| text_of(&message["content"]).to_lowercase().contains("json");
        if !messages.iter().any(says_json) {
            let text =
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.";
            return Err(Failure::at("messages", None, text));
        }
    }
    if !models::is_openai_reasoner(request.model) {
        if !body["reasoning_effort"].is_null() {
            let text = "Unrecognized request argument supplied: reasoning_effort";
            return Err(Failure::bad(text));
        }
        return Ok(());
    }
    if !body["max_tokens"].is_null() {
        let text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(Failure::at("max_tokens", Some("unsupported_parameter"), text));
    }
    // From gpt-5.1 on sampling can be tuned while no reasoning is asked for.
    let effort = body["reasoning_effort"].as_str();
    let always =
        ["gpt-5-", "o1", "o3", "o4"].iter().any(|start| request.model.starts_with(start)) || request.model == "gpt-5";
    if !always && effort.is_none_or(|effort| effort == "none") {
        return Ok(());
    }
    for (field, default) in
        [("temperature", 1.0), ("top_p", 1.0), ("presence_penalty", 0.0), ("frequency_penalty", 0.0)]
    {
        if let Some(value) = body[field].as_f64().filter(|value| *value != default) {
            let text = format!(
                "Unsupported value: '{field}' does not support {value} with this model. Only the default ({default}) value is supported."
            );
            return Err(Failure::at(field, Some("unsupported_value"), text));
        }
    }
    for field in ["logprobs", "logit_bias", "top_logprobs"] {
        if !body[field].is_null() && body[field] != false {
            let text = format!("Unsupported parameter: '{field}' is not supported with this model.");
            return Err(Failure::at(field, Some("unsupported_parameter"), text));
        }
    }
    Ok(())
}

fn check_xai(request: &Request<'_>) -> Result<(), Failure> {
    if !models::reasons(Provider::Xai, request.model, request.body) {
        return Ok(());
    }
    for field in ["presence_penalty", "frequency_penalty", "stop"] {
        if !request.body[field].is_null() && request.model.starts_with("grok-4") {
            return Err(Failure::bad(format!("Argument not supported on this model: {field}")));
        }
    }
    Ok(())
}

fn check_minimax(body: &Value) -> Result<(), Failure> {
    if body["temperature"].as_f64().is_some_and(|temperature| temperature <= 0.0 || temperature > 1.0) {
        return Err(Failure::bad("invalid params, temperature must be in (0,1] (2013)"));
    }
    if body["n"].as_u64().is_some_and(|n| n > 1) {
        return Err(Failure::bad("invalid params, n must be 1 (2013)"));
    }
    Ok(())
}

fn check_moonshot(request: &Request<'_>, messages: &[Value]) -> Result<(), Failure> {
    let body = request.body;
    let thinks = models::reasons(Provider::Moonshot, request.model, body);
    let fixed = request.model.starts_with("kimi-k2.") || request.model.starts_with("kimi-k3");
    if fixed && body["temperature"].as_f64().is_some_and(|temperature| temperature != 1.0) {
        return Err(Failure::bad("invalid temperature: only 1 is allowed for this model"));
    }
    if fixed && body["n"].as_u64().is_some_and(|n| n > 1) {
        return Err(Failure::bad("invalid n: only 1 is allowed for this model"));
    }
    let forced = body["tool_choice"] == "required" || body["tool_choice"].is_object();
    if thinks && forced && request.model.starts_with("kimi-k2") {
        return Err(Failure::bad("tool_choice 'required' is incompatible with thinking enabled"));
    }
    for (position, message) in messages.iter().enumerate() {
        let calls = message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
        if thinks && calls && message["reasoning_content"].as_str().is_none_or(str::is_empty) {
            let text = format!(
                "thinking is enabled but reasoning_content is missing in assistant tool call message at index {position}"
            );
            return Err(Failure::bad(text));
        }
        let empty_text = |part: &Value| part["type"] == "text" && part["text"] == "";
        if message["content"].as_array().into_iter().flatten().any(empty_text) {
            return Err(Failure::bad("Invalid request: text content is empty"));
        }
    }
    Ok(())
}
