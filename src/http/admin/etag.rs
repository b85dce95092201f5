//! Changes on condition: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, 13.1), so that two operators do not overwrite each other.

use std::sync::Arc;

use axum::response::Response;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::input;
use crate::gateway::refusal::Refusal;

/// Names a state of something that can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// The tag of this state.
    pub(super) fn of(state: &impl Serialize) -> Self {
        // What cannot be written has no state to name; the answer itself will say so.
        let bytes = serde_json::to_vec(state).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("\"{hex}\""))
    }
}

/// One change of tenants at a time, so that nothing comes between a condition and the change that it is for.
#[derive(Debug, Default, Clone)]
pub(super) struct Writes(Arc<Mutex<()>>);

impl Writes {
    /// Waits for the turn, which lasts until what is returned is dropped.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        self.0.clone().lock_owned().await
    }
}

/// Whether a change may be made of what has this tag now; `None`: it does not exist.
pub(super) fn check(headers: &HeaderMap, now: Option<Tag>) -> Result<(), Refusal> {
    if headers.contains_key(IF_MATCH) && !named(headers, &IF_MATCH, now.as_ref()) {
        return Err(failed("if-match", "it has changed since; read it again"));
    }
    if headers.contains_key(IF_NONE_MATCH) && named(headers, &IF_NONE_MATCH, now.as_ref()) {
        return Err(failed("if-none-match", "it exists already"));
    }
    Ok(())
}

/// Whether a header names the tag; `*` names any.
fn named(headers: &HeaderMap, header: &HeaderName, tag: Option<&Tag>) -> bool {
    let Some(Tag(tag)) = tag else { return false };
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|given| given == "*" || given == tag)
}

fn failed(header: &str, why: &str) -> Refusal {
    let message = format!("the condition of {header} does not hold: {why}");
    Refusal {
        param: Some(header.to_owned()),
        ..Refusal::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", message)
    }
}

/// The answer of a call that shows a state.
pub(super) fn answer<T: Serialize>(result: Result<(Tag, T), Refusal>) -> Response {
    match result {
        Ok((Tag(tag), value)) => {
            let mut response = input::answer(StatusCode::OK, Ok(value));
            if let Ok(tag) = HeaderValue::try_from(tag) {
                response.headers_mut().insert(ETAG, tag);
            }
            response
        }
        Err(refusal) => input::answer::<T>(StatusCode::OK, Err(refusal)),
    }
}
