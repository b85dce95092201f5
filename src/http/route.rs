//! `POST /v1/route`: the decision for a chat body, which is not sent anywhere.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{body, reply, tenancy};
use crate::gateway::Gateway;
use crate::gateway::prepare::Label;
use crate::gateway::refusal::Refusal;
use crate::gateway::wishes;

/// Shows the decision.
pub(super) async fn decision(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match decided(&gateway, request).await {
        Ok(decision) => reply::json(StatusCode::OK, &decision.to_json()),
        Err(refusal) => reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal),
    }
}

async fn decided(gateway: &Arc<Gateway>, request: Request) -> Result<Decision, Refusal> {
    let _presence = gateway.drain.enter().ok_or_else(Refusal::draining)?;
    let (parts, body) = request.into_parts();
    let tenant = tenancy::tenant(gateway, &parts.headers, None).await?;
    let wishes = wishes::from_headers(&parts.headers)?;
    let body = body::read_client(gateway, &parts.headers, body).await?;
    let label =
        Label { request_id: RequestId::generate(), dialect: ClientDialect::Chat, wishes, along: HeaderMap::new() };
    gateway.explain(&tenant, label, &body.bytes).await
}
