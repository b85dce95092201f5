//! Anthropic's errors: bodies of failed calls, errors inside a 200, error events of streams.
//!
//! The shape is `{"type":"error","error":{"type","message"},"request_id"}`; a body of any other shape (a proxy's page, nothing at all)
//! still becomes an error, whose message says what came and quotes none of it.

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;

use crate::dialects::scrub::scrub;
use crate::dialects::translate::ProviderError;

/// Anthropic's own status for an overloaded service.
const OVERLOADED: u16 = 529;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    error: Details<'a>,
}

/// The `error` object; servers that only speak like Anthropic sometimes put a bare text there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Details<'a> {
    Object {
        #[serde(rename = "type", borrow, default)]
        kind: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        message: Option<Cow<'a, str>>,
    },
    Text(Cow<'a, str>),
}

/// Reads the body of an answer whose status says that the call failed.
pub(super) fn read_error(status: StatusCode, body: &[u8]) -> ProviderError {
    match std::str::from_utf8(body).ok().and_then(read_envelope) {
        Some(error) => ProviderError { status, ..error },
        None => ProviderError { status, code: None, message: describe(status, body), param: None, retry_after: None },
    }
}

/// Reads an error envelope; the status is the one that Anthropic gives errors of this type. `None` where it is no such envelope.
pub(super) fn read_envelope(json: &str) -> Option<ProviderError> {
    let Envelope { error } = serde_json::from_str(json).ok()?;
    let (kind, message) = match error {
        Details::Object { kind: None, message: None } => return None,
        Details::Object { kind, message } => (kind, message),
        Details::Text(message) => (None, Some(message)),
    };
    let message = message.unwrap_or_default();
    Some(ProviderError {
        status: kind.as_deref().map_or(StatusCode::INTERNAL_SERVER_ERROR, status_of),
        param: param_of(kind.as_deref(), &message),
        code: kind.map(Cow::into_owned),
        message: scrub(&message),
        retry_after: None,
    })
}

/// The status that Anthropic's documentation gives each type of error.
fn status_of(kind: &str) -> StatusCode {
    match kind {
        "invalid_request_error" => StatusCode::BAD_REQUEST,
        "authentication_error" => StatusCode::UNAUTHORIZED,
        "billing_error" => StatusCode::PAYMENT_REQUIRED,
        "permission_error" => StatusCode::FORBIDDEN,
        "not_found_error" => StatusCode::NOT_FOUND,
        "request_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "rate_limit_error" => StatusCode::TOO_MANY_REQUESTS,
        "timeout_error" => StatusCode::GATEWAY_TIMEOUT,
        "overloaded_error" => StatusCode::from_u16(OVERLOADED).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The field at fault: Anthropic's messages about one open with its path (`messages.0.content: …`).
fn param_of(kind: Option<&str>, message: &str) -> Option<String> {
    if !matches!(kind, Some("invalid_request_error" | "not_found_error")) {
        return None;
    }
    let (path, _) = message.split_once(": ")?;
    let is_path = path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'))
        && path.starts_with(|c: char| c.is_ascii_lowercase());
    is_path.then(|| path.to_owned())
}

/// What came in place of an error in the dialect's shape.
fn describe(status: StatusCode, body: &[u8]) -> String {
    let body = body.trim_ascii();
    let what = if body.is_empty() {
        "no body"
    } else if body.starts_with(b"<") {
        "an HTML page in place of an error"
    } else if matches!(body.first(), Some(b'{' | b'[')) {
        "JSON that is no error of the Messages API"
    } else {
        "plain text in place of an error"
    };
    format!("the provider answered {} with {what}", status.as_u16())
}
