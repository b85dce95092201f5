//! A message of an answer, or a delta of one.

use serde::Deserialize;
use serde_json::Value;

use super::Reader;
use crate::dialects::conversation::{Media, Opaque, Thought};
use crate::dialects::openai_chat::answer::thought_of;

/// Stands for a signature where a provider has none and still wants its thoughts back: it tells whose they are.
pub(super) const UNSIGNED: &str = "unsigned";

/// What a message or delta holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    content: Option<Content>,
    pub(super) refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    reasoning_details: Option<Vec<Value>>,
    pub(super) tool_calls: Option<Vec<Call>>,
    /// The legacy form of one call.
    pub(super) function_call: Option<Function>,
    images: Option<Vec<Image>>,
}

/// Text, or parts of which text is one kind.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
    Other(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct ContentPart {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Function {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Image {
    image_url: Url,
}

#[derive(Debug, Deserialize)]
struct Url {
    url: String,
}

impl Function {
    /// The JSON text of the arguments; some servers send the object itself.
    pub(super) fn arguments(&self) -> String {
        match &self.arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

impl Message {
    /// The text, where there is any.
    pub(super) fn text(&self) -> Option<String> {
        let text = match self.content.as_ref()? {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
            Content::Other(_) => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// The refusal, where there is one.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refusal.as_deref().filter(|text| !text.is_empty())
    }

    /// The readable reasoning, said once however often it stands here.
    pub(super) fn reasoning(&self) -> Option<String> {
        let plain = [&self.reasoning_content, &self.reasoning].into_iter().flatten().find(|text| !text.is_empty());
        let text = plain.cloned().unwrap_or_else(|| {
            let details = self.reasoning_details.iter().flatten().filter_map(thought_of);
            details.map(|thought| thought.text).collect()
        });
        Some(text).filter(|text| !text.is_empty())
    }

    /// The signatures and encrypted forms among the details, which belong to whoever is read.
    pub(super) fn opaques(&self, reader: &Reader) -> impl Iterator<Item = Opaque> {
        let details = self.reasoning_details.iter().flatten().filter_map(thought_of);
        details.filter_map(|thought: Thought| Some(Opaque { origin: reader.origin.clone(), ..thought.opaque? }))
    }

    /// Images within the answer.
    pub(super) fn images(&self) -> impl Iterator<Item = Media> {
        self.images.iter().flatten().map(|image| media(&image.image_url.url))
    }
}

fn media(url: &str) -> Media {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((media_type, base64)) => Media::Inline { media_type: media_type.to_owned(), base64: base64.to_owned() },
        None => Media::Url(url.to_owned()),
    }
}
