//! What there is to know about a provider before speaking to it.

/// Which API a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI Chat Completions, and Responses where [`Paths::responses`] is given.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
}

impl Dialect {
    /// All of them, in the order in which they are named to people.
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    /// The name used in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// Where the models are listed, below a base URL.
    pub fn models_path(self) -> &'static str {
        match self {
            Self::OpenAi => "/models",
            Self::Anthropic => "/v1/models",
            Self::Gemini => "/v1beta/models",
        }
    }
}

/// How a key is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer <key>`.
    Bearer,
    /// `x-api-key: <key>`, with the version of the API that goes along as `anthropic-version`.
    XApiKey {
        /// Value of `anthropic-version`.
        version: &'static str,
    },
    /// `x-goog-api-key: <key>`.
    XGoogApiKey,
}

/// What is appended to a provider's base URL. `{model}` stands for the model's id, percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// Chat.
    pub chat: &'static str,
    /// Chat, streamed; the same as `chat` where the body says so.
    pub chat_stream: &'static str,
    /// OpenAI Responses, where the provider has them.
    pub responses: Option<&'static str>,
    /// Embeddings, where the provider has them in its dialect's shape.
    pub embeddings: Option<&'static str>,
    /// Counts the tokens of a request without answering it.
    pub count_tokens: Option<&'static str>,
    /// The same of a Responses request.
    pub count_responses: Option<&'static str>,
}

/// When a streamed answer carries usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamUsage {
    /// Whether asked or not.
    Always,
    /// Only with `stream_options: {"include_usage": true}`.
    OnRequest,
}

/// Where a level of reasoning effort stands in the request of a provider of the OpenAI dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffortField {
    /// `reasoning_effort: "low"`.
    ReasoningEffort,
    /// `reasoning: {"effort": "low"}` (OpenRouter).
    ReasoningObject,
}

/// The words of `thinking: {"type": …}` at providers that switch reasoning on and off. They hold for models whose catalogue entry knows
/// the effort `none` and one other level; models with more levels take the [`EffortField`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThinkingSwitch {
    /// Reasoning on.
    pub on: &'static str,
    /// Reasoning off.
    pub off: &'static str,
}

/// The temperatures that a provider takes, from 0 up to `max`; a translated request is clamped to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// The highest.
    pub max: f64,
    /// The lowest: 0, or what stands for it where 0 is refused.
    pub min: f64,
}

/// How to speak to a provider. The defaults of a dialect are [`Profile::of`]; a provider's row says where it differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// The API that it speaks.
    pub dialect: Dialect,
    /// How it wants its key.
    pub auth: Auth,
    /// Where its endpoints are below the base URL.
    pub paths: Paths,
    /// Headers sent with every request beside the key; they name AiPipe, never a tenant.
    pub headers: &'static [(&'static str, &'static str)],
    /// The answer's header that names the request at the provider, for the log.
    pub request_id_header: &'static str,
    /// Chat Completions parameters that no model of this provider honours: merged into each model's own refusals when the catalogue is
    /// built. Hints (`user`, `metadata`, …) are not among them: each dialect leaves those out by itself.
    pub refuses: &'static [&'static str],
    /// The temperatures that it takes.
    pub temperature: Temperature,
    /// The longest list of stop sequences; `None`: no known limit.
    pub max_stop_sequences: Option<usize>,
    /// Takes messages of the role `developer`; elsewhere they are sent as `system`.
    pub developer_role: bool,
    /// Takes `strict` in tool definitions; elsewhere it is left out.
    pub strict_tools: bool,
    /// Takes schemas in Moonshot's flavour of JSON schema only; a translated request's are rewritten.
    pub moonshot_schemas: bool,
    /// Where a level of effort stands.
    pub effort: EffortField,
    /// How reasoning is switched for models that only know on and off.
    pub thinking_switch: Option<ThinkingSwitch>,
    /// A forced tool is refused while the model thinks: thinking is switched off for such a request (Kimi K2).
    pub thinking_excludes_forced_tool: bool,
    /// Sends `reasoning_split: true`, without which the thoughts stand in the text between `<think>` tags.
    pub reasoning_split: bool,
    /// When a stream carries usage.
    pub stream_usage: StreamUsage,
    /// A stream's usage may stand in the last choice instead of beside the choices.
    pub usage_in_choice: bool,
    /// `completion_tokens` leaves the reasoning tokens out, which are billed beside them.
    pub completion_excludes_reasoning: bool,
    /// Answers 400 where others answer 401: whether the key is at fault stands in the text.
    pub wrong_key_is_400: bool,
    /// What to tell an operator whose key is refused, where keys belong to one region.
    pub key_region: Option<&'static str>,
}

