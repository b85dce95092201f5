//! `GET /metrics`: the Prometheus text.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::gateway::Gateway;
use crate::telemetry::{Build, Live, LiveProvider};

/// Everything that is counted, and what is read at this moment.
pub(super) async fn text(State(gateway): State<Arc<Gateway>>) -> Response {
    let world = gateway.world.providers.load_full();
    let mut providers: Vec<_> = world
        .values()
        .map(|(provider, _)| LiveProvider {
            id: provider.id(),
            queued: provider.gate().queued(),
            in_flight: provider.gate().in_flight(),
            circuit: provider.circuit(),
        })
        .collect();
    providers.sort_by(|a, b| a.id.cmp(b.id));
    let live = Live {
        providers,
        actors: &gateway.system.tree(),
        restarts: &gateway.system.restarts(),
        unsettled: gateway.store.unsettled_count(),
        build: Build { version: env!("CARGO_PKG_VERSION"), commit: crate::COMMIT },
    };
    let mut response = Response::new(Body::from(gateway.meters.render(&live)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(crate::telemetry::metrics::CONTENT_TYPE));
    response
}
