//! Tenants, what was settled for them, what they spent, and their provider keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use aipipe_actors::identity::{ProviderId, TenantId};
use aipipe_actors::money::NanoUsd;
use aipipe_actors::tenant::policy::Policy;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::etag::{self, Tag, Writes};
use super::input::{self, Quoting};
use super::{not_found, schema, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::{AdminScope, KeyInfo, LedgerRows, Spent, TenantRecord};

/// Longest provider key.
const MAX_KEY_BYTES: usize = 4_096;
/// Tenants of a page at most; where nobody says, all there can be in the default configuration.
const MAX_LIMIT: usize = 10_000;

/// Which tenants are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Tenants of the page, 1 to 10000; 10000 where absent.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Every tenant by name, with what it has spent.
#[utoipa::path(get, path = "/admin/tenants", tag = "tenants", params(Wanted), responses((status = 200, body = schema::Tenants)))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, Query(wanted): Query<Wanted>) -> Response {
    input::answer(StatusCode::OK, page(&gateway, &wanted).await)
}

async fn page(gateway: &Gateway, wanted: &Wanted) -> Result<Value, Refusal> {
    let limit = input::limit(wanted.limit.as_deref(), MAX_LIMIT, MAX_LIMIT)?;
    let after = wanted.cursor.as_deref().map(input::tenant).transpose()?;
    let mut tenants = gateway.store.tenants(AdminScope::granted()).await.map_err(|error| store_failed(&error))?;
    tenants.retain(|tenant| after.as_ref().is_none_or(|after| tenant.id > *after));
    let more = tenants.len() > limit;
    tenants.truncate(limit);
    let next_cursor = tenants.last().filter(|_| more).map(|tenant| tenant.id.clone());
    let spent = gateway.store.positions(AdminScope::granted(), gateway.clock.now()).await;
    let spent = spent.map_err(|error| store_failed(&error))?;
    let views: Vec<Value> = (tenants.into_iter())
        .map(|tenant| {
            let spent = spent.get(&tenant.id).copied().unwrap_or_default();
            view(gateway, &tenant, spent)
        })
        .collect();
    Ok(json!({"tenants": views, "next_cursor": next_cursor}))
}

/// A tenant as it is kept, with what it has spent and what its requests in flight hold.
fn view(gateway: &Gateway, tenant: &TenantRecord, spent: Spent) -> Value {
    let balance = gateway.directory.if_live(&tenant.id).map(|live| live.estate.account.balance(gateway.clock.now()));
    let (held, in_flight) = balance.map_or((NanoUsd::ZERO, 0), |balance| (balance.held, balance.in_flight));
    let mut view = json!(tenant);
    if let Some(view) = view.as_object_mut() {
        let spent = json!({
            "day_usd": spent.day.to_string(),
            "month_usd": spent.month.to_string(),
            "held_usd": held.to_string(),
            "in_flight": in_flight,
        });
        view.insert("spent".into(), spent);
    }
    view
}

/// One tenant.
#[utoipa::path(get, path = "/admin/tenants/{id}", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Tenant, headers(("etag" = String, description = "for `If-Match`"))),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let found = async {
        let record = record(&gateway, &id).await?;
        let spent = gateway.store.position(&record.id, gateway.clock.now()).await;
        let spent = spent.map_err(|error| store_failed(&error))?;
        Ok((tag(&record), view(&gateway, &record, spent)))
    };
    etag::answer(found.await)
}

async fn found(gateway: &Gateway, tenant: &TenantId) -> Result<Option<TenantRecord>, Refusal> {
    gateway.store.tenant(tenant).await.map_err(|error| store_failed(&error))
}

async fn record(gateway: &Gateway, id: &str) -> Result<TenantRecord, Refusal> {
    let tenant = input::tenant(id)?;
    found(gateway, &tenant).await?.ok_or_else(|| unknown(&tenant))
}

/// What was settled, whoever wrote it and when.
fn tag(record: &TenantRecord) -> Tag {
    Tag::of(&(&record.id, &record.policy, record.created_at))
}

fn unknown(tenant: &TenantId) -> Refusal {
    not_found(format!("there is no tenant {tenant}"))
}

/// Replaces what was settled for a tenant, and creates it if need be; what is left out is no longer limited.
#[utoipa::path(put, path = "/admin/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), ("if-match" = Option<String>, Header), ("if-none-match" = Option<String>, Header)),
    request_body = schema::Policy, responses(
    (status = 200, body = schema::TenantRecord, headers(("etag" = String, description = "for `If-Match`"))),
    (status = 400, description = "the body is not what this takes"),
    (status = 412, description = "the tenant is not as `If-Match` or `If-None-Match` says"),
))]
pub(super) async fn set(
    State(gateway): State<Arc<Gateway>>,
    Extension(writes): Extension<Writes>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    etag::answer(settled(&gateway, &writes, &id, (&parts.headers, body)).await)
}

