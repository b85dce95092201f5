//! The live tree of actors.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{input, not_found};
use crate::gateway::Gateway;

/// `GET /admin/actors`.
pub(super) async fn tree(State(gateway): State<Arc<Gateway>>) -> Response {
    input::answer(StatusCode::OK, Ok(gateway.system.tree()))
}

/// `POST /admin/actors/{name}/restart`: a real crash, from which its supervisor brings it back.
pub(super) async fn restart(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    let result = if gateway.system.crash(&name) {
        tracing::warn!(actor = name, "crashed on the operator's order");
        Ok(json!({"name": name, "status": "restarting"}))
    } else {
        Err(not_found(format!("there is no actor {name:?}; GET /admin/actors lists them")))
    };
    input::answer(StatusCode::ACCEPTED, result)
}
