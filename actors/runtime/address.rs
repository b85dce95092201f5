//! The address of a role: where to send, whichever incarnation lives now.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, ActorStatus, RpcReplyPort};
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::gauges::Gauges;

/// Longest wait for an answer, and for the next incarnation after a death.
const PATIENCE: Duration = Duration::from_secs(2);
/// An actor that failed has a successor or another status by then; also the first wait, of rising ones, for one that a call was forwarded to.
const SUCCESSION: Duration = Duration::from_millis(20);
/// How often a call is repeated after a death.
const REPEATS: u32 = 2;

/// What travels in a mailbox.
pub(super) enum Envelope<M> {
    /// A message, with the slot that it holds until it has been handled.
    Work(M, MailboxSlot),
    /// Time has passed.
    Tick,
    /// The operator wants a real crash.
    Crash,
    /// Handle nothing until the other end is dropped.
    Hold(oneshot::Receiver<()>),
    /// Somebody wants to look.
    Observe(RpcReplyPort<Value>),
}

/// A place in a mailbox: taken before a message is sent, given back when the message is gone, also by a crash that flushes the mailbox.
pub(super) struct MailboxSlot(Arc<Gauges>);

impl Drop for MailboxSlot {
    fn drop(&mut self) {
        self.0.mailbox.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The mailbox holds as many messages as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox is full")]
pub struct MailboxFull;

/// Why a call got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The mailbox is full; nothing was sent.
    #[error("the actor's mailbox is full")]
    Full,
    /// No incarnation answered in time, though the call may still be handled.
    #[error("the actor does not answer")]
    Unavailable,
}

struct Incarnation<M: Send + 'static> {
    number: u64,
    actor: ActorRef<Envelope<M>>,
}

struct Role<M: Send + 'static> {
    name: String,
    bound: usize,
    gauges: Arc<Gauges>,
    current: ArcSwapOption<Incarnation<M>>,
    number: watch::Sender<u64>,
}

/// The address of a role. Cheap to clone; never dead.
pub struct Address<M: Send + 'static> {
    role: Arc<Role<M>>,
}

impl<M: Send + 'static> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { role: self.role.clone() }
    }
}

impl<M: Send + 'static> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.role.name)
    }
}

/// Keeps an actor from handling anything until dropped.
#[derive(Debug)]
pub struct Suspension {
    _release: oneshot::Sender<()>,
}