async fn settled(
    gateway: &Gateway,
    writes: &Writes,
    id: &str,
    (headers, body): (&HeaderMap, Body),
) -> Result<(Tag, TenantRecord), Refusal> {
    let tenant = input::tenant(id)?;
    let policy: Policy = input::json(&input::bytes(headers, body).await?, Quoting::Shown)?;
    let _one_at_a_time = writes.turn().await;
    let before = found(gateway, &tenant).await?;
    etag::check(headers, before.as_ref().map(tag))?;
    let record = match before {
        // The same once more changes nothing.
        Some(before) if before.policy == policy && before.created_at.is_some() => before,
        _ => gateway.set_tenant(&tenant, policy).await?,
    };
    Ok((tag(&record), record))
}

/// What is to be removed beside the tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Removal {
    /// `ledger`: its ledger rows too.
    purge: Option<String>,
}

/// Removes a tenant with its keys, tokens and cached answers; its ledger rows stay unless `purge` asks otherwise.
#[utoipa::path(delete, path = "/admin/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), Removal, ("if-match" = Option<String>, Header)), responses(
    (status = 200, body = schema::RemovedTenant),
    (status = 404, description = "there is no such tenant"),
    (status = 412, description = "the tenant is not as `If-Match` says"),
))]
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Extension(writes): Extension<Writes>,
    Path(id): Path<String>,
    Query(removal): Query<Removal>,
    headers: HeaderMap,
) -> Response {
    input::answer(StatusCode::OK, removed(&gateway, &writes, &id, (&removal, &headers)).await)
}

async fn removed(
    gateway: &Gateway,
    writes: &Writes,
    id: &str,
    (removal, headers): (&Removal, &HeaderMap),
) -> Result<Value, Refusal> {
    let tenant = input::tenant(id)?;
    let ledger = match removal.purge.as_deref() {
        None => LedgerRows::Keep,
        Some("ledger") => LedgerRows::Purge,
        Some(_) => return Err(Refusal::invalid(Some("purge"), "`purge` can only be `ledger`")),
    };
    let _one_at_a_time = writes.turn().await;
    etag::check(headers, found(gateway, &tenant).await?.as_ref().map(tag))?;
    if !gateway.remove_tenant(&tenant, ledger).await? {
        return Err(unknown(&tenant));
    }
    Ok(json!({"tenant": tenant, "removed": true, "ledger_purged": ledger == LedgerRows::Purge}))
}

/// A tenant's provider keys: whose API they open, their last characters and their age; never the keys.
#[utoipa::path(get, path = "/admin/tenants/{id}/keys", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Keys, headers(("etag" = String, description = "for `If-Match`"))),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn keys(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    etag::answer(shown_keys(&gateway, &id).await)
}

async fn shown_keys(gateway: &Gateway, id: &str) -> Result<(Tag, Value), Refusal> {
    let record = record(gateway, id).await?;
    Ok(key_list(&record.id, &infos(gateway, &record.id).await?))
}

async fn infos(gateway: &Gateway, tenant: &TenantId) -> Result<Vec<KeyInfo>, Refusal> {
    gateway.store.keys(tenant).await.map_err(|error| store_failed(&error))
}

fn key_list(tenant: &TenantId, keys: &[KeyInfo]) -> (Tag, Value) {
    (Tag::of(&(tenant, keys)), json!({"tenant": tenant, "keys": keys}))
}

/// Sets or (null) removes provider keys of a tenant, all or none of them, and creates the tenant if need be.
#[utoipa::path(post, path = "/admin/tenants/{id}/keys", tag = "tenants",
    params(("id" = String, Path), ("if-match" = Option<String>, Header)),
    request_body(content = BTreeMap<String, Option<String>>, description = "keys by provider"), responses(
    (status = 200, body = schema::Keys, headers(("etag" = String, description = "for `If-Match`"))),
    (status = 400, description = "the body is not what this takes"),
    (status = 412, description = "the keys are not as `If-Match` says"),
))]
pub(super) async fn set_keys(
    State(gateway): State<Arc<Gateway>>,
    Extension(writes): Extension<Writes>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    etag::answer(stored_keys(&gateway, &writes, &id, (&parts.headers, body)).await)
}

async fn stored_keys(
    gateway: &Gateway,
    writes: &Writes,
    id: &str,
    (headers, body): (&HeaderMap, Body),
) -> Result<(Tag, Value), Refusal> {
    let tenant = input::tenant(id)?;
    let given: BTreeMap<String, Option<String>> = input::json(&input::bytes(headers, body).await?, Quoting::Hidden)?;
    let setup = gateway.setup.load_full();
    let mut keys = Vec::new();
    for (name, key) in given {
        let provider = setup.config.provider(&name).map(|provider| provider.id.clone());
        let provider = provider.ok_or_else(|| unknown_provider(&name, setup.config.providers.iter().map(|p| &p.id)))?;
        keys.push((provider, key.map(|key| checked(&name, key)).transpose()?));
    }
    let _one_at_a_time = writes.turn().await;
    let before = match gateway.directory.knows(&tenant) {
        true => Some(key_list(&tenant, &infos(gateway, &tenant).await?).0),
        false => None,
    };
    etag::check(headers, before)?;
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
