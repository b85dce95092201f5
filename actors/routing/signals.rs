//! The five signals: what is measured of a request's text, each in 0..=1.

use serde::{Deserialize, Serialize};

use super::ask::AskView;

/// Raw features of the five signals, measured outside any actor.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Words of the current ask.
    pub words: u32,
    /// Lines of the current ask that look like code.
    pub code_lines: u32,
    /// Question marks, enumerations and clauses of the current ask.
    pub clauses: u32,
    /// Words that ask for reasoning.
    pub reasoning_words: u32,
    /// Tool results since the ask and user turns before it.
    pub turns: u32,
}

/// The five signals, each in 0..=1.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// Prompt length.
    pub length: f64,
    /// Code presence.
    pub code: f64,
    /// Keywords.
    pub keywords: f64,
    /// Structural complexity.
    pub structure: f64,
    /// Conversation depth.
    pub depth: f64,
}

/// Most bytes of an ask that are looked at.
const LOOKED_AT: usize = 16 * 1024;
/// English words that ask for reasoning, in lower case.
const REASONING: [&str; 12] = [
    "prove",
    "proof",
    "derive",
    "design",
    "optimize",
    "optimise",
    "debug",
    "analyze",
    "analyse",
    "why",
    "architecture",
    "tradeoffs",
];

impl Features {
    /// Measures the current ask in one bounded pass.
    pub fn measure(ask: &AskView<'_>) -> Self {
        let text = ask.current;
        let end = (0..=LOOKED_AT.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let text = text.get(..end).unwrap_or_default();
        let mut features = Self { turns: ask.user_turns.saturating_sub(1), ..Self::default() };
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            features.words += 1;
            features.reasoning_words += u32::from(REASONING.iter().any(|known| known.eq_ignore_ascii_case(word)));
        }
        for line in text.lines().map(str::trim) {
            features.code_lines += u32::from(line.ends_with(['{', '}', ';']) || line.starts_with("```"));
        }
        features.clauses = text.bytes().filter(|byte| matches!(byte, b',' | b';' | b':' | b'?')).count() as u32;
        features
    }
}

/// Rises from 0 towards 1 and reaches a half at `half`.
fn saturating(count: u32, half: f64) -> f64 {
    let count = f64::from(count);
    count / (count + half)
}

impl From<&Features> for Signals {
    fn from(features: &Features) -> Self {
        Self {
            length: saturating(features.words, 120.0),
            code: saturating(features.code_lines, 6.0),
            keywords: saturating(features.reasoning_words, 1.5),
            structure: saturating(features.clauses, 12.0),
            depth: saturating(features.turns, 8.0),
        }
    }
}
