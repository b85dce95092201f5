//! One supervisor for every kind of child: it starts, restarts and retires them, and knows nothing of what they do.
//!
//! Restarts follow a failure and any end that the supervisor did not order (ractor reports a kill as an orderly end). The first restart
//! comes at once, later ones with backoff and jitter; a minute of health forgets the strikes. It never gives up on a child, since one
//! that keeps failing must not take its siblings with it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent};
use serde::Serialize;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::gauges::{Failure, Gauges, Status};

/// A child that stayed up this long starts with a clean record.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// From so many failures in a row on a child counts as degraded.
const DEGRADED_AFTER: u32 = 5;

/// A start in progress.
pub type SpawnFuture = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// Something that a supervisor keeps alive.
pub trait Child: Send + Sync + 'static {
    /// Its name in the tree.
    fn name(&self) -> &str;
    /// Its kind: `supervisor`, `tenant`, `provider`, `metrics`.
    fn kind(&self) -> &'static str;
    /// Its counters.
    fn gauges(&self) -> &Arc<Gauges>;
    /// Requests in flight that hold something of it.
    fn in_flight(&self) -> u64;
    /// Makes the current incarnation panic while it handles a message; false where none lives.
    fn crash(&self) -> bool;
    /// Starts an incarnation linked to `parent`.
    fn spawn(&self, parent: ActorCell) -> SpawnFuture;
    /// Its own children.
    fn children(&self) -> Vec<Arc<dyn Child>> {
        Vec::new()
    }
}

/// What is seen of an actor, from the root down.
#[derive(Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Whether it runs.
    pub status: Status,
    /// Since when.
    pub since: jiff::Timestamp,
    /// Incarnations beyond the first.
    pub restarts: u64,
    /// Messages handled.
    pub messages: u64,
    /// Messages waiting.
    pub mailbox: usize,
    /// Requests in flight that hold something of it.
    pub in_flight: u64,
    /// The last failure.
    pub last_failure: Option<Failure>,
    /// Its children.
    pub children: Vec<Node>,
}

impl Node {
    /// Looks at a child and all below it. Reads counters only: a stuck actor is seen as well as a healthy one.
    pub fn of(child: &dyn Child) -> Self {
        let gauges = child.gauges();
        Self {
            name: child.name().to_owned(),
            kind: child.kind(),
            status: gauges.status(),
            since: gauges.since(),
            restarts: gauges.restarts(),
            messages: gauges.handled(),
            mailbox: gauges.mailbox(),
            in_flight: child.in_flight(),
            last_failure: gauges.last_failure(),
            children: child.children().iter().map(|child| Self::of(&**child)).collect(),
        }
    }
}

/// The children that a supervisor keeps alive, owned outside it.
#[derive(Default)]
pub struct Roster(Mutex<BTreeMap<String, Arc<dyn Child>>>);

impl Roster {
    /// Adds a child, which its supervisor starts when it (re)starts or is told to.
    pub fn add(&self, child: Arc<dyn Child>) {
        self.lock().insert(child.name().to_owned(), child);
    }

    /// The children by name.
    pub fn children(&self) -> Vec<Arc<dyn Child>> {
        self.lock().values().cloned().collect()
    }

    fn get(&self, name: &str) -> Option<Arc<dyn Child>> {
        self.lock().get(name).cloned()
    }

    fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<dyn Child>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can be asked of a supervisor.
pub(super) enum Order {
    /// Start the child of this name, which stands in the roster, unless it runs already.
    Start(String, RpcReplyPort<()>),
    /// Let it finish what is queued, then forget it.
    Retire(String),
    /// Its backoff is over.
    Retry(String),
    /// Panic.
    Crash,
}

/// A supervisor as its parent's child.
pub struct Supervisor {
    name: &'static str,
    roster: Arc<Roster>,
    gauges: Arc<Gauges>,
    current: arc_swap::ArcSwapOption<ActorRef<Order>>,
    stopping: Arc<AtomicBool>,
}

impl Supervisor {
    /// A supervisor of the children in `roster`; nothing is restarted once `stopping` is set.
    pub fn new(name: &'static str, roster: Arc<Roster>, gauges: Arc<Gauges>, stopping: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self { name, roster, gauges, current: arc_swap::ArcSwapOption::empty(), stopping })
    }

