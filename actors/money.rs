//! Money and tokens: integers only.
//!
//! Amounts are nano-dollars (10⁻⁹ USD), prices nano-dollars per million tokens. A cost sums tokens × price in 128 bits, divides once and
//! rounds up, so that it is never less than what a provider would bill by the same figures.

use std::fmt;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// An amount in nano-dollars (10⁻⁹ USD). Arithmetic saturates: an absurd amount stays absurd instead of wrapping to a small one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

/// A price in nano-dollars per million tokens: `$0.15` per million is 150,000,000.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub i64);

const NANOS_PER_USD: u64 = 1_000_000_000;
const TOKENS_PER_PRICE: i128 = 1_000_000;

/// A decimal amount of USD that cannot be held exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount in USD is a plain decimal from 0 to 9,000,000,000 with at most nine decimal places")]
pub struct InvalidAmount;

/// Reads a plain non-negative decimal of USD into nano-dollars, exactly.
fn parse_nanos(text: &str) -> Result<i64, InvalidAmount> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(InvalidAmount);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 || whole.len() > 10 {
        return Err(InvalidAmount);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| InvalidAmount)? };
    let nanos: i64 =
        if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().map_err(|_| InvalidAmount)? };
    if whole > 9_000_000_000 {
        return Err(InvalidAmount);
    }
    Ok(whole * NANOS_PER_USD as i64 + nanos)
}

/// Writes nano-dollars as a decimal with nine places.
fn write_nanos(f: &mut fmt::Formatter<'_>, nanos: i64) -> fmt::Result {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    write!(f, "{sign}{}.{:09}", magnitude / NANOS_PER_USD, magnitude % NANOS_PER_USD)
}

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount, which no budget covers.
    pub const MAX: Self = Self(i64::MAX);

    /// Reads a plain decimal of USD (`"12.5"`), exactly.
    pub fn parse_usd(text: &str) -> Result<Self, InvalidAmount> {
        parse_nanos(text).map(Self)
    }

    /// The amount as a floating-point number of USD: for ranking and for figures that people look at, never for accounts.
    pub fn as_usd_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_USD as f64
    }

    /// The difference, or nothing where `other` is larger.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// The signed difference.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for NanoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// USD as a plain decimal with nine places: `0.000258450`.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_nanos(f, self.0)
    }
}

impl Rate {
    /// Reads a price in USD per million tokens, as providers publish it, exactly.
    pub fn parse_usd_per_million(text: &str) -> Result<Self, InvalidAmount> {
        parse_nanos(text).map(Self)
    }

    /// This price scaled by `numerator / denominator`, rounded up; unchanged where the denominator is 0.
    fn scaled(self, numerator: Self, denominator: Self) -> Self {
        if denominator.0 == 0 {
            return self;
        }
        let product = i128::from(self.0) * i128::from(numerator.0);
        Self(i64::try_from(ceil_div(product, i128::from(denominator.0))).unwrap_or(i64::MAX))
    }
}

/// USD per million tokens with nine places.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_nanos(f, self.0)
    }
}

fn ceil_div(dividend: i128, divisor: i128) -> i128 {
    dividend.div_euclid(divisor) + i128::from(dividend.rem_euclid(divisor) != 0)
}

/// Tokens by kind, as a provider counted them or as they were estimated.
///
/// `input` holds *all* input, `cached_input` and `cache_write` being parts of it; `output` holds *all* output, `reasoning` being a part
/// of it. Providers that count the parts beside the whole (Anthropic's cache, Gemini's and xAI's reasoning) are converted by their dialect.
/// Audio is a part of either that may overlap the others. It has no price of its own in the catalogue: it costs what text does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// All input tokens.
    pub input: u64,
    /// Of `input`, read from the provider's prompt cache.
    pub cached_input: u64,
    /// Of `input`, written to the provider's prompt cache.
    pub cache_write: u64,
    /// All output tokens.
    pub output: u64,
    /// Of `output`, hidden reasoning.
    pub reasoning: u64,
    /// Of `input`, audio.
    pub audio_input: u64,
    /// Of `output`, audio.
    pub audio_output: u64,
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.audio_input = self.audio_input.saturating_add(other.audio_input);
        self.audio_output = self.audio_output.saturating_add(other.audio_output);
    }
}

/// Prices of a model that hold above an input length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongContext {
    /// Input tokens above which these prices hold for the whole request.
    pub threshold_tokens: u64,
    /// Price of input.
    pub input: Rate,
    /// Price of output.
    pub output: Rate,
}

/// The prices of a model. Stored with each ledger row, so that a cost can be recomputed from what was valid then.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Price of input that is neither read from nor written to the prompt cache.
    pub input: Rate,
    /// Price of input read from the prompt cache.
    pub cached_input: Rate,
    /// Price of input written to the prompt cache.
    pub cache_write: Rate,
    /// Price of output, reasoning included.
    pub output: Rate,
    /// Prices of long requests, where the provider has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<LongContext>,
}

