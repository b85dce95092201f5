//! An actor that does one role's work under a supervisor.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use serde_json::Value;

use super::address::{Address, Envelope};
use super::gauges::Gauges;
use super::supervisor::{Child, SpawnFuture};

/// What the actors of a role do.
///
/// The behaviour itself is shared by all incarnations and holds what outlives them; the state belongs to one incarnation and is lost
/// with it. Handlers are plain functions that take microseconds: they cannot await and must not block.
pub trait Behaviour: Send + Sync + 'static {
    /// What can be sent to it.
    type Message: Send + 'static;
    /// What one incarnation owns.
    type State: Send + 'static;

    /// The kind of actor, for instance `provider`.
    fn kind(&self) -> &'static str;

    /// The state of a fresh incarnation, from what outlives a crash. Does no I/O and cannot fail.
    fn start(&self) -> Self::State;

    /// Handles one message.
    fn handle(&self, state: &mut Self::State, message: Self::Message);

    /// How often [`Behaviour::tick`] is called; `None`: never.
    fn tick_interval(&self) -> Option<Duration> {
        None
    }

    /// Asked after each message: when a further [`Behaviour::tick`] is wanted. Each `Some` brings one.
    fn next_tick(&self, _state: &mut Self::State) -> Option<Duration> {
        None
    }

    /// Time has passed.
    fn tick(&self, _state: &mut Self::State) {}

    /// What may be seen of the state; no secrets.
    fn observe(&self, state: &Self::State) -> Value;

    /// Requests in flight that hold something of this role.
    fn in_flight(&self) -> u64;
}

/// One role's actor as a supervisor's child.
pub struct Leaf<B: Behaviour> {
    behaviour: Arc<B>,
    address: Address<B::Message>,
}

impl<B: Behaviour> Leaf<B> {
    /// A child that runs `behaviour` at `address`.
    pub fn new(behaviour: Arc<B>, address: Address<B::Message>) -> Arc<Self> {
        Arc::new(Self { behaviour, address })
    }
}

impl<B: Behaviour> Child for Leaf<B> {
    fn name(&self) -> &str {
        self.address.name()
    }

    fn kind(&self) -> &'static str {
        self.behaviour.kind()
    }

    fn gauges(&self) -> &Arc<Gauges> {
        self.address.gauges()
    }

    fn in_flight(&self) -> u64 {
        self.behaviour.in_flight()
    }

    fn crash(&self) -> bool {
        self.address.crash()
    }

    fn spawn(&self, parent: ActorCell) -> SpawnFuture {
        let arguments = (self.behaviour.clone(), self.address.clone());
        Box::pin(async move {
            let (actor, _) =
                Actor::spawn_linked(None, Worker::<B>(std::marker::PhantomData), arguments, parent).await?;
            Ok::<_, SpawnErr>(actor.get_cell())
        })
    }
}

struct Worker<B>(std::marker::PhantomData<fn() -> B>);

struct Incarnate<B: Behaviour> {
    behaviour: Arc<B>,
    address: Address<B::Message>,
    state: B::State,
}

impl<B: Behaviour> Actor for Worker<B> {
    type Msg = Envelope<B::Message>;
    type State = Incarnate<B>;
    type Arguments = (Arc<B>, Address<B::Message>);

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        (behaviour, address): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let state = behaviour.start();
        Ok(Incarnate { behaviour, address, state })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        incarnate: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(interval) = incarnate.behaviour.tick_interval() {
            myself.send_interval(interval, || Envelope::Tick);
        }
        incarnate.address.gauges().started();
        incarnate.address.install(myself);
        Ok(())
    }

    #[expect(clippy::panic, reason = "a crash that the operator asks for is a real one")]
    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        incarnate: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match envelope {
            Envelope::Work(message, _slot) => {
                incarnate.behaviour.handle(&mut incarnate.state, message);
                if let Some(wait) = incarnate.behaviour.next_tick(&mut incarnate.state) {
                    myself.send_after(wait, || Envelope::Tick);
                }
                incarnate.address.gauges().count_handled();
            }
            Envelope::Tick => incarnate.behaviour.tick(&mut incarnate.state),
            Envelope::Crash => panic!("crashed by the operator through the admin API"),
            Envelope::Hold(held) => drop(held.await),
            Envelope::Observe(port) => {
                // Whoever asked may have lost patience.
                let _ = port.send(incarnate.behaviour.observe(&incarnate.state));
            }
        }
        Ok(())
    }
}
