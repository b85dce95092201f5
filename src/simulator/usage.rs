//! The simulator's own count of tokens, its prompt cache, and what xAI and OpenRouter claim as cost.
//!
//! The rule is simple on purpose, so that a test can recompute it: a text has one token for every four characters, rounded up; each message
//! adds [`PER_MESSAGE`].

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::text::hash;

/// Tokens that a message costs beside its text.
pub(crate) const PER_MESSAGE: u64 = 4;
/// Tokens of an image, document, audio or video, whatever its size.
const PER_ATTACHMENT: u64 = 258;

/// What one call used, in tokens. All counts are whole numbers of the provider's kind before each wire format splits them its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All input, cached or not.
    pub input: u64,
    /// Of the input, read from the prompt cache.
    pub cached: u64,
    /// Of the input, written to the prompt cache (Anthropic, where the request marks it).
    pub cache_written: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// Of the output, reasoning.
    pub reasoning: u64,
}

/// The tokens of a text.
pub(crate) fn tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

/// The tokens of any JSON part of a request: the texts in it, with a flat price for attachments.
pub(crate) fn tokens_of(value: &Value) -> u64 {
    match value {
        Value::String(text) => tokens(text),
        Value::Array(items) => items.iter().map(tokens_of).sum(),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            let attached = ["image", "image_url", "input_audio", "file", "document"].contains(&kind);
            if attached || fields.contains_key("inlineData") || fields.contains_key("fileData") {
                return PER_ATTACHMENT;
            }
            fields.values().map(tokens_of).sum()
        }
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// One item of a prompt in the order in which a provider would cache it: tools, system, then each message.
pub(crate) struct PromptItem {
    digest: u64,
    tokens: u64,
    /// Whether the client marked the prefix that ends here for caching (`cache_control`).
    marked: bool,
}

impl PromptItem {
    pub(crate) fn new(value: &Value) -> Self {
        let text = value.to_string();
        Self {
            digest: hash(text.as_bytes()),
            tokens: tokens_of(value) + PER_MESSAGE,
            marked: text.contains("\"cache_control\""),
        }
    }
}

/// When a provider caches a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Always, by itself.
    Automatic,
    /// Up to the last mark that the client set.
    Marked,
}

/// The prompt prefixes that a provider has seen; the oldest are forgotten.
#[derive(Debug, Default)]
pub(crate) struct PromptCache(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    prefixes: HashSet<u64>,
    order: VecDeque<u64>,
}

/// Prefixes that are remembered.
const REMEMBERED: usize = 4096;

impl PromptCache {
    /// The input side of a call's usage; remembers the prompt for later calls of the model.
    pub(crate) fn input(&self, model: &str, items: &[PromptItem], caching: Caching) -> Usage {
        let cacheable = match caching {
            Caching::Automatic => items.len(),
            Caching::Marked => items.iter().rposition(|item| item.marked).map_or(0, |last| last + 1),
        };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut digest = hash(model.as_bytes());
        let mut prefix = 0;
        let mut cached = 0;
        let mut fresh = Vec::new();
        for item in items.iter().take(cacheable) {
            digest = hash(&[digest.to_le_bytes(), item.digest.to_le_bytes()].concat());
            prefix += item.tokens;
            if seen.prefixes.contains(&digest) {
                cached = prefix;
            } else {
                fresh.push(digest);
            }
        }
        for digest in fresh {
            seen.remember(digest);
        }
        let input = items.iter().map(|item| item.tokens).sum::<u64>();
        match caching {
            // At least the last token is always read anew.
            Caching::Automatic => Usage { input, cached: cached.min(input.saturating_sub(1)), ..Usage::default() },
            Caching::Marked => Usage { input, cached, cache_written: prefix - cached, ..Usage::default() },
        }
    }
}

impl Seen {
    fn remember(&mut self, digest: u64) {
        if self.prefixes.insert(digest) {
            self.order.push_back(digest);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.prefixes.remove(&oldest);
            }
        }
    }
}

