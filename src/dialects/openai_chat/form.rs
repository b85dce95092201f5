//! What of an answer, or of a piece of a stream, should be JSON.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialects::form::{Form, Piece};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow, alias = "delta")]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Call<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    /// Of a stream; a whole answer has them in order.
    index: Option<u64>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
}

/// Reads as far as it understands; what it does not says nothing.
pub(super) fn read(text: &str, form: &mut Form) {
    let Some(answer) = form.is_watching().then(|| serde_json::from_str::<Answer<'_>>(text)).and_then(Result::ok) else {
        return;
    };
    for Choice { index: choice, message } in answer.choices {
        let Some(Message { content, refusal, tool_calls, function_call }) = message else { continue };
        if let Some(content) = content {
            form.add(Piece::Text(choice), &content);
        }
        if refusal.is_some_and(|refusal| !refusal.is_empty()) {
            form.refuse();
        }
        let legacy = function_call.map(|function| Call { index: None, function: Some(function) });
        for (place, call) in tool_calls.into_iter().flatten().chain(legacy).enumerate() {
            // A custom tool's input is no JSON; that there is a call counts all the same.
            let arguments = call.function.and_then(|function| function.arguments).unwrap_or_default();
            form.add(Piece::Arguments(choice, call.index.unwrap_or(place as u64)), &arguments);
        }
    }
}
