//! The way of one request: asks the tenant actor, waits for the provider's grant, calls, fails over, answers.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::fault::{Blame, Failover, Fault, Retry, cool_down};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::ledger::Outcome;
use aipipe_actors::provider::{Grant, Refusal as ProviderRefusal, Ticket};
use aipipe_actors::routing::decision::{Decision, Reason};
use aipipe_actors::routing::evidence::Verdict;
use aipipe_actors::runtime::CallError;
use aipipe_actors::tenant::answers::{AnswerKey, CachedAnswer};
use aipipe_actors::tenant::cooling::CoolDown;
use aipipe_actors::tenant::flight::{Follower, Landing, Leader};
use aipipe_actors::tenant::{Denial, Dispatch, Message, Passed, Question, Reply, Stage};
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout_at};

use super::answered::{AnswerBody, Answered, JSON, answered, explanation, frame, hit};
use super::attempt::{Attempt, Patience, Whole};
use super::buffers::Body;
use super::course::{Arrival, Course};
use super::drain::Presence;
use super::failure::Failure;
use super::outgoing::{Outbound, Unfit};
use super::prepare::{self, Label};
use super::refusal::Refusal;
use super::relay::Relay;
use super::tenants::{Live, TenantError};
use super::{Gateway, Setup};
use crate::dialects::client::{Addressed, annotate};
use crate::dialects::conversation::Stop;
use crate::dialects::surface;
use crate::telemetry::traces::RequestSpan;

/// Shortest and longest wait before the same model is asked again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// The longest wait that a provider may ask for and still be asked again within the same request.
const LONGEST_RETRY_WAIT: Duration = Duration::from_secs(2);

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
        let request = surface.scan(&body, &addressed)?;
        let along = label.along.clone();
        let holdings = self.holdings(&tenant, request.facts()).await?;
        let digest = Arc::new(prepare::digest(&*request, label, &setup, &self.prompt_hasher, &holdings)?);
        let total = setup.config.reliability.total_timeout;
        let limit = digest.preferences.timeout.map_or(total, |timeout| timeout.min(total));
        let ends = arrival.instant + limit;
        let journey = Journey {
            gateway: self,
            tenant: &tenant,
            // A whole answer begins when it is whole; a stream that has begun may take its time.
            deadline: sdk_timeout.map_or(ends, |wait| ends.min(arrival.instant + wait.min(limit))),
            ends,
            setup: &setup,
            outbound: Outbound::new(surface, &*request, &digest, along, holdings),
            passed: Vec::new(),
            failure: None,
            has_repeated: false,
            leader: None,
        };
        let course = Course::new(self.clone(), tenant.clone(), digest.clone(), arrival, (presence, held));
        journey.travel(course.traced(span)).await
    }
}

pub(super) fn refused_call(tenant: &Live, error: CallError) -> Refusal {
    match error {
        _ if tenant.is_removed() => Refusal::tenant(&TenantError::Unknown),
        CallError::Full => Refusal::tenant_overloaded(),
        CallError::Unavailable => Refusal::unavailable("the tenant's actor does not answer; it is being restarted"),
    }
}

/// What is known of a request on its way.
struct Journey<'a> {
    gateway: &'a Arc<Gateway>,
    tenant: &'a Arc<Live>,
    setup: &'a Setup,
    /// By when the answer must have begun.
    deadline: Instant,
    /// When a stream that has begun must have ended.
    ends: Instant,
    outbound: Outbound<'a>,
    /// Models that failed or refused already.
    passed: Vec<Passed>,
    /// What the client is told if nothing else comes of it: the provider's refusal of the request itself, or the last failure.
    failure: Option<Refused>,
    /// Whether a model was asked a second time.
    has_repeated: bool,
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

