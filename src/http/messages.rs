//! Anthropic's endpoints.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::generate::{Entrance, generate};
use super::{body, reply, tenancy};
use crate::gateway::Gateway;
use crate::gateway::prepare::Label;
use crate::gateway::refusal::Refusal;
use crate::gateway::wishes;

/// Says that a count is AiPipe's own estimate.
const ESTIMATED: HeaderName = HeaderName::from_static("x-aipipe-estimated");

/// `POST /v1/messages`.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    generate(&gateway, Entrance::plain(ClientDialect::Messages), request).await
}

/// `POST /v1/messages/count_tokens`: the input tokens of a request, in the tokens of the model that it would go to. They are estimated
/// here, and the answer says so.
pub(super) async fn count_tokens(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match counted(&gateway, request).await {
        Ok(tokens) => {
            let mut response = reply::json(StatusCode::OK, &json!({"input_tokens": tokens}));
            response.headers_mut().insert(ESTIMATED, HeaderValue::from_static("true"));
            response
        }
        Err(refusal) => reply::refusal(ClientDialect::Messages, RequestId::generate(), &refusal),
    }
}

async fn counted(gateway: &Arc<Gateway>, request: Request) -> Result<u64, Refusal> {
    let _presence = gateway.drain.enter().ok_or_else(Refusal::draining)?;
    let (parts, body) = request.into_parts();
    let tenant = tenancy::tenant(gateway, &parts.headers, None).await?;
    let body = body::read_client(gateway, &parts.headers, body).await?;
    let label = Label {
        request_id: RequestId::generate(),
        dialect: ClientDialect::Messages,
        wishes: wishes::from_headers(&parts.headers)?,
        along: HeaderMap::new(),
    };
    let decision = gateway.explain(&tenant, label, &body.bytes).await?;
    Ok(decision.chosen().map_or(decision.input_tokens, |chosen| chosen.input_tokens))
}
