//! A second policy beside the one that holds: how often both would choose the same, what the difference would cost and, where requests are
//! sent to its models too, whose answers are better. Sums alone are kept, so that memory does not grow; they are written down from time to
//! time, and begin anew when the second policy changes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::policy::ShadowPolicy;
use crate::identity::{ModelId, ProviderId};
use crate::money::NanoUsd;
use crate::routing::decision::Weighed;
use crate::routing::evidence::Verdict;

/// Standard deviations on either side of a 95 % interval.
const WIDTH_95: f64 = 1.96;

/// What a policy chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// Who serves it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    cost: NanoUsd,
}

impl From<&Weighed> for Pick {
    fn from(chosen: &Weighed) -> Self {
        let Weighed { provider, model, raw, .. } = chosen;
        Self { provider: provider.clone(), model: model.clone(), cost: raw.unwrap_or_default() }
    }
}

/// One request whose answer may be held against that of the second policy's model.
#[derive(Debug)]
pub struct Rehearsal {
    /// The policy that it is compared under.
    pub policy: ShadowPolicy,
    pick: OnceLock<Pick>,
    verdict: OnceLock<Verdict>,
}

impl Rehearsal {
    /// Nothing is known of it yet.
    pub fn under(policy: ShadowPolicy) -> Self {
        Self { policy, pick: OnceLock::new(), verdict: OnceLock::new() }
    }

    /// What the second policy chooses.
    pub(super) fn picked(&self, pick: &Pick) {
        // A request is weighed once.
        let _ = self.pick.set(pick.clone());
    }

    /// What the client's answer is worth.
    pub fn judged(&self, verdict: Verdict) {
        // It is answered once.
        let _ = self.verdict.set(verdict);
    }

    /// The second policy's choice, and what the client's answer is worth, where another model gave it.
    pub fn differs_from(&self, provider: &ProviderId, model: &ModelId) -> Option<(&Pick, Verdict)> {
        let pick = self.pick.get().filter(|pick| pick.provider != *provider || pick.model != *model)?;
        Some((pick, *self.verdict.get()?))
    }
}

/// Sums of both policies' choices and answers.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    policy: ShadowPolicy,
    since: Option<Timestamp>,
    sampled: u64,
    unserved: u64,
    agreed: u64,
    /// Expected costs in nano-dollars, where both chose.
    costs: Paired,
    sent: u64,
    skipped: u64,
    failed: u64,
    /// What the calls cost.
    spent: NanoUsd,
    /// How good the answers were, from 0 to 1, where both models gave one.
    answers: Paired,
}

/// Two numbers of each request: their means, and of the differences the sum of squared deviations (Welford).
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Paired {
    count: u64,
    chosen: f64,
    shadow: f64,
    deviations: f64,
}

impl Paired {
    fn add(&mut self, chosen: f64, shadow: f64) {
        self.count += 1;
        let count = self.count as f64;
        let before = self.shadow - self.chosen;
        self.shadow += (shadow - self.shadow) / count;
        self.chosen += (chosen - self.chosen) / count;
        let after = self.shadow - self.chosen;
        self.deviations += (shadow - chosen - before) * (shadow - chosen - after);
    }

    /// By how much the second is more (normal interval of paired differences); `None` of fewer than two.
    fn difference(&self) -> Option<Interval<f64>> {
        let count = self.count as f64;
        let mean = self.shadow - self.chosen;
        let width = WIDTH_95 * (self.deviations.max(0.0) / (count - 1.0) / count).sqrt();
        (self.count > 1).then_some(Interval { mean, low: mean - width, high: mean + width })
    }
}

#[derive(Debug, Default)]
struct Known {
    figures: Figures,
    /// Rises with each change.
    revision: u64,
    /// The revision that was written down last.
    saved: u64,
    today: Today,
}

/// What a day's calls cost and may still come to.
#[derive(Debug, Default)]
struct Today {
    day: Option<Date>,
    spent: NanoUsd,
    held: NanoUsd,
}

