//! The course of one request, from its arrival to its settlement: what it holds, what it used, and that it ends exactly once.
//!
//! A course is a guard. However its request ends (answer, error, panic, the client gone in mid-stream), dropping it settles what was
//! dispatched at what was counted until then, gives back what was only held, and tells health, metrics and the log. The row is in the
//! journal before the first byte goes upstream.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::{Capability, Model};
use aipipe_actors::fault::Fault;
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::ledger::{
    Attempt, CacheUse, Closing, Issued, IssuedHash, LedgerUnavailable, Opening, Outcome, Raise,
};
use aipipe_actors::money::{NanoUsd, Rates, Tokens};
use aipipe_actors::provider::health::CallReport;
use aipipe_actors::provider::{self, Ticket};
use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::digest::Digest;
use aipipe_actors::routing::evidence::Verdict;
use aipipe_actors::tenant::account::{Admission, Reservation};
use aipipe_actors::tenant::answers::CachedAnswer;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

use super::Gateway;
use super::buffers::Held;
use super::drain::Presence;
use super::failure::Failure;
use super::lessons::verdict;
use super::refusal::Refusal;
use super::tenants::Live;
use super::told::{self, End};
use crate::dialects::conversation::{Stop, Usage};
use crate::dialects::form::Form;
use crate::telemetry::traces::{self, RequestSpan, SpanId};

/// Bytes of JSON text that make an output token, where a provider gives no figures: between English prose (4.2) and code (3.4).
const BYTES_PER_TOKEN: u64 = 4;

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
    model: Arc<Model>,
    /// The right to the call: its place at the provider is free again when the call ends.
    _ticket: Ticket,
    started: Instant,
    /// Whether the request may have reached the provider: from then on it may be billed.
    sent: bool,
    status: Option<StatusCode>,
    ttft: Option<Duration>,
    usage: Option<Usage>,
    content_bytes: u64,
    /// Of these, what came after the figures in `usage`.
    uncounted_bytes: u64,
    issued: Vec<IssuedHash>,
    /// Why the answer ended.
    stop: Option<Stop>,
    /// What the provider knows it by in a trace.
    span: Option<SpanId>,
}

