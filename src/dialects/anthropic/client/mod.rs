//! Anthropic Messages as a client's dialect: the official SDKs and Claude Code, answered by any provider.
//!
//! [`scan`] looks at a body once; [`pass`] splices what must change for a provider that speaks Messages itself, and [`passing`] watches
//! its streams. For any other [`request`] reads the body into the canonical form, and [`answer`] and [`stream`] write the canonical answer
//! as messages and events. Opaque things of other models travel in the signatures of thoughts (`dialects::mark`).

mod answer;
mod counting;
mod error;
mod following;
mod form;
mod pass;
mod passing;
mod reading;
mod request;
mod scan;
mod stream;
#[cfg(test)]
mod tests;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::PromptKey;
use bytes::Bytes;

use crate::dialects::client::{
    Addressed, AnswerFacts, ClientRequest, ClientSurface, Counting, Decoded, Facts, Frame, Prepared, StreamReading,
    Target,
};
use crate::dialects::conversation::Answer;
use crate::dialects::form::Form;
use crate::dialects::scan::PromptHasher;
use crate::dialects::translate::{AnswerError, ClientError, InvalidRequest, StreamEncoder};
use crate::providers::{Dialect, Profile};
use answer::Thoughts;
use scan::{Scan, Thinks, scan};

/// What a cache key begins with.
const SURFACE: &[&str] = &["messages"];

/// Anthropic Messages.
#[derive(Debug, Clone, Copy)]
pub struct Messages;

impl ClientSurface for Messages {
    fn scan<'a>(&self, body: &'a [u8], _: &Addressed<'a>) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest> {
        let scan = scan(body)?;
        let effort = scan.reasoning().and_then(|asked| asked.level());
        let facts = scan.found.facts(effort, 1)?;
        Ok(Box::new(MessagesRequest { scan, facts }))
    }

    fn is_spoken_by(&self, profile: &Profile) -> bool {
        profile.dialect == Dialect::Anthropic
    }

    fn path(&self, profile: &Profile, stream: bool) -> &'static str {
        if stream { profile.paths.chat_stream } else { profile.paths.chat }
    }

    fn read_answer(&self, body: &[u8], _: &Profile) -> Result<AnswerFacts, AnswerError> {
        answer::read(body)
    }

    fn explanation_event(&self, _: &Frame, _: &str, explanation: &str) -> Option<Bytes> {
        // Clients pass over pings, also before the message begins.
        Some(Bytes::from(format!("event: ping\ndata: {{\"type\":\"ping\",\"aipipe\":{explanation}}}\n\n")))
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(&counting::CountTokens)
    }

    fn error(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        Bytes::from(error::body(error, request_id))
    }

    fn error_event(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        error::event(error, request_id)
    }
}

/// The id of the answer to a request.
fn answer_id(frame: &Frame) -> String {
    format!("msg_{}", frame.request_id)
}

struct MessagesRequest<'a> {
    scan: Scan<'a>,
    facts: Facts,
}

impl MessagesRequest<'_> {
    /// A client that asked for no thinking reads `content[0].text`. With functions it gets the thoughts all the same, as some models
    /// refuse the results of calls without the thoughts that led to them.
    fn thoughts(&self) -> Thoughts {
        let asks = matches!(self.scan.thinks, Some(Thinks::Enabled | Thinks::Adaptive));
        let calls = self.scan.found.tools > 0 || self.scan.found.thread.has_tool_history;
        if asks || calls { Thoughts::Shown } else { Thoughts::Hidden }
    }
}

impl ClientRequest for MessagesRequest<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        self.scan.found.prompt_key(hasher, SURFACE)
    }

    fn pass(&self, target: &Target<'_>) -> Prepared {
        pass::prepare(&self.scan, target)
    }

    fn decode(&self) -> Result<Decoded, InvalidRequest> {
        request::decode(&self.scan)
    }

    fn form(&self, answer: &str) -> Form {
        let mut form = Form::of(&self.facts);
        form::read(answer, &mut form);
        form
    }

    fn write_answer(&self, answer: &Answer, frame: &Frame) -> Bytes {
        answer::write(answer, &answer_id(frame), self.thoughts())
    }

    fn stream_encoder(&self, frame: &Frame) -> Box<dyn StreamEncoder> {
        Box::new(stream::Encoder::new(answer_id(frame), frame.request_id, self.thoughts()))
    }

    fn passing(&self, _: &Profile) -> Box<dyn StreamReading> {
        Box::new(passing::Passing::new(Form::of(&self.facts)))
    }
}