/// A tenant's second policy and what came of it.
#[derive(Debug, Default)]
pub struct Shadow(Mutex<Known>);

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval<T> {
    /// The mean.
    pub mean: T,
    /// The lower end.
    pub low: T,
    /// The upper end.
    pub high: T,
}

/// What came of a second policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The policy.
    pub policy: ShadowPolicy,
    /// Since when requests have been weighed under it; `None`: none has.
    pub since: Option<Timestamp>,
    /// Requests weighed under both.
    pub sampled: u64,
    /// Of them, those for which it would have had no model.
    pub unserved: u64,
    /// The share of the others for which both choose the same model (Wilson's interval).
    pub agreement: Option<Interval<f64>>,
    /// Mean expected cost of a request under the policy that holds, in USD.
    #[serde(rename = "chosen_cost_usd", serialize_with = "usd")]
    pub chosen: NanoUsd,
    /// The same under the second.
    #[serde(rename = "shadow_cost_usd", serialize_with = "usd")]
    pub shadow: NanoUsd,
    /// By how much the second is dearer, a request (normal interval of paired differences).
    #[serde(rename = "difference_usd", serialize_with = "usd_interval")]
    pub difference: Option<Interval<NanoUsd>>,
    /// What came of the requests that were sent to its models too.
    pub answers: Answers,
}

/// What came of the requests for which the policies choose differently and that were sent to both models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answers {
    /// Requests sent to the second policy's model.
    pub sent: u64,
    /// Requests that were not: beyond the budget or a limit, too many at once, no place at the provider, or not to be said in every
    /// dialect's words.
    pub skipped: u64,
    /// Of those sent, those that the model did not answer.
    pub failed: u64,
    /// Of those sent, those of which both answers could be judged.
    pub judged: u64,
    /// What the calls cost since the policy was set.
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    pub cost: NanoUsd,
    /// What the calls of today (UTC) cost.
    #[serde(rename = "spent_today_usd", serialize_with = "usd")]
    pub spent_today: NanoUsd,
    /// How good the answers were that clients got, from 0 to 1 (Wilson's interval).
    #[serde(rename = "chosen_quality")]
    pub chosen: Option<Interval<f64>>,
    /// How good those of the second policy's models were.
    #[serde(rename = "shadow_quality")]
    pub shadow: Option<Interval<f64>>,
    /// By how much those are better (normal interval of paired differences).
    pub difference: Option<Interval<f64>>,
}

