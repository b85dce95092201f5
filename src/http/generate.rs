//! Answers a request in any client's dialect, streamed or not.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{MatchedPath, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::reply::Framing;
use super::{body, limits, reply, tenancy};
use crate::dialects::client::Addressed;
use crate::dialects::scrub::name;
use crate::gateway::Gateway;
use crate::gateway::answered::Answered;
use crate::gateway::course::Arrival;
use crate::gateway::pipeline::Inbound;
use crate::gateway::prepare::Label;
use crate::gateway::refusal::Refusal;
use crate::gateway::sessions::Session;
use crate::gateway::tenants::Live;
use crate::gateway::wishes;
use crate::telemetry::traces::{Entry, RequestSpan, Tracer};

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entrance<'a> {
    /// The client's dialect.
    pub(super) dialect: ClientDialect,
    /// What the address says of the request.
    pub(super) addressed: Addressed<'a>,
    /// A key in the address, where the dialect has one there.
    pub(super) key: Option<&'a str>,
    /// How a stream is framed.
    pub(super) framing: Framing,
}

impl Entrance<'_> {
    /// An endpoint whose address says nothing of the request.
    pub(super) fn plain(dialect: ClientDialect) -> Self {
        Self { dialect, addressed: Addressed::default(), key: None, framing: Framing::Events }
    }
}

/// `POST /v1/chat/completions`.
pub(super) async fn chat_completions(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    generate(&gateway, Entrance::plain(ClientDialect::Chat), request).await
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    generate(&gateway, Entrance::plain(ClientDialect::Embeddings), request).await
}

/// Answers a request.
pub(super) async fn generate(gateway: &Arc<Gateway>, entrance: Entrance<'_>, request: Request) -> Response {
    let arrival = Arrival { instant: Instant::now(), at: gateway.clock.now() };
    let request_id = RequestId::generate();
    let span =
        gateway.tracer.as_ref().map(|tracer| begin_span(tracer, request_id, arrival, entrance.dialect, &request));
    let mut tenant = None;
    let came = Came { request_id, arrival, span: span.clone() };
    let mut response = match answered(gateway, came, &entrance, request, &mut tenant).await {
        Ok(answered) => reply::answer(request_id, answered, entrance.framing),
        Err(refusal) => {
            tracing::info!(
                %request_id,
                status = refusal.status.as_u16(),
                code = name(&refusal.code),
                param = refusal.param.as_deref().and_then(name),
                "refused"
            );
            if let Some(span) = &span {
                span.refused(refusal.status, &refusal.code);
            }
            reply::refusal(entrance.dialect, request_id, &refusal)
        }
    };
    if let Some(tenant) = tenant {
        let now = gateway.clock.now();
        let allowance = tenant.estate.account.allowance(&tenant.estate.policy.load(), now);
        limits::tell(response.headers_mut(), entrance.dialect, allowance, now);
    }
    response
}

/// The client's headers that mean something to a provider of the same dialect. Keys, cookies and tenants are never among them.
pub(super) fn along(dialect: ClientDialect, headers: &HeaderMap) -> HeaderMap {
    let names: &[HeaderName] = match dialect {
        ClientDialect::Messages => &[ANTHROPIC_VERSION, ANTHROPIC_BETA],
        ClientDialect::Chat | ClientDialect::Embeddings | ClientDialect::Gemini | ClientDialect::Responses => &[],
    };
    let mut along = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            along.append(name, value.clone());
        }
    }
    along
}

/// A request that has just arrived.
struct Came {
    request_id: RequestId,
    arrival: Arrival,
    span: Option<Arc<RequestSpan>>,
}

fn begin_span(
    tracer: &Arc<Tracer>,
    request_id: RequestId,
    arrival: Arrival,
    dialect: ClientDialect,
    request: &Request,
) -> Arc<RequestSpan> {
    let route = request.extensions().get::<MatchedPath>().map_or("/", MatchedPath::as_str);
    let arrival = (arrival.instant, arrival.at);
    let path = request.uri().path();
    tracer.request(&Entry { request_id, dialect, route, path, headers: request.headers(), arrival })
}

async fn answered(
    gateway: &Arc<Gateway>,
    Came { request_id, arrival, span }: Came,
    entrance: &Entrance<'_>,
    request: Request,
    asking: &mut Option<Arc<Live>>,
) -> Result<Answered, Refusal> {
    let rejected = |refusal| {
        gateway.meters.rejected(None);
        refusal
    };
    let presence = gateway.drain.enter().ok_or_else(Refusal::draining).map_err(rejected)?;
    let (parts, body) = request.into_parts();
    let tenant = tenancy::tenant(gateway, &parts.headers, entrance.key).await.map_err(rejected)?;
    *asking = Some(tenant.clone());
    let rejected = |refusal| {
        gateway.meters.rejected(Some(&tenant.id));
        refusal
    };
    let wishes = wishes::from_headers(&parts.headers).map_err(rejected)?;
    let body = body::read_client(gateway, &parts.headers, body).await.map_err(rejected)?;
    let along = along(entrance.dialect, &parts.headers);
    let sdk_timeout = wishes::sdk_timeout(&parts.headers);
    let session = Session::from_headers(&parts.headers).map_err(rejected)?;
    let label = Label { request_id, dialect: entrance.dialect, wishes, along, session };
    let addressed = entrance.addressed;
    let inbound = Inbound { label, arrival, tenant, addressed, sdk_timeout, body, presence, span };
    // In a box: the layers around it move what they wait for, and this is large.
    Box::pin(gateway.answer(inbound)).await
}
