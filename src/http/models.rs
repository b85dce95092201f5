//! `GET /v1/models`: the models that a tenant can reach, `auto` first.

use std::collections::BTreeMap;
use std::sync::Arc;

use aipipe_actors::catalogue::{Catalogue, Model};
use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::choice::is_allowed;
use aipipe_actors::routing::digest::ClientDialect;
use aipipe_actors::tenant::account::day_of;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::{gemini, reply, tenancy};
use crate::gateway::Gateway;
use crate::gateway::prepare::AUTO;
use crate::gateway::refusal::Refusal;
use crate::gateway::tenants::Live;

/// All models that the tenant can reach.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    match tenancy::tenant(&gateway, &headers, None).await {
        Ok(tenant) => {
            let catalogue = gateway.catalogue();
            let names = names(&gateway, &catalogue, &tenant);
            let models = names.iter().map(|(name, model)| entry(name, model.provider.as_str()));
            let all: Vec<Value> = std::iter::once(entry(AUTO, "aipipe")).chain(models).collect();
            reply::json(StatusCode::OK, &json!({"object": "list", "data": all}))
        }
        Err(refusal) => reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal),
    }
}

/// One model by its name: `auto`, `model` or `provider/model`.
pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match found(&gateway, &id, &headers).await {
        Ok(entry) => reply::json(StatusCode::OK, &entry),
        Err(refusal) => reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal),
    }
}

async fn found(gateway: &Gateway, id: &str, headers: &HeaderMap) -> Result<Value, Refusal> {
    let tenant = tenancy::tenant(gateway, headers, None).await?;
    if id == AUTO {
        return Ok(entry(AUTO, "aipipe"));
    }
    let catalogue = gateway.catalogue();
    let reachable = reachable(gateway, &catalogue, &tenant);
    let by_provider = |model: &&Arc<Model>| {
        let rest = id.strip_prefix(model.provider.as_str()).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| bears(model, rest)) || bears(model, id)
    };
    reachable.iter().find(by_provider).map(|model| entry(id, model.provider.as_str())).ok_or_else(|| {
        let message = format!("there is no model {id:?} that this tenant can reach; GET /v1/models lists those");
        Refusal { param: Some("model".into()), ..Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message) }
    })
}

/// `GET /v1beta/models`: the same in Gemini's shape.
pub(super) async fn gemini_list(State(gateway): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    let key = gemini::parameter(&uri, "key");
    match tenancy::tenant(&gateway, &headers, key.as_deref()).await {
        Ok(tenant) => {
            let catalogue = gateway.catalogue();
            let names = names(&gateway, &catalogue, &tenant);
            let models = names.iter().map(|(name, model)| gemini_entry(name, Some(model)));
            let all: Vec<Value> = std::iter::once(gemini_entry(AUTO, None)).chain(models).collect();
            reply::json(StatusCode::OK, &json!({"models": all}))
        }
        Err(refusal) => reply::refusal(ClientDialect::Gemini, RequestId::generate(), &refusal),
    }
}

/// `GET /v1beta/models/{id}`.
pub(super) async fn gemini_one(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match found(&gateway, &id, &headers).await {
        Ok(_) => {
            let catalogue = gateway.catalogue();
            let model = catalogue.named(&id).next();
            reply::json(StatusCode::OK, &gemini_entry(&id, model))
        }
        Err(refusal) => reply::refusal(ClientDialect::Gemini, RequestId::generate(), &refusal),
    }
}

fn gemini_entry(name: &str, model: Option<&Arc<Model>>) -> Value {
    json!({
        "name": format!("models/{name}"),
        "displayName": name,
        "inputTokenLimit": model.map(|model| model.context_tokens),
        "outputTokenLimit": model.map(|model| model.max_output_tokens),
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
    })
}

fn bears(model: &Model, name: &str) -> bool {
    model.id.as_str() == name || model.aliases.iter().any(|alias| alias.as_str() == name)
}

fn entry(name: &str, owner: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": owner})
}

fn reachable(gateway: &Gateway, catalogue: &Catalogue, tenant: &Live) -> Vec<Arc<Model>> {
    let today = day_of(gateway.clock.now());
    let providers = tenant.estate.reachable.load();
    let policy = tenant.estate.policy.load();
    let models = catalogue.models().iter().filter(|model| providers.contains(&model.provider) && !model.retired(today));
    models.filter(|model| is_allowed(policy.models.as_deref(), model)).cloned().collect()
}

/// The shortest name under which each model is asked for: its own, or `provider/model` where several providers serve that name or it
/// would be read as another provider's.
fn names(gateway: &Gateway, catalogue: &Catalogue, tenant: &Live) -> Vec<(String, Arc<Model>)> {
    let reachable = reachable(gateway, catalogue, tenant);
    let mut bearers: BTreeMap<&str, usize> = BTreeMap::new();
    for model in &reachable {
        *bearers.entry(model.id.as_str()).or_default() += 1;
    }
    let setup = gateway.setup.load();
    let is_misread = |id: &str| id.split_once('/').is_some_and(|(head, _)| setup.config.provider(head).is_some());
    let named = |model: &Arc<Model>| {
        let id = model.id.as_str();
        let short = bearers.get(id) == Some(&1) && !is_misread(id);
        let name = if short { id.to_owned() } else { format!("{}/{id}", model.provider) };
        (name, model.clone())
    };
    reachable.iter().map(named).collect()
}
