//! A whole completion in the canonical form.

use serde::Deserialize;

use super::Reader;
use super::message::{Call, Message, UNSIGNED};
use crate::dialects::conversation::{Answer, Choice, Opaque, Part, Stop, Thought, ToolCall};
use crate::dialects::openai_chat::reader;
use crate::dialects::openai_chat::relay::{failure, stop};
use crate::dialects::translate::{AnswerError, Malformed};

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
pub(super) fn decode(body: &[u8], whose: &Reader) -> Result<Answer, AnswerError> {
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
        let parts = parts(&choice.message.unwrap_or_default(), whose);
        let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
        let finish = reading.finishes.iter().find(|finish| finish.index == index);
        let Some(finish) = finish else { return Err(malformed("a choice does not say why it ended".into())) };
        let refuses = parts.iter().any(|part| matches!(part, Part::Refusal(_)));
        let stop = match refined(stop(finish, calls), calls) {
            Stop::End if refuses => Stop::Refusal,
            stop => stop,
        };
        choices.push(Choice { parts, stop, stop_sequence: None });
    }
    Ok(Answer {
        id: reading.id.decode().into_owned(),
        model: reading.model.decode().into_owned(),
        choices,
        usage: reading.usage.or(reading.choice_usage),
    })
}

/// A call is a call, whatever the provider's word for the end.
pub(super) fn refined(stop: Stop, calls: bool) -> Stop {
    if calls && stop == Stop::End { Stop::ToolUse } else { stop }
}

fn parts(message: &Message, whose: &Reader) -> Vec<Part> {
    let mut parts = Vec::new();
    let reasoning = message.reasoning();
    let mut opaques = message.opaques(whose).peekable();
    match (reasoning, opaques.next()) {
        (Some(text), Some(opaque)) => parts.push(Part::Reasoning(Thought { text, opaque: Some(opaque) })),
        (Some(text), None) => {
            let opaque = whose.wants_thoughts_back.then(|| unsigned(whose));
            parts.push(Part::Reasoning(Thought { text, opaque }));
        }
        (None, Some(opaque)) => {
            parts.push(Part::Reasoning(Thought { text: String::new(), opaque: Some(opaque) }));
        }
        (None, None) => {}
    }
    parts.extend(opaques.map(|opaque| Part::Reasoning(Thought { text: String::new(), opaque: Some(opaque) })));
    parts.extend(message.text().map(Part::Text));
    parts.extend(message.refused().map(|text| Part::Refusal(text.to_owned())));
    parts.extend(message.images().map(Part::Image));
    let legacy = message.function_call.as_ref().map(|function| (None, function));
    let calls =
        message.tool_calls.iter().flatten().filter_map(|call: &Call| Some((call.id.as_ref(), call.function.as_ref()?)));
    for (number, (id, function)) in calls.chain(legacy).enumerate() {
        let id = id.cloned().filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{number}"));
        let name = function.name.clone().unwrap_or_default();
        parts.push(Part::ToolCall(ToolCall { id, name, arguments: function.arguments(), signature: None }));
    }
    parts
}

/// Marks thoughts that are not signed as this model's own.
pub(super) fn unsigned(whose: &Reader) -> Opaque {
    Opaque { origin: whose.origin.clone(), kind: "signature", data: UNSIGNED.to_owned() }
}
