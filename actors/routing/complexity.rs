//! From the counts and signals of a request to one complexity.
//!
//! The log-odds that a cheap model fails where a strong one succeeds are a weighted sum of the five signals, corrected by small decision
//! trees over what the signals are made of and, within bounds, by the words of the ask and their pairs. A rising curve turns them into a
//! complexity that uses the whole of 0..=1. All numbers are data: `config/scorer.toml`.

mod trees;
mod vocabulary;

use serde::Deserialize;
use trees::{Tree, Trees};
use vocabulary::Vocabulary;

use super::decision::Basis;
use super::signals::{Features, Measure, Signals};

/// How signals and counts become a complexity. Read from a data file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Weights {
    version: u32,
    bias: f64,
    signals: Signals,
    trees: Trees,
    vocabulary: Option<Vocabulary>,
    curve: Vec<(f64, f64)>,
}

/// [`Weights`] as they stand in a file, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    bias: f64,
    signals: Signals,
    #[serde(default)]
    trees: Vec<Tree>,
    vocabulary: Option<Vocabulary>,
    curve: Vec<(f64, f64)>,
}

impl TryFrom<Written> for Weights {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { version, bias, signals, trees, vocabulary, curve } = written;
        let rises =
            curve.windows(2).all(|pair| matches!(pair, [(x, y), (next_x, next_y)] if x < next_x && y <= next_y));
        if curve.is_empty() || !rises || curve.iter().any(|(_, y)| !(0.0..=1.0).contains(y)) {
            return Err("the curve has to rise within 0..=1".to_owned());
        }
        let numbers = [bias, signals.length, signals.code, signals.keywords, signals.structure, signals.depth];
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err("a weight is no number".to_owned());
        }
        Ok(Self { version, bias, signals, trees: trees.try_into()?, vocabulary, curve })
    }
}

impl Default for Weights {
    /// Weights by judgement, for when no file is at hand: the signals alone.
    fn default() -> Self {
        let signals = Signals { length: 0.5, code: 1.0, keywords: 5.0, structure: 1.5, depth: 0.3 };
        let curve = vec![(-4.0, 0.0), (0.0, 0.5), (4.0, 1.0)];
        Self { version: 0, bias: -3.0, signals, trees: Trees::default(), vocabulary: None, curve }
    }
}

impl Weights {
    /// Which edition of the file they are; 0 for those built in.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Log-odds that the request needs a strong model.
    fn log_odds(&self, features: &Features, signals: &Signals) -> f64 {
        let weighted = self.signals.length * signals.length
            + self.signals.code * signals.code
            + self.signals.keywords * signals.keywords
            + self.signals.structure * signals.structure
            + self.signals.depth * signals.depth;
        self.bias + weighted + self.trees.of(features) + self.vocabulary(features)
    }

    /// What the words of the ask and their pairs add to the log-odds, whatever they mean.
    pub fn vocabulary(&self, features: &Features) -> f64 {
        self.vocabulary.as_ref().map_or(0.0, |vocabulary| vocabulary.of(features.bag()))
    }

    /// The words of a text that count in [`vocabulary`](Self::vocabulary), and their pairs, each with what it adds, the strongest first.
    pub fn vocabulary_told(&self, text: &str, features: &Features) -> Vec<(String, f64)> {
        self.vocabulary.as_ref().map_or_else(Vec::new, |vocabulary| vocabulary.told(text, features.bag()))
    }

    /// What each thing counted adds to the log-odds: how much lower they would be without it, the strongest first.
    pub fn movers(&self, features: &Features) -> Vec<(Measure, f64)> {
        let whole = self.log_odds(features, &Signals::from(features));
        let mut movers: Vec<_> = Measure::all()
            .filter(|&measure| features.get(measure) > 0)
            .map(|measure| {
                let without = features.without(measure);
                (measure, whole - self.log_odds(&without, &Signals::from(&without)))
            })
            .collect();
        movers.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        movers
    }

