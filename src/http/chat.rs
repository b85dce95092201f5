//! `POST /v1/chat/completions`.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::time::Instant;

use super::{body, reply, tenancy};
use crate::dialects::client::Addressed;
use crate::gateway::Gateway;
use crate::gateway::course::Arrival;
use crate::gateway::pipeline::{Answered, Inbound};
use crate::gateway::prepare::Label;
use crate::gateway::refusal::Refusal;
use crate::gateway::wishes;

/// Answers a chat request, streamed or not.
pub(super) async fn completions(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let arrival = Arrival { instant: Instant::now(), at: gateway.clock.now() };
    let request_id = RequestId::generate();
    match answered(&gateway, request_id, arrival, request).await {
        Ok(answered) => reply::answer(request_id, answered),
        Err(refusal) => {
            tracing::info!(
                %request_id,
                status = refusal.status.as_u16(),
                code = &*refusal.code,
                param = refusal.param,
                "refused"
            );
            reply::refusal(ClientDialect::Chat, request_id, &refusal)
        }
    }
}

async fn answered(
    gateway: &Arc<Gateway>,
    request_id: RequestId,
    arrival: Arrival,
    request: Request,
) -> Result<Answered, Refusal> {
    let rejected = |refusal| {
        gateway.meters.rejected(None);
        refusal
    };
    let presence = gateway.drain.enter().ok_or_else(Refusal::draining).map_err(rejected)?;
    let (parts, body) = request.into_parts();
    let tenant = tenancy::tenant(gateway, &parts.headers).await.map_err(rejected)?;
    let rejected = |refusal| {
        gateway.meters.rejected(Some(&tenant.id));
        refusal
    };
    let wishes = wishes::from_headers(&parts.headers).map_err(rejected)?;
    let limit = gateway.setup.load().config.limits.max_body_bytes;
    let body = body::read(&parts.headers, body, limit).await.map_err(rejected)?;
    let label = Label { request_id, dialect: ClientDialect::Chat, wishes };
    let inbound = Inbound { label, arrival, tenant, addressed: Addressed::default(), body, presence };
    gateway.answer(inbound).await
}