    /// Starts a child and waits until it runs. A supervisor that is just being restarted starts all of its roster anyway.
    pub async fn start(&self, child: Arc<dyn Child>) {
        let name = child.name().to_owned();
        self.roster.add(child);
        let (port, done) = tokio::sync::oneshot::channel();
        if self.order(Order::Start(name, port.into())) {
            // Dropped where the supervisor died meanwhile: its next incarnation starts the whole roster.
            let _ = done.await;
        }
    }

    /// Lets a child finish what is queued and ends it.
    pub fn retire(&self, name: &str) {
        if !self.order(Order::Retire(name.to_owned())) {
            self.roster.remove(name);
        }
    }

    /// The current incarnation.
    pub(super) fn cell(&self) -> Option<ActorCell> {
        self.current.load().as_ref().map(|actor| actor.get_cell())
    }

    /// Starts an incarnation without a parent: the root.
    pub(super) async fn spawn_root(self: &Arc<Self>) -> Result<tokio::task::JoinHandle<()>, SpawnErr> {
        let (_, handle) = Actor::spawn(None, Keeper, self.clone()).await?;
        Ok(handle)
    }

    fn order(&self, order: Order) -> bool {
        self.current.load().as_ref().is_some_and(|actor| actor.cast(order).is_ok())
    }
}

impl Child for Arc<Supervisor> {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> &'static str {
        "supervisor"
    }

    fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    fn in_flight(&self) -> u64 {
        self.roster.children().iter().map(|child| child.in_flight()).sum()
    }

    fn crash(&self) -> bool {
        self.order(Order::Crash)
    }

    fn spawn(&self, parent: ActorCell) -> SpawnFuture {
        let supervisor = self.clone();
        Box::pin(async move {
            let (actor, _) = Actor::spawn_linked(None, Keeper, supervisor, parent).await?;
            Ok(actor.get_cell())
        })
    }

    fn children(&self) -> Vec<Arc<dyn Child>> {
        self.roster.children()
    }
}

/// The ractor side of a [`Supervisor`].
struct Keeper;

/// What one incarnation knows of its children.
struct Watch {
    supervisor: Arc<Supervisor>,
    names: HashMap<ActorId, String>,
    records: HashMap<String, Record>,
}

#[derive(Default)]
struct Record {
    /// The incarnation that runs, and whose it is.
    running: Option<(ActorCell, Arc<dyn Child>)>,
    started: Option<Instant>,
    strikes: u32,
    end: End,
}

/// What to do when a child's incarnation ends.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Start the next one: the end was not ordered.
    #[default]
    Restart,
    /// Forget the child: it was told to end.
    Forget,
    /// Start the child that has taken its name meanwhile.
    Replace,
}

impl Actor for Keeper {
    type Msg = Order;
    type State = Watch;
    type Arguments = Arc<Supervisor>;

    async fn pre_start(&self, _: ActorRef<Order>, supervisor: Arc<Supervisor>) -> Result<Watch, ActorProcessingErr> {
        Ok(Watch { supervisor, names: HashMap::new(), records: HashMap::new() })
    }

    async fn post_start(&self, myself: ActorRef<Order>, watch: &mut Watch) -> Result<(), ActorProcessingErr> {
        watch.supervisor.gauges.started();
        watch.supervisor.current.store(Some(Arc::new(myself.clone())));
        for child in watch.supervisor.roster.children() {
            watch.start(&myself, &child).await;
        }
        Ok(())
    }

