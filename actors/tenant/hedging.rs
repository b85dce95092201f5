//! What a tenant's hedges may cost beside its requests.
//!
//! It stands outside the tenant's actor: a crash must not give a tenant its allowance a second time. Spend and extra spend are halved
//! every hour, so that a quiet month does not pay for a storm of hedges.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::money::NanoUsd;

/// After this time what was spent counts half.
const HALF_LIFE: Duration = Duration::from_secs(3_600);

/// A tenant's spend on requests, and on hedges that came to nothing.
#[derive(Debug)]
pub struct Hedging(Mutex<Sums>);

#[derive(Debug)]
struct Sums {
    /// What all requests cost, extra spend included.
    spent: NanoUsd,
    /// Of it, for calls of which another came first.
    extra: NanoUsd,
    /// What hedges under way are expected to cost.
    held: NanoUsd,
    halved: Instant,
}

/// A hedge that may be made: its expected cost is held until this is dropped.
#[derive(Debug)]
pub struct Allowed {
    hedging: Arc<Hedging>,
    expected: NanoUsd,
}

impl Hedging {
    /// Nothing was spent.
    pub fn new(now: Instant) -> Arc<Self> {
        let zero = NanoUsd::ZERO;
        Arc::new(Self(Mutex::new(Sums { spent: zero, extra: zero, held: zero, halved: now })))
    }

    /// Allows a hedge that is expected to cost so much, where extra spend then is no more than this share (0..=1) of all spend.
    pub fn allow(self: &Arc<Self>, expected: NanoUsd, share: f64, now: Instant) -> Option<Allowed> {
        let mut sums = self.at(now);
        let extra = sums.extra + sums.held + expected;
        if extra.0 as f64 > sums.spent.0 as f64 * share {
            return None;
        }
        sums.held += expected;
        Some(Allowed { hedging: self.clone(), expected })
    }

    /// A call was made of which another came first.
    pub fn extra(&self, cost: NanoUsd, now: Instant) {
        self.at(now).extra += cost;
    }

    /// A request has ended.
    pub fn spent(&self, cost: NanoUsd, now: Instant) {
        self.at(now).spent += cost;
    }

    /// The sums as they count at this moment.
    fn at(&self, now: Instant) -> MutexGuard<'_, Sums> {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(next) = sums.halved.checked_add(HALF_LIFE).filter(|next| *next <= now) {
            if sums.spent == NanoUsd::ZERO && sums.extra == NanoUsd::ZERO {
                sums.halved = now;
                break;
            }
            (sums.spent, sums.extra) = (NanoUsd(sums.spent.0 / 2), NanoUsd(sums.extra.0 / 2));
            sums.halved = next;
        }
        sums
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        let mut sums = self.hedging.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.held = sums.held.saturating_sub(self.expected);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn extra_spend_keeps_within_its_share() {
        let now = Instant::now();
        let hedging = Hedging::new(now);
        assert!(hedging.allow(NanoUsd(1), 0.05, now).is_none(), "nothing was spent yet");
        hedging.spent(NanoUsd(1_000), now);
        let first = hedging.allow(NanoUsd(30), 0.05, now).unwrap();
        assert!(hedging.allow(NanoUsd(30), 0.05, now).is_none(), "one under way counts");
        let second = hedging.allow(NanoUsd(20), 0.05, now).unwrap();
        drop((first, second));
        hedging.extra(NanoUsd(40), now);
        assert!(hedging.allow(NanoUsd(11), 0.05, now).is_none());
        assert!(hedging.allow(NanoUsd(10), 0.05, now).is_some());
    }

    #[test]
    fn what_was_spent_long_ago_does_not_count() {
        let now = Instant::now();
        let hedging = Hedging::new(now);
        hedging.spent(NanoUsd(1_000), now);
        assert!(hedging.allow(NanoUsd(50), 0.05, now + HALF_LIFE).is_none());
        assert!(hedging.allow(NanoUsd(25), 0.05, now + HALF_LIFE).is_some());
        assert!(hedging.allow(NanoUsd(1), 0.05, now + 40 * HALF_LIFE).is_none());
    }
}
