//! The live tree of actors.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{input, not_found, schema};
use crate::gateway::Gateway;

/// The live supervision tree, from the root down.
#[utoipa::path(get, path = "/admin/actors", tag = "actors", responses((status = 200, body = schema::Actor)))]
pub(super) async fn tree(State(gateway): State<Arc<Gateway>>) -> Response {
    input::answer(StatusCode::OK, Ok(gateway.system.tree()))
}

/// Makes an actor panic while it handles a message: a real crash, from which its supervisor brings it back.
#[utoipa::path(post, path = "/admin/actors/{name}/restart", tag = "actors", params(("name" = String, Path)), responses(
    (status = 202, body = schema::Restarting),
    (status = 404, description = "there is no such actor"),
))]
pub(super) async fn restart(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    let result = if gateway.system.crash(&name) {
        tracing::warn!(actor = name, "crashed on the operator's order");
        Ok(json!({"name": name, "status": "restarting"}))
    } else {
        Err(not_found(format!("there is no actor {name:?}; GET /admin/actors lists them")))
    };
    input::answer(StatusCode::ACCEPTED, result)
}
