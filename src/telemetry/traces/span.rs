//! The spans of a request: its own (kind server) and one for each call of a provider (kind client).
//!
//! | attributes | where from |
//! |---|---|
//! | `http.*`, `server.*`, `error.type` | the conventions for HTTP spans |
//! | `gen_ai.*` | the conventions for generative AI; reasons to end are told in the words of their message schema |
//! | `aipipe.*` | AiPipe's own; money in USD, for display: the exact figures stand in the ledger |
//!
//! `gen_ai.response.model` is the name under which the provider was asked. The request's own span ends when nobody holds it any more:
//! with its refusal, or with the last byte of its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{Attempt, CacheUse, Closing, Outcome};
use aipipe_actors::money::Tokens;
use aipipe_actors::routing::digest::{ClientDialect, Digest};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode as SpanStatus};
use tokio::time::Instant;

use super::content::{Content, Transcript};
use super::{SpanId, TraceContext, Tracer, new_span_id};
use crate::dialects::conversation::{Conversation, Stop};
use crate::providers::Dialect;

/// Longest text that a client chose and that becomes an attribute, in characters.
const MAX_CLIENT_TEXT: usize = 256;

/// A request as it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub request_id: RequestId,
    /// The client's dialect.
    pub dialect: ClientDialect,
    /// The route that it came to, as it is declared: a name without parameters.
    pub route: &'a str,
    /// The path that the client wrote, without what follows `?`, where keys may stand.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// When it came, by both clocks.
    pub arrival: (Instant, Timestamp),
}

/// A call of a provider, at its end.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The id that the provider was told.
    pub id: SpanId,
    /// What the ledger has of it.
    pub attempt: &'a Attempt,
    /// Its number, from 1.
    pub number: usize,
    /// When it began.
    pub started: Instant,
    /// To the first content, from the beginning of the call.
    pub first_content: Option<Duration>,
    /// Why the answer ended, where it did.
    pub stop: Option<Stop>,
    /// What the provider speaks, and the host and port at which it was called.
    pub provider: Option<(Dialect, &'a url::Url)>,
}

/// The span of a request under way.
#[derive(Debug)]
pub struct RequestSpan {
    tracer: Arc<Tracer>,
    context: TraceContext,
    parent: Option<SpanId>,
    arrival: (Instant, Timestamp),
    dialect: ClientDialect,
    told: Mutex<Told>,
}

/// What is known of the request so far.
#[derive(Debug, Default)]
struct Told {
    name: String,
    attributes: Vec<KeyValue>,
    status: StatusCode,
    /// Whether it ended badly on AiPipe's side.
    is_error: bool,
    /// What was said, where that is kept.
    content: Option<Content>,
}

impl Tracer {
    /// Begins the span of a request, below the caller's where its headers name one.
    pub fn request(self: &Arc<Self>, entry: &Entry<'_>) -> Arc<RequestSpan> {
        let parent = TraceContext::from_headers(entry.headers);
        let context = self.context(parent.as_ref());
        let mut told = Told { status: StatusCode::OK, ..Told::default() };
        if context.is_sampled {
            told.name = format!("POST {}", entry.route);
            told.attributes = vec![
                text("http.request.method", "POST"),
                text("http.route", entry.route),
                text("url.scheme", "http"),
                text("url.path", cut(entry.path)),
                text("gen_ai.operation.name", client_operation(entry.dialect)),
                text("aipipe.request_id", entry.request_id.to_string()),
            ];
        }
        Arc::new(RequestSpan {
            tracer: self.clone(),
            context,
            parent: parent.map(|parent| parent.span),
            arrival: entry.arrival,
            dialect: entry.dialect,
            told: Mutex::new(told),
        })
    }
}

impl RequestSpan {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a call that is about to be made, which the provider is told.
    pub fn call_id(&self) -> SpanId {
        new_span_id()
    }

    /// Tells the provider which span calls it.
    pub fn continue_in(&self, call: SpanId, headers: &mut HeaderMap) {
        TraceContext { span: call, ..self.context.clone() }.put_into(headers);
    }

    /// The request was read.
    pub fn scanned(&self, digest: &Digest) {
        if !self.context.is_sampled {
            return;
        }
        self.told().attributes.push(text("gen_ai.request.model", cut(&digest.requested_text)));
    }

