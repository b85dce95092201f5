//! Reads a Gemini request into the canonical form.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::facts::reasoning;
use super::wire::{Body, Content, FunctionResponse, Part, setting};
use super::{schema, signature};
use crate::dialects::client::Decoded;
use crate::dialects::conversation::{
    Conversation, Media, Part as Said, ResponseFormat, Role, Settings, Thought, Tool, ToolCall, ToolChoice, ToolResult,
    Turn,
};
use crate::dialects::scan::Members;
use crate::dialects::translate::InvalidRequest;

/// Settings that the canonical form holds, by both spellings.
const HELD: [[&str; 2]; 17] = [
    ["temperature", "temperature"],
    ["topP", "top_p"],
    ["topK", "top_k"],
    ["maxOutputTokens", "max_output_tokens"],
    ["stopSequences", "stop_sequences"],
    ["candidateCount", "candidate_count"],
    ["seed", "seed"],
    ["presencePenalty", "presence_penalty"],
    ["frequencyPenalty", "frequency_penalty"],
    ["responseMimeType", "response_mime_type"],
    ["responseSchema", "response_schema"],
    ["responseJsonSchema", "response_json_schema"],
    ["responseModalities", "response_modalities"],
    ["responseLogprobs", "response_logprobs"],
    ["logprobs", "logprobs"],
    ["thinkingConfig", "thinking_config"],
    ["propertyOrdering", "property_ordering"],
];
/// Members that the canonical form holds, or that are AiPipe's own affair.
const HELD_MEMBERS: [&str; 8] =
    ["contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "tool_config", "aipipe", "model"];
const SETTINGS: [&str; 2] = ["generationConfig", "generation_config"];

/// Reads a request with these members.
pub(super) fn decode(body: &Body, members: &Members<'_>, stream: bool) -> Result<Decoded, InvalidRequest> {
    let empty = BTreeMap::new();
    let settings = body.generation_config.as_ref().unwrap_or(&empty);
    let mut dropped: Vec<String> = members
        .iter()
        .map(|member| member.name.decode().into_owned())
        .filter(|name| !HELD_MEMBERS.contains(&name.as_str()) && !SETTINGS.contains(&name.as_str()))
        .collect();
    let held = |name: &String| HELD.iter().any(|names| names.contains(&name.as_str()));
    dropped.extend(settings.keys().filter(|name| !held(name)).map(|name| format!("generationConfig.{name}")));
    let mut history = History::default();
    let instructions = match &body.system_instruction {
        Some(content) => content.parts.iter().filter_map(|part| part.text.clone()).collect(),
        None => Vec::new(),
    };
    for (index, content) in body.contents.iter().enumerate() {
        history.content(index, content)?;
    }
    let mut tools = Vec::new();
    for set in &body.tools {
        dropped.extend(set.hosted().map(|name| format!("tools.{name}")));
        for declared in set.declarations().map_err(|_| invalid("tools", "a function declaration cannot be read"))? {
            let schema = match (declared.parameters_json_schema, declared.parameters) {
                (Some(schema), _) => Some(schema),
                (None, Some(google)) => Some(converted(&google, "tools")?),
                (None, None) => None,
            };
            tools.push(Tool { name: declared.name, description: declared.description, schema, strict: None });
        }
    }
    let conversation = Conversation {
        instructions,
        turns: history.turns,
        tools,
        tool_choice: tool_choice(body),
        parallel_tool_calls: None,
        format: format(settings)?,
        settings: sampling(settings)?,
        reasoning: reasoning(settings),
        hints: Vec::new(),
        stream,
    };
    Ok(Decoded { conversation, dropped })
}

fn invalid(param: &str, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest { param: Some(param.to_owned()), message: message.into() }
}

fn converted(google: &RawValue, param: &str) -> Result<Box<RawValue>, InvalidRequest> {
    let error = || invalid(param, format!("a schema in `{param}` cannot be read"));
    let schema: Value = serde_json::from_str(google.get()).map_err(|_| error())?;
    to_raw_value(&schema::to_json_schema(schema)).map_err(|_| error())
}

fn tool_choice(body: &Body) -> ToolChoice {
    let config = body.tool_config.as_ref().and_then(|config| config.function_calling_config.as_ref());
    let Some(config) = config else { return ToolChoice::Auto };
    let mode = config.mode.as_deref().unwrap_or("AUTO").to_ascii_uppercase();
    match (mode.as_str(), config.allowed_function_names.as_slice()) {
        ("NONE", _) => ToolChoice::None,
        ("ANY", []) => ToolChoice::Required,
        ("ANY", [only]) => ToolChoice::Named(only.clone()),
        ("ANY", names) => ToolChoice::Allowed { names: names.to_vec(), required: true },
        (_, []) => ToolChoice::Auto,
        (_, names) => ToolChoice::Allowed { names: names.to_vec(), required: false },
    }
}

fn format(settings: &BTreeMap<String, Box<RawValue>>) -> Result<ResponseFormat, InvalidRequest> {
    let raw = |names: [&str; 2]| names.iter().find_map(|name| settings.get(*name)).filter(|raw| raw.get() != "null");
    let mime: Option<String> = setting(settings, ["responseMimeType", "response_mime_type"]);
    let schema = match (raw(["responseJsonSchema", "response_json_schema"]), raw(["responseSchema", "response_schema"]))
    {
        (Some(schema), _) => Some(schema.clone()),
        (None, Some(google)) => Some(converted(google, "generationConfig.responseSchema")?),
        (None, None) => None,
    };
    Ok(match (schema, mime.as_deref()) {
        (Some(schema), _) => {
            ResponseFormat::JsonSchema { name: "response".to_owned(), description: None, schema, strict: None }
        }
        (None, Some("application/json")) => ResponseFormat::JsonObject,
        (None, None | Some("text/plain")) => ResponseFormat::Text,
        (None, Some(_)) => {
            let message = "`generationConfig.responseMimeType` has a value that only Gemini's models know";
            return Err(invalid("generationConfig.responseMimeType", message));
        }
    })
}

fn sampling(settings: &BTreeMap<String, Box<RawValue>>) -> Result<Settings, InvalidRequest> {
    let modalities: Vec<String> = setting(settings, ["responseModalities", "response_modalities"]).unwrap_or_default();
    if modalities.iter().any(|modality| !modality.eq_ignore_ascii_case("text")) {
        let message = "`generationConfig.responseModalities` asks for what only Gemini's models give";
        return Err(invalid("generationConfig.responseModalities", message));
    }
    let logprobs = setting::<bool>(settings, ["responseLogprobs", "response_logprobs"]).unwrap_or(false);
    Ok(Settings {
        max_output_tokens: setting(settings, ["maxOutputTokens", "max_output_tokens"]),
        temperature: setting(settings, ["temperature", "temperature"]),
        top_p: setting(settings, ["topP", "top_p"]),
        top_k: setting::<f64>(settings, ["topK", "top_k"]).map(|k| k as u64),
        stop: setting(settings, ["stopSequences", "stop_sequences"]).unwrap_or_default(),
        seed: setting(settings, ["seed", "seed"]),
        presence_penalty: setting(settings, ["presencePenalty", "presence_penalty"]),
        frequency_penalty: setting(settings, ["frequencyPenalty", "frequency_penalty"]),
        choices: setting(settings, ["candidateCount", "candidate_count"]),
        logprobs: logprobs.then(|| setting(settings, ["logprobs", "logprobs"]).unwrap_or(0)),
    })
}

/// The turns so far, and the calls that wait for their results.
#[derive(Default)]
struct History {
    turns: Vec<Turn>,
    /// Id and name of each call whose result has not come.
    open: Vec<(String, String)>,
    calls: usize,
}

impl History {
    fn content(&mut self, index: usize, content: &Content) -> Result<(), InvalidRequest> {
        let role = match content.role.as_deref() {
            None | Some("user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            Some("system") => Role::System,
            Some(other) => {
                let param = format!("contents[{index}].role");
                return Err(invalid(&param, format!("`{param}` must be `user` or `model`, not {other:?}")));
            }
        };
        let mut parts = Vec::new();
        for part in &content.parts {
            self.part(index, part, &mut parts)?;
        }
        self.turns.push(Turn { role, parts, name: None });
        Ok(())
    }

    fn part(&mut self, index: usize, part: &Part, out: &mut Vec<Said>) -> Result<(), InvalidRequest> {
        let opaque = part.thought_signature.as_deref().filter(|text| !text.is_empty()).map(signature::unwrap);
        if part.executable_code.is_some() || part.code_execution_result.is_some() {
            let message = "code that Google ran stands in the history; only its own models can read it";
            return Err(invalid(&format!("contents[{index}].parts"), message));
        }
        if let Some(call) = &part.function_call {
            let id = call.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}", self.calls));
            self.calls += 1;
            self.open.push((id.clone(), call.name.clone()));
            let arguments = call.args.as_ref().map(|args| args.get()).filter(|args| *args != "null").unwrap_or("{}");
            out.push(Said::ToolCall(ToolCall {
                id,
                name: call.name.clone(),
                arguments: arguments.to_owned(),
                signature: opaque,
            }));
            return Ok(());
        }
        if let Some(response) = &part.function_response {
            out.push(Said::ToolResult(self.result(index, response)?));
            return Ok(());
        }
        if part.thought == Some(true) {
            out.push(Said::Reasoning(Thought { text: part.text.clone().unwrap_or_default(), opaque }));
            return Ok(());
        }
        if let Some(text) = part.text.clone().filter(|text| !text.is_empty()) {
            out.push(Said::Text(text));
        }
        if let Some(media) = media(part) {
            out.push(media);
        }
        out.extend(opaque.map(|opaque| Said::Reasoning(Thought { text: String::new(), opaque: Some(opaque) })));
        Ok(())
    }

    /// A result, linked to its call by id, else to the oldest open call of its name.
    fn result(&mut self, index: usize, response: &FunctionResponse) -> Result<ToolResult, InvalidRequest> {
        let by_id = |(id, _): &(String, String)| response.id.as_ref() == Some(id);
        let by_name = |(_, name): &(String, String)| *name == response.name;
        let place = self.open.iter().position(by_id).or_else(|| self.open.iter().position(by_name));
        let Some(place) = place else {
            let param = format!("contents[{index}].parts");
            let message = format!("`{param}` holds a response of {:?}, which was not called before it", response.name);
            return Err(invalid(&param, message));
        };
        let (call_id, name) = self.open.remove(place);
        let (text, is_error) = outcome(response.response.as_deref());
        let mut parts = vec![Said::Text(text)];
        parts.extend(response.parts.iter().filter_map(media));
        Ok(ToolResult { call_id, name, parts, is_error })
    }
}

/// The text of a response: what stands alone under `result`, `output` or `error`, else the whole object.
fn outcome(response: Option<&RawValue>) -> (String, bool) {
    let Some(response) = response else { return (String::new(), false) };
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(response.get()).unwrap_or_default();
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    let mut all = members.iter();
    match (all.next(), all.next()) {
        (Some((name, value)), None) if name == "result" || name == "output" => (text(value), false),
        (Some((name, value)), None) if name == "error" => (text(value), true),
        _ => (response.get().to_owned(), false),
    }
}

fn media(part: &Part) -> Option<Said> {
    let (kind, media) = match (&part.inline_data, &part.file_data) {
        (Some(blob), _) => {
            let media = Media::Inline { media_type: blob.mime_type.clone(), base64: blob.data.clone() };
            (blob.mime_type.clone(), media)
        }
        (None, Some(file)) => (file.mime_type.clone().unwrap_or_default(), Media::Url(file.file_uri.clone())),
        (None, None) => return None,
    };
    Some(match kind.split('/').next() {
        Some("image") => Said::Image(media),
        Some("audio") => Said::Audio(media),
        _ => Said::Document { media, name: None },
    })
}
