//! Reads on where a handler stopped: what it leaves of a request's body is read and thrown away.
//!
//! A refusal is often decided by the head alone, while the body is still on its way. Without this the connection would end behind the
//! answer, and a client that uses it again would find it closed, or lose the answer to a reset.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

/// How long is read on, and how much; the connection of whoever sends more is closed.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 64 << 20;

/// A request's body, of which nothing is left behind.
pub(super) struct Unread {
    /// `None` once it broke or ended.
    body: Option<Incoming>,
    /// Whether its sender waits for leave to send it, which only a reader gives.
    is_held_back: bool,
}

impl Unread {
    /// The same request with its body read to the end, whoever reads it.
    pub(super) fn watch(request: Request<Incoming>) -> Request<Self> {
        let is_held_back = request.headers().contains_key(EXPECT);
        request.map(|body| Self { body: Some(body), is_held_back })
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.is_held_back = false;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            this.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if self.is_held_back || self.is_end_stream() {
            return;
        }
        if let (Some(body), Ok(runtime)) = (self.body.take(), Handle::try_current()) {
            runtime.spawn(discard(body));
        }
    }
}

async fn discard(mut body: Incoming) {
    let until = Instant::now() + PATIENCE;
    let mut left = MOST_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