/// What a call comes to.
struct Bill {
    tokens: Tokens,
    estimated: bool,
    rates: Rates,
    cost: NanoUsd,
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
    call: Option<Call>,
    attempts: Vec<Attempt>,
    ttft: Option<Duration>,
    admission: Option<Admission>,
    /// What is in memory for it: the client's body, and an answer that is read as a whole.
    buffered: Held,
    /// Its span, where traces are made.
    span: Option<Arc<RequestSpan>>,
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
            call: None,
            attempts: Vec::new(),
            ttft: None,
            admission: None,
            buffered,
            span: None,
            _presence: presence,
        }
    }

    /// With the span that tells of it.
    pub fn traced(mut self, span: Option<Arc<RequestSpan>>) -> Self {
        if let Some(span) = &span {
            span.scanned(&self.digest);
        }
        self.span = span;
        self
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

    /// Upstream calls so far, the one under way included.
    pub fn calls(&self) -> usize {
        self.attempts.len() + usize::from(self.call.is_some())
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
    pub fn begin(&mut self, model: Arc<Model>, reservation: Reservation, ticket: Ticket) -> Result<(), Refusal> {
        match &mut self.held {
            Some(held) => held.join(reservation),
            held @ None => *held = Some(reservation),
        }
        self.write_down(&model).map_err(|error| {
            tracing::error!(request_id = %self.digest.request_id, tenant = %self.tenant.id, %error, "not dispatched");
            Refusal::ledger()
        })?;
        if self.attempts.is_empty() {
            self.gateway.meters.overhead(self.arrival.instant.elapsed());
        }
        self.is_open = true;
        self.call = Some(Call {
            model,
            _ticket: ticket,
            started: Instant::now(),
            sent: false,
            status: None,
            ttft: None,
            usage: None,
            content_bytes: 0,
            uncounted_bytes: 0,
            issued: Vec::new(),
            stop: None,
            span: self.span.as_ref().map(|span| span.call_id()),
        });
        Ok(())
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

    fn opening(&self, (provider, model): (&ProviderId, &ModelId), rates: Rates, reserved: NanoUsd) -> Opening {
        let decision = self.decision.as_deref();
        Opening {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            at: self.arrival.at,
            dialect: self.digest.dialect.as_str().to_owned(),
            requested: self.digest.requested_text.clone(),
            complexity: decision.map_or(0.0, |decision| decision.complexity),
            provider: provider.clone(),
            model: model.clone(),
            rates,
            reserved,
            cache: self.cache,
            tags: self.digest.preferences.tags.clone(),
            decision: decision.map(Decision::encode).unwrap_or_default().into(),
        }
    }

    /// The request is on its way to the provider, with these headers.
    pub fn sent(&mut self, headers: &mut HeaderMap) {
        let Some(call) = &mut self.call else { return };
        call.sent = true;
        if let (Some(span), Some(id)) = (&self.span, call.span) {
            span.continue_in(id, headers);
        }
    }

    /// The answer, or one of its choices, says why it ended.
    pub fn stopped(&mut self, stop: Option<Stop>) {
        if let Some(call) = &mut self.call {
            call.stop = stop.or(call.stop);
        }
    }

    /// The provider's status came.
    pub fn answered(&mut self, status: StatusCode) {
        if let Some(call) = &mut self.call {
            call.status = Some(status);
        }
    }

    /// So many bytes of a whole answer are in memory. It is paid for, and never refused.
    pub fn buffered(&mut self, bytes: usize) {
        self.buffered.add(bytes);
    }

    /// The client's body is needed no more: what remains of the answer passes through.
    pub fn forget_body(&mut self) {
        self.buffered.clear();
    }

    /// Something of the answer came.
    pub fn content(&mut self, bytes: usize) {
        let Some(call) = &mut self.call else { return };
        call.content_bytes = call.content_bytes.saturating_add(bytes as u64);
        call.uncounted_bytes = call.uncounted_bytes.saturating_add(bytes as u64);
        if call.ttft.is_none() {
            call.ttft = Some(call.started.elapsed());
            self.ttft.get_or_insert_with(|| self.arrival.instant.elapsed());
        }
    }

    /// The provider's figures so far: they count all content that has been told before them.
    pub fn usage(&mut self, usage: Usage) {
        if let Some(call) = &mut self.call {
            call.usage = Some(usage);
            call.uncounted_bytes = 0;
        }
    }

    /// The provider issued these with the answer.
    pub fn issued(&mut self, hashes: Vec<IssuedHash>) {
        if let Some(call) = &mut self.call {
            call.issued.extend(hashes);
        }
    }

    /// What the whole request costs if the call under way ends with these figures; `None` where the model has no price.
    pub fn price(&self, usage: &Usage) -> Option<NanoUsd> {
        let call = self.call.as_ref()?;
        let rates = call.model.rates?;
        let (tokens, _) = self.counted(call, Some(usage));
        Some(self.spent() + rates.cost(&tokens))
    }

    /// What the attempts that have ended cost.
    pub fn spent(&self) -> NanoUsd {
        self.attempts.iter().map(|attempt| attempt.cost).sum()
    }

    /// What the answer used: the tokens of the last attempt.
    pub fn answered_tokens(&self) -> Tokens {
        self.attempts.last().map(|attempt| attempt.tokens).unwrap_or_default()
    }

    /// The call failed.
    pub fn fail(&mut self, failure: &Failure) {
        tracing::warn!(
            request_id = %self.digest.request_id,
            tenant = %self.tenant.id,
            provider = %failure.model.provider,
            model = %failure.model.id,
            fault = failure.fault.name(),
            status = failure.status.map(|status| status.as_u16()),
            code = failure.code,
            message = failure.noted(),
            "attempt failed"
        );
        let outcome = match self.call.as_ref().and_then(|call| call.ttft) {
            Some(_) if self.digest.stream => Outcome::Truncated,
            _ => Outcome::Failed,
        };
        if failure.fault == Fault::ContentPolicy {
            self.learn((&failure.model.provider, &failure.model.id), Verdict::Refused);
        }
        self.end_call(outcome, Some((failure.fault, failure.noted())));
    }

    /// The call succeeded: the whole answer is here, and has this form.
    pub fn succeed(&mut self, form: &Form) {
        if let Some(call) = &self.call
            && let Some(verdict) = verdict(call.stop.unwrap_or(Stop::End), form, self.digest.output_limit)
        {
            self.learn((&call.model.provider, &call.model.id), verdict);
        }
        self.end_call(Outcome::Ok, None);
    }

    /// What became of an answer of this model teaches the tenant's routing something.
    pub fn learn(&self, model: (&ProviderId, &ModelId), verdict: Verdict) {
        if let Some(decision) = &self.decision {
            self.tenant.learn((&self.digest, decision), model, verdict, self.gateway.clock.now());
        }
    }

    fn end_call(&mut self, outcome: Outcome, fault: Option<(Fault, &str)>) {
        let Some(call) = self.call.take() else { return };
        self.keep_issued(&call);
        let bill = self.bill(&call, fault.map(|(fault, _)| fault));
        let latency = call.started.elapsed();
        if let Some((_, address)) = self.gateway.world.providers.load().get(&call.model.provider) {
            let report = CallReport {
                model: call.model.id.clone(),
                fault: fault.map(|(fault, _)| fault),
                error: fault.map(|(_, message)| message.to_owned()).unwrap_or_default(),
                latency,
                ttft: call.ttft,
                tokens: bill.tokens,
                cost: bill.cost,
            };
            if address.cast(provider::Message::Ended(report)).is_err() {
                tracing::debug!(provider = %call.model.provider, "the provider actor is too busy to hear how a call ended");
            }
        }
        self.attempts.push(Attempt {
            provider: call.model.provider.clone(),
            model: call.model.id.clone(),
            outcome,
            status: call.status.map(|status| status.as_u16()),
            latency_ms: milliseconds(latency),
            tokens: bill.tokens,
            estimated: bill.estimated,
            rates: bill.rates,
            cost: bill.cost,
            fault: fault.map(|(fault, _)| fault.name().to_owned()),
        });
        self.trace(&call);
    }

    /// The call that has just ended becomes a span.
    fn trace(&self, call: &Call) {
        let (Some(span), Some(id), Some(attempt)) = (&self.span, call.span, self.attempts.last()) else { return };
        let setup = self.gateway.setup.load();
        let provider = setup.upstreams.get(&attempt.provider).map(|upstream| &upstream.config);
        span.called(&traces::Call {
            id,
            attempt,
            number: self.attempts.len(),
            started: call.started,
            first_content: call.ttft,
            stop: call.stop,
            provider: provider.map(|provider| (provider.profile.dialect, &provider.base_url)),
        });
    }

    /// Written down before the client has the end of its answer, so that it may name these at once.
    fn keep_issued(&self, call: &Call) {
        if call.issued.is_empty() {
            return;
        }
        let provider = call.model.provider.clone();
        self.gateway.ledger.issue(&Issued {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            key: self.tenant.key_hash(&provider),
            provider,
            at: self.arrival.at,
            hashes: call.issued.clone(),
        });
    }

    /// What a call used and costs. A provider that answers with an error or is never reached bills nothing; one that broke off, fell
    /// silent or was left may, so that what it was sent and what came of it are counted.
    fn bill(&self, call: &Call, fault: Option<Fault>) -> Bill {
        let began = call.usage.is_some() || call.content_bytes > 0;
        let refused = match call.status {
            Some(status) if status.is_success() => !began && fault.is_some_and(Fault::is_told),
            Some(_) => true,
            None => false,
        };
        let (tokens, estimated) = match fault {
            _ if refused || !call.sent => Default::default(),
            Some(Fault::Unreachable | Fault::Shortage) => Default::default(),
            None => self.counted(call, call.usage.as_ref()),
            Some(_) => (self.counted_so_far(call), true),
        };
        let rates = call.model.rates.unwrap_or_default();
        Bill { tokens, estimated, rates, cost: rates.cost(&tokens) }
    }

    /// The tokens of a whole answer by the provider's figures, or estimated where it gives none; whether anything was estimated.
    fn counted(&self, call: &Call, usage: Option<&Usage>) -> (Tokens, bool) {
        let estimated_input = call.model.input_tokens(self.digest.input_tokens, self.digest.needs);
        match usage.map(|usage| usage.tokens) {
            // Gemini leaves the prompt out of some figures.
            Some(tokens) if tokens.input == 0 && estimated_input > 0 => {
                (Tokens { input: estimated_input, ..tokens }, true)
            }
            Some(tokens) if tokens.output == 0 && call.content_bytes > 0 => {
                (Tokens { output: output_estimate(call, call.content_bytes), ..tokens }, true)
            }
            Some(tokens) => (tokens, false),
            None => {
                let output = output_estimate(call, call.content_bytes);
                (Tokens { input: estimated_input, output, ..Tokens::default() }, true)
            }
        }
    }

    /// The tokens of an answer that did not come to its end: the provider's last figures, which know nothing of what came after them.
    fn counted_so_far(&self, call: &Call) -> Tokens {
        let (tokens, _) = self.counted(call, call.usage.as_ref());
        match call.usage {
            Some(usage) if usage.tokens.output > 0 => {
                let since = output_estimate(call, call.uncounted_bytes);
                Tokens { output: tokens.output.saturating_add(since), ..tokens }
            }
            _ => tokens,
        }
    }

    /// The request has ended: settles it, once, and returns what it cost.
    pub fn settle(&mut self, outcome: Outcome) -> NanoUsd {
        let cost = self.spent();
        if !std::mem::replace(&mut self.is_open, false) {
            return cost;
        }
        let mut tokens = Tokens::default();
        for attempt in &self.attempts {
            tokens += attempt.tokens;
        }
        let Some(last) = self.attempts.last() else { return cost };
        let (provider, model) = (last.provider.clone(), last.model.clone());
        let answered = last.tokens;
        let saved = self.at_baseline(&answered).map_or(NanoUsd::ZERO, |baseline| baseline.minus(cost));
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

    /// Answered without a call of its own: from the cache, or by another request's call.
    ///
    /// # Errors
    /// Where the ledger cannot be written.
    pub fn settle_hit(&mut self, answer: &CachedAnswer) -> Result<(), Refusal> {
        self.cache = CacheUse::Hit;
        let rates = self
            .gateway
            .world
            .catalogue
            .load()
            .at_provider(answer.provider.as_str(), answer.model.as_str())
            .and_then(|model| model.rates);
        let opening = self.opening((&answer.provider, &answer.model), rates.unwrap_or_default(), NanoUsd::ZERO);
        let latency = self.arrival.instant.elapsed();
        let closing = Closing {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            at: self.gateway.clock.now(),
            outcome: Outcome::Ok,
            provider: answer.provider.clone(),
            model: answer.model.clone(),
            attempts: Vec::new(),
            tokens: Tokens::default(),
            estimated: false,
            cost: NanoUsd::ZERO,
            saved: self.at_baseline(&answer.tokens).unwrap_or_default(),
            latency_ms: milliseconds(latency),
            ttft_ms: None,
        };
        self.gateway.ledger.open_and_close(&opening, &closing).map_err(|error| {
            tracing::error!(request_id = %self.digest.request_id, tenant = %self.tenant.id, %error, "a cache hit is not delivered");
            Refusal::ledger()
        })?;
        if let Some(admission) = &mut self.admission {
            admission.used(closing.at, 0);
        }
        self.tell(&closing, latency);
        Ok(())
    }

    /// What the baseline model would have cost for the same tokens; `None` for embeddings, which it could not have made.
    fn at_baseline(&self, tokens: &Tokens) -> Option<NanoUsd> {
        if self.digest.needs.contains(Capability::Embeddings) {
            return None;
        }
        let setup = self.gateway.setup.load();
        Some(setup.config.routing.baseline.as_ref()?.rates?.cost(tokens))
    }

    fn tell(&self, closing: &Closing, latency: Duration) {
        let complexity = self.decision.as_ref().map_or(0.0, |decision| decision.complexity);
        let end = End { closing, complexity, cache: self.cache, latency, ttft: self.ttft };
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
        self.end_call(outcome, Some((Fault::ClientGone, message)));
        self.settle(outcome);
    }
}

fn output_estimate(call: &Call, bytes: u64) -> u64 {
    call.model.own_tokens(bytes.div_ceil(BYTES_PER_TOKEN))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
