//! The ledger's rows.

use std::sync::Arc;

use aipipe_actors::identity::{ModelId, ProviderId, RequestId};
use aipipe_actors::ledger::Outcome;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NotOne;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::{input, not_found, schema, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::{AdminScope, RequestFilter, RequestRow};

/// Rows of a page where nobody says.
const USUAL_LIMIT: usize = 50;

/// Which rows are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Of this tenant only.
    tenant: Option<String>,
    /// Answered, or last asked, by this provider only.
    provider: Option<String>,
    /// Answered, or last asked, by this model only, by the id that its provider gives it.
    model: Option<String>,
    /// `reserved`, `ok`, `cancelled`, `truncated`, `failed` or `unsettled`.
    outcome: Option<String>,
    /// Admitted from this instant on, RFC 3339.
    since: Option<String>,
    /// Admitted before this instant, RFC 3339.
    until: Option<String>,
    /// Rows of the page, 1 to 1000; 50 where absent.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Ledger rows, newest first, each with its attempts and the whole decision; never prompts.
#[utoipa::path(get, path = "/admin/requests", tag = "accounts", params(Wanted), responses(
    (status = 200, body = schema::RequestPage),
    (status = 400, description = "a parameter cannot be read"),
))]
pub(super) async fn latest(State(gateway): State<Arc<Gateway>>, Query(wanted): Query<Wanted>) -> Response {
    input::answer(StatusCode::OK, page(&gateway, wanted).await)
}

async fn page(gateway: &Gateway, wanted: Wanted) -> Result<Value, Refusal> {
    let named = |parameter: &str, error: &dyn std::fmt::Display| {
        Refusal::invalid(Some(parameter), format!("`{parameter}` cannot be read: {error}"))
    };
    let outcome = |text: &str| Outcome::deserialize(IntoDeserializer::<NotOne>::into_deserializer(text));
    let filter = RequestFilter {
        tenant: wanted.tenant.as_deref().map(input::tenant).transpose()?,
        provider: (wanted.provider.as_deref().map(ProviderId::parse).transpose())
            .map_err(|error| named("provider", &error))?,
        model: wanted.model.as_deref().map(ModelId::parse).transpose().map_err(|error| named("model", &error))?,
        outcome: wanted.outcome.as_deref().map(outcome).transpose().map_err(|error| named("outcome", &error))?,
        since: input::parameter("since", wanted.since.as_deref())?,
        until: input::parameter("until", wanted.until.as_deref())?,
        limit: input::limit(wanted.limit.as_deref(), USUAL_LIMIT, RequestFilter::MAX_LIMIT)?,
        cursor: wanted.cursor,
    };
    let page = gateway.store.requests(AdminScope::granted(), filter).await.map_err(|error| store_failed(&error))?;
    Ok(json!({"requests": page.requests, "next_cursor": page.next_cursor}))
}

/// One ledger row.
#[utoipa::path(get, path = "/admin/requests/{id}", tag = "accounts", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Request),
    (status = 404, description = "there is no such request"),
))]
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, row(&gateway, &id).await)
}

async fn row(gateway: &Gateway, id: &str) -> Result<RequestRow, Refusal> {
    let unknown = || not_found(format!("there is no request {id:?}"));
    let request = RequestId::parse(id).map_err(|_| unknown())?;
    let found = gateway.store.request(AdminScope::granted(), request).await.map_err(|error| store_failed(&error))?;
    found.ok_or_else(unknown)
}