fn usd<S: serde::Serializer>(amount: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

fn usd_interval<S: serde::Serializer>(interval: &Option<Interval<NanoUsd>>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = |Interval { mean, low, high }: Interval<NanoUsd>| Interval {
        mean: mean.to_string(),
        low: low.to_string(),
        high: high.to_string(),
    };
    interval.map(text).serialize(serializer)
}

/// Money held for one call of the second policy's model. Dropped, it is given back; settled, it is charged to its day.
#[derive(Debug)]
#[must_use = "dropped, it gives the money back"]
pub struct Stake {
    shadow: Arc<Shadow>,
    amount: NanoUsd,
    day: Date,
}

impl Stake {
    /// Charges what the call cost.
    pub fn settle(mut self, cost: NanoUsd) {
        let held = std::mem::take(&mut self.amount);
        let mut known = self.shadow.lock();
        known.figures.spent += cost;
        known.revision += 1;
        if known.today.day == Some(self.day) {
            known.today.held = known.today.held.saturating_sub(held);
            known.today.spent += cost;
        }
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        let mut known = self.shadow.lock();
        if known.today.day == Some(self.day) {
            known.today.held = known.today.held.saturating_sub(self.amount);
        }
    }
}

impl Shadow {
    /// What was written down, with what the day's calls have cost so far.
    pub fn of(figures: Figures, day: Date, spent: NanoUsd) -> Self {
        let today = Today { day: Some(day), spent, held: NanoUsd::ZERO };
        Self(Mutex::new(Known { figures, revision: 0, saved: 0, today }))
    }

    /// Adds what both policies chose for a request; `None`: the second had no model.
    pub fn add(&self, policy: &ShadowPolicy, chosen: &Pick, shadow: Option<&Pick>, now: Timestamp) {
        let mut known = self.lock();
        known.revision += 1;
        let figures = &mut known.figures;
        figures.fit(policy);
        figures.since.get_or_insert(now);
        figures.sampled += 1;
        let Some(shadow) = shadow else {
            figures.unserved += 1;
            return;
        };
        let is_same = chosen.provider == shadow.provider && chosen.model == shadow.model;
        figures.agreed += u64::from(is_same);
        figures.costs.add(chosen.cost.0 as f64, shadow.cost.0 as f64);
    }

    /// A request was not sent to the second policy's model, though it would have been.
    pub fn skipped(&self, policy: &ShadowPolicy) {
        self.note(policy, |figures| figures.skipped += 1);
    }

    /// A request was sent to the second policy's model: what its answer is worth beside the client's; `None` of one that it did not give,
    /// and `Some(None)` of one that cannot be judged.
    pub fn sent(&self, policy: &ShadowPolicy, chosen: Verdict, shadow: Option<Option<Verdict>>) {
        self.note(policy, |figures| {
            figures.sent += 1;
            match shadow {
                None => figures.failed += 1,
                Some(Some(shadow)) => figures.answers.add(chosen.worth(), shadow.worth()),
                Some(None) => {}
            }
        });
    }

    /// Holds money for a call out of the day's budget; `None` where that does not cover it. A call that came before midnight and is late
    /// counts for the day that has begun meanwhile.
    pub fn stake(self: &Arc<Self>, amount: NanoUsd, budget: NanoUsd, day: Date) -> Option<Stake> {
        let mut known = self.lock();
        let today = &mut known.today;
        let day = today.day.map_or(day, |begun| begun.max(day));
        if today.day != Some(day) {
            *today = Today { day: Some(day), ..Today::default() };
        }
        if today.spent + today.held + amount > budget {
            return None;
        }
        today.held += amount;
        Some(Stake { shadow: self.clone(), amount, day })
    }

    /// What came of this policy so far.
    pub fn comparison(&self, policy: &ShadowPolicy, day: Date) -> Comparison {
        let mut known = self.lock();
        known.figures.fit(policy);
        let Known { figures, today, .. } = &*known;
        let in_usd = |Interval { mean, low, high }: Interval<f64>| Interval {
            mean: nanos(mean),
            low: nanos(low),
            high: nanos(high),
        };
        let Paired { count, chosen, shadow, .. } = figures.costs;
        let answers = figures.answers;
        let share = |mean: f64| (answers.count > 0).then(|| wilson(mean, answers.count as f64));
        Comparison {
            policy: policy.clone(),
            since: figures.since,
            sampled: figures.sampled,
            unserved: figures.unserved,
            agreement: (count > 0).then(|| wilson(figures.agreed as f64 / count as f64, count as f64)),
            chosen: nanos(chosen),
            shadow: nanos(shadow),
            difference: figures.costs.difference().map(in_usd),
            answers: Answers {
                sent: figures.sent,
                skipped: figures.skipped,
                failed: figures.failed,
                judged: answers.count,
                cost: figures.spent,
                spent_today: if today.day == Some(day) { today.spent } else { NanoUsd::ZERO },
                chosen: share(answers.chosen),
                shadow: share(answers.shadow),
                difference: answers.difference(),
            },
        }
    }

    /// What is to be written down, and its revision; `None`: nothing changed since the last time.
    pub fn unsaved(&self) -> Option<(u64, Figures)> {
        let known = self.lock();
        (known.revision != known.saved).then(|| (known.revision, known.figures.clone()))
    }

    /// That revision is written down.
    pub fn saved(&self, revision: u64) {
        self.lock().saved = revision;
    }

    /// Whether all of it is written down.
    pub fn is_saved(&self) -> bool {
        let known = self.lock();
        known.revision == known.saved
    }

    /// Forgets everything, which is not to be written down again.
    pub fn clear(&self) {
        let mut known = self.lock();
        let today = std::mem::take(&mut known.today);
        *known = Known { today, ..Known::default() };
    }

    /// Notes what came of a request, unless another policy has taken this one's place meanwhile.
    fn note(&self, policy: &ShadowPolicy, change: impl FnOnce(&mut Figures)) {
        let mut known = self.lock();
        if known.figures.is_of(policy) {
            change(&mut known.figures);
            known.revision += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Whether they are of this policy: how many requests are weighed, and sent, changes nothing of what is compared.
    fn is_of(&self, policy: &ShadowPolicy) -> bool {
        let ShadowPolicy { sample, send, budget_usd, .. } = self.policy;
        ShadowPolicy { sample, send, budget_usd, ..policy.clone() } == self.policy
    }

    /// Another policy begins with nothing.
    fn fit(&mut self, policy: &ShadowPolicy) {
        if !self.is_of(policy) {
            *self = Self { policy: policy.clone(), ..Self::default() };
        }
    }
}

/// Wilson's score interval of a share.
fn wilson(mean: f64, count: f64) -> Interval<f64> {
    let square = WIDTH_95 * WIDTH_95;
    let centre = (mean + square / (2.0 * count)) / (1.0 + square / count);
    let root = (mean * (1.0 - mean) / count + square / (4.0 * count * count)).sqrt();
    let width = WIDTH_95 * root / (1.0 + square / count);
    Interval { mean, low: (centre - width).max(0.0), high: (centre + width).min(1.0) }
}

fn nanos(amount: f64) -> NanoUsd {
    NanoUsd(amount.round() as i64)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const TODAY: Date = date(2026, 11, 27);

    fn pick(model: &str, cost: i64) -> Pick {
        let (provider, model) = (ProviderId::parse("openai").unwrap(), ModelId::parse(model).unwrap());
        Pick { provider, model, cost: NanoUsd(cost) }
    }

    #[test]
    fn means_and_intervals_are_those_of_the_textbook() {
        let (shadow, policy) = (Shadow::default(), ShadowPolicy::default());
        // Differences 0, 40, 80 and 0: mean 30, standard deviation √(4400/3) = 38.297, of the mean 19.149.
        for (model, cost) in [("a", 100), ("b", 140), ("b", 180), ("a", 100)] {
            shadow.add(&policy, &pick("a", 100), Some(&pick(model, cost)), Timestamp::UNIX_EPOCH);
        }
        shadow.add(&policy, &pick("a", 100), None, Timestamp::UNIX_EPOCH);
        let seen = shadow.comparison(&policy, TODAY);
        assert_eq!((seen.sampled, seen.unserved, seen.chosen, seen.shadow), (5, 1, NanoUsd(100), NanoUsd(130)));
        assert_eq!(seen.difference, Some(Interval { mean: NanoUsd(30), low: NanoUsd(-8), high: NanoUsd(68) }));
        // Wilson's interval of 2 in 4 is 0.150 to 0.850.
        let agreement = seen.agreement.unwrap();
        assert_eq!(agreement.mean, 0.5);
        assert!((agreement.low - 0.150).abs() < 5e-4 && (agreement.high - 0.850).abs() < 5e-4, "{agreement:?}");
    }

    #[test]
    fn another_policy_begins_anew_and_another_share_does_not() {
        let shadow = Shadow::default();
        let policy = ShadowPolicy { sample: 0.1, ..ShadowPolicy::default() };
        shadow.add(&policy, &pick("a", 1), Some(&pick("a", 1)), Timestamp::UNIX_EPOCH);
        assert_eq!(shadow.comparison(&ShadowPolicy { sample: 0.9, ..policy.clone() }, TODAY).sampled, 1);
        assert_eq!(shadow.comparison(&ShadowPolicy { min_quality: Some(0.5), ..policy }, TODAY).sampled, 0);
    }

    #[test]
    fn the_days_budget_covers_what_is_spent_and_held_and_the_next_day_begins_anew() {
        let shadow = Arc::new(Shadow::of(Figures::default(), TODAY, NanoUsd(40)));
        let first = shadow.stake(NanoUsd(50), NanoUsd(100), TODAY).unwrap();
        assert!(shadow.stake(NanoUsd(11), NanoUsd(100), TODAY).is_none());
        first.settle(NanoUsd(5));
        let second = shadow.stake(NanoUsd(55), NanoUsd(100), TODAY).unwrap();
        drop(second);
        let held = shadow.stake(NanoUsd(55), NanoUsd(100), TODAY).unwrap();
        let tomorrow = TODAY.tomorrow().unwrap();
        let next = shadow.stake(NanoUsd(100), NanoUsd(100), tomorrow).unwrap();
        assert!(shadow.stake(NanoUsd(1), NanoUsd(100), TODAY).is_none(), "a late call does not begin yesterday anew");
        held.settle(NanoUsd(55));
        next.settle(NanoUsd(1));
        let answers = |day| shadow.comparison(&ShadowPolicy::default(), day).answers;
        assert_eq!((answers(tomorrow).spent_today, answers(tomorrow).cost), (NanoUsd(1), NanoUsd(61)));
    }

    #[test]
    fn answers_are_compared_in_pairs_and_those_of_another_policy_not_at_all() {
        let (shadow, policy) = (Shadow::default(), ShadowPolicy::default());
        for (chosen, other) in [
            (Verdict::Sound, Some(Some(Verdict::Sound))),
            (Verdict::Malformed, Some(Some(Verdict::Sound))),
            (Verdict::CutOff, Some(Some(Verdict::Sound))),
            (Verdict::Sound, Some(Some(Verdict::Sound))),
            (Verdict::Sound, Some(None)),
            (Verdict::Sound, None),
        ] {
            shadow.sent(&policy, chosen, other);
        }
        shadow.sent(&ShadowPolicy { min_quality: Some(0.5), ..policy.clone() }, Verdict::Sound, None);
        let answers = shadow.comparison(&policy, TODAY).answers;
        assert_eq!((answers.sent, answers.failed, answers.judged), (6, 1, 4));
        // Differences 0, 1, 0.5 and 0: mean 0.375, standard deviation 0.4787, of the mean 0.2394.
        let difference = answers.difference.unwrap();
        assert!((difference.mean - 0.375).abs() < 1e-9 && (difference.low + 0.0942).abs() < 1e-3, "{difference:?}");
        assert_eq!((answers.chosen.unwrap().mean, answers.shadow.unwrap().mean), (0.625, 1.0));
    }

    #[test]
    fn what_is_written_down_reads_back_alike() {
        let (shadow, policy) = (Shadow::default(), ShadowPolicy { sample: 0.3, ..ShadowPolicy::default() });
        shadow.add(&policy, &pick("a", 100), Some(&pick("b", 130)), Timestamp::UNIX_EPOCH);
        shadow.sent(&policy, Verdict::Sound, Some(Some(Verdict::CutOff)));
        let (revision, figures) = shadow.unsaved().unwrap();
        shadow.saved(revision);
        assert!(shadow.is_saved() && shadow.unsaved().is_none());
        let read = serde_json::from_str(&serde_json::to_string(&figures).unwrap()).unwrap();
        let again = Shadow::of(read, TODAY, NanoUsd::ZERO);
        assert_eq!(again.comparison(&policy, TODAY), shadow.comparison(&policy, TODAY));
    }
}
