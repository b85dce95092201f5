//! `POST /v1/feedback`: how good an answer was.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, reply, tenancy};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// The largest body.
const MAX_BODY_BYTES: usize = 64 << 10;
/// The longest comment.
const MAX_COMMENT_BYTES: usize = 8_192;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    request_id: String,
    score: f64,
    #[serde(default)]
    comment: Option<String>,
}

/// Keeps what a client says of an answer that its tenant got.
pub(super) async fn give(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match kept(&gateway, request).await {
        Ok(kept) => reply::json(StatusCode::OK, &kept),
        Err(refusal) => reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal),
    }
}

async fn kept(gateway: &Gateway, request: Request) -> Result<Value, Refusal> {
    let (parts, body) = request.into_parts();
    let tenant = tenancy::tenant(gateway, &parts.headers, None).await?;
    let body = body::read(&parts.headers, body, MAX_BODY_BYTES).await?;
    // serde's own message may quote the comment.
    let said: Said = serde_json::from_slice(&body).map_err(|_| {
        Refusal::invalid(None, "the body must be {\"request_id\": string, \"score\": number, \"comment\"?: string}")
    })?;
    if !(0.0..=1.0).contains(&said.score) {
        return Err(Refusal::invalid(Some("score"), "`score` must be a number from 0 to 1"));
    }
    if said.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT_BYTES) {
        let message = format!("`comment` may have up to {MAX_COMMENT_BYTES} bytes");
        return Err(Refusal::invalid(Some("comment"), message));
    }
    let unknown = || {
        let message = "this tenant has no request of this id; it is the answer's x-request-id";
        Refusal { param: Some("request_id".into()), ..Refusal::new(StatusCode::NOT_FOUND, "not_found", message) }
    };
    let id = RequestId::parse(&said.request_id).map_err(|_| unknown())?;
    let judged = gateway.judge(&tenant, id, (said.score, said.comment)).await.map_err(|error| {
        tracing::error!(%error, "feedback could not be kept");
        Refusal::unavailable("the feedback could not be kept; the operator's log says why")
    })?;
    let judged = judged.ok_or_else(unknown)?;
    Ok(json!({"request_id": id, "provider": judged.provider, "model": judged.model, "score": said.score}))
}
