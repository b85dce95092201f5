//! Gemini's endpoints: the method stands behind the model's name, `models/{model}:generateContent`.

use std::sync::Arc;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;

use super::count_tokens::count_tokens;
use super::generate::{Entrance, generate};
use super::reply::{self, Framing};
use crate::dialects::client::Addressed;
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// `POST /v1beta/models/{model}:{method}`; the model may be `provider/model`, escaped or not.
pub(super) async fn call(State(gateway): State<Arc<Gateway>>, Path(rest): Path<String>, request: Request) -> Response {
    let uri = request.uri().clone();
    let (model, method) = rest.rsplit_once(':').unwrap_or((&rest, ""));
    if !matches!(method, "generateContent" | "streamGenerateContent" | "countTokens") {
        return unknown(&rest);
    }
    let framing = match parameter(&uri, "alt").as_deref() {
        Some("sse") => Framing::Events,
        _ => Framing::Array,
    };
    let key = parameter(&uri, "key");
    let entrance = Entrance {
        dialect: ClientDialect::Gemini,
        addressed: Addressed { model: Some(model), stream: method == "streamGenerateContent" },
        key: key.as_deref(),
        framing,
    };
    if method == "countTokens" {
        return count_tokens(&gateway, entrance, request).await;
    }
    generate(&gateway, entrance, request).await
}

fn unknown(rest: &str) -> Response {
    let message =
        format!("there is no method {rest:?}; this gateway has generateContent, streamGenerateContent and countTokens");
    let refusal = Refusal::new(StatusCode::NOT_FOUND, "not_found", message);
    reply::refusal(ClientDialect::Gemini, RequestId::generate(), &refusal)
}

/// The value of a query parameter.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let value = uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode_str(value).decode_utf8().ok().map(|value| value.into_owned())
}
