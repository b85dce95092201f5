//! What a tenant's own requests say of a model: a pure function from what became of its answers to a shift of its quality.
//!
//! The catalogue's quality `q` is the chance of a good answer to a *demanding* request. Answers come of requests of every kind, so they are
//! held against the chance of a good answer to an average one, `e`. Two Beta posteriors, each with the mean `e` and the weight of `W`
//! answers before anything is known:
//!
//! ```text
//! e       = logistic(logit(q) + 2.66)
//! ended   = (W e + sound e) / (W + sound + failed)        how answers ended by themselves
//! judged  = (W e + 3 Σ score) / (W + 3 n)                 what feedback says of n of them
//! shift   = logit(ended) - logit(e) + logit(judged) - logit(e), held within ±1
//! quality = logistic(logit(q) + shift)
//! ```
//!
//! An answer that ended well is no praise: it counts as what was expected of the model, so that it makes up for failures and never lifts
//! a model above the catalogue. Otherwise whoever is chosen often would rise for that alone. Only feedback lifts. It stands apart, since
//! few requests are judged: the many that ended in silence would drown it. Without outcomes the shift is exactly 0. All counts halve every
//! [`HALF_LIFE`]; what a model did long ago is forgotten, for better or worse. With `W` = 100 a first failure costs a model of `q` = 0.5
//! 0.14 on the logit scale and twelve cost it 1; beyond that nothing counts, so that no tenant's mishaps, and no malice of its users, can
//! do more to its own choice than one shift of the odds by 2.7, about a third of what stands between a demanding request and an average
//! one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::signals::{Measure, Signals};

/// How much lower, in logits, models score on demanding requests than on average ones: fitted, see the head of `config/catalogue.toml`.
pub const DEMAND: f64 = 2.66;
/// What is known before any answer weighs as much as so many answers.
pub const PRIOR_WEIGHT: f64 = 100.0;
/// What somebody said of an answer weighs as much as so many that nobody spoke of.
pub const FEEDBACK_WEIGHT: f64 = 3.0;
/// The most that quality is shifted by, in logits.
pub const BOUND: f64 = 1.0;
/// Seconds after which an outcome counts half: a week, in which each day of the week comes once.
pub const HALF_LIFE: f64 = 7.0 * 86_400.0;
/// Qualities count as lying this far from 0 and 1, where a logit has no value.
const MARGIN: f64 = 0.001;
/// Standard deviations on either side of a 95 % interval.
const WIDTH_95: f64 = 1.96;

/// What kind of task a request is, as far as a model may be good at one and bad at another.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// The answer must be JSON.
    Structured,
    /// The model may call functions.
    Tools,
    /// The ask is about code.
    Code,
    /// All else.
    #[default]
    Prose,
}

/// The signal of code from which on an ask is about code: two lines of it, or words that say as much.
const CODE: f64 = 0.25;

impl Task {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Structured, Self::Tools, Self::Code, Self::Prose];

    /// The kind of a request.
    pub fn of(digest: &Digest, signals: &Signals) -> Self {
        let features = &digest.demand.features;
        match () {
            () if features.get(Measure::Structured) > 0 => Self::Structured,
            () if features.get(Measure::Tools) > 0 => Self::Tools,
            () if signals.code >= CODE => Self::Code,
            () => Self::Prose,
        }
    }

    /// The name in every interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Tools => "tools",
            Self::Code => "code",
            Self::Prose => "prose",
        }
    }
}

/// What became of an answer, as far as that says something of its model. What broke on the way is the matter of the provider's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ended well.
    Sound,
    /// The model refused, or its provider filtered the answer.
    Refused,
    /// It ran into a limit that the client had not set.
    CutOff,
    /// It should have been JSON, or called a function with arguments that should have been, and was not.
    Malformed,
    /// The same was asked again at the same place of the conversation, as who wants another answer does.
    AskedAgain,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sound, Self::Refused, Self::CutOff, Self::Malformed, Self::AskedAgain];

    /// The name in every interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Refused => "refused",
            Self::CutOff => "cut_off",
            Self::Malformed => "malformed",
            Self::AskedAgain => "asked_again",
        }
    }

    /// How good an answer is of which this is said, from 0 to 1.
    pub fn worth(self) -> f64 {
        1.0 - self.failure()
    }

    /// How much of a failure it is. Who asks again may only be curious, and a long answer may be good as far as it goes.
    fn failure(self) -> f64 {
        match self {
            Self::Sound => 0.0,
            Self::Refused | Self::Malformed => 1.0,
            Self::CutOff | Self::AskedAgain => 0.5,
        }
    }
}

