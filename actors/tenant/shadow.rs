//! A second policy beside the one that holds: how often both would choose the same, and what the difference would cost. Sums alone are
//! kept, so that memory does not grow; they begin anew when the second policy changes, and are lost when the process ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::policy::ShadowPolicy;
use crate::identity::{ModelId, ProviderId};
use crate::money::NanoUsd;
use crate::routing::decision::Weighed;

/// Standard deviations on either side of a 95 % interval.
const WIDTH_95: f64 = 1.96;

/// What a policy chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    provider: ProviderId,
    model: ModelId,
    cost: NanoUsd,
}

impl From<&Weighed> for Pick {
    fn from(chosen: &Weighed) -> Self {
        let Weighed { provider, model, raw, .. } = chosen;
        Self { provider: provider.clone(), model: model.clone(), cost: raw.unwrap_or_default() }
    }
}

/// Sums of both policies' choices.
#[derive(Debug, Default)]
struct Sums {
    policy: ShadowPolicy,
    since: Option<Timestamp>,
    sampled: u64,
    unserved: u64,
    agreed: u64,
    /// Mean expected costs in nano-dollars where both chose, and of the differences the sum of squared deviations (Welford).
    chosen: f64,
    shadow: f64,
    deviations: f64,
}

/// A tenant's second policy and what came of it.
#[derive(Debug, Default)]
pub struct Shadow(Mutex<Sums>);

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

impl Shadow {
    /// Adds what both policies chose for a request; `None`: the second had no model.
    pub fn add(&self, policy: &ShadowPolicy, chosen: &Pick, shadow: Option<&Pick>, now: Timestamp) {
        let mut sums = self.lock();
        sums.fit(policy);
        sums.since.get_or_insert(now);
        sums.sampled += 1;
        let Some(shadow) = shadow else {
            sums.unserved += 1;
            return;
        };
        let is_same = chosen.provider == shadow.provider && chosen.model == shadow.model;
        sums.agreed += u64::from(is_same);
        let count = (sums.sampled - sums.unserved) as f64;
        let (dear, cheap) = (shadow.cost.0 as f64, chosen.cost.0 as f64);
        let before = sums.shadow - sums.chosen;
        sums.shadow += (dear - sums.shadow) / count;
        sums.chosen += (cheap - sums.chosen) / count;
        let after = sums.shadow - sums.chosen;
        sums.deviations += (dear - cheap - before) * (dear - cheap - after);
    }

    /// What came of this policy so far.
    pub fn comparison(&self, policy: &ShadowPolicy) -> Comparison {
        let mut sums = self.lock();
        sums.fit(policy);
        let count = sums.sampled - sums.unserved;
        Comparison {
            policy: policy.clone(),
            since: sums.since,
            sampled: sums.sampled,
            unserved: sums.unserved,
            agreement: (count > 0).then(|| wilson(sums.agreed as f64, count as f64)),
            chosen: nanos(sums.chosen),
            shadow: nanos(sums.shadow),
            difference: (count > 1).then(|| sums.difference(count as f64)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    /// Another policy begins with nothing; how many requests are weighed changes nothing of what is compared.
    fn fit(&mut self, policy: &ShadowPolicy) {
        let sample = self.policy.sample;
        if (ShadowPolicy { sample, ..policy.clone() }) != self.policy {
            *self = Self { policy: policy.clone(), ..Self::default() };
        }
    }

    fn difference(&self, count: f64) -> Interval<NanoUsd> {
        let mean = self.shadow - self.chosen;
        let width = WIDTH_95 * (self.deviations.max(0.0) / (count - 1.0) / count).sqrt();
        Interval { mean: nanos(mean), low: nanos(mean - width), high: nanos(mean + width) }
    }
}

/// Wilson's score interval of a share.
fn wilson(hits: f64, count: f64) -> Interval<f64> {
    let square = WIDTH_95 * WIDTH_95;
    let mean = hits / count;
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
    use super::*;

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
        let seen = shadow.comparison(&policy);
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
        assert_eq!(shadow.comparison(&ShadowPolicy { sample: 0.9, ..policy.clone() }).sampled, 1);
        assert_eq!(shadow.comparison(&ShadowPolicy { min_quality: Some(0.5), ..policy }).sampled, 0);
    }
}
