//! Money and requests over time.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::{self, Stretch};
use super::{schema, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::{AdminScope, SeriesBy, SeriesQuery, SeriesSet};

/// Hours that the figures are for where nobody says.
const USUAL_HOURS: i64 = 24;
/// Steps where nobody says.
const USUAL_STEPS: usize = 48;

/// Which figures are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Their beginning, RFC 3339; a day before `until` where absent.
    since: Option<String>,
    /// Their end, RFC 3339; now where absent.
    until: Option<String>,
    /// Steps of equal length, 1 to 500; 48 where absent.
    steps: Option<String>,
    /// What parts them: `tenant`, `provider` or `model`; nothing where absent.
    by: Option<String>,
}

/// Requests, cost and savings over time; the seven most expensive names and `other`.
#[utoipa::path(get, path = "/admin/series", tag = "accounts", params(Wanted), responses(
    (status = 200, body = schema::SeriesSet),
    (status = 400, description = "a parameter cannot be read"),
))]
pub(super) async fn series(State(gateway): State<Arc<Gateway>>, Query(wanted): Query<Wanted>) -> Response {
    input::answer(StatusCode::OK, figures(&gateway, &wanted).await)
}

async fn figures(gateway: &Gateway, wanted: &Wanted) -> Result<SeriesSet, Refusal> {
    let Stretch { since, until } =
        input::stretch(gateway, wanted.since.as_deref(), wanted.until.as_deref(), USUAL_HOURS)?;
    let steps = input::parameter("steps", wanted.steps.as_deref())?.unwrap_or(USUAL_STEPS);
    if !(1..=SeriesQuery::MAX_STEPS).contains(&steps) {
        let message = format!("`steps` must be from 1 to {}", SeriesQuery::MAX_STEPS);
        return Err(Refusal::invalid(Some("steps"), message));
    }
    let by = match wanted.by.as_deref() {
        None => SeriesBy::All,
        Some("tenant") => SeriesBy::Tenant,
        Some("provider") => SeriesBy::Provider,
        Some("model") => SeriesBy::Model,
        Some(_) => return Err(Refusal::invalid(Some("by"), "`by` must be `tenant`, `provider` or `model`")),
    };
    let query = SeriesQuery { since, until, steps, by };
    gateway.store.series(AdminScope::granted(), query).await.map_err(|error| store_failed(&error))
}
