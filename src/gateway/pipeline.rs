//! The way of one request: asks the tenant actor, waits for the provider's grant, calls, fails over, answers.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::fault::{Failover, Fault};
use aipipe_actors::identity::ProviderId;
use aipipe_actors::ledger::Outcome;
use aipipe_actors::routing::decision::{Decision, Reason};
use aipipe_actors::routing::preferences::OnBreak;
use aipipe_actors::tenant::answers::{AnswerKey, CachedAnswer};
use aipipe_actors::tenant::flight::{Follower, Landing, Leader};
use aipipe_actors::tenant::{Denial, Dispatch, Passed, Reply, Stage};
use tokio::time::{Instant, timeout_at};

use super::answered::{AnswerBody, Answered, JSON, answered, explanation, frame, hit};
use super::attempt::{Attempt, Client, OpenStream, Patience, Whole};
use super::buffers::Body;
use super::course::{Arrival, Course, Permit};
use super::drain::Presence;
use super::failure::Failure;
use super::hedge::{Raced, Runner};
use super::outgoing::{Outbound, Unfit};
use super::overheard;
use super::prepare::{self, Label};
use super::refusal::Refusal;
use super::relay::Relay;
use super::rescue::Rescue;
use super::search::Search;
use super::shadow::Understudy;
use super::tenants::Live;
use super::{Gateway, Setup};
use crate::dialects::client::{Addressed, annotate};
use crate::dialects::conversation::Stop;
use crate::dialects::form::Form;
use crate::dialects::surface;
use crate::telemetry::traces::RequestSpan;

/// A request as it came in.
pub struct Inbound<'a> {
    /// Its id, its dialect, and what its headers ask of the choice.
    pub label: Label,
    /// When it came.
    pub arrival: Arrival,
    /// Whose it is.
    pub tenant: Arc<Live>,
    /// What its address says of it.
    pub addressed: Addressed<'a>,
    /// How long the client's SDK waits for the answer to begin.
    pub sdk_timeout: Option<Duration>,
    /// Its body.
    pub body: Body,
    /// It is under way.
    pub presence: Presence,
    /// Its span, where traces are made.
    pub span: Option<Arc<RequestSpan>>,
}

impl Gateway {
    /// Answers a request.
    ///
    /// # Errors
    /// [`Refusal`]: what the client is told instead.
    pub async fn answer(self: &Arc<Self>, inbound: Inbound<'_>) -> Result<Answered, Refusal> {
        let Inbound { label, arrival, tenant, addressed, sdk_timeout, body, presence, span } = inbound;
        let Body { bytes: body, held } = body;
        let setup = self.setup.load_full();
        let surface = surface(label.dialect);
        let rejected = |refusal| {
            self.meters.rejected(Some(&tenant.id));
            refusal
        };
        let request = surface.scan(&body, &addressed).map_err(Refusal::from).map_err(rejected)?;
        if let Some(span) = &span
            && setup.config.telemetry.content
            && tenant.estate.policy.load().telemetry_content
        {
            span.keep_content(|| request.decode().ok().map(|decoded| decoded.conversation));
        }
        let along = label.along.clone();
        let holdings = self.holdings(&tenant, request.facts()).await.map_err(rejected)?;
        let digest = prepare::digest(&*request, label, &setup, &self.prompt_hasher, &holdings).map_err(rejected)?;
        let digest = Arc::new(digest);
        let understudy = Understudy::of(&tenant, &digest, &*request, &body, &addressed);
        let rehearsal = understudy.as_ref().map(|understudy| understudy.rehearsal().clone());
        let total = setup.config.reliability.total_timeout;
        let limit = digest.preferences.timeout.map_or(total, |timeout| timeout.min(total));
        let ends = arrival.instant + limit;
        let mut journey = Journey {
            // A whole answer begins when it is whole; a stream that has begun may take its time.
            gateway: self,
            search: Search::new(
                self.clone(),
                tenant.clone(),
                setup.clone(),
                sdk_timeout.map_or(ends, |wait| ends.min(arrival.instant + wait.min(limit))),
            ),
            ends,
            setup: &setup,
            outbound: Outbound::new(surface, &*request, &digest, along, holdings),
            failure: None,
            leader: None,
        };
        journey.search.rehearsal.clone_from(&rehearsal);
        let course = Course::new(self.clone(), tenant.clone(), digest.clone(), arrival, (presence, held));
        let result = journey.travel(&mut Some(course.traced(span).rehearsed(rehearsal))).await;
        if let (Some(understudy), Ok(answered)) = (understudy, &result) {
            understudy.go_on(self, &tenant, answered);
        }
        result
    }
}

