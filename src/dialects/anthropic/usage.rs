//! The figures of an answer, as Anthropic counts them.
//!
//! `input_tokens` leaves out what was read from and written to the cache; the canonical input holds all three. In a stream the figures
//! come first in `message_start` and again, cumulative, in `message_delta`, where some may be missing or null: the last figure that was
//! given holds, field by field.

use aipipe_actors::money::{NanoUsd, Tokens};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialects::conversation::Usage;

/// The `usage` object; every figure may be missing or null.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Figures<'a> {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    /// OpenRouter's price of the call in USD; Anthropic itself states none.
    #[serde(borrow)]
    cost: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

/// The figures so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    uncached: Option<u64>,
    cache_write: Option<u64>,
    cache_read: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
    cost: Option<NanoUsd>,
}

impl Count {
    /// Takes what an `usage` object says over what was known; an object that cannot be read says nothing.
    pub(super) fn take(&mut self, usage: &RawValue) {
        let Ok(figures) = serde_json::from_str::<Figures<'_>>(usage.get()) else { return };
        self.uncached = figures.input_tokens.or(self.uncached);
        self.cache_write = figures.cache_creation_input_tokens.or(self.cache_write);
        self.cache_read = figures.cache_read_input_tokens.or(self.cache_read);
        self.output = figures.output_tokens.or(self.output);
        self.thinking = figures.output_tokens_details.and_then(|details| details.thinking_tokens).or(self.thinking);
        self.cost = figures.cost.and_then(|cost| NanoUsd::parse_usd(cost.get()).ok()).or(self.cost);
    }

    /// The canonical figures; `None` where neither input nor output was given.
    pub(super) fn usage(&self) -> Option<Usage> {
        if self.uncached.is_none() && self.output.is_none() {
            return None;
        }
        let cached_input = self.cache_read.unwrap_or(0);
        let cache_write = self.cache_write.unwrap_or(0);
        let tokens = Tokens {
            input: self.uncached.unwrap_or(0).saturating_add(cached_input).saturating_add(cache_write),
            cached_input,
            cache_write,
            output: self.output.unwrap_or(0),
            reasoning: self.thinking.unwrap_or(0),
            ..Tokens::default()
        };
        Some(Usage { tokens, reported_cost: self.cost })
    }
}
