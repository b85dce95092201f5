//! Anthropic's endpoints.

use std::sync::Arc;

use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::response::Response;

use super::count_tokens;
use super::generate::{Entrance, generate};
use crate::gateway::Gateway;

/// `POST /v1/messages`.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    generate(&gateway, Entrance::plain(ClientDialect::Messages), request).await
}

/// `POST /v1/messages/count_tokens`.
pub(super) async fn count(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    count_tokens::count_tokens(&gateway, Entrance::plain(ClientDialect::Messages), request).await
}
