//! The body as clients write it; `null` means absent, and what only Anthropic can use is left aside.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parse;
use crate::dialects::translate::InvalidRequest;

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) system: Option<Box<RawValue>>,
    pub(super) messages: Vec<MessageIn>,
    pub(super) tools: Option<Vec<ToolIn>>,
    pub(super) tool_choice: Option<ChoiceIn>,
    pub(super) output_config: Option<ConfigIn>,
    pub(super) output_format: Option<FormatIn>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<u64>,
    pub(super) stop_sequences: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageIn {
    pub(super) role: String,
    pub(super) content: Option<Box<RawValue>>,
}

/// What stands wherever there is content: a text, or blocks.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Blocks(Vec<Box<RawValue>>),
}

impl Content {
    /// Reads content; serde's untagged enums cannot hold raw JSON.
    pub(super) fn read(json: &RawValue, param: &str) -> Result<Self, InvalidRequest> {
        if json.get().starts_with('[') {
            parse(json.get(), param).map(Self::Blocks)
        } else {
            parse(json.get(), param).map(Self::Text)
        }
    }
}

/// A content block of any type, in a message, a system prompt, a result or a document.
#[derive(Debug, Deserialize)]
pub(super) struct BlockIn {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    pub(super) source: Option<Box<RawValue>>,
    pub(super) title: Option<String>,
    pub(super) context: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Box<RawValue>>,
    pub(super) tool_use_id: Option<String>,
    pub(super) tool_name: Option<String>,
    pub(super) content: Option<Box<RawValue>>,
    pub(super) is_error: Option<bool>,
}

/// The source of an image or document.
#[derive(Debug, Deserialize)]
pub(super) struct SourceIn {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) media_type: Option<String>,
    pub(super) data: Option<String>,
    pub(super) url: Option<String>,
    pub(super) file_id: Option<String>,
    pub(super) content: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolIn {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) input_schema: Option<Box<RawValue>>,
    pub(super) strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChoiceIn {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: Option<String>,
    pub(super) disable_parallel_tool_use: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConfigIn {
    pub(super) format: Option<FormatIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FormatIn {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) schema: Option<Box<RawValue>>,
}
