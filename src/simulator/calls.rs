//! What the simulator was sent and how each call ended.
//!
//! A call is counted when its body has arrived, and is open until its [`CallGuard`] is told of the end or is dropped: the server drops it
//! with the answer's body when the client closes the connection, which is how a hang-up is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;

use super::provider::{PerProvider, Provider};
use super::usage::Usage;

/// What is kept of each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Record {
    /// Headers, body and outcome, for [`Simulator::calls`](super::Simulator::calls).
    #[default]
    All,
    /// Only the [`Counts`]: memory does not grow under load.
    CountOnly,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Still being answered, or held.
    Open,
    /// Everything was sent that the behaviour wanted sent, an error or an early end included.
    Answered,
    /// The simulator broke the connection on purpose.
    Broken,
    /// The client closed the connection before the answer was whole.
    HungUp,
}

/// One call as it was received, and what became of it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who was called.
    pub provider: Provider,
    /// The HTTP method.
    pub method: String,
    /// Path and query as received.
    pub path: String,
    /// The headers as received.
    pub headers: HeaderMap,
    /// The body's bytes as received.
    pub body: Bytes,
    /// The model that the call asked for, where it could be read.
    pub model: Option<String>,
    /// Whether the answer was to be streamed.
    pub stream: bool,
    /// The status that was sent; `None` before the headers are due.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The simulator's own count of what it used, also where the behaviour kept it from the client.
    pub usage: Option<Usage>,
    /// What the provider's answer claims as its cost, in units of 10⁻¹⁰ USD (xAI's tick); only xAI and OpenRouter tell.
    pub cost_ticks: Option<u64>,
}

impl Call {
    /// A header's value, where it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How many calls a provider got, and where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Received with headers and body since the start.
    pub arrived: usize,
    /// Of these, not ended yet.
    pub open: usize,
    /// Of these, ended by the client before the answer was whole.
    pub hung_up: usize,
}

/// All calls of a simulator.
#[derive(Debug)]
pub(crate) struct CallLog {
    record: Record,
    kept: Mutex<Kept>,
    counts: PerProvider<watch::Sender<Counts>>,
}

/// The calls since they were last taken out.
#[derive(Debug, Default)]
struct Kept {
    /// How many were taken out before these.
    taken: usize,
    calls: Vec<Call>,
}

impl CallLog {
    pub(crate) fn new(record: Record) -> Self {
        Self { record, kept: Mutex::default(), counts: PerProvider::default() }
    }

    /// Notes the arrival of a call; `describe` is not run where calls are only counted.
    pub(crate) fn arrive(self: &Arc<Self>, provider: Provider, describe: impl FnOnce() -> Call) -> CallGuard {
        let place = (self.record == Record::All).then(|| {
            let mut kept = self.lock();
            kept.calls.push(describe());
            kept.taken + kept.calls.len() - 1
        });
        self.count(provider, |counts| {
            counts.arrived += 1;
            counts.open += 1;
        });
        CallGuard { log: Arc::clone(self), provider, place, ended: false }
    }

    pub(crate) fn calls(&self, which: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| which(call)).cloned().collect()
    }

    pub(crate) fn take_calls(&self) -> Vec<Call> {
        let mut kept = self.lock();
        kept.taken += kept.calls.len();
        std::mem::take(&mut kept.calls)
    }

    pub(crate) fn counts(&self, provider: Provider) -> Counts {
        *self.counts.get(provider).borrow()
    }

    pub(crate) async fn wait_until(&self, provider: Provider, condition: impl FnMut(&Counts) -> bool) {
        // The sender lives as long as this log, so waiting cannot fail.
        let _ = self.counts.get(provider).subscribe().wait_for(condition).await;
    }

    fn count(&self, provider: Provider, change: impl FnOnce(&mut Counts)) {
        self.counts.get(provider).send_modify(change);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life of one call; dropping it before [`CallGuard::end`] means that the client hung up.
#[derive(Debug)]
pub(crate) struct CallGuard {
    log: Arc<CallLog>,
    provider: Provider,
    place: Option<usize>,
    ended: bool,
}

impl CallGuard {
    /// Adds what became known of the call.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Call)) {
        let Some(place) = self.place else { return };
        let mut kept = self.log.lock();
        let taken = kept.taken;
        if let Some(call) = place.checked_sub(taken).and_then(|place| kept.calls.get_mut(place)) {
            change(call);
        }
    }

    /// Ends the call; a second end changes nothing.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.note(|call| call.outcome = outcome);
        self.log.count(self.provider, |counts| {
            counts.open -= 1;
            counts.hung_up += usize::from(outcome == Outcome::HungUp);
        });
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.end(Outcome::HungUp);
    }
}