/// What is known of a request on its way.
pub(super) struct Journey<'a> {
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) search: Search,
    pub(super) setup: &'a Setup,
    /// When a stream that has begun must have ended.
    ends: Instant,
    pub(super) outbound: Outbound<'a>,
    /// What the client is told if nothing else comes of it: the provider's refusal of the request itself, or the last failure.
    failure: Option<Refused>,
    /// Others wait for this answer.
    leader: Option<Leader>,
}

/// The reason to give up, if it comes to that.
enum Refused {
    /// A model's dialect has no words for a field.
    Unfit(Refusal),
    /// An attempt failed.
    Failed(Failure),
}

/// What one reply led to.
enum Turn {
    /// An answer.
    Answered(Box<Answered>),
    /// Ask again, so.
    Ask(Stage),
}

impl<'a> Journey<'a> {
    async fn travel(&mut self, course: &mut Option<Course>) -> Result<Answered, Refusal> {
        let result = self.advance(course).await;
        if let (Err(refusal), Some(course)) = (&result, course) {
            // What a provider says of the request itself holds for everybody who sent the same; what stopped this one else does not.
            let shared = matches!(&self.failure, Some(Refused::Failed(failure))
                if failure.is_about_the_request() && *refusal == Refusal::failed(failure));
            if let Some(leader) = self.leader.take().filter(|_| shared) {
                leader.land(Landing::Refused(Arc::new(refusal.shared())));
            }
            if course.calls() == 0 {
                self.gateway.meters.rejected(Some(&self.search.tenant.id));
            }
            course.settle(Outcome::Failed);
        }
        result
    }

    /// Asks and acts on the reply until there is an answer or nothing is left to try.
    async fn advance(&mut self, course: &mut Option<Course>) -> Result<Answered, Refusal> {
        let mut stage = Stage::First;
        let mut abandoned = 0;
        loop {
            let Some(travelling) = course.as_mut() else {
                return Err(Refusal::unavailable("the request was lost on its way"));
            };
            let turn = match self.search.ask(travelling.digest(), stage).await? {
                Reply::Denied(denial) => Turn::Ask(self.denied(denial, travelling).await?),
                Reply::Cached(answer, shown) => {
                    travelling.decided(shown.decision, shown.admission);
                    Turn::Answered(Box::new(self.hit(&answer, travelling)?))
                }
                Reply::Follow(follower, shown) => {
                    travelling.decided(shown.decision, shown.admission);
                    match self.follow(follower, travelling).await? {
                        Some(answered) => Turn::Answered(Box::new(answered)),
                        None => {
                            abandoned += 1;
                            Turn::Ask(if abandoned == 1 { Stage::Again } else { Stage::Alone })
                        }
                    }
                }
                Reply::Dispatch(dispatch) => self.dispatched(*dispatch, course).await?,
            };
            match turn {
                Turn::Answered(answered) => return Ok(*answered),
                Turn::Ask(next) => stage = next,
            }
        }
    }

    /// Nothing else can be chosen: the request ends, unless the model that failed may be asked once more.
    async fn denied(&mut self, denial: Denial, course: &Course) -> Result<Stage, Refusal> {
        if self.search.readmit_providers() {
            return Ok(Stage::Failover);
        }
        if let Some(Refused::Failed(failure)) = &self.failure
            && self.search.repeat(failure, course.calls()).await
        {
            return Ok(Stage::Failover);
        }
        Err(match (self.failure.as_ref(), denial) {
            (Some(Refused::Failed(failure)), _) => Refusal::failed(failure),
            (_, Denial::Limit(reached)) => Refusal::limited(reached),
            (_, Denial::Budget(over)) => Refusal::over_budget(&over),
            (Some(Refused::Unfit(refusal)), _) => refusal.clone(),
            (None, Denial::NoCandidate(decision)) => self
                .out_of_reach(&decision)
                .unwrap_or_else(|| Refusal::no_candidate(&decision, &course.digest().requested)),
        })
    }

