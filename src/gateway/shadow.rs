//! Sends a request, after its client has the answer, to the model that the tenant's second policy chose for it, and judges both answers.
//!
//! What is sent is the request in its canonical form, so that nothing of it is kept or run by a provider; one of which anything would have
//! to be left out is not sent. The call is the tenant's: its limits, budget and circuits hold, it has a row of its own in the ledger, and
//! a day's calls keep within the second policy's own budget. It never waits for a place, and so many run at a time. The answer is thrown
//! away.

use std::sync::Arc;

use aipipe_actors::ledger::{CacheUse, Outcome, Role};
use aipipe_actors::money::NanoUsd;
use aipipe_actors::provider::Grant;
use aipipe_actors::routing::digest::{Digest, Requested};
use aipipe_actors::routing::evidence::Verdict;
use aipipe_actors::routing::preferences::Preferences;
use aipipe_actors::tenant::account::day_of;
use aipipe_actors::tenant::shadow::{Pick, Rehearsal};
use aipipe_actors::tenant::{Dispatch, Reply, Stage};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Gateway;
use super::answered::{Answered, frame};
use super::attempt::{Attempt, Client, Patience};
use super::buffers::Held;
use super::course::{Arrival, Course, Permit};
use super::drain::Presence;
use super::outgoing::translation;
use super::search::Search;
use super::tenants::Live;
use crate::dialects::client::{Addressed, ClientRequest, form_of};
use crate::dialects::surface;

/// Calls at a time for one tenant.
pub(super) const MOST_AT_ONCE: usize = 8;
/// The largest body that is kept beyond its answer.
const MOST_BYTES: usize = 256 << 10;

/// A request that may be sent to a second model.
pub(super) struct Understudy {
    rehearsal: Arc<Rehearsal>,
    digest: Arc<Digest>,
    body: Bytes,
    /// The model, where the address names it.
    model: Option<String>,
}

/// A call that may be made, and all that it holds meanwhile.
struct Turn {
    _one_of_few: OwnedSemaphorePermit,
    presence: Presence,
    held: Held,
}

/// What came of the call.
enum Ended {
    /// It was not made.
    Skipped,
    /// The model gave no answer.
    Failed,
    /// What its answer is worth; `None`: that cannot be said.
    Judged(Option<Verdict>),
}

impl Understudy {
    /// The request, where its tenant wants such ones to be sent.
    pub(super) fn of(
        tenant: &Live,
        digest: &Arc<Digest>,
        request: &dyn ClientRequest,
        body: &Bytes,
        addressed: &Addressed<'_>,
    ) -> Option<Self> {
        let policy = tenant.estate.policy.load();
        let shadow = policy.shadow.as_ref().filter(|shadow| shadow.send)?;
        let facts = request.facts();
        let is_self_contained = facts.stored.is_empty() && facts.mentioned.is_empty();
        let fits = !digest.demand.stream && is_self_contained && body.len() <= MOST_BYTES;
        (fits && digest.requested == Requested::Auto).then(|| Self {
            rehearsal: Arc::new(Rehearsal::under(shadow.clone())),
            digest: digest.clone(),
            body: body.clone(),
            model: addressed.model.map(str::to_owned),
        })
    }

    /// Where both choices and the worth of the client's answer are noted.
    pub(super) fn rehearsal(&self) -> &Arc<Rehearsal> {
        &self.rehearsal
    }

    /// The client's answer is there: the call begins where it is to be made, and nobody waits for it.
    pub(super) fn go_on(self, gateway: &Arc<Gateway>, tenant: &Arc<Live>, answered: &Answered) {
        let differs = self.rehearsal.differs_from(&answered.provider, &answered.model);
        let Some((pick, chosen)) = differs.filter(|_| answered.cache != CacheUse::Hit) else { return };
        let pick = pick.clone();
        let Some(turn) = self.turn(gateway, tenant) else {
            gateway.meters.shadowed(false);
            return tenant.estate.shadow.skipped(&self.rehearsal.policy);
        };
        let (gateway, tenant) = (gateway.clone(), tenant.clone());
        tokio::spawn(async move {
            let ended = self.call(&gateway, &tenant, pick, turn).await;
            let (policy, shadow) = (&self.rehearsal.policy, &tenant.estate.shadow);
            gateway.meters.shadowed(!matches!(ended, Ended::Skipped));
            match ended {
                Ended::Skipped => shadow.skipped(policy),
                Ended::Failed => shadow.sent(policy, chosen, None),
                Ended::Judged(verdict) => shadow.sent(policy, chosen, Some(verdict)),
            }
        });
    }

