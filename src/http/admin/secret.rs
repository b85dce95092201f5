//! The operator's secret: compared in constant time, and the slower the more often it was wrong.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, sleep};

use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::http::reply;

/// Wrong secrets in a row that cost nothing.
const FREE: u32 = 3;
/// The first wait after them; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Wrong secrets are forgotten after so long without one.
const FORGET: Duration = Duration::from_secs(60);

/// Stands before the admin endpoints.
#[derive(Clone)]
pub(super) struct Guard {
    gateway: Arc<Gateway>,
    wrong: Arc<Mutex<Wrong>>,
}

/// Wrong secrets in a row.
#[derive(Default)]
struct Wrong {
    count: u32,
    last: Option<Instant>,
}

impl Guard {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, wrong: Arc::default() }
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        let setup = self.gateway.setup.load();
        let Some(secret) = &setup.config.admin_secret else {
            let message = "the admin API is off: set AIPIPE_ADMIN_SECRET and restart";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "admin_disabled", message));
        };
        let given = request.headers().get("x-admin-secret").map(|value| value.as_bytes()).unwrap_or_default();
        if bool::from(given.ct_eq(secret.expose_secret().as_bytes())) {
            Ok(())
        } else {
            let message = "the header X-Admin-Secret is missing or wrong";
            Err(Refusal::new(StatusCode::FORBIDDEN, "admin_forbidden", message))
        }
    }

    /// Counts a wrong secret; how long its sender must wait for the answer.
    fn penalty(&self) -> Duration {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if wrong.last.is_some_and(|last| now.duration_since(last) > FORGET) {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = Some(now);
        match wrong.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT),
        }
    }

    fn forgive(&self) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Wrong::default();
    }
}

/// Lets a request through that has the secret.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.judge(&request) {
        Ok(()) => {
            guard.forgive();
            next.run(request).await
        }
        Err(refusal) => {
            if refusal.code == "admin_forbidden" {
                tracing::warn!(path = request.uri().path(), "an admin call without the right secret");
                // The body is not worth waiting for.
                drop(request);
                sleep(guard.penalty()).await;
            }
            reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal)
        }
    }
}