/// What is known of one model's answers to one kind of task. Counts are as of `at`, those of long ago counting less.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Answers by what became of them, in the order of [`Verdict::ALL`].
    pub endings: [f64; Verdict::ALL.len()],
    /// Answers that feedback was given on.
    pub judged: f64,
    /// The sum of their scores.
    pub scores: f64,
    /// When the counts were last changed.
    pub at: Timestamp,
}

/// A share of good answers, estimated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean of its Beta posterior.
    pub mean: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    fn of(mean: f64, weight: f64) -> Self {
        // The usual approximation: the logit of a Beta variable is near to normal, with this deviation.
        let deviation = 1.0 / ((weight + 1.0) * mean * (1.0 - mean)).sqrt();
        let end = |sign: f64| logistic(logit(mean) + sign * WIDTH_95 * deviation);
        Self { mean, low: end(-1.0), high: end(1.0) }
    }
}

impl Evidence {
    /// The same as of a later instant.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        let factor = fading(self.at, now);
        self.endings.iter_mut().chain([&mut self.judged, &mut self.scores]).for_each(|count| *count *= factor);
        self.at = self.at.max(now);
        self
    }

    /// An answer has ended.
    pub fn note(&mut self, verdict: Verdict, now: Timestamp) {
        *self = self.as_of(now);
        if let Some(count) = self.endings.get_mut(verdict as usize) {
            *count += 1.0;
        }
    }

    /// Somebody judged an answer: `score` in 0..=1.
    pub fn judge(&mut self, score: f64, now: Timestamp) {
        *self = self.as_of(now);
        self.judged += 1.0;
        self.scores += score;
    }

    /// What was said of an answer at an earlier instant holds no longer.
    pub fn withdraw(&mut self, score: f64, said: Timestamp, now: Timestamp) {
        *self = self.as_of(now);
        let left = fading(said, now);
        self.judged = (self.judged - left).max(0.0);
        self.scores = (self.scores - score * left).clamp(0.0, self.judged);
    }

    /// How answers of a model of this quality ended by themselves.
    pub fn ended(&self, quality: f64) -> Estimate {
        let expected = expected(quality);
        let (mut answers, mut failed) = (0.0, 0.0);
        for (verdict, count) in Verdict::ALL.into_iter().zip(self.endings) {
            answers += count * if verdict == Verdict::Sound { 1.0 } else { verdict.failure() };
            failed += count * verdict.failure();
        }
        let weight = PRIOR_WEIGHT + answers;
        Estimate::of(expected - expected * failed / weight, weight)
    }

    /// What feedback says of answers of a model of this quality.
    pub fn judgement(&self, quality: f64) -> Estimate {
        let expected = expected(quality);
        let weight = PRIOR_WEIGHT + FEEDBACK_WEIGHT * self.judged;
        let surplus = FEEDBACK_WEIGHT * (self.scores - self.judged * expected);
        Estimate::of(expected + surplus / weight, weight)
    }

    /// What the quality of a model is shifted by at this instant, in logits within ±[`BOUND`].
    pub fn shift(&self, quality: f64, now: Timestamp) -> f64 {
        let known = self.as_of(now);
        let expected = logit(expected(quality));
        let moved = |estimate: Estimate| logit(estimate.mean) - expected;
        (moved(known.ended(quality)) + moved(known.judgement(quality))).clamp(-BOUND, BOUND)
    }

    /// Whether it says anything but that answers ended well.
    pub fn moves(&self) -> bool {
        let [_, failed @ ..] = self.endings;
        self.judged > 0.0 || failed.into_iter().any(|count| count > 0.0)
    }

    /// Whether so little is left that nothing can come of it.
    pub fn is_faded(&self, now: Timestamp) -> bool {
        let known = self.as_of(now);
        known.endings.iter().chain([&known.judged]).sum::<f64>() < 0.01
    }
}

/// The chance of a good answer to an average request, of a model of this quality.
pub fn expected(quality: f64) -> f64 {
    logistic(logit(quality) + DEMAND)
}

/// A quality shifted by so many logits; by none it stays what it is to the last bit.
pub fn shifted(quality: f64, shift: f64) -> f64 {
    if shift == 0.0 { quality } else { logistic(logit(quality) + shift) }
}

/// What is left of something counted at `then`.
fn fading(then: Timestamp, now: Timestamp) -> f64 {
    (-now.duration_since(then).as_secs_f64().max(0.0) / HALF_LIFE).exp2()
}

fn logit(chance: f64) -> f64 {
    let chance = chance.clamp(MARGIN, 1.0 - MARGIN);
    (chance / (1.0 - chance)).ln()
}

