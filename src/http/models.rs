//! `GET /v1/models` and `GET /v1beta/models`: the models that a tenant can reach, `auto` first, in the shape of the SDK that asks.

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
use crate::gateway::prepare::{self, AUTO};
use crate::gateway::refusal::Refusal;
use crate::gateway::tenants::Live;

/// Whose SDK asks, by what it sends beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Shape {
    fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let sends = |name: &str| headers.contains_key(name);
        if uri.path().starts_with("/v1beta/") || sends("x-goog-api-key") || sends("x-goog-api-client") {
            Self::Gemini
        } else if sends("anthropic-version") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    fn list(self, entries: &[Entry]) -> Value {
        let all: Vec<Value> = entries.iter().map(|entry| self.entry(entry)).collect();
        let name = |entry: Option<&Entry>| entry.map(|entry| entry.name.clone());
        match self {
            Self::OpenAi => json!({"object": "list", "data": all}),
            Self::Anthropic => json!({
                "data": all, "has_more": false, "first_id": name(entries.first()), "last_id": name(entries.last()),
            }),
            Self::Gemini => json!({"models": all}),
        }
    }

    fn entry(self, entry: &Entry) -> Value {
        let Entry { name, model } = entry;
        let owner = model.as_ref().map_or("aipipe", |model| model.provider.as_str());
        match self {
            Self::OpenAi => json!({"id": name, "object": "model", "created": 0, "owned_by": owner}),
            Self::Anthropic => {
                json!({"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"})
            }
            Self::Gemini => json!({
                "name": format!("models/{name}"),
                "displayName": name,
                "inputTokenLimit": model.as_ref().map(|model| model.context_tokens),
                "outputTokenLimit": model.as_ref().map(|model| model.max_output_tokens),
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
            }),
        }
    }

    fn refusal(self, refusal: &Refusal) -> Response {
        let dialect = match self {
            Self::OpenAi => ClientDialect::Chat,
            Self::Anthropic => ClientDialect::Messages,
            Self::Gemini => ClientDialect::Gemini,
        };
        reply::refusal(dialect, RequestId::generate(), refusal)
    }
}

/// A model by the name under which it is asked for; `auto` is none in particular.
struct Entry {
    name: String,
    model: Option<Arc<Model>>,
}

impl Entry {
    fn auto(name: String) -> Self {
        Self { name, model: None }
    }
}

/// All models that the tenant can reach.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    let shape = Shape::of(&uri, &headers);
    let key = gemini::parameter(&uri, "key");
    match tenancy::tenant(&gateway, &headers, key.as_deref()).await {
        Ok(tenant) => {
            let catalogue = gateway.catalogue();
            let models = names(&gateway, &catalogue, &tenant).into_iter();
            let models = models.map(|(name, model)| Entry { name, model: Some(model) });
            let entries: Vec<Entry> =
                std::iter::once(AUTO.to_owned()).chain(prepare::auto_names()).map(Entry::auto).chain(models).collect();
            reply::json(StatusCode::OK, &shape.list(&entries))
        }
        Err(refusal) => shape.refusal(&refusal),
    }
}

/// One model by its name: `auto`, `model` or `provider/model`.
pub(super) async fn one(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let shape = Shape::of(&uri, &headers);
    match found(&gateway, &id, &uri, &headers).await {
        Ok(entry) => reply::json(StatusCode::OK, &shape.entry(&entry)),
        Err(refusal) => shape.refusal(&refusal),
    }
}

async fn found(gateway: &Gateway, id: &str, uri: &Uri, headers: &HeaderMap) -> Result<Entry, Refusal> {
    let key = gemini::parameter(uri, "key");
    let tenant = tenancy::tenant(gateway, headers, key.as_deref()).await?;
    if prepare::is_auto(id) {
        return Ok(Entry::auto(id.to_owned()));
    }
    let catalogue = gateway.catalogue();
    let reachable = reachable(gateway, &catalogue, &tenant);
    let by_provider = |model: &&Arc<Model>| {
        let rest = id.strip_prefix(model.provider.as_str()).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| bears(model, rest)) || bears(model, id)
    };
    let found = reachable.iter().find(by_provider);
    found.map(|model| Entry { name: id.to_owned(), model: Some(model.clone()) }).ok_or_else(|| {
        let message = format!("there is no model {id:?} that this tenant can reach; GET /v1/models lists those");
        Refusal { param: Some("model".into()), ..Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message) }
    })
}

fn bears(model: &Model, name: &str) -> bool {
    model.id.as_str() == name || model.aliases.iter().any(|alias| alias.as_str() == name)
}

fn reachable(gateway: &Gateway, catalogue: &Catalogue, tenant: &Live) -> Vec<Arc<Model>> {
    let today = day_of(gateway.clock.now());
    let providers = tenant.estate.reachable.load();
    let policy = tenant.estate.policy.load();
    let setup = gateway.setup.load();
    let is_on = |id: &str| setup.config.provider(id).is_some_and(|provider| provider.enabled);
    let is_served = |model: &&Arc<Model>| providers.contains(&model.provider) && is_on(model.provider.as_str());
    let models = catalogue.models().iter().filter(|model| is_served(model) && !model.retired(today));
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
