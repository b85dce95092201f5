//! OpenAI's Embeddings as a client's dialect.
//!
//! Vectors are comparable only among those of the same model, so a request names its model and goes only to providers that serve that one
//! and speak this dialect: the body passes through, and so does the answer. Nothing is translated and nothing is streamed.
//!
//! Source of the protocol: <https://platform.openai.com/docs/api-reference/embeddings>.

use std::sync::Arc;

use aipipe_actors::catalogue::Capability;
use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::PromptKey;
use bytes::Bytes;

use super::client::{
    Addressed, AnswerFacts, ClientRequest, ClientSurface, Decoded, Facts, Frame, Onward, Prepared, Price, Seen, Slot,
    StreamReading, Target,
};
use super::conversation::{Answer, Event, Stop};
use super::edits::Edits;
use super::form::Form;
use super::json::{Cursor, Fault, Kind};
use super::openai_chat::{Chat, ChatQuirks, error, usage};
use super::progress::Progress;
use super::scan::{BodyScan, Findings, PromptHasher, boolean, invalid, read};
use super::translate::{AnswerError, ClientError, InvalidRequest, Malformed, StreamEncoder};
use crate::providers::{Dialect, Profile};
use crate::upstream::sse::RawEvent;

/// What a cache key begins with.
const SURFACE: &[&str] = &["embeddings"];
/// What `input` may be.
const INPUTS: &str =
    "a string, an array of strings, an array of token ids, or an array of such arrays; none of them empty";

/// OpenAI's Embeddings.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings;

impl ClientSurface for Embeddings {
    fn scan<'a>(&self, body: &'a [u8], _: &Addressed<'a>) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest> {
        let mut scan = Scan::default();
        read(body, &mut scan)?;
        let facts = scan.facts()?;
        Ok(Box::new(EmbeddingsRequest { found: scan.found, facts }))
    }

    fn is_spoken_by(&self, profile: &Profile) -> bool {
        profile.dialect == Dialect::OpenAi && profile.paths.embeddings.is_some()
    }

    fn path(&self, profile: &Profile, _stream: bool) -> &'static str {
        profile.paths.embeddings.unwrap_or_default()
    }

    fn read_answer(&self, body: &[u8], _: &Profile) -> Result<AnswerFacts, AnswerError> {
        let malformed = |what: String| AnswerError::Malformed(Malformed(what));
        let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8".into()))?;
        let reading =
            Reading::of(text).map_err(|fault| malformed(format!("the answer is not a list of embeddings: {fault}")))?;
        if let Some(error) = reading.error {
            return Err(AnswerError::Provider(error::within_answer(error)));
        }
        if !reading.has_data {
            return Err(malformed("the answer has no embeddings".into()));
        }
        Ok(reading.facts)
    }

    fn explanation_event(&self, _: &Frame, _model: &str, _explanation: &str) -> Option<Bytes> {
        None
    }

    fn error(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        Chat.error(error, request_id)
    }

    fn error_event(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes {
        Chat.error_event(error, request_id)
    }
}

/// What one pass over a body found.
#[derive(Default)]
struct Scan<'a> {
    found: Findings<'a>,
    /// Ids of tokens to embed: each is one.
    token_ids: u64,
    has_input: bool,
}

impl<'a> BodyScan<'a> for Scan<'a> {
    fn findings(&mut self) -> &mut Findings<'a> {
        &mut self.found
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "input" => self.inputs(cursor, kind)?,
            "stream" => {
                if boolean(cursor, kind, "stream")? {
                    return Err(invalid(Some("stream"), "embeddings are not streamed"));
                }
            }
            _ => cursor.pass()?,
        }
        Ok(())
    }
}

impl<'a> Scan<'a> {
    fn inputs(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Array {
            self.has_input = true;
            return self.input(cursor, kind);
        }
        let mut items = cursor.array()?;
        while cursor.element(&mut items)? {
            self.has_input = true;
            match cursor.kind()? {
                Kind::Array => self.tokens(cursor)?,
                Kind::Number => self.token(cursor)?,
                kind => self.input(cursor, kind)?,
            }
        }
        Ok(())
    }

    fn input(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::String {
            return Err(wrong_input());
        }
        self.found.estimate.text(cursor.string()?.raw());
        Ok(())
    }

    fn tokens(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut items = cursor.array()?;
        while cursor.element(&mut items)? {
            if cursor.kind()? != Kind::Number {
                return Err(wrong_input());
            }
            self.token(cursor)?;
        }
        Ok(())
    }

    fn token(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        cursor.number()?;
        self.token_ids += 1;
        Ok(())
    }

    fn facts(&mut self) -> Result<Facts, InvalidRequest> {
        self.found.require_model()?;
        if !self.has_input {
            return Err(wrong_input());
        }
        self.found.need(Capability::Embeddings);
        self.found.output_limit = Some(0);
        let mut facts = self.found.facts(None, 1)?;
        let demand = Arc::make_mut(&mut facts.demand);
        demand.input_tokens = demand.input_tokens.saturating_add(self.token_ids);
        demand.input_bound = demand.input_bound.saturating_add(self.token_ids);
        Ok(facts)
    }
}

fn wrong_input() -> InvalidRequest {
    invalid(Some("input"), format!("`input` must be {INPUTS}"))
}

struct EmbeddingsRequest<'a> {
    found: Findings<'a>,
    facts: Facts,
}