    #[expect(clippy::panic, reason = "a crash that the operator asks for is a real one")]
    async fn handle(&self, myself: ActorRef<Order>, order: Order, watch: &mut Watch) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Start(name, started) => {
                watch.start_named(&myself, &name).await;
                // Whoever asked may have left.
                let _ = started.send(());
            }
            Order::Retry(name) => watch.start_named(&myself, &name).await,
            Order::Retire(name) => watch.retire(&name),
            Order::Crash => panic!("crashed by the operator through the admin API"),
        }
        watch.supervisor.gauges.count_handled();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        watch: &mut Watch,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => watch.ended(&myself, cell.get_id(), error.to_string()).await,
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let reason = reason.unwrap_or_else(|| "ended without having been told to".into());
                watch.ended(&myself, cell.get_id(), reason).await;
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Watch {
    async fn start_named(&mut self, myself: &ActorRef<Order>, name: &str) {
        if let Some(child) = self.supervisor.roster.get(name) {
            self.start(myself, &child).await;
        }
    }

    async fn start(&mut self, myself: &ActorRef<Order>, child: &Arc<dyn Child>) {
        let record = self.records.entry(child.name().to_owned()).or_default();
        if let Some((running, of)) = &record.running {
            // Another child may have taken the name: whoever started the former one left before it could be used.
            let is_other = !std::ptr::addr_eq(Arc::as_ptr(of), Arc::as_ptr(child));
            if is_other && record.end == End::Restart {
                // An actor that has just ended cannot be drained; its end is on the way to us.
                let _ = running.drain();
            }
            if is_other || record.end == End::Forget {
                record.end = End::Replace;
            }
            return;
        }
        match child.spawn(myself.get_cell()).await {
            Ok(cell) => {
                self.names.insert(cell.get_id(), child.name().to_owned());
                record.running = Some((cell, child.clone()));
                record.started = Some(Instant::now());
            }
            Err(error) => self.failed(myself, child, format!("could not start: {error}")),
        }
    }

    fn retire(&mut self, name: &str) {
        match self.records.get_mut(name) {
            Some(Record { running: Some((cell, _)), end, .. }) => {
                *end = End::Forget;
                // An actor that has just ended cannot be drained; its end is on the way to us.
                let _ = cell.drain();
            }
            _ => self.forget(name),
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(child) = self.supervisor.roster.get(name) {
            child.gauges().stopped();
        }
        self.records.remove(name);
        self.supervisor.roster.remove(name);
    }

    async fn ended(&mut self, myself: &ActorRef<Order>, id: ActorId, reason: String) {
        let Some(name) = self.names.remove(&id) else { return };
        let Some(child) = self.supervisor.roster.get(&name) else { return };
        let record = self.records.entry(name.clone()).or_default();
        record.running = None;
        match std::mem::take(&mut record.end) {
            End::Forget => return self.forget(&name),
            End::Replace => {
                record.strikes = 0;
                return self.start(myself, &child).await;
            }
            End::Restart => {}
        }
        if self.supervisor.stopping.load(Ordering::Relaxed) {
            return child.gauges().stopped();
        }
        if record.started.is_some_and(|started| started.elapsed() >= HEALTHY_AFTER) {
            record.strikes = 0;
        }
        self.failed(myself, &child, reason);
        // The first restart comes at once.
        if self.records.get(&name).is_some_and(|record| record.strikes == 1) {
            self.start(myself, &child).await;
        }
    }

    /// Writes down a failure and, from the second in a row on, sets the time of the next try.
    fn failed(&mut self, myself: &ActorRef<Order>, child: &Arc<dyn Child>, reason: String) {
        let name = child.name().to_owned();
        let record = self.records.entry(name.clone()).or_default();
        record.strikes = record.strikes.saturating_add(1);
        let wait = Backoff::RESTART.delay(record.strikes - 1, fastrand::f64());
        let degraded = record.strikes >= DEGRADED_AFTER;
        tracing::error!(
            actor = name,
            kind = child.kind(),
            reason,
            strikes = record.strikes,
            degraded,
            restart_in_ms = wait.as_millis() as u64,
            "actor failed; restarting it"
        );
        child.gauges().failed(reason);
        if record.strikes > 1 {
            myself.send_after(wait, move || Order::Retry(name));
        }
    }
}
