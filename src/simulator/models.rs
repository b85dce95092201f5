//! Which models a provider has, how it names them in answers, which of them reason, and its list of models.

use serde_json::{Value, json};

use super::Settings;
use super::answer::Answer;
use super::json::Json;
use super::provider::Provider;

/// Beginnings of the names of each provider's models.
fn families(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::OpenAi => &["gpt-", "chatgpt-", "o1", "o3", "o4", "codex-", "text-embedding-"],
        Provider::Anthropic => &["claude-"],
        Provider::Xai => &["grok-"],
        Provider::OpenRouter => &[],
        Provider::MiniMax => &["MiniMax-", "abab"],
        Provider::Moonshot => &["kimi-", "moonshot-v1"],
        Provider::Gemini => &["gemini-", "gemma-", "text-embedding-"],
    }
}

/// Whether the provider has the model. Names in the style of its families exist, those that say they do not ("nonexistent") do not.
pub(crate) fn exists(provider: Provider, settings: &Settings, model: &str) -> bool {
    let fits = match provider {
        Provider::OpenRouter => {
            model.split_once('/').is_some_and(|(owner, name)| !owner.is_empty() && !name.is_empty())
        }
        _ => families(provider).iter().any(|start| model.starts_with(start)),
    };
    let denies = ["nonexistent", "no-such", "does-not-exist"].iter().any(|words| model.contains(words));
    (fits && !denies) || settings.models.iter().any(|name| name == model)
}

/// The name under which the provider answers: dated versions of models that have one.
pub(crate) fn answering_name(provider: Provider, model: &str) -> String {
    let dated = match (provider, model) {
        (Provider::OpenAi, "gpt-4o") => "gpt-4o-2024-08-06",
        (Provider::OpenAi, "gpt-4o-mini") => "gpt-4o-mini-2024-07-18",
        (Provider::OpenAi, "gpt-4.1") => "gpt-4.1-2025-04-14",
        (Provider::OpenAi, "gpt-4.1-mini") => "gpt-4.1-mini-2025-04-14",
        (Provider::OpenAi, "gpt-4.1-nano") => "gpt-4.1-nano-2025-04-14",
        (Provider::OpenAi, "gpt-5") => "gpt-5-2025-08-07",
        (Provider::OpenAi, "gpt-5.1") => "gpt-5.1-2025-11-13",
        (Provider::Anthropic, "claude-sonnet-4-5") => "claude-sonnet-4-5-20250929",
        (Provider::Anthropic, "claude-haiku-4-5") => "claude-haiku-4-5-20251001",
        (Provider::Xai, "grok-4-0709") => "grok-4.3",
        (Provider::Xai, "grok-4-fast") => "grok-4-fast-reasoning",
        _ => model,
    };
    dated.to_owned()
}

/// Whether an OpenAI model is of the kind that reasons, which refuses `max_tokens`.
pub(crate) fn is_openai_reasoner(model: &str) -> bool {
    ["gpt-5", "gpt-6", "o1", "o3", "o4"].iter().any(|start| model.starts_with(start)) && !model.contains("chat")
}

/// Whether a model of an OpenAI-compatible provider reasons on this request.
pub(crate) fn reasons(provider: Provider, model: &str, body: &Value) -> bool {
    let effort = body["reasoning_effort"].as_str().or(body.at("/reasoning/effort").as_str());
    let switched_off =
        effort == Some("none") || body.at("/thinking/type") == "disabled" || body.at("/reasoning/enabled") == false;
    match provider {
        Provider::OpenAi => is_openai_reasoner(model) && !switched_off,
        Provider::Xai => {
            let plain = model.contains("non-reasoning") || model == "grok-3" || model.starts_with("grok-2");
            !plain && !switched_off
        }
        Provider::OpenRouter => {
            let name = model.split_once('/').map_or(model, |(_, name)| name);
            let asked = body["reasoning"].is_object() || effort.is_some();
            let always = ["grok-4", "minimax-m", "kimi-k3", "o3", "gpt-5", "gpt-6"];
            (asked || always.iter().any(|start| name.starts_with(start))) && !switched_off
        }
        // M2 and its successors cannot stop thinking.
        Provider::MiniMax => model.starts_with("MiniMax-M") && (model.starts_with("MiniMax-M2") || !switched_off),
        Provider::Moonshot => {
            let can_stop = model.starts_with("kimi-k2.5") || model.starts_with("kimi-k2.6");
            kimi_thinks(model) && !(can_stop && switched_off)
        }
        Provider::Anthropic | Provider::Gemini => false,
    }
}

/// The Kimi models that think unless they can be, and are, told not to.
fn kimi_thinks(model: &str) -> bool {
    ["kimi-k2.5", "kimi-k2.6", "kimi-k2.7", "kimi-k3"].iter().any(|start| model.starts_with(start))
        || model.contains("thinking")
}

/// A few models of each provider, for its list.
fn listed(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::OpenAi => {
            &["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "o3", "text-embedding-3-small"]
        }
        Provider::Anthropic => &["claude-opus-4-7", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-4-5"],
        Provider::Xai => &["grok-4.3", "grok-4-fast-reasoning", "grok-4-fast-non-reasoning", "grok-3-mini"],
        Provider::OpenRouter => {
            &["openai/gpt-4o-mini", "anthropic/claude-haiku-4.5", "x-ai/grok-4.3", "meta-llama/llama-3.3-70b-instruct"]
        }
        Provider::MiniMax => &["MiniMax-M3", "MiniMax-M2.7", "MiniMax-M2.5"],
        Provider::Moonshot => &["kimi-k3", "kimi-k2.7-code", "kimi-k2.6"],
        Provider::Gemini => &["gemini-3.5-flash", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"],
    }
}

/// The answer to a request for the list of models.
pub(crate) fn list(provider: Provider) -> Answer {
    let names = listed(provider).iter();
    let body = match provider {
        Provider::Anthropic => {
            let model = |name: &&str| json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"});
            let (first, last) = (listed(provider).first(), listed(provider).last());
            json!({"data": names.map(model).collect::<Vec<_>>(), "has_more": false, "first_id": first, "last_id": last})
        }
        Provider::Gemini => {
            let model = |name: &&str| {
                json!({
                    "name": format!("models/{name}"),
                    "version": "001",
                    "displayName": name,
                    "description": "Simulated model",
                    "inputTokenLimit": 1_048_576,
                    "outputTokenLimit": 65_536,
                    "supportedGenerationMethods": ["generateContent", "countTokens"],
                    "temperature": 1,
                    "topP": 0.95,
                    "topK": 64,
                })
            };
            json!({"models": names.map(model).collect::<Vec<_>>()})
        }
        Provider::OpenRouter => {
            let model = |name: &&str| {
                json!({
                    "id": name,
                    "name": name,
                    "created": 1_767_225_600,
                    "context_length": 131_072,
                    "pricing": {"prompt": "0.0000005", "completion": "0.000002"},
                })
            };
            json!({"data": names.map(model).collect::<Vec<_>>()})
        }
        _ => {
            let model = |name: &&str| json!({"id": name, "object": "model", "created": 1_767_225_600, "owned_by": provider.as_str()});
            json!({"object": "list", "data": names.map(model).collect::<Vec<_>>()})
        }
    };
    Answer::json(&body)
}
