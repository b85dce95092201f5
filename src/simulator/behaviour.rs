//! What a call can be made to meet, and the script that decides it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::latency::LatencyProfile;
use super::text::hash;

/// How a provider treats a call.
///
/// Deltas are the events of a stream that carry answer: text, reasoning or tool call arguments. A fault "after" more deltas than the answer
/// has comes after the last one. An answer that is not streamed counts as one delta, which faults cut in half.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Behaviour {
    /// A good answer.
    #[default]
    Normal,
    /// A good answer with exactly this text, in place of what the model would have said.
    Says(String),
    /// A good answer with a text of this many bytes.
    HugeAnswer(usize),
    /// A good answer that does not tell its usage.
    UsageMissing,
    /// A good answer at this pace.
    Latency(LatencyProfile),
    /// An error with this status and the provider's own body for it.
    Status {
        /// The HTTP status.
        status: u16,
        /// Seconds to wait, told the way the provider tells them.
        retry_after: Option<u64>,
    },
    /// The provider's own error for an account without money, which no retry cures.
    OutOfMoney,
    /// The provider's own error for a prompt beyond the context length.
    TooLong,
    /// Status 200 with an error in it: MiniMax's `base_resp`, an error body, or an error as the stream's first event.
    ErrorIn200,
    /// A good answer whose headers take this long.
    SlowHeaders(Duration),
    /// Accepts the call and never answers.
    Silent,
    /// Goes silent after so many deltas, with the connection open.
    StallAfter(usize),
    /// Breaks the connection after so many deltas: the body never ends properly.
    BreaksAfter(usize),
    /// Ends the stream cleanly after so many deltas, without the event that would complete the answer.
    EndsEarly(usize),
    /// Sends the provider's error event after so many deltas, and ends.
    ErrorEventAfter(usize),
    /// Sends an event that does not parse after so many deltas, and goes on.
    MalformedEventAfter(usize),
    /// A page of some proxy in front of the provider.
    NotJson {
        /// The page.
        body: String,
        /// Its HTTP status.
        status: u16,
    },
    /// Reads the call and resets the connection.
    ResetBeforeHeaders,
    /// Promises a longer body than it sends, and breaks the connection.
    Truncated,
    /// Does this to so large a part of the calls (0 to 1), in an order that the seed decides; the others are normal.
    FailureRate {
        /// The part of the calls, from 0 to 1.
        rate: f64,
        /// What happens to them.
        failure: Box<Behaviour>,
    },
    /// These bytes with status 200, without a look at the request: the cheapest answer there is, for load tests.
    Fixed {
        /// The `content-type` of the answer.
        content_type: String,
        /// The whole body.
        bytes: Bytes,
    },
}

impl Behaviour {
    /// An error with this status and the provider's own body for it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }

    /// Status 429 which tells, the provider's way, to come back after so many seconds.
    #[must_use]
    pub fn rate_limited(retry_after_seconds: u64) -> Self {
        Self::Status { status: 429, retry_after: Some(retry_after_seconds) }
    }

    /// Status 503 for so large a part of the calls.
    #[must_use]
    pub fn unreliable(rate: f64) -> Self {
        Self::FailureRate { rate, failure: Box::new(Self::status(503)) }
    }
}

/// Which behaviour each call of a provider meets: the queue first, then its model's, then the provider's.
#[derive(Debug, Default)]
pub(crate) struct Script(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    next: VecDeque<Behaviour>,
    models: HashMap<String, Behaviour>,
    always: Behaviour,
    /// How many calls met a failure rate.
    drawn: u64,
}

impl Script {
    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.lock().always = behaviour;
    }

    pub(crate) fn set_model(&self, model: &str, behaviour: Behaviour) {
        self.lock().models.insert(model.to_owned(), behaviour);
    }

    pub(crate) fn push_next(&self, behaviour: Behaviour) {
        self.lock().next.push_back(behaviour);
    }

    /// The behaviour of a call that has just arrived. Failure rates are drawn here.
    pub(crate) fn behaviour(&self, model: Option<&str>, seed: u64) -> Behaviour {
        let mut lines = self.lock();
        let queued = lines.next.pop_front();
        let of_model = || model.and_then(|model| lines.models.get(model)).cloned();
        let behaviour = queued.or_else(of_model).unwrap_or_else(|| lines.always.clone());
        match behaviour {
            Behaviour::FailureRate { rate, failure } => {
                lines.drawn += 1;
                if drawn_below(rate, seed, lines.drawn) { *failure } else { Behaviour::Normal }
            }
            certain => certain,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the `n`-th draw of a seed falls below the rate.
fn drawn_below(rate: f64, seed: u64, n: u64) -> bool {
    let mut bytes = [0; 16];
    let (left, right) = bytes.split_at_mut(8);
    left.copy_from_slice(&seed.to_le_bytes());
    right.copy_from_slice(&n.to_le_bytes());
    (hash(&bytes) % 10_000) as f64 / 10_000.0 < rate
}
