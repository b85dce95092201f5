//! Errors: the client's shape, and what the providers of this dialect put in its place.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::dialects::scrub::scrub;
use crate::dialects::translate::{ClientError, ProviderError};

/// The error object as a client of this dialect reads it.
pub fn write_error(error: &ClientError<'_>) -> Bytes {
    let body = json!({"error": {
        "message": error.message,
        "type": error_type(error.status),
        "param": error.param,
        "code": error.code,
    }});
    Bytes::from(body.to_string())
}

/// OpenAI's type of an error for a status.
fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Reads the body of a provider's answer with an error status, whatever it is made of.
pub fn read_error(status: StatusCode, body: &[u8]) -> ProviderError {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => from_value(status, &value),
        Err(_) => {
            // A proxy's HTML page says nothing that a client could use.
            let message = format!("the provider answered {} with a body that is not JSON", status.as_u16());
            ProviderError { status, code: None, message, param: None, retry_after: None }
        }
    }
}

/// Reads a member `error` met inside a 200.
pub(in crate::dialects) fn within_answer(error: &str) -> ProviderError {
    let value = serde_json::from_str::<Value>(error).unwrap_or_default();
    let status = match value.get("code").and_then(Value::as_u64) {
        Some(code) => u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()),
        None => None,
    };
    let status = status.filter(|status| status.is_client_error() || status.is_server_error());
    from_value(status.unwrap_or_else(|| usual_status(&value)), &json!({ "error": value }))
}

/// The status that OpenAI gives an error elsewhere, by its code or type.
/// Source: <https://platform.openai.com/docs/guides/error-codes>.
fn usual_status(error: &Value) -> StatusCode {
    let names = [error.get("code"), error.get("type")];
    let is = |names_of: &[&str]| {
        names.iter().flatten().filter_map(|name| name.as_str()).any(|name| names_of.contains(&name))
    };
    match () {
        () if is(&["rate_limit_exceeded", "insufficient_quota"]) => StatusCode::TOO_MANY_REQUESTS,
        () if is(&["context_length_exceeded"]) => StatusCode::BAD_REQUEST,
        () if is(&["invalid_api_key"]) => StatusCode::UNAUTHORIZED,
        () => StatusCode::BAD_GATEWAY,
    }
}

