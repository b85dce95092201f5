//! The dashboard's files. They hold no secret and need none: the page asks for it and reads the admin API with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{input, not_found, secret};
use crate::dashboard::{self, Asset};
use crate::gateway::Gateway;

/// The page runs its own script and style and talks to its own server: nothing inline, nothing from elsewhere, and no data becomes markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// Leads to the page.
#[utoipa::path(get, path = "/admin", tag = "dashboard", security(()), responses((status = 308, description = "to `/admin/`")))]
pub(super) async fn lead() -> Response {
    Redirect::permanent("/admin/").into_response()
}

/// The dashboard.
#[utoipa::path(get, path = "/admin/", tag = "dashboard", security(()), responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = 403, description = "the admin API is off"),
))]
pub(super) async fn index(State(gateway): State<Arc<Gateway>>) -> Response {
    file(&gateway, dashboard::INDEX)
}

/// A file of the dashboard.
#[utoipa::path(get, path = "/admin/assets/{file}", tag = "dashboard", security(()), params(("file" = String, Path)), responses(
    (status = 200, description = "a script, a style or an icon"),
    (status = 404, description = "there is no such file"),
))]
pub(super) async fn asset(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    file(&gateway, &name)
}

fn file(gateway: &Gateway, name: &str) -> Response {
    if let Err(refusal) = secret::configured(gateway) {
        return input::answer::<()>(StatusCode::OK, Err(refusal));
    }
    let Some(Asset { content, content_type, .. }) = dashboard::asset(name) else {
        return input::answer::<()>(StatusCode::OK, Err(not_found("the dashboard has no such file")));
    };
    let mut response = Response::new(Body::from(*content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}
