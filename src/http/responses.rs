//! OpenAI's Responses: an answer, and what is asked about one that a provider keeps.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use url::form_urlencoded;

use super::generate::{Entrance, generate};
use super::{count_tokens, reply, tenancy};
use crate::gateway::Gateway;
use crate::gateway::errands::Errand;
use crate::gateway::refusal::Refusal;

/// Parameters in the address that the API knows.
const PARAMETERS: [&str; 7] = ["after", "before", "include", "include[]", "include_obfuscation", "limit", "order"];

/// `POST /v1/responses`.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    generate(&gateway, Entrance::plain(ClientDialect::Responses), request).await
}

/// `POST /v1/responses/input_tokens`.
pub(super) async fn count(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    count_tokens::count_tokens(&gateway, Entrance::plain(ClientDialect::Responses), request).await
}

/// `POST /v1/responses/compact`: what comes of it is an answer's price without an answer, and only OpenAI could read it.
pub(super) async fn compact() -> Response {
    let message = "AiPipe does not compact: send the items that the model shall still see, or let the provider shorten them \
                   with `truncation: \"auto\"` or `context_management`";
    reply::refusal(
        ClientDialect::Responses,
        RequestId::generate(),
        &Refusal::new(StatusCode::NOT_FOUND, "not_found", message),
    )
}

/// `GET` and `DELETE /v1/responses/{id}`.
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    errand(&gateway, &id, "", request).await
}

/// `GET /v1/responses/{id}/input_items`.
pub(super) async fn input_items(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    errand(&gateway, &id, "/input_items", request).await
}

/// `POST /v1/responses/{id}/cancel`.
pub(super) async fn cancel(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    errand(&gateway, &id, "/cancel", request).await
}

async fn errand(gateway: &Gateway, id: &str, detail: &'static str, request: Request) -> Response {
    let request_id = RequestId::generate();
    match ran(gateway, id, detail, request).await {
        Ok(body) => reply::written(StatusCode::OK, request_id, body),
        Err(refusal) => reply::refusal(ClientDialect::Responses, request_id, &refusal),
    }
}

async fn ran(gateway: &Gateway, id: &str, detail: &'static str, request: Request) -> Result<Bytes, Refusal> {
    let _presence = gateway.drain.enter().ok_or_else(Refusal::draining)?;
    let tenant = tenancy::tenant(gateway, request.headers(), None).await?;
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let query = request.uri().query().unwrap_or_default();
    let mut parameters = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "stream" && value == "true" {
            let rule = "`stream` must be false: an answer that is kept comes whole";
            return Err(Refusal::invalid(Some("stream"), rule));
        }
        if PARAMETERS.contains(&&*name) {
            parameters.push((name.into_owned(), value.into_owned()));
        }
    }
    let errand = Errand { id, method, detail, parameters };
    gateway.run(&tenant, &errand).await
}
