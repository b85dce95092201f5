//! `GET /admin/events`: what an operator watches, as server-sent events.
//!
//! One task looks at the gateway for all watchers, only while there are any; it reads counters and published snapshots and never waits for
//! an actor. A watcher that reads slowly misses what lies between and gets the newest. The number of watchers is bounded.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::input;
use super::overview::Overview;
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::AdminScope;

/// Watchers at a time: each holds a connection.
const MAX_WATCHERS: usize = 32;
/// How often the gateway is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// A watcher hears something after so long at the latest, so that either side notices when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The latest requests that an event shows.
const LATEST: usize = 40;

/// An event as it goes over the wire; empty before the first look.
type Frame = Bytes;

/// Those who watch a gateway.
pub(super) struct Watchers {
    gateway: Weak<Gateway>,
    /// The sender is the task's that looks: when that ends, for whatever reason, the watchers' streams end, and who comes next starts another.
    frames: Mutex<Weak<watch::Sender<Frame>>>,
}

impl Watchers {
    pub(super) fn new(gateway: &Arc<Gateway>) -> Arc<Self> {
        Arc::new(Self { gateway: Arc::downgrade(gateway), frames: Mutex::default() })
    }

    /// Joins those who watch; `None` where there are as many as may be.
    fn join(self: &Arc<Self>) -> Option<watch::Receiver<Frame>> {
        let mut frames = self.lock();
        if let Some(sender) = frames.upgrade() {
            let has_room = sender.receiver_count() < MAX_WATCHERS;
            return has_room.then(|| {
                let mut receiver = sender.subscribe();
                // What was seen last is news to whoever has just come.
                receiver.mark_changed();
                receiver
            });
        }
        let (sender, receiver) = watch::channel(Frame::new());
        let sender = Arc::new(sender);
        *frames = Arc::downgrade(&sender);
        tokio::spawn(self.clone().look(sender));
        Some(receiver)
    }

    /// Looks at the gateway for as long as somebody watches and the gateway lives.
    async fn look(self: Arc<Self>, sender: Arc<watch::Sender<Frame>>) {
        let mut last = String::new();
        while let Some(gateway) = self.gateway.upgrade() {
            let has_ended = gateway.drain.is_draining() && gateway.drain.present() == 0;
            let seen = snapshot(&gateway).await;
            drop(gateway);
            if seen != last {
                sender.send_replace(Frame::from(format!("event: snapshot\ndata: {seen}\n\n")));
                last = seen;
            }
            {
                // Nobody can join between the last look at their number and the end.
                let mut frames = self.lock();
                if sender.receiver_count() == 0 || has_ended {
                    *frames = Weak::new();
                    return;
                }
            }
            sleep(INTERVAL).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Weak<watch::Sender<Frame>>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One look, as one line of JSON.
async fn snapshot(gateway: &Gateway) -> String {
    let requests = gateway.store.latest(AdminScope::granted(), LATEST).await;
    let requests = requests.inspect_err(|error| tracing::error!(%error, "the latest requests could not be read")).ok();
    let overview = Overview::of(gateway).await;
    json!({"overview": overview, "requests": requests}).to_string()
}

/// What an operator watches: an event `snapshot` with `overview` (as `GET /admin/overview`) and `requests` (the latest rows in short)
/// whenever something has changed, at most twice a second; comments between them keep the connection alive.
#[utoipa::path(get, path = "/admin/events", tag = "health", responses(
    (status = 200, body = String, content_type = "text/event-stream"),
    (status = 503, description = "as many watch as may"),
))]
pub(super) async fn events(Extension(watchers): Extension<Arc<Watchers>>) -> Response {
    let Some(receiver) = watchers.join() else {
        let message = format!("{MAX_WATCHERS} watch already, as many as may; close another dashboard");
        let refusal = Refusal {
            retry_after: Some(HEARTBEAT),
            ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_watchers", message)
        };
        return input::answer::<()>(StatusCode::OK, Err(refusal));
    };
    let mut response = Response::new(Body::from_stream(stream::unfold(receiver, next)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The newest frame, or a sign of life; `None` where nobody looks any more.
async fn next(mut receiver: watch::Receiver<Frame>) -> Option<(Result<Frame, Infallible>, watch::Receiver<Frame>)> {
    loop {
        let frame = match timeout(HEARTBEAT, receiver.changed()).await {
            Err(_) => Frame::from_static(b": still here\n\n"),
            Ok(Ok(())) => receiver.borrow_and_update().clone(),
            Ok(Err(_)) => return None,
        };
        if !frame.is_empty() {
            return Some((Ok(frame), receiver));
        }
    }
}
