//! The explained choice: what was asked, how complex it is, what each candidate would cost and why it was passed over.
//!
//! A decision is [`kept`](super::kept) compactly with its request and [`shown`](super::shown) as the JSON of the contract when somebody
//! reads it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conversation::{Continuation, Stuck};
use super::evidence::Task;
use super::lineup::LineupId;
use super::preferences::Quality;
use super::signals::Signals;
use crate::catalogue::Capability;
use crate::identity::{ModelId, ProviderId, TenantId};
use crate::money::NanoUsd;

/// The name of a model that leaves the choice to AiPipe; a colon and how good the answer should be may follow.
pub const AUTO: &str = "auto";
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
#[derive(Debug, Clone)]
pub struct Weighed {
    /// Its place in the catalogue.
    pub place: u32,
    /// Who serves it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// Why it was passed over; `None`: eligible.
    pub reason: Option<Reason>,
    /// Expected cost: that of its input and output tokens at the catalogue's prices; `None`: unpriced.
    pub raw: Option<NanoUsd>,
    /// Input tokens that the cost was computed with: the estimate in this model's own tokens.
    pub input_tokens: u64,
    /// Output tokens that the cost was computed with, expected reasoning included.
    pub output_tokens: u64,
    /// The chance of a good answer to a demanding request: the catalogue's, shifted by what was learned.
    pub quality: f64,
    /// What was learned of it; `None`: the catalogue's quality holds.
    pub learned: Option<Learned>,
    /// At least 1, from the model's health.
    pub penalty: f64,
}

/// How a candidate's quality came about where the tenant's own requests have a say in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    /// The catalogue's quality.
    pub prior: f64,
    /// What is added to its logit.
    pub shift: f64,
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

/// The complexity at which the runner-up takes the place of the best: where `raw / quality ^ exponent * penalty` is the same for both.
#[derive(Debug, Clone, Copy)]
pub struct BreakEven<'a> {
    /// The runner-up.
    pub second: &'a Weighed,
    /// Where it would be the best; `None`: at no complexity.
    pub side: Option<Side>,
}

/// A stretch of complexities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// From this one on.
    From(f64),
    /// Up to this one.
    UpTo(f64),
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
    /// What kind of task it is; decides which evidence counts.
    #[serde(default)]
    pub task: Task,
    /// Whether the runner-up is tried in the place of the best, to learn of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub explored: bool,
    /// What the complexity was shifted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<Bias>,
    /// What became of the conversation's model; `None` where no earlier turn is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Continuation>,
    /// The models of the catalogue that it was made with.
    pub lineup: LineupId,
    /// The candidates: the eligible by rank, then the others.
    #[serde(skip)]
    pub candidates: Vec<Weighed>,
}

impl Decision {
    /// The candidate that serves: the conversation's model where that was kept, the runner-up where that is tried, else the best.
    pub fn chosen(&self) -> Option<&Weighed> {
        if self.explored {
            return self.runner_up();
        }
        let kept = self.conversation.as_ref().filter(|conversation| conversation.kept);
        let of_conversation = kept.and_then(|kept| self.candidates.iter().find(|candidate| kept.is_of(candidate)));
        of_conversation.or(self.candidates.first()).filter(|chosen| chosen.reason.is_none())
    }

    /// The second of the eligible candidates.
    pub fn runner_up(&self) -> Option<&Weighed> {
        self.candidates.get(1).filter(|second| second.reason.is_none())
    }

    /// Where the best and the runner-up change places; `None` where there is no such pair, or the client named a model.
    pub fn break_even(&self) -> Option<BreakEven<'_>> {
        if self.requested.split(':').next() != Some(AUTO) {
            return None;
        }
        let (best, second) = (self.candidates.first()?, self.runner_up()?);
        let dearer = (second.raw?.as_usd_f64() * second.penalty / (best.raw?.as_usd_f64() * best.penalty)).ln();
        let better = (second.quality / best.quality).ln();
        let complexity = EXPONENT_THRESHOLD + dearer / better / EXPONENT_SLOPE;
        let side = match better {
            better if better > 0.0 && complexity <= 1.0 => Some(Side::From(complexity)),
            better if better < 0.0 && dearer < 0.0 => Some(Side::UpTo(complexity)),
            _ => None,
        };
        Some(BreakEven { second, side })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_threshold_quality_does_not_count() {
        assert_eq!(exponent(0.25), 0.0);
        assert_eq!(exponent(0.1), 0.0);
        assert_eq!(exponent(1.0), 4.5);
    }
}