    /// Where what could serve is only out of reach for a while: what is waited for, and how long.
    fn out_of_reach(&self, decision: &Decision) -> Option<Refusal> {
        let now = Instant::now();
        let providers = self.gateway.world.providers.load();
        let mut soonest: Option<(Instant, Option<(&ProviderId, Fault)>)> = None;
        for candidate in &decision.candidates {
            let wait = match candidate.reason {
                Some(Reason::CoolingDown) => {
                    let wait = self.search.tenant.estate.cooling.of(&candidate.provider, &candidate.model, now);
                    wait.map(|wait| (wait.until, Some((&candidate.provider, wait.fault))))
                }
                Some(Reason::CircuitOpen) => providers
                    .get(&candidate.provider)
                    .and_then(|(provider, _)| Some((provider.snapshot().open_until(&candidate.model, now)?, None))),
                _ => None,
            };
            if let Some(wait) = wait.filter(|wait| soonest.is_none_or(|soonest| wait.0 < soonest.0)) {
                soonest = Some(wait);
            }
        }
        let (until, fault) = soonest?;
        let refusal = match fault {
            Some((provider, fault)) => Refusal::cooling(provider, fault),
            None => Refusal::unreachable(decision),
        };
        Some(Refusal { retry_after: Some(until - now), ..refusal })
    }

    /// Waits for another request's answer; `None` where that never comes.
    async fn follow(&self, follower: Follower, course: &mut Course) -> Result<Option<Answered>, Refusal> {
        match timeout_at(self.search.deadline, follower.landing()).await {
            Err(_) => Err(Refusal::timed_out()),
            Ok(Landing::Answered(answer)) => self.hit(&answer, course).map(Some),
            Ok(Landing::Refused(refusal)) => Err(Refusal::from(&*refusal)),
            Ok(Landing::Abandoned) => Ok(None),
        }
    }

    /// An answer that another request paid for.
    fn hit(&self, answer: &CachedAnswer, course: &mut Course) -> Result<Answered, Refusal> {
        self.search.remember(course, &answer.provider, &answer.model);
        hit(answer, course)
    }

    /// A provider has spoken to the choice.
    async fn dispatched(&mut self, dispatch: Dispatch, course: &mut Option<Course>) -> Result<Turn, Refusal> {
        let Dispatch { model, shown, reservation, leader, epoch, grant } = dispatch;
        let Some(travelling) = course.as_mut() else {
            return Err(Refusal::unavailable("the request was lost on its way"));
        };
        travelling.decided(shown.decision, shown.admission);
        if leader.is_some() {
            self.leader = leader;
        }
        let ticket = match self.search.ticket(grant).await? {
            Ok(ticket) => ticket,
            Err(reason) => {
                self.search.pass_over(&model, reason);
                return Ok(Turn::Ask(Stage::Failover));
            }
        };
        if Instant::now() >= self.search.deadline {
            // Its turn came too late.
            return Err(Refusal::timed_out());
        }
        let (gateway, setup) = (self.gateway, self.setup);
        let Some(upstream) = setup.upstreams.get(&model.provider) else {
            // Switched off by a reload since the choice.
            self.search.pass_over(&model, Reason::Disabled);
            return Ok(Turn::Ask(Stage::Failover));
        };
        let outgoing = match self.outbound.write(&model, upstream) {
            Ok(outgoing) => outgoing,
            Err(unfit) => {
                let cannot_be_said = matches!(unfit, Unfit::Invalid(_));
                let (reason, refusal) = unfit_reason(unfit);
                if cannot_be_said {
                    self.pass_over_translations(&reason);
                }
                self.search.pass_over(&model, reason);
                self.failure.get_or_insert(Refused::Unfit(refusal));
                return Ok(Turn::Ask(Stage::Failover));
            }
        };
        let patience = self.patience(&model, travelling);
        let input_tokens = travelling.digest().demand.input_tokens;
        let permit = Permit { model: model.clone(), reservation, ticket, input_tokens, role: None };
        let meter = travelling.begin(permit)?;
        let attempt = Attempt {
            http: &gateway.client,
            upstream,
            key: self.search.tenant.key(&model.provider),
            patience,
            model,
            meter,
        };
        let client = Client {
            surface: self.outbound.surface,
            request: self.outbound.request,
            frame: frame(travelling),
            watched: self.on_break(travelling) == OnBreak::Continue,
        };
        let dropped = outgoing.dropped.join(", ");
        let (meter, failure) = if travelling.digest().demand.stream {
            let Raced { runner, began } = self.race(Runner { attempt, dropped }, outgoing, &client, travelling).await;
            match began {
                Ok(stream) => {
                    let Some(course) = course.take() else {
                        return Err(Refusal::unavailable("the request was lost on its way"));
                    };
                    return Ok(Turn::Answered(Box::new(self.relay(stream, course, runner, &client))));
                }
                Err(failure) => (runner.attempt.meter, failure),
            }
        } else {
            match attempt.whole(outgoing, &client).await {
                Ok(whole) => {
                    let answered = self.deliver(whole, travelling, &attempt, Kept { dropped, epoch });
                    return Ok(Turn::Answered(Box::new(answered)));
                }
                Err(failure) => (attempt.meter, failure),
            }
        };
        travelling.fail(&meter, &failure);
        self.failed(failure, travelling).map(Turn::Ask)
    }

