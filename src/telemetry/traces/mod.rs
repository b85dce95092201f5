//! Traces for OpenTelemetry: a span for each request and one for each call of a provider, sent to a collector in OTLP over HTTP.
//!
//! Without a collector's address there is no [`Tracer`], and a request carries `None` in place of its span. With one, spans are made as
//! the messages of the protocol when they end, handed to a bounded queue and sent in batches by a task of their own ([`export`]); what
//! finds no room is dropped and counted, and no request ever waits. The queue, the context and the sampler are written here rather than
//! taken from the OpenTelemetry SDK: it reads the process's environment by itself, does not tell how many spans its queue dropped, and
//! its exporter brings an HTTP client of its own.
//!
//! Names of attributes follow the semantic conventions for HTTP and for generative AI; what is AiPipe's own begins with `aipipe.`
//! ([`span`]). Keys are never among them; prompts and answers only where the configuration and the tenant ask for it ([`content`]).

mod content;
mod context;
mod export;
mod span;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::metrics::Meters;
use crate::config::{Sampler, Traces};
use crate::upstream::client::Client;
use content::Content;
use context::TraceContext;

pub use content::{MOST_BYTES, Transcript};
pub use context::SpanId;
pub use span::{Call, Entry, RequestSpan};

/// The most bytes of prompts and answers in the queue; beyond it spans go without.
const MOST_QUEUED_CONTENT: usize = 16 << 20;

/// Makes spans and hands them to the task that sends them.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    queue: mpsc::Sender<Queued>,
    /// Bytes of prompts and answers in the queue.
    content: Arc<AtomicUsize>,
    dropped: Counter,
    closing: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Tracer {
    /// Starts the task that sends spans, within the current runtime.
    pub fn start(settings: &Traces, client: Client, meters: &Meters) -> Arc<Self> {
        let (queue, spans) = mpsc::channel(settings.max_queue);
        let closing = Arc::new(Notify::new());
        let counters = meters.spans();
        let dropped = counters.dropped.clone();
        let exporter = export::Exporter::new(settings.clone(), client, counters);
        let task = tokio::spawn(exporter.run(spans, closing.clone()));
        let (sampler, content, task) = (settings.sampler, Arc::default(), Mutex::new(Some(task)));
        Arc::new(Self { sampler, queue, content, dropped, closing, task })
    }

    /// Sends what is queued and ends; what is not sent within `patience` is lost.
    pub async fn close(&self, patience: Duration) {
        self.closing.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if timeout(patience, &mut task).await.is_err() {
            tracing::warn!("the trace collector takes too long: the last spans are lost");
            task.abort();
        }
    }

    fn finished(&self, mut span: Span, content: Option<Content>) {
        let share = content.map(|content| {
            let share = Share::of(&self.content, content.len());
            let has_room = self.content.load(Ordering::Relaxed) <= MOST_QUEUED_CONTENT;
            span.attributes.extend(content.into_attributes(has_room));
            has_room.then_some(share)
        });
        if self.queue.try_send(Queued { span, _content: share.flatten() }).is_err() {
            self.dropped.inc();
        }
    }

    /// The context of a new span below `parent`.
    fn context(&self, parent: Option<&TraceContext>) -> TraceContext {
        let trace = parent.map_or_else(|| fastrand::u128(1..).to_be_bytes(), |parent| parent.trace);
        TraceContext {
            trace,
            span: new_span_id(),
            is_sampled: self.sampler.keeps(parent.map(|parent| parent.is_sampled), trace),
            state: parent.and_then(|parent| parent.state.clone()),
        }
    }
}

/// A span on its way to the task that sends it.
#[derive(Debug)]
struct Queued {
    span: Span,
    _content: Option<Share>,
}

/// So many bytes of prompts and answers are in the queue.
#[derive(Debug)]
struct Share(Arc<AtomicUsize>, usize);

impl Share {
    fn of(all: &Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self(all.clone(), bytes)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

fn new_span_id() -> SpanId {
    fastrand::u64(1..).to_be_bytes()
}
