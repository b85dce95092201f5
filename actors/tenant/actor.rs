//! The tenant actor.
//!
//! Owns: nothing that a crash could lose; it decides from its [`Estate`], the catalogue and the providers' snapshots, reserves, and
//! forwards the choice with the caller's reply port to the chosen provider actor. Bounds: its mailbox by its address.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ractor::RpcReplyPort;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::account::{Admission, LimitReached, OverBudget, Reservation, day_of};
use super::answers::{AnswerKey, CachedAnswer};
use super::estate::Estate;
use super::flight::{Boarding, Follower, Leader};
use super::policy::Rules;
use super::shadow::{Pick, Rehearsal};
use super::trials;
use crate::catalogue::{Catalogue, Model};
use crate::clock::Clock;
use crate::identity::{ModelId, ProviderId};
use crate::provider::{self, Grant, Offer, Provider, Refusal};
use crate::routing::choice::{Choice, Lessons, Scored, Situation, Standing, worst_case};
use crate::routing::complexity::{Assessment, Complexity, Weights, assess};
use crate::routing::conversation::{Why, go_on};
use crate::routing::decision::{Basis, Bias, Decision, Reason};
use crate::routing::digest::{Digest, Requested};
use crate::routing::preferences::{CacheMode, Quality};
use crate::runtime::{Address, Behaviour};

/// Complexity assumed where there is nothing to score by and the tenant has no default of its own: where quality begins to count.
pub const DEFAULT_COMPLEXITY: f64 = 0.25;

/// The enabled providers with their actors, by name.
pub type Providers = HashMap<ProviderId, (Arc<Provider>, Address<provider::Message>)>;

/// What all tenants choose from.
pub struct World {
    /// The models.
    pub catalogue: ArcSwap<Catalogue>,
    /// The scorer's weights.
    pub weights: ArcSwap<Weights>,
    /// The enabled providers with their actors.
    pub providers: ArcSwap<Providers>,
    /// The date.
    pub clock: Arc<dyn Clock>,
}

/// What can be sent to a tenant actor.
pub enum Message {
    /// Choose and dispatch.
    Choose(Question, RpcReplyPort<Reply>),
    /// Show the decision, without any effect.
    Explain(Arc<Digest>, RpcReplyPort<Decision>),
}

/// Where in its way a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// For the first time: limits, cache and flights apply.
    First,
    /// The flight that it followed was abandoned: it was let in already.
    Again,
    /// Flights were abandoned twice: it asks for itself alone.
    Alone,
    /// An attempt failed: the next candidate.
    Failover,
    /// What the second policy chose is to be called too: its rules hold, and limits apply.
    Shadow,
}

/// A model, or all of a provider's, that this request must not be given again, and why.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Who serves it.
    pub provider: ProviderId,
    /// Which model; `None`: all of the provider's.
    pub model: Option<ModelId>,
    /// Why.
    pub reason: Reason,
}

/// A request's question.
#[derive(Debug, Clone)]
pub struct Question {
    /// The request.
    pub digest: Arc<Digest>,
    /// Where it stands.
    pub stage: Stage,
    /// Models that failed or refused already.
    pub passed: Arc<[Passed]>,
    /// Where the second policy's choice is told, where somebody wants to know.
    pub rehearsal: Option<Arc<Rehearsal>>,
}

/// What a request's task is told.
#[derive(Debug)]
pub enum Reply {
    /// A choice, as its provider answered it.
    Dispatch(Box<Dispatch>),
    /// The answer is there already.
    Cached(Arc<CachedAnswer>, Shown),
    /// Another request is getting the same answer.
    Follow(Follower, Shown),
    /// No.
    Denied(Denial),
}

/// The decision behind a reply, with the admission of a request that asked for the first time.
#[derive(Debug)]
pub struct Shown {
    /// The decision.
    pub decision: Arc<Decision>,
    /// The request counts as in flight as long as this lives.
    pub admission: Option<Admission>,
}

/// A choice with all that its request holds.
#[derive(Debug)]
pub struct Dispatch {
    /// The model to call.
    pub model: Arc<Model>,
    /// The decision and the admission.
    pub shown: Shown,
    /// Money held for this attempt.
    pub reservation: Reservation,
    /// Others may be waiting for the answer.
    pub leader: Option<Leader>,
    /// The epoch of the cache in which the answer was asked for.
    pub epoch: u64,
    /// What the provider actor says.
    pub grant: Grant,
}

