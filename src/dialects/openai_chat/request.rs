//! Reads a body into the canonical form, for providers that speak another dialect.

mod history;
mod wire;

use serde_json::Value;

use super::scan::Scan;
use crate::dialects::client::Decoded;
use crate::dialects::conversation::{Conversation, ResponseFormat, Settings, Tool, ToolChoice};
use crate::dialects::custom_tools::{self, Grammar};
use crate::dialects::translate::{CannotCarry, InvalidRequest};
use history::History;
use wire::{Body, FormatIn, OneOrMany};

/// Members that only tune or label; other dialects have no place for them, or AiPipe none to keep them.
const HINTS: [&str; 16] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "verbosity",
    "prediction",
    "min_p",
    "top_a",
    "repetition_penalty",
    "provider",
    "transforms",
    "plugins",
];

/// Members that the canonical form holds, or that are AiPipe's own affair.
const HELD: [&str; 29] = [
    "model",
    "messages",
    "aipipe",
    "stream",
    "stream_options",
    "usage",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "modalities",
];

/// What changes the answer and has no words outside this dialect.
const UNTRANSLATABLE: [&str; 5] = ["logit_bias", "audio", "modalities", "messages.content.type", "messages.audio"];

/// Whether a request can be said in another dialect at all.
///
/// # Errors
/// [`CannotCarry`] naming the field that cannot: a provider of another dialect is then no candidate.
pub fn translatable(scan: &Scan<'_>) -> Result<(), CannotCarry> {
    match scan.found.meaningful.iter().find(|name| UNTRANSLATABLE.contains(*name)) {
        Some(name) => Err(CannotCarry {
            field: (*name).to_owned(),
            reason: "only a provider that speaks Chat Completions itself can honour it".into(),
        }),
        None => Ok(()),
    }
}

/// Reads a scanned body into the canonical form.
///
/// # Errors
/// [`InvalidRequest`] where it cannot be understood; a request that is not [`translatable`] is one.
pub fn decode_request(scan: &Scan<'_>) -> Result<Decoded, InvalidRequest> {
    if let Err(CannotCarry { field, reason }) = translatable(scan) {
        return Err(InvalidRequest {
            message: format!("`{field}` cannot be translated: {reason}"),
            param: Some(field),
        });
    }
    // serde's own message may quote the prompt.
    let mut body: Body = serde_json::from_str(scan.found.text()).map_err(|error| {
        invalid(None, format!("a field has a wrong type or text at line {}, column {}", error.line(), error.column()))
    })?;
    let mut dropped = Vec::new();
    let tools = declared_tools(&mut body, &mut dropped)?;
    let tool_choice = match (&body.tool_choice, &body.function_call) {
        (Some(choice), _) => tool_choice(choice)?,
        (None, Some(choice)) => function_choice(choice)?,
        (None, None) => ToolChoice::Auto,
    };
    let mut history = History::default();
    for (index, message) in std::mem::take(&mut body.messages).into_iter().enumerate() {
        history.message(index, message)?;
    }
    let mut hints = Vec::new();
    for member in scan.found.members.iter() {
        let name = member.name.decode();
        if scan.found.text().get(member.value.clone()) == Some("null") || HELD.contains(&&*name) {
            continue;
        }
        match HINTS.iter().find(|hint| ***hint == *name) {
            Some(hint) => hints.push(*hint),
            None => dropped.push(name.into_owned()),
        }
    }
    let conversation = Conversation {
        instructions: history.instructions,
        turns: history.turns,
        tools,
        tool_choice,
        parallel_tool_calls: body.parallel_tool_calls,
        format: response_format(body.response_format.take())?,
        settings: settings(scan, body),
        reasoning: scan.reasoning.clone(),
        hints,
        stream: scan.found.stream,
    };
    Ok(Decoded { conversation, dropped })
}

fn invalid(param: Option<&str>, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest { param: param.map(str::to_owned), message: message.into() }
}

fn settings(scan: &Scan<'_>, body: Body) -> Settings {
    let stop = match body.stop {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    };
    Settings {
        max_output_tokens: scan.found.output_limit,
        temperature: body.temperature,
        top_p: body.top_p,
        top_k: body.top_k,
        stop: stop.into_iter().filter(|text| !text.is_empty()).collect(),
        seed: body.seed,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
        choices: (scan.choices > 1).then_some(scan.choices),
        logprobs: body.logprobs.unwrap_or(false).then(|| body.top_logprobs.unwrap_or(0)),
    }
}

