//! Successes and failures of the last minute, in slots of ten seconds.

use serde::Serialize;

/// Seconds of one slot.
pub const SLOT_SECONDS: u64 = 10;
const SLOTS: usize = 6;
/// Successes assumed beside the measured ones, so that one failure of a quiet model does not weigh like an outage.
const PRIOR_SUCCESSES: f64 = 3.0;

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    number: u64,
    ok: u32,
    failed: u32,
}

/// Counts that leave by themselves when their slot is a minute old: no traffic is needed for a penalty to fade.
#[derive(Debug, Default, Clone, Copy)]
pub struct Window {
    slots: [Slot; SLOTS],
}

/// What a window says at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    /// Successes of the last minute.
    pub ok: u32,
    /// Failures of the last minute.
    pub failed: u32,
    /// Smoothed towards success: `(ok + 3) / (ok + failed + 3)`.
    pub success_rate: f64,
    /// `1 / success_rate²`: what failures make a success cost, once in money and once in the user's time.
    pub penalty: f64,
}

impl Window {
    /// Counts an outcome in a slot.
    pub fn record(&mut self, number: u64, ok: bool) {
        let index = (number % SLOTS as u64) as usize;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        let count = if ok { &mut slot.ok } else { &mut slot.failed };
        *count = count.saturating_add(1);
    }

    /// Successes and failures of the minute that ends in this slot.
    pub fn counts(&self, number: u64) -> (u32, u32) {
        let oldest = number.saturating_sub(SLOTS as u64 - 1);
        let live = self.slots.iter().filter(|slot| (oldest..=number).contains(&slot.number));
        live.fold((0, 0), |(ok, failed), slot| (ok.saturating_add(slot.ok), failed.saturating_add(slot.failed)))
    }

    /// What it says in this slot.
    pub fn rate(&self, number: u64) -> Rate {
        let (ok, failed) = self.counts(number);
        let success_rate = (f64::from(ok) + PRIOR_SUCCESSES) / (f64::from(ok) + f64::from(failed) + PRIOR_SUCCESSES);
        Rate { ok, failed, success_rate, penalty: 1.0 / (success_rate * success_rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_raise_the_penalty_and_fade_within_a_minute() {
        let mut window = Window::default();
        assert_eq!(window.rate(100).penalty, 1.0);
        for _ in 0..3 {
            window.record(100, false);
        }
        assert_eq!(window.rate(100).penalty, 4.0);
        assert_eq!(window.rate(105).penalty, 4.0);
        assert_eq!(window.rate(106).penalty, 1.0);
        window.record(106, true);
        assert_eq!(window.counts(106), (1, 0), "a slot that comes round again starts at nothing");
    }
}
