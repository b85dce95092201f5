//! All that the tenant actor is told of a request. The prompt stays with the request's task.

use std::sync::Arc;

use crate::catalogue::{Capabilities, Effort};
use crate::identity::RequestId;
use crate::routing::conversation::Turn;
use crate::routing::preferences::{Preferences, Quality};
use crate::routing::signals::Features;

/// The client's dialect: decides the shape of answers and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientDialect {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Embeddings.
    Embeddings,
    /// Google's `generateContent`.
    Gemini,
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
}

impl ClientDialect {
    /// The name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Gemini => "gemini",
            Self::Messages => "messages",
            Self::Responses => "responses",
        }
    }
}

/// Identifies what a request asks for, whoever is chosen to answer: equal keys mean answers that can stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptKey(pub u128);

/// Which model the client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// AiPipe chooses.
    Auto,
    /// This model by whichever provider, or by the named one.
    Named {
        /// The provider, where the client named one.
        provider: Option<String>,
        /// The model.
        model: String,
    },
}

/// What a request demands of the model that answers it.
#[derive(Debug, Clone)]
pub struct Demand {
    /// Raw features of the five signals.
    pub features: Features,
    /// What the model must be able to do.
    pub needs: Capabilities,
    /// Parameters in use, by their Chat Completions names, with a value that changes what the client gets and that some model or dialect
    /// refuses: a model that refuses one of them is no candidate.
    pub parameters: Vec<&'static str>,
    /// Reasoning asked for.
    pub effort: Option<Effort>,
    /// Estimated input in o200k tokens.
    pub input_tokens: u64,
    /// A number of input tokens that no tokenizer exceeds.
    pub input_bound: u64,
    /// The most output tokens that the client allows.
    pub output_limit: Option<u64>,
    /// Choices asked for.
    pub choices: u32,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// What a request is, as far as choosing and accounting need to know.
#[derive(Debug, Clone)]
pub struct Digest {
    /// Which request.
    pub request_id: RequestId,
    /// The client's dialect.
    pub dialect: ClientDialect,
    /// The model asked for.
    pub requested: Requested,
    /// The model asked for, as the client wrote it.
    pub requested_text: String,
    /// How good the answer should be, where the client said so together with `auto`; else the tenant's setting counts.
    pub quality: Option<Quality>,
    /// Where in its conversation it stands.
    pub turn: Turn,
    /// What the client said beside the request.
    pub preferences: Preferences,
    /// What it demands of a model.
    pub demand: Arc<Demand>,
    /// What the answer can be cached under; `None`: neither read nor kept.
    pub cache_key: Option<PromptKey>,
}
