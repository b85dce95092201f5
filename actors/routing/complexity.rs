//! From the five signals to one complexity.

use serde::Deserialize;

use super::decision::Basis;
use super::signals::{Features, Signals};

/// How much each signal weighs. Read from a data file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Of prompt length.
    pub length: f64,
    /// Of code presence.
    pub code: f64,
    /// Of keywords.
    pub keywords: f64,
    /// Of structural complexity.
    pub structure: f64,
    /// Of conversation depth.
    pub depth: f64,
}

/// A complexity in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Complexity(f64);

impl Complexity {
    /// The nearest complexity to a number; what is no number is none.
    pub fn clamped(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// A complexity with what it stands on.
#[derive(Debug, Clone, Copy)]
pub struct Assessment {
    /// The complexity.
    pub complexity: Complexity,
    /// The five signals.
    pub signals: Signals,
    /// How it came about: scored, or nothing to score by.
    pub basis: Basis,
}

/// Weighs the signals of a request; without any word to score by, `default` holds.
pub fn assess(features: &Features, weights: &Weights, default: f64) -> Assessment {
    let signals = Signals::from(features);
    if features.words == 0 {
        return Assessment { complexity: Complexity::clamped(default), signals, basis: Basis::None };
    }
    let sum = weights.length * signals.length
        + weights.code * signals.code
        + weights.keywords * signals.keywords
        + weights.structure * signals.structure
        + weights.depth * signals.depth;
    Assessment { complexity: Complexity::clamped(sum), signals, basis: Basis::Scored }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::ask::AskView;

    const WEIGHTS: Weights = Weights { length: 0.2, code: 0.2, keywords: 0.5, structure: 0.2, depth: 0.05 };

    fn complexity(text: &str) -> Assessment {
        let ask = AskView { current: text, user_turns: 1, ..AskView::default() };
        assess(&Features::measure(&ask), &WEIGHTS, 0.4)
    }

    #[test]
    fn an_empty_ask_takes_the_default_and_says_so() {
        let assessed = complexity("  ");
        assert_eq!((assessed.basis, assessed.complexity.get()), (Basis::None, 0.4));
    }

    #[test]
    fn a_greeting_is_simple_and_a_proof_is_not() {
        assert!(complexity("Hello there!").complexity.get() < 0.25);
        assert!(
            complexity("Prove that there are infinitely many primes.").complexity
                > complexity("Hello there!").complexity
        );
    }

    #[test]
    fn a_megabyte_is_measured_by_its_head() {
        let text = "why ".repeat(300_000);
        assert!(complexity(&text).complexity.get() <= 1.0);
        let cut = "\u{1F600}".repeat(10_000);
        assert_eq!(complexity(&cut).basis, Basis::None);
    }
}