impl<M: Send + 'static> Address<M> {
    /// The address of a role whose mailbox holds at most `bound` messages.
    pub fn new(name: String, bound: usize, gauges: Arc<Gauges>) -> Self {
        let role = Role { name, bound, gauges, current: ArcSwapOption::empty(), number: watch::Sender::new(0) };
        Self { role: Arc::new(role) }
    }

    /// The role's name, for instance `tenant:default`.
    pub fn name(&self) -> &str {
        &self.role.name
    }

    /// Whether an incarnation lives. One that panics at this moment may still seem to.
    pub fn is_live(&self) -> bool {
        self.role.current.load().as_ref().is_some_and(|current| is_live(&current.actor))
    }

    /// The role's counters.
    pub fn gauges(&self) -> &Arc<Gauges> {
        &self.role.gauges
    }

    /// Sends a message and forgets it. Without a live incarnation the message is gone, as it would be with one that dies.
    ///
    /// # Errors
    /// [`MailboxFull`]: nothing was sent.
    pub fn cast(&self, message: M) -> Result<(), MailboxFull> {
        self.offer(message).map_err(|_| MailboxFull)
    }

    /// Sends a message that must not be lost where the mailbox is full.
    ///
    /// # Errors
    /// The message itself, where the mailbox is full.
    pub fn offer(&self, message: M) -> Result<(), M> {
        let Ok(slot) = self.slot() else { return Err(message) };
        if let Some(current) = &*self.role.current.load() {
            // A dead reference drops the message; the guards and the reply port within it tell whoever waits.
            let _ = current.actor.cast(Envelope::Work(message, slot));
        }
        Ok(())
    }

    /// Sends a message with a reply port and waits for the reply, at most until `deadline` and never longer than two seconds an
    /// incarnation. A caller that meets a death waits for the next incarnation and asks again, twice at most. Where the death is of another
    /// actor, which the message was forwarded to, it asks again for up to two seconds.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<R: Send + 'static>(
        &self,
        deadline: Instant,
        message: impl Fn(RpcReplyPort<R>) -> M,
    ) -> Result<R, CallError> {
        let (mut dead, mut deaths) = (None, 0);
        let (until, mut pause) = (deadline.min(Instant::now() + PATIENCE), SUCCESSION);
        while deaths <= REPEATS {
            let current = self.incarnation_after(dead, deadline).await?;
            let slot = self.slot().map_err(|MailboxFull| CallError::Full)?;
            let (port, reply) = oneshot::channel();
            if current.actor.cast(Envelope::Work(message(port.into()), slot)).is_ok() {
                match timeout_at(deadline.min(Instant::now() + PATIENCE), reply).await {
                    Ok(Ok(reply)) => return Ok(reply),
                    // The port was dropped: the actor, or one that it forwarded the port to, died with the message.
                    Ok(Err(_)) if self.outlives_its_reply(&current).await => {
                        if Instant::now() + pause >= until {
                            return Err(CallError::Unavailable);
                        }
                        sleep(pause).await;
                        pause *= 2;
                        continue;
                    }
                    Ok(Err(_)) => {}
                    Err(_) => return Err(CallError::Unavailable),
                }
            }
            dead = Some(current.number);
            deaths += 1;
        }
        Err(CallError::Unavailable)
    }

    /// Makes the actor panic while it handles a message. False where no incarnation lives.
    pub fn crash(&self) -> bool {
        self.send(Envelope::Crash)
    }

    /// Keeps the actor from handling anything that is sent after this, until the suspension is dropped.
    pub fn suspend(&self) -> Suspension {
        let (release, held) = oneshot::channel();
        self.send(Envelope::Hold(held));
        Suspension { _release: release }
    }

    /// What the actor shows of its state; `None` where it does not answer.
    pub async fn observe(&self) -> Option<Value> {
        let (port, reply) = oneshot::channel();
        self.send(Envelope::Observe(port.into()));
        timeout_at(Instant::now() + PATIENCE, reply).await.ok()?.ok()
    }

    /// Makes `actor` the current incarnation and wakes whoever waits for it.
    pub(super) fn install(&self, actor: ActorRef<Envelope<M>>) {
        self.role.number.send_modify(|number| {
            *number += 1;
            self.role.current.store(Some(Arc::new(Incarnation { number: *number, actor })));
        });
    }

    fn send(&self, envelope: Envelope<M>) -> bool {
        self.role.current.load().as_ref().is_some_and(|current| current.actor.cast(envelope).is_ok())
    }

    /// Whether an incarnation that dropped a reply port is still alive. A panic drops the port before ractor changes the status, so the
    /// successor is given a moment to appear.
    async fn outlives_its_reply(&self, incarnation: &Incarnation<M>) -> bool {
        let mut numbers = self.role.number.subscribe();
        let succeeded = numbers.wait_for(|&number| number > incarnation.number);
        timeout_at(Instant::now() + SUCCESSION, succeeded).await.is_err() && is_live(&incarnation.actor)
    }

    fn slot(&self) -> Result<MailboxSlot, MailboxFull> {
        let gauges = &self.role.gauges;
        let slot = MailboxSlot(gauges.clone());
        if gauges.mailbox.fetch_add(1, Ordering::Relaxed) >= self.role.bound {
            gauges.count_refused();
            return Err(MailboxFull);
        }
        Ok(slot)
    }

    /// The current incarnation, if it is a later one than `dead`; otherwise waits for that.
    async fn incarnation_after(&self, dead: Option<u64>, deadline: Instant) -> Result<Arc<Incarnation<M>>, CallError> {
        let later = |number: u64| number > dead.unwrap_or(0);
        if !later(*self.role.number.borrow()) {
            let mut numbers = self.role.number.subscribe();
            let patience = deadline.min(Instant::now() + PATIENCE);
            let waited = timeout_at(patience, numbers.wait_for(|&number| later(number))).await;
            waited.map_err(|_| CallError::Unavailable)?.map_err(|_| CallError::Unavailable)?;
        }
        self.role.current.load_full().ok_or(CallError::Unavailable)
    }
}

fn is_live<M: Send + 'static>(actor: &ActorRef<Envelope<M>>) -> bool {
    actor.get_status() <= ActorStatus::Running
}