impl Journey<'_> {
    async fn travel(mut self, course: Course) -> Result<Answered, Refusal> {
        let mut course = Some(course);
        let result = self.advance(&mut course).await;
        if let (Err(refusal), Some(course)) = (&result, &mut course) {
            let shared = self
                .failure
                .as_ref()
                .is_some_and(|refused| matches!(refused, Refused::Failed(failure) if failure.is_about_the_request()));
            if let Some(leader) = self.leader.take().filter(|_| shared) {
                leader.land(Landing::Refused(Arc::new(refusal.shared())));
            }
            if course.calls() == 0 {
                self.gateway.meters.rejected(Some(&self.tenant.id));
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
            let turn = match self.ask(travelling, stage).await? {
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

    async fn ask(&self, course: &Course, stage: Stage) -> Result<Reply, Refusal> {
        if self.tenant.is_removed() {
            // Who asks its actor would wait for a successor that never comes.
            return Err(Refusal::tenant(&TenantError::Unknown));
        }
        let question = Question { digest: course.digest().clone(), stage, passed: self.passed.clone().into() };
        let reply = self.tenant.address.call(self.deadline, |port| Message::Choose(question.clone(), port)).await;
        reply.map_err(|error| match error {
            _ if Instant::now() >= self.deadline => Refusal::timed_out(),
            error => refused_call(self.tenant, error),
        })
    }

    /// Nothing else can be chosen: the request ends, unless the model that failed may be asked once more.
    async fn denied(&mut self, denial: Denial, course: &Course) -> Result<Stage, Refusal> {
        let before = self.passed.len();
        self.passed.retain(|passed| passed.model.is_some() || passed.reason != Reason::Excluded);
        if self.passed.len() < before {
            // No other provider is left: the other models of one that failed are better than nothing.
            return Ok(Stage::Failover);
        }
        if let Some(stage) = self.repeat(course).await {
            return Ok(stage);
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
                    let wait = self.tenant.estate.cooling.of(&candidate.provider, &candidate.model, now);
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

    /// Lets the model that failed last be asked again, once, after a short wait, where its fault may have passed by then.
    async fn repeat(&mut self, course: &Course) -> Option<Stage> {
        let Some(Refused::Failed(failure)) = &self.failure else { return None };
        let spent = course.calls() >= self.setup.config.reliability.max_attempts.get() as usize;
        let asked = failure.retry_after.unwrap_or_default();
        if self.has_repeated || spent || failure.fault.consequence().retry != Retry::Once || asked > LONGEST_RETRY_WAIT
        {
            return None;
        }
        let (shortest, longest) = RETRY_WAIT;
        let wait = asked.max(shortest + (longest - shortest).mul_f64(fastrand::f64()));
        if Instant::now() + wait >= self.deadline {
            return None;
        }
        self.has_repeated = true;
        let model = failure.model.clone();
        self.passed.retain(|passed| passed.model.as_ref() != Some(&model.id) || passed.provider != model.provider);
        sleep(wait).await;
        Some(Stage::Failover)
    }

    /// Waits for another request's answer; `None` where that never comes.
    async fn follow(&self, follower: Follower, course: &mut Course) -> Result<Option<Answered>, Refusal> {
        match timeout_at(self.deadline, follower.landing()).await {
            Err(_) => Err(Refusal::timed_out()),
            Ok(Landing::Answered(answer)) => self.hit(&answer, course).map(Some),
            Ok(Landing::Refused(refusal)) => Err(Refusal::from(&*refusal)),
            Ok(Landing::Abandoned) => Ok(None),
        }
    }

    /// An answer that another request paid for.
    fn hit(&self, answer: &CachedAnswer, course: &mut Course) -> Result<Answered, Refusal> {
        self.remember(course, &answer.provider, &answer.model);
        hit(answer, course)
    }

    /// Notes the model that answers, for the next turn of the conversation.
    fn remember(&self, course: &Course, provider: &ProviderId, model: &ModelId) {
        let (digest, pins) = (course.digest(), &self.tenant.estate.pins);
        let again = pins.asked_again(&digest.turn, course.arrival().instant).filter(|_| course.calls() > 0);
        if let Some((provider, model)) = again {
            course.learn((&provider, &model), Verdict::AskedAgain);
        }
        pins.note(&digest.turn, (provider, model), digest.input_tokens, self.gateway.clock.now(), Instant::now());
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
        let pass_over = |journey: &mut Self, reason: Reason| {
            let (provider, model) = (model.provider.clone(), Some(model.id.clone()));
            journey.passed.push(Passed { provider, model, reason });
        };
        let ticket = match self.ticket(grant).await? {
            Ok(ticket) => ticket,
            Err(ProviderRefusal::CircuitOpen) => {
                pass_over(self, Reason::CircuitOpen);
                return Ok(Turn::Ask(Stage::Failover));
            }
            Err(ProviderRefusal::QueueFull) => {
                pass_over(self, Reason::Overloaded);
                return Ok(Turn::Ask(Stage::Failover));
            }
        };
        if Instant::now() >= self.deadline {
            // Its turn came too late.
            return Err(Refusal::timed_out());
        }
        let Some(upstream) = self.setup.upstreams.get(&model.provider) else {
            // Switched off by a reload since the choice.
            pass_over(self, Reason::Disabled);
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
                pass_over(self, reason);
                self.failure.get_or_insert(Refused::Unfit(refusal));
                return Ok(Turn::Ask(Stage::Failover));
            }
        };
        travelling.begin(model.clone(), reservation, ticket)?;
        let is_stream = travelling.digest().stream;
        let mut attempt = Attempt {
            client: &self.gateway.client,
            upstream,
            key: self.tenant.key(&model.provider),
            patience: Patience::new(&self.setup.config.reliability, &model, is_stream, self.deadline),
            model,
            surface: self.outbound.surface,
            request: self.outbound.request,
            frame: frame(travelling),
        };
        let dropped = outgoing.dropped.join(", ");
        let failure = if is_stream {
            match attempt.stream(outgoing, travelling).await {
                Ok(stream) => {
                    let Some(mut course) = course.take() else {
                        return Err(Refusal::unavailable("the request was lost on its way"));
                    };
                    course.forget_body();
                    self.remember(&course, &attempt.model.provider, &attempt.model.id);
                    let mut answered = answered(&course, &attempt, dropped);
                    let event = explanation(&course).and_then(|explanation| {
                        let model = attempt.model.id.as_str();
                        attempt.surface.explanation_event(&attempt.frame, model, &explanation)
                    });
                    attempt.patience.deadline = self.ends;
                    let mut relay = Relay::new(stream, course, &attempt);
                    if let Some(event) = event {
                        relay.precede(event);
                    }
                    answered.body = AnswerBody::Stream(Box::new(relay));
                    return Ok(Turn::Answered(Box::new(answered)));
                }
                Err(failure) => failure,
            }
        } else {
            match attempt.whole(outgoing, travelling).await {
                Ok(whole) => {
                    let answered = self.deliver(whole, travelling, &attempt, Kept { dropped, epoch });
                    return Ok(Turn::Answered(Box::new(answered)));
                }
                Err(failure) => failure,
            }
        };
        self.failed(failure, travelling).await.map(Turn::Ask)
    }

    /// A request that cannot be said in other words goes to nobody who would need them.
    fn pass_over_translations(&mut self, reason: &Reason) {
        let surface = self.outbound.surface;
        let others =
            self.setup.upstreams.iter().filter(|(_, upstream)| !surface.is_spoken_by(&upstream.config.profile));
        let passed = others.map(|(id, _)| Passed { provider: id.clone(), model: None, reason: reason.clone() });
        self.passed.extend(passed);
    }

    /// Waits for the provider's place.
    async fn ticket(&self, grant: Grant) -> Result<Result<Ticket, ProviderRefusal>, Refusal> {
        match grant {
            Grant::Granted(ticket) => Ok(Ok(ticket)),
            Grant::Refused(refusal) => Ok(Err(refusal)),
            Grant::Waiting(wait) => timeout_at(self.deadline, wait.turn()).await.map_err(|_| Refusal::timed_out()),
        }
    }

    /// An attempt failed: what follows from its class.
    async fn failed(&mut self, failure: Failure, course: &mut Course) -> Result<Stage, Refusal> {
        course.fail(&failure);
        let consequence = failure.fault.consequence();
        let (provider, model) = (failure.model.provider.clone(), failure.model.id.clone());
        let cooled = match consequence.blame {
            Blame::Key => Some(None),
            Blame::KeyAndModel => Some(Some(model.clone())),
            Blame::Nobody | Blame::Model | Blame::Provider => None,
        };
        if let Some(cooled) = cooled {
            let until = Instant::now() + cool_down(failure.fault, failure.retry_after);
            let wait = CoolDown { until, fault: failure.fault };
            self.tenant.estate.cooling.wait(provider.clone(), cooled, wait);
        }
        if consequence.failover == Failover::Provider {
            self.passed.push(Passed { provider: provider.clone(), model: None, reason: Reason::Excluded });
        }
        self.passed.push(Passed { provider, model: Some(model), reason: Reason::Excluded });
        // A body of too many bytes (413) says nothing of tokens.
        if failure.fault == Fault::ContextLength && failure.status != Some(StatusCode::PAYLOAD_TOO_LARGE) {
            self.pass_over_smaller(&failure.model, course);
        }
        let is_last = course.calls() >= self.setup.config.reliability.max_attempts.get() as usize
            || consequence.failover == Failover::No
            || Instant::now() >= self.deadline;
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

    /// What does not fit into one model's context goes to none that has no more room.
    fn pass_over_smaller(&mut self, full: &Model, course: &Course) {
        let Some(decision) = course.decision() else { return };
        let catalogue = self.gateway.catalogue();
        let eligible = decision.candidates.iter().filter(|candidate| candidate.reason.is_none());
        let models = eligible.filter_map(|one| catalogue.at_provider(one.provider.as_str(), one.model.as_str()));
        self.passed.extend(models.filter(|model| model.room() <= full.room()).map(|model| Passed {
            provider: model.provider.clone(),
            model: Some(model.id.clone()),
            reason: Reason::ContextLength,
        }));
    }

    /// A whole answer has come: settles, keeps and shares it.
    fn deliver(&mut self, whole: Whole, course: &mut Course, attempt: &Attempt<'_>, kept: Kept) -> Answered {
        course.succeed(&attempt.request.form(std::str::from_utf8(&whole.body).unwrap_or_default()));
        self.remember(course, &attempt.model.provider, &attempt.model.id);
        let mut answered = answered(course, attempt, kept.dropped);
        let tokens = course.answered_tokens();
        let cost = course.settle(Outcome::Ok);
        answered.cost = Some(cost);
        let priced = attempt.model.rates.map(|_| cost);
        let explanation = explanation(course);
        let Whole { body, facts } = whole;
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
                self.tenant.estate.answers.put(kept.epoch, key, answer.clone(), Instant::now());
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