    /// Keeps what is said from here on, beginning with the request; `None` where that cannot be said in any other dialect's words.
    pub fn keep_content(&self, asked: impl FnOnce() -> Option<Conversation>) {
        if self.context.is_sampled {
            let content = Content::asked(asked().as_ref());
            self.told().content = Some(content);
        }
    }

    /// Whether what is said is kept.
    pub fn keeps_content(&self) -> bool {
        self.told().content.is_some()
    }

    /// What the client was answered.
    pub fn answered(&self, transcript: Transcript) {
        if let Some(content) = &mut self.told().content {
            content.answered(transcript);
        }
    }

    /// The client gets an error in place of an answer.
    pub fn refused(&self, status: StatusCode, code: &str) {
        let mut told = self.told();
        told.status = status;
        // The conventions hold a server innocent of a client's errors.
        told.is_error = status.is_server_error();
        if self.context.is_sampled {
            told.attributes.push(text("error.type", code));
        }
    }

    /// The request has a row in the ledger that is complete.
    pub fn settled(&self, closing: &Closing, complexity: f64, cache: CacheUse) {
        if !self.context.is_sampled {
            return;
        }
        let mut told = self.told();
        if closing.outcome == Outcome::Truncated {
            told.is_error = true;
            told.attributes.push(text("error.type", closing.outcome.as_str()));
        }
        told.attributes.extend([
            text("aipipe.tenant", closing.tenant.as_str()),
            text("aipipe.outcome", closing.outcome.as_str()),
            text("aipipe.cache", cache.as_str()),
            double("aipipe.complexity", complexity),
            double("aipipe.cost_usd", closing.cost.as_usd_f64()),
            double("aipipe.saved_usd", closing.saved.as_usd_f64()),
            integer("aipipe.attempts", closing.attempts.len() as u64),
            attribute("aipipe.estimated", Value::BoolValue(closing.estimated)),
            text("gen_ai.provider.name", provider_name(closing.provider.as_str())),
        ]);
        if closing.outcome != Outcome::Failed {
            told.attributes.push(text("gen_ai.response.model", closing.model.as_str()));
        }
        told.attributes.extend(usage(&closing.tokens));
        if let Some(first) = closing.ttft_ms {
            told.attributes.push(double("gen_ai.response.time_to_first_chunk", first as f64 / 1_000.0));
        }
    }

    /// A call of a provider has ended.
    pub fn called(&self, call: &Call<'_>) {
        if !self.context.is_sampled {
            return;
        }
        let Call { attempt, stop, .. } = *call;
        let operation = match call.provider {
            Some((Dialect::Gemini, _)) if self.dialect != ClientDialect::Embeddings => "generate_content",
            _ if self.dialect == ClientDialect::Embeddings => "embeddings",
            _ => "chat",
        };
        let model = attempt.model.as_str();
        let mut attributes = vec![
            text("gen_ai.operation.name", operation),
            text("gen_ai.provider.name", provider_name(attempt.provider.as_str())),
            text("gen_ai.request.model", model),
            integer("aipipe.attempt", call.number as u64),
            double("aipipe.cost_usd", attempt.cost.as_usd_f64()),
        ];
        if let Some((_, url)) = call.provider {
            attributes.extend(url.host_str().map(|host| text("server.address", host)));
            attributes.extend(url.port_or_known_default().map(|port| integer("server.port", port.into())));
        }
        attributes.extend(attempt.status.map(|status| integer("http.response.status_code", status.into())));
        attributes
            .extend(call.first_content.map(|first| double("gen_ai.response.time_to_first_chunk", first.as_secs_f64())));
        attributes.extend(usage(&attempt.tokens));
        if let Some(stop) = stop {
            attributes.push(finish_reasons(stop));
            self.told().attributes.push(finish_reasons(stop));
        }
        let mut status = Status::default();
        match &attempt.fault {
            Some(fault) => {
                attributes.push(text("error.type", fault.as_str()));
                // A client that leaves is nobody's error.
                if attempt.outcome != Outcome::Cancelled {
                    status.code = SpanStatus::Error.into();
                }
            }
            None => attributes.push(text("gen_ai.response.model", model)),
        }
        self.finish(Span {
            span_id: call.id.to_vec(),
            parent_span_id: self.context.span.to_vec(),
            name: format!("{operation} {model}"),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: self.wall_clock(call.started),
            attributes,
            status: Some(status),
            ..Span::default()
        });
    }

