//! The provider actor.
//!
//! Owns: circuits, success windows, cost totals ([`Book`]). Publishes them as a snapshot: at once when a circuit changes, otherwise at
//! most every 20 ms. Loses in a crash what came after the last snapshot; each circuit goes on in the state last published. Bounds: its
//! mailbox by its address, its places and queue by the [`Gate`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ractor::RpcReplyPort;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::circuit::{Change, Moment, State};
use super::gate::{Entry, Gate, Place, Queued};
use super::health::{Book, CallReport, Passage, Probe};
use super::pace::Pace;
use super::turns::Weight;
use super::window::SLOT_SECONDS;
use crate::clock::Clock;
use crate::identity::{ModelId, ProviderId, TenantId};
use crate::runtime::Behaviour;
use crate::tenant::{Dispatch, Reply};

/// Longest time between a change of counters and their publication.
const PUBLISH_AFTER: Duration = Duration::from_millis(20);

/// What can be sent to a provider actor.
pub enum Message {
    /// A tenant's choice fell on this provider: grant, queue or refuse, and answer the request's task.
    Admit(Offer),
    /// An upstream call ended.
    Ended(CallReport),
}

/// A choice on its way from the tenant actor to the request's task.
pub struct Offer {
    /// Whose request.
    pub tenant: TenantId,
    /// The tenant's share of the turns, where it has to wait.
    pub weight: Weight,
    /// The choice, with its reservation.
    pub dispatch: Dispatch,
    /// Where the request's task waits.
    pub port: RpcReplyPort<Reply>,
}

/// What the provider actor says to a choice.
#[derive(Debug)]
pub enum Grant {
    /// Go.
    Granted(Ticket),
    /// Wait for a place.
    Waiting(Wait),
    /// Not here; this is no attempt.
    Refused(Refusal),
}

/// Why a provider actor refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The circuit is open, or half open with a probe under way.
    CircuitOpen,
    /// No place and no room in the queue.
    QueueFull,
}

/// The right to one upstream call, for as long as it is held.
#[derive(Debug)]
pub struct Ticket {
    _place: Place,
    _probe: Option<Probe>,
}

/// A place in the queue, which becomes a ticket when its turn comes.
#[derive(Debug)]
pub struct Wait {
    queued: Queued,
    model: ModelId,
    published: Arc<ArcSwap<Book>>,
}

impl Wait {
    /// Waits for the turn; dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`Refusal::CircuitOpen`] where the circuit has opened meanwhile.
    pub async fn turn(self) -> Result<Ticket, Refusal> {
        let place = self.queued.await;
        match self.published.load().passage(&self.model, Instant::now()) {
            Passage::Free => Ok(Ticket { _place: place, _probe: None }),
            Passage::Probe(probe) => Ok(Ticket { _place: place, _probe: Some(probe) }),
            Passage::Closed => Err(Refusal::CircuitOpen),
        }
    }
}

/// A provider: what outlives its actor.
pub struct Provider {
    id: ProviderId,
    gate: Arc<Gate>,
    published: Arc<ArcSwap<Book>>,
    pace: Pace,
    clock: Arc<dyn Clock>,
    origin: Instant,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.id)
    }
}

