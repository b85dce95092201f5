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
    role: Option<String>,
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
    #[serde(default)]
    extra_content: Option<Value>,
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

impl Call {
    /// Google's signature of the call, where it has one.
    pub(super) fn signature(&self, reader: &Reader) -> Option<Opaque> {
        let data = self.extra_content.as_ref()?.get("google")?.get("thought_signature")?.as_str()?;
        Some(Opaque { origin: reader.origin.clone(), kind: "thought_signature", data: data.to_owned() })
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

    /// The reasoning, said once however often it stands here: each signature or encrypted form with the text that it belongs to, which is
    /// the text beside it or, for an encrypted form, the summary before it.
    pub(super) fn thoughts(&self, reader: &Reader) -> Vec<Thought> {
        let plain = [&self.reasoning_content, &self.reasoning].into_iter().flatten().find(|text| !text.is_empty());
        let mut thoughts = Vec::new();
        let mut open = String::new();
        for thought in self.reasoning_details.iter().flatten().filter_map(thought_of) {
            open.push_str(&thought.text);
            if let Some(opaque) = thought.opaque {
                let opaque = Some(Opaque { origin: reader.origin.clone(), ..opaque });
                thoughts.push(Thought { text: std::mem::take(&mut open), opaque });
            }
        }
        let told = !open.is_empty() || thoughts.iter().any(|thought| !thought.text.is_empty());
        match (plain, thoughts.first_mut()) {
            // Nothing is signed, or the text stands beside the details alone.
            (Some(plain), None) => open.clone_from(plain),
            (Some(plain), Some(first)) if !told => first.text.clone_from(plain),
            (Some(_), Some(_)) | (None, _) => {}
        }
        if !open.is_empty() {
            thoughts.push(Thought { text: open, opaque: None });
        }
        thoughts
    }

    /// Whether it holds what a tool of the provider's own returned, which is no part of the answer.
    pub(super) fn is_tools(&self) -> bool {
        self.role.as_deref() == Some("tool")
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
