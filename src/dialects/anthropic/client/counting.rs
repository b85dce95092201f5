//! `POST /v1/messages/count_tokens`: the body is the request without what only an answer needs.

use aipipe_actors::catalogue::Model;
use bytes::Bytes;
use serde::Deserialize;

use crate::dialects::client::Counting;

/// Anthropic's count of tokens.
pub(super) struct CountTokens;

/// Source: <https://docs.claude.com/en/api/messages-count-tokens>.
#[derive(Debug, Deserialize)]
struct Answer {
    input_tokens: u64,
}

impl Counting for CountTokens {
    fn request<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body
    }

    fn call(&self, request: Bytes, _: &Model) -> Bytes {
        request
    }

    fn read(&self, answer: &[u8]) -> Option<u64> {
        serde_json::from_slice::<Answer>(answer).ok().map(|answer| answer.input_tokens)
    }

    fn write(&self, tokens: u64) -> Bytes {
        Bytes::from(format!("{{\"input_tokens\":{tokens}}}"))
    }
}
