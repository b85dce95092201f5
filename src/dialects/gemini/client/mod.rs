//! Gemini's `generateContent` as a client's dialect: what the google-genai SDKs speak.
//!
//! The model and whether the answer is streamed stand in the address. Streams come as server-sent events; the JSON array that the API
//! gives without `alt=sse` is made of them at the edge. A stream has no end of its own but the close of the connection.

mod answer;
mod facts;
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
    Addressed, AnswerFacts, ClientRequest, ClientSurface, Decoded, Facts, Frame, Prepared, StreamReading, Target,
};
use crate::dialects::conversation::Answer;
use crate::dialects::json::{Cursor, Fault, Kind};
use crate::dialects::scan::{PromptHasher, preferences};
use crate::dialects::splice::{Cutter, Splice};
use crate::dialects::translate::{AnswerError, ClientError, InvalidRequest, StreamEncoder};
use crate::providers::{Dialect, Profile};

/// Gemini's API.
#[derive(Debug, Clone, Copy)]
pub struct GeminiApi;

impl ClientSurface for GeminiApi {
    fn scan<'a>(
        &self,
        body: &'a [u8],
        addressed: &Addressed<'a>,
    ) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest> {
        let text = std::str::from_utf8(body)
            .map_err(|error| invalid(None, format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
        let outline = Outline::find(text).map_err(|fault| invalid(None, format!("the body is not JSON: {fault}")))?;
        // serde's own message may quote the prompt.
        let read: Body = serde_json::from_str(text).map_err(|error| {
            let place = format!("at line {}, column {}", error.line(), error.column());
            invalid(None, format!("a field is missing or has a wrong type {place}"))
        })?;
        if read.contents.is_empty() {
            return Err(invalid(Some("contents"), "`contents` is required: an array of at least one content"));
        }
        let wishes = outline.wishes.as_ref().and_then(|range| text.get(range.clone()));
        let wishes = wishes.map(preferences).transpose()?.unwrap_or_default();
        let facts = facts::facts(&read, wishes, addressed);
        Ok(Box::new(GeminiRequest { text, outline, body: read, facts }))
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

    fn error(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        Bytes::from(answer::error(error, &request_id.to_string()).to_string())
    }

    fn error_event(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        answer::error_event(error, &request_id.to_string())
    }
}

fn invalid(param: Option<&str>, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest { param: param.map(str::to_owned), message: message.into() }
}

/// The members of a body, and where AiPipe's own stands.
#[derive(Debug, Default)]
struct Outline {
    names: Vec<String>,
    wishes: Option<Range<usize>>,
    /// The bytes to cut out before the body goes on.
    cuts: Vec<Range<usize>>,
    /// The values of thought signatures in the history.
    signatures: Vec<Range<usize>>,
}

impl Outline {
    fn find(text: &str) -> Result<Self, Fault> {
        let mut outline = Self::default();
        let mut cutter = Cutter::default();
        let mut cursor = Cursor::new(text);
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            cutter.key(key.start);
            let kind = cursor.kind()?;
            let name = key.name.decode().into_owned();
            let value = if name == "contents" && kind == Kind::Array {
                let start = cursor.position();
                outline.history(&mut cursor)?;
                start..cursor.position()
            } else {
                cursor.skip()?
            };
            if name == "aipipe" {
                cutter.cut(value.end);
                outline.wishes = (kind != Kind::Null).then_some(value);
            } else {
                cutter.keep(value.end);
            }
            outline.names.push(name);
        }
        cursor.end()?;
        outline.cuts = cutter.close();
        Ok(outline)
    }

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

/// Visits each item of an array; what is none is passed over.
fn each<'a>(cursor: &mut Cursor<'a>, mut visit: impl FnMut(&mut Cursor<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    if cursor.kind()? != Kind::Array {
        return cursor.pass();
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
    text: &'a str,
    outline: Outline,
    body: Body,
    facts: Facts,
}

impl ClientRequest for GeminiRequest<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        hasher.key_of(&["gemini"], &self.cut().finish())
    }

    fn pass(&self, target: &Target<'_>) -> Prepared {
        let mut splice = self.cut();
        let mut dropped = Vec::new();
        let own = format!("{}/{}", target.model.provider, target.model.id);
        for range in &self.outline.signatures {
            let written = self.text.get(range.start + 1..range.end.saturating_sub(1)).unwrap_or_default();
            let opaque = signature::unwrap(written);
            // Google's own has no origin and goes back as it came.
            if opaque.origin.is_empty() {
                continue;
            }
            let data = if opaque.origin == own { opaque.data.as_str() } else { FOREIGN_SIGNATURE };
            if opaque.origin != own && dropped.is_empty() {
                dropped.push("thoughtSignature".to_owned());
            }
            splice.replace(range.clone(), serde_json::Value::from(data).to_string());
        }
        Prepared { body: splice.finish(), dropped }
    }

    fn decode(&self) -> Result<Decoded, InvalidRequest> {
        request::decode(&self.body, &self.outline.names, self.facts.stream)
    }

    fn write_answer(&self, answer: &Answer, frame: &Frame) -> Bytes {
        answer::write(answer, frame)
    }

    fn stream_encoder(&self, frame: &Frame) -> Box<dyn StreamEncoder> {
        Box::new(answer::Encoder::new(*frame))
    }

    fn passing(&self, _: &Profile) -> Box<dyn StreamReading> {
        Box::new(Passing::new())
    }
}

impl GeminiRequest<'_> {
    /// The body without AiPipe's own.
    fn cut(&self) -> Splice<'_> {
        let mut splice = Splice::new(self.text);
        for range in &self.outline.cuts {
            splice.remove(range.clone());
        }
        splice
    }
}
