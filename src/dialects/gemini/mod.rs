//! Google's Gemini dialect (`generateContent`) as an upstream: requests out of the canonical form, answers and streams into it.
//!
//! - [`request`] writes the body; `schema` what becomes of a JSON schema where a model takes only Google's subset.
//! - `response` is the shape of what comes back, [`answer`] and [`stream`] make answers and events of it, [`error`] reads refusals.
//! - [`names`] keeps tool names reversible, `generation` tells what a model's generation takes.
//!
//! Nothing that Google runs itself (search, code execution) is ever asked for in a translated request, nor are arguments in pieces, so
//! such parts need no counterpart. Source of the protocol: <https://ai.google.dev/api/generate-content>.

pub mod answer;
pub mod error;
mod generation;
pub mod names;
pub mod request;
mod response;
mod schema;
pub mod stream;

use aipipe_actors::catalogue::Model;

use self::names::ToolNames;
use self::stream::GeminiStream;
use super::conversation::{Answer, Conversation};
use super::translate::{AnswerError, CannotCarry, EncodedRequest, StreamDecoder, UpstreamDialect};

/// The kind of [`Opaque`](super::conversation::Opaque) that Gemini's models make.
const THOUGHT_SIGNATURE: &str = "thought_signature";

/// The Gemini dialect as an upstream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gemini;

impl UpstreamDialect for Gemini {
    /// Refuses tool names that Gemini would refuse: this signature has no place for the names to travel to the answer. Who can carry
    /// them calls [`request::encode`], [`answer::decode`] and [`GeminiStream::new`].
    fn encode_request(&self, conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
        let names = ToolNames::new(conversation);
        match names.first_changed() {
            Some(name) => Err(CannotCarry {
                field: "tools".to_owned(),
                reason: format!("the function name `{name}` does not fit Gemini's rule for names"),
            }),
            None => request::encode(conversation, model, &names),
        }
    }

    fn decode_answer(&self, body: &[u8], origin: &str) -> Result<Answer, AnswerError> {
        answer::decode(body, origin, &ToolNames::default())
    }

    fn stream_decoder(&self, origin: &str) -> Box<dyn StreamDecoder> {
        Box::new(GeminiStream::new(origin, ToolNames::default()))
    }
}
