//! What clients and providers say, and what it means.
//!
//! [`conversation`] is the canonical form in the middle. A folder each holds a dialect: how its requests, answers, streams and errors
//! read and write. Where client and provider speak the same dialect nothing is translated: the body is scanned once ([`scan`]) and
//! what must change is spliced into the original bytes (`edits`, [`splice`]).

pub mod anthropic;
mod carry;
pub mod client;
pub mod conversation;
mod custom_tools;
pub mod decimal;
mod edits;
pub mod embeddings;
pub mod form;
mod function_names;
pub mod gemini;
pub mod issued;
pub mod json;
mod mark;
pub mod openai_chat;
pub mod progress;
pub mod responses;
pub mod scan;
pub mod scrub;
pub mod splice;
pub mod surrogates;
pub mod translate;

use aipipe_actors::routing::digest::ClientDialect;

use client::ClientSurface;
use translate::UpstreamDialect;

use crate::providers::{Dialect, Profile};

/// The surface of a client's dialect.
pub fn surface(dialect: ClientDialect) -> &'static dyn ClientSurface {
    match dialect {
        ClientDialect::Chat => &openai_chat::Chat,
        ClientDialect::Embeddings => &embeddings::Embeddings,
        ClientDialect::Gemini => &gemini::GeminiApi,
        ClientDialect::Messages => &anthropic::Messages,
        ClientDialect::Responses => &responses::Responses,
    }
}

/// What reads answers that are written in a client's dialect; `None` for embeddings, which say nothing, and Responses, which no provider
/// is translated from.
pub fn reader(dialect: ClientDialect) -> Option<Box<dyn UpstreamDialect>> {
    match dialect {
        ClientDialect::Chat => Some(Box::new(openai_chat::ChatUpstream::new(Profile::OPENAI))),
        ClientDialect::Gemini => Some(Box::new(gemini::Gemini)),
        ClientDialect::Messages => Some(Box::new(anthropic::Anthropic)),
        ClientDialect::Embeddings | ClientDialect::Responses => None,
    }
}

/// What a provider of this profile speaks.
pub fn upstream(profile: &Profile) -> Box<dyn UpstreamDialect> {
    match profile.dialect {
        Dialect::OpenAi => Box::new(openai_chat::ChatUpstream::new(*profile)),
        Dialect::Anthropic => Box::new(anthropic::Anthropic),
        Dialect::Gemini => Box::new(gemini::Gemini),
    }
}
