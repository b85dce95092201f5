//! Answers and refusals as HTTP: the one place where errors get the shape of the client's dialect, and headers their names.

use std::convert::Infallible;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::dialects::surface;
use crate::gateway::answered::{AnswerBody, Answered};
use crate::gateway::refusal::Refusal;
use crate::gateway::relay::Relay;
use crate::upstream::sse::{SseDecoder, SseError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-aipipe-provider");
const MODEL: HeaderName = HeaderName::from_static("x-aipipe-model");
const COMPLEXITY: HeaderName = HeaderName::from_static("x-aipipe-complexity");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-aipipe-attempts");
const CACHE: HeaderName = HeaderName::from_static("x-aipipe-cache");
const COST: HeaderName = HeaderName::from_static("x-aipipe-cost-usd");
const DROPPED: HeaderName = HeaderName::from_static("x-aipipe-dropped");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How a stream is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As server-sent events.
    Events,
    /// As the items of one JSON array, which Gemini's API gives where nobody asks for events.
    Array,
}

/// An answer of a model.
pub(super) fn answer(request_id: RequestId, answered: Answered, framing: Framing) -> Response {
    let Answered { provider, model, complexity, attempts, cache, cost, dropped, body } = answered;
    let (content_type, body) = match body {
        AnswerBody::Whole { bytes, content_type } => (header(&content_type), Body::from(bytes)),
        AnswerBody::Stream(relay) if framing == Framing::Array => {
            (JSON, Body::from_stream(stream::unfold(Items::new(relay), Items::next)))
        }
        AnswerBody::Stream(relay) => {
            let pieces = stream::unfold(relay, |mut relay| async move {
                let bytes = relay.next().await?;
                Some((Ok::<_, Infallible>(bytes), relay))
            });
            (HeaderValue::from_static("text/event-stream; charset=utf-8"), Body::from_stream(pieces))
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if content_type.as_bytes().starts_with(b"text/event-stream") {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Proxies of nginx's kind hold streams back without it.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    }
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(REQUEST_ID, header(&request_id.to_string()));
    headers.insert(PROVIDER, header(provider.as_str()));
    headers.insert(MODEL, header(model.as_str()));
    headers.insert(COMPLEXITY, header(&format!("{complexity:.3}")));
    headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    headers.insert(CACHE, HeaderValue::from_static(cache.as_str()));
    if let Some(cost) = cost {
        headers.insert(COST, header(&cost.to_string()));
    }
    if !dropped.is_empty() {
        headers.insert(DROPPED, header(&dropped));
    }
    response
}

/// A stream of events as the items of an array.
struct Items {
    relay: Box<Relay>,
    events: SseDecoder,
    /// What goes in front of the next item.
    separator: &'static str,
    has_ended: bool,
}

impl Items {
    fn new(relay: Box<Relay>) -> Self {
        Self { relay, events: SseDecoder::default(), separator: "[", has_ended: false }
    }

    async fn next(mut self) -> Option<(Result<Bytes, SseError>, Self)> {
        if self.has_ended {
            return None;
        }
        let mut events = Vec::new();
        let read = match self.relay.next().await {
            Some(bytes) => self.events.feed(bytes, &mut events),
            None => {
                self.has_ended = true;
                self.events.finish().map(|last| events.extend(last))
            }
        };
        if let Err(error) = read {
            self.has_ended = true;
            return Some((Err(error), self));
        }
        let mut out = Vec::new();
        for event in events.iter().filter(|event| !event.is_comment()) {
            out.extend_from_slice(std::mem::replace(&mut self.separator, ",\r\n").as_bytes());
            out.extend_from_slice(event.data().as_bytes());
        }
        if self.has_ended {
            out.extend_from_slice(if self.separator == "[" { b"[]" } else { b"]" });
        }
        Some((Ok(Bytes::from(out)), self))
    }
}

/// A refusal in the shape of the client's dialect.
pub(super) fn refusal(dialect: ClientDialect, request_id: RequestId, refusal: &Refusal) -> Response {
    let body = surface(dialect).error(&refusal.as_client_error(), request_id);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(REQUEST_ID, header(&request_id.to_string()));
    if let Some(wait) = refusal.retry_after {
        // Whole seconds, and never "at once".
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if refusal.code == "draining" {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A JSON document.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => written(status, RequestId::generate(), body.into()),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            let failed =
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the answer could not be written");
            refusal(ClientDialect::Chat, RequestId::generate(), &failed)
        }
    }
}

/// JSON that is written already.
pub(super) fn written(status: StatusCode, request_id: RequestId, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(REQUEST_ID, header(&request_id.to_string()));
    response
}

/// Text as a header's value; what no header may hold becomes `?`.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let clean: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        HeaderValue::from_str(&clean).unwrap_or(HeaderValue::from_static("?"))
    })
}
