//! Reading the configuration again.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{input, schema};
use crate::config::Effect;
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// Reads the configuration again: what changed, or why it was left as it is.
#[utoipa::path(post, path = "/admin/reload", tag = "health", responses(
    (status = 200, body = schema::Reloaded),
    (status = 422, description = "the configuration is invalid; the running one holds"),
))]
pub(super) async fn reload(State(gateway): State<Arc<Gateway>>) -> Response {
    let changes = gateway.reload().await.map_err(|problems| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", problems.to_string())
    });
    let listed = changes.map(|changes| {
        let changed: Vec<Value> = changes
            .iter()
            .map(|change| {
                let applied = change.effect == Effect::Applied;
                json!({"key": change.key, "change": change.what, "applied": applied})
            })
            .collect();
        json!({"changed": changed})
    });
    input::answer(StatusCode::OK, listed)
}
