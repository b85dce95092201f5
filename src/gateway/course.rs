//! The course of one request, from its arrival to its settlement: what it holds, what it used, and that it ends exactly once.
//!
//! A course is a guard. However its request ends (answer, error, panic, the client gone in mid-stream), dropping it settles what was
//! dispatched at what was counted until then, gives back what was only held, and tells health, metrics and the log. The row is in the
//! journal before the first byte goes upstream.

mod hit;

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::{Capability, Model};
use aipipe_actors::fault::{Blame, Fault, cool_down};
use aipipe_actors::identity::{ModelId, ProviderId, RequestId};
use aipipe_actors::ledger::{Attempt, CacheUse, Closing, Issued, LedgerUnavailable, Opening, Outcome, Raise, Role};
use aipipe_actors::money::{NanoUsd, Rates, Tokens};
use aipipe_actors::provider::health::CallReport;
use aipipe_actors::provider::{self, Ticket};
use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::digest::Digest;
use aipipe_actors::routing::evidence::Verdict;
use aipipe_actors::tenant::account::{Admission, Reservation};
use aipipe_actors::tenant::cooling::CoolDown;
use aipipe_actors::tenant::hedging::Allowed;
use aipipe_actors::tenant::shadow::Rehearsal;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Gateway;
use super::buffers::Held;
use super::drain::Presence;
use super::failure::Failure;
use super::lessons::verdict;
use super::meter::{Meter, Spent};
use super::refusal::Refusal;
use super::tenants::Live;
use super::told::{self, End};
use crate::dialects::conversation::Stop;
use crate::dialects::form::Form;
use crate::dialects::scrub::name;
use crate::telemetry::traces::{self, RequestSpan};

/// When a request came, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock: the budget period that it counts in.
    pub at: Timestamp,
}

/// One upstream call under way.
struct Call {
    meter: Meter,
    /// Why it is made beside or after others, if it is.
    role: Option<Role>,
    /// The right to the call: its place at the provider is free again when the call ends.
    _ticket: Ticket,
}

/// A call that may be made: all that it holds.
pub struct Permit {
    /// The model.
    pub model: Arc<Model>,
    /// The money for it.
    pub reservation: Reservation,
    /// Its place at the provider.
    pub ticket: Ticket,
    /// The input that it sends, in o200k tokens.
    pub input_tokens: u64,
    /// Why it is made beside or after others, if it is.
    pub role: Option<Role>,
}

/// The course of one request.
pub struct Course {
    gateway: Arc<Gateway>,
    tenant: Arc<Live>,
    digest: Arc<Digest>,
    arrival: Arrival,
    decision: Option<Arc<Decision>>,
    cache: CacheUse,
    /// Whether the journal has the request.
    is_open: bool,
    held: Option<Reservation>,
    calls: Vec<Call>,
    attempts: Vec<Attempt>,
    spent: Spent,
    ttft: Option<Duration>,
    admission: Option<Admission>,
    /// The expected cost of a hedge.
    hedge: Option<Allowed>,
    /// What is in memory for it, answers apart.
    buffered: Held,
    /// Its span, where traces are made.
    span: Option<Arc<RequestSpan>>,
    /// Where the worth of its answer is told, where that may be held against another's.
    rehearsal: Option<Arc<Rehearsal>>,
    /// The client's request that it repeats for a second policy, where it does: then it teaches nothing, and is no request of a client's.
    shadow_of: Option<RequestId>,
    _presence: Presence,
}

impl Course {
    /// A request that has arrived and holds nothing yet.
    pub fn new(
        gateway: Arc<Gateway>,
        tenant: Arc<Live>,
        digest: Arc<Digest>,
        arrival: Arrival,
        (presence, buffered): (Presence, Held),
    ) -> Self {
        Self {
            gateway,
            tenant,
            cache: if digest.cache_key.is_some() { CacheUse::Miss } else { CacheUse::Off },
            digest,
            arrival,
            decision: None,
            is_open: false,
            held: None,
            calls: Vec::new(),
            attempts: Vec::new(),
            spent: Spent::default(),
            ttft: None,
            admission: None,
            hedge: None,
            buffered,
            span: None,
            rehearsal: None,
            shadow_of: None,
            _presence: presence,
        }
    }

    /// It repeats a client's request for a second policy.
    pub fn repeats(&mut self, request: RequestId) {
        self.shadow_of = Some(request);
    }

    /// With where the worth of its answer is told.
    pub fn rehearsed(mut self, rehearsal: Option<Arc<Rehearsal>>) -> Self {
        self.rehearsal = rehearsal;
        self
    }

    /// With the span that tells of it.
    pub fn traced(mut self, span: Option<Arc<RequestSpan>>) -> Self {
        if let Some(span) = &span {
            span.scanned(&self.digest);
        }
        self.span = span;
        self
    }

