//! Small decision trees over what is counted of a request.

use serde::Deserialize;

use crate::routing::signals::{Features, Measure};

/// Deepest tree of a file.
const DEEPEST: usize = 6;

/// What a tree looks at, as its place among the [`Values`]: a count as it is (`maths`), or for each thousand words of the ask
/// (`maths/words`).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Input(u8);

impl TryFrom<String> for Input {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, share) = match text.strip_suffix("/words") {
            Some(name) => (name, true),
            None => (text.as_str(), false),
        };
        let measure = Measure::named(name).ok_or_else(|| format!("nothing is counted under the name `{name}`"))?;
        let place = measure as usize + if share { Measure::COUNT } else { 0 };
        u8::try_from(place).map(Self).map_err(|error| format!("`{name}`: {error}"))
    }
}

/// Places of [`Values`]: as many as an [`Input`] can name, so that none is looked up in vain.
const PLACES: usize = 1 << u8::BITS;

/// All that trees may look at, computed once for all of them: the counts, then their shares.
struct Values([f32; PLACES]);

impl Values {
    fn of(features: &Features) -> Self {
        let words = features.get(Measure::Words).max(1) as f32;
        let mut values = [0.0; PLACES];
        let (counts, shares) = values.split_at_mut(Measure::COUNT);
        for ((count, share), &counted) in counts.iter_mut().zip(shares).zip(features.counts()) {
            *count = f32::from(counted);
            *share = *count * 1_000.0 / words;
        }
        Self(values)
    }

    fn exceeds(&self, Input(place): Input, threshold: f32) -> bool {
        self.0.get(usize::from(place)).is_some_and(|&value| value > threshold)
    }

    /// The leaf that the answers to some questions lead to.
    #[inline]
    fn leaf(&self, above: &[(Input, f32)]) -> usize {
        above.iter().fold(0, |leaf, &(input, threshold)| leaf * 2 + usize::from(self.exceeds(input, threshold)))
    }
}

/// A symmetric decision tree, as it stands in a file: every level asks one question of all requests, and the answers together name the
/// leaf.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    /// Whether an input is above a threshold, the first question first.
    above: Vec<(Input, f32)>,
    /// What each leaf adds to the log-odds; a yes to the first question leads to the second half.
    add: Vec<f32>,
}

/// All trees, one behind the other: they are walked through for every request.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Trees {
    depths: Vec<usize>,
    questions: Vec<(Input, f32)>,
    leaves: Vec<f32>,
}

impl TryFrom<Vec<Tree>> for Trees {
    type Error = String;

    fn try_from(written: Vec<Tree>) -> Result<Self, String> {
        let mut trees = Self::default();
        for (number, Tree { above, add }) in written.into_iter().enumerate() {
            if above.len() > DEEPEST || add.len() != 1 << above.len() {
                return Err(format!("tree {number} has {} questions and {} leaves", above.len(), add.len()));
            }
            if !add.iter().all(|leaf| leaf.is_finite()) {
                return Err(format!("a leaf of tree {number} is no number"));
            }
            trees.depths.push(above.len());
            trees.questions.extend(above);
            trees.leaves.extend(add);
        }
        Ok(trees)
    }
}

impl Trees {
    /// What all trees together add to the log-odds.
    pub(super) fn of(&self, features: &Features) -> f64 {
        let values = Values::of(features);
        let (mut questions, mut leaves) = (self.questions.as_slice(), self.leaves.as_slice());
        let mut total = 0.0;
        for &depth in &self.depths {
            let (Some((above, further)), Some((add, beyond))) =
                (questions.split_at_checked(depth), leaves.split_at_checked(1 << depth))
            else {
                break;
            };
            // The usual depths are known to the compiler, which then writes no loop.
            let leaf = match depth {
                3 => above.first_chunk::<3>().map_or(0, |above| values.leaf(above)),
                5 => above.first_chunk::<5>().map_or(0, |above| values.leaf(above)),
                _ => values.leaf(above),
            };
            total += add.get(leaf).copied().map_or(0.0, f64::from);
            (questions, leaves) = (further, beyond);
        }
        total
    }
}
