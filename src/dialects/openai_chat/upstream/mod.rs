//! Chat Completions as an upstream's dialect, for clients that speak another.
//!
//! [`request`] writes the body, [`message`] reads what a message or a delta says, [`answer`] and [`stream`] make the canonical answer of
//! it, with the calls of a stream put together in [`calls`].
//! What single providers do differently is their [`Profile`]'s affair.

mod answer;
mod calls;
mod message;
mod request;
mod stream;
#[cfg(test)]
mod tests;

use aipipe_actors::catalogue::Model;
use http::StatusCode;

use super::{ChatQuirks, read_error};
use crate::dialects::conversation::{Answer, Conversation};
use crate::dialects::translate::{
    AnswerError, CannotCarry, EncodedRequest, ProviderError, StreamDecoder, Undo, UpstreamDialect,
};
use crate::providers::Profile;

/// A provider of this dialect.
#[derive(Debug, Clone, Copy)]
pub struct ChatUpstream {
    profile: Profile,
}

impl ChatUpstream {
    /// A provider with this profile.
    pub fn new(profile: Profile) -> Self {
        Self { profile }
    }
}

impl UpstreamDialect for ChatUpstream {
    fn encode_request(&self, conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
        request::encode(conversation, model, &self.profile)
    }

    fn decode_answer(&self, body: &[u8], origin: &str, undo: &Undo) -> Result<Answer, AnswerError> {
        answer::decode(body, &Reader::new(&self.profile, origin), undo)
    }

    fn decode_error(&self, status: StatusCode, body: &[u8]) -> ProviderError {
        read_error(status, body)
    }

    fn stream_decoder(&self, origin: &str, undo: Undo) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::new(Reader::new(&self.profile, origin), undo))
    }
}

/// Whose answer is read.
#[derive(Debug, Clone)]
struct Reader {
    quirks: ChatQuirks,
    /// `provider/model`.
    origin: String,
    /// Whether the provider wants its thoughts back although it does not sign them (MiniMax, Kimi).
    wants_thoughts_back: bool,
}

impl Reader {
    fn new(profile: &Profile, origin: &str) -> Self {
        Self {
            quirks: ChatQuirks {
                completion_excludes_reasoning: profile.completion_excludes_reasoning,
                usage_in_choice: profile.usage_in_choice,
            },
            origin: origin.to_owned(),
            wants_thoughts_back: profile.thinking_switch.is_some(),
        }
    }

    /// The model that was asked: what an answer that names none came from.
    fn model(&self) -> &str {
        self.origin.split_once('/').map_or(&*self.origin, |(_, model)| model)
    }
}
