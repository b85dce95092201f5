//! A tenant's figures.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::{self, Stretch};
use super::{schema, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::TenantStats;

/// Hours that the figures are for where nobody says: thirty days.
const USUAL_HOURS: i64 = 30 * 24;

/// The stretch of time asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Its beginning, RFC 3339; thirty days before `until` where absent.
    since: Option<String>,
    /// Its end, RFC 3339; now where absent.
    until: Option<String>,
}

/// Requests, errors, cost, savings, tokens and latency, by provider and model too.
#[utoipa::path(get, path = "/admin/tenants/{id}/stats", tag = "tenants", params(("id" = String, Path), Wanted), responses(
    (status = 200, body = schema::TenantStats),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn of_tenant(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    input::answer(StatusCode::OK, figures(&gateway, &id, &wanted).await)
}

async fn figures(gateway: &Gateway, id: &str, wanted: &Wanted) -> Result<TenantStats, Refusal> {
    let tenant = input::known_tenant(gateway, id)?;
    let Stretch { since, until } =
        input::stretch(gateway, wanted.since.as_deref(), wanted.until.as_deref(), USUAL_HOURS)?;
    gateway.store.stats(&tenant, since, until).await.map_err(|error| store_failed(&error))
}
