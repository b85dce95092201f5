//! `GET /admin/openapi.json`: the description of this API, made from the handlers.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, RefOr};

const SECRET: &str = "admin_secret";

/// The written document.
#[derive(Debug, Clone)]
pub(super) struct Document(Arc<str>);

impl Document {
    pub(super) fn of(mut document: OpenApi) -> Self {
        complete(&mut document);
        // The document is data of this program; the tests read it.
        Self(document.to_json().unwrap_or_default().into())
    }
}

/// Adds what OpenAPI 3.1 asks of each operation: an id of its own, and a description of each answer, which is the operation's where it
/// has none.
fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let PathItem { get, put, post, delete, .. } = item;
        for (method, operation) in [("get", get), ("put", put), ("post", post), ("delete", delete)] {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(format!("{method}{}", path.replace(['{', '}'], "").replace('/', "_")));
            let summary = operation.summary.clone().unwrap_or_default();
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description.clone_from(&summary);
                }
            }
        }
    }
}

/// The document without any endpoint.
pub(super) fn frame() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("AiPipe admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Errors have OpenAI's shape: `{\"error\": {\"message\", \"type\", \"param\", \"code\"}}`."))
        .license(Some(license))
        .build();
    let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Admin-Secret")));
    OpenApiBuilder::new()
        .info(info)
        .components(Some(ComponentsBuilder::new().security_scheme(SECRET, scheme).build()))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>(SECRET, [])]))
        .build()
}

/// This document.
#[utoipa::path(get, path = "/admin/openapi.json", tag = "health", responses((status = 200, body = Object)))]
pub(super) async fn document(Extension(Document(text)): Extension<Document>) -> Response {
    let mut response = Response::new(Body::from(text.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
