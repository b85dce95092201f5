//! Follows a stream of this dialect that passes through, so that another model's continuation can be joined to it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::stream::{Encoder, Open, PartKind};
use crate::dialects::progress::Progress;

/// More items than an answer has: a place beyond it is a mistake that must not take memory.
const MOST_ITEMS: usize = 4096;

/// What is needed of an event, whatever its type.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    sequence_number: Option<u64>,
    response: Option<Response>,
    #[serde(default)]
    output_index: usize,
    item: Option<Box<RawValue>>,
    part: Option<Value>,
    delta: Option<Value>,
}

#[derive(Deserialize)]
struct Response {
    id: String,
    created_at: Option<u64>,
    #[serde(default)]
    model: String,
}

#[derive(Deserialize)]
struct Item {
    r#type: String,
    #[serde(default)]
    id: String,
}

/// Takes an event as if the encoder had written it.
pub(super) fn follow(encoder: &mut Encoder, data: &str, progress: &mut Progress) {
    // OpenRouter's marker of the end.
    if matches!(data.trim(), "" | "[DONE]") {
        return;
    }
    let Ok(event) = serde_json::from_str::<Event>(data) else { return progress.close() };
    encoder.sequence = event.sequence_number.unwrap_or(encoder.sequence).saturating_add(1);
    match event.r#type.as_str() {
        "response.created" | "response.in_progress" | "response.queued" => begin(encoder, event.response),
        "response.output_item.added" => add(encoder, &event, progress),
        "response.output_item.done" => {
            let item = event.item.as_ref().map(|item| item.get().to_owned()).unwrap_or_default();
            put(encoder, event.output_index, item);
            encoder.open = None;
        }
        "response.content_part.added" => open_part(encoder, event.part.as_ref(), progress),
        "response.output_text.delta" => add_text(encoder, event.delta.as_ref(), progress),
        "response.content_part.done" => close_part(encoder, event.part),
        "response.output_text.done" | "response.output_text.annotation.added" => {}
        name if name.starts_with("response.reasoning") => progress.thought(),
        // Calls, refusals, the end, and what is not known.
        _ => progress.close(),
    }
}

fn begin(encoder: &mut Encoder, response: Option<Response>) {
    let Some(Response { id, created_at, model }) = response else { return };
    encoder.begun = true;
    encoder.writer.response_id = id;
    encoder.writer.created = created_at.unwrap_or(encoder.writer.created);
    encoder.model = model;
}

/// Puts an item in its place of the output.
fn put(encoder: &mut Encoder, index: usize, item: String) {
    let index = index.min(MOST_ITEMS);
    if encoder.output.len() <= index {
        encoder.output.resize(index + 1, String::new());
    }
    if let Some(place) = encoder.output.get_mut(index) {
        *place = item;
    }
}

fn add(encoder: &mut Encoder, event: &Event, progress: &mut Progress) {
    put(encoder, event.output_index, String::new());
    let item = event.item.as_ref().and_then(|item| serde_json::from_str::<Item>(item.get()).ok());
    encoder.open = None;
    match item {
        Some(Item { r#type, id }) if r#type == "message" => {
            encoder.open = Some(Open::Message { index: event.output_index, id, parts: Vec::new(), part: None });
        }
        Some(Item { r#type, .. }) if r#type == "reasoning" => progress.thought(),
        _ => progress.close(),
    }
}

fn open_part(encoder: &mut Encoder, part: Option<&Value>, progress: &mut Progress) {
    let kind = part.and_then(|part| part["type"].as_str());
    match (&mut encoder.open, kind) {
        (Some(Open::Message { part, .. }), Some("output_text")) => *part = Some((PartKind::Text, String::new())),
        // A part of a thought belongs to no message.
        (None, Some("reasoning_text")) => progress.thought(),
        _ => progress.close(),
    }
}

fn add_text(encoder: &mut Encoder, delta: Option<&Value>, progress: &mut Progress) {
    let text = delta.and_then(Value::as_str).unwrap_or_default();
    match &mut encoder.open {
        Some(Open::Message { part: Some((PartKind::Text, so_far)), .. }) => {
            so_far.push_str(text);
            progress.text(text);
        }
        _ => progress.close(),
    }
}

fn close_part(encoder: &mut Encoder, whole: Option<Value>) {
    if let Some(Open::Message { parts, part, .. }) = &mut encoder.open {
        *part = None;
        parts.extend(whole);
    }
}
