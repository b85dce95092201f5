//! The operator's endpoints under `/admin`: the API, all behind one secret, and the dashboard, which asks for it.
//!
//! Each handler says what it does beside its code; the routes and the OpenAPI document are both made from that, so that neither knows of
//! an endpoint that the other does not.

mod actors;
mod conditions;
mod etag;
mod events;
mod input;
mod learning;
mod metrics;
mod openapi;
mod overview;
mod page;
mod providers;
mod reload;
mod requests;
mod schema;
mod secret;
mod series;
mod shadow;
mod stats;
mod tenants;
mod tokens;

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::StoreError;

/// The API, each call of which needs the secret, and the dashboard.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let (api, mut document) = OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(overview::overview))
        .routes(routes!(events::events))
        .routes(routes!(tenants::list))
        .routes(routes!(tenants::one, tenants::set, tenants::remove))
        .routes(routes!(tenants::keys, tenants::set_keys))
        .routes(routes!(stats::of_tenant))
        .routes(routes!(learning::shown, learning::forget))
        .routes(routes!(shadow::compared))
        .routes(routes!(tokens::list, tokens::issue))
        .routes(routes!(tokens::revoke))
        .routes(routes!(series::series))
        .routes(routes!(requests::latest))
        .routes(routes!(requests::one))
        .routes(routes!(providers::list))
        .routes(routes!(providers::one))
        .routes(routes!(actors::tree))
        .routes(routes!(actors::restart))
        .routes(routes!(metrics::summary))
        .routes(routes!(reload::reload))
        .routes(routes!(openapi::document))
        .split_for_parts();
    let (dashboard, of_dashboard) = OpenApiRouter::new()
        .routes(routes!(page::lead))
        .routes(routes!(page::index))
        .routes(routes!(page::asset))
        .split_for_parts();
    document.merge(of_dashboard);
    let guard = secret::Guard::new(gateway.clone());
    // What is not there is nobody's to know without the secret.
    api.route("/admin/{*rest}", any(super::unknown))
        .route_layer(from_fn(to_its_end))
        .route_layer(from_fn_with_state(guard, secret::check))
        .merge(dashboard)
        .route_layer(Extension(events::Watchers::new(gateway)))
        .route_layer(Extension(etag::Writes::default()))
        .route_layer(Extension(openapi::Document::of(document)))
        .route_layer(map_response(not_kept))
}

/// A change that has begun is made in the store and in memory alike, even where whoever asked for it has hung up meanwhile.
async fn to_its_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Nothing of the operator's stays in a cache.
async fn not_kept(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the operator is told of a failure in the store.
fn store_failed(error: &StoreError) -> Refusal {
    match error {
        StoreError::UnknownTenant(tenant) => not_found(format!("there is no tenant {tenant}")),
        StoreError::UnknownCursor => Refusal::invalid(Some("cursor"), error.to_string()),
        other => {
            tracing::error!(error = %other, "an admin call failed in the store");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", other.to_string())
        }
    }
}

fn not_found(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}
