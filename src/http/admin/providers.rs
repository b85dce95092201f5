//! Providers: configuration, health and cost state.

use std::sync::Arc;

use aipipe_actors::provider::Provider;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{input, not_found, schema};
use crate::config::ProviderConfig;
use crate::gateway::Gateway;

/// Circuits, success rates, penalties, places and queue, latency, cost and the last error of every provider.
#[utoipa::path(get, path = "/admin/providers", tag = "health", responses((status = 200, body = schema::Providers)))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Response {
    input::answer(StatusCode::OK, Ok(json!({"providers": views(&gateway)})))
}

/// Every configured provider.
pub(super) fn views(gateway: &Gateway) -> Vec<Value> {
    let setup = gateway.setup.load_full();
    setup.config.providers.iter().map(|configured| view(gateway, configured)).collect()
}

/// The same of one provider.
#[utoipa::path(get, path = "/admin/providers/{name}", tag = "health", params(("name" = String, Path)), responses(
    (status = 200, body = schema::Provider),
    (status = 404, description = "there is no such provider"),
))]
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    let setup = gateway.setup.load_full();
    let found = setup.config.provider(&name).map(|configured| view(&gateway, configured));
    input::answer(StatusCode::OK, found.ok_or_else(|| not_found(format!("there is no provider {name:?}"))))
}

/// What the actor publishes, with what is configured and what the aggregator has gathered.
fn view(gateway: &Gateway, configured: &ProviderConfig) -> Value {
    let mut view = json!({
        "name": configured.id,
        "enabled": configured.enabled,
        "dialect": configured.profile.dialect.as_str(),
        "base_url": configured.base_url.as_str(),
        "operator_key": configured.key.is_some(),
        "max_in_flight": configured.max_in_flight,
        "max_queue": configured.max_queue,
    });
    let live = gateway.world.providers.load();
    let state = live.get(&configured.id).map(|(provider, _)| state(gateway, provider));
    if let (Some(view), Some(Value::Object(state))) = (view.as_object_mut(), state) {
        view.extend(state);
    }
    view
}

fn state(gateway: &Gateway, provider: &Provider) -> Value {
    let mut view = provider.view();
    let summary = gateway.aggregator.metrics.summary();
    let gathered = summary.providers.get(provider.id().as_str()).cloned().unwrap_or_default();
    if let Some(view) = view.as_object_mut() {
        view.insert("requests".into(), json!(gathered.requests));
        view.insert("errors".into(), json!(gathered.errors));
        view.insert("latency_ms".into(), json!(gathered.latency_ms));
        view.insert("ttft_ms".into(), json!(gathered.ttft_ms));
    }
    view
}
