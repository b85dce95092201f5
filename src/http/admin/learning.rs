//! What a tenant's requests have taught of models: to see and to forget.

use std::sync::Arc;

use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::routing::evidence::{BOUND, Evidence, HALF_LIFE, Verdict, expected, shifted};
use aipipe_actors::tenant::learning::Lesson;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{input, schema, store_failed};
use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;

/// What became of a tenant's answers by model and kind of task, and what that makes of the models' quality for it. Counts fade: an answer of
/// a week ago counts half.
#[utoipa::path(get, path = "/admin/tenants/{id}/learning", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Learning),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn shown(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, learned(&gateway, &id).await)
}

async fn learned(gateway: &Gateway, id: &str) -> Result<Value, Refusal> {
    let live = input::live(gateway, id).await?;
    let (catalogue, now) = (gateway.catalogue(), gateway.clock.now());
    let lessons: Vec<Value> =
        live.estate.learning.lessons(now).into_iter().map(|lesson| view(lesson, &catalogue, now)).collect();
    let policy = live.estate.policy.load();
    Ok(json!({
        "tenant": live.id,
        "learning": policy.learning,
        "exploration": policy.exploration,
        "half_life_seconds": HALF_LIFE,
        "bound": BOUND,
        "lessons": lessons,
    }))
}

fn view(lesson: Lesson, catalogue: &Catalogue, now: Timestamp) -> Value {
    let Lesson { provider, model, task, evidence } = lesson;
    let evidence: Evidence = evidence.as_of(now);
    let counts: Map<String, Value> = (Verdict::ALL.into_iter().zip(evidence.endings))
        .map(|(verdict, count)| (verdict.as_str().to_owned(), json!(count)))
        .collect();
    let mut view = json!({
        "provider": provider,
        "model": model,
        "task": task,
        "answers": counts,
        "feedback": {"answers": evidence.judged, "scores": evidence.scores},
    });
    // Of a model that is in no catalogue any more nothing follows.
    let known = catalogue.at_provider(provider.as_str(), model.as_str());
    if let (Some(known), Some(view)) = (known, view.as_object_mut()) {
        let (prior, shift) = (known.quality, evidence.shift(known.quality, now));
        view.insert("prior".into(), json!(prior));
        view.insert("shift".into(), json!(shift));
        view.insert("quality".into(), json!(shifted(prior, shift)));
        view.insert("expected".into(), json!(expected(prior)));
        view.insert("ended".into(), json!(evidence.ended(prior)));
        view.insert("judged".into(), json!(evidence.judgement(prior)));
    }
    view
}

/// Forgets what a tenant's requests have taught: the catalogue's qualities hold again.
#[utoipa::path(delete, path = "/admin/tenants/{id}/learning", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = schema::ForgottenLearning),
    (status = 404, description = "there is no such tenant"),
))]
pub(super) async fn forget(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    input::answer(StatusCode::OK, forgotten(&gateway, &id).await)
}

async fn forgotten(gateway: &Gateway, id: &str) -> Result<Value, Refusal> {
    let tenant = input::known_tenant(gateway, id)?;
    gateway.forget_lessons(&tenant).await.map_err(|error| store_failed(&error))?;
    Ok(json!({"tenant": tenant, "forgotten": true}))
}
