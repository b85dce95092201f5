//! Follows a stream of this dialect that passes through, so that another model's continuation can be joined to it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::Encoder;
use crate::dialects::progress::Progress;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    candidates: Vec<Candidate>,
    model_version: Option<String>,
    response_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
    #[serde(default)]
    index: u32,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Map<String, Value>>,
}

/// Takes a piece as if the encoder had written it.
pub(super) fn follow(encoder: &mut Encoder, data: &str, progress: &mut Progress) {
    let Ok(Response { candidates, model_version, response_id }) = serde_json::from_str(data) else {
        return progress.close();
    };
    if let Some(id) = response_id {
        encoder.id = id;
    }
    if let Some(model) = model_version {
        encoder.model = model;
    }
    for candidate in candidates {
        if candidate.index > 0 {
            return progress.close();
        }
        for part in candidate.content.iter().flat_map(|content| &content.parts) {
            match part.get("text").and_then(Value::as_str) {
                Some(_) if part.get("thought") == Some(&Value::Bool(true)) => progress.thought(),
                Some(text) => progress.text(text),
                None => progress.close(),
            }
        }
        if candidate.finish_reason.is_some() {
            progress.close();
        }
    }
}
