//! `GenerateContentRequest` as clients send it. Google takes both spellings of names (`generationConfig`, `generation_config`), and one
//! object where a list of them is meant, as its own examples have it.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    #[serde(deserialize_with = "one_or_many")]
    pub(super) contents: Vec<Content>,
    #[serde(default, alias = "system_instruction")]
    pub(super) system_instruction: Option<Content>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) tools: Vec<ToolSet>,
    #[serde(default, alias = "tool_config")]
    pub(super) tool_config: Option<ToolConfig>,
    /// By name, since many of them are Gemini's alone.
    #[serde(default, alias = "generation_config")]
    pub(super) generation_config: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(default, alias = "cached_content")]
    pub(super) cached_content: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Content {
    #[serde(default)]
    pub(super) role: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    #[serde(alias = "thought_signature")]
    pub(super) thought_signature: Option<String>,
    #[serde(alias = "inline_data")]
    pub(super) inline_data: Option<Blob>,
    #[serde(alias = "file_data")]
    pub(super) file_data: Option<FileData>,
    #[serde(alias = "function_call")]
    pub(super) function_call: Option<FunctionCall>,
    #[serde(alias = "function_response")]
    pub(super) function_response: Option<FunctionResponse>,
    #[serde(alias = "executable_code")]
    pub(super) executable_code: Option<Box<RawValue>>,
    #[serde(alias = "code_execution_result")]
    pub(super) code_execution_result: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob {
    #[serde(default, alias = "mime_type")]
    pub(super) mime_type: String,
    #[serde(default)]
    pub(super) data: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData {
    #[serde(default, alias = "mime_type")]
    pub(super) mime_type: Option<String>,
    #[serde(default, alias = "file_uri")]
    pub(super) file_uri: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionCall {
    #[serde(default)]
    pub(super) id: Option<String>,
    pub(super) name: String,
    #[serde(default)]
    pub(super) args: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionResponse {
    #[serde(default)]
    pub(super) id: Option<String>,
    pub(super) name: String,
    #[serde(default)]
    pub(super) response: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) parts: Vec<Part>,
}

/// Functions, and by other names what Google runs itself.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct ToolSet(pub(super) BTreeMap<String, Box<RawValue>>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declaration {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<Box<RawValue>>,
    #[serde(default, alias = "parameters_json_schema")]
    pub(super) parameters_json_schema: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig {
    #[serde(default, alias = "function_calling_config")]
    pub(super) function_calling_config: Option<CallingConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallingConfig {
    #[serde(default)]
    pub(super) mode: Option<String>,
    #[serde(default, alias = "allowed_function_names")]
    pub(super) allowed_function_names: Vec<String>,
}

impl ToolSet {
    /// The functions of this set.
    pub(super) fn declarations(&self) -> Result<Vec<Declaration>, serde_json::Error> {
        let named = |name: &str| matches!(name, "functionDeclarations" | "function_declarations");
        match self.0.iter().find(|(name, _)| named(name)) {
            Some((_, list)) => one_or_many(&mut serde_json::Deserializer::from_str(list.get())),
            None => Ok(Vec::new()),
        }
    }

    /// What Google would run itself.
    pub(super) fn hosted(&self) -> impl Iterator<Item = &str> {
        let is_hosted = |name: &&String| !matches!(name.as_str(), "functionDeclarations" | "function_declarations");
        self.0.keys().filter(is_hosted).map(String::as_str)
    }
}

/// A list, one object in place of it, or nothing.
fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct OneOrMany<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array or an object")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(items))
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(MapAccessDeserializer::new(members))?])
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }
    }

    deserializer.deserialize_any(OneOrMany(PhantomData))
}

/// A setting by either spelling of its name, read where it is given and not null.
pub(super) fn setting<T: serde::de::DeserializeOwned>(
    settings: &BTreeMap<String, Box<RawValue>>,
    names: [&str; 2],
) -> Option<T> {
    let raw = names.iter().find_map(|name| settings.get(*name))?;
    serde_json::from_str(raw.get()).ok()
}
