//! How a tenant's second policy compares with the one that holds.

use std::sync::Arc;

use aipipe_actors::tenant::account::day_of;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{input, schema};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// How often the tenant's `shadow` policy would choose the same model as the one that holds, what the difference would cost and, where it
/// `send`s, whose answers are better, of the sampled requests since the policy was set.
#[utoipa::path(get, path = "/admin/tenants/{id}/shadow", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Shadow),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn compared(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, comparison(&gateway, &id).await)
}

async fn comparison(gateway: &Gateway, id: &str) -> Result<Value, Refusal> {
    let live = input::live(gateway, id).await?;
    let policy = live.estate.policy.load();
    let today = day_of(gateway.clock.now());
    let comparison = policy.shadow.as_ref().map(|shadow| live.estate.shadow.comparison(shadow, today));
    Ok(json!({"tenant": live.id, "comparison": comparison}))
}
