//! What of an answer, or of an event of a stream, should be JSON. The input of a whole call is JSON by itself.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialects::form::{Form, Piece};

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Vec<Content<'a>>,
    /// Of an event: which block goes on.
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    content_block: Option<Content<'a>>,
    #[serde(borrow)]
    delta: Option<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
}

/// Reads as far as it understands; what it does not says nothing.
pub(super) fn read(text: &str, form: &mut Form) {
    let Some(said) = form.is_watching().then(|| serde_json::from_str::<Said<'_>>(text)).and_then(Result::ok) else {
        return;
    };
    let index = said.index;
    for (place, content) in said.content.into_iter().chain(said.content_block).chain(said.delta).enumerate() {
        let call = index.saturating_add(place as u64);
        if let Some(text) = content.text {
            form.add(Piece::Text(0), &text);
        }
        match content.partial_json {
            Some(json) => form.add(Piece::Arguments(0, call), &json),
            None if content.kind.as_deref() == Some("tool_use") => form.add(Piece::Arguments(0, call), ""),
            None => {}
        }
    }
}
