//! Requests and tokens per minute, counted by the second over the last sixty, so that what is refused now is told when it will fit.

use std::time::Duration;

const SECONDS: usize = 60;

/// What was used in each of the last sixty seconds.
#[derive(Debug, Clone)]
pub struct MinuteWindow {
    used: [u64; SECONDS],
    /// The second that the newest slot stands for.
    newest: u64,
}

impl Default for MinuteWindow {
    fn default() -> Self {
        Self { used: [0; SECONDS], newest: 0 }
    }
}

impl MinuteWindow {
    /// Forgets what is older than a minute at `second`. Time that runs backwards forgets nothing.
    fn advance(&mut self, second: u64) {
        let passed = second.saturating_sub(self.newest).min(SECONDS as u64);
        for ahead in 1..=passed {
            if let Some(slot) = self.used.get_mut(((self.newest + ahead) % SECONDS as u64) as usize) {
                *slot = 0;
            }
        }
        if passed == SECONDS as u64 {
            self.used = [0; SECONDS];
        }
        self.newest = self.newest.max(second);
    }

    /// What was used in the minute that ends with `second`.
    pub fn used(&mut self, second: u64) -> u64 {
        self.advance(second);
        self.used.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// Counts `amount` in `second`.
    pub fn add(&mut self, second: u64, amount: u64) {
        self.advance(second);
        if let Some(slot) = self.used.get_mut((self.newest % SECONDS as u64) as usize) {
            *slot = slot.saturating_add(amount);
        }
    }

    /// Corrects what was counted too much or too little, at the newest second.
    pub fn correct(&mut self, second: u64, counted: u64, real: u64) {
        self.advance(second);
        if real >= counted {
            return self.add(second, real - counted);
        }
        self.give_back(counted - real);
    }

    /// Takes back what was counted and not used, from the newest second on.
    pub fn give_back(&mut self, amount: u64) {
        let mut surplus = amount;
        for back in 0..SECONDS as u64 {
            let index = ((self.newest + SECONDS as u64 - back) % SECONDS as u64) as usize;
            if let Some(slot) = self.used.get_mut(index) {
                let given_back = surplus.min(*slot);
                *slot -= given_back;
                surplus -= given_back;
            }
        }
    }

    /// How long until nothing of what was used until `second` counts any more.
    pub fn reset(&mut self, second: u64) -> Duration {
        self.advance(second);
        let slot_ahead = |ahead: &u64| ((self.newest + ahead) % SECONDS as u64) as usize;
        let last =
            (1..=SECONDS as u64).rev().find(|ahead| self.used.get(slot_ahead(ahead)).is_some_and(|&used| used > 0));
        Duration::from_secs(last.unwrap_or(0))
    }

    /// How long until `amount` more fits below `limit`; nothing where it fits now. What is larger than the whole limit fits an empty
    /// minute.
    pub fn wait(&mut self, second: u64, amount: u64, limit: u64) -> Option<Duration> {
        let mut used = self.used(second);
        let fits = |used: u64| used == 0 || used.saturating_add(amount) <= limit;
        if fits(used) && limit > 0 {
            return None;
        }
        for ahead in 1..=SECONDS as u64 {
            used -= self.used.get(((self.newest + ahead) % SECONDS as u64) as usize).copied().unwrap_or(0).min(used);
            if fits(used) && limit > 0 {
                return Some(Duration::from_secs(ahead));
            }
        }
        Some(Duration::from_secs(SECONDS as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_until_enough_has_left_the_minute() {
        let mut window = MinuteWindow::default();
        window.add(100, 6);
        window.add(110, 4);
        assert_eq!(window.wait(110, 1, 11), None);
        assert_eq!(window.wait(110, 2, 11), Some(Duration::from_secs(50)));
        assert_eq!(window.wait(110, 8, 11), Some(Duration::from_secs(60)));
        assert_eq!(window.reset(110), Duration::from_secs(60));
        assert_eq!(window.reset(115), Duration::from_secs(55));
        assert_eq!(window.used(159), 10);
        assert_eq!(window.used(160), 4);
        assert_eq!(window.used(170), 0);
        assert_eq!(window.reset(170), Duration::ZERO);
    }

    #[test]
    fn corrections_move_the_sum_both_ways() {
        let mut window = MinuteWindow::default();
        window.add(5, 100);
        window.correct(6, 100, 30);
        assert_eq!(window.used(6), 30);
        window.correct(7, 10, 50);
        assert_eq!(window.used(7), 70);
    }

    #[test]
    fn an_amount_above_the_limit_fits_an_empty_minute_only() {
        let mut window = MinuteWindow::default();
        assert_eq!(window.wait(1, 500, 100), None);
        window.add(1, 1);
        assert_eq!(window.wait(1, 500, 100), Some(Duration::from_secs(60)));
    }
}
