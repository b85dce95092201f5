//! Tenants, what was settled for them, and their provider keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use aipipe_actors::identity::{ProviderId, TenantId};
use aipipe_actors::tenant::policy::Policy;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{self, Quoting};
use super::{not_found, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::{AdminScope, KeyInfo, LedgerRows, TenantRecord};

/// Longest provider key.
const MAX_KEY_BYTES: usize = 4_096;

/// `GET /admin/tenants`.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Response {
    let tenants = gateway.store.tenants(AdminScope::granted()).await.map_err(|error| store_failed(&error));
    input::answer(StatusCode::OK, tenants.map(|tenants| json!({"tenants": tenants})))
}

/// `GET /admin/tenants/{id}`.
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, record(&gateway, &id).await)
}

async fn record(gateway: &Gateway, id: &str) -> Result<TenantRecord, Refusal> {
    let tenant = input::tenant(id)?;
    let found = gateway.store.tenant(&tenant).await.map_err(|error| store_failed(&error))?;
    found.ok_or_else(|| unknown(&tenant))
}

fn unknown(tenant: &TenantId) -> Refusal {
    not_found(format!("there is no tenant {tenant}"))
}

/// `PUT /admin/tenants/{id}`: replaces what was settled; what is left out is no longer limited.
pub(super) async fn set(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    input::answer(StatusCode::OK, settled(&gateway, &id, &parts.headers, body).await)
}

async fn settled(gateway: &Gateway, id: &str, headers: &HeaderMap, body: Body) -> Result<TenantRecord, Refusal> {
    let tenant = input::tenant(id)?;
    let policy: Policy = input::json(&input::bytes(headers, body).await?, Quoting::Shown)?;
    gateway.set_tenant(&tenant, policy).await
}

/// What is to be removed beside the tenant.
#[derive(Debug, Deserialize)]
pub(super) struct Removal {
    purge: Option<String>,
}

/// `DELETE /admin/tenants/{id}`: with its keys, tokens and cached answers; its ledger rows stay unless `?purge=ledger` asks otherwise.
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Query(removal): Query<Removal>,
) -> Response {
    input::answer(StatusCode::OK, removed(&gateway, &id, &removal).await)
}

async fn removed(gateway: &Gateway, id: &str, removal: &Removal) -> Result<Value, Refusal> {
    let tenant = input::tenant(id)?;
    let ledger = match removal.purge.as_deref() {
        None => LedgerRows::Keep,
        Some("ledger") => LedgerRows::Purge,
        Some(_) => return Err(Refusal::invalid(Some("purge"), "`purge` can only be `ledger`")),
    };
    if !gateway.remove_tenant(&tenant, ledger).await? {
        return Err(unknown(&tenant));
    }
    Ok(json!({"tenant": tenant, "removed": true, "ledger_purged": ledger == LedgerRows::Purge}))
}

/// `GET /admin/tenants/{id}/keys`.
pub(super) async fn keys(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, shown_keys(&gateway, &id).await)
}

async fn shown_keys(gateway: &Gateway, id: &str) -> Result<Value, Refusal> {
    let record = record(gateway, id).await?;
    let keys = gateway.store.keys(&record.id).await.map_err(|error| store_failed(&error))?;
    Ok(key_list(&record.id, &keys))
}

fn key_list(tenant: &TenantId, keys: &[KeyInfo]) -> Value {
    json!({"tenant": tenant, "keys": keys})
}

/// `POST /admin/tenants/{id}/keys`: sets or (null) removes provider keys, all or none of them.
pub(super) async fn set_keys(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    input::answer(StatusCode::OK, stored_keys(&gateway, &id, &parts.headers, body).await)
}

async fn stored_keys(gateway: &Gateway, id: &str, headers: &HeaderMap, body: Body) -> Result<Value, Refusal> {
    let tenant = input::tenant(id)?;
    let given: BTreeMap<String, Option<String>> = input::json(&input::bytes(headers, body).await?, Quoting::Hidden)?;
    let setup = gateway.setup.load_full();
    let mut keys = Vec::new();
    for (name, key) in given {
        let provider = setup.config.provider(&name).map(|provider| provider.id.clone());
        let provider = provider.ok_or_else(|| unknown_provider(&name, setup.config.providers.iter().map(|p| &p.id)))?;
        keys.push((provider, key.map(|key| checked(&name, key)).transpose()?));
    }
    let keys = gateway.set_keys(&tenant, keys).await?;
    Ok(key_list(&tenant, &keys))
}

fn unknown_provider<'a>(name: &str, known: impl Iterator<Item = &'a ProviderId>) -> Refusal {
    let known: Vec<&str> = known.map(ProviderId::as_str).collect();
    // What stands in the place of a name may be a key.
    let shown: String = name.chars().take(32).filter(|c| c.is_ascii_alphanumeric()).take(12).collect();
    Refusal::invalid(Some("provider"), format!("no provider is named {shown}…; there are {}", known.join(", ")))
}

/// A key as it can stand in a header.
fn checked(provider: &str, key: String) -> Result<SecretString, Refusal> {
    let trimmed = key.trim();
    let fits =
        !trimmed.is_empty() && trimmed.len() <= MAX_KEY_BYTES && trimmed.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        let message = format!("the key of {provider} must be 1 to {MAX_KEY_BYTES} visible ASCII characters, or null");
        return Err(Refusal::invalid(Some(provider), message));
    }
    Ok(SecretString::from(trimmed))
}
