//! The explained choice: what was asked, how complex it is, what each candidate would cost and why it was passed over.
//!
//! A decision is kept compactly with its request and rendered as the JSON of the contract when somebody reads it. Every number in that
//! JSON can be recomputed from the others.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::conversation::{Continuation, Stuck};
use super::preferences::Quality;
use super::signals::Signals;
use crate::catalogue::Capability;
use crate::identity::{ModelId, ProviderId, TenantId};
use crate::money::NanoUsd;

/// Complexity from which on quality counts.
const EXPONENT_THRESHOLD: f64 = 0.25;
/// How steeply quality counts above it.
const EXPONENT_SLOPE: f64 = 6.0;

/// The exponent of quality: `max(0, complexity - 0.25) * 6`.
pub fn exponent(complexity: f64) -> f64 {
    (complexity - EXPONENT_THRESHOLD).max(0.0) * EXPONENT_SLOPE
}

/// `raw / quality ^ exponent`, in USD: the formula by which models are compared.
pub fn adjusted_cost(raw: NanoUsd, quality: f64, exponent: f64) -> f64 {
    raw.as_usd_f64() / quality.powf(exponent)
}

/// Why a model was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Neither the tenant nor (for it) the operator has a key for the provider.
    NoKey,
    /// The provider is switched off, or the model is retired or of the wrong kind.
    Disabled,
    /// The tenant may not use the model.
    NotAllowed,
    /// The client excluded it, or it failed in this request already.
    Excluded,
    /// The request does not fit its context.
    ContextLength,
    /// It cannot do what the request needs.
    Capability(Capability),
    /// It refuses a parameter that the request needs, by the parameter's name.
    Parameter(Arc<str>),
    /// Below the quality asked for.
    MinQuality,
    /// Above the cost allowed.
    MaxCost,
    /// Its circuit is open.
    CircuitOpen,
    /// Its provider has no place left, or its actor does not answer.
    Overloaded,
    /// The tenant's key waits for the provider.
    CoolingDown,
    /// The tenant's budget does not cover it beside what is held already.
    Budget,
    /// It has no price; `auto` never chooses it.
    Unpriced,
}

impl Reason {
    /// The reason for a refused parameter.
    pub fn parameter(name: &str) -> Self {
        Self::Parameter(Arc::from(name))
    }

    /// The name in every interface.
    pub fn name(&self) -> String {
        let plain = match self {
            Self::NoKey => "no_key",
            Self::Disabled => "disabled",
            Self::NotAllowed => "not_allowed",
            Self::Excluded => "excluded",
            Self::ContextLength => "context_length",
            Self::Capability(capability) => return format!("capability:{}", capability.as_str()),
            Self::Parameter(name) => return format!("capability:{name}"),
            Self::MinQuality => "min_quality",
            Self::MaxCost => "max_cost",
            Self::CircuitOpen => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::CoolingDown => "cooling_down",
            Self::Budget => "budget",
            Self::Unpriced => "unpriced",
        };
        plain.to_owned()
    }
}

/// One model beside the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Weighed {
    /// Who serves it.
    #[serde(rename = "p")]
    pub provider: ProviderId,
    /// Which model.
    #[serde(rename = "m")]
    pub model: ModelId,
    /// Why it was passed over; `None`: eligible.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Expected cost; `None`: unpriced.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<NanoUsd>,
    /// Input tokens that the cost was computed with: the estimate in this model's own tokens.
    #[serde(rename = "i")]
    pub input_tokens: u64,
    /// Output tokens that the cost was computed with, expected reasoning included.
    #[serde(rename = "o")]
    pub output_tokens: u64,
    /// The chance of a good answer to a demanding request.
    #[serde(rename = "q")]
    pub quality: f64,
    /// At least 1, from the model's health.
    #[serde(rename = "h")]
    pub penalty: f64,
}

impl Weighed {
    /// What it is ranked by, in USD: adjusted cost times penalty. Unpriced models come last.
    pub fn effective(&self, exponent: f64) -> f64 {
        self.raw.map_or(f64::INFINITY, |raw| adjusted_cost(raw, self.quality, exponent) * self.penalty)
    }
}

/// How the complexity came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// From the five signals.
    Scored,
    /// There was nothing to score by: the tenant's default.
    None,
    /// The client said it.
    Override,
}

/// What was added to the complexity that was assessed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bias {
    /// The complexity without it.
    pub assessed: f64,
    /// How good the answer should be, where the client or the tenant's setting says so.
    pub quality: Option<Quality>,
    /// Why the agent counts as stuck.
    pub stuck: Option<Stuck>,
}

impl Bias {
    /// What is added; the sum is held within 0..=1.
    pub fn shift(&self) -> f64 {
        self.quality.map_or(0.0, Quality::shift) + self.stuck.map_or(0.0, |_| Stuck::RAISE)
    }
}

/// A whole decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decision {
    /// Whose request.
    pub tenant: TenantId,
    /// The model asked for, as the client wrote it.
    pub requested: String,
    /// In 0..=1.
    pub complexity: f64,
    /// How the complexity came about.
    pub basis: Basis,
    /// The five signals.
    pub signals: Signals,
    /// Estimated input tokens (o200k).
    pub input_tokens: u64,
    /// Expected output tokens.
    pub output_tokens: u64,
    /// What the complexity was shifted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<Bias>,
    /// What became of the conversation's model; `None` where no earlier turn is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Continuation>,
    /// The candidates: the eligible by rank, then the others.
    pub candidates: Vec<Weighed>,
}