    /// Its span, where what is said is kept there.
    pub fn confidant(&self) -> Option<&Arc<RequestSpan>> {
        self.span.as_ref().filter(|span| span.keeps_content())
    }

    /// The request.
    pub fn digest(&self) -> &Arc<Digest> {
        &self.digest
    }

    /// When it came.
    pub fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// The last decision.
    pub fn decision(&self) -> Option<&Arc<Decision>> {
        self.decision.as_ref()
    }

    /// What the cache has to do with it.
    pub fn cache(&self) -> CacheUse {
        self.cache
    }

    /// Upstream calls so far, those under way included.
    pub fn calls(&self) -> usize {
        self.attempts.len() + self.calls.len()
    }

    /// The tenant let it in; later decisions come without an admission.
    pub fn decided(&mut self, decision: Arc<Decision>, admission: Option<Admission>) {
        self.decision = Some(decision);
        if admission.is_some() {
            self.admission = admission;
        }
    }

    /// Writes the attempt down and begins it. From here on the request is in the ledger.
    ///
    /// # Errors
    /// Where the ledger cannot be written: the call must not be made.
    pub fn begin(&mut self, permit: Permit) -> Result<Meter, Refusal> {
        let Permit { model, reservation, ticket, input_tokens, role } = permit;
        match &mut self.held {
            Some(held) => held.join(reservation),
            held @ None => *held = Some(reservation),
        }
        self.write_down(&model).map_err(|error| {
            tracing::error!(request_id = %self.digest.request_id, tenant = %self.tenant.id, %error, "not dispatched");
            Refusal::ledger()
        })?;
        if self.calls() == 0 && self.shadow_of.is_none() {
            self.gateway.meters.overhead(self.arrival.instant.elapsed());
        }
        self.is_open = true;
        let input_tokens = model.input_tokens(input_tokens, self.digest.demand.needs);
        let span = self.span.as_ref().map(|span| (span.clone(), span.call_id()));
        let meter = Meter::new(model, input_tokens, self.spent.clone(), self.gateway.buffers.hold(), span);
        self.calls.push(Call { meter: meter.clone(), role, _ticket: ticket });
        Ok(meter)
    }

    fn write_down(&self, model: &Model) -> Result<(), LedgerUnavailable> {
        let reserved = self.held.as_ref().map_or(NanoUsd::ZERO, Reservation::amount);
        if self.is_open {
            return self.gateway.ledger.raise(&Raise {
                request_id: self.digest.request_id,
                tenant: self.tenant.id.clone(),
                provider: model.provider.clone(),
                model: model.id.clone(),
                reserved,
            });
        }
        let rates = model.rates.unwrap_or_default();
        self.gateway.ledger.open(&self.opening((&model.provider, &model.id), rates, reserved))
    }

    /// When its tenant let it in: by then it was there, and a later one of the same name is another.
    fn admitted_at(&self) -> Timestamp {
        self.held.as_ref().map_or(self.arrival.at, Reservation::at)
    }

    fn opening(&self, (provider, model): (&ProviderId, &ModelId), rates: Rates, reserved: NanoUsd) -> Opening {
        let decision = self.decision.as_deref();
        Opening {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            at: self.admitted_at(),
            dialect: self.digest.dialect.as_str().to_owned(),
            requested: self.digest.requested_text.clone(),
            complexity: decision.map_or(0.0, |decision| decision.complexity),
            provider: provider.clone(),
            model: model.clone(),
            rates,
            reserved,
            cache: self.cache,
            tags: self.digest.preferences.tags.clone(),
            decision: decision.map_or_else(|| RawValue::NULL.to_owned(), Decision::encode).into(),
            shadow_of: self.shadow_of,
        }
    }

    /// The client's body is needed no more: what remains of the answer passes through.
    pub fn forget_body(&mut self) {
        self.buffered.clear();
    }

    /// What the attempts that have ended cost.
    pub fn spent(&self) -> NanoUsd {
        self.spent.get()
    }

    /// What the attempts that have ended used.
    pub fn used(&self) -> Tokens {
        let mut tokens = Tokens::default();
        self.attempts.iter().for_each(|attempt| tokens += attempt.tokens);
        tokens
    }

    /// What the answer used: the tokens of the last attempt.
    pub fn answered_tokens(&self) -> Tokens {
        self.attempts.last().map(|attempt| attempt.tokens).unwrap_or_default()
    }

