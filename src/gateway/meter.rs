//! What one upstream call uses: noted by whoever reads its answer, paid by the request's [`Course`](super::course::Course).
//!
//! The course and the reader share it, so that a call which is dropped in the middle is settled at what was noted until then.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::fault::Fault;
use aipipe_actors::ledger::IssuedHash;
use aipipe_actors::money::{NanoUsd, Rates, Tokens};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::buffers::Held;
use crate::dialects::conversation::{Stop, Usage};
use crate::telemetry::traces::{RequestSpan, SpanId};

/// Bytes of JSON text that make an output token, where a provider gives no figures: between English prose (4.2) and code (3.4).
const BYTES_PER_TOKEN: u64 = 4;

/// What the calls of one request that have ended cost together, in nano-dollars.
#[derive(Debug, Default, Clone)]
pub struct Spent(Arc<AtomicI64>);

impl Spent {
    /// A call has ended.
    pub fn add(&self, cost: NanoUsd) {
        self.0.fetch_add(cost.0, Ordering::Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> NanoUsd {
        NanoUsd(self.0.load(Ordering::Relaxed))
    }
}

/// The meter of one call.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Metered>);

#[derive(Debug)]
struct Metered {
    model: Arc<Model>,
    /// The tokens of what is sent, in the model's own.
    input_estimate: u64,
    started: Instant,
    spent: Spent,
    /// The request's span and what the provider knows this call by, where traces are made.
    span: Option<(Arc<RequestSpan>, SpanId)>,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
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
    /// What of the answer is in memory.
    buffered: Held,
}

/// What a call comes to.
#[derive(Debug, Clone, Copy)]
pub struct Bill {
    /// What it used.
    pub tokens: Tokens,
    /// Whether anything of that was estimated.
    pub estimated: bool,
    /// The prices.
    pub rates: Rates,
    /// What it costs.
    pub cost: NanoUsd,
}

impl Meter {
    /// A call that begins. `input_estimate` counts what is sent, in the model's own tokens; `buffered` holds nothing yet.
    pub fn new(
        model: Arc<Model>,
        input_estimate: u64,
        spent: Spent,
        buffered: Held,
        span: Option<(Arc<RequestSpan>, SpanId)>,
    ) -> Self {
        let noted = Noted {
            sent: false,
            status: None,
            ttft: None,
            usage: None,
            content_bytes: 0,
            uncounted_bytes: 0,
            issued: Vec::new(),
            stop: None,
            buffered,
        };
        let noted = Mutex::new(noted);
        Self(Arc::new(Metered { model, input_estimate, started: Instant::now(), spent, span, noted }))
    }

    /// Whether both measure the same call.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The model that is called.
    pub fn model(&self) -> &Arc<Model> {
        &self.0.model
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// The provider's status, once it came.
    pub fn status(&self) -> Option<StatusCode> {
        self.lock().status
    }

    /// From the beginning to the first content, once that came.
    pub fn ttft(&self) -> Option<Duration> {
        self.lock().ttft
    }

    /// What the provider issued with the answer.
    pub fn take_issued(&self) -> Vec<IssuedHash> {
        std::mem::take(&mut self.lock().issued)
    }

    /// The request's span and what the provider knows this call by, where traces are made.
    pub fn span(&self) -> Option<&(Arc<RequestSpan>, SpanId)> {
        self.0.span.as_ref()
    }

    /// Why the answer ended, once that is known.
    pub fn stop(&self) -> Option<Stop> {
        self.lock().stop
    }

    /// The request is on its way to the provider, with these headers.
    pub fn sent(&self, headers: &mut HeaderMap) {
        self.lock().sent = true;
        if let Some((span, id)) = &self.0.span {
            span.continue_in(*id, headers);
        }
    }

    /// The provider's status came.
    pub fn answered(&self, status: StatusCode) {
        self.lock().status = Some(status);
    }

    /// So many bytes of the answer are in memory. They are paid for, and never refused.
    pub fn buffered(&self, bytes: usize) {
        self.lock().buffered.add(bytes);
    }

    /// Something of the answer came.
    pub fn content(&self, bytes: usize) {
        let mut noted = self.lock();
        noted.content_bytes = noted.content_bytes.saturating_add(bytes as u64);
        noted.uncounted_bytes = noted.uncounted_bytes.saturating_add(bytes as u64);
        noted.ttft.get_or_insert_with(|| self.0.started.elapsed());
    }

    /// The answer, or one of its choices, says why it ended.
    pub fn stopped(&self, stop: Option<Stop>) {
        let mut noted = self.lock();
        noted.stop = stop.or(noted.stop);
    }

    /// The provider's figures so far: they count all content that has been told before them.
    pub fn usage(&self, usage: Usage) {
        let mut noted = self.lock();
        noted.usage = Some(usage);
        noted.uncounted_bytes = 0;
    }

    /// The provider issued these with the answer.
    pub fn issued(&self, hashes: Vec<IssuedHash>) {
        self.lock().issued.extend(hashes);
    }

    /// What the whole request costs if this call ends with these figures, its calls that have ended included; `None` where the model has
    /// no price.
    pub fn price(&self, usage: &Usage) -> Option<NanoUsd> {
        let rates = self.0.model.rates?;
        let (tokens, _) = self.counted(&self.lock(), Some(usage));
        Some(self.0.spent.get() + rates.cost(&tokens))
    }

    /// What the call used and costs. A provider that answers with an error or is never reached bills nothing; one that broke off, fell
    /// silent or was left may, so that what it was sent and what came of it are counted.
    pub fn bill(&self, fault: Option<Fault>) -> Bill {
        let noted = self.lock();
        let began = noted.usage.is_some() || noted.content_bytes > 0;
        let refused = match noted.status {
            Some(status) if status.is_success() => !began && fault.is_some_and(Fault::is_told),
            Some(_) => true,
            None => false,
        };
        let (tokens, estimated) = match fault {
            _ if refused || !noted.sent => Default::default(),
            Some(Fault::Unreachable | Fault::Shortage) => Default::default(),
            None => self.counted(&noted, noted.usage.as_ref()),
            Some(_) => (self.counted_so_far(&noted), true),
        };
        let rates = self.0.model.rates.unwrap_or_default();
        Bill { tokens, estimated, rates, cost: rates.cost(&tokens) }
    }

    /// The tokens of a whole answer by the provider's figures, or estimated where it gives none; whether anything was estimated.
    fn counted(&self, noted: &Noted, usage: Option<&Usage>) -> (Tokens, bool) {
        let input = self.0.input_estimate;
        let Some(Usage { mut tokens, .. }) = usage.copied() else {
            let output = self.output_estimate(noted.content_bytes);
            return (Tokens { input, output, ..Tokens::default() }, true);
        };
        // Gemini leaves the prompt out of some figures; some servers answer with figures that are all zero.
        let lacks_input = tokens.input == 0 && input > 0;
        let lacks_output = tokens.output == 0 && noted.content_bytes > 0;
        if lacks_input {
            tokens.input = input;
        }
        if lacks_output {
            tokens.output = self.output_estimate(noted.content_bytes);
        }
        (tokens, lacks_input || lacks_output)
    }

    /// The tokens of an answer that did not come to its end: the provider's last figures, which know nothing of what came after them.
    fn counted_so_far(&self, noted: &Noted) -> Tokens {
        let (tokens, _) = self.counted(noted, noted.usage.as_ref());
        match noted.usage {
            Some(usage) if usage.tokens.output > 0 => {
                let since = self.output_estimate(noted.uncounted_bytes);
                Tokens { output: tokens.output.saturating_add(since), ..tokens }
            }
            _ => tokens,
        }
    }

    fn output_estimate(&self, bytes: u64) -> u64 {
        self.0.model.own_tokens(bytes.div_ceil(BYTES_PER_TOKEN))
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