impl ClientRequest for EmbeddingsRequest<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        self.found.prompt_key(hasher, SURFACE)
    }

    fn pass(&self, target: &Target<'_>) -> Prepared {
        Edits::with_model(&self.found, target.model).finish()
    }

    /// Always an error: no provider of another dialect is sent a translation.
    fn decode(&self) -> Result<Decoded, InvalidRequest> {
        let message = format!(
            "AiPipe passes embeddings on only where the provider takes them in OpenAI's shape; {:?} is served by one that does not",
            self.facts.model
        );
        Err(invalid(Some("model"), message))
    }

    /// Nothing: only what was decoded is answered so.
    fn write_answer(&self, _: &Answer, _: &Frame) -> Bytes {
        Bytes::new()
    }

    fn stream_encoder(&self, _: &Frame) -> Box<dyn StreamEncoder> {
        Box::new(NoStream::default())
    }

    fn form(&self, _: &str) -> Form {
        Form::default()
    }

    fn passing(&self, _: &Profile) -> Box<dyn StreamReading> {
        Box::new(NoStream::default())
    }
}

/// Stands where other dialects have a stream: an event that comes nevertheless is the provider's mistake.
#[derive(Default)]
struct NoStream(Form);

fn unexpected() -> Malformed {
    Malformed("embeddings are not streamed".into())
}

impl StreamReading for NoStream {
    fn event(&mut self, _: RawEvent, _: Price<'_>, _: &mut Vec<Bytes>) -> Seen {
        Seen { course: Onward::Malformed(unexpected()), ..Seen::default() }
    }

    fn close(&mut self, _: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed> {
        Err(unexpected())
    }

    fn finish(&mut self, _: Price<'_>, _: &mut Vec<Bytes>) {}

    fn form(&self) -> &Form {
        &self.0
    }
}

impl StreamEncoder for NoStream {
    fn event(&mut self, _: &Event, _: &mut Vec<u8>) {}

    fn finish(&mut self, _cost_usd: Option<&str>, _: &mut Vec<u8>) {}

    fn error(&mut self, _: &ClientError<'_>, _: &mut Vec<u8>) {}

    fn follow(&mut self, _: &str, progress: &mut Progress) {
        progress.close();
    }

    fn tell(&mut self, _aipipe: String) {}

    fn copy(&self) -> Box<dyn StreamEncoder> {
        Box::new(Self::default())
    }
}

/// What an answer says. The vectors themselves are passed over.
struct Reading<'a> {
    facts: AnswerFacts,
    has_data: bool,
    /// The member `error` where it is not null.
    error: Option<&'a str>,
}

impl<'a> Reading<'a> {
    fn of(text: &'a str) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(text);
        let (mut has_members, mut has_data, mut error) = (false, false, None);
        let (mut figures, mut cost_slot) = (None, None);
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            has_members = true;
            match (key.name.raw(), cursor.kind()?) {
                ("data", Kind::Array) => {
                    let mut items = cursor.array()?;
                    while cursor.element(&mut items)? {
                        has_data = true;
                        cursor.pass()?;
                    }
                }
                ("usage", Kind::Object) => {
                    let (read, slot) = usage::read(&mut cursor, ChatQuirks::default())?;
                    (figures, cost_slot) = (read, Some(slot));
                }
                ("error", kind) if kind != Kind::Null => {
                    let value = cursor.skip()?;
                    error = Some(cursor.slice(value));
                }
                _ => cursor.pass()?,
            }
        }
        let explanation_slot = Slot::End { at: cursor.position() - 1, has_members };
        cursor.end()?;
        let facts = AnswerFacts {
            issued: Vec::new(),
            usage: figures,
            stop: Stop::End,
            is_whole: true,
            content_bytes: 0,
            cost_slot,
            explanation_slot,
        };
        Ok(Self { facts, has_data, error })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn scanned(body: &str) -> Result<Facts, InvalidRequest> {
        Ok(Embeddings.scan(body.as_bytes(), &Addressed::default())?.facts().clone())
    }

    #[test]
    fn every_form_of_input_is_counted() {
        for (input, least, bound) in [
            (r#""rain in Bergen""#, 1, 14),
            (r#"["rain", "snow"]"#, 2, 8),
            ("[1, 2, 3]", 3, 3),
            ("[[1, 2], [3], [4, 5]]", 5, 5),
        ] {
            let facts = scanned(&format!(r#"{{"model":"m","input":{input},"dimensions":8}}"#)).unwrap();
            assert!(
                facts.demand.input_tokens >= least && facts.demand.input_tokens <= bound,
                "{input}: {}",
                facts.demand.input_tokens
            );
            assert_eq!((facts.demand.input_bound, facts.demand.output_limit), (bound, Some(0)), "{input}");
            assert!(facts.demand.needs.contains(Capability::Embeddings));
        }
    }

    #[test]
    fn what_cannot_be_counted_names_the_field() {
        for (body, param) in [
            (r#"{"model":"m"}"#, "input"),
            (r#"{"model":"m","input":[]}"#, "input"),
            (r#"{"model":"m","input":[{"text":"a"}]}"#, "input"),
            (r#"{"model":"m","input":[["a"]]}"#, "input"),
            (r#"{"model":"m","input":7}"#, "input"),
            (r#"{"input":"a"}"#, "model"),
            (r#"{"model":"m","input":"a","stream":true}"#, "stream"),
            (r#"{"model":"m","input":"a","input":"b"}"#, "input"),
        ] {
            assert_eq!(scanned(body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn an_answer_without_vectors_is_none() {
        let read = |text: &str| Embeddings.read_answer(text.as_bytes(), &Profile::OPENAI);
        assert!(matches!(read(r#"{"data":[]}"#), Err(AnswerError::Malformed(_))));
        assert!(matches!(read(r#"{"error":{"message":"no"}}"#), Err(AnswerError::Provider(_))));
        let whole = read(r#"{"data":[{"embedding":"AAA="}],"usage":{"prompt_tokens":4,"total_tokens":4}}"#).unwrap();
        assert_eq!(whole.usage.unwrap().tokens.input, 4);
    }
}
