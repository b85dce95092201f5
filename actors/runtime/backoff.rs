//! How long to wait before a restart or a retry: exponential with jitter. Time and randomness are parameters.

use std::time::Duration;

/// Waits that double from `base` up to `cap`, each spread over its upper half.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Backoff {
    /// Restarts of actors: 50 ms to 30 s.
    pub const RESTART: Self = Self { base: Duration::from_millis(50), cap: Duration::from_secs(30) };

    /// The wait before try number `attempt` (0: at once); `random` in 0..1 spreads it between half and all of the full wait, so that
    /// actors that failed together do not come back together.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let Some(doublings) = attempt.checked_sub(1) else {
            return Duration::ZERO;
        };
        let full = self.base.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.cap);
        full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_never_overflow() {
        let waits: Vec<_> = (0..5).map(|n| Backoff::RESTART.delay(n, 1.0).as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400]);
        for attempt in [11, 31, 32, 33, u32::MAX] {
            assert_eq!(Backoff::RESTART.delay(attempt, 1.0), Duration::from_secs(30));
            assert_eq!(Backoff::RESTART.delay(attempt, 0.0), Duration::from_secs(15));
        }
    }
}
