//! The operator's endpoints under `/admin`, all behind one secret.

mod actors;
mod input;
mod metrics;
mod providers;
mod reload;
mod requests;
mod secret;
mod stats;
mod tenants;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::StoreError;
use http::StatusCode;

/// The endpoints, each of which needs the secret.
pub(super) fn router(gateway: Arc<Gateway>) -> Router<Arc<Gateway>> {
    let guard = secret::Guard::new(gateway);
    Router::new()
        .route("/tenants", get(tenants::list))
        .route("/tenants/{id}", get(tenants::one).put(tenants::set).delete(tenants::remove))
        .route("/tenants/{id}/keys", get(tenants::keys).post(tenants::set_keys))
        .route("/tenants/{id}/stats", get(stats::of_tenant))
        .route("/tenants/{id}/tokens", get(tokens::list).post(tokens::issue))
        .route("/tenants/{id}/tokens/{token}", delete(tokens::revoke))
        .route("/requests", get(requests::latest))
        .route("/requests/{id}", get(requests::one))
        .route("/providers", get(providers::list))
        .route("/providers/{name}", get(providers::one))
        .route("/actors", get(actors::tree))
        .route("/actors/{name}/restart", post(actors::restart))
        .route("/metrics", get(metrics::summary))
        .route("/reload", post(reload::reload))
        .fallback(|OriginalUri(uri): OriginalUri| super::unknown(uri))
        .layer(from_fn_with_state(guard, secret::check))
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