impl Rates {
    /// The prices that hold for a request with this much input. Above the threshold of a long-context tier the cache prices, which
    /// providers publish for the normal tier only, rise in the proportion of the input price.
    pub fn for_input(&self, input_tokens: u64) -> Self {
        match self.long_context {
            Some(long) if input_tokens > long.threshold_tokens => Self {
                input: long.input,
                cached_input: self.cached_input.scaled(long.input, self.input),
                cache_write: self.cache_write.scaled(long.input, self.input),
                output: long.output,
                long_context: None,
            },
            _ => Self { long_context: None, ..*self },
        }
    }

    /// What these tokens cost: `Σ tokens × price / 10⁶`, summed in full and rounded up once.
    pub fn cost(&self, tokens: &Tokens) -> NanoUsd {
        let rates = self.for_input(tokens.input);
        let cached = tokens.cached_input.min(tokens.input);
        let written = tokens.cache_write.min(tokens.input - cached);
        let plain = tokens.input - cached - written;
        let term = |count: u64, rate: Rate| i128::from(count).saturating_mul(i128::from(rate.0));
        let sum = term(plain, rates.input)
            .saturating_add(term(cached, rates.cached_input))
            .saturating_add(term(written, rates.cache_write))
            .saturating_add(term(tokens.output, rates.output));
        NanoUsd(i64::try_from(ceil_div(sum, TOKENS_PER_PRICE)).unwrap_or(i64::MAX))
    }

    /// The most that a request of at most these sizes can cost: all input at its dearest kind.
    pub fn upper_bound(&self, input_tokens: u64, output_tokens: u64) -> NanoUsd {
        let dearest = |rates: Self| {
            let input = rates.input.max(rates.cached_input).max(rates.cache_write);
            Self { input, cached_input: input, cache_write: input, ..rates }
        };
        dearest(self.for_input(input_tokens)).cost(&Tokens {
            input: input_tokens,
            output: output_tokens,
            ..Tokens::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mini() -> Rates {
        let rate = |text| Rate::parse_usd_per_million(text).unwrap();
        Rates {
            input: rate("0.15"),
            cached_input: rate("0.075"),
            cache_write: rate("0.15"),
            output: rate("0.60"),
            long_context: None,
        }
    }

    #[test]
    fn amounts_read_and_print_exactly() {
        for (text, nanos) in
            [("0", 0), ("0.15", 150_000_000), ("12", 12_000_000_000), (".5", 500_000_000), ("0.000000001", 1)]
        {
            assert_eq!(NanoUsd::parse_usd(text), Ok(NanoUsd(nanos)), "{text}");
        }
        for bad in ["", ".", "-1", "1e3", "0.0000000001", "99999999999", "1,5", "NaN"] {
            assert_eq!(NanoUsd::parse_usd(bad), Err(InvalidAmount), "{bad}");
        }
        assert_eq!(NanoUsd(258_450).to_string(), "0.000258450");
        assert_eq!(NanoUsd(-1_500_000_000).to_string(), "-1.500000000");
    }

    #[test]
    fn the_contract_example_costs_what_it_says() {
        let tokens = Tokens { input: 123, output: 400, ..Tokens::default() };
        assert_eq!(mini().cost(&tokens).to_string(), "0.000258450");
    }

    #[test]
    fn cached_input_is_a_part_of_input() {
        let tokens = Tokens { input: 1_000_000, cached_input: 400_000, output: 0, ..Tokens::default() };
        assert_eq!(mini().cost(&tokens), NanoUsd(600_000 * 150 + 400_000 * 75));
    }

    #[test]
    fn the_long_tier_holds_for_the_whole_request() {
        let long = LongContext { threshold_tokens: 1000, input: Rate(300_000_000), output: Rate(900_000_000) };
        let rates = Rates { long_context: Some(long), ..mini() };
        let at = |input| rates.cost(&Tokens { input, cached_input: 100, output: 10, ..Tokens::default() });
        assert_eq!(at(1000), NanoUsd(900 * 150 + 100 * 75 + 10 * 600));
        assert_eq!(at(1001), NanoUsd(901 * 300 + 100 * 150 + 10 * 900));
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(nanos in 0i64..9_000_000_000_000_000_000) {
            prop_assert_eq!(NanoUsd::parse_usd(&NanoUsd(nanos).to_string()), Ok(NanoUsd(nanos)));
        }

        #[test]
        fn no_cost_exceeds_its_bound(input in 0u64..3_000_000, cached in 0u64..3_000_000, written in 0u64..3_000_000, output in 0u64..200_000) {
            let rates = Rates { cache_write: Rate(187_500_000), ..mini() };
            let tokens = Tokens { input, cached_input: cached, cache_write: written, output, ..Tokens::default() };
            prop_assert!(rates.cost(&tokens) <= rates.upper_bound(input, output));
        }

        #[test]
        fn absurd_counts_saturate(input in any::<u64>(), output in any::<u64>()) {
            let tokens = Tokens { input, output, ..Tokens::default() };
            prop_assert!(mini().cost(&tokens) >= NanoUsd::ZERO);
        }
    }
}