    /// `None` where too many calls are under way, no memory is left for the body, or the gateway is about to end.
    fn turn(&self, gateway: &Gateway, tenant: &Live) -> Option<Turn> {
        let one_of_few = tenant.shadows.clone().try_acquire_owned().ok()?;
        let presence = gateway.drain.enter()?;
        let mut held = gateway.buffers.hold();
        held.grow(self.body.len()).ok()?;
        Some(Turn { _one_of_few: one_of_few, presence, held })
    }

    async fn call(&self, gateway: &Arc<Gateway>, tenant: &Arc<Live>, pick: Pick, turn: Turn) -> Ended {
        let Turn { _one_of_few, presence, held } = turn;
        let surface = surface(self.digest.dialect);
        let addressed = Addressed { model: self.model.as_deref(), stream: false };
        let Ok(request) = surface.scan(&self.body, &addressed) else { return Ended::Skipped };
        let Some(decoded) = request.decode().ok().filter(|decoded| decoded.dropped.is_empty()) else {
            return Ended::Skipped;
        };
        let setup = gateway.setup.load_full();
        let arrival = Arrival { instant: Instant::now(), at: gateway.clock.now() };
        let deadline = arrival.instant + setup.config.reliability.total_timeout;
        let digest = Arc::new(self.digest_for(pick));
        let mut search = Search::new(gateway.clone(), tenant.clone(), setup.clone(), deadline);
        let Ok(Reply::Dispatch(dispatch)) = search.ask(&digest, Stage::Shadow).await else { return Ended::Skipped };
        let Dispatch { model, reservation, grant: Grant::Granted(ticket), shown, .. } = *dispatch else {
            return Ended::Skipped;
        };
        let budget = self.rehearsal.policy.budget_usd.unwrap_or(NanoUsd::ZERO);
        let stake = tenant.estate.shadow.stake(reservation.amount(), budget, day_of(arrival.at));
        let (Some(stake), Some(upstream)) = (stake, setup.upstreams.get(&model.provider)) else {
            return Ended::Skipped;
        };
        let Ok(outgoing) = translation(&decoded, &model, upstream) else { return Ended::Skipped };
        let mut course = Course::new(gateway.clone(), tenant.clone(), digest.clone(), arrival, (presence, held));
        course.repeats(self.digest.request_id);
        course.decided(shown.decision, shown.admission);
        let input_tokens = digest.demand.input_tokens;
        let permit = Permit { model: model.clone(), reservation, ticket, input_tokens, role: Some(Role::Shadow) };
        let Ok(meter) = course.begin(permit) else { return Ended::Skipped };
        let patience = Patience::new(&setup.config.reliability, &model, false, deadline);
        let key = tenant.key(&model.provider);
        let attempt = Attempt { http: &gateway.client, upstream, key, patience, model, meter };
        let client = Client { surface, request: &*request, frame: frame(&course), watched: false };
        match attempt.whole(outgoing, &client).await {
            Ok(whole) => {
                let verdict = course.succeed(&attempt.meter, &form_of(&*request, &whole.body));
                stake.settle(course.settle(Outcome::Ok));
                Ended::Judged(verdict)
            }
            Err(failure) => {
                course.fail(&attempt.meter, &failure);
                search.failed(&failure);
                stake.settle(course.settle(Outcome::Failed));
                Ended::Failed
            }
        }
    }

    /// The request as one for this model alone, of no conversation, that neither reads nor fills the cache.
    fn digest_for(&self, pick: Pick) -> Digest {
        let Pick { provider, model, .. } = pick;
        Digest {
            request_id: aipipe_actors::identity::RequestId::generate(),
            requested_text: format!("shadow:{provider}/{model}"),
            requested: Requested::Named { provider: Some(provider.to_string()), model: model.to_string() },
            quality: None,
            turn: Default::default(),
            preferences: Preferences { tags: self.digest.preferences.tags.clone(), ..Preferences::default() },
            cache_key: None,
            ..(*self.digest).clone()
        }
    }
}

impl Gateway {
    /// Writes down how a tenant's second policy compares, where that has changed.
    pub(super) async fn save_comparison(&self, live: &Live) {
        let Some((revision, figures)) = live.estate.shadow.unsaved() else { return };
        match self.store.save_shadow(&live.id, &figures).await {
            Ok(()) => live.estate.shadow.saved(revision),
            Err(error) => tracing::warn!(tenant = %live.id, %error, "how policies compare could not be written down"),
        }
    }
}
