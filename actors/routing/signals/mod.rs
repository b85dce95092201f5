//! The five signals: what is measured of a request's text, each in 0..=1.
//!
//! Measuring counts in one bounded pass ([`Features::measure`]), outside any actor. Only what a human asks now is read as the ask: code,
//! logs, quotations, the middle of long documents and text to be reworked are counted as such, and earlier turns are read only where the
//! ask points back to them.

mod bag;
mod lexicon;
mod measures;
mod passage;
mod printed;
mod reader;
#[cfg(test)]
mod tests;
mod wording;

use serde::{Deserialize, Serialize};

use super::ask::AskView;
pub use bag::Bag;
pub use measures::Measure;
use reader::Reader;

/// What is counted of a request: a fixed number of small counts, and which words the ask has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    counts: [u16; Measure::COUNT],
    bag: Bag,
}

impl Default for Features {
    fn default() -> Self {
        Self { counts: [0; Measure::COUNT], bag: Bag::default() }
    }
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

/// An ask with more words than this says itself what it is about.
const POINTING_WORDS: u32 = 14;
/// A shorter ask that begins so goes on from what was said before.
const CONTINUATIONS: [&str; 24] = [
    "and ",
    "are you sure",
    "that is wrong",
    "or ",
    "but ",
    "what about ",
    "how about ",
    "und ",
    "oder ",
    "et ",
    "mais ",
    "y ",
    "e ",
    "ma ",
    "en ",
    "ve ",
    "dan ",
    "och ",
    "и ",
    "а ",
    "И ",
    "А ",
    "那",
    "では",
];

/// Short messages that ask for nothing, beside those that the lexicon knows by a word.
const COURTESIES: [&str; 12] = [
    "makes sense",
    "that makes sense",
    "stop",
    "stop.",
    "k",
    "how are you?",
    "how are you",
    "that helps",
    "got it",
    "that works",
    "it works",
    "it works now",
];

impl Features {
    /// Measures an ask in one bounded pass.
    pub fn measure(ask: &AskView<'_>) -> Self {
        let mut features = Self { bag: Bag::for_text(ask.current.len()), ..Self::default() };
        let mut reader = Reader::new(&mut features);
        passage::pieces(ask.current, |kind, text| reader.piece(kind, text));
        reader.finish();
        let [nearer, farther] = ask.earlier;
        if features.points_back(ask.current) && !nearer.trim().is_empty() {
            let mut earlier = Self::default();
            let mut reader = Reader::new(&mut earlier);
            passage::pieces(nearer, |kind, text| reader.piece(kind, text));
            reader.finish();
            let mut turns = 1;
            if earlier.points_back(nearer) && !farther.trim().is_empty() {
                let mut reader = Reader::new(&mut earlier);
                passage::pieces(farther, |kind, text| reader.piece(kind, text));
                reader.finish();
                turns = 2;
            }
            features.join(&earlier);
            features.set(Measure::Refers, turns);
        }
        features.set(Measure::Turns, ask.user_turns.saturating_sub(1));
        features.set(Measure::ToolResults, ask.tool_results_since_ask);
        features.set(Measure::Tools, ask.tools);
        features.set(Measure::Structured, u32::from(ask.structured_output));
        features.set(Measure::Attachments, ask.attachments);
        features
    }

    /// How many there are of something.
    pub fn get(&self, measure: Measure) -> u32 {
        self.counts.get(measure as usize).copied().map_or(0, u32::from)
    }

    /// All counts, in the order of [`Measure`].
    pub fn counts(&self) -> &[u16; Measure::COUNT] {
        &self.counts
    }

    /// The words and pairs of words.
    pub fn bag(&self) -> &Bag {
        &self.bag
    }

    /// Whether there is anything to score by.
    pub fn is_empty(&self) -> bool {
        self.get(Measure::Words)
            + self.get(Measure::CodeLines)
            + self.get(Measure::LogLines)
            + self.get(Measure::Material)
            == 0
    }

    /// The same with none of something.
    pub fn without(&self, measure: Measure) -> Self {
        let mut without = self.clone();
        without.set(measure, 0);
        without
    }

