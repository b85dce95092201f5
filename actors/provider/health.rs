//! What is known of a provider's models: success, circuits, cost so far, the last error.
//!
//! The book is the provider actor's state and, published, its snapshot: it carries instants and windows, not verdicts, so that readers
//! see a penalty fade and a circuit become half open without any traffic.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::circuit::{self, Change, Circuit, Moment, State};
use super::window::{Rate, Window};
use crate::fault::{Blame, Fault};
use crate::identity::ModelId;
use crate::money::{NanoUsd, Tokens};

/// Probes that may be under way at once while a circuit is half open.
const MAX_PROBES: u32 = 1;

/// How an upstream call ended, as far as health is concerned.
#[derive(Debug, Clone)]
pub struct CallReport {
    /// Which model.
    pub model: ModelId,
    /// `None`: it succeeded.
    pub fault: Option<Fault>,
    /// What went wrong, without content or secrets; empty on success.
    pub error: String,
    /// From dispatch to the end.
    pub latency: Duration,
    /// From dispatch to the first content of a stream; a whole answer comes at its end.
    pub ttft: Option<Duration>,
    /// What it used.
    pub tokens: Tokens,
    /// What it cost.
    pub cost: NanoUsd,
}

/// The last error of a model.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// Its class.
    pub fault: &'static str,
    /// What went wrong.
    pub message: String,
}

/// What is known of one model.
#[derive(Debug, Default, Clone)]
pub struct ModelHealth {
    /// What counts for or against it.
    window: Window,
    /// Every call, whoever is to blame for its failure.
    traffic: Window,
    circuit: Circuit,
    probes: Arc<AtomicU32>,
    calls: u64,
    failures: u64,
    cost: NanoUsd,
    tokens: Tokens,
    latency_ms: f64,
    ttft_ms: f64,
    last_error: Option<Arc<LastError>>,
}

/// What a model usually takes, as moving averages.
#[derive(Debug, Clone, Copy)]
pub struct Usual {
    /// To the end of an answer.
    pub latency: Duration,
    /// To the first content of a stream; `None` where no stream has succeeded yet.
    pub ttft: Option<Duration>,
}

/// What is known of a provider.
#[derive(Debug, Default, Clone)]
pub struct Book {
    models: HashMap<ModelId, ModelHealth>,
    /// Whether the provider can be reached at all.
    reach: ModelHealth,
}

