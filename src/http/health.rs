//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use aipipe_actors::provider::circuit::State as Circuit;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::reply;
use crate::gateway::Gateway;
use crate::store::AdminScope;

/// The process can serve.
pub(super) async fn alive(State(gateway): State<Arc<Gateway>>) -> Response {
    let body = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": gateway.started.elapsed().as_secs(),
    });
    reply::json(StatusCode::OK, &body)
}

/// Requests can be answered: the store is open and at least one provider can be used.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    let mut reasons = Vec::new();
    if gateway.drain.is_draining() {
        reasons.push("draining: the gateway is shutting down".to_owned());
    }
    if let Err(why) = gateway.store.health() {
        reasons.push(format!("store: {why}"));
    }
    reasons.extend(providers(&gateway).await.err());
    if reasons.is_empty() {
        reply::json(StatusCode::OK, &json!({"status": "ready"}))
    } else {
        reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not_ready", "reasons": reasons}))
    }
}

/// Whether any provider can be used.
async fn providers(gateway: &Gateway) -> Result<(), String> {
    let setup = gateway.setup.load_full();
    let live = gateway.world.providers.load_full();
    let mut unreachable = Vec::new();
    let mut has_key = false;
    for provider in setup.config.providers.iter().filter(|provider| provider.enabled) {
        has_key |= provider.key.is_some() || !provider.needs_key();
        let Some((actor, _)) = live.get(&provider.id) else { continue };
        if actor.reach() == Circuit::Open {
            unreachable.push(provider.id.as_str());
        }
    }
    if !live.is_empty() && unreachable.len() == live.len() {
        return Err(format!("providers: none can be reached: {}", unreachable.join(", ")));
    }
    if has_key {
        return Ok(());
    }
    match gateway.store.has_provider_keys(AdminScope::granted()).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err("providers: there is no key; set OPENAI_API_KEY or another provider's, or give a tenant one".into())
        }
        Err(error) => Err(format!("store: {error}")),
    }
}