    /// The words of a text, each once, that count as something that the lexicon knows.
    pub fn words_of(text: &str, measure: Measure) -> Vec<&str> {
        let mut words: Vec<&str> = Vec::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let counted = Self::measure(&AskView { current: word, ..AskView::default() });
            if counted.get(measure) > 0 && !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    fn set(&mut self, measure: Measure, count: u32) {
        if let Some(slot) = self.counts.get_mut(measure as usize) {
            *slot = u16::try_from(count).unwrap_or(u16::MAX);
        }
    }

    fn add(&mut self, measure: Measure, count: u32) {
        if count > 0 {
            self.set(measure, self.get(measure).saturating_add(count));
        }
    }

    /// Whether the ask is too short to stand alone and neither a courtesy nor a whole question.
    fn points_back(&self, text: &str) -> bool {
        let words = self.get(Measure::Words);
        let text = text.trim();
        if words == 0 || words > POINTING_WORDS || COURTESIES.iter().any(|said| said.eq_ignore_ascii_case(text)) {
            return false;
        }
        let begins_so =
            |beginning: &&str| text.get(..beginning.len()).is_some_and(|it| it.eq_ignore_ascii_case(beginning));
        if CONTINUATIONS.iter().any(begins_so) {
            return true;
        }
        // `who was Cleopatra?` needs nothing from before, `which one?` does.
        let about = self.get(Measure::Names) + self.get(Measure::Rare) + self.get(Measure::Everyday);
        let asks_fact = words >= 3 && self.get(Measure::Factual) > 0 && about > 0;
        let whole = asks_fact || self.get(Measure::Lookup) + self.get(Measure::Rework) > 0;
        self.get(Measure::Greeting) == 0 && (self.get(Measure::Reference) > 0 || (words <= 4 && !whole))
    }

    /// Takes over what an earlier turn was about.
    fn join(&mut self, earlier: &Self) {
        self.bag.join(&earlier.bag);
        for (index, (count, before)) in self.counts.iter_mut().zip(&earlier.counts).enumerate() {
            *count = match index {
                _ if index == Measure::WordLength as usize => (*count).max(*before),
                _ if index == Measure::Distinct as usize || index == Measure::OtherScript as usize => {
                    (*count).min(*before)
                }
                _ if index == Measure::LongestSentence as usize || index == Measure::Nesting as usize => {
                    (*count).max(*before)
                }
                _ => count.saturating_add(*before),
            };
        }
    }
}

/// Rises from 0 towards 1 and reaches a half at `half`.
fn saturating(count: f64, half: f64) -> f64 {
    count / (count + half)
}

impl From<&Features> for Signals {
    fn from(features: &Features) -> Self {
        let count = |measure| f64::from(features.get(measure));
        let terms =
            [Measure::Maths, Measure::Science, Measure::Medicine, Measure::Law, Measure::Systems, Measure::Puzzle];
        let tasks = [Measure::Prove, Measure::Reason, Measure::Design, Measure::Fault];
        // What stock phrases say of the task they take away again.
        let asked = (tasks.into_iter().map(count).sum::<f64>() - count(Measure::Stock)).max(0.0);
        let keywords = terms.into_iter().map(count).sum::<f64>() + asked + count(Measure::Programming) / 2.0;
        let code = count(Measure::CodeLines) + count(Measure::Identifiers) + count(Measure::Programming) / 2.0;
        let structure = count(Measure::Clauses)
            + count(Measure::Condition)
            + 2.0 * count(Measure::Items)
            + count(Measure::Options)
            + count(Measure::Symbols) / 2.0
            + count(Measure::Sentences)
            - 1.0;
        let length = count(Measure::Words) + count(Measure::Material) / 8.0;
        Self {
            length: saturating(length, 80.0),
            code: saturating(code, 6.0),
            keywords: saturating(keywords, 4.0),
            structure: saturating(structure.max(0.0), 10.0),
            depth: saturating(count(Measure::Turns) + count(Measure::ToolResults), 8.0),
        }
    }
}
