//! Google's errors: what a refusal says, whom it blames and how long to wait.
//!
//! Bodies are `{"error":{code,message,status,details}}`, an array of one such object (streams, proxies), or no JSON at all. Messages are
//! scrubbed of keys and project ids. Source: <https://cloud.google.com/apis/design/errors>.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::dialects::scrub::scrub;
use crate::dialects::translate::ProviderError;

#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    code: Option<i64>,
    message: Option<String>,
    status: Option<String>,
    details: Option<Vec<Detail>>,
}

/// The fields of `ErrorInfo`, `RetryInfo` and `BadRequest` that matter here; a detail has those of its own type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    reason: Option<String>,
    retry_delay: Option<String>,
    field_violations: Option<Vec<FieldViolation>>,
}

#[derive(Debug, Deserialize)]
struct FieldViolation {
    field: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    error: ErrorBody,
}

/// Reads the body of an answer that is not 200; `status` is the answer's own.
pub(super) fn decode(status: StatusCode, body: &[u8]) -> ProviderError {
    match read(body) {
        Some(error) => ProviderError { status, ..error.into_provider_error() },
        None => ProviderError {
            status,
            code: None,
            message: format!("the provider answered {} without a readable error", status.as_u16()),
            param: None,
            retry_after: None,
        },
    }
}

/// The error in a body or event, alone or in an array.
pub(super) fn read(body: &[u8]) -> Option<ErrorBody> {
    // Looked at first, since serde also reads a struct from an array, field by field.
    if body.trim_ascii_start().starts_with(b"[") {
        let several: Vec<Envelope> = serde_json::from_slice(body).ok()?;
        return several.into_iter().next().map(|envelope| envelope.error);
    }
    serde_json::from_slice(body).ok().map(|Envelope { error }| error)
}

impl ErrorBody {
    /// The error in canonical words, with the HTTP status that belongs to it.
    pub(super) fn into_provider_error(self) -> ProviderError {
        let details = self.details.unwrap_or_default();
        let known = self.code.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        let status = known.unwrap_or_else(|| http_status(self.status.as_deref().unwrap_or_default()));
        // A wrong key is 400 INVALID_ARGUMENT here: only the reason tells it from the client's own fault.
        let key_fault =
            details.iter().find_map(|detail| detail.reason.clone().filter(|why| why.starts_with("API_KEY_")));
        let param =
            details.iter().flat_map(|detail| detail.field_violations.iter().flatten()).find_map(|v| v.field.clone());
        ProviderError {
            status,
            code: key_fault.or(self.status),
            message: scrub(self.message.as_deref().unwrap_or_default()),
            param: param.filter(|field| !field.is_empty()),
            retry_after: details.iter().find_map(|detail| seconds(detail.retry_delay.as_deref()?)),
        }
    }
}

/// Reads a protobuf duration: `34.4s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Source: `google.rpc.Code`, <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>.
fn http_status(name: &str) -> StatusCode {
    match name {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => StatusCode::BAD_REQUEST,
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "PERMISSION_DENIED" => StatusCode::FORBIDDEN,
        "NOT_FOUND" => StatusCode::NOT_FOUND,
        "ALREADY_EXISTS" | "ABORTED" => StatusCode::CONFLICT,
        "RESOURCE_EXHAUSTED" => StatusCode::TOO_MANY_REQUESTS,
        "UNIMPLEMENTED" => StatusCode::NOT_IMPLEMENTED,
        "UNAVAILABLE" => StatusCode::SERVICE_UNAVAILABLE,
        "DEADLINE_EXCEEDED" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    const WRONG_KEY: &str = r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[
        {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com",
         "metadata":{"service":"generativelanguage.googleapis.com"}}]}}"#;

    #[test]
    fn a_wrong_key_is_told_from_a_bad_request() {
        let error = decode(StatusCode::BAD_REQUEST, WRONG_KEY.as_bytes());
        assert_eq!(error.code.as_deref(), Some("API_KEY_INVALID"));
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn d176_retry_info_tells_how_long_to_wait() {
        let body = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"PerMinute"}]},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}"#;
        let error = decode(StatusCode::TOO_MANY_REQUESTS, body.as_bytes());
        assert_eq!(error.retry_after, Some(Duration::from_millis(34_400)));
        assert_eq!(error.code.as_deref(), Some("RESOURCE_EXHAUSTED"));
    }

    #[test]
    fn a_field_violation_names_the_field() {
        let body = r#"{"error":{"message":"bad","status":"INVALID_ARGUMENT","details":[
            {"fieldViolations":[{"field":"contents[0].parts","description":"x"}]}]}}"#;
        let error = read(body.as_bytes()).unwrap().into_provider_error();
        assert_eq!(error.param.as_deref(), Some("contents[0].parts"));
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn d178_arrays_html_and_nothing_are_errors_too() {
        let array = r#"[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]"#;
        assert_eq!(decode(StatusCode::SERVICE_UNAVAILABLE, array.as_bytes()).message, "overloaded");
        for body in ["<html>502</html>", "", "upstream connect error", "[]", "null"] {
            let error = decode(StatusCode::BAD_GATEWAY, body.as_bytes());
            assert_eq!((error.status, error.code), (StatusCode::BAD_GATEWAY, None));
            assert!(!error.message.contains("html"));
        }
    }
}
