//! A whole `generateContent` answer in the canonical form.

use super::response::{CallIds, Candidate, Finish, Piece, Response, Unread, UsageMetadata};
use crate::dialects::conversation::{Answer, Choice, Part, Stop, Thought, ToolCall};
use crate::dialects::translate::{AnswerError, Malformed, Undo};

/// Reads a whole answer with status 200; `undo` is what was changed in its request.
///
/// # Errors
/// [`AnswerError`] where it is an error in disguise, where the model broke its own function call, or where it cannot be read.
pub fn decode(body: &[u8], origin: &str, undo: &Undo) -> Result<Answer, AnswerError> {
    let response = Response::read(body).map_err(|unread| match unread {
        Unread::Error(error) => AnswerError::Provider(error),
        Unread::Malformed(what) => malformed(format!("the answer cannot be read: {what}")),
    })?;
    if let Some(error) = response.error {
        return Err(AnswerError::Provider(error.into_provider_error()));
    }
    let id = response.response_id.unwrap_or_default();
    let model = response.model_version.unwrap_or_else(|| model_of(origin).to_owned());
    let usage = response.usage_metadata.and_then(UsageMetadata::usage);
    let mut candidates = response.candidates.unwrap_or_default();
    if candidates.is_empty() {
        return match response.prompt_feedback {
            Some(feedback) if feedback.blocked() => {
                let blocked = Choice { parts: Vec::new(), stop: Stop::Filtered, stop_sequence: None };
                Ok(Answer { id, model, choices: vec![blocked], usage })
            }
            _ => Err(malformed("the answer has no candidates".to_owned())),
        };
    }
    candidates.sort_by_key(|candidate| candidate.index.unwrap_or(0));
    let mut reader = Reader { origin, undo, response_id: &id, ids: CallIds::default() };
    let choices = candidates.into_iter().map(|candidate| reader.choice(candidate)).collect::<Result<_, _>>()?;
    Ok(Answer { id, model, choices, usage })
}

/// The model's part of an origin `provider/model`.
pub(super) fn model_of(origin: &str) -> &str {
    origin.split_once('/').map_or(origin, |(_, model)| model)
}

fn malformed(what: String) -> AnswerError {
    AnswerError::Malformed(Malformed(what))
}

struct Reader<'a> {
    origin: &'a str,
    undo: &'a Undo,
    response_id: &'a str,
    ids: CallIds,
}

impl Reader<'_> {
    fn choice(&mut self, candidate: Candidate<'_>) -> Result<Choice, AnswerError> {
        // The reason has the last word: a call that parses is still broken where Gemini says so.
        let stop = match candidate.finish() {
            Some(Finish::Stopped(stop)) => stop,
            Some(Finish::Failed(error)) => return Err(AnswerError::Provider(error)),
            None => return Err(malformed("a candidate has no finish reason".to_owned())),
        };
        let mut parts = Vec::new();
        let mut called = false;
        for part in candidate.content.and_then(|content| content.parts).unwrap_or_default() {
            let (piece, signature) = part.read(self.origin).map_err(AnswerError::Malformed)?;
            let signature = match piece {
                Piece::Text(text) => {
                    parts.push(Part::Text(text));
                    signature
                }
                Piece::Media(media) => {
                    parts.push(media);
                    signature
                }
                Piece::Nothing => signature,
                Piece::Thought(text) => {
                    parts.push(Part::Reasoning(Thought { text, opaque: signature }));
                    None
                }
                Piece::Call { id, name, arguments } => {
                    called = true;
                    let id = self.ids.next(id, self.response_id, (&name, &arguments));
                    let name = self.undo.original_name(&name).to_owned();
                    parts.push(Part::ToolCall(ToolCall { id, name, arguments, signature }));
                    None
                }
            };
            // What has no place for its signature is followed by it.
            parts
                .extend(signature.map(|opaque| Part::Reasoning(Thought { text: String::new(), opaque: Some(opaque) })));
        }
        let stop = if called && stop == Stop::End { Stop::ToolUse } else { stop };
        Ok(Choice { parts, stop, stop_sequence: None })
    }
}

#[cfg(test)]
mod tests;
