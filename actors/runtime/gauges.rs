//! What can be seen of a role from outside, across all its incarnations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use serde::Serialize;

/// Whether a role has a live incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never ran so far.
    Starting,
    /// An incarnation handles messages.
    Running,
    /// The last incarnation failed; the next is due.
    Restarting,
    /// Ended on purpose.
    Stopped,
}

/// The last failure of a role.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// The panic's message or the error with its causes.
    pub reason: String,
}

/// Counters of a role, owned outside its incarnations.
#[derive(Debug)]
pub struct Gauges {
    status: AtomicU8,
    since: ArcSwap<Timestamp>,
    restarts: AtomicU64,
    restarts_of_kind: Arc<AtomicU64>,
    incarnations: AtomicU64,
    handled: AtomicU64,
    pub(super) mailbox: AtomicUsize,
    refused: AtomicU64,
    last_failure: ArcSwapOption<Failure>,
}

impl Gauges {
    /// Counters of a role that has not run yet; `restarts_of_kind` counts on when this role is forgotten.
    pub fn new(restarts_of_kind: Arc<AtomicU64>) -> Self {
        Self {
            status: AtomicU8::new(0),
            since: ArcSwap::from_pointee(Timestamp::now()),
            restarts: AtomicU64::new(0),
            restarts_of_kind,
            incarnations: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            mailbox: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            last_failure: ArcSwapOption::empty(),
        }
    }

    /// Whether the role runs.
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Relaxed) {
            0 => Status::Starting,
            1 => Status::Running,
            2 => Status::Restarting,
            _ => Status::Stopped,
        }
    }

    /// Since when it has that status.
    pub fn since(&self) -> Timestamp {
        **self.since.load()
    }

    /// Incarnations beyond the first.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Messages handled by all incarnations.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// Messages sent and not yet handled.
    pub fn mailbox(&self) -> usize {
        self.mailbox.load(Ordering::Relaxed)
    }

    /// Messages turned away because the mailbox was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The last failure, if it ever failed.
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure.load().as_deref().cloned()
    }

    fn set(&self, status: Status) {
        self.since.store(Arc::new(Timestamp::now()));
        self.status.store(status as u8, Ordering::Relaxed);
    }

    /// An incarnation runs.
    pub(super) fn started(&self) {
        if self.incarnations.fetch_add(1, Ordering::Relaxed) > 0 {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            self.restarts_of_kind.fetch_add(1, Ordering::Relaxed);
        }
        self.set(Status::Running);
    }

    /// The incarnation ended without having been told to.
    pub(super) fn failed(&self, reason: String) {
        self.last_failure.store(Some(Arc::new(Failure { at: Timestamp::now(), reason })));
        self.set(Status::Restarting);
    }

    /// The role ended on purpose.
    pub(super) fn stopped(&self) {
        self.set(Status::Stopped);
    }

    pub(super) fn count_handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}
