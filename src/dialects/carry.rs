//! What of a canonical request can be carried to a model: the same for every provider's dialect.

use aipipe_actors::catalogue::{Capability, Model};
use serde::Serialize;
use serde_json::value::RawValue;

use super::conversation::{Conversation, Settings};
use super::translate::CannotCarry;

/// Asks for free JSON in words.
pub(super) const JSON_INSTRUCTION: &str =
    "Answer with exactly one JSON object and nothing else: no text around it and no Markdown fence.";

/// The client's fields that were left out or lowered because they only tune, by their Chat Completions names and each once.
#[derive(Debug)]
pub(super) struct Dropped(Vec<String>);

impl Dropped {
    /// The hints of a conversation, which no other dialect has.
    pub(super) fn hints(conversation: &Conversation) -> Self {
        Self(conversation.hints.iter().map(|&hint| hint.to_owned()).collect())
    }

    /// One more.
    pub(super) fn note(&mut self, field: &str) {
        if !self.0.iter().any(|name| name == field) {
            self.0.push(field.to_owned());
        }
    }

    /// Takes out the value of a parameter that the model refuses and that only tunes.
    pub(super) fn unless_taken<T>(&mut self, model: &Model, name: &str, value: Option<T>) -> Option<T> {
        if value.is_some() && model.parameters.refuses(name) {
            self.note(name);
            return None;
        }
        value
    }

    /// A penalty; one of 0 is none, and left out.
    pub(super) fn penalty(&mut self, name: &str, value: Option<f64>) -> Option<f64> {
        if value == Some(0.0) {
            self.note(name);
        }
        value.filter(|&value| value != 0.0)
    }

    /// For `x-aipipe-dropped`.
    pub(super) fn into_names(self) -> Vec<String> {
        self.0
    }
}

/// The arguments of a call in dialects that want an object.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Arguments<'a> {
    /// As they came, so that numbers and key order survive.
    Object(&'a RawValue),
    /// None.
    Empty {},
    /// What a model wrote that is no object: kept as text rather than failing the whole request.
    Unreadable {
        /// The text.
        #[serde(rename = "_raw")]
        text: &'a str,
    },
}

impl<'a> Arguments<'a> {
    /// Reads the JSON text of a call.
    pub(super) fn of(text: &'a str) -> Self {
        if text.trim().is_empty() {
            return Self::Empty {};
        }
        match serde_json::from_str::<&RawValue>(text) {
            Ok(json) if json.get().starts_with('{') => Self::Object(json),
            Ok(_) | Err(_) => Self::Unreadable { text },
        }
    }
}

/// A field that the model or its dialect has no words for, and why.
pub(super) fn cannot(field: &str, reason: impl Into<String>) -> CannotCarry {
    CannotCarry { field: field.to_owned(), reason: reason.into() }
}

/// The same as an end of the writing.
pub(super) fn cannot_carry<T>(field: &str, reason: impl Into<String>) -> Result<T, CannotCarry> {
    Err(cannot(field, reason))
}

/// No translated answer has log probabilities.
pub(super) fn no_logprobs(settings: &Settings) -> Result<(), CannotCarry> {
    match settings.logprobs {
        Some(_) => cannot_carry("logprobs", "log probabilities have no form in a translated answer"),
        None => Ok(()),
    }
}

/// The stop sequences, at most so many; empty ones stop nothing and are left out.
pub(super) fn stops<'a>(
    settings: &'a Settings,
    model: &Model,
    most: Option<usize>,
) -> Result<Vec<&'a str>, CannotCarry> {
    let stops: Vec<&str> = settings.stop.iter().map(String::as_str).filter(|stop| !stop.is_empty()).collect();
    match most {
        Some(most) if stops.len() > most => {
            return cannot_carry("stop", format!("the provider takes at most {most} stop sequences"));
        }
        _ => {}
    }
    if !stops.is_empty() && model.parameters.refuses("stop") {
        return cannot_carry("stop", "this model takes no stop sequences");
    }
    Ok(stops)
}

/// The number of choices where there is more than one.
pub(super) fn several_choices(conversation: &Conversation, model: &Model) -> Result<Option<u32>, CannotCarry> {
    match conversation.settings.choices {
        None | Some(0 | 1) => Ok(None),
        Some(_) if conversation.stream => cannot_carry("n", "a translated stream has one choice"),
        Some(_) if !model.capabilities.contains(Capability::N) => cannot_carry("n", "this model gives one choice"),
        several => Ok(several),
    }
}
