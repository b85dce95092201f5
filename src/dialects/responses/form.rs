//! What of a response should be JSON: of a stream the response at its end tells all that its deltas did.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialects::form::{Form, Piece};

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    output: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// Reads as far as it understands; what it does not says nothing.
pub(super) fn read(text: &str, form: &mut Form) {
    let Some(response) = form.is_watching().then(|| serde_json::from_str::<Response<'_>>(text)).and_then(Result::ok)
    else {
        return;
    };
    for (place, item) in (0..).zip(response.output) {
        match &*item.kind {
            "function_call" => form.add(Piece::Arguments(0, place), item.arguments.as_deref().unwrap_or_default()),
            "message" => {
                for part in item.content.into_iter().flatten() {
                    match (&*part.kind, part.text) {
                        ("refusal", _) => form.refuse(),
                        (_, Some(text)) => form.add(Piece::Text(place), &text),
                        _ => {}
                    }
                }
            }
            "reasoning" => {}
            // A call of another kind, whose input is no JSON.
            _ => form.add(Piece::Arguments(0, place), ""),
        }
    }
}
