//! The canonical request as a `generateContent` body.
//!
//! JSON that only passes through (schemas, call arguments) is spliced in as the client wrote it, so that numbers and key order survive.
//! Fields keep one order, so that the provider's prompt cache sees the same prefix from turn to turn.

mod contents;
mod settings;
mod tools;

use aipipe_actors::catalogue::Model;
use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use self::contents::Content;
use self::settings::GenerationConfig;
use self::tools::{ToolConfig, ToolSet};
use super::generation::Generation;
use crate::dialects::carry::{Dropped, cannot_carry};
use crate::dialects::conversation::Conversation;
use crate::dialects::function_names::{FunctionNames, NameRule};
use crate::dialects::translate::{CannotCarry, EncodedRequest};

/// What may stand in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The body of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolSet<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "GenerationConfig::is_empty")]
    generation_config: GenerationConfig<'a>,
}

/// For whom a request is written, and what is left out of it on the way.
struct Writing<'a> {
    conversation: &'a Conversation,
    model: &'a Model,
    generation: Generation,
    names: &'a FunctionNames,
    /// `provider/model`: signatures of this origin go back.
    origin: String,
    dropped: Dropped,
}

/// What Google asks of a function's name. Source: `FunctionDeclaration.name`,
/// <https://ai.google.dev/api/caching#FunctionDeclaration>.
const NAMES: NameRule = NameRule { longest: 64, punctuation: &['_', '.', ':', '-'], letter_first: true };

/// Writes the request for this model.
///
/// # Errors
/// [`CannotCarry`] where a field that changes the meaning of the answer has no counterpart.
pub fn encode(conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
    let names = FunctionNames::of(conversation, &NAMES);
    let mut writing = Writing {
        conversation,
        model,
        generation: Generation::of(model),
        names: &names,
        origin: model.address(),
        dropped: Dropped::hints(conversation),
    };
    let (system_instruction, contents) = contents::write(&mut writing)?;
    let (tools, tool_config) = tools::write(&mut writing)?;
    let generation_config = settings::write(&mut writing)?;
    let body = Body { system_instruction, tools, tool_config, contents, generation_config };
    let body = match serde_json::to_vec(&body) {
        Ok(body) => Bytes::from(body),
        Err(failure) => return cannot_carry("messages", format!("cannot be written as JSON: {failure}")),
    };
    let id = model.id.as_str();
    let id = utf8_percent_encode(id.strip_prefix("models/").unwrap_or(id), SEGMENT);
    let path = if conversation.stream {
        format!("/v1beta/models/{id}:streamGenerateContent?alt=sse")
    } else {
        format!("/v1beta/models/{id}:generateContent")
    };
    let dropped = writing.dropped.into_names();
    Ok(EncodedRequest { path, body, headers: HeaderMap::new(), dropped, undo: names.into_undo() })
}

#[cfg(test)]
mod tests;