/// Why a request goes nowhere.
#[derive(Debug)]
pub enum Denial {
    /// A limit of the tenant.
    Limit(LimitReached),
    /// The tenant's budget.
    Budget(OverBudget),
    /// No model can do it; the decision tells why for each.
    NoCandidate(Arc<Decision>),
}

/// A tenant: its behaviour as an actor.
pub struct Tenant {
    estate: Arc<Estate>,
    world: Arc<World>,
}

impl Tenant {
    /// The behaviour of a tenant's actor.
    pub fn new(estate: Arc<Estate>, world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { estate, world })
    }
}

impl Behaviour for Tenant {
    type Message = Message;
    type State = ();

    fn kind(&self) -> &'static str {
        "tenant"
    }

    fn start(&self) {}

    fn handle(&self, (): &mut (), message: Message) {
        match message {
            Message::Choose(question, port) => self.answer(question, port),
            Message::Explain(digest, port) => {
                // Whoever asked may have left.
                let policy = self.estate.policy.load();
                let _ = port.send(self.choose(&digest, &policy.rules(), &[], Absent::Awaited).decision);
            }
        }
    }

    fn observe(&self, (): &()) -> Value {
        json!({
            "tenant": self.estate.tenant,
            "policy": **self.estate.policy.load(),
            "balance": self.estate.account.balance(self.world.clock.now()),
            "cached_answers": self.estate.answers.len(),
            "known_turns": self.estate.pins.len(),
            "lessons": self.estate.learning.lessons(self.world.clock.now()).len(),
        })
    }

    fn in_flight(&self) -> u64 {
        self.estate.account.balance(self.world.clock.now()).in_flight
    }
}

impl Tenant {
    fn answer(&self, question: Question, port: RpcReplyPort<Reply>) {
        if port.is_closed() {
            return;
        }
        let admission = match question.stage {
            Stage::First | Stage::Shadow => match self.admit(&question.digest) {
                Ok(admission) => Some(admission),
                Err(reached) => return reply(port, Reply::Denied(Denial::Limit(reached))),
            },
            Stage::Again | Stage::Alone | Stage::Failover => None,
        };
        let policy = self.estate.policy.load();
        let rules = match &policy.shadow {
            Some(shadow) if question.stage == Stage::Shadow => shadow.rules(&policy),
            _ => policy.rules(),
        };
        let mut choice = self.choose(&question.digest, &rules, &question.passed, Absent::PassedOver);
        if choice.ranked.is_empty() {
            choice = self.choose(&question.digest, &rules, &question.passed, Absent::Awaited);
        }
        let Choice { mut decision, mut ranked } = choice;
        let mut compared = trials::is_compared(&policy, &question).then(|| decision.chosen().map(Pick::from)).flatten();
        let Some(best) = ranked.first() else {
            return reply(port, Reply::Denied(Denial::NoCandidate(Arc::new(decision))));
        };
        // What may be sent to the second policy's model too is weighed before its answer can come.
        if let Some(chosen) = compared.take_if(|_| question.rehearsal.is_some()) {
            self.compare(&question, &chosen);
        }
        let epoch = self.estate.answers.epoch();
        let mut leader = None;
        let mut found = None;
        if let Some(key) = answer_key(&question, best) {
            match self.estate.answers.get(&key, Instant::now()) {
                Some(answer) => found = Some(Found::Cached(answer)),
                None => match self.estate.answers.flights().board(key) {
                    Boarding::Follow(follower) => found = Some(Found::Flying(follower)),
                    Boarding::Lead(lead) => leader = Some(lead),
                },
            }
        }
        match found {
            Some(Found::Cached(answer)) => {
                reply(port, Reply::Cached(answer, Shown { decision: Arc::new(decision), admission }));
            }
            Some(Found::Flying(follower)) => {
                reply(port, Reply::Follow(follower, Shown { decision: Arc::new(decision), admission }));
            }
            None => {
                if trials::explores(&policy, &question, &decision) {
                    decision.explored = true;
                    ranked.swap(0, 1);
                }
                self.dispatch(Ranked { question: &question, decision, ranked, admission, leader, epoch }, port);
            }
        }
        // Any other request is on its way by now.
        if let Some(chosen) = compared {
            self.compare(&question, &chosen);
        }
    }

