//! Errors as a client of this dialect reads them: one of Anthropic's own types, with AiPipe's code beside it.

use aipipe_actors::identity::RequestId;
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use crate::dialects::translate::ClientError;

/// The body of an error.
pub(super) fn body(error: &ClientError<'_>, request_id: RequestId) -> String {
    let details = json!({"type": error_type(error.status), "message": error.message, "code": error.code});
    json!({"type": "error", "error": details, "request_id": request_id.to_string()}).to_string()
}

/// The event that ends a stream which broke; no `message_stop` follows.
pub(super) fn event(error: &ClientError<'_>, request_id: RequestId) -> Bytes {
    Bytes::from(format!("event: error\ndata: {}\n\n", body(error, request_id)))
}

/// The type that Anthropic gives errors of this status. Source: <https://docs.claude.com/en/api/errors>.
fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        // Clients wait and try again where a service is overloaded.
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}
