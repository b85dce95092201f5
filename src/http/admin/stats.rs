//! A tenant's figures.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use super::{input, not_found, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::TenantStats;

/// Hours that the figures are for where nobody says: thirty days.
const USUAL_HOURS: i64 = 30 * 24;

/// The stretch of time asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Stretch {
    since: Option<String>,
    until: Option<String>,
}

/// `GET /admin/tenants/{id}/stats`.
pub(super) async fn of_tenant(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Query(stretch): Query<Stretch>,
) -> Response {
    input::answer(StatusCode::OK, figures(&gateway, &id, &stretch).await)
}

async fn figures(gateway: &Gateway, id: &str, stretch: &Stretch) -> Result<TenantStats, Refusal> {
    let tenant = input::tenant(id)?;
    if !gateway.directory.knows(&tenant) {
        return Err(not_found(format!("there is no tenant {tenant}")));
    }
    // The end is not part of the stretch, and what was just admitted is.
    let now = gateway.clock.now().checked_add(1.nanosecond()).unwrap_or(Timestamp::MAX);
    let until: Timestamp = input::parameter("until", stretch.until.as_deref())?.unwrap_or(now);
    let usual = until.checked_sub(USUAL_HOURS.hours()).unwrap_or(Timestamp::MIN);
    let since: Timestamp = input::parameter("since", stretch.since.as_deref())?.unwrap_or(usual);
    if since >= until {
        return Err(Refusal::invalid(Some("since"), "`since` must be before `until`"));
    }
    gateway.store.stats(&tenant, since, until).await.map_err(|error| store_failed(&error))
}
