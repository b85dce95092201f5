//! The seven providers, and a value for each of them.

use std::fmt;

/// A provider that the simulator plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// api.openai.com: Chat Completions and embeddings.
    OpenAi,
    /// api.anthropic.com: Messages and token counts.
    Anthropic,
    /// api.x.ai: Chat Completions with reasoning counted apart.
    Xai,
    /// openrouter.ai: Chat Completions of many hosts, with comments and cost.
    OpenRouter,
    /// api.minimax.io: Chat Completions with `base_resp`.
    MiniMax,
    /// api.moonshot.ai: Chat Completions with usage inside the choice.
    Moonshot,
    /// generativelanguage.googleapis.com: generateContent.
    Gemini,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::OpenAi, Self::Anthropic, Self::Xai, Self::OpenRouter, Self::MiniMax, Self::Moonshot, Self::Gemini];

    /// The provider's name in configuration and interfaces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Xai => "xai",
            Self::OpenRouter => "openrouter",
            Self::MiniMax => "minimax",
            Self::Moonshot => "moonshot",
            Self::Gemini => "gemini",
        }
    }

    /// The path that belongs to the base URL which the provider's documentation gives SDK users.
    pub(crate) fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Xai | Self::MiniMax | Self::Moonshot => "/v1",
            Self::OpenRouter => "/api/v1",
            Self::Anthropic | Self::Gemini => "",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each provider.
#[derive(Debug, Default)]
pub(crate) struct PerProvider<T>([T; 7]);

impl<T> PerProvider<T> {
    /// From as many values as there are providers, in the order of [`Provider::ALL`].
    pub(crate) fn from_all(values: Vec<T>) -> Option<Self> {
        values.try_into().ok().map(Self)
    }

    pub(crate) fn get(&self, provider: Provider) -> &T {
        let [openai, anthropic, xai, openrouter, minimax, moonshot, gemini] = &self.0;
        match provider {
            Provider::OpenAi => openai,
            Provider::Anthropic => anthropic,
            Provider::Xai => xai,
            Provider::OpenRouter => openrouter,
            Provider::MiniMax => minimax,
            Provider::Moonshot => moonshot,
            Provider::Gemini => gemini,
        }
    }
}
