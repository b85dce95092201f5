//! What operators send: names in paths, parameters in queries, JSON in bodies.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use aipipe_actors::identity::{RequestId, TenantId};
use aipipe_actors::routing::digest::ClientDialect;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::not_found;
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::gateway::tenants::Live;
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

/// A tenant that exists.
pub(super) fn known_tenant(gateway: &Gateway, text: &str) -> Result<TenantId, Refusal> {
    let tenant = tenant(text)?;
    if gateway.directory.knows(&tenant) {
        return Ok(tenant);
    }
    Err(not_found(format!("there is no tenant {tenant}")))
}

/// A tenant that exists, live.
pub(super) async fn live(gateway: &Gateway, text: &str) -> Result<Arc<Live>, Refusal> {
    let tenant = known_tenant(gateway, text)?;
    let setup = gateway.setup.load_full();
    let live = gateway.directory.live(&tenant, &gateway.store, &setup.config).await;
    live.map_err(|error| Refusal::tenant(&error))
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

/// How many entries of a page are asked for.
pub(super) fn limit(text: Option<&str>, usual: usize, most: usize) -> Result<usize, Refusal> {
    let limit = parameter("limit", text)?.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(Refusal::invalid(Some("limit"), format!("`limit` must be from 1 to {most}")));
    }
    Ok(limit)
}

/// A stretch of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Its beginning.
    pub(super) since: Timestamp,
    /// Its end, which is not part of it.
    pub(super) until: Timestamp,
}

/// The stretch of time that two parameters name; up to now, and `usual_hours` long, where they do not.
pub(super) fn stretch(
    gateway: &Gateway,
    since: Option<&str>,
    until: Option<&str>,
    usual_hours: i64,
) -> Result<Stretch, Refusal> {
    // The end is not part of the stretch, and what was just admitted is.
    let now = gateway.clock.now().checked_add(1.nanosecond()).unwrap_or(Timestamp::MAX);
    let until: Timestamp = parameter("until", until)?.unwrap_or(now);
    let usual = until.checked_sub(usual_hours.hours()).unwrap_or(Timestamp::MIN);
    let since: Timestamp = parameter("since", since)?.unwrap_or(usual);
    if since >= until {
        return Err(Refusal::invalid(Some("since"), "`since` must be before `until`"));
    }
    Ok(Stretch { since, until })
}

/// The whole body.
pub(super) async fn bytes(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    body::read(headers, body, MAX_BODY_BYTES).await
}

/// A body read as a JSON object.
pub(super) fn json<T: DeserializeOwned>(body: &[u8], quoting: Quoting) -> Result<T, Refusal> {
    // serde would take an array for the members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::invalid(None, "the body must be a JSON object"));
    }
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
