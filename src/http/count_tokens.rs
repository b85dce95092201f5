//! Counts the input tokens of a request in the dialects that have an endpoint for it.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};

use super::generate::{Entrance, along};
use super::{body, reply, tenancy};
use crate::dialects::client::Counting;
use crate::dialects::surface;
use crate::gateway::Gateway;
use crate::gateway::counting::Count;
use crate::gateway::prepare::Label;
use crate::gateway::refusal::Refusal;
use crate::gateway::wishes;

/// Says that a count is AiPipe's own estimate.
const ESTIMATED: HeaderName = HeaderName::from_static("x-aipipe-estimated");

/// Answers with the count.
pub(super) async fn count_tokens(gateway: &Arc<Gateway>, entrance: Entrance<'_>, request: Request) -> Response {
    let request_id = RequestId::generate();
    match counted(gateway, request_id, &entrance, request).await {
        Ok(count) => {
            let mut response = reply::written(StatusCode::OK, request_id, count.body);
            if count.is_estimated {
                response.headers_mut().insert(ESTIMATED, HeaderValue::from_static("true"));
            }
            response
        }
        Err(refusal) => reply::refusal(entrance.dialect, request_id, &refusal),
    }
}

async fn counted(
    gateway: &Arc<Gateway>,
    request_id: RequestId,
    entrance: &Entrance<'_>,
    request: Request,
) -> Result<Count, Refusal> {
    let counting: &dyn Counting = surface(entrance.dialect)
        .counting()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "not_found", "this dialect has no count of tokens"))?;
    let _presence = gateway.drain.enter().ok_or_else(Refusal::draining)?;
    let (parts, body) = request.into_parts();
    let tenant = tenancy::tenant(gateway, &parts.headers, entrance.key).await?;
    let body = body::read_client(gateway, &parts.headers, body).await?;
    let wishes = wishes::from_headers(&parts.headers)?;
    let along = along(entrance.dialect, &parts.headers);
    let label = Label { request_id, dialect: entrance.dialect, wishes, along };
    gateway.count_tokens(&tenant, label, counting, &entrance.addressed, &body.bytes).await
}
