//! OpenAI Responses as a client's dialect: the official SDKs, agents and Codex, answered by any provider.
//!
//! [`scan`] looks at a body once; [`pass`] splices what must change for a provider that offers Responses itself, and [`passing`] watches
//! its streams. For any other [`request`] reads the body into the canonical form, and [`answer`] and [`stream`] write the canonical answer.
//!
//! This dialect names what a provider keeps: responses, items, files. Only what was issued to the very tenant goes along
//! ([`crate::dialects::issued`]). AiPipe keeps no answers itself: what it translates says `store: false`, and its thoughts carry what
//! their model wants back in `encrypted_content` (`dialects::mark`).

mod answer;
mod counting;
mod error;
mod following;
mod form;
mod object;
mod pass;
mod passing;
mod reading;
mod request;
mod scan;
mod stream;
#[cfg(test)]
mod tests;
mod tools;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::PromptKey;
use bytes::Bytes;

use super::client::{
    Addressed, AnswerFacts, ClientRequest, ClientSurface, Counting, Decoded, Facts, Frame, Prepared, StreamReading,
    Target,
};
use super::conversation::Answer;
use super::form::Form;
use super::openai_chat;
use super::scan::PromptHasher;
use super::translate::{AnswerError, ClientError, InvalidRequest, StreamEncoder};
use crate::providers::Profile;
use object::Writer;
use scan::{Scan, scan};

/// OpenAI Responses.
#[derive(Debug, Clone, Copy)]
pub struct Responses;

impl ClientSurface for Responses {
    fn scan<'a>(&self, body: &'a [u8], _: &Addressed<'a>) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest> {
        let scan = scan(body)?;
        let effort = scan.reasoning.as_ref().and_then(|reasoning| reasoning.effort);
        let mut facts = scan.found.facts(effort, 1)?;
        facts.stored.extend(scan.stored.iter().cloned());
        facts.mentioned = scan.mentioned();
        Ok(Box::new(ResponsesRequest { scan, facts }))
    }

    fn is_spoken_by(&self, profile: &Profile) -> bool {
        profile.paths.responses.is_some()
    }

    fn path(&self, profile: &Profile, _: bool) -> &'static str {
        profile.paths.responses.unwrap_or_default()
    }

    fn read_answer(&self, body: &[u8], _: &Profile) -> Result<AnswerFacts, AnswerError> {
        answer::read(body)
    }

    fn explanation_event(&self, _: &Frame, _: &str, _: &str) -> Option<Bytes> {
        // Clients take `response.created` for the first event, and its members are the provider's.
        None
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(&counting::InputTokens)
    }

    fn error(&self, error: &ClientError<'_>, _: RequestId) -> Bytes {
        openai_chat::write_error(error)
    }

    fn error_event(&self, error: &ClientError<'_>, _: RequestId) -> Bytes {
        error::events(error, 0, "")
    }
}

struct ResponsesRequest<'a> {
    scan: Scan<'a>,
    facts: Facts,
}

impl ClientRequest for ResponsesRequest<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        // The answer tells them back.
        let told = ["metadata", "user"].map(|name| {
            let member = self.scan.found.members.get(name);
            member.and_then(|member| self.scan.found.text().get(member.value.clone())).unwrap_or_default()
        });
        self.scan.found.prompt_key(hasher, &["responses", told[0], told[1]])
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
        answer::write(answer, &Writer::new(&self.scan, frame))
    }

    fn stream_encoder(&self, frame: &Frame) -> Box<dyn StreamEncoder> {
        Box::new(stream::Encoder::new(Writer::new(&self.scan, frame)))
    }

    fn passing(&self, _: &Profile) -> Box<dyn StreamReading> {
        Box::new(passing::Passing::new(Form::of(&self.facts)))
    }
}
