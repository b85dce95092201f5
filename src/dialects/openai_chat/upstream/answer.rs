//! A whole completion in the canonical form.

use serde::Deserialize;

use super::Reader;
use super::message::{Message, UNSIGNED};
use crate::dialects::conversation::{Answer, Choice, Opaque, Part, Stop, ToolCall};
use crate::dialects::openai_chat::reader;
use crate::dialects::openai_chat::relay::{failure, stop};
use crate::dialects::translate::{AnswerError, Malformed, Undo};

#[derive(Debug, Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Option<Vec<Written>>,
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    message: Option<Message>,
}

/// Reads a body with status 200.
pub(super) fn decode(body: &[u8], whose: &Reader, undo: &Undo) -> Result<Answer, AnswerError> {
    let malformed = |what: String| AnswerError::Malformed(Malformed(what));
    let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8".into()))?;
    let reading = reader::read(text, whose.quirks)
        .map_err(|fault| malformed(format!("the answer is not a completion: {fault}")))?;
    if let Some(error) = failure(&reading) {
        return Err(AnswerError::Provider(error));
    }
    // serde's own message may quote the answer.
    let completion: Completion =
        serde_json::from_str(text).map_err(|_| malformed("a field of the answer has a wrong type".into()))?;
    let written = completion.choices.unwrap_or_default();
    if written.is_empty() {
        return Err(malformed("the answer has no choices".into()));
    }
    let mut choices = Vec::with_capacity(written.len());
    for (index, choice) in (0_u32..).zip(written) {
        let parts = parts(&choice.message.unwrap_or_default(), whose, undo);
        let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
        let finish = reading.finishes.iter().find(|finish| finish.index == index);
        let Some(finish) = finish else { return Err(malformed("a choice does not say why it ended".into())) };
        let refuses = parts.iter().any(|part| matches!(part, Part::Refusal(_)));
        let stop = refined(stop(finish, calls), Held { calls, refuses });
        choices.push(Choice { parts, stop, stop_sequence: None });
    }
    let model = reading.model.decode();
    Ok(Answer {
        id: reading.id.decode().into_owned(),
        model: if model.is_empty() { whose.model().to_owned() } else { model.into_owned() },
        choices,
        usage: reading.usage.or(reading.choice_usage),
    })
}

/// What an answer holds that says more of its end than the provider's word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) calls: bool,
    pub(super) refuses: bool,
}

/// A call is a call and a refusal a refusal, whatever the provider's word for the end.
pub(super) fn refined(stop: Stop, held: Held) -> Stop {
    match stop {
        Stop::End if held.calls => Stop::ToolUse,
        Stop::End if held.refuses => Stop::Refusal,
        stop => stop,
    }
}

fn parts(message: &Message, whose: &Reader, undo: &Undo) -> Vec<Part> {
    let mut parts = Vec::new();
    for mut thought in message.thoughts(whose) {
        if thought.opaque.is_none() && whose.wants_thoughts_back {
            thought.opaque = Some(unsigned(whose));
        }
        parts.push(Part::Reasoning(thought));
    }
    parts.extend(message.text().map(Part::Text));
    parts.extend(message.refused().map(|text| Part::Refusal(text.to_owned())));
    parts.extend(message.images().map(Part::Image));
    let legacy = message.function_call.as_ref().map(|function| (None, function, None));
    let calls = message.tool_calls.iter().flatten().filter_map(|call| {
        let function = call.function.as_ref()?;
        Some((call.id.as_ref(), function, call.signature(whose)))
    });
    for (number, (id, function, signature)) in calls.chain(legacy).enumerate() {
        let id = id.cloned().filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{number}"));
        let name = undo.original_name(function.name.as_deref().unwrap_or_default()).to_owned();
        parts.push(Part::ToolCall(ToolCall { id, name, arguments: function.arguments(), signature }));
    }
    parts
}

/// Marks thoughts that are not signed as this model's own.
pub(super) fn unsigned(whose: &Reader) -> Opaque {
    Opaque { origin: whose.origin.clone(), kind: "signature", data: UNSIGNED.to_owned() }
}