/// A price in ticks of 10⁻¹⁰ USD per token: 1 USD per million tokens is 10,000.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Price {
    input: u64,
    cached: u64,
    output: u64,
}

/// Prices by the beginning of the model's name; the first that fits holds. Those of grok-4.3 are confirmed by recorded answers; the others
/// are list prices or close to them, which the answer only has to apply consistently.
const PRICES: [(&str, Price); 8] = [
    ("grok-3-mini", Price { input: 3_000, cached: 750, output: 5_000 }),
    ("grok-4-fast", Price { input: 2_000, cached: 500, output: 5_000 }),
    ("grok-4-1-fast", Price { input: 2_000, cached: 500, output: 5_000 }),
    ("grok-", Price { input: 12_500, cached: 2_000, output: 25_000 }),
    ("openai/gpt-4o-mini", Price { input: 1_500, cached: 750, output: 6_000 }),
    ("openai/gpt-4o", Price { input: 25_000, cached: 12_500, output: 100_000 }),
    ("anthropic/claude-haiku", Price { input: 10_000, cached: 1_000, output: 50_000 }),
    ("anthropic/", Price { input: 30_000, cached: 3_000, output: 150_000 }),
];

/// The price of every other model.
const OTHER: Price = Price { input: 5_000, cached: 1_250, output: 20_000 };

impl Price {
    pub(crate) fn of(model: &str) -> Self {
        PRICES.iter().find(|(start, _)| model.starts_with(start)).map_or(OTHER, |(_, price)| *price)
    }

    /// The cost of the input, in ticks.
    pub(crate) fn of_input(self, usage: &Usage) -> u64 {
        (usage.input - usage.cached) * self.input + usage.cached * self.cached
    }

    /// The cost of the output, reasoning included, in ticks.
    pub(crate) fn of_output(self, usage: &Usage) -> u64 {
        usage.output * self.output
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn items(texts: &[&str]) -> Vec<PromptItem> {
        texts.iter().map(|text| PromptItem::new(&json!(text))).collect()
    }

    #[test]
    fn four_characters_are_a_token_and_a_rest_is_one_more() {
        assert_eq!((tokens(""), tokens("abcd"), tokens("abcde"), tokens("日本語日本")), (0, 1, 2, 2));
    }

    #[test]
    fn a_prefix_that_was_seen_is_cached_up_to_where_it_differs() {
        let cache = PromptCache::default();
        assert_eq!(cache.input("m", &items(&["system", "first"]), Caching::Automatic).cached, 0);
        let second = cache.input("m", &items(&["system", "first", "second"]), Caching::Automatic);
        assert_eq!(second.cached, (tokens("system") + PER_MESSAGE) + (tokens("first") + PER_MESSAGE));
        assert_eq!(
            cache.input("m", &items(&["system", "other"]), Caching::Automatic).cached,
            tokens("system") + PER_MESSAGE
        );
        assert_eq!(cache.input("another model", &items(&["system", "first"]), Caching::Automatic).cached, 0);
    }

    #[test]
    fn without_a_mark_nothing_is_written_where_marks_decide() {
        let cache = PromptCache::default();
        let usage = cache.input("m", &items(&["system", "first"]), Caching::Marked);
        assert_eq!((usage.cached, usage.cache_written), (0, 0));
        let marked = [PromptItem::new(&json!({"text": "system", "cache_control": {"type": "ephemeral"}}))];
        assert!(cache.input("m", &marked, Caching::Marked).cache_written > 0);
        let again = cache.input("m", &marked, Caching::Marked);
        assert_eq!((again.cached, again.cache_written), (again.input, 0));
    }

    #[test]
    fn the_price_of_grok_is_that_of_the_recorded_answer() {
        // 74 fresh, 128 cached and 205 output tokens of grok-4.3 were billed at 6,306,000 ticks.
        let usage = Usage { input: 202, cached: 128, output: 205, ..Usage::default() };
        let price = Price::of("grok-4.3");
        assert_eq!(price.of_input(&usage) + price.of_output(&usage), 6_306_000);
    }
}
