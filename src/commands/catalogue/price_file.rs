//! Price files that others keep: `api.json` of models.dev, and LiteLLM's `model_prices_and_context_window.json`.
//!
//! Numbers are read from their digits: LiteLLM writes USD per token (`2.5e-06`), models.dev USD per million tokens.

use std::collections::BTreeMap;

use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::{LongContext, Rate};
use anyhow::{Context, bail};
use serde_json::value::RawValue;

use crate::commands::litellm::CAPABILITIES;
use crate::dialects::decimal::scaled;

/// Names of providers that the files know under another.
const OTHER_NAMES: [(&str, &str); 2] = [("google", "gemini"), ("moonshotai", "moonshot")];
/// Input lengths above which LiteLLM's file may have prices of their own.
const THRESHOLDS: [(&str, u64); 4] = [("128k", 128_000), ("200k", 200_000), ("256k", 256_000), ("272k", 272_000)];

/// What a file says of a model.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) input: Option<Rate>,
    pub(super) cached_input: Option<Rate>,
    pub(super) cache_write: Option<Rate>,
    pub(super) output: Option<Rate>,
    pub(super) long_context: Option<LongContext>,
    pub(super) context_tokens: Option<u64>,
    pub(super) max_output_tokens: Option<u64>,
    /// In the words of the configuration.
    pub(super) capabilities: Vec<&'static str>,
}

type Members = BTreeMap<String, Box<RawValue>>;
type Listings = BTreeMap<(ProviderId, ModelId), Listing>;

/// Reads either file; only models of providers that are known and that answer in text or with vectors.
pub(super) fn read(bytes: &[u8], is_known: impl Fn(&str) -> bool) -> anyhow::Result<Listings> {
    let entries: Members = serde_json::from_slice(bytes).context("not a JSON object")?;
    let mut listings = Listings::new();
    let mut recognised = false;
    for (name, entry) in &entries {
        let Some(entry) = members(entry) else { continue };
        if let Some(models) = entry.get("models").and_then(|models| members(models)) {
            recognised = true;
            let Some(provider) = provider(name, &is_known) else { continue };
            for (id, model) in &models {
                let (Some(model), Ok(id)) = (members(model), ModelId::parse(id)) else { continue };
                if let Some(listing) = models_dev(&model) {
                    listings.insert((provider.clone(), id), listing);
                }
            }
        } else if let Some(told) = text(&entry, "litellm_provider") {
            recognised = true;
            let Some(provider) = provider(&told, &is_known) else { continue };
            let id = name.strip_prefix(&format!("{told}/")).unwrap_or(name);
            if let (Some(listing), Ok(id)) = (litellm(&entry), ModelId::parse(id)) {
                listings.insert((provider, id), listing);
            }
        }
    }
    if !recognised {
        bail!("neither api.json of models.dev nor LiteLLM's model_prices_and_context_window.json");
    }
    Ok(listings)
}

fn provider(name: &str, is_known: impl Fn(&str) -> bool) -> Option<ProviderId> {
    let own = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, own)| own);
    ProviderId::parse(own).ok().filter(|_| is_known(own))
}

fn litellm(entry: &Members) -> Option<Listing> {
    let is_embedding = match text(entry, "mode").as_deref() {
        Some("chat" | "responses" | "completion") | None => false,
        Some("embedding") => true,
        Some(_) => return None,
    };
    // USD per token are a million times as much per million tokens.
    let rate = |key: &str| rate(entry, key, 9 + 6);
    let long_context = THRESHOLDS.iter().find_map(|&(name, threshold_tokens)| {
        let input = rate(&format!("input_cost_per_token_above_{name}_tokens"))?;
        let output = rate(&format!("output_cost_per_token_above_{name}_tokens"))?;
        Some(LongContext { threshold_tokens, input, output })
    });
    let mut capabilities: Vec<&str> =
        CAPABILITIES.into_iter().filter_map(|(key, capability)| is_true(entry, key).then_some(capability)).collect();
    if is_embedding {
        capabilities = vec!["embeddings"];
    }
    Some(Listing {
        input: Some(rate("input_cost_per_token")?),
        output: if is_embedding { None } else { Some(rate("output_cost_per_token")?) },
        cached_input: rate("cache_read_input_token_cost"),
        cache_write: rate("cache_creation_input_token_cost"),
        long_context,
        context_tokens: number(entry, "max_input_tokens").or_else(|| number(entry, "max_tokens")),
        max_output_tokens: number(entry, "max_output_tokens"),
        capabilities,
    })
}

fn models_dev(model: &Members) -> Option<Listing> {
    let cost = members(model.get("cost")?)?;
    let limit = model.get("limit").and_then(|limit| members(limit)).unwrap_or_default();
    let modalities = model.get("modalities").and_then(|modalities| members(modalities)).unwrap_or_default();
    let words = |key: &str| -> Vec<String> {
        modalities.get(key).and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
    };
    let (takes, gives) = (words("input"), words("output"));
    if !gives.is_empty() && !gives.iter().any(|word| word == "text") {
        return None;
    }
    let rate = |key: &str| rate(&cost, key, 9);
    let long_context = cost.get("context_over_200k").and_then(|over| members(over)).and_then(|over| {
        let (input, output) = (self::rate(&over, "input", 9)?, self::rate(&over, "output", 9)?);
        Some(LongContext { threshold_tokens: 200_000, input, output })
    });
    let flags = [("tool_call", "tools"), ("structured_output", "json_schema"), ("reasoning", "reasoning")];
    let kinds = [("image", "images"), ("pdf", "documents"), ("audio", "audio")];
    let flagged = flags.into_iter().filter(|(key, _)| is_true(model, key));
    let taken = kinds.into_iter().filter(|(kind, _)| takes.iter().any(|word| word == kind));
    Some(Listing {
        input: Some(rate("input")?),
        output: Some(rate("output")?),
        cached_input: rate("cache_read"),
        cache_write: rate("cache_write"),
        long_context,
        context_tokens: number(&limit, "context"),
        max_output_tokens: number(&limit, "output"),
        capabilities: flagged.chain(taken).map(|(_, capability)| capability).collect(),
    })
}

fn members(value: &RawValue) -> Option<Members> {
    serde_json::from_str(value.get()).ok()
}

fn text(entry: &Members, key: &str) -> Option<String> {
    serde_json::from_str(entry.get(key)?.get()).ok()
}

fn is_true(entry: &Members, key: &str) -> bool {
    entry.get(key).is_some_and(|value| value.get() == "true")
}

fn number(entry: &Members, key: &str) -> Option<u64> {
    entry.get(key)?.get().trim_matches('"').parse().ok()
}

/// A price whose digits times 10^`shift` are nano-dollars per million tokens.
fn rate(entry: &Members, key: &str, shift: i32) -> Option<Rate> {
    Some(Rate(scaled(entry.get(key)?.get().trim_matches('"'), shift)?.nanos.0))
}
