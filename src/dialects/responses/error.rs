//! The events that end a stream which broke.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::dialects::openai_chat;
use crate::dialects::translate::ClientError;

/// An `error` event, which the SDKs raise, and `response.failed`, which agents look for; both numbered on from what has passed. The error
/// stands in an object as on the wire, and flat as in the reference.
pub(super) fn events(error: &ClientError<'_>, sequence: u64, response: &str) -> Bytes {
    let body = openai_chat::write_error(error);
    let details = serde_json::from_slice::<Value>(&body).ok().and_then(|mut body| Some(body.get_mut("error")?.take()));
    let event = json!({
        "type": "error",
        "sequence_number": sequence,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "error": details,
    });
    let mut response: Map<String, Value> = serde_json::from_str(response).unwrap_or_default();
    response.insert("status".into(), "failed".into());
    response.insert("error".into(), json!({"code": error.code, "message": error.message}));
    let failed = json!({"type": "response.failed", "sequence_number": sequence + 1, "response": response});
    Bytes::from(format!("event: error\ndata: {event}\n\nevent: response.failed\ndata: {failed}\n\n"))
}
