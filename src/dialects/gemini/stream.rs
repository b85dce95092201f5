//! A stream of `GenerateContentResponse` pieces as canonical events.
//!
//! Gemini has no end marker and may give a finish reason in mid-stream, with more text after it (code execution does): only the close of
//! the connection ends the answer, and it is whole if a finish reason or a blocked prompt was seen by then. Calls come whole, in one part.

use super::answer::model_of;
use super::response::{CallIds, Candidate, Finish, Part, Piece, Response, Unread, UsageMetadata};
use crate::dialects::conversation::{Event, Stop, Usage};
use crate::dialects::translate::{Malformed, ProviderError, Step, StreamDecoder, Undo};

/// Reads a Gemini stream: of one candidate of text and whole calls, unless it passes to a client who may have asked for anything.
#[derive(Debug)]
pub struct GeminiStream {
    origin: String,
    undo: Undo,
    /// The answer's id, once it has begun.
    response_id: Option<String>,
    ids: CallIds,
    calls: u32,
    counted: UsageMetadata,
    told: Option<Usage>,
    stop: Option<Stop>,
    /// Whether it passes to its client as it comes.
    passes: bool,
    /// Bytes of content that passed and are no event's.
    aside: Option<usize>,
}

impl GeminiStream {
    /// Starts reading what passes.
    pub(super) fn passing() -> Self {
        Self { passes: true, ..Self::new("", Undo::default()) }
    }

    /// The bytes of content since the last call that no event tells of; `None` where there was none.
    pub(super) fn take_aside(&mut self) -> Option<usize> {
        self.aside.take()
    }

    /// Starts reading; `undo` is what was changed in its request.
    pub fn new(origin: &str, undo: Undo) -> Self {
        Self {
            origin: origin.to_owned(),
            undo,
            response_id: None,
            ids: CallIds::default(),
            calls: 0,
            counted: UsageMetadata::default(),
            told: None,
            stop: None,
            passes: false,
            aside: None,
        }
    }

    fn piece(&mut self, response: Response<'_>, out: &mut Vec<Event>) -> Result<Step, Malformed> {
        if let Some(error) = response.error {
            return Ok(Step::Error(error.into_provider_error()));
        }
        if self.response_id.is_none() {
            let id = response.response_id.unwrap_or_default();
            let model = response.model_version.unwrap_or_else(|| model_of(&self.origin).to_owned());
            self.response_id = Some(id.clone());
            out.push(Event::Start { id, model });
        }
        if let Some(counted) = response.usage_metadata {
            self.count(counted, out);
        }
        if response.prompt_feedback.is_some_and(|feedback| feedback.blocked()) {
            self.stop = Some(Stop::Filtered);
        }
        for candidate in response.candidates.unwrap_or_default() {
            let is_first = candidate.index.is_none_or(|index| index == 0);
            if self.passes && !is_first {
                let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
                parts.iter().for_each(|part| self.put_aside(part));
                continue;
            }
            if !is_first {
                return Err(Malformed("the stream has a second candidate, which was not asked for".to_owned()));
            }
            if let Some(error) = self.candidate(candidate, out)? {
                return Ok(Step::Error(error));
            }
        }
        Ok(Step::Continue)
    }

    /// Later figures replace earlier ones; only what has changed is told.
    fn count(&mut self, counted: UsageMetadata, out: &mut Vec<Event>) {
        self.counted = counted.or(self.counted);
        let usage = self.counted.usage();
        if let Some(usage) = usage
            && self.told != Some(usage)
        {
            self.told = Some(usage);
            out.push(Event::Usage(usage));
        }
    }

    fn put_aside(&mut self, part: &Part<'_>) {
        *self.aside.get_or_insert(0) += part.bytes();
    }

    fn candidate(
        &mut self,
        candidate: Candidate<'_>,
        out: &mut Vec<Event>,
    ) -> Result<Option<ProviderError>, Malformed> {
        // Looked at before the parts: a call that Gemini calls broken is not handed on.
        match candidate.finish() {
            Some(Finish::Stopped(stop)) => self.stop = Some(stop),
            Some(Finish::Failed(error)) => return Ok(Some(error)),
            None => {}
        }
        for part in candidate.content.and_then(|content| content.parts).unwrap_or_default() {
            if self.passes && part.is_own() {
                self.put_aside(&part);
                continue;
            }
            let (piece, mut signature) = part.read(&self.origin)?;
            match piece {
                Piece::Text(text) => out.push(Event::Text(text)),
                Piece::Thought(text) => out.push(Event::Reasoning(text)),
                Piece::Call { id, name, arguments } => {
                    let index = self.calls;
                    self.calls += 1;
                    let response_id = self.response_id.as_deref().unwrap_or_default();
                    let id = self.ids.next(id, response_id, (&name, &arguments));
                    let name = self.undo.original_name(&name).to_owned();
                    out.push(Event::ToolCallStart { index, id, name, signature: signature.take() });
                    out.push(Event::ToolArguments { index, delta: arguments });
                }
                Piece::Media(_) => {
                    return Err(Malformed(
                        "an image or sound in a stream, which no translated stream can hold".to_owned(),
                    ));
                }
                Piece::Nothing => {}
            }
            out.extend(signature.map(Event::ReasoningOpaque));
        }
        Ok(None)
    }
}

impl StreamDecoder for GeminiStream {
    fn event(&mut self, _name: &str, data: &str, out: &mut Vec<Event>) -> Result<Step, Malformed> {
        match Response::read(data.as_bytes()) {
            Ok(response) => self.piece(response, out),
            Err(Unread::Error(error)) => Ok(Step::Error(error)),
            Err(Unread::Malformed(what)) => Err(Malformed(format!("an event of the stream cannot be read: {what}"))),
        }
    }

    fn close(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        match self.stop.take() {
            Some(stop) => {
                let reason = if self.calls > 0 && stop == Stop::End { Stop::ToolUse } else { stop };
                out.push(Event::Stop { reason, sequence: None });
                Ok(())
            }
            None => Err(Malformed("the stream closed before a finish reason".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