    /// The curve at some log-odds: straight between its points, level beyond them.
    fn complexity(&self, log_odds: f64) -> f64 {
        let mut before: Option<(f64, f64)> = None;
        for &(x, y) in &self.curve {
            if log_odds <= x {
                let Some((left, low)) = before else { return y };
                return low + (y - low) * (log_odds - left) / (x - left);
            }
            before = Some((x, y));
        }
        before.map_or(0.0, |(_, last)| last)
    }
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

/// Weighs a request; without any word to score by, `default` holds.
pub fn assess(features: &Features, weights: &Weights, default: f64) -> Assessment {
    let signals = Signals::from(features);
    if features.is_empty() {
        return Assessment { complexity: Complexity::clamped(default), signals, basis: Basis::None };
    }
    let complexity = weights.complexity(weights.log_odds(features, &signals));
    Assessment { complexity: Complexity::clamped(complexity), signals, basis: Basis::Scored }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::ask::AskView;

    fn assessed(text: &str, weights: &Weights) -> Assessment {
        let ask = AskView { current: text, user_turns: 1, ..AskView::default() };
        assess(&Features::measure(&ask), weights, 0.4)
    }

    fn complexity(text: &str) -> f64 {
        assessed(text, &Weights::default()).complexity.get()
    }

    #[test]
    fn an_ask_without_words_takes_the_default_and_says_so() {
        for text in ["", "  ", "?!", "\u{1F600}\u{1F600}"] {
            let assessed = assessed(text, &Weights::default());
            assert_eq!((assessed.basis, assessed.complexity.get()), (Basis::None, 0.4), "{text:?}");
        }
    }

    #[test]
    fn a_greeting_is_simple_and_a_proof_is_not() {
        assert!(complexity("Hello there!") < 0.25);
        assert!(complexity("Prove that there are infinitely many primes.") > complexity("Hello there!"));
    }

    #[test]
    fn a_tree_adds_what_its_leaf_says() {
        let weights: Weights = serde_json::from_str(
            r#"{"version": 1, "bias": 0.0, "signals": {"length": 0, "code": 0, "keywords": 0, "structure": 0, "depth": 0},
                "trees": [{"above": [["words", 2.5], ["maths/words", 300]], "add": [0.1, 0.2, 0.3, 0.4]}],
                "curve": [[0.0, 0.0], [1.0, 1.0]]}"#,
        )
        .unwrap();
        for (text, expected) in [("so it", 0.1), ("prime matrix", 0.2), ("so it is", 0.3), ("prime matrix it", 0.4)] {
            assert!((assessed(text, &weights).complexity.get() - expected).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn what_moved_the_score_is_told_the_strongest_first() {
        let features = Features::measure(&AskView {
            current: "Prove that the prime is infinite.",
            user_turns: 1,
            ..AskView::default()
        });
        let movers = Weights::default().movers(&features);
        let named: Vec<_> = movers.iter().map(|(measure, _)| *measure).collect();
        assert!(named.contains(&Measure::Prove) && named.contains(&Measure::Maths), "{movers:?}");
        assert!(movers.windows(2).all(|pair| pair[0].1.abs() >= pair[1].1.abs()), "{movers:?}");
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let file = |trees: &str, curve: &str| {
            let signals = r#"{"length": 0, "code": 0, "keywords": 0, "structure": 0, "depth": 0}"#;
            let text =
                format!(r#"{{"version": 1, "bias": 0, "signals": {signals}, "trees": {trees}, "curve": {curve}}}"#);
            serde_json::from_str::<Weights>(&text)
        };
        assert!(file("[]", "[[0, 0.1], [1, 0.9]]").is_ok());
        assert!(file("[]", "[]").is_err());
        assert!(file("[]", "[[0, 0.9], [1, 0.1]]").is_err());
        assert!(file("[]", "[[0, 0.1], [1, 1.9]]").is_err());
        assert!(file(r#"[{"above": [["words", 1]], "add": [1]}]"#, "[[0, 0.1]]").is_err());
        assert!(file(r#"[{"above": [["wordz", 1]], "add": [1, 2]}]"#, "[[0, 0.1]]").is_err());
    }
}
