//! Anthropic's Messages dialect: `POST /v1/messages`.
//!
//! As a client's dialect: [`client`]. As an upstream: `request` writes what a conversation means, `answer` and `stream` read what came of it (both by way of
//! `block` and `usage`), `error` what went wrong. The dialect's ways that shape all of them:
//!
//! * roles alternate; the results of tool calls open the user message that follows them;
//! * `max_tokens` is required;
//! * tokens read from and written to the cache are counted beside the input, not within it;
//! * thoughts are signed, and the signature holds for one model only;
//! * a stream is whole only with `message_stop`.

mod answer;
pub(in crate::dialects) mod block;
pub mod client;
mod error;
mod id;
mod request;
mod stream;
mod usage;

#[cfg(test)]
mod tests;

pub use client::Messages;

use aipipe_actors::catalogue::Model;
use http::StatusCode;

use super::conversation::{Answer, Conversation};
use super::translate::{AnswerError, CannotCarry, EncodedRequest, ProviderError, StreamDecoder, Undo, UpstreamDialect};

/// The Messages dialect as an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Anthropic;

impl UpstreamDialect for Anthropic {
    fn encode_request(&self, conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
        request::encode(conversation, model)
    }

    fn decode_answer(&self, body: &[u8], origin: &str, undo: &Undo) -> Result<Answer, AnswerError> {
        answer::decode(body, origin, undo)
    }

    fn decode_error(&self, status: StatusCode, body: &[u8]) -> ProviderError {
        error::read_error(status, body)
    }

    fn stream_decoder(&self, origin: &str, undo: Undo) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::new(origin, undo))
    }
}
