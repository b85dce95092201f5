//! The body as clients write it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) messages: Vec<MessageIn>,
    pub(super) tools: Option<Vec<ToolIn>>,
    pub(super) functions: Option<Vec<FunctionIn>>,
    pub(super) tool_choice: Option<Value>,
    pub(super) function_call: Option<Value>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) response_format: Option<FormatIn>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<u64>,
    pub(super) stop: Option<OneOrMany>,
    pub(super) seed: Option<i64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) logprobs: Option<bool>,
    pub(super) top_logprobs: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageIn {
    pub(super) role: String,
    pub(super) content: Option<ContentIn>,
    pub(super) name: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) reasoning_content: Option<String>,
    /// OpenRouter's name for it.
    pub(super) reasoning: Option<String>,
    pub(super) reasoning_details: Option<Vec<Value>>,
    pub(super) tool_calls: Option<Vec<CallIn>>,
    pub(super) function_call: Option<CalledIn>,
    pub(super) tool_call_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ContentIn {
    Text(String),
    Parts(Vec<PieceIn>),
}

#[derive(Debug, Deserialize)]
pub(super) struct PieceIn {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) text: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) image_url: Option<ImageIn>,
    pub(super) input_audio: Option<AudioIn>,
    pub(super) file: Option<FileIn>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ImageIn {
    Url(String),
    Object { url: String },
}

#[derive(Debug, Deserialize)]
pub(super) struct AudioIn {
    pub(super) data: String,
    pub(super) format: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FileIn {
    pub(super) file_data: Option<String>,
    pub(super) file_id: Option<String>,
    pub(super) filename: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallIn {
    pub(super) id: Option<String>,
    pub(super) function: Option<CalledIn>,
    pub(super) custom: Option<CustomCalledIn>,
    pub(super) extra_content: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CalledIn {
    pub(super) name: String,
    pub(super) arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CustomCalledIn {
    pub(super) name: String,
    pub(super) input: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolIn {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) function: Option<FunctionIn>,
    pub(super) custom: Option<CustomIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CustomIn {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) format: Option<CustomFormatIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CustomFormatIn {
    pub(super) grammar: Option<GrammarIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrammarIn {
    pub(super) syntax: String,
    pub(super) definition: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionIn {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) parameters: Option<Box<RawValue>>,
    pub(super) strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FormatIn {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) json_schema: Option<SchemaIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SchemaIn {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) schema: Option<Box<RawValue>>,
    pub(super) strict: Option<bool>,
}
