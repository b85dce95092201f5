//! The seven built-in providers, one row each.
//!
//! Base URLs are what each provider's documentation gives to users of its SDK. Peculiarities are as recorded from the providers or
//! documented by them in autumn 2026.

use super::profile::{EffortField, Paths, Profile, StreamUsage, Temperature, ThinkingSwitch};

/// A built-in provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BuiltIn {
    /// Its name in every interface.
    pub name: &'static str,
    /// Where it is reached.
    pub base_url: &'static str,
    /// Environment variables that may hold the operator's key; the first one that is set counts.
    pub key_variables: &'static [&'static str],
    /// How to speak to it.
    pub profile: Profile,
}

/// All of them, in the order in which they are named to people.
pub const BUILT_IN: [BuiltIn; 7] = [
    BuiltIn {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        key_variables: &["OPENAI_API_KEY"],
        profile: Profile {
            paths: Paths {
                responses: Some("/responses"),
                count_responses: Some("/responses/input_tokens"),
                ..Profile::OPENAI.paths
            },
            developer_role: true,
            ..Profile::OPENAI
        },
    },
    BuiltIn {
        name: "anthropic",
        base_url: "https://api.anthropic.com",
        key_variables: &["ANTHROPIC_API_KEY"],
        profile: Profile::ANTHROPIC,
    },
    BuiltIn {
        name: "xai",
        base_url: "https://api.x.ai/v1",
        key_variables: &["XAI_API_KEY"],
        profile: Profile {
            paths: Paths { responses: Some("/responses"), embeddings: None, ..Profile::OPENAI.paths },
            refuses: &["audio", "custom_tools", "logit_bias", "modalities"],
            completion_excludes_reasoning: true,
            wrong_key_is_400: true,
            ..Profile::OPENAI
        },
    },
    BuiltIn {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        key_variables: &["OPENROUTER_API_KEY"],
        profile: Profile {
            paths: Paths { responses: Some("/responses"), ..Profile::OPENAI.paths },
            headers: &[("x-title", "AiPipe")],
            request_id_header: "x-generation-id",
            effort: EffortField::ReasoningObject,
            stream_usage: StreamUsage::Always,
            ..Profile::OPENAI
        },
    },
    BuiltIn {
        name: "minimax",
        base_url: "https://api.minimax.io/v1",
        key_variables: &["MINIMAX_API_KEY"],
        profile: Profile {
            // Its embeddings have a shape of their own (`texts` in, `vectors` out).
            paths: Paths { embeddings: None, ..Profile::OPENAI.paths },
            request_id_header: "trace-id",
            // It documents that it ignores the penalties and `logit_bias`, which would change the answer in silence.
            refuses: &[
                "audio",
                "custom_tools",
                "frequency_penalty",
                "logit_bias",
                "logprobs",
                "modalities",
                "n",
                "presence_penalty",
                "top_logprobs",
            ],
            temperature: Temperature { min: 0.01, max: 1.0 },
            thinking_switch: Some(ThinkingSwitch { on: "adaptive", off: "disabled" }),
            reasoning_split: true,
            key_region: Some(
                "keys of the Chinese platform hold at https://api.minimaxi.com/v1 only: set AIPIPE_MINIMAX_BASE_URL",
            ),
            ..Profile::OPENAI
        },
    },
    BuiltIn {
        name: "moonshot",
        base_url: "https://api.moonshot.ai/v1",
        key_variables: &["MOONSHOT_API_KEY", "KIMI_API_KEY"],
        profile: Profile {
            paths: Paths { embeddings: None, ..Profile::OPENAI.paths },
            request_id_header: "msh-request-id",
            refuses: &["audio", "custom_tools", "logit_bias", "logprobs", "modalities", "top_logprobs"],
            temperature: Temperature { min: 0.0, max: 1.0 },
            strict_tools: false,
            moonshot_schemas: true,
            thinking_switch: Some(ThinkingSwitch { on: "enabled", off: "disabled" }),
            thinking_excludes_forced_tool: true,
            usage_in_choice: true,
            key_region: Some(
                "keys of the Chinese platform hold at https://api.moonshot.cn/v1 only: set AIPIPE_MOONSHOT_BASE_URL",
            ),
            ..Profile::OPENAI
        },
    },
    BuiltIn {
        name: "gemini",
        base_url: "https://generativelanguage.googleapis.com",
        key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        profile: Profile::GEMINI,
    },
];

/// The built-in provider of this name.
pub fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|provider| provider.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aipipe_actors::identity::ProviderId;

    use super::*;
    use crate::providers::Dialect;

    #[test]
    fn names_and_key_variables_are_unique_and_valid() {
        let names: BTreeSet<_> = BUILT_IN.iter().map(|provider| provider.name).collect();
        let variables: Vec<_> = BUILT_IN.iter().flat_map(|provider| provider.key_variables).collect();
        assert_eq!(names.len(), BUILT_IN.len());
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len());
        for name in names {
            assert_eq!(ProviderId::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn paths_name_the_model_where_the_dialect_has_it_in_the_address() {
        for provider in &BUILT_IN {
            let in_address = provider.profile.dialect == Dialect::Gemini;
            let paths = provider.profile.paths;
            for path in [paths.chat, paths.chat_stream] {
                assert!(path.starts_with('/'), "{}: {path}", provider.name);
                assert_eq!(path.contains("{model}"), in_address, "{}: {path}", provider.name);
            }
        }
    }
}
