//! Reads the body of a request, bounded in size and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::gateway::Gateway;
use crate::gateway::buffers::{Body, Held};
use crate::gateway::refusal::Refusal;

/// Longest silence within a body.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that a whole body may take, however steadily it drips.
const WHOLE_PATIENCE: Duration = Duration::from_secs(300);
/// Set aside at most for what is announced and has not come; beyond it memory grows with what comes.
const MOST_AHEAD: usize = 256 << 10;

/// Reads a client's body of at most `limits.max_body_bytes`, where memory has room for it.
///
/// # Errors
/// [`Refusal`] where it is larger, encoded, breaks off or does not come, and where there is no room.
pub(super) async fn read_client(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<Body, Refusal> {
    let limit = gateway.setup.load().config.limits.max_body_bytes;
    let mut held = gateway.buffers.hold();
    let bytes = collect(headers, body, limit, Some(&mut held)).await?;
    Ok(Body { bytes, held })
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`Refusal`] where it is larger, encoded, breaks off or does not come.
pub(super) async fn read(headers: &HeaderMap, body: axum::body::Body, limit: usize) -> Result<Bytes, Refusal> {
    collect(headers, body, limit, None).await
}

async fn collect(
    headers: &HeaderMap,
    mut body: axum::body::Body,
    limit: usize,
    mut held: Option<&mut Held>,
) -> Result<Bytes, Refusal> {
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if encoded {
        let message = "the body must be sent as it is, without a content-encoding";
        return Err(Refusal::invalid(Some("content-encoding"), message));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Refusal::too_large(limit));
    }
    if held.as_ref().zip(announced).is_some_and(|(held, length)| !held.could_grow(length)) {
        return Err(no_room());
    }
    let until = Instant::now() + WHOLE_PATIENCE;
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    loop {
        let frame = match timeout_at(until.min(Instant::now() + PATIENCE), body.frame()).await {
            Ok(None) => return Ok(first.unwrap_or_else(|| whole.freeze())),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Refusal::invalid(None, "the body broke off before its end")),
            Err(_) => return Err(late()),
        };
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(whole.len(), Bytes::len);
        if so_far + data.len() > limit {
            return Err(Refusal::too_large(limit));
        }
        if held.as_mut().is_some_and(|held| held.grow(data.len()).is_err()) {
            return Err(no_room());
        }
        if so_far == 0 {
            // Most bodies come in one piece, which is then not copied.
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            whole.reserve(announced.unwrap_or(0).min(MOST_AHEAD).max(first.len() + data.len()));
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
}

fn no_room() -> Refusal {
    Refusal::overloaded("too many request bodies are in memory (limits.max_buffered_bytes)")
}

fn late() -> Refusal {
    let message = format!(
        "the body did not come in time: at most {} seconds of silence, {} seconds in all",
        PATIENCE.as_secs(),
        WHOLE_PATIENCE.as_secs()
    );
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", message)
}
