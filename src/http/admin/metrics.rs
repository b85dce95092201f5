//! The global aggregate.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{input, schema};
use crate::gateway::Gateway;

/// Percentiles with their samples, cost, tokens, calls and queue depth, as a whole and by provider and model.
#[utoipa::path(get, path = "/admin/metrics", tag = "health", responses((status = 200, body = schema::Metrics)))]
pub(super) async fn summary(State(gateway): State<Arc<Gateway>>) -> Response {
    input::answer(StatusCode::OK, Ok(view(&gateway)))
}

/// What the aggregator published, with what is read at this moment.
pub(super) fn view(gateway: &Gateway) -> Value {
    let summary = gateway.aggregator.metrics.summary();
    let live = gateway.world.providers.load_full();
    let mut providers = Map::new();
    let mut names: Vec<_> = live.keys().map(|id| id.to_string()).collect();
    names.extend(summary.providers.keys().filter(|name| live.get(name.as_str()).is_none()).cloned());
    names.sort();
    for name in names {
        let gathered = summary.providers.get(&name).cloned().unwrap_or_default();
        let mut entry = json!(gathered);
        if let (Some(entry), Some((provider, _))) = (entry.as_object_mut(), live.get(name.as_str())) {
            entry.insert("queue_depth".into(), json!(provider.gate().queued()));
            entry.insert("in_flight".into(), json!(provider.gate().in_flight()));
            let whole = provider.snapshot().reach(provider.moment());
            entry.insert("calls".into(), json!(whole.calls));
            entry.insert("failures".into(), json!(whole.failures));
            entry.insert("calls_last_minute".into(), json!(whole.calls_last_minute));
            entry.insert("failures_last_minute".into(), json!(whole.failures_last_minute));
        }
        providers.insert(name, entry);
    }
    json!({
        "since": summary.since,
        "total": summary.total,
        "providers": providers,
        "requests_under_way": gateway.drain.present(),
    })
}
