//! Chat Completions as an upstream's dialect, for clients that speak another.

use aipipe_actors::catalogue::Model;
use http::StatusCode;

use super::read_error;
use crate::dialects::conversation::{Answer, Conversation};
use crate::dialects::translate::{
    AnswerError, CannotCarry, EncodedRequest, Malformed, ProviderError, StreamDecoder, Undo, UpstreamDialect,
};
use crate::providers::Profile;

/// A provider of this dialect.
#[derive(Debug, Clone, Copy)]
pub struct ChatUpstream {
    #[expect(dead_code, reason = "read when requests are written")]
    profile: Profile,
}

impl ChatUpstream {
    /// A provider with this profile.
    pub fn new(profile: Profile) -> Self {
        Self { profile }
    }
}

impl UpstreamDialect for ChatUpstream {
    fn encode_request(&self, _: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
        let reason = format!("{} speaks Chat Completions, which nothing is translated to yet", model.provider);
        Err(CannotCarry { field: "model".to_owned(), reason })
    }

    fn decode_answer(&self, _: &[u8], _: &str, _: &Undo) -> Result<Answer, AnswerError> {
        Err(AnswerError::Malformed(Malformed("nothing was asked in this dialect".to_owned())))
    }

    fn decode_error(&self, status: StatusCode, body: &[u8]) -> ProviderError {
        read_error(status, body)
    }

    fn stream_decoder(&self, _: &str, _: Undo) -> Box<dyn StreamDecoder> {
        Box::new(Unasked)
    }
}

struct Unasked;

impl StreamDecoder for Unasked {
    fn event(
        &mut self,
        _: &str,
        _: &str,
        _: &mut Vec<crate::dialects::conversation::Event>,
    ) -> Result<crate::dialects::translate::Step, Malformed> {
        self.close(&mut Vec::new()).map(|()| crate::dialects::translate::Step::End)
    }

    fn close(&mut self, _: &mut Vec<crate::dialects::conversation::Event>) -> Result<(), Malformed> {
        Err(Malformed("nothing was asked in this dialect".to_owned()))
    }
}