    /// A call failed.
    pub fn fail(&mut self, meter: &Meter, failure: &Failure) {
        tracing::warn!(
            request_id = %self.digest.request_id,
            tenant = %self.tenant.id,
            provider = %failure.model.provider,
            model = %failure.model.id,
            fault = failure.fault.name(),
            status = failure.status.map(|status| status.as_u16()),
            code = failure.code.as_deref().and_then(name),
            message = failure.noted(),
            "attempt failed"
        );
        let outcome = match meter.ttft() {
            Some(_) if self.digest.demand.stream => Outcome::Truncated,
            _ => Outcome::Failed,
        };
        self.cool(meter, failure);
        if failure.fault == Fault::ContentPolicy {
            self.learn((&failure.model.provider, &failure.model.id), Verdict::Refused);
        }
        self.end_call(meter, outcome, Some((failure.fault, failure.noted())));
    }

    /// What the provider said of the tenant's key: others of its requests leave it alone for a while.
    fn cool(&self, meter: &Meter, failure: &Failure) {
        let (provider, model) = (&failure.model.provider, &failure.model.id);
        let model = match failure.fault.consequence().blame {
            Blame::Key => None,
            Blame::KeyAndModel => Some(model.clone()),
            Blame::Nobody | Blame::Model | Blame::Provider => return,
        };
        let until = Instant::now() + cool_down(failure.fault, failure.retry_after);
        let wait = CoolDown { until, fault: failure.fault };
        self.tenant.estate.cooling.wait(provider.clone(), model, wait, meter.started());
    }

    /// A call succeeded: the whole answer is here, and has this form. What its end says of the model, if anything.
    pub fn succeed(&mut self, meter: &Meter, form: &Form) -> Option<Verdict> {
        let model = meter.model();
        let verdict = verdict(meter.stop().unwrap_or(Stop::End), form, self.digest.demand.output_limit);
        if let Some(verdict) = verdict {
            self.learn((&model.provider, &model.id), verdict);
            if let Some(rehearsal) = &self.rehearsal {
                rehearsal.judged(verdict);
            }
        }
        self.end_call(meter, Outcome::Ok, None);
        verdict
    }

    /// What became of an answer of this model teaches the tenant's routing something.
    pub fn learn(&self, model: (&ProviderId, &ModelId), verdict: Verdict) {
        if let Some(decision) = self.decision.as_ref().filter(|_| self.shadow_of.is_none()) {
            self.tenant.learn((&self.digest, decision), model, verdict, self.gateway.clock.now());
        }
    }

    /// Another's content came first: the call is cancelled.
    pub fn outrun(&mut self, meter: &Meter) {
        self.end_call(meter, Outcome::Cancelled, Some((Fault::Outrun, "another model's answer came first")));
    }

    /// One of its calls is a hedge that is allowed so much.
    pub fn hedged(&mut self, allowed: Allowed) {
        self.hedge = Some(allowed);
    }

    fn end_call(&mut self, meter: &Meter, outcome: Outcome, fault: Option<(Fault, &str)>) {
        let Some(at) = self.calls.iter().position(|call| call.meter.is(meter)) else { return };
        // Whatever else it holds, its place at the provider included, is given back at the end of this function.
        let call = self.calls.remove(at);
        let model = meter.model();
        self.keep_issued(meter);
        let bill = meter.bill(fault.map(|(fault, _)| fault));
        self.spent.add(bill.cost);
        // A hedge that came first is the answer, however it ends.
        let is_extra = call.role == Some(Role::Hedge) && meter.ttft().is_none();
        if is_extra || fault.is_some_and(|(fault, _)| fault == Fault::Outrun) {
            self.tenant.estate.hedging.extra(bill.cost, Instant::now());
        }
        let latency = meter.started().elapsed();
        let ttft = meter.ttft();
        if let Some(ttft) = ttft {
            self.ttft.get_or_insert(meter.started() - self.arrival.instant + ttft);
        }
        if let Some((_, address)) = self.gateway.world.providers.load().get(&model.provider) {
            let report = CallReport {
                model: model.id.clone(),
                fault: fault.map(|(fault, _)| fault),
                error: fault.map(|(_, message)| message.to_owned()).unwrap_or_default(),
                latency,
                ttft: ttft.filter(|_| self.digest.demand.stream),
                tokens: bill.tokens,
                cost: bill.cost,
            };
            if address.cast(provider::Message::Ended(report)).is_err() {
                tracing::debug!(provider = %model.provider, "the provider actor is too busy to hear how a call ended");
            }
        }
        self.gateway.meters.attempted(&self.tenant.id, (&model.provider, &model.id), outcome);
        self.attempts.push(Attempt {
            provider: model.provider.clone(),
            model: model.id.clone(),
            outcome,
            status: meter.status().map(|status| status.as_u16()),
            latency_ms: milliseconds(latency),
            tokens: bill.tokens,
            estimated: bill.estimated,
            rates: bill.rates,
            cost: bill.cost,
            fault: fault.map(|(fault, _)| fault.name().to_owned()),
            role: call.role,
        });
        self.trace(&call);
    }

