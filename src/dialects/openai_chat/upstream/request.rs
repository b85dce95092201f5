//! The canonical request as a Chat Completions body.
//!
//! JSON that only passes through (schemas, arguments) is written as it came, so that numbers and key order survive.

mod history;
mod moonshot_schema;
mod settings;
mod strict;

use std::borrow::Cow;

use aipipe_actors::catalogue::Model;
use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::history::Message;
use self::settings::Sampling;
use crate::dialects::carry::{Dropped, cannot_carry};
use crate::dialects::conversation::{Conversation, ResponseFormat, Tool as Declared, ToolChoice};
use crate::dialects::function_names::{FunctionNames, NameRule};
use crate::dialects::translate::{CannotCarry, EncodedRequest};
use crate::providers::{Profile, StreamUsage};

/// The body of a request.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(flatten)]
    sampling: Sampling<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reasoning_split: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonObject,
    JsonSchema { json_schema: Schema<'a> },
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// For whom a request is written, and what is left out of it on the way.
struct Writing<'a> {
    conversation: &'a Conversation,
    model: &'a Model,
    profile: &'a Profile,
    names: &'a FunctionNames,
    /// `provider/model`: thoughts of this origin go back.
    origin: String,
    dropped: Dropped,
}

/// What OpenAI asks of a function's name, and others take. Source: `FunctionObject.name`,
/// <https://platform.openai.com/docs/api-reference/chat/create>.
const NAMES: NameRule = NameRule { longest: 64, punctuation: &['_', '-'], letter_first: false };

/// Writes the request for this model.
pub(super) fn encode(
    conversation: &Conversation,
    model: &Model,
    profile: &Profile,
) -> Result<EncodedRequest, CannotCarry> {
    let names = FunctionNames::of(conversation, &NAMES);
    let mut writing = Writing {
        conversation,
        model,
        profile,
        names: &names,
        origin: model.address(),
        dropped: Dropped::hints(conversation),
    };
    let sampling = settings::write(&mut writing)?;
    let messages = history::write(&mut writing, sampling.thinks(model, profile))?;
    let tools = tools(&mut writing);
    let tool_choice = tool_choice(&writing, &tools)?;
    let parallel_tool_calls = parallel_tool_calls(&mut writing, &tools)?;
    let asks_usage = conversation.stream && profile.stream_usage == StreamUsage::OnRequest;
    let body = Body {
        model: model.id.as_str(),
        messages,
        tool_choice,
        parallel_tool_calls,
        tools,
        response_format: format(&mut writing),
        sampling,
        reasoning_split: profile.reasoning_split,
        stream: conversation.stream,
        stream_options: asks_usage.then_some(StreamOptions { include_usage: true }),
    };
    let body = match serde_json::to_vec(&body) {
        Ok(body) => Bytes::from(body),
        Err(failure) => return cannot_carry("messages", format!("cannot be written as JSON: {failure}")),
    };
    let path = if conversation.stream { profile.paths.chat_stream } else { profile.paths.chat };
    let dropped = writing.dropped.into_names();
    Ok(EncodedRequest { path: path.to_owned(), body, headers: HeaderMap::new(), dropped, undo: names.into_undo() })
}

/// The functions that may be called: the others are left out where only some are allowed, since not every server knows such a list.
fn tools<'a>(writing: &mut Writing<'a>) -> Vec<Tool<'a>> {
    let chooses = !writing.model.parameters.refuses("tool_choice");
    let allowed = |name: &str| match &writing.conversation.tool_choice {
        ToolChoice::Allowed { names, .. } => names.iter().any(|allowed| allowed == name),
        // Where nothing can be said of the choice, a model without tools calls none.
        ToolChoice::None => chooses,
        ToolChoice::Auto | ToolChoice::Required | ToolChoice::Named(_) => true,
    };
    let (names, profile) = (writing.names, writing.profile);
    let takes_strict = |tool: &Declared| profile.strict_tools && !asks_too_much(tool.strict, tool.schema.as_deref());
    let mut is_loosened = false;
    let declared = writing.conversation.tools.iter().filter_map(|tool| {
        let strict = tool.strict.filter(|_| takes_strict(tool));
        is_loosened |= strict != tool.strict;
        allowed(&tool.name).then(|| Tool {
            r#type: "function",
            function: Function {
                name: names.sent(&tool.name),
                description: tool.description.as_deref(),
                parameters: tool.schema.as_deref().map(|schema| schema_for(profile, schema)),
                strict,
            },
        })
    });
    let tools = declared.collect();
    if is_loosened {
        writing.dropped.note("tools.strict");
    }
    tools
}

fn tool_choice(writing: &Writing<'_>, tools: &[Tool<'_>]) -> Result<Option<Value>, CannotCarry> {
    let choice = match &writing.conversation.tool_choice {
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => return Ok(None),
        ToolChoice::None if tools.is_empty() => return Ok(None),
        ToolChoice::None => "none".into(),
        ToolChoice::Required | ToolChoice::Allowed { required: true, .. } => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": writing.names.sent(name)}}),
    };
    if writing.model.parameters.refuses("tool_choice") {
        return cannot_carry("tool_choice", "this model cannot be made to call a tool");
    }
    if tools.is_empty() {
        return cannot_carry("tool_choice", "none of the functions that may be called is declared");
    }
    Ok(Some(choice))
}

fn parallel_tool_calls(writing: &mut Writing<'_>, tools: &[Tool<'_>]) -> Result<Option<bool>, CannotCarry> {
    let asked = writing.conversation.parallel_tool_calls.filter(|_| !tools.is_empty());
    match asked {
        Some(several) if writing.model.parameters.refuses("parallel_tool_calls") => {
            if !several {
                return cannot_carry("parallel_tool_calls", "this model cannot be held to one call");
            }
            // Leave to call several is none that anybody would miss.
            writing.dropped.note("parallel_tool_calls");
            Ok(None)
        }
        asked => Ok(asked),
    }
}

/// A schema as the provider takes it.
fn schema_for<'a>(profile: &Profile, schema: &'a RawValue) -> Cow<'a, RawValue> {
    if profile.moonshot_schemas { moonshot_schema::fitted(schema) } else { Cow::Borrowed(schema) }
}

/// Whether a schema is to be strict and is none that can be.
fn asks_too_much(strict: Option<bool>, schema: Option<&RawValue>) -> bool {
    strict == Some(true) && schema.is_some_and(|schema| !strict::is_closed(schema))
}

fn format<'a>(writing: &mut Writing<'a>) -> Option<Format<'a>> {
    let profile = writing.profile;
    match &writing.conversation.format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(Format::JsonObject),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            let is_open = asks_too_much(*strict, Some(schema));
            if is_open {
                writing.dropped.note("response_format.json_schema.strict");
            }
            Some(Format::JsonSchema {
                json_schema: Schema {
                    name,
                    description: description.as_deref(),
                    schema: schema_for(profile, schema),
                    strict: strict.filter(|_| !is_open),
                },
            })
        }
    }
}
