//! Places at a provider: so many calls in flight, so many waiting, fair over tenants.
//!
//! The gate stands outside the provider actor, so that a crash neither loses nor doubles a place. Tenants take [turns](super::turns) by
//! weight: one that queues a thousand requests waits behind its own, not in front of others. `tests/model` checks the hand-over under all
//! kinds of schedules.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use super::turns::{Turns, Weight};
use crate::identity::TenantId;
use crate::sync::{Mutex, MutexGuard, oneshot};

/// What became of the wish to enter.
#[derive(Debug)]
pub enum Entry {
    /// A place, at once.
    Place(Place),
    /// A place in the queue.
    Queued(Queued),
    /// The queue is full.
    Full,
}

/// The right to one call in flight; dropping it hands the place to the next in turn.
#[derive(Debug)]
pub struct Place(Option<Arc<Gate>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.pass_on();
        }
    }
}

/// A place in the queue: a future that yields the [`Place`]; dropping it leaves the queue.
#[derive(Debug)]
pub struct Queued {
    gate: Arc<Gate>,
    tenant: TenantId,
    number: u64,
    place: oneshot::Receiver<Place>,
}

impl Future for Queued {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Place> {
        match Pin::new(&mut self.place).poll(context) {
            Poll::Ready(Ok(place)) => Poll::Ready(place),
            // The gate keeps a sender until it sends; it outlives this future, which holds it.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.gate.leave(&self.tenant, self.number);
        // A place that was sent but never taken is dropped with the receiver, after the lock was released, and passes on.
    }
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    place: oneshot::Sender<Place>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    next_number: u64,
    waiting: Turns<Waiting>,
}

/// The places of one provider.
#[derive(Debug)]
pub struct Gate {
    max_in_flight: AtomicUsize,
    max_queue: AtomicUsize,
    state: Mutex<State>,
}

impl Gate {
    /// A gate with so many places and so many more in the queue.
    pub fn new(max_in_flight: usize, max_queue: usize) -> Arc<Self> {
        let max_in_flight = AtomicUsize::new(max_in_flight.max(1));
        Arc::new(Self { max_in_flight, max_queue: AtomicUsize::new(max_queue), state: Mutex::default() })
    }

    /// Changes the bounds. Whoever is inside or waits stays; places that are added go to those who wait.
    pub fn resize(self: &Arc<Self>, max_in_flight: usize, max_queue: usize) {
        self.max_in_flight.store(max_in_flight.max(1), Ordering::Relaxed);
        self.max_queue.store(max_queue, Ordering::Relaxed);
        while self.add_place() {
            self.pass_on();
        }
    }

    /// Takes a further place for those who wait, if the bound has room for it.
    fn add_place(&self) -> bool {
        let mut state = self.lock();
        let has_room = !state.waiting.is_empty() && state.in_flight < self.max_in_flight.load(Ordering::Relaxed);
        state.in_flight += usize::from(has_room);
        has_room
    }

    /// Asks for a place for the call of a tenant of this weight.
    pub fn enter(self: &Arc<Self>, tenant: &TenantId, weight: Weight) -> Entry {
        let mut state = self.lock();
        if state.in_flight < self.max_in_flight.load(Ordering::Relaxed) {
            state.in_flight += 1;
            return Entry::Place(Place(Some(self.clone())));
        }
        // A tenant that has nobody waiting finds room where others have filled the queue: as many again, at most.
        let max_queue = self.max_queue.load(Ordering::Relaxed);
        let most = if state.waiting.has(tenant) { max_queue } else { max_queue.saturating_mul(2) };
        if state.waiting.len() >= most {
            return Entry::Full;
        }
        state.next_number += 1;
        let number = state.next_number;
        let (sender, place) = oneshot::channel();
        state.waiting.push(tenant, weight, Waiting { number, place: sender });
        Entry::Queued(Queued { gate: self.clone(), tenant: tenant.clone(), number, place })
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// Calls waiting for a place.
    pub fn queued(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Hands a place that became free to the next in turn. It is sent outside the lock, in a loop: a waiter that has just left gives it
    /// back without a drop, so that neither a deadlock nor a recursion can come of it.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let Some(next) = self.next_in_turn() else { return };
            match next.place.send(Place(Some(self.clone()))) {
                Ok(()) => return,
                Err(mut refused) => drop(refused.0.take()),
            }
        }
    }

