//! Who is asking: from headers to a tenant.
//!
//! A token (`aip_…`, wherever the SDK in use puts its key) decides the tenant; where headers are trusted, `X-Tenant-ID` does without one.
//! What else an SDK sends as a key is of no interest and is never forwarded.

use std::sync::Arc;

use aipipe_actors::identity::TenantId;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::config::TenantAuth;
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::gateway::tenants::{Live, TenantError};

static TENANT_HEADER: HeaderName = HeaderName::from_static("x-tenant-id");
/// Headers in which the SDKs send their key, beside `Authorization: Bearer`.
static KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("x-goog-api-key")];
/// What a token of AiPipe's begins with.
const TOKEN_PREFIX: &str = "aip_";

/// The live tenant that sent a request with these headers, and with this key in its address.
///
/// # Errors
/// [`Refusal`]: a wrong token, a name that is none or that nobody created, or a contradiction.
pub(super) async fn tenant(gateway: &Gateway, headers: &HeaderMap, key: Option<&str>) -> Result<Arc<Live>, Refusal> {
    let setup = gateway.setup.load_full();
    let named = named(headers)?;
    let tenant = match (token(headers, key), setup.config.tenants.auth) {
        (Some(token), _) => {
            let tenant = gateway.tokens.tenant(token, gateway.clock.now())?;
            if named.is_some_and(|named| named != tenant) {
                let message = "the token belongs to another tenant than X-Tenant-ID names";
                return Err(Refusal::new(StatusCode::FORBIDDEN, "tenant_mismatch", message));
            }
            tenant
        }
        (None, TenantAuth::Header) => named.unwrap_or_else(TenantId::default_tenant),
        (None, TenantAuth::Token) => {
            let message = "a client token (aip_…) is needed: as the API key of the SDK in use; the operator issues it";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "invalid_token", message));
        }
    };
    match gateway.directory.live(&tenant, &gateway.store, &setup.config).await {
        Err(TenantError::Unknown) if setup.config.tenants.auto_create => {
            gateway.create_tenant(&tenant).await?;
            let live = gateway.directory.live(&tenant, &gateway.store, &setup.config).await;
            live.map_err(|error| Refusal::tenant(&error))
        }
        live => live.map_err(|error| Refusal::tenant(&error)),
    }
}

/// The tenant that the headers name.
fn named(headers: &HeaderMap) -> Result<Option<TenantId>, Refusal> {
    let invalid = |message: String| Refusal {
        param: Some("X-Tenant-ID".into()),
        ..Refusal::new(StatusCode::BAD_REQUEST, "invalid_tenant", message)
    };
    let mut named: Option<TenantId> = None;
    for value in headers.get_all(&TENANT_HEADER) {
        let text = value.to_str().unwrap_or_default();
        let tenant = TenantId::parse(text).map_err(|error| invalid(error.to_string()))?;
        if named.as_ref().is_some_and(|other| *other != tenant) {
            return Err(invalid("two X-Tenant-ID headers name different tenants".into()));
        }
        named = Some(tenant);
    }
    Ok(named)
}

/// The token that the headers hold, or the address.
fn token<'a>(headers: &'a HeaderMap, key: Option<&'a str>) -> Option<&'a str> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bearer = text(&AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let others = KEY_HEADERS.iter().filter_map(text);
    bearer.into_iter().chain(others).chain(key).find(|key| key.starts_with(TOKEN_PREFIX))
}
