//! An answer on its way: events written by a wire format, and the body that sends them in time.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;

use super::calls::{CallGuard, Outcome};
use super::hold::Barrier;
use super::usage::Usage;

/// Where an event stands in an answer; faults count deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Opening,
    /// Carries some of the answer: text, reasoning or arguments.
    Delta,
    Closing,
}

/// A piece of an answer as it goes on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) place: Place,
    pub(crate) bytes: Bytes,
}

/// Whether an answer is a stream of events or one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Stream,
}

/// What a wire format makes of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) delivery: Delivery,
    pub(crate) events: Vec<Event>,
    pub(crate) usage: Option<Usage>,
    pub(crate) cost_ticks: Option<u64>,
    /// How its wire format tells an error in the middle, where that is not the provider's usual way.
    pub(crate) error_event: Option<Bytes>,
}

impl Answer {
    /// One document.
    pub(crate) fn whole(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            delivery: Delivery::Whole,
            events: vec![Event { place: Place::Delta, bytes: body.into() }],
            usage: None,
            cost_ticks: None,
            error_event: None,
        }
    }

    /// One JSON document.
    pub(crate) fn json(body: &Value) -> Self {
        Self::whole("application/json", body.to_string())
    }

    /// A stream of events.
    pub(crate) fn stream(content_type: &str, events: Vec<Event>) -> Self {
        Self { delivery: Delivery::Stream, events, ..Self::whole(content_type, Bytes::new()) }
    }
}

/// One thing that a body does.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Pause(Duration),
    WaitFor(std::sync::Arc<Barrier>),
    /// Lets what was sent reach the client before the next step.
    Flush,
    /// Says nothing more, and keeps the connection.
    Stall,
    /// Ends the connection without ending the body.
    Break,
}

/// The body breaks off on purpose.
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated provider broke the connection")
    }
}

impl std::error::Error for BrokenOff {}

/// The body of an answer: takes its steps one after the other, and tells the call's guard how it ended.
pub(crate) struct Steps {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    delivery: Delivery,
    guard: CallGuard,
}

impl Steps {
    pub(crate) fn new(steps: VecDeque<Step>, delivery: Delivery, guard: CallGuard) -> Self {
        Self { steps, waiting: None, delivery, guard }
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => {
                    if self.steps.is_empty() {
                        self.guard.end(Outcome::Answered);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // The sleep begins when its turn comes, not when the answer was planned.
                Some(Step::Pause(pause)) => self.waiting = Some(Box::pin(tokio::time::sleep(pause))),
                Some(Step::WaitFor(barrier)) => self.waiting = Some(Box::pin(barrier.passed())),
                Some(Step::Flush) => self.waiting = Some(Box::pin(tokio::task::yield_now())),
                Some(Step::Stall) => self.waiting = Some(Box::pin(std::future::pending())),
                Some(Step::Break) => {
                    self.guard.end(Outcome::Broken);
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                None => {
                    self.guard.end(Outcome::Answered);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }

    /// Known for documents that are sent whole, which have a content-length therefore; streams have none.
    fn size_hint(&self) -> SizeHint {
        if self.delivery == Delivery::Stream {
            return SizeHint::default();
        }
        let mut length = 0;
        for step in &self.steps {
            match step {
                Step::Send(bytes) => length += bytes.len() as u64,
                Step::Pause(_) | Step::WaitFor(_) => {}
                Step::Flush | Step::Stall | Step::Break => return SizeHint::default(),
            }
        }
        SizeHint::with_exact(length)
    }
}
