//! The HTTP surface: what clients, operators and probes can ask.
//!
//! One file an endpoint or a group of them; what they share stands beside them: who is asking ([`tenancy`]), reading a bounded
//! [`body`], shaping an answer or a refusal ([`reply`]), telling what is left of the [`limits`], and the [`server`] that accepts
//! connections. Handlers translate between HTTP and
//! the [`Gateway`] and decide nothing.

mod admin;
mod body;
mod count_tokens;
mod feedback;
mod gemini;
mod generate;
mod health;
mod limits;
mod messages;
mod metrics;
mod models;
mod reply;
mod responses;
mod route;
pub mod server;
mod tenancy;
mod unread;

use std::any::Any;
use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use axum::routing::{get, post};
use http::{StatusCode, Uri};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tower_http::catch_panic::CatchPanicLayer;

use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// All endpoints of a gateway.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let clients =
        client_endpoints().route("/v1/route", post(route::decision)).route("/v1/feedback", post(feedback::give));
    // A path that is found nowhere is looked for once more without the slashes that a base URL may have left in it.
    let plain = clients.clone().fallback(unknown).method_not_allowed_fallback(wrong_method);
    let plain = plain.with_state(gateway.clone());
    let again = move |request: Request| async move {
        match without_spare_slashes(request.uri()) {
            Some(uri) => TowerToHyperService::new(plain).call(moved(request, uri)).await,
            None => Ok(unknown(request.uri().clone()).await),
        }
    };
    complete(clients.fallback(again), gateway)
}

/// The operator's endpoints alone, for connections beyond the bound: clients are told to come again.
pub fn crowded(gateway: Arc<Gateway>) -> Router {
    complete(Router::new().fallback(no_room), gateway)
}

/// Clients' endpoints with the operator's beside them.
fn complete(clients: Router<Arc<Gateway>>, gateway: Arc<Gateway>) -> Router {
    clients
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::text))
        .merge(admin::router(&gateway))
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        // The limit is the configuration's and counted where the body is read.
        .layer(DefaultBodyLimit::disable())
        .with_state(gateway)
}

/// The address without doubled slashes and without one at its end; `None` where it has neither.
fn without_spare_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && !path.ends_with('/') {
        return None;
    }
    let pieces: Vec<&str> = path.split('/').filter(|piece| !piece.is_empty()).collect();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", pieces.join("/")).parse().ok()
}

fn moved(mut request: Request, uri: Uri) -> Request {
    *request.uri_mut() = uri;
    request
}

async fn no_room(uri: Uri) -> Response {
    refused(uri.path(), &Refusal::overloaded("too many connections are open (limits.max_connections)"))
}

/// The endpoints of the clients' dialects. An SDK adds a path of its own to the base URL that it is given, some with the version and some
/// without: each endpoint stands wherever a base URL with or without a version puts it.
fn client_endpoints() -> Router<Arc<Gateway>> {
    let mut router = Router::new();
    for version in ["", "/v1", "/v1/v1"] {
        router = router
            .route(&format!("{version}/chat/completions"), post(generate::chat_completions))
            .route(&format!("{version}/embeddings"), post(generate::embeddings))
            .route(&format!("{version}/responses"), post(responses::create))
            .route(&format!("{version}/responses/input_tokens"), post(responses::count))
            .route(&format!("{version}/responses/compact"), post(responses::compact))
            .route(&format!("{version}/responses/{{id}}"), get(responses::one).delete(responses::one))
            .route(&format!("{version}/responses/{{id}}/input_items"), get(responses::input_items))
            .route(&format!("{version}/responses/{{id}}/cancel"), post(responses::cancel));
    }
    for version in ["/v1", "/v1/v1"] {
        router = router
            .route(&format!("{version}/messages"), post(messages::create))
            .route(&format!("{version}/messages/count_tokens"), post(messages::count));
    }
    for version in ["", "/v1", "/v1/v1", "/v1beta", "/v1beta/v1beta", "/v1/v1beta"] {
        router = router
            .route(&format!("{version}/models"), get(models::list))
            .route(&format!("{version}/models/{{*id}}"), get(models::one).post(gemini::call));
    }
    router
}

async fn unknown(uri: Uri) -> Response {
    let message = format!("there is nothing at {}", uri.path());
    refused(uri.path(), &Refusal::new(StatusCode::NOT_FOUND, "not_found", message))
}

async fn wrong_method(method: http::Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    refused(uri.path(), &Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message))
}

/// A handler panicked: its own request fails, the log has the panic, and whatever it held was given back.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    let message = "the gateway failed to answer; the operator's log says why";
    refused("", &Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message))
}

/// A refusal in the shape of whoever would ask at this path.
fn refused(path: &str, refusal: &Refusal) -> Response {
    let dialect = match path {
        path if path.contains("/v1beta/") => ClientDialect::Gemini,
        path if path.contains("/messages") => ClientDialect::Messages,
        _ => ClientDialect::Chat,
    };
    reply::refusal(dialect, RequestId::generate(), refusal)
}
