//! The operator's secret: compared in constant time, and the slower the more often it was wrong.
//!
//! Whoever has sent wrong secrets waits before the next one is looked at, right or wrong, one after the other: asking many times at once
//! gains nothing. Each source waits for itself alone, so that nobody keeps the operator out from elsewhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::ClientDialect;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, sleep_until};

use crate::gateway::Gateway;
use crate::gateway::refusal::Refusal;
use crate::http::reply;
use crate::http::server::Peer;

/// Wrong secrets in a row that cost nothing.
const FREE: u32 = 3;
/// The first wait after them; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two; who would have to wait longer for its turn is refused at once.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Wrong secrets are forgotten after so long without one.
const FORGET: Duration = Duration::from_secs(60);
/// Sources that are told apart; beyond it those that are not known yet wait together.
const MAX_SOURCES: usize = 4_096;

/// Stands before the admin endpoints.
#[derive(Clone)]
pub(super) struct Guard {
    gateway: Arc<Gateway>,
    sources: Arc<Mutex<Sources>>,
}

/// Sources that have sent wrong secrets.
#[derive(Default)]
struct Sources(HashMap<IpAddr, Wrong>);

/// Wrong secrets in a row from one source.
struct Wrong {
    count: u32,
    last: Instant,
    /// When the next secret is looked at.
    next: Instant,
}

/// A source that has to wait longer than it may.
struct Crowded(Duration);

impl Sources {
    /// Whom an address is counted with: an IPv6 network of 64 bits is one customer's.
    fn source(&self, address: IpAddr) -> IpAddr {
        let source = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        };
        let has_room = self.0.len() < MAX_SOURCES || self.0.contains_key(&source);
        if has_room { source } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    /// When the next secret of this source is looked at.
    fn turn(&mut self, address: IpAddr, now: Instant) -> Result<Instant, Crowded> {
        let source = self.source(address);
        let Some(wrong) = self.0.get_mut(&source) else { return Ok(now) };
        let turn = wrong.next.max(now);
        if turn - now > LONGEST_WAIT {
            return Err(Crowded(turn - now));
        }
        wrong.next = turn + wrong.pause();
        Ok(turn)
    }

    /// Counts a wrong secret.
    fn wrong(&mut self, address: IpAddr, now: Instant) {
        if self.0.len() >= MAX_SOURCES {
            self.0.retain(|_, wrong| now - wrong.last <= FORGET);
        }
        let source = self.source(address);
        let wrong = self.0.entry(source).or_insert(Wrong { count: 0, last: now, next: now });
        if now - wrong.last > FORGET {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
        wrong.next = wrong.next.max(now + wrong.pause());
    }

    fn forgive(&mut self, address: IpAddr) {
        let source = self.source(address);
        self.0.remove(&source);
    }
}

impl Wrong {
    /// How long after one secret the next is looked at.
    fn pause(&self) -> Duration {
        match self.count.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT),
        }
    }
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
        Self { gateway, sources: Arc::default() }
    }

    fn with_sources<T>(&self, work: impl FnOnce(&mut Sources) -> T) -> T {
        work(&mut self.sources.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a request through that has the secret, when its source's turn has come.
    async fn judge(&self, asking: Asking) -> Result<(), Refusal> {
        let secret = configured(&self.gateway)?;
        let Asking { peer, given, path } = asking;
        let forbidden = |message: &str| Refusal::new(StatusCode::FORBIDDEN, "admin_forbidden", message);
        match self.with_sources(|sources| sources.turn(peer, Instant::now())) {
            Ok(turn) => sleep_until(turn).await,
            Err(Crowded(wait)) => {
                let message = "too many wrong secrets came from this address; try again after the wait told";
                return Err(Refusal { retry_after: Some(wait), ..forbidden(message) });
            }
        }
        let given = given.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        if bool::from(given.ct_eq(secret.expose_secret().as_bytes())) {
            self.with_sources(|sources| sources.forgive(peer));
            return Ok(());
        }
        tracing::warn!(path, %peer, "an admin call without the right secret");
        self.with_sources(|sources| sources.wrong(peer, Instant::now()));
        Err(forbidden("the header X-Admin-Secret is missing or wrong"))
    }
}

/// What is looked at of a call.
struct Asking {
    peer: IpAddr,
    given: Option<HeaderValue>,
    path: String,
}

impl Asking {
    fn of(request: &Request) -> Self {
        // A router without a listener of its own has no addresses to tell apart.
        let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        let given = request.headers().get("x-admin-secret").cloned();
        Self { peer, given, path: request.uri().path().to_owned() }
    }
}

/// Lets a request through that has the secret. No answer is kept by anything on its way.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.judge(Asking::of(&request)).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => reply::refusal(ClientDialect::Chat, RequestId::generate(), &refusal),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_source_waits_for_its_own_wrong_secrets_one_after_the_other() {
        let (attacker, operator) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut sources = Sources::default();
        let now = Instant::now();
        for _ in 0..FREE + 2 {
            sources.wrong(attacker, now);
        }
        assert_eq!(sources.turn(operator, now).ok(), Some(now));
        let waits: Vec<_> = std::iter::from_fn(|| sources.turn(attacker, now).ok()).map(|turn| turn - now).collect();
        let step = FIRST_WAIT * 4;
        assert_eq!(waits, (1..=waits.len() as u32).map(|n| step * n).collect::<Vec<_>>());
        assert_eq!(waits.last(), Some(&(step * 12)), "beyond the longest wait nobody waits");
        let later = now + FORGET * 3;
        assert_eq!(sources.turn(attacker, later).ok(), Some(later));
        sources.forgive(attacker);
        assert!(sources.0.is_empty());
    }

    #[test]
    fn sources_are_bounded_and_a_network_is_one() {
        let now = Instant::now();
        let mut sources = Sources::default();
        sources.wrong(address("2001:db8::1"), now);
        sources.wrong(address("2001:db8::ffff:2"), now);
        assert_eq!(sources.0.len(), 1);
        for n in 0..2 * MAX_SOURCES as u32 {
            sources.wrong(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)), now);
        }
        assert!(sources.0.len() <= MAX_SOURCES + 1);
    }
}