    /// A request that cannot be said in other words goes to nobody who would need them.
    fn pass_over_translations(&mut self, reason: &Reason) {
        let surface = self.outbound.surface;
        let others =
            self.setup.upstreams.iter().filter(|(_, upstream)| !surface.is_spoken_by(&upstream.config.profile));
        let passed = others.map(|(id, _)| Passed { provider: id.clone(), model: None, reason: reason.clone() });
        self.search.passed.extend(passed);
    }

    /// What becomes of a stream of this request that breaks.
    fn on_break(&self, course: &Course) -> OnBreak {
        let digest = course.digest();
        match digest.preferences.on_break.unwrap_or(self.setup.config.reliability.on_break) {
            OnBreak::Continue if digest.demand.stream => OnBreak::Continue,
            _ => OnBreak::Error,
        }
    }

    /// How long the model that was just chosen may take.
    fn patience(&self, model: &Model, course: &Course) -> Patience {
        let is_stream = course.digest().demand.stream;
        let patience = Patience::new(&self.setup.config.reliability, model, is_stream, self.search.deadline);
        if !patience.is_cut_short() {
            // Nearly always: nobody's usual time need be looked up.
            return patience;
        }
        let providers = self.gateway.world.providers.load();
        let usual = providers.get(&model.provider).and_then(|(provider, _)| provider.snapshot().usual(&model.id));
        let usual = usual.and_then(|usual| if is_stream { usual.ttft } else { Some(usual.latency) });
        let turns = self.search.turns(course.decision(), course.calls());
        patience.shared(turns, usual)
    }

    /// A stream has begun: the client gets it as it comes.
    fn relay(&mut self, stream: OpenStream, mut course: Course, runner: Runner<'_>, client: &Client<'_>) -> Answered {
        let Runner { mut attempt, dropped } = runner;
        let mut answered = answered(&course, &attempt, dropped);
        self.search.remember(&course, &attempt.model.provider, &attempt.model.id);
        let event = explanation(&course).and_then(|explanation| {
            let model = attempt.model.id.as_str();
            client.surface.explanation_event(&client.frame, model, &explanation)
        });
        attempt.patience.deadline = self.ends;
        let rescue = (client.watched && !stream.is_whole).then(|| {
            let mut search = self.search.clone();
            search.deadline = self.ends;
            Rescue::prepare(search, &mut self.outbound)
        });
        let rescue = rescue.flatten();
        if rescue.is_none() {
            course.forget_body();
        }
        let mut relay = Relay::new(stream, course, &attempt, client.surface, rescue);
        if let Some(event) = event {
            relay.precede(event);
        }
        answered.body = AnswerBody::Stream(Box::new(relay));
        answered
    }

