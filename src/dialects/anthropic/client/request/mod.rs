//! Reads a body into the canonical form, for providers that speak another dialect.

mod history;
mod media;
mod tools;
mod wire;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::scan::Scan;
use crate::dialects::client::Decoded;
use crate::dialects::conversation::{Conversation, ResponseFormat, Settings};
use crate::dialects::scan::invalid;
use crate::dialects::translate::InvalidRequest;
use history::History;
use wire::{Body, FormatIn};

/// Members that only tune or label.
const HINTS: [&str; 3] = ["metadata", "service_tier", "cache_control"];

/// Members that the canonical form holds, or that are AiPipe's own affair.
const HELD: [&str; 15] = [
    "model",
    "messages",
    "aipipe",
    "stream",
    "max_tokens",
    "system",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
];

/// What a schema is called whose client gave it no name.
const SCHEMA_NAME: &str = "answer";

/// Reads a scanned body into the canonical form.
pub(super) fn decode(scan: &Scan<'_>) -> Result<Decoded, InvalidRequest> {
    let mut body: Body = parse(scan.found.text(), "the body")?;
    let mut dropped = Vec::new();
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
    if scan.marks_cache && !hints.contains(&"cache_control") {
        hints.push("cache_control");
    }
    let declared = tools::declared(body.tools.take().unwrap_or_default(), &mut dropped)?;
    let choice = tools::choice(body.tool_choice.as_ref(), &declared)?;
    let mut history = History::default();
    if let Some(system) = body.system.take() {
        history.system(&system)?;
    }
    for (index, message) in std::mem::take(&mut body.messages).into_iter().enumerate() {
        history.message(index, message)?;
    }
    dropped.extend(history.left_out.iter().map(|kind| format!("messages.{kind}")));
    let serial = body.tool_choice.as_ref().and_then(|choice| choice.disable_parallel_tool_use) == Some(true);
    let conversation = Conversation {
        instructions: history.instructions,
        turns: history.turns,
        tools: declared.functions,
        tool_choice: choice,
        parallel_tool_calls: serial.then_some(false),
        format: format(&mut body)?,
        settings: Settings {
            max_output_tokens: scan.found.output_limit,
            temperature: body.temperature,
            top_p: body.top_p,
            top_k: body.top_k,
            stop: body.stop_sequences.unwrap_or_default().into_iter().filter(|text| !text.is_empty()).collect(),
            ..Settings::default()
        },
        reasoning: scan.reasoning(),
        hints,
        stream: scan.found.stream,
    };
    Ok(Decoded { conversation, dropped })
}

/// Reads a piece of the body; the error quotes nothing of it, as serde's own may.
fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T, InvalidRequest> {
    serde_json::from_str(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        invalid(None, format!("a field has a wrong type or text at line {line}, column {column} of {what}"))
    })
}

fn format(body: &mut Body) -> Result<ResponseFormat, InvalidRequest> {
    let format = body.output_config.take().and_then(|config| config.format).or(body.output_format.take());
    match format {
        None => Ok(ResponseFormat::Text),
        Some(FormatIn { kind, schema: Some(schema) }) if kind == "json_schema" => Ok(schema_format(schema)),
        Some(_) => Err(invalid(
            Some("output_config.format"),
            "`output_config.format` must be of the type `json_schema` and have a `schema`",
        )),
    }
}

/// Anthropic's structured output holds to the letter.
fn schema_format(schema: Box<RawValue>) -> ResponseFormat {
    ResponseFormat::JsonSchema { name: SCHEMA_NAME.to_owned(), description: None, schema, strict: Some(true) }
}