    /// Weighs a request under the second policy too, without effect.
    fn compare(&self, question: &Question, chosen: &Pick) {
        let policy = self.estate.policy.load();
        let Some(shadow) = &policy.shadow else { return };
        let other = self.choose(&question.digest, &shadow.rules(&policy), &[], Absent::PassedOver).decision;
        let other = other.chosen().map(Pick::from);
        if let (Some(rehearsal), Some(other)) = (&question.rehearsal, &other) {
            rehearsal.picked(other);
        }
        self.estate.shadow.add(shadow, chosen, other.as_ref(), self.world.clock.now());
    }

    /// Reserves for the best candidate that the budget covers and hands it to its provider's actor.
    fn dispatch(&self, chosen: Ranked<'_>, port: RpcReplyPort<Reply>) {
        let Ranked { question, mut decision, ranked, admission, leader, epoch } = chosen;
        let policy = self.estate.policy.load();
        let now = self.world.clock.now();
        let mut over_budget = None;
        let mut affordable = None;
        for (place, model) in ranked.iter().enumerate() {
            match self.estate.account.reserve(&policy, now, worst_case(&question.digest, model)) {
                Ok(reservation) => {
                    affordable = Some((place, model.clone(), reservation));
                    break;
                }
                Err(refused) => {
                    over_budget.get_or_insert(refused);
                }
            }
        }
        let Some((place, model, reservation)) = affordable else {
            let denial = over_budget.map_or_else(|| Denial::NoCandidate(Arc::new(decision)), Denial::Budget);
            return reply(port, Reply::Denied(denial));
        };
        pass_over(&mut decision, ranked.get(..place).unwrap_or_default());
        let providers = self.world.providers.load();
        // Switched off since it was chosen: the port is dropped, and the caller asks again.
        let Some((_, address)) = providers.get(&model.provider) else { return };
        let shown = Shown { decision: Arc::new(decision), admission };
        // Until the provider actor says otherwise: where it never does, the port is dropped with the offer and the caller asks again.
        let grant = Grant::Refused(Refusal::QueueFull);
        let dispatch = Dispatch { model, shown, reservation, leader, epoch, grant };
        let offer = Offer { tenant: self.estate.tenant.clone(), weight: policy.weight, dispatch, port };
        if let Err(full) = address.offer(provider::Message::Admit(offer)) {
            let provider::Message::Admit(Offer { dispatch, port, .. }) = full else { return };
            reply(port, Reply::Dispatch(Box::new(dispatch)));
        }
    }

    fn admit(&self, digest: &Digest) -> Result<Admission, LimitReached> {
        let tokens = digest.demand.input_tokens.saturating_add(digest.demand.output_limit.unwrap_or(0));
        self.estate.account.admit(&self.estate.policy.load(), self.world.clock.now(), tokens)
    }

    fn choose(&self, digest: &Digest, rules: &Rules<'_>, passed: &[Passed], absent: Absent) -> Choice {
        let catalogue = self.world.catalogue.load();
        let reachable = self.estate.reachable.load();
        let providers = self.world.providers.load();
        let (now, date) = (Instant::now(), self.world.clock.now());
        let lessons = self.estate.learning.as_of(date).filter(|_| self.estate.policy.load().learning);
        let situation = Situation {
            tenant: &self.estate.tenant,
            digest,
            scored: self.score(digest, rules),
            catalogue: &catalogue,
            allowed: rules.models,
            min_quality: rules.min_quality,
            learned: lessons.as_ref().map(|lessons| lessons as &dyn Lessons),
            today: day_of(date),
        };
        let mut choice = situation.choose(|model| {
            let bars = |passed: &&Passed| {
                passed.provider == model.provider && passed.model.as_ref().is_none_or(|name| *name == model.id)
            };
            if let Some(passed) = passed.iter().find(bars) {
                return Standing::Barred(passed.reason.clone());
            }
            let Some((provider, address)) = providers.get(&model.provider) else {
                return Standing::Barred(Reason::Disabled);
            };
            if absent == Absent::PassedOver && !address.is_live() {
                return Standing::Barred(Reason::Overloaded);
            }
            if !reachable.contains(&model.provider) {
                return Standing::Barred(Reason::NoKey);
            }
            if self.estate.cooling.of(&model.provider, &model.id, now).is_some() {
                return Standing::Barred(Reason::CoolingDown);
            }
            provider
                .penalty(&model.id, now)
                .map_or(Standing::Barred(Reason::CircuitOpen), |penalty| Standing::Ready { penalty })
        });
        if let Some(earlier) = self.estate.pins.earlier(&digest.turn, now) {
            go_on(&mut choice, &situation, earlier);
        }
        choice
    }

