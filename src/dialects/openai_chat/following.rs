//! Follows a stream of this dialect that passes through, so that another model's continuation can be joined to it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::stream::ChatStreamEncoder;
use crate::dialects::progress::Progress;

#[derive(Deserialize)]
struct Chunk {
    id: Option<String>,
    created: Option<u64>,
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    /// DeepSeek's name of the thoughts, which Moonshot, xAI and MiniMax took over.
    reasoning_content: Option<String>,
    /// OpenRouter's.
    reasoning: Option<String>,
    reasoning_details: Option<Vec<IgnoredAny>>,
    tool_calls: Option<Vec<IgnoredAny>>,
    function_call: Option<IgnoredAny>,
    audio: Option<IgnoredAny>,
}

/// Takes a chunk as if the encoder had written it.
pub(super) fn follow(encoder: &mut ChatStreamEncoder, data: &str, progress: &mut Progress) {
    if data.trim() == "[DONE]" {
        return progress.close();
    }
    let Ok(Chunk { id, created, model, choices }) = serde_json::from_str(data) else { return progress.close() };
    if !encoder.begun {
        encoder.begun = true;
        if let Some(id) = id {
            encoder.shape.id = id;
        }
        encoder.shape.created = created.unwrap_or(encoder.shape.created);
        encoder.name_model(&model.unwrap_or_default());
    }
    for choice in choices {
        if choice.index > 0 {
            return progress.close();
        }
        if let Some(delta) = choice.delta {
            delta.note(progress);
        }
        if choice.finish_reason.is_some_and(|reason| !reason.is_empty()) {
            progress.close();
        }
    }
}

impl Delta {
    fn note(&self, progress: &mut Progress) {
        let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let has = |list: &Option<Vec<IgnoredAny>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if says(&self.reasoning_content) || says(&self.reasoning) || has(&self.reasoning_details) {
            progress.thought();
        }
        if let Some(text) = self.content.as_ref().filter(|text| !text.is_empty()) {
            progress.text(text);
        }
        let calls = has(&self.tool_calls) || self.function_call.is_some();
        if calls || says(&self.refusal) || self.audio.is_some() {
            progress.close();
        }
    }
}
