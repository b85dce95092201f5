//! Traces for OpenTelemetry: a span for each request and one for each call of a provider, sent to a collector in OTLP over HTTP.
//!
//! Without a collector's address there is no [`Tracer`], and a request carries `None` in place of its span. With one, spans are made as
//! the messages of the protocol when they end, handed to a bounded queue and sent in batches by a task of their own ([`export`]); what
//! finds no room is dropped and counted, and no request ever waits. The queue, the context and the sampler are written here rather than
//! taken from the OpenTelemetry SDK: it reads the process's environment by itself, does not tell how many spans its queue dropped, and
//! its exporter brings an HTTP client of its own.
//!
//! Names of attributes follow the semantic conventions for HTTP and for generative AI; what is AiPipe's own begins with `aipipe.`
//! ([`span`]). Prompts, answers and keys are never among them.

mod context;
mod export;
mod span;

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
use context::TraceContext;

pub use context::SpanId;
pub use span::{Call, Entry, RequestSpan};

/// Makes spans and hands them to the task that sends them.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    queue: mpsc::Sender<Span>,
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
        Arc::new(Self { sampler: settings.sampler, queue, dropped, closing, task: Mutex::new(Some(task)) })
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

    fn finished(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
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

fn new_span_id() -> SpanId {
    fastrand::u64(1..).to_be_bytes()
}