impl Decision {
    /// The candidate that serves: the conversation's model where that was kept, else the best.
    pub fn chosen(&self) -> Option<&Weighed> {
        let kept = self.conversation.as_ref().filter(|conversation| conversation.kept);
        let of_conversation = kept.and_then(|kept| self.candidates.iter().find(|candidate| kept.is_of(candidate)));
        of_conversation.or(self.candidates.first()).filter(|chosen| chosen.reason.is_none())
    }

    /// The compact form kept in the ledger.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the compact form.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The JSON of the contract.
    pub fn to_json(&self) -> Value {
        let exponent = exponent(self.complexity);
        let mut rank = 0;
        let candidates: Vec<Value> = self
            .candidates
            .iter()
            .map(|candidate| {
                let adjusted = candidate.raw.map(|raw| adjusted_cost(raw, candidate.quality, exponent));
                let mut entry = json!({
                    "provider": candidate.provider,
                    "model": candidate.model,
                    "eligible": candidate.reason.is_none(),
                    "reason": candidate.reason.as_ref().map(Reason::name),
                    "input_tokens": candidate.input_tokens,
                    "output_tokens": candidate.output_tokens,
                    "raw_cost_usd": candidate.raw.map(|raw| raw.to_string()),
                    "quality": candidate.quality,
                    "adjusted_cost_usd": adjusted.map(twelve_digits),
                    "penalty": candidate.penalty,
                    "effective_cost_usd": adjusted.map(|cost| twelve_digits(cost * candidate.penalty)),
                });
                if candidate.reason.is_none() {
                    rank += 1;
                    if let Some(entry) = entry.as_object_mut() {
                        entry.insert("rank".into(), json!(rank));
                    }
                }
                entry
            })
            .collect();
        let mut decision = json!({
            "tenant": self.tenant,
            "requested": self.requested,
            "complexity": self.complexity,
            "signal": self.basis,
            "signals": self.signals,
            "exponent": exponent,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "chosen": self.chosen().map(|chosen| json!({"provider": chosen.provider, "model": chosen.model})),
            "candidates": candidates,
        });
        if let Some(decision) = decision.as_object_mut() {
            decision.extend(self.bias.map(|bias| ("bias".to_owned(), bias_json(&bias))));
            let conversation = self.conversation.as_ref().map(conversation_json);
            decision.extend(conversation.map(|conversation| ("conversation".to_owned(), conversation)));
        }
        decision
    }
}

fn bias_json(bias: &Bias) -> Value {
    json!({"assessed": bias.assessed, "quality": bias.quality, "stuck": bias.stuck, "shift": bias.shift()})
}

fn conversation_json(conversation: &Continuation) -> Value {
    json!({
        "kept": conversation.kept,
        "why": conversation.why,
        "provider": conversation.provider,
        "model": conversation.model,
        "since": conversation.since.to_string(),
        "cached_input_tokens": conversation.cached_tokens,
        "cached_cost_usd": conversation.cached.map(|cost| cost.to_string()),
        "cached_effective_cost_usd": conversation.effective.map(twelve_digits),
    })
}

/// A non-negative amount with twelve significant digits, as a plain decimal without an exponent.
pub fn twelve_digits(amount: f64) -> String {
    if amount == 0.0 {
        return "0.00000000000".to_owned();
    }
    if !amount.is_finite() {
        return amount.to_string();
    }
    let scientific = format!("{amount:.11e}");
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let power: i32 = power.parse().unwrap_or(0);
    let mut text = String::with_capacity(24);
    match usize::try_from(power) {
        Ok(power) if power + 1 >= digits.len() => {
            let _ = write!(text, "{digits}{}", "0".repeat(power + 1 - digits.len()));
        }
        Ok(power) => {
            let (whole, fraction) = digits.split_at(power + 1);
            let _ = write!(text, "{whole}.{fraction}");
        }
        Err(_) => {
            let zeros = usize::try_from(-power - 1).unwrap_or(0);
            let _ = write!(text, "0.{}{digits}", "0".repeat(zeros));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_example_adds_up() {
        let raw = NanoUsd(258_450);
        let exponent = exponent(0.412);
        assert!((exponent - 0.972).abs() < 1e-12);
        assert_eq!(twelve_digits(adjusted_cost(raw, 0.11, exponent)), "0.00220873110120");
    }

    #[test]
    fn twelve_digits_are_kept_at_every_magnitude() {
        for (amount, text) in [
            (0.0, "0.00000000000"),
            (1.0, "1.00000000000"),
            (123.456, "123.456000000"),
            (0.000_001, "0.00000100000000000"),
            (123_456_789_012.0, "123456789012"),
            (1.5e13, "15000000000000"),
        ] {
            assert_eq!(twelve_digits(amount), text);
        }
    }

    #[test]
    fn below_the_threshold_quality_does_not_count() {
        assert_eq!(exponent(0.25), 0.0);
        assert_eq!(exponent(0.1), 0.0);
        assert_eq!(exponent(1.0), 4.5);
    }
}