fn declared_tools(body: &mut Body, dropped: &mut Vec<String>) -> Result<Vec<Tool>, InvalidRequest> {
    let mut tools = Vec::new();
    for (index, declared) in body.tools.take().unwrap_or_default().into_iter().enumerate() {
        match (declared.kind.as_deref(), declared.function) {
            (None | Some("function"), Some(function)) => tools.push(Tool {
                name: function.name,
                description: function.description,
                schema: function.parameters,
                strict: function.strict,
            }),
            (None | Some("function"), None) => {
                let param = format!("tools[{index}].function");
                return Err(invalid(Some(&param), format!("`{param}` is required")));
            }
            (Some("custom"), _) => {
                let param = format!("tools[{index}].custom");
                let custom = declared.custom.ok_or_else(|| invalid(Some(&param), format!("`{param}` is required")))?;
                let grammar = custom.format.as_ref().and_then(|format| format.grammar.as_ref());
                let grammar =
                    grammar.map(|grammar| Grammar { syntax: &grammar.syntax, definition: &grammar.definition });
                tools.push(custom_tools::function(custom.name, custom.description, grammar));
            }
            // A tool that its provider would run itself: the others lack it.
            (Some(hosted), _) => dropped.push(format!("tools.{hosted}")),
        }
    }
    tools.extend(body.functions.take().unwrap_or_default().into_iter().map(|function| Tool {
        name: function.name,
        description: function.description,
        schema: function.parameters,
        strict: function.strict,
    }));
    Ok(tools)
}

fn tool_choice(choice: &Value) -> Result<ToolChoice, InvalidRequest> {
    let tool = |choice: &Value| {
        let tool = choice.get("function").or_else(|| choice.get("custom"))?;
        tool.get("name")?.as_str().map(str::to_owned)
    };
    let error = || {
        invalid(
            Some("tool_choice"),
            "`tool_choice` must be `auto`, `none`, `required`, a function or a list of allowed functions",
        )
    };
    if let Some(word) = choice.as_str() {
        return match word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(error()),
        };
    }
    match choice.get("type").and_then(Value::as_str) {
        None | Some("function" | "custom") => tool(choice).map(ToolChoice::Named).ok_or_else(error),
        Some("allowed_tools") => {
            let allowed = choice.get("allowed_tools").unwrap_or(choice);
            let tools = allowed.get("tools").and_then(Value::as_array).ok_or_else(error)?;
            let names = tools.iter().map(|one| tool(one).ok_or_else(error)).collect::<Result<_, _>>()?;
            let required = allowed.get("mode").and_then(Value::as_str) == Some("required");
            Ok(ToolChoice::Allowed { names, required })
        }
        Some(_) => Err(invalid(Some("tool_choice"), "`tool_choice` forces a tool that only its own provider runs")),
    }
}

fn function_choice(choice: &Value) -> Result<ToolChoice, InvalidRequest> {
    match (choice.as_str(), choice.get("name").and_then(Value::as_str)) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::None),
        (_, Some(name)) => Ok(ToolChoice::Named(name.to_owned())),
        _ => Err(invalid(Some("function_call"), "`function_call` must be `auto`, `none` or a function's name")),
    }
}

fn response_format(format: Option<FormatIn>) -> Result<ResponseFormat, InvalidRequest> {
    let Some(format) = format else { return Ok(ResponseFormat::Text) };
    match &*format.kind {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => {
            let schema = format.json_schema.ok_or_else(|| {
                invalid(
                    Some("response_format.json_schema"),
                    "`response_format.json_schema` is required for the type `json_schema`",
                )
            })?;
            let body = schema.schema.ok_or_else(|| {
                invalid(Some("response_format.json_schema.schema"), "`response_format.json_schema.schema` is required")
            })?;
            Ok(ResponseFormat::JsonSchema {
                name: schema.name,
                description: schema.description,
                schema: body,
                strict: schema.strict,
            })
        }
        _ => Err(invalid(
            Some("response_format.type"),
            "`response_format.type` must be `text`, `json_object` or `json_schema`",
        )),
    }
}