    /// The call that has just ended becomes a span.
    fn trace(&self, call: &Call) {
        let (Some((span, id)), Some(attempt)) = (call.meter.span(), self.attempts.last()) else { return };
        let setup = self.gateway.setup.load();
        let provider = setup.upstreams.get(&attempt.provider).map(|upstream| &upstream.config);
        span.called(&traces::Call {
            id: *id,
            attempt,
            number: self.attempts.len(),
            started: call.meter.started(),
            first_content: call.meter.ttft(),
            stop: call.meter.stop(),
            provider: provider.map(|provider| (provider.profile.dialect, &provider.base_url)),
        });
    }

    /// Written down before the client has the end of its answer, so that it may name these at once.
    fn keep_issued(&self, meter: &Meter) {
        let hashes = meter.take_issued();
        let provider = meter.model().provider.clone();
        // What was made with a key that was replaced is nobody's.
        if hashes.is_empty() || self.tenant.estate.cooling.is_former(&provider, meter.started()) {
            return;
        }
        self.gateway.ledger.issue(&Issued {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            key: self.tenant.key_hash(&provider),
            provider,
            at: self.admitted_at(),
            hashes,
        });
    }

    /// The request has ended: settles it, once, and returns what it cost.
    pub fn settle(&mut self, outcome: Outcome) -> NanoUsd {
        let cost = self.spent();
        if !std::mem::replace(&mut self.is_open, false) {
            return cost;
        }
        let tokens = self.used();
        // Of what broke off, the client has what came before another model was asked to go on with it in vain.
        let has_written = |attempt: &&Attempt| outcome == Outcome::Truncated && attempt.tokens.output > 0;
        let Some(last) = self.attempts.iter().rfind(has_written).or(self.attempts.last()) else { return cost };
        let (provider, model) = (last.provider.clone(), last.model.clone());
        let mut answered = last.tokens;
        if outcome == Outcome::Ok {
            // What was continued is part of the answer.
            let begun = self.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Truncated);
            answered.output += begun.map(|attempt| attempt.tokens.output).sum::<u64>();
        } else {
            self.tenant.estate.pins.broke_off(&self.digest.turn);
        }
        let saved = self.at_baseline(&answered).map_or(NanoUsd::ZERO, |baseline| baseline.minus(cost));
        self.tenant.estate.hedging.spent(cost, Instant::now());
        self.hedge = None;
        let latency = self.arrival.instant.elapsed();
        let closing = Closing {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            at: self.gateway.clock.now(),
            outcome,
            provider,
            model,
            estimated: self.attempts.iter().any(|attempt| attempt.estimated),
            attempts: std::mem::take(&mut self.attempts),
            tokens,
            cost,
            saved,
            latency_ms: milliseconds(latency),
            ttft_ms: self.ttft.map(milliseconds),
        };
        self.gateway.ledger.close(&closing);
        if let Some(held) = self.held.take() {
            held.settle(cost);
        }
        if let Some(admission) = &mut self.admission {
            admission.used(closing.at, tokens.input.saturating_add(tokens.output));
        }
        self.tell(&closing, latency);
        cost
    }

    /// What the baseline model would have cost for the same tokens; `None` for embeddings, which it could not have made.
    fn at_baseline(&self, tokens: &Tokens) -> Option<NanoUsd> {
        if self.digest.demand.needs.contains(Capability::Embeddings) {
            return None;
        }
        if self.shadow_of.is_some() {
            // Without the second policy it would not have been made.
            return Some(NanoUsd::ZERO);
        }
        let setup = self.gateway.setup.load();
        Some(setup.config.routing.baseline.as_ref()?.rates?.cost(tokens))
    }

    fn tell(&self, closing: &Closing, latency: Duration) {
        let complexity = self.decision.as_ref().map_or(0.0, |decision| decision.complexity);
        let shadow_of = self.shadow_of;
        let end = End { closing, complexity, cache: self.cache, latency, ttft: self.ttft, shadow_of };
        told::tell(&self.gateway, &end, self.span.as_deref());
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        // Nobody waits any more, or a panic is unwinding: what was counted until now is what it comes to.
        let (outcome, message) = match std::thread::panicking() {
            true => (Outcome::Failed, "the gateway failed while it answered"),
            false => (Outcome::Cancelled, "the client left"),
        };
        // Neither is anything that the provider did.
        for meter in self.calls.iter().map(|call| call.meter.clone()).collect::<Vec<_>>() {
            self.end_call(&meter, outcome, Some((Fault::ClientGone, message)));
        }
        self.settle(outcome);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