/// The right to test whether a half-open circuit's model is well again; one at a time.
#[derive(Debug)]
pub struct Probe(Arc<AtomicU32>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a circuit says to one call.
#[derive(Debug)]
pub enum Passage {
    /// Go on.
    Free,
    /// Go on, as the one that tests.
    Probe(Probe),
    /// Not now.
    Closed,
}

/// A model's health as people see it.
#[derive(Debug, Serialize)]
pub struct HealthView {
    /// The circuit's state.
    pub circuit: State,
    /// Since when it is not closed.
    pub open_since: Option<Timestamp>,
    /// For how long it stays open.
    pub open_for_ms: Option<u64>,
    /// The fault that opened it.
    pub open_because: Option<&'static str>,
    /// Probes that failed since it opened first.
    pub failed_probes: Option<u32>,
    /// Whether a probe is under way.
    pub probing: bool,
    /// How long it stays open at most, should the next probe fail too.
    #[serde(skip)]
    pub next_cool_down: Option<Duration>,
    /// Success of the last minute.
    #[serde(flatten)]
    pub rate: Rate,
    /// Calls since the process started; those of all models together where this is the provider as a whole, as what follows.
    pub calls: u64,
    /// Of them, failed, whoever was to blame. A call that its client left, or that another's answer made idle, is none.
    pub failures: u64,
    /// Calls that ended in the last minute.
    pub calls_last_minute: u32,
    /// Of them, failed.
    pub failures_last_minute: u32,
    /// What they cost.
    pub cost_usd: String,
    /// What they used.
    pub tokens: Tokens,
    /// Moving average.
    pub latency_ms: f64,
    /// Moving average of streams.
    pub ttft_ms: f64,
    /// The last error.
    pub last_error: Option<LastError>,
}

/// Weight of the newest value in the moving averages.
const NEWEST: f64 = 0.1;

fn average(old: f64, new: Duration) -> f64 {
    let new = new.as_secs_f64() * 1_000.0;
    if old == 0.0 { new } else { old + NEWEST * (new - old) }
}

impl ModelHealth {
    fn passage(&self, now: Instant) -> Passage {
        match self.circuit.state(now) {
            State::Closed => Passage::Free,
            State::Open => Passage::Closed,
            State::HalfOpen => {
                let probe = Probe(self.probes.clone());
                if self.probes.fetch_add(1, Ordering::Relaxed) < MAX_PROBES {
                    Passage::Probe(probe)
                } else {
                    Passage::Closed
                }
            }
        }
    }

    fn succeeded(&mut self, at: Moment) -> Change {
        let change = self.circuit.succeeded(at.now);
        if change == Change::Closed {
            self.window = Window::default();
        }
        self.window.record(at.slot, true);
        change
    }

    fn failed(&mut self, fault: Fault, at: Moment) -> Change {
        self.window.record(at.slot, false);
        self.circuit.failed(fault, &self.window, at)
    }

    fn view(&self, at: Moment) -> HealthView {
        let opened = self.circuit.opened();
        let (answered, failures_last_minute) = self.traffic.counts(at.slot);
        HealthView {
            circuit: self.circuit.state(at.now),
            open_since: opened.map(|opened| opened.since),
            open_for_ms: opened.map(|opened| opened.until.saturating_duration_since(at.now).as_millis() as u64),
            open_because: opened.map(|opened| opened.fault.name()),
            failed_probes: opened.map(circuit::Opened::failed_probes),
            probing: self.probes.load(Ordering::Relaxed) > 0,
            next_cool_down: opened.map(circuit::Opened::next_cool_down),
            rate: self.window.rate(at.slot),
            calls: self.calls,
            failures: self.failures,
            calls_last_minute: answered.saturating_add(failures_last_minute),
            failures_last_minute,
            cost_usd: self.cost.to_string(),
            tokens: self.tokens,
            latency_ms: self.latency_ms,
            ttft_ms: self.ttft_ms,
            last_error: self.last_error.as_deref().cloned(),
        }
    }
}

impl Book {
    /// Whether a call of this model may go out now.
    pub fn passage(&self, model: &ModelId, now: Instant) -> Passage {
        match self.reach.passage(now) {
            Passage::Free => self.models.get(model).map_or(Passage::Free, |health| health.passage(now)),
            // One probe tests both.
            other => other,
        }
    }

    /// The model's penalty, or `None` while its circuit is open.
    pub fn penalty(&self, model: &ModelId, now: Instant, slot: u64) -> Option<f64> {
        let open = |health: &ModelHealth| health.circuit.state(now) == State::Open;
        if open(&self.reach) {
            return None;
        }
        let reach = self.reach.window.rate(slot).penalty;
        match self.models.get(model) {
            Some(health) if open(health) => None,
            Some(health) => Some(reach.max(health.window.rate(slot).penalty)),
            None => Some(reach),
        }
    }

    /// What calls of this model usually take; `None` where none has succeeded yet.
    pub fn usual(&self, model: &ModelId) -> Option<Usual> {
        let health = self.models.get(model).filter(|health| health.latency_ms > 0.0)?;
        let milliseconds = |value: f64| Duration::from_secs_f64(value / 1_000.0);
        let ttft = (health.ttft_ms > 0.0).then(|| milliseconds(health.ttft_ms));
        Some(Usual { latency: milliseconds(health.latency_ms), ttft })
    }

    /// Until when no call of this model may go out; `None` where one may go out now.
    pub fn open_until(&self, model: &ModelId, now: Instant) -> Option<Instant> {
        let circuits =
            self.models.get(model).into_iter().chain([&self.reach]).filter_map(|health| health.circuit.opened());
        circuits.map(|opened| opened.until).filter(|until| *until > now).max()
    }

    /// Takes in how a call ended; tells whether a circuit changed.
    pub fn record(&mut self, report: CallReport, at: Moment) -> Change {
        let health = self.models.entry(report.model.clone()).or_default();
        health.calls += 1;
        health.cost += report.cost;
        health.tokens += report.tokens;
        let Some(fault) = report.fault else {
            health.traffic.record(at.slot, true);
            health.latency_ms = average(health.latency_ms, report.latency);
            if let Some(ttft) = report.ttft {
                health.ttft_ms = average(health.ttft_ms, ttft);
            }
            let change = health.succeeded(at);
            let reach = self.reach.succeeded(at);
            return if change == Change::None { reach } else { change };
        };
        if matches!(fault, Fault::ClientGone | Fault::ClientDeadline | Fault::Late | Fault::Outrun) {
            return Change::None;
        }
        health.failures += 1;
        health.traffic.record(at.slot, false);
        health.last_error = Some(Arc::new(LastError { at: at.wall, fault: fault.name(), message: report.error }));
        match fault.consequence().blame {
            Blame::Model => health.failed(fault, at),
            Blame::Provider => {
                self.reach.last_error.clone_from(&health.last_error);
                self.reach.failed(fault, at)
            }
            Blame::Nobody | Blame::Key | Blame::KeyAndModel => Change::None,
        }
    }

    /// The worst circuit: the provider's own or any model's.
    pub fn worst_circuit(&self, now: Instant) -> State {
        let states = self.models.values().chain([&self.reach]).map(|health| health.circuit.state(now));
        states.max_by_key(|state| state.gauge()).unwrap_or(State::Closed)
    }

    /// The provider as a whole: whether it can be reached, and the sums of its models.
    pub fn reach(&self, at: Moment) -> HealthView {
        let mut whole = self.reach.view(at);
        let (mut cost, mut tokens) = (NanoUsd::ZERO, Tokens::default());
        for health in self.models.values() {
            let (answered, failed) = health.traffic.counts(at.slot);
            whole.calls += health.calls;
            whole.failures += health.failures;
            whole.calls_last_minute = whole.calls_last_minute.saturating_add(answered).saturating_add(failed);
            whole.failures_last_minute = whole.failures_last_minute.saturating_add(failed);
            cost += health.cost;
            tokens += health.tokens;
        }
        HealthView { cost_usd: cost.to_string(), tokens, ..whole }
    }

    /// Every model that was called, by id.
    pub fn models(&self, at: Moment) -> Vec<(ModelId, HealthView)> {
        let mut views: Vec<_> = self.models.iter().map(|(id, health)| (id.clone(), health.view(at))).collect();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        views
    }
}
