//! The operator's secret: compared in constant time, and the slower for a source the more often it sent a wrong one.
//!
//! A right secret does not wipe out wrong ones: a dashboard that is open on the same machine must not speed up whoever guesses beside it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, sleep};

use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::http::reply;
use crate::http::server::Peer;

/// Wrong secrets that cost nothing.
const FREE: u32 = 3;
/// The first wait after them; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Wrong secrets are forgotten after so long without one.
const FORGET: Duration = Duration::from_secs(60);
/// Sources that are told apart; where more send wrong secrets within [`FORGET`], the further ones count as one.
const MAX_SOURCES: usize = 1_024;

/// Stands before the admin endpoints.
#[derive(Clone)]
pub(super) struct Guard {
    gateway: Arc<Gateway>,
    guesses: Arc<Guesses>,
}

/// The wrong secrets of each source.
#[derive(Default)]
struct Guesses(Mutex<HashMap<Option<IpAddr>, Wrong>>);

/// The wrong secrets of one source.
struct Wrong {
    count: u32,
    last: Instant,
}

/// The operator's secret, if the admin API is on.
pub(super) fn configured(gateway: &Gateway) -> Result<SecretString, Refusal> {
    gateway.setup.load().config.admin_secret.clone().ok_or_else(|| {
        let message = "the admin API is off: set AIPIPE_ADMIN_SECRET and restart";
        Refusal::new(StatusCode::FORBIDDEN, "admin_disabled", message)
    })
}

impl Guard {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, guesses: Arc::default() }
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        let secret = configured(&self.gateway)?;
        let given = request.headers().get("x-admin-secret").map(|value| value.as_bytes()).unwrap_or_default();
        if bool::from(given.ct_eq(secret.expose_secret().as_bytes())) {
            Ok(())
        } else {
            let message = "the header X-Admin-Secret is missing or wrong";
            Err(Refusal::new(StatusCode::FORBIDDEN, "admin_forbidden", message))
        }
    }
}

impl Guesses {
    /// Counts a wrong secret; how long its sender must wait for the answer.
    fn penalty(&self, source: Option<IpAddr>) -> Duration {
        let mut wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if wrong.len() >= MAX_SOURCES {
            wrong.retain(|_, wrong| now.duration_since(wrong.last) <= FORGET);
        }
        let has_room = wrong.len() < MAX_SOURCES || wrong.contains_key(&source);
        let of_source = wrong.entry(source.filter(|_| has_room)).or_insert(Wrong { count: 0, last: now });
        if now.duration_since(of_source.last) > FORGET {
            of_source.count = 0;
        }
        of_source.count = of_source.count.saturating_add(1);
        of_source.last = now;
        match of_source.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT),
        }
    }
}

/// Lets a request through that has the secret.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            if refusal.code == "admin_forbidden" {
                let source = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
                tracing::warn!(path = request.uri().path(), ?source, "an admin call without the right secret");
                // The body is not worth waiting for.
                drop(request);
                sleep(guard.guesses.penalty(source)).await;
            }
            reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_waits_longer_each_time_and_others_do_not() {
        let guesses = Guesses::default();
        let waits: Vec<u128> = (0..12).map(|_| guesses.penalty(source(1)).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(guesses.penalty(source(2)), Duration::ZERO);
        tokio::time::advance(FORGET).await;
        assert_eq!(guesses.penalty(source(1)), LONGEST_WAIT);
        tokio::time::advance(FORGET + Duration::from_secs(1)).await;
        assert_eq!(guesses.penalty(source(1)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn sources_beyond_the_bound_share_one_count() {
        let guesses = Guesses::default();
        for number in 0..MAX_SOURCES as u32 {
            guesses.penalty(Some(IpAddr::from(number.to_be_bytes())));
        }
        let waits: Vec<u128> = (0..4).map(|last| guesses.penalty(source(last)).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100]);
        assert!(guesses.0.lock().unwrap().len() <= MAX_SOURCES + 1);
    }
}
