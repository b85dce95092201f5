//! A circuit breaker without a timer: closed, open until an instant, half open after it.
//!
//! It opens when at least [`MIN_VOLUME`] calls stand in the window and half of them failed, or [`IN_A_ROW`] failed one after the other,
//! however many succeeded before them; it stays open for a cool-down that doubles with every failed probe. Time and randomness are
//! parameters.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::window::Window;
use crate::fault::Fault;
use crate::runtime::Backoff;

/// Calls in the window below which a circuit never opens.
pub const MIN_VOLUME: u32 = 5;
/// Failures without a success between them that open a circuit: the successes of the minute before an outage must not hold it closed for
/// half a minute. Of calls that fail every other time so many in a row are one in a thousand.
pub const IN_A_ROW: u32 = 10;
const COOL_DOWN: Backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(300) };

/// What a circuit lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Everything.
    Closed,
    /// One probe at a time.
    HalfOpen,
    /// Nothing.
    Open,
}

impl State {
    /// The value of `aipipe_provider_circuit_state`.
    pub fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// Why and until when a circuit is open.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// When it opened first, however many probes have failed since then.
    pub since: Timestamp,
    /// From when a probe may pass.
    pub until: Instant,
    /// The fault that opened it.
    pub fault: Fault,
    strikes: u32,
}

impl Opened {
    /// Probes that failed since it opened first.
    pub fn failed_probes(&self) -> u32 {
        self.strikes.saturating_sub(1)
    }

    /// How long it stays open at most, should the next probe fail too.
    pub fn next_cool_down(&self) -> Duration {
        COOL_DOWN.delay(self.strikes.saturating_add(1), 1.0)
    }
}

/// A circuit breaker.
#[derive(Debug, Default, Clone, Copy)]
pub struct Circuit {
    opened: Option<Opened>,
    /// Failures since the last success, or since it opened.
    in_a_row: u32,
}

/// What a recorded outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The circuit opened, or opened again.
    Opened,
    /// The circuit closed.
    Closed,
}

impl Circuit {
    /// What it lets through now.
    pub fn state(&self, now: Instant) -> State {
        match self.opened {
            None => State::Closed,
            Some(opened) if now < opened.until => State::Open,
            Some(_) => State::HalfOpen,
        }
    }

    /// Why it is not closed.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// A call succeeded: a half-open circuit closes. Late results of calls from before it opened say nothing.
    pub fn succeeded(&mut self, now: Instant) -> Change {
        self.in_a_row = 0;
        if self.state(now) != State::HalfOpen {
            return Change::None;
        }
        self.opened = None;
        Change::Closed
    }

    /// A call failed; `window` holds that failure already.
    pub fn failed(&mut self, fault: Fault, window: &Window, at: Moment) -> Change {
        let strikes = match (self.state(at.now), self.opened) {
            (State::Open, _) => return Change::None,
            (State::HalfOpen, Some(opened)) => opened.strikes.saturating_add(1),
            _ => {
                let (ok, failed) = window.counts(at.slot);
                self.in_a_row = self.in_a_row.saturating_add(1);
                if self.in_a_row < IN_A_ROW && (ok + failed < MIN_VOLUME || failed < ok) {
                    return Change::None;
                }
                1
            }
        };
        self.in_a_row = 0;
        let since = self.opened.map_or(at.wall, |opened| opened.since);
        self.opened = Some(Opened { since, until: at.now + COOL_DOWN.delay(strikes, at.random), fault, strikes });
        Change::Opened
    }
}

/// When something happened, with the randomness that it may use.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic.
    pub now: Instant,
    /// The window slot of `now`.
    pub slot: u64,
    /// Wall clock.
    pub wall: Timestamp,
    /// In 0..1.
    pub random: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(start: Instant, seconds: u64) -> Moment {
        Moment {
            now: start + Duration::from_secs(seconds),
            slot: seconds / 10,
            wall: Timestamp::UNIX_EPOCH,
            random: 1.0,
        }
    }

    fn fail(circuit: &mut Circuit, window: &mut Window, at: Moment) -> Change {
        window.record(at.slot, false);
        circuit.failed(Fault::Upstream, window, at)
    }

    #[tokio::test]
    async fn it_opens_at_half_of_the_minimum_volume_and_a_probe_closes_it() {
        let start = Instant::now();
        let (mut circuit, mut window) = (Circuit::default(), Window::default());
        window.record(0, true);
        window.record(0, true);
        assert_eq!(fail(&mut circuit, &mut window, moment(start, 1)), Change::None);
        assert_eq!(fail(&mut circuit, &mut window, moment(start, 1)), Change::None, "four calls are too few");
        assert_eq!(fail(&mut circuit, &mut window, moment(start, 1)), Change::Opened);
        assert_eq!(circuit.state(moment(start, 2).now), State::Open);
        assert_eq!(circuit.succeeded(moment(start, 2).now), Change::None, "a late success says nothing");
        assert_eq!(circuit.state(moment(start, 7).now), State::HalfOpen);
        assert_eq!(circuit.succeeded(moment(start, 7).now), Change::Closed);
        assert_eq!(circuit.state(moment(start, 7).now), State::Closed);
    }

    #[tokio::test]
    async fn a_row_of_failures_opens_it_whatever_succeeded_before() {
        let start = Instant::now();
        let (mut circuit, mut window) = (Circuit::default(), Window::default());
        (0..1_000).for_each(|_| window.record(0, true));
        let mut fail = |circuit: &mut Circuit| fail(circuit, &mut window, moment(start, 1));
        for _ in 1..IN_A_ROW {
            assert_eq!(fail(&mut circuit), Change::None);
        }
        circuit.succeeded(moment(start, 1).now);
        for _ in 1..IN_A_ROW {
            assert_eq!(fail(&mut circuit), Change::None, "a success ends the row");
        }
        assert_eq!(fail(&mut circuit), Change::Opened);
    }

    #[tokio::test]
    async fn failed_probes_double_the_cool_down() {
        let start = Instant::now();
        let (mut circuit, mut window) = (Circuit::default(), Window::default());
        for _ in 0..MIN_VOLUME {
            fail(&mut circuit, &mut window, moment(start, 0));
        }
        let mut clock = 0;
        for wait in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(circuit.state(moment(start, clock + wait - 1).now), State::Open);
            clock += wait;
            assert_eq!(circuit.state(moment(start, clock).now), State::HalfOpen);
            assert_eq!(fail(&mut circuit, &mut window, moment(start, clock)), Change::Opened);
        }
    }
}