    /// Ends the span of a call at this moment.
    fn finish(&self, span: Span) {
        self.tracer.finished(self.ended(span), None);
    }

    /// A span that ends at this moment.
    fn ended(&self, span: Span) -> Span {
        let state = self.context.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default();
        Span {
            trace_id: self.context.trace.to_vec(),
            trace_state: state.to_owned(),
            flags: 1,
            end_time_unix_nano: self.wall_clock(Instant::now()),
            ..span
        }
    }

    /// Nanoseconds since 1970, counted from the request's arrival by the clock that never jumps.
    fn wall_clock(&self, instant: Instant) -> u64 {
        let (began, at) = self.arrival;
        let nanoseconds = at.as_nanosecond() + instant.saturating_duration_since(began).as_nanos() as i128;
        u64::try_from(nanoseconds).unwrap_or_default()
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if !self.context.is_sampled {
            return;
        }
        let mut told = self.told();
        let mut attributes = std::mem::take(&mut told.attributes);
        attributes.push(integer("http.response.status_code", told.status.as_u16().into()));
        let code = if told.is_error { SpanStatus::Error } else { SpanStatus::Unset };
        let name = std::mem::take(&mut told.name);
        let content = told.content.take();
        drop(told);
        let span = self.ended(Span {
            span_id: self.context.span.to_vec(),
            parent_span_id: self.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name,
            kind: SpanKind::Server.into(),
            start_time_unix_nano: self.wall_clock(self.arrival.0),
            attributes,
            status: Some(Status { code: code.into(), ..Status::default() }),
            ..Span::default()
        });
        self.tracer.finished(span, content);
    }
}

/// A client's text, which has no bound of its own.
fn cut(text: &str) -> String {
    text.chars().take(MAX_CLIENT_TEXT).collect()
}

/// What a client asks for, in the conventions' words.
fn client_operation(dialect: ClientDialect) -> &'static str {
    match dialect {
        ClientDialect::Embeddings => "embeddings",
        ClientDialect::Gemini => "generate_content",
        ClientDialect::Chat | ClientDialect::Messages | ClientDialect::Responses => "chat",
    }
}

/// A provider's name in the conventions' list; what is not in it bears its own.
fn provider_name(provider: &str) -> &str {
    match provider {
        "xai" => "x_ai",
        "gemini" => "gcp.gemini",
        "moonshot" => "moonshot_ai",
        other => other,
    }
}

/// Why an answer ended, in the words of the conventions' schema of messages.
pub(super) fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence | Stop::Paused => "stop",
        Stop::ToolUse => "tool_call",
        Stop::Length | Stop::ContextFull => "length",
        Stop::Refusal | Stop::Filtered => "content_filter",
    }
}

fn finish_reasons(stop: Stop) -> KeyValue {
    let values = vec![AnyValue { value: Some(Value::StringValue(finish_reason(stop).to_owned())) }];
    attribute("gen_ai.response.finish_reasons", Value::ArrayValue(ArrayValue { values }))
}

/// The figures; input holds what was read from and written to the prompt cache, output holds reasoning, as in the conventions.
fn usage(tokens: &Tokens) -> impl Iterator<Item = KeyValue> {
    let parts = [
        ("gen_ai.usage.cache_read.input_tokens", tokens.cached_input),
        ("gen_ai.usage.cache_creation.input_tokens", tokens.cache_write),
        ("gen_ai.usage.reasoning.output_tokens", tokens.reasoning),
    ];
    let wholes = [("gen_ai.usage.input_tokens", tokens.input), ("gen_ai.usage.output_tokens", tokens.output)];
    let is_known = tokens.input > 0 || tokens.output > 0;
    let told = wholes.into_iter().filter(move |_| is_known).chain(parts.into_iter().filter(|(_, count)| *count > 0));
    told.map(|(key, count)| integer(key, count))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(super) fn integer(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}
