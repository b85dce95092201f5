//! Reads a body into the canonical form, for providers that speak another dialect.

mod history;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::scan::Scan;
use super::tools::{Declared, choice};
use crate::dialects::client::Decoded;
use crate::dialects::conversation::{Conversation, ResponseFormat, Role, Settings};
use crate::dialects::scan::invalid;
use crate::dialects::translate::InvalidRequest;
use history::{History, ItemIn};

/// Members that only tune or label.
const HINTS: [&str; 14] = [
    "context_management",
    "max_tool_calls",
    "metadata",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "text.verbosity",
    "truncation",
    "user",
];

/// Members that the canonical form holds, or that are AiPipe's own affair.
const HELD: [&str; 16] = [
    "model",
    "input",
    "aipipe",
    "stream",
    "background",
    "instructions",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "include",
];

/// What a schema is called whose client gave it no name.
const SCHEMA_NAME: &str = "answer";

/// The members of a body that are read as values.
#[derive(Debug, Deserialize)]
struct Body {
    instructions: Option<String>,
    input: Option<Box<RawValue>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    text: Option<TextIn>,
}

#[derive(Debug, Deserialize)]
struct TextIn {
    format: Option<FormatIn>,
    verbosity: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FormatIn {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    schema: Option<Box<RawValue>>,
    strict: Option<bool>,
}

/// Reads a scanned body into the canonical form.
pub(super) fn decode(scan: &Scan<'_>) -> Result<Decoded, InvalidRequest> {
    let body: Body = parse(scan.found.text(), "the body")?;
    if let Some(param) = ["logprobs", "top_logprobs"].into_iter().find(|name| scan.found.means(name)) {
        let rule = format!("`{param}` are told by providers that speak Responses themselves, and by no other");
        return Err(invalid(Some(param), rule));
    }
    let declared = Declared::read(scan)?;
    let (mut hints, mut dropped) = members(scan);
    dropped.extend(declared.left_out.iter().map(|kind| format!("tools.{kind}")));
    let tool_choice = choice(body.tool_choice.as_ref(), &declared)?;
    let mut history = History::new(&declared.names);
    history.instruct(body.instructions);
    match body.input {
        Some(input) if input.get().starts_with('"') => history.ask(parse(input.get(), "`input`")?),
        Some(input) => {
            let items: Vec<ItemIn> = parse(input.get(), "`input`")?;
            for (index, item) in items.into_iter().enumerate() {
                history.item(index, item)?;
            }
        }
        None => {}
    }
    if history.turns.last().is_some_and(|turn| turn.role == Role::Assistant) {
        let rule = "`input` ends with an answer: only a provider that speaks Responses itself begins anew after it";
        return Err(invalid(Some("input"), rule));
    }
    let text = body.text.unwrap_or(TextIn { format: None, verbosity: None });
    if text.verbosity.is_some() {
        hints.push("text.verbosity");
    }
    let conversation = Conversation {
        instructions: history.instructions,
        turns: history.turns,
        tools: declared.functions,
        tool_choice,
        parallel_tool_calls: body.parallel_tool_calls,
        format: format(text.format)?,
        settings: Settings {
            max_output_tokens: scan.found.output_limit,
            temperature: body.temperature,
            top_p: body.top_p,
            ..Settings::default()
        },
        reasoning: scan.reasoning.clone(),
        hints,
        stream: scan.found.stream,
    };
    Ok(Decoded { conversation, dropped })
}

/// Of the members that the canonical form does not hold, those that only tune and those that nobody else knows.
fn members(scan: &Scan<'_>) -> (Vec<&'static str>, Vec<String>) {
    let (mut hints, mut dropped) = (Vec::new(), Vec::new());
    for member in scan.found.members.iter() {
        let name = member.name.decode();
        let value = scan.found.text().get(member.value.clone()).unwrap_or_default();
        let is_default = matches!((&*name, value), ("store", "false") | ("truncation", "\"disabled\""));
        if value == "null" || is_default || HELD.contains(&&*name) {
            continue;
        }
        match HINTS.iter().find(|hint| ***hint == *name) {
            Some(hint) => hints.push(*hint),
            None => dropped.push(name.into_owned()),
        }
    }
    (hints, dropped)
}

/// Reads a piece of the body; the error quotes nothing of it, as serde's own may.
fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T, InvalidRequest> {
    serde_json::from_str(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        invalid(None, format!("a field has a wrong type or text at line {line}, column {column} of {what}"))
    })
}

fn format(format: Option<FormatIn>) -> Result<ResponseFormat, InvalidRequest> {
    let Some(format) = format else { return Ok(ResponseFormat::Text) };
    match format.kind.as_str() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => Ok(ResponseFormat::JsonSchema {
            name: format.name.unwrap_or_else(|| SCHEMA_NAME.to_owned()),
            description: format.description,
            schema: format
                .schema
                .ok_or_else(|| invalid(Some("text.format.schema"), "`text.format.schema` is required"))?,
            strict: format.strict,
        }),
        _ => {
            Err(invalid(Some("text.format.type"), "`text.format.type` must be `text`, `json_object` or `json_schema`"))
        }
    }
}
