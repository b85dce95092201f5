//! Wall-clock time as a parameter: budgets, retirements and ledger rows need the date, and tests need to set it.
//!
//! Durations and deadlines use tokio's monotonic clock, which tests can pause.

use jiff::Timestamp;

/// Tells the date and time (UTC).
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The computer's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