    /// An attempt failed: what follows from its class.
    pub(super) fn failed(&mut self, failure: Failure, course: &Course) -> Result<Stage, Refusal> {
        self.search.failed(&failure);
        self.search.pass_over_smaller(&failure, course.decision());
        let is_last = self.search.is_spent(course.calls())
            || failure.fault.consequence().failover == Failover::No
            || Instant::now() >= self.search.deadline;
        // What the client itself got wrong is worth more to it than what went wrong afterwards elsewhere.
        let keeps = matches!(&self.failure, Some(Refused::Failed(earlier)) if earlier.is_about_the_request());
        if !keeps || failure.fault == Fault::ClientDeadline {
            self.failure = Some(Refused::Failed(failure));
        }
        match &self.failure {
            Some(Refused::Failed(failure)) if is_last => Err(Refusal::failed(failure)),
            _ => Ok(Stage::Failover),
        }
    }

    /// A whole answer has come: settles, keeps and shares it.
    fn deliver(&mut self, whole: Whole, course: &mut Course, attempt: &Attempt<'_>, kept: Kept) -> Answered {
        let request = self.outbound.request;
        let is_watched = Form::of(request.facts()).is_watching();
        let watched = if is_watched { std::str::from_utf8(&whole.body).unwrap_or_default() } else { "" };
        let form = request.form(watched);
        course.succeed(&attempt.meter, &form);
        self.search.remember(course, &attempt.model.provider, &attempt.model.id);
        let mut answered = answered(course, attempt, kept.dropped);
        let tokens = course.answered_tokens();
        let cost = course.settle(Outcome::Ok);
        answered.cost = Some(cost);
        let priced = attempt.model.rates.map(|_| cost);
        let explanation = explanation(course);
        let Whole { body, facts } = whole;
        if let Some(span) = course.confidant() {
            overheard::whole(span, course.digest().dialect, &body);
        }
        let bytes = annotate(&body, &facts, priced, explanation.as_deref());
        let leader = self.leader.take();
        let is_final = facts.is_whole && matches!(facts.stop, Stop::End | Stop::ToolUse | Stop::Sequence);
        let digest = course.digest();
        let keeps = is_final && digest.cache_key.is_some();
        if keeps || leader.as_ref().is_some_and(Leader::is_followed) {
            let answer = Arc::new(CachedAnswer {
                body: Box::from(&body[..]),
                content_type: JSON.to_owned(),
                provider: attempt.model.provider.clone(),
                model: attempt.model.id.clone(),
                tokens,
                dropped: answered.dropped.clone(),
            });
            if let (true, Some(prompt)) = (keeps, digest.cache_key) {
                let key =
                    AnswerKey { provider: attempt.model.provider.clone(), model: attempt.model.id.clone(), prompt };
                self.search.tenant.estate.answers.put(kept.epoch, key, answer.clone(), Instant::now());
            }
            if let Some(leader) = leader {
                leader.land(Landing::Answered(answer));
            }
        }
        answered.body = AnswerBody::Whole { bytes, content_type: JSON.to_owned() };
        answered
    }
}

/// What goes along with an answer that is kept.
struct Kept {
    dropped: String,
    epoch: u64,
}

/// What a model that cannot be asked is passed over for, and what the client is told if none is left.
fn unfit_reason(unfit: Unfit) -> (Reason, Refusal) {
    match unfit {
        Unfit::Cannot(cannot) => {
            let refusal = Refusal::invalid(
                Some(&cannot.field),
                format!("no model left can honour `{}`: {}", cannot.field, cannot.reason),
            );
            (Reason::parameter(&cannot.field), refusal)
        }
        Unfit::Invalid(invalid) => {
            let field = invalid.param.clone().unwrap_or_else(|| "messages".to_owned());
            (Reason::parameter(&field), Refusal::from(invalid))
        }
        Unfit::Address(broken) => {
            tracing::error!(message = broken.message, "a provider cannot be called");
            (Reason::Disabled, Refusal::unavailable(broken.message))
        }
    }
}
