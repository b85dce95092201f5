//! Gemini's `generateContent` as a client's dialect: what the google-genai SDKs speak.
//!
//! The model and whether the answer is streamed stand in the address. Streams come as server-sent events; the JSON array that the API
//! gives without `alt=sse` is made of them at the edge. A stream has no end of its own but the close of the connection.

mod answer;
mod counting;
mod facts;
mod following;
mod passing;
mod request;
mod schema;
mod signature;
mod wire;

#[cfg(test)]
mod tests;

use std::ops::Range;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::PromptKey;
use bytes::Bytes;
use serde_json::json;

use self::passing::Passing;
use self::wire::Body;
use super::FOREIGN_SIGNATURE;
use crate::dialects::client::{
    Addressed, AnswerFacts, ClientRequest, ClientSurface, Counting, Decoded, Facts, Frame, Prepared, StreamReading,
    Target,
};
use crate::dialects::conversation::Answer;
use crate::dialects::edits::Edits;
use crate::dialects::form::Form;
use crate::dialects::json::{Cursor, Fault, Kind};
use crate::dialects::scan::{BodyScan, Findings, PromptHasher, invalid, read};
use crate::dialects::translate::{AnswerError, ClientError, InvalidRequest, StreamEncoder};
use crate::providers::{Dialect, Profile};

/// What a cache key begins with.
const SURFACE: &[&str] = &["gemini"];

/// Gemini's API.
#[derive(Debug, Clone, Copy)]
pub struct GeminiApi;

impl ClientSurface for GeminiApi {
    fn scan<'a>(
        &self,
        body: &'a [u8],
        addressed: &Addressed<'a>,
    ) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest> {
        let mut outline = Outline::default();
        read(body, &mut outline)?;
        let text = outline.found.text();
        // serde's own message may quote the prompt.
        let body: Body = serde_json::from_str(text).map_err(|error| {
            let place = format!("at line {}, column {}", error.line(), error.column());
            invalid(None, format!("a field is missing or has a wrong type {place}"))
        })?;
        if body.contents.is_empty() {
            return Err(invalid(Some("contents"), "`contents` is required: an array of at least one content"));
        }
        let facts = facts::facts(&body, outline.found.preferences()?, addressed);
        Ok(Box::new(GeminiRequest { outline, body, facts }))
    }

    fn is_spoken_by(&self, profile: &Profile) -> bool {
        profile.dialect == Dialect::Gemini
    }

    fn path(&self, profile: &Profile, stream: bool) -> &'static str {
        if stream { profile.paths.chat_stream } else { profile.paths.chat }
    }

    fn read_answer(&self, body: &[u8], _: &Profile) -> Result<AnswerFacts, AnswerError> {
        passing::read_answer(body)
    }

    fn explanation_event(&self, frame: &Frame, model: &str, explanation: &str) -> Option<Bytes> {
        let head = json!({"candidates": [], "modelVersion": model, "responseId": frame.request_id}).to_string();
        let head = head.trim_end_matches('}');
        Some(Bytes::from(format!("data: {head},\"aipipe\":{explanation}}}\r\n\r\n")))
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(&counting::CountTokens)
    }

    fn error(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        Bytes::from(answer::error(error, &request_id.to_string()).to_string())
    }

    fn error_event(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        answer::error_event(error, &request_id.to_string())
    }
}

/// What one pass over a body found; the conversation itself is read from the tree.
#[derive(Debug, Default)]
struct Outline<'a> {
    found: Findings<'a>,
    /// The values of thought signatures in the history.
    signatures: Vec<Range<usize>>,
}

impl<'a> BodyScan<'a> for Outline<'a> {
    fn findings(&mut self) -> &mut Findings<'a> {
        &mut self.found
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, _: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "contents" => Ok(self.history(cursor)?),
            _ => Ok(cursor.pass()?),
        }
    }
}

impl Outline<'_> {
    fn history(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        each(cursor, |cursor| {
            member(cursor, &["parts"], |cursor| {
                each(cursor, |cursor| {
                    member(cursor, &["thoughtSignature", "thought_signature"], |cursor| {
                        let value = cursor.skip()?;
                        self.signatures.push(value);
                        Ok(())
                    })
                })
            })
        })
    }
}

/// Visits each item of an array, and what stands in place of one.
fn each<'a>(cursor: &mut Cursor<'a>, mut visit: impl FnMut(&mut Cursor<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    if cursor.kind()? != Kind::Array {
        return visit(cursor);
    }
    let mut items = cursor.array()?;
    while cursor.element(&mut items)? {
        visit(cursor)?;
    }
    Ok(())
}

/// Visits the members of these names of an object; what is none is passed over.
fn member<'a>(
    cursor: &mut Cursor<'a>,
    names: &[&str],
    mut visit: impl FnMut(&mut Cursor<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if cursor.kind()? != Kind::Object {
        return cursor.pass();
    }
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        let name = key.name.decode();
        if names.contains(&&*name) { visit(cursor)? } else { cursor.pass()? }
    }
    Ok(())
}

struct GeminiRequest<'a> {
    outline: Outline<'a>,
    body: Body,
    facts: Facts,
}

impl ClientRequest for GeminiRequest<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        self.outline.found.prompt_key(hasher, SURFACE)
    }

    fn pass(&self, target: &Target<'_>) -> Prepared {
        let mut edits = Edits::begin(&self.outline.found);
        // The address names it.
        edits.remove("model");
        let own = target.model.address();
        for range in &self.outline.signatures {
            let text = self.outline.found.text();
            let written = text.get(range.start + 1..range.end.saturating_sub(1)).unwrap_or_default();
            let opaque = signature::unwrap(written);
            // Google's own has no origin and goes back as it came.
            if opaque.origin.is_empty() {
                continue;
            }
            let data = if opaque.origin == own { opaque.data.as_str() } else { FOREIGN_SIGNATURE };
            if opaque.origin != own {
                edits.tell("thoughtSignature");
            }
            edits.splice.replace(range.clone(), serde_json::Value::from(data).to_string());
        }
        edits.finish()
    }

    fn decode(&self) -> Result<Decoded, InvalidRequest> {
        request::decode(&self.body, &self.outline.found.members, self.facts.demand.stream)
    }

    fn form(&self, answer: &str) -> Form {
        let mut form = Form::of(&self.facts);
        if form.is_watching() {
            passing::watch(answer, &mut form);
        }
        form
    }

    fn write_answer(&self, answer: &Answer, frame: &Frame) -> Bytes {
        answer::write(answer, frame)
    }

    fn stream_encoder(&self, frame: &Frame) -> Box<dyn StreamEncoder> {
        Box::new(answer::Encoder::new(frame))
    }

    fn passing(&self, _: &Profile) -> Box<dyn StreamReading> {
        Box::new(Passing::new(Form::of(&self.facts)))
    }
}