/// Parameters without a counterpart in Anthropic Messages.
const ANTHROPIC_REFUSES: &[&str] =
    &["audio", "frequency_penalty", "logit_bias", "logprobs", "modalities", "n", "presence_penalty", "top_logprobs"];

/// Parameters without a counterpart in Gemini's `generationConfig`.
const GEMINI_REFUSES: &[&str] = &["audio", "logit_bias", "modalities"];

impl Profile {
    /// Defaults for a server of the OpenAI dialect: what the many compatible servers have in common.
    pub const OPENAI: Self = Self {
        dialect: Dialect::OpenAi,
        auth: Auth::Bearer,
        paths: Paths {
            chat: "/chat/completions",
            chat_stream: "/chat/completions",
            responses: None,
            embeddings: Some("/embeddings"),
            count_tokens: None,
            count_responses: None,
        },
        headers: &[],
        request_id_header: "x-request-id",
        refuses: &[],
        temperature: Temperature { min: 0.0, max: 2.0 },
        max_stop_sequences: Some(4),
        developer_role: false,
        strict_tools: true,
        moonshot_schemas: false,
        effort: EffortField::ReasoningEffort,
        thinking_switch: None,
        thinking_excludes_forced_tool: false,
        reasoning_split: false,
        stream_usage: StreamUsage::OnRequest,
        usage_in_choice: false,
        completion_excludes_reasoning: false,
        wrong_key_is_400: false,
        key_region: None,
    };

    /// Defaults for a server of Anthropic's dialect.
    pub const ANTHROPIC: Self = Self {
        dialect: Dialect::Anthropic,
        auth: Auth::XApiKey { version: "2023-06-01" },
        paths: Paths {
            chat: "/v1/messages",
            chat_stream: "/v1/messages",
            responses: None,
            embeddings: None,
            count_tokens: Some("/v1/messages/count_tokens"),
            count_responses: None,
        },
        request_id_header: "request-id",
        refuses: ANTHROPIC_REFUSES,
        temperature: Temperature { min: 0.0, max: 1.0 },
        max_stop_sequences: None,
        stream_usage: StreamUsage::Always,
        ..Self::OPENAI
    };

    /// Defaults for a server of Gemini's dialect.
    pub const GEMINI: Self = Self {
        dialect: Dialect::Gemini,
        auth: Auth::XGoogApiKey,
        paths: Paths {
            chat: "/v1beta/models/{model}:generateContent",
            chat_stream: "/v1beta/models/{model}:streamGenerateContent?alt=sse",
            responses: None,
            embeddings: Some("/v1beta/models/{model}:batchEmbedContents"),
            count_tokens: Some("/v1beta/models/{model}:countTokens"),
            count_responses: None,
        },
        refuses: GEMINI_REFUSES,
        max_stop_sequences: Some(5),
        strict_tools: false,
        stream_usage: StreamUsage::Always,
        wrong_key_is_400: true,
        ..Self::OPENAI
    };

    /// The defaults of a dialect, for a provider declared in configuration.
    pub const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi => Self::OPENAI,
            Dialect::Anthropic => Self::ANTHROPIC,
            Dialect::Gemini => Self::GEMINI,
        }
    }
}
