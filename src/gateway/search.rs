//! The search for a model that answers: what is asked of the tenant's actor, and who is not to be asked again.
//!
//! It goes on with its request: before the first content for the next candidate, after it for one that goes on with a broken answer.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::fault::{Failover, Fault, Retry};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::provider::{Grant, Refusal as ProviderRefusal, Ticket};
use aipipe_actors::routing::decision::{Decision, Reason};
use aipipe_actors::routing::digest::Digest;
use aipipe_actors::routing::evidence::Verdict;
use aipipe_actors::runtime::CallError;
use aipipe_actors::tenant::shadow::Rehearsal;
use aipipe_actors::tenant::{Message, Passed, Question, Reply, Stage};
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout_at};

use super::course::Course;
use super::failure::Failure;
use super::refusal::Refusal;
use super::tenants::{Live, TenantError};
use super::{Gateway, Setup};

/// Shortest and longest wait before the same model is asked again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// The longest wait that a provider may ask for and still be asked again within the same request.
const LONGEST_RETRY_WAIT: Duration = Duration::from_secs(2);

/// One request's search.
#[derive(Clone)]
pub struct Search {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Whose request.
    pub tenant: Arc<Live>,
    /// The configuration that the request began with.
    pub setup: Arc<Setup>,
    /// By when what is looked for must have begun.
    pub deadline: Instant,
    /// Models that failed or refused already.
    pub passed: Vec<Passed>,
    /// Where a second policy's choice is told, where somebody wants to know.
    pub rehearsal: Option<Arc<Rehearsal>>,
    /// Whether a model was asked a second time.
    has_repeated: bool,
}

pub(super) fn refused_call(tenant: &Live, error: CallError) -> Refusal {
    match error {
        _ if tenant.is_removed() => Refusal::tenant(&TenantError::Unknown),
        CallError::Full => Refusal::tenant_overloaded(),
        CallError::Unavailable => Refusal::unavailable("an actor that this request needs is being restarted"),
    }
}

impl Search {
    /// Nobody was asked yet.
    pub fn new(gateway: Arc<Gateway>, tenant: Arc<Live>, setup: Arc<Setup>, deadline: Instant) -> Self {
        Self { gateway, tenant, setup, deadline, passed: Vec::new(), rehearsal: None, has_repeated: false }
    }

    /// Asks the tenant's actor.
    pub async fn ask(&self, digest: &Arc<Digest>, stage: Stage) -> Result<Reply, Refusal> {
        if self.tenant.is_removed() {
            // Who asks its actor would wait for a successor that never comes.
            return Err(Refusal::tenant(&TenantError::Unknown));
        }
        let (passed, rehearsal) = (self.passed.clone().into(), self.rehearsal.clone());
        let question = Question { digest: digest.clone(), stage, passed, rehearsal };
        let reply = self.tenant.address.call(self.deadline, |port| Message::Choose(question.clone(), port)).await;
        reply.map_err(|error| match error {
            _ if Instant::now() >= self.deadline => Refusal::timed_out(),
            error => refused_call(&self.tenant, error),
        })
    }

    /// Waits for the provider's place.
    pub async fn ticket(&self, grant: Grant) -> Result<Result<Ticket, Reason>, Refusal> {
        let granted = match grant {
            Grant::Granted(ticket) => Ok(ticket),
            Grant::Refused(refusal) => Err(refusal),
            Grant::Waiting(wait) => timeout_at(self.deadline, wait.turn()).await.map_err(|_| Refusal::timed_out())?,
        };
        Ok(granted.map_err(|refusal| match refusal {
            ProviderRefusal::CircuitOpen => Reason::CircuitOpen,
            ProviderRefusal::QueueFull => Reason::Overloaded,
        }))
    }

    /// Not this one again.
    pub fn pass_over(&mut self, model: &Model, reason: Reason) {
        self.passed.push(Passed { provider: model.provider.clone(), model: Some(model.id.clone()), reason });
    }

