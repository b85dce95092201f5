//! Reading the configuration again.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::input;
use crate::config::Effect;
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// `POST /admin/reload`.
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