/// Reads MiniMax's `base_resp`; `None` where it says that all is well.
///
/// Codes: <https://platform.minimax.io/docs/api-reference/errorcode>.
pub(super) fn base_resp(text: &str) -> Option<ProviderError> {
    let value = serde_json::from_str::<Value>(text).ok()?;
    let code = value.get("status_code").and_then(Value::as_i64).filter(|&code| code != 0)?;
    let status = match code {
        1002 | 1039 | 2056 => StatusCode::TOO_MANY_REQUESTS,
        1004 | 2049 => StatusCode::UNAUTHORIZED,
        1008 => StatusCode::PAYMENT_REQUIRED,
        1026 | 1027 | 2013 => StatusCode::BAD_REQUEST,
        2061 => StatusCode::FORBIDDEN,
        1001 => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let code = match code {
        1026 | 1027 => "content_filter".to_owned(),
        other => other.to_string(),
    };
    let message = scrub(value.get("status_msg").and_then(Value::as_str).unwrap_or_default());
    Some(ProviderError { status, code: Some(code), message, param: None, retry_after: None })
}

fn from_value(status: StatusCode, value: &Value) -> ProviderError {
    // Gemini's compatible surface wraps the error into an array.
    let value = value.get(0).unwrap_or(value);
    if let Some(failure) = value.get("base_resp").and_then(|inner| base_resp(&inner.to_string())) {
        return ProviderError { status: if status.is_success() { failure.status } else { status }, ..failure };
    }
    let error = value.get("error").unwrap_or(value);
    let text = |holder: &Value, name: &str| holder.get(name).and_then(as_text);
    let message = error
        .as_str()
        .map(str::to_owned)
        .or_else(|| routed_message(error))
        .or_else(|| text(error, "message"))
        .or_else(|| text(value, "message"))
        .or_else(|| text(value, "detail"))
        .unwrap_or_else(|| format!("the provider answered {} without a reason", status.as_u16()));
    // The code says more than the type, unless it only repeats the status; xAI's stands beside a textual `error`.
    let says_more = |code: &String| code.parse::<u16>().is_err();
    let code = text(error, "code")
        .filter(says_more)
        .or_else(|| text(error, "status").filter(says_more))
        .or_else(|| text(error, "type"))
        .or_else(|| text(value, "code"));
    let retry_after = retry_delay(error).or_else(|| wait_in_prose(&message));
    let param = text(error, "param");
    ProviderError { status, code, message: scrub(&message), param, retry_after }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// OpenRouter says "Provider returned error" and gives the reason in `metadata`.
fn routed_message(error: &Value) -> Option<String> {
    let metadata = error.get("metadata")?;
    let raw = metadata.get("raw").and_then(as_text)?;
    let message = error.get("message").and_then(as_text)?;
    Some(match metadata.get("provider_name").and_then(as_text) {
        Some(name) => format!("{message} ({name}): {raw}"),
        None => format!("{message}: {raw}"),
    })
}

/// `google.rpc.RetryInfo` among the details.
fn retry_delay(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    details.iter().find_map(|detail| duration(detail.get("retryDelay")?.as_str()?))
}

/// OpenAI tells how long to wait in its message: "Please try again in 1.78s".
fn wait_in_prose(message: &str) -> Option<Duration> {
    let (_, after) = message.split_once("try again in ")?;
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(after.len());
    duration(after.get(..end)?.trim_end_matches('.'))
}

/// Reads `1m3.5s`, `34.4s`, `250ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn read(status: u16, body: &str) -> ProviderError {
        read_error(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn d171_d172_d174_d178_each_providers_shape_is_read() {
        for (body, code, message, param) in [
            (
                r#"{"error":{"message":"no","type":"invalid_request_error","param":"n","code":"bad_n"}}"#,
                Some("bad_n"),
                "no",
                Some("n"),
            ),
            (
                r#"{"error":{"message":"no","type":"engine_overloaded_error"}}"#,
                Some("engine_overloaded_error"),
                "no",
                None,
            ),
            (
                r#"{"code":"invalid-argument","error":"Model not found: x"}"#,
                Some("invalid-argument"),
                "Model not found: x",
                None,
            ),
            (r#"{"code":5,"error":"url.not_found","message":"m","method":"POST"}"#, Some("5"), "url.not_found", None),
            (
                r#"{"type":"error","error":{"type":"authorized_error","message":"login fail","http_code":"401"}}"#,
                Some("authorized_error"),
                "login fail",
                None,
            ),
            (
                r#"[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]"#,
                Some("INVALID_ARGUMENT"),
                "bad",
                None,
            ),
            (
                r#"{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"slow down","provider_name":"X"}}}"#,
                None,
                "Provider returned error (X): slow down",
                None,
            ),
            (
                r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
                Some("1008"),
                "insufficient balance",
                None,
            ),
            (r#"{"detail":"Not Found"}"#, None, "Not Found", None),
            ("null", None, "the provider answered 418 without a reason", None),
            ("<html>502 Bad Gateway</html>", None, "the provider answered 418 with a body that is not JSON", None),
            ("", None, "the provider answered 418 with a body that is not JSON", None),
        ] {
            let error = read(418, body);
            assert_eq!(
                (error.code.as_deref(), &*error.message, error.param.as_deref()),
                (code, message, param),
                "{body}"
            );
            assert_eq!(error.status, 418);
        }
    }

    #[test]
    fn d176_a_wait_is_found_in_prose_and_details() {
        let wait = |body: &str| read(429, body).retry_after;
        assert_eq!(
            wait(r#"{"error":{"message":"Please try again in 1.78s. Visit x"}}"#),
            Some(Duration::from_millis(1780))
        );
        assert_eq!(wait(r#"{"error":{"message":"Please try again in 1m3.5s."}}"#), Some(Duration::from_millis(63_500)));
        assert_eq!(wait(r#"{"error":{"message":"try again in 250ms"}}"#), Some(Duration::from_millis(250)));
        assert_eq!(wait(r#"{"error":{"message":"try again in a moment"}}"#), None);
        assert_eq!(
            wait(r#"{"error":{"message":"q","details":[{"@type":"x"},{"retryDelay":"34.4s"}]}}"#),
            Some(Duration::from_millis(34_400))
        );
    }

    #[test]
    fn the_clients_shape_names_everything() {
        let error = ClientError {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_request",
            message: "a \"b\"",
            param: Some("messages[0].role"),
        };
        let body: Value = serde_json::from_slice(&write_error(&error)).unwrap();
        assert_eq!(
            body,
            json!({"error": {"message": "a \"b\"", "type": "invalid_request_error", "param": "messages[0].role", "code": "invalid_request"}})
        );
    }
}
