//! The gateway at a glance: is all well, and the state of everything that lives.

use std::sync::Arc;

use aipipe_actors::runtime::{Node, Status};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::conditions::{self, Condition, Severity};
use super::{input, metrics, providers, schema};
use crate::gateway::Gateway;

/// Actors below one supervisor that are shown; of more, those in trouble come first and the busiest after them.
const MAX_CHILDREN: usize = 50;

/// The gateway at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Overview {
    /// Whether nothing is worse than a notice.
    well: bool,
    /// What is not well, the worst first.
    conditions: Vec<Condition>,
    version: &'static str,
    commit: &'static str,
    /// Seconds since the process started.
    uptime_seconds: u64,
    /// Tenants that exist.
    tenants: usize,
    /// As `GET /admin/metrics`.
    #[schema(value_type = schema::Metrics)]
    metrics: Value,
    /// As `GET /admin/providers`.
    #[schema(value_type = Vec<schema::Provider>)]
    providers: Vec<Value>,
    /// As `GET /admin/actors`; at most fifty actors below one supervisor.
    #[schema(value_type = schema::Actor)]
    actors: Node,
    /// Actors that are not shown.
    actors_left_out: usize,
}

impl Overview {
    /// The gateway at this moment.
    pub(super) async fn of(gateway: &Gateway) -> Self {
        let mut actors = gateway.system.tree();
        let conditions = conditions::of(gateway, &actors).await;
        let actors_left_out = prune(&mut actors);
        Self {
            well: !conditions.iter().any(|condition| condition.severity < Severity::Notice),
            conditions,
            version: env!("CARGO_PKG_VERSION"),
            commit: crate::COMMIT,
            uptime_seconds: gateway.started.elapsed().as_secs(),
            tenants: gateway.directory.count(),
            metrics: metrics::view(gateway),
            providers: providers::views(gateway),
            actors,
            actors_left_out,
        }
    }
}

/// Leaves out actors beyond the bound; says how many.
fn prune(node: &mut Node) -> usize {
    let mut left_out = 0;
    if node.children.len() > MAX_CHILDREN {
        node.children.sort_by_key(|child| {
            let is_well = child.status == Status::Running && child.last_failure.is_none();
            (is_well, std::cmp::Reverse((child.in_flight, child.messages)))
        });
        left_out = node.children.len() - MAX_CHILDREN;
        node.children.truncate(MAX_CHILDREN);
    }
    left_out + node.children.iter_mut().map(prune).sum::<usize>()
}

/// Is all well, and the state of everything that lives.
#[utoipa::path(get, path = "/admin/overview", tag = "health", responses((status = 200, body = Overview)))]
pub(super) async fn overview(State(gateway): State<Arc<Gateway>>) -> Response {
    input::answer(StatusCode::OK, Ok(json!(Overview::of(&gateway).await)))
}