    fn score(&self, digest: &Digest, rules: &Rules<'_>) -> Scored {
        let default = rules.default_complexity.unwrap_or(DEFAULT_COMPLEXITY);
        scored(digest, assess(&digest.demand.features, &self.world.weights.load(), default), rules.quality)
    }
}

/// An answer that is there already, or coming.
enum Found {
    Cached(Arc<CachedAnswer>),
    Flying(Follower),
}

/// What becomes of a provider whose actor is being restarted, which takes up to 30 seconds where it fails again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// Others are chosen.
    PassedOver,
    /// It is chosen like any other: the offer is lost, and the caller asks again.
    Awaited,
}

/// The complexity that counts: the client's own word; or what was assessed, for `auto` shifted by the quality that the client or else
/// the tenant's setting asks for, and raised where an agent is stuck.
pub fn scored(digest: &Digest, assessed: Assessment, setting: Quality) -> Scored {
    let Assessment { complexity, signals, basis } = assessed;
    if let Some(given) = digest.preferences.complexity {
        return Scored { complexity: given, basis: Basis::Override, bias: None, signals };
    }
    let quality = Some(digest.quality.unwrap_or(setting)).filter(|quality| *quality != Quality::Balanced);
    let bias = Bias { assessed: complexity.get(), quality, stuck: digest.turn.stuck };
    let is_shifted = digest.requested == Requested::Auto && (quality.is_some() || bias.stuck.is_some());
    let Some(bias) = is_shifted.then_some(bias) else {
        return Scored { complexity: complexity.get(), basis, bias: None, signals };
    };
    let complexity = Complexity::clamped(bias.assessed + bias.shift()).get();
    Scored { complexity, basis, bias: Some(bias), signals }
}

/// A choice on its way to a provider.
struct Ranked<'a> {
    question: &'a Question,
    decision: Decision,
    ranked: Vec<Arc<Model>>,
    admission: Option<Admission>,
    leader: Option<Leader>,
    epoch: u64,
}

/// What an answer of this model to this question is looked up under, where the question may be answered from the cache at all.
fn answer_key(question: &Question, model: &Model) -> Option<AnswerKey> {
    let reads = question.digest.preferences.cache.unwrap_or_default() == CacheMode::Use;
    if !reads || !matches!(question.stage, Stage::First | Stage::Again) {
        return None;
    }
    let prompt = question.digest.cache_key?;
    Some(AnswerKey { provider: model.provider.clone(), model: model.id.clone(), prompt })
}

/// Marks these candidates as beyond the budget and moves them behind the eligible ones.
fn pass_over(decision: &mut Decision, dear: &[Arc<Model>]) {
    if dear.is_empty() {
        return;
    }
    for candidate in &mut decision.candidates {
        if dear.iter().any(|model| model.provider == candidate.provider && model.id == candidate.model) {
            candidate.reason = Some(Reason::Budget);
        }
    }
    decision.candidates.sort_by_key(|candidate| candidate.reason.is_some());
    // What would have been tried is among them.
    decision.explored = false;
    let Decision { conversation, candidates, .. } = decision;
    let Some(conversation) = conversation.as_mut().filter(|conversation| conversation.kept) else { return };
    if candidates.iter().any(|candidate| candidate.reason.is_some() && conversation.is_of(candidate)) {
        conversation.kept = false;
        conversation.why = Why::Unavailable;
    }
}

/// Answers a task, which may have stopped waiting: then everything that the reply holds is given back.
fn reply(port: RpcReplyPort<Reply>, reply: Reply) {
    let _ = port.send(reply);
}
