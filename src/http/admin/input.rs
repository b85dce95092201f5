//! What operators send: names in paths, parameters in queries, JSON in bodies.

use std::fmt::Display;
use std::str::FromStr;

use aipipe_actors::identity::{RequestId, TenantId};
use aipipe_actors::routing::digest::ClientDialect;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gateway::refusal::Refusal;
use crate::http::{body, reply};

/// The largest body of an admin call.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Whether an error of the JSON reader may be shown: it quotes what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// It may.
    Shown,
    /// What was sent may be a secret.
    Hidden,
}

/// A tenant's name.
pub(super) fn tenant(text: &str) -> Result<TenantId, Refusal> {
    TenantId::parse(text).map_err(|error| Refusal {
        param: Some("id".into()),
        ..Refusal::new(StatusCode::BAD_REQUEST, "invalid_tenant", error.to_string())
    })
}

/// A value of a query parameter, where it is given.
pub(super) fn parameter<T>(name: &str, text: Option<&str>) -> Result<Option<T>, Refusal>
where
    T: FromStr,
    T::Err: Display,
{
    let read = |text: &str| {
        text.parse().map_err(|error: T::Err| Refusal::invalid(Some(name), format!("`{name}` cannot be read: {error}")))
    };
    text.map(read).transpose()
}

/// The whole body.
pub(super) async fn bytes(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    body::read(headers, body, MAX_BODY_BYTES).await
}

/// A body read as JSON.
pub(super) fn json<T: DeserializeOwned>(body: &[u8], quoting: Quoting) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let message = match quoting {
            Quoting::Shown => format!("the body is not what this endpoint takes: {error}"),
            Quoting::Hidden => {
                let (line, column) = (error.line(), error.column());
                format!("the body is not what this endpoint takes, at line {line}, column {column}")
            }
        };
        Refusal::invalid(None, message)
    })
}

/// The answer of an admin call.
pub(super) fn answer<T: Serialize>(status: StatusCode, result: Result<T, Refusal>) -> Response {
    match result {
        Ok(value) => reply::json(status, &value),
        Err(refusal) => reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal),
    }
}