    /// The waiter whose turn it is, taken from the queue; where there is none, the place is given up.
    fn next_in_turn(&self) -> Option<Waiting> {
        let mut state = self.lock();
        // More are inside than may be since the bound was lowered: the others pass their places on when they leave.
        let is_over = state.in_flight > self.max_in_flight.load(Ordering::Relaxed);
        let next = if is_over { None } else { state.waiting.pop() };
        state.in_flight -= usize::from(next.is_none());
        next
    }

    fn leave(&self, tenant: &TenantId, number: u64) {
        self.lock().waiting.remove(tenant, |waiting| waiting.number == number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn enter(gate: &Arc<Gate>, name: &str) -> Entry {
        gate.enter(&tenant(name), Weight::default())
    }

    fn place(entry: Entry) -> Place {
        match entry {
            Entry::Place(place) => place,
            other => panic!("expected a place, got {other:?}"),
        }
    }

    fn queued(entry: Entry) -> Queued {
        match entry {
            Entry::Queued(queued) => queued,
            other => panic!("expected a place in the queue, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn tenants_take_turns() {
        let gate = Gate::new(1, 10);
        let first = place(enter(&gate, "busy"));
        let busy: Vec<_> = (0..3).map(|_| queued(enter(&gate, "busy"))).collect();
        let quiet = queued(enter(&gate, "quiet"));
        drop(first);
        let mut busy = busy.into_iter();
        drop(busy.next().unwrap().await);
        // Second in turn although it came fourth.
        let held = quiet.await;
        assert_eq!((gate.in_flight(), gate.queued()), (1, 2));
        drop(held);
        for waiting in busy {
            drop(waiting.await);
        }
        assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
    }

    #[test]
    fn the_queue_is_bounded() {
        let gate = Gate::new(1, 1);
        let _place = place(enter(&gate, "a"));
        let _queued = queued(enter(&gate, "a"));
        assert!(matches!(enter(&gate, "a"), Entry::Full));
        let _other = queued(enter(&gate, "b"));
        assert!(matches!(enter(&gate, "b"), Entry::Full));
        assert!(matches!(enter(&gate, "c"), Entry::Full), "there is an end to it");
    }

    #[tokio::test]
    async fn bounds_can_change_while_calls_are_under_way() {
        let gate = Gate::new(1, 10);
        let first = place(enter(&gate, "a"));
        let (second, third) = (queued(enter(&gate, "a")), queued(enter(&gate, "a")));
        gate.resize(2, 10);
        let second = second.await;
        assert_eq!((gate.in_flight(), gate.queued()), (2, 1));
        gate.resize(1, 10);
        drop(first);
        assert_eq!((gate.in_flight(), gate.queued()), (1, 1), "a place beyond the bound is given up");
        drop(second);
        drop(third.await);
        assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
    }

    #[test]
    fn a_release_passes_over_all_who_left() {
        let gate = Gate::new(1, 10_000);
        let held = place(enter(&gate, "a"));
        let waiting: Vec<_> = (0..10_000).map(|n| queued(enter(&gate, if n % 2 == 0 { "a" } else { "b" }))).collect();
        drop(waiting);
        drop(held);
        assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
    }

    #[test]
    fn waiters_that_leave_while_places_are_released_lose_none() {
        let gate = Gate::new(4, 100_000);
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let gate = gate.clone();
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        drop(enter(&gate, name));
                    }
                });
            }
        });
        assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
    }

    proptest! {
        #[test]
        fn no_schedule_loses_or_doubles_a_place(steps in proptest::collection::vec((0u8..3, any::<proptest::sample::Index>()), 0..200)) {
            let gate = Gate::new(3, 5);
            let mut places = Vec::new();
            let mut waiting = Vec::new();
            for (action, which) in steps {
                match action {
                    0 => match enter(&gate, if which.index(2) == 0 { "a" } else { "b" }) {
                        Entry::Place(place) => places.push(place),
                        Entry::Queued(queued) => waiting.push(queued),
                        Entry::Full => prop_assert!(gate.queued() >= 5),
                    },
                    1 if !places.is_empty() => drop(places.swap_remove(which.index(places.len()))),
                    2 if !waiting.is_empty() => drop(waiting.swap_remove(which.index(waiting.len()))),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut queued in waiting {
                    match queued.place.try_recv() {
                        Ok(place) => places.push(place),
                        Err(_) => still.push(queued),
                    }
                }
                waiting = still;
                prop_assert_eq!(gate.in_flight(), places.len());
                prop_assert_eq!(gate.queued(), waiting.len());
                prop_assert!(waiting.is_empty() || places.len() == 3);
            }
            drop((places, waiting));
            prop_assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
        }
    }
}
