//! Google's Gemini dialect (`generateContent`) as an upstream: requests out of the canonical form, answers and streams into it.
//!
//! - [`request`] writes the body; `schema` what becomes of a JSON schema where a model takes only Google's subset.
//! - `response` is the shape of what comes back, [`answer`] and [`stream`] make answers and events of it, [`error`] reads refusals.
//! - [`names`] keeps tool names reversible, `generation` tells what a model's generation takes.
//!
//! Nothing that Google runs itself (search, code execution) is ever asked for in a translated request, nor are arguments in pieces, so
//! such parts need no counterpart. Source of the protocol: <https://ai.google.dev/api/generate-content>.

pub mod answer;
mod client;
mod error;
mod generation;
pub mod request;
mod response;
mod schema;
pub mod stream;

pub use self::client::GeminiApi;

use aipipe_actors::catalogue::Model;
use http::StatusCode;

use self::stream::GeminiStream;
use super::conversation::{Answer, Conversation};
use super::translate::{AnswerError, CannotCarry, EncodedRequest, ProviderError, StreamDecoder, Undo, UpstreamDialect};

/// What Google documents in place of the signature of a call that another model made.
/// Source: <https://ai.google.dev/gemini-api/docs/thought-signatures>.
const FOREIGN_SIGNATURE: &str = "skip_thought_signature_validator";
/// The kind of [`Opaque`](super::conversation::Opaque) that Gemini's models make.
const THOUGHT_SIGNATURE: &str = "thought_signature";

/// The Gemini dialect as an upstream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gemini;

impl UpstreamDialect for Gemini {
    fn encode_request(&self, conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
        request::encode(conversation, model)
    }

    fn decode_answer(&self, body: &[u8], origin: &str, undo: &Undo) -> Result<Answer, AnswerError> {
        answer::decode(body, origin, undo)
    }

    fn decode_error(&self, status: StatusCode, body: &[u8]) -> ProviderError {
        error::decode(status, body)
    }

    fn stream_decoder(&self, origin: &str, undo: Undo) -> Box<dyn StreamDecoder> {
        Box::new(GeminiStream::new(origin, undo))
    }
}
