//! How long the streams of each model take to begin: what a hedge waits for.
//!
//! It stands outside the provider actor, so that a crash leaves it as it is. Of each model the latest [`WINDOW`] to twice as many samples
//! count, so that it follows a model that becomes slower or faster.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::identity::ModelId;

/// The fewest samples that a percentile stands on: one in twenty of them is two or three.
pub const FEWEST_SAMPLES: u64 = 50;
/// After so many samples the oldest are forgotten.
const WINDOW: u64 = 500;
const LOWEST_MS: u64 = 1;
const HIGHEST_MS: u64 = 3_600_000;
const SIGNIFICANT_DIGITS: u8 = 2;

/// The times to first content of a provider's models.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<ModelId, Times>>);

/// The samples of one model, in milliseconds: those before the last full window are gone.
#[derive(Debug)]
struct Times {
    latest: Histogram<u64>,
    before: Histogram<u64>,
}

impl Times {
    /// `None`: the bounds are constants that the histogram accepts.
    fn new() -> Option<Self> {
        let histogram = || Histogram::new_with_bounds(LOWEST_MS, HIGHEST_MS, SIGNIFICANT_DIGITS).ok();
        Some(Self { latest: histogram()?, before: histogram()? })
    }

    fn note(&mut self, milliseconds: u64) {
        if self.latest.len() >= WINDOW {
            std::mem::swap(&mut self.latest, &mut self.before);
            self.latest.reset();
        }
        self.latest.saturating_record(milliseconds.max(LOWEST_MS));
    }

    fn p95(&self) -> Option<Duration> {
        if self.latest.len() + self.before.len() < FEWEST_SAMPLES {
            return None;
        }
        let mut all = self.latest.clone();
        all.add(&self.before).ok()?;
        Some(Duration::from_millis(all.value_at_quantile(0.95)))
    }
}

impl Pace {
    /// A stream of this model began after this time, or would have begun no sooner.
    pub fn note(&self, model: &ModelId, first_content: Duration) {
        let milliseconds = u64::try_from(first_content.as_millis()).unwrap_or(u64::MAX);
        let mut models = self.lock();
        if let Some(times) = models.get_mut(model) {
            times.note(milliseconds);
        } else if let Some(mut times) = Times::new() {
            times.note(milliseconds);
            models.insert(model.clone(), times);
        }
    }

    /// The time that one stream of this model in twenty exceeds; `None` while there are too few samples.
    pub fn p95(&self, model: &ModelId) -> Option<Duration> {
        self.lock().get(model).and_then(Times::p95)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModelId, Times>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_percentile_needs_samples_and_follows_them() {
        let (pace, model) = (Pace::default(), ModelId::parse("m").unwrap());
        for n in 0..FEWEST_SAMPLES {
            assert_eq!(pace.p95(&model), None);
            pace.note(&model, Duration::from_millis(if n % 10 == 0 { 900 } else { 100 }));
        }
        let within = |low, high| {
            let p95 = pace.p95(&model).unwrap().as_millis();
            assert!((low..high).contains(&p95), "{p95}");
        };
        within(890, 910);
        (0..2 * WINDOW).for_each(|_| pace.note(&model, Duration::from_millis(20)));
        within(19, 22);
    }
}
