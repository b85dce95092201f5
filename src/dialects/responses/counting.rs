//! `POST /v1/responses/input_tokens`: the body is the request without what only an answer needs.

use aipipe_actors::catalogue::Model;
use bytes::Bytes;
use serde::Deserialize;

use crate::dialects::client::Counting;
use crate::providers::Profile;

/// OpenAI's count of tokens.
pub(super) struct InputTokens;

/// Source: <https://platform.openai.com/docs/api-reference/responses/input-tokens>.
#[derive(Debug, Deserialize)]
struct Answer {
    input_tokens: u64,
}

impl Counting for InputTokens {
    fn request<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body
    }

    fn path(&self, profile: &Profile) -> Option<&'static str> {
        profile.paths.count_responses
    }

    fn call(&self, request: Bytes, _: &Model) -> Bytes {
        request
    }

    fn read(&self, answer: &[u8]) -> Option<u64> {
        serde_json::from_slice::<Answer>(answer).ok().map(|answer| answer.input_tokens)
    }

    fn write(&self, tokens: u64) -> Bytes {
        Bytes::from(format!("{{\"object\":\"response.input_tokens\",\"input_tokens\":{tokens}}}"))
    }
}