    /// An attempt failed: whom this request asks no more.
    pub fn failed(&mut self, failure: &Failure) {
        if failure.fault.consequence().failover == Failover::Provider {
            let provider = failure.model.provider.clone();
            self.passed.push(Passed { provider, model: None, reason: Reason::Excluded });
        }
        self.pass_over(&failure.model, Reason::Excluded);
    }

    /// What does not fit into one model's context goes to none that has no more room.
    pub fn pass_over_smaller(&mut self, failure: &Failure, decision: Option<&Arc<Decision>>) {
        // A body of too many bytes (413) says nothing of tokens.
        if failure.fault != Fault::ContextLength || failure.status == Some(StatusCode::PAYLOAD_TOO_LARGE) {
            return;
        }
        let Some(decision) = decision else { return };
        let catalogue = self.gateway.catalogue();
        let eligible = decision.candidates.iter().filter(|candidate| candidate.reason.is_none());
        let models = eligible.filter_map(|one| catalogue.at_provider(one.provider.as_str(), one.model.as_str()));
        self.passed.extend(models.filter(|model| model.room() <= failure.model.room()).map(|model| Passed {
            provider: model.provider.clone(),
            model: Some(model.id.clone()),
            reason: Reason::ContextLength,
        }));
    }

    /// Where no other provider is left: lets the other models of those that failed come again, which is better than nothing. Whether
    /// there are any.
    pub fn readmit_providers(&mut self) -> bool {
        let before = self.passed.len();
        self.passed.retain(|passed| passed.model.is_some() || passed.reason != Reason::Excluded);
        self.passed.len() < before
    }

    /// Lets the model that failed last be asked again, once, after a short wait, where its fault may have passed by then. Whether it may.
    pub async fn repeat(&mut self, failure: &Failure, calls: usize) -> bool {
        let asked = failure.retry_after.unwrap_or_default();
        if self.has_repeated
            || self.is_spent(calls)
            || failure.fault.consequence().retry != Retry::Once
            || asked > LONGEST_RETRY_WAIT
        {
            return false;
        }
        let (shortest, longest) = RETRY_WAIT;
        let wait = asked.max(shortest + (longest - shortest).mul_f64(fastrand::f64()));
        if Instant::now() + wait >= self.deadline {
            return false;
        }
        self.has_repeated = true;
        let model = &failure.model;
        self.passed.retain(|passed| passed.model.as_ref() != Some(&model.id) || passed.provider != model.provider);
        sleep(wait).await;
        true
    }

    /// Whether so many calls are all that the request may make.
    pub fn is_spent(&self, calls: usize) -> bool {
        calls >= self.setup.config.reliability.max_attempts.get() as usize
    }

    /// How many candidates may have a turn yet, the one that was just chosen included, after so many calls.
    pub fn turns(&self, decision: Option<&Arc<Decision>>, calls: usize) -> u32 {
        let most = self.setup.config.reliability.max_attempts.get();
        let left = most.saturating_sub(u32::try_from(calls).unwrap_or(u32::MAX));
        let eligible =
            decision.map_or(1, |decision| decision.candidates.iter().filter(|one| one.reason.is_none()).count());
        left.min(u32::try_from(eligible).unwrap_or(u32::MAX)).max(1)
    }

    /// Notes the model that answers, for the next turn of the conversation.
    pub fn remember(&self, course: &Course, provider: &ProviderId, model: &ModelId) {
        let (digest, pins) = (course.digest(), &self.tenant.estate.pins);
        let again = pins.asked_again(&digest.turn, course.arrival().instant).filter(|_| course.calls() > 0);
        if let Some((provider, model)) = again {
            course.learn((&provider, &model), Verdict::AskedAgain);
        }
        pins.note(
            &digest.turn,
            (provider, model),
            digest.demand.input_tokens,
            self.gateway.clock.now(),
            Instant::now(),
        );
    }
}
