//! How the five OpenAI-compatible providers differ on the wire: a table, so that the writer has one flow.

use serde_json::{Map, Value, json};

use super::json::Json;
use super::provider::Provider;
use super::usage::{Price, Usage};

/// Where a stream tells its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamUsage {
    /// In a chunk of its own without choices, if `stream_options.include_usage` asks for it (OpenAI, xAI).
    OwnChunkIfAsked,
    /// In a chunk of its own without choices, always (MiniMax).
    OwnChunk,
    /// In a repetition of the finish chunk, with its choice, always (OpenRouter).
    SecondFinish,
    /// Inside the choice of the finish chunk; newer models add a chunk of its own if asked (Moonshot).
    InsideChoice,
}

/// How reasoning is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Only counted (OpenAI).
    Hidden,
    /// `reasoning_content` (xAI, Moonshot).
    ReasoningContent,
    /// `reasoning` and `reasoning_details` (OpenRouter).
    Details,
    /// `<think>` in the content, or `reasoning_content` with `reasoning_details` where the request splits them (MiniMax).
    ThinkTags,
    Split,
}

/// How a stream shows a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallDeltas {
    /// Name first, then the arguments in pieces.
    Pieces,
    /// All of it in one delta (xAI).
    OnePiece,
}

/// The wire of one provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quirks {
    pub(crate) provider: Provider,
    pub(crate) stream_usage: StreamUsage,
    pub(crate) reasoning: Shown,
    pub(crate) calls: CallDeltas,
    /// A first chunk with the role and no content.
    pub(crate) opens_with_role: bool,
    /// What each delta carries beside what it is for.
    pub(crate) in_every_delta: &'static [(&'static str, &'static str)],
    /// The last content and the finish reason share a chunk (MiniMax).
    pub(crate) finishes_with_content: bool,
    /// `data: [DONE]` ends the stream. MiniMax's recorded stream has none.
    pub(crate) ends_with_done: bool,
}

impl Quirks {
    pub(crate) fn of(provider: Provider, body: &Value) -> Self {
        let openai = Self {
            provider,
            stream_usage: StreamUsage::OwnChunkIfAsked,
            reasoning: Shown::Hidden,
            calls: CallDeltas::Pieces,
            opens_with_role: true,
            in_every_delta: &[],
            finishes_with_content: false,
            ends_with_done: true,
        };
        match provider {
            Provider::Xai => Self {
                reasoning: Shown::ReasoningContent,
                calls: CallDeltas::OnePiece,
                opens_with_role: false,
                ..openai
            },
            Provider::OpenRouter => Self {
                stream_usage: StreamUsage::SecondFinish,
                reasoning: Shown::Details,
                opens_with_role: false,
                in_every_delta: &[("role", "assistant")],
                ..openai
            },
            Provider::MiniMax => Self {
                stream_usage: StreamUsage::OwnChunk,
                reasoning: if body["reasoning_split"] == true { Shown::Split } else { Shown::ThinkTags },
                opens_with_role: false,
                in_every_delta: &[("role", "assistant"), ("name", "MiniMax AI"), ("audio_content", "")],
                finishes_with_content: true,
                ends_with_done: false,
                ..openai
            },
            Provider::Moonshot => {
                Self { stream_usage: StreamUsage::InsideChoice, reasoning: Shown::ReasoningContent, ..openai }
            }
            Provider::OpenAi | Provider::Anthropic | Provider::Gemini => openai,
        }
    }

    /// The finish reason in the words of the host behind OpenRouter.
    pub(crate) fn native_finish(model: &str, finish: &str) -> String {
        let native = match (model.split('/').next().unwrap_or_default(), finish) {
            ("anthropic", "tool_calls") => "tool_use",
            ("anthropic", "length") => "max_tokens",
            ("google", "stop" | "tool_calls") => "STOP",
            ("google", "length") => "MAX_TOKENS",
            ("x-ai", "stop" | "tool_calls") => "completed",
            _ => finish,
        };
        native.to_owned()
    }

    /// The cost that the provider claims, in ticks, where it tells.
    pub(crate) fn cost_ticks(self, model: &str, usage: &Usage) -> Option<u64> {
        let price = Price::of(model);
        let tells = matches!(self.provider, Provider::Xai | Provider::OpenRouter);
        tells.then(|| price.of_input(usage) + price.of_output(usage))
    }

    /// The usage object.
    pub(crate) fn usage(self, model: &str, usage: &Usage) -> Value {
        let Usage { input, cached, output, reasoning, .. } = *usage;
        let total = input + output;
        match self.provider {
            // The completion does not hold the reasoning, the total does.
            Provider::Xai => json!({
                "prompt_tokens": input,
                "completion_tokens": output - reasoning,
                "total_tokens": total,
                "prompt_tokens_details": {"text_tokens": input, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": cached},
                "completion_tokens_details": {
                    "reasoning_tokens": reasoning,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
                "num_sources_used": 0,
                "cost_in_usd_ticks": self.cost_ticks(model, usage),
            }),
            Provider::OpenRouter => {
                let price = Price::of(model);
                let (prompt, completion) = (price.of_input(usage), price.of_output(usage));
                let usd = |ticks: u64| ticks as f64 / 1e10;
                json!({
                    "prompt_tokens": input,
                    "completion_tokens": output,
                    "total_tokens": total,
                    "cost": usd(prompt + completion),
                    "is_byok": false,
                    "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0, "audio_tokens": 0, "video_tokens": 0},
                    "cost_details": {
                        "upstream_inference_cost": usd(prompt + completion),
                        "upstream_inference_prompt_cost": usd(prompt),
                        "upstream_inference_completions_cost": usd(completion),
                    },
                    "completion_tokens_details": {"reasoning_tokens": reasoning, "image_tokens": 0, "audio_tokens": 0},
                })
            }
            Provider::MiniMax => {
                let mut object = Map::new();
                object.insert("total_tokens".to_owned(), json!(total));
                object.insert("total_characters".to_owned(), json!(0));
                object.insert("prompt_tokens".to_owned(), json!(input));
                object.insert("completion_tokens".to_owned(), json!(output));
                if reasoning > 0 {
                    object.insert("completion_tokens_details".to_owned(), json!({"reasoning_tokens": reasoning}));
                }
                if cached > 0 {
                    object.insert("prompt_tokens_details".to_owned(), json!({"cached_tokens": cached}));
                }
                Value::Object(object)
            }
            Provider::Moonshot => {
                let mut object = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": total});
                if cached > 0 {
                    object.set("cached_tokens", json!(cached));
                }
                if reasoning > 0 {
                    object.set("completion_tokens_details", json!({"reasoning_tokens": reasoning}));
                }
                if cached > 0 && model != "kimi-k2-0905-preview" {
                    object.set("prompt_tokens_details", json!({"cached_tokens": cached}));
                }
                object
            }
            Provider::OpenAi | Provider::Anthropic | Provider::Gemini => json!({
                "prompt_tokens": input,
                "completion_tokens": output,
                "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": reasoning,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            }),
        }
    }
}
