//! What the words and pairs of words of an ask add to the log-odds, whatever they mean.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::routing::ask::AskView;
use crate::routing::signals::{Bag, Features};

/// An ask with fewer buckets is taken to have this many, lest one word decide.
const LEAST_BUCKETS: usize = 8;
/// Words of a text that are looked at to tell which of them move the score.
const WORDS_TOLD: usize = 1_000;

/// A weight for each bucket of a [`Bag`]. An ask's weights add up to their sum over the root of their number.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Vocabulary {
    /// Log-odds of one step of a weight.
    step: f64,
    /// What an average ask gets: taken off.
    usual: f64,
    /// The least and the most that an ask's words add, so that no stuffing of phrases decides alone.
    bounds: (f64, f64),
    weights: Box<[i8]>,
}

/// A [`Vocabulary`] as it stands in a file: the weights in base64, line by line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    step: f64,
    usual: f64,
    bounds: (f64, f64),
    weights: Vec<String>,
}

impl TryFrom<Written> for Vocabulary {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { step, usual, bounds, weights } = written;
        let bytes = STANDARD.decode(weights.concat()).map_err(|error| format!("the words' weights: {error}"))?;
        if bytes.len() != Bag::BUCKETS {
            return Err(format!("there are {} weights of words, not {}", bytes.len(), Bag::BUCKETS));
        }
        if ![step, usual, bounds.0, bounds.1].iter().all(|number| number.is_finite()) || bounds.0 > bounds.1 {
            return Err("the words' step, usual or bounds are no numbers".to_owned());
        }
        Ok(Self { step, usual, bounds, weights: bytes.into_iter().map(u8::cast_signed).collect() })
    }
}

impl Vocabulary {
    /// What the words of a bag add; nothing where there are none.
    pub(super) fn of(&self, bag: &Bag) -> f64 {
        let count = bag.buckets().len();
        if count == 0 {
            return 0.0;
        }
        let (least, most) = self.bounds;
        (self.sum(bag) * self.step / Self::root(count) - self.usual).clamp(least, most)
    }

    /// The words of a text that are in an ask's bag, and their pairs, each with what it adds, the strongest first.
    pub(super) fn told(&self, text: &str, bag: &Bag) -> Vec<(String, f64)> {
        let scale = self.step / Self::root(bag.buckets().len());
        let mut told: Vec<(String, f64)> = Vec::new();
        // What a word or pair adds beside its parts, where the ask has it.
        let mut tell = |part: &str, apart: f64| {
            let of_part = Features::measure(&AskView { current: part, ..AskView::default() });
            let adds = self.sum(of_part.bag()) * scale;
            if bag.holds(of_part.bag()) && !told.iter().any(|(known, _)| known.eq_ignore_ascii_case(part)) {
                told.push((part.to_owned(), adds - apart));
            }
            adds
        };
        let mut before = ("", 0.0);
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        for word in words.take(WORDS_TOLD) {
            let adds = tell(word, 0.0);
            if !before.0.is_empty() {
                tell(&format!("{} {word}", before.0), before.1 + adds);
            }
            before = (word, adds);
        }
        told.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        told
    }

    fn sum(&self, bag: &Bag) -> f64 {
        let weight = |&bucket: &u16| self.weights.get(usize::from(bucket)).copied().map_or(0, i32::from);
        f64::from(bag.buckets().iter().map(weight).sum::<i32>())
    }

    fn root(buckets: usize) -> f64 {
        (buckets.max(LEAST_BUCKETS) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(text: &str) -> Features {
        Features::measure(&AskView { current: text, user_turns: 1, ..AskView::default() })
    }

    /// A vocabulary in which one word weighs so much, and nothing else anything.
    fn of_one(word: &str, weight: i8) -> Vocabulary {
        let mut weights = vec![0; Bag::BUCKETS];
        for &bucket in features(word).bag().buckets() {
            weights[usize::from(bucket)] = weight.cast_unsigned();
        }
        let lines: Vec<String> = weights.chunks(96).map(|line| STANDARD.encode(line)).collect();
        let file = serde_json::json!({"step": 0.01, "usual": 0.25, "bounds": [-1.0, 0.1], "weights": lines});
        serde_json::from_value(file).unwrap()
    }

    #[test]
    fn a_word_adds_its_weight_over_the_root_of_how_many_there_are() {
        let vocabulary = of_one("lemma", 80);
        let adds = |text: &str| vocabulary.of(features(text).bag());
        // Three words and two pairs count as eight, the least.
        assert!((adds("a lemma here") - (0.8 / 8f64.sqrt() - 0.25)).abs() < 1e-9);
        // Eight words and seven pairs.
        assert!((adds("one two three four five six seven lemma") - (0.8 / 15f64.sqrt() - 0.25)).abs() < 1e-9);
        assert_eq!(adds("a lemma, a lemma"), adds("Lemma a lemma A"), "said twice, it counts once");
    }

    #[test]
    fn without_words_it_adds_nothing_and_with_any_no_more_than_its_bounds() {
        assert_eq!(of_one("lemma", 80).of(features("?!").bag()), 0.0);
        assert_eq!(of_one("lemma", 127).of(features("lemma").bag()), 0.1);
        assert_eq!(of_one("lemma", -128).of(features("lemma").bag()), -0.25 - 1.28 / 8f64.sqrt());
    }

    #[test]
    fn the_words_that_tell_are_named_the_strongest_first() {
        let text = "Which lemma is it?";
        let told = of_one("lemma", 80).told(text, features(text).bag());
        assert_eq!(told.first().map(|(word, _)| word.as_str()), Some("lemma"));
        assert!(told.iter().any(|(word, adds)| word == "Which lemma" && adds.abs() < 1e-9), "{told:?}");
    }

    #[test]
    fn weights_that_are_too_few_or_no_base64_are_refused() {
        let read = |weights: &str| {
            let file = serde_json::json!({"step": 0.1, "usual": 0.0, "bounds": [-1.0, 1.0], "weights": [weights]});
            serde_json::from_value::<Vocabulary>(file)
        };
        assert!(read("AAAA").is_err());
        assert!(read("A-A!").is_err());
    }
}
