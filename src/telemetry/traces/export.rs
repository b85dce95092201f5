//! Sends finished spans to the collector: OTLP/HTTP with binary protobuf (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use super::Queued;
use super::span::text;
use crate::config::Traces;
use crate::providers::Auth;
use crate::telemetry::metrics::SpanCounters;
use crate::upstream::client::{Call, Client, MAX_ERROR_BYTES, read_body};

/// Waits before a batch is sent again, where the collector says that it may take it later.
const RETRY_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// The most bytes of one request, where more than one span is in it: what collectors take by default.
const MOST_REQUEST_BYTES: usize = 4 << 20;

/// Why a batch did not arrive.
struct Failed {
    why: String,
    may_pass: bool,
}

pub(super) struct Exporter {
    settings: Traces,
    client: Client,
    counters: SpanCounters,
    resource: Resource,
    /// Whether the last batch was lost, so that a collector that is away fills no log.
    is_failing: bool,
}

impl Exporter {
    pub(super) fn new(settings: Traces, client: Client, counters: SpanCounters) -> Self {
        let attributes = settings.resource.iter().map(|(key, value)| text(key, value)).collect();
        let resource = Resource { attributes, ..Resource::default() };
        Self { settings, client, counters, resource, is_failing: false }
    }

    /// Sends batches until it is told to close and the queue is empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Queued>, closing: Arc<Notify>) {
        let mut goes_on = true;
        while goes_on {
            let mut batch = Vec::new();
            goes_on = self.gather(&mut queue, &closing, &mut batch).await;
            while !batch.is_empty() {
                let portion = portion(&batch);
                self.deliver(batch.drain(..portion).collect()).await;
            }
        }
    }

    /// Waits for a full batch, or for what came within the delay; `false` where nothing will follow.
    async fn gather(&self, queue: &mut mpsc::Receiver<Queued>, closing: &Notify, batch: &mut Vec<Queued>) -> bool {
        let delay = sleep(self.settings.delay);
        tokio::pin!(delay);
        while batch.len() < self.settings.max_batch {
            tokio::select! {
                received = queue.recv_many(batch, self.settings.max_batch - batch.len()) => {
                    if received == 0 {
                        return false;
                    }
                }
                // What is queued is still received.
                () = closing.notified() => queue.close(),
                () = &mut delay => return true,
            }
        }
        true
    }

    async fn deliver(&mut self, batch: Vec<Queued>) {
        let count = batch.len() as u64;
        let body = self.request(batch.into_iter().map(|queued| queued.span).collect());
        let mut waits = RETRY_WAITS.iter();
        let sent = loop {
            match (self.post(&body).await, waits.next()) {
                (Err(failed), Some(&wait)) if failed.may_pass => sleep(wait).await,
                (sent, _) => break sent,
            }
        };
        let rejected = match &sent {
            Ok(rejected) => (*rejected).min(count),
            Err(_) => count,
        };
        self.counters.exported.inc_by(count - rejected);
        self.counters.dropped.inc_by(rejected);
        match sent {
            Ok(_) if std::mem::take(&mut self.is_failing) => tracing::info!("the trace collector takes spans again"),
            Err(failed) if !std::mem::replace(&mut self.is_failing, true) => {
                // The rest of the address may hold a secret.
                let host = self.settings.endpoint.host_str();
                tracing::warn!(host, error = failed.why, "spans are lost: the collector does not take them");
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn request(&self, spans: Vec<Span>) -> Bytes {
        let scope = InstrumentationScope {
            name: "aipipe".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource_spans =
            ResourceSpans { resource: Some(self.resource.clone()), scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec().into()
    }

    /// Sends a request once; the number of its spans that the collector turned away.
    async fn post(&self, body: &Bytes) -> Result<u64, Failed> {
        let mut headers = self.settings.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let call = Call { url: self.settings.endpoint.clone(), headers, body: body.clone() };
        let answer = async {
            let broken = |error: crate::upstream::client::Broken| Failed { why: error.message, may_pass: true };
            let response = self.client.send(call, Auth::Bearer, None).await.map_err(broken)?;
            let status = response.status();
            let body = read_body(response, MAX_ERROR_BYTES).await.map_err(broken)?;
            if !status.is_success() {
                return Err(Failed { why: format!("status {status}"), may_pass: may_pass(status) });
            }
            // A collector that answers in no form it should has taken the spans all the same.
            let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
            let partial = answer.partial_success.unwrap_or_default();
            Ok(partial.rejected_spans.max(0).unsigned_abs())
        };
        let late = || Failed { why: "no answer in time".to_owned(), may_pass: true };
        timeout(self.settings.timeout, answer).await.unwrap_or_else(|_| Err(late()))
    }
}

/// How many spans from the beginning of a batch make one request; at least one.
fn portion(batch: &[Queued]) -> usize {
    let mut bytes = 0;
    let fits = batch.iter().take_while(|queued| {
        bytes += queued.span.encoded_len();
        bytes <= MOST_REQUEST_BYTES
    });
    fits.count().max(1)
}

/// The protocol's list of statuses after which a client may send again.
fn may_pass(status: StatusCode) -> bool {
    use StatusCode as Code;
    matches!(status, Code::TOO_MANY_REQUESTS | Code::BAD_GATEWAY | Code::SERVICE_UNAVAILABLE | Code::GATEWAY_TIMEOUT)
}
