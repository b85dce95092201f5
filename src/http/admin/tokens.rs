//! Client tokens.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::input::{self, Quoting};
use super::{not_found, schema, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::store::TokenRecord;

/// What may be said of a new token.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = NewToken)]
pub(super) struct Wanted {
    /// How long it holds; for ever where absent.
    expires_in_seconds: Option<u64>,
}

/// What is known of a tenant's client tokens; never the tokens themselves.
#[utoipa::path(get, path = "/admin/tenants/{id}/tokens", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Tokens),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, listed(&gateway, &id))
}

fn listed(gateway: &Gateway, id: &str) -> Result<Value, Refusal> {
    let tenant = input::known_tenant(gateway, id)?;
    let tokens: Vec<Value> = gateway.tokens.of(&tenant).into_iter().map(shown).collect();
    Ok(json!({"tenant": tenant, "tokens": tokens}))
}

fn shown(token: TokenRecord) -> Value {
    let TokenRecord { id, created_at, expires_at, last_used_at, .. } = token;
    json!({"id": id, "created_at": created_at, "expires_at": expires_at, "last_used_at": last_used_at})
}

/// Issues a client token, which is shown here and never again.
#[utoipa::path(post, path = "/admin/tenants/{id}/tokens", tag = "tenants", params(("id" = String, Path)),
    request_body = Option<Wanted>, responses(
    (status = 201, body = schema::IssuedToken),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn issue(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    input::answer(StatusCode::CREATED, issued(&gateway, &id, &parts.headers, body).await)
}

async fn issued(gateway: &Gateway, id: &str, headers: &HeaderMap, body: Body) -> Result<Value, Refusal> {
    let tenant = input::tenant(id)?;
    let body = input::bytes(headers, body).await?;
    let wanted = if body.is_empty() { Wanted::default() } else { input::json(&body, Quoting::Shown)? };
    if wanted.expires_in_seconds == Some(0) {
        return Err(Refusal::invalid(Some("expires_in_seconds"), "a token must hold for at least one second"));
    }
    let lifetime = wanted.expires_in_seconds.map(Duration::from_secs);
    let issued = gateway.issue_token(&tenant, lifetime).await.map_err(|error| store_failed(&error))?;
    let record = issued.record;
    Ok(json!({
        "id": record.id,
        "token": issued.token,
        "tenant": record.tenant,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
    }))
}

/// Ends a client token at once.
#[utoipa::path(delete, path = "/admin/tenants/{id}/tokens/{token}", tag = "tenants",
    params(("id" = String, Path), ("token" = String, Path, description = "the token's id")), responses(
    (status = 200, body = schema::RevokedToken),
    (status = 404, description = "the tenant has no such token"),
))]
pub(super) async fn revoke(State(gateway): State<Arc<Gateway>>, Path((id, token)): Path<(String, String)>) -> Response {
    input::answer(StatusCode::OK, revoked(&gateway, &id, &token).await)
}

async fn revoked(gateway: &Gateway, id: &str, token: &str) -> Result<Value, Refusal> {
    let tenant = input::tenant(id)?;
    let removed = gateway.revoke_token(&tenant, token).await.map_err(|error| store_failed(&error))?;
    if removed {
        Ok(json!({"id": token, "tenant": tenant, "revoked": true}))
    } else {
        Err(not_found(format!("the tenant {tenant} has no token of this id")))
    }
}