impl Provider {
    /// A provider without a history.
    pub fn new(id: ProviderId, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { id, gate, published: Arc::default(), pace: Pace::default(), clock, origin: Instant::now() })
    }

    /// Its name.
    pub fn id(&self) -> &ProviderId {
        &self.id
    }

    /// Its places.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// How long the streams of its models take to begin.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What was last published of its health.
    pub fn snapshot(&self) -> Arc<Book> {
        self.published.load_full()
    }

    /// The penalty of a model now, or `None` while its circuit is open: a pointer read and a little arithmetic.
    pub fn penalty(&self, model: &ModelId, now: Instant) -> Option<f64> {
        self.published.load().penalty(model, now, self.slot(now))
    }

    /// The worst circuit of the provider now.
    pub fn circuit(&self) -> State {
        self.published.load().worst_circuit(Instant::now())
    }

    /// Whether it can be reached at all, whatever becomes of single models.
    pub fn reach(&self) -> State {
        self.published.load().reach(self.moment()).circuit
    }

    /// This moment, with randomness.
    pub fn moment(&self) -> Moment {
        let now = Instant::now();
        Moment { now, slot: self.slot(now), wall: self.clock.now(), random: fastrand::f64() }
    }

    /// Health and cost state, as people see it.
    pub fn view(&self) -> Value {
        let (book, at) = (self.snapshot(), self.moment());
        let models: serde_json::Map<String, Value> =
            book.models(at).into_iter().map(|(id, view)| (id.to_string(), json!(view))).collect();
        json!({
            "name": self.id,
            "circuit": book.worst_circuit(at.now),
            "reach": book.reach(at),
            "in_flight": self.gate.in_flight(),
            "queue_depth": self.gate.queued(),
            "models": models,
        })
    }

    fn slot(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs() / SLOT_SECONDS
    }
}

/// What one incarnation owns.
pub struct Incarnation {
    book: Book,
    published: Instant,
    /// Whether the book holds what is not published.
    dirty: bool,
    /// Whether a tick is on its way.
    awaits_tick: bool,
}

impl Behaviour for Provider {
    type Message = Message;
    type State = Incarnation;

    fn kind(&self) -> &'static str {
        "provider"
    }

    fn start(&self) -> Incarnation {
        Incarnation { book: (*self.snapshot()).clone(), published: Instant::now(), dirty: false, awaits_tick: false }
    }

    fn handle(&self, state: &mut Incarnation, message: Message) {
        match message {
            Message::Admit(offer) => self.admit(state, offer),
            Message::Ended(report) => self.ended(state, report),
        }
    }

    fn next_tick(&self, state: &mut Incarnation) -> Option<Duration> {
        let asks = state.dirty && !state.awaits_tick;
        state.awaits_tick |= asks;
        asks.then_some(PUBLISH_AFTER)
    }

    fn tick(&self, state: &mut Incarnation) {
        state.awaits_tick = false;
        if state.dirty {
            self.publish(state);
        }
    }

    fn observe(&self, _: &Incarnation) -> Value {
        self.view()
    }

    fn in_flight(&self) -> u64 {
        self.gate.in_flight() as u64
    }
}

impl Provider {
    fn ended(&self, state: &mut Incarnation, report: CallReport) {
        let at = self.moment();
        let (model, fault) = (report.model.clone(), report.fault);
        let change = state.book.record(report, at);
        state.dirty = true;
        match change {
            Change::Opened => {
                tracing::warn!(provider = %self.id, %model, fault = fault.map(|fault| fault.name()), "circuit opened: no calls until a probe succeeds");
            }
            Change::Closed => tracing::info!(provider = %self.id, %model, "circuit closed: the probe succeeded"),
            Change::None if at.now.duration_since(state.published) < PUBLISH_AFTER => return,
            Change::None => {}
        }
        self.publish(state);
    }

    fn publish(&self, state: &mut Incarnation) {
        self.published.store(Arc::new(state.book.clone()));
        state.published = Instant::now();
        state.dirty = false;
    }

    fn admit(&self, state: &Incarnation, offer: Offer) {
        let Offer { tenant, weight, mut dispatch, port } = offer;
        if port.is_closed() {
            return;
        }
        let model = dispatch.model.id.clone();
        dispatch.grant = match state.book.passage(&model, Instant::now()) {
            Passage::Closed => Grant::Refused(Refusal::CircuitOpen),
            passage => match self.gate.enter(&tenant, weight) {
                Entry::Full => Grant::Refused(Refusal::QueueFull),
                Entry::Queued(queued) => Grant::Waiting(Wait { queued, model, published: self.published.clone() }),
                Entry::Place(place) => {
                    let probe = if let Passage::Probe(probe) = passage { Some(probe) } else { None };
                    Grant::Granted(Ticket { _place: place, _probe: probe })
                }
            },
        };
        // Whoever has stopped waiting drops the reply, and with it place and reservation.
        let _ = port.send(Reply::Dispatch(Box::new(dispatch)));
    }
}