fn logistic(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Evidence after so many answers of each kind, all at the beginning of time.
    fn after(endings: &[(Verdict, u32)]) -> Evidence {
        let mut evidence = Evidence::default();
        for (verdict, times) in endings {
            (0..*times).for_each(|_| evidence.note(*verdict, at(0)));
        }
        evidence
    }

    #[test]
    fn answers_that_end_well_change_nothing_at_all() {
        let evidence = after(&[(Verdict::Sound, 1_000)]);
        for quality in [0.001, 0.11, 0.5, 0.97, 1.0] {
            assert_eq!(evidence.shift(quality, at(0)), 0.0, "{quality}");
            assert_eq!(shifted(quality, 0.0), quality);
        }
    }

    #[test]
    fn the_formula_is_the_documented_one() {
        let mut evidence = after(&[(Verdict::Sound, 40), (Verdict::Malformed, 2), (Verdict::CutOff, 4)]);
        evidence.judge(0.5, at(0));
        let average = 1.0 / (1.0 + (-2.66_f64).exp());
        let (ended, judged) =
            ((100.0 + 40.0) * average / (100.0 + 40.0 + 4.0), (100.0 * average + 3.0 * 0.5) / (100.0 + 3.0));
        assert!((evidence.ended(0.5).mean - ended).abs() < 1e-12);
        assert!((evidence.judgement(0.5).mean - judged).abs() < 1e-12);
        let odds = |share: f64| (share / (1.0 - share)).ln() - 2.66;
        assert!((evidence.shift(0.5, at(0)) - odds(ended) - odds(judged)).abs() < 1e-9);
    }

    #[test]
    fn a_model_that_regresses_falls_to_the_bound_and_comes_back_by_good_answers_and_by_time() {
        let fallen = after(&[(Verdict::Malformed, 12)]);
        assert_eq!(fallen.shift(0.5, at(0)), -BOUND);
        assert!((after(&[(Verdict::Malformed, 1)]).shift(0.5, at(0)) + 0.143).abs() < 0.001);
        assert_eq!(after(&[(Verdict::Malformed, 10_000)]).shift(0.5, at(0)), -BOUND);
        // Where it had done well before, as many failures say less.
        assert!(after(&[(Verdict::Sound, 400), (Verdict::Malformed, 12)]).shift(0.5, at(0)) > -0.4);
        let weeks = |weeks: i64| fallen.shift(0.5, at(weeks * 7 * DAY));
        assert!(weeks(1) > -0.75 && weeks(2) > -0.45 && weeks(4) > -0.12, "{} {} {}", weeks(1), weeks(2), weeks(4));
        let mut repaired = fallen;
        (0..10).for_each(|_| repaired.judge(1.0, at(DAY)));
        assert!(repaired.shift(0.5, at(DAY)) > -0.75);
    }

    #[test]
    fn feedback_lifts_and_lowers_within_the_bound_and_can_be_replaced() {
        let judged = |score: f64, times: u32| {
            let mut evidence = Evidence::default();
            (0..times).for_each(|_| evidence.judge(score, at(0)));
            evidence
        };
        let shift = |evidence: Evidence| evidence.shift(0.1, at(0));
        assert!(shift(judged(1.0, 5)) > 0.1 && shift(judged(0.0, 5)) < -0.1);
        assert_eq!((shift(judged(1.0, 10_000)), shift(judged(0.0, 10_000))), (BOUND, -BOUND));
        // A score of what was expected says nothing new.
        assert!(shift(judged(expected(0.1), 50)).abs() < 1e-9);
        let mut replaced = judged(0.0, 1);
        replaced.withdraw(0.0, at(0), at(DAY));
        replaced.judge(1.0, at(DAY));
        let once = Evidence { at: at(DAY), judged: 1.0, scores: 1.0, ..Evidence::default() };
        assert!((replaced.shift(0.1, at(DAY)) - once.shift(0.1, at(DAY))).abs() < 1e-12);
    }

    #[test]
    fn what_is_faded_is_forgotten() {
        let evidence = after(&[(Verdict::Refused, 3)]);
        assert!(!evidence.is_faded(at(8 * 7 * DAY)) && evidence.is_faded(at(9 * 7 * DAY)));
        // A clock that is set back does not make counts grow.
        assert_eq!(Evidence { at: at(DAY), ..evidence }.as_of(at(0)).endings, evidence.endings);
    }

    #[test]
    fn an_interval_narrows_with_what_is_known() {
        let width = |evidence: Evidence| {
            let Estimate { mean, low, high } = evidence.ended(0.1);
            assert!(low < mean && mean < high && low > 0.0 && high < 1.0);
            high - low
        };
        assert!(width(after(&[(Verdict::Sound, 300)])) < 0.6 * width(Evidence::default()));
    }
}
