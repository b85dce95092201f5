//! The ledger's rows.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::decision::Decision;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{input, not_found, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::{AdminScope, RequestFilter, RequestRow};

/// Rows of a page where nobody says.
const USUAL_LIMIT: usize = 50;

/// Which rows are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    tenant: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /admin/requests`.
pub(super) async fn latest(State(gateway): State<Arc<Gateway>>, Query(wanted): Query<Wanted>) -> Response {
    input::answer(StatusCode::OK, page(&gateway, wanted).await)
}

async fn page(gateway: &Gateway, wanted: Wanted) -> Result<Value, Refusal> {
    let limit = input::parameter("limit", wanted.limit.as_deref())?.unwrap_or(USUAL_LIMIT);
    if !(1..=RequestFilter::MAX_LIMIT).contains(&limit) {
        let message = format!("`limit` must be from 1 to {}", RequestFilter::MAX_LIMIT);
        return Err(Refusal::invalid(Some("limit"), message));
    }
    let tenant = wanted.tenant.as_deref().map(input::tenant).transpose()?;
    let filter = RequestFilter { tenant, limit, cursor: wanted.cursor };
    let page = gateway.store.requests(AdminScope::granted(), filter).await.map_err(|error| store_failed(&error))?;
    let rows: Vec<RequestRow> = page.requests.into_iter().map(explained).collect();
    Ok(json!({"requests": rows, "next_cursor": page.next_cursor}))
}

/// `GET /admin/requests/{request_id}`.
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, row(&gateway, &id).await)
}

async fn row(gateway: &Gateway, id: &str) -> Result<RequestRow, Refusal> {
    let unknown = || not_found(format!("there is no request {id:?}"));
    let request = RequestId::parse(id).map_err(|_| unknown())?;
    let found = gateway.store.request(AdminScope::granted(), request).await.map_err(|error| store_failed(&error))?;
    found.map(explained).ok_or_else(unknown)
}

/// A row with its decision in the contract's shape instead of the compact one it is kept in.
fn explained(mut row: RequestRow) -> RequestRow {
    let rendered = Decision::decode(row.decision.get()).map(|decision| decision.to_json().to_string());
    if let Some(rendered) = rendered.and_then(|text| RawValue::from_string(text).ok()) {
        row.decision = rendered;
    }
    row
}
