//! A model check of what hands things over between tasks: the gate's places, a flight's answer, an account's money.
//!
//! The modules are compiled a second time here, over [`sync`] in place of the crate's own locks and channels, so that schedules of a few
//! threads are tried: thousands in order, thousands at random. A lost place, a waiter that nobody wakes (shuttle sees the deadlock) or
//! money held twice fails with the schedule that led there. A step within a channel is tokio's own and is trusted; a cancellation is a
//! drop. A program of its own, as the modules' unit tests must not run on shuttle's locks.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use aipipe_actors::{identity, money};

mod sync;

#[path = "../../provider"]
mod provider {
    pub mod gate;
    pub mod turns;
}

#[path = "../../tenant"]
mod tenant {
    pub mod account;
    pub mod flight;
    pub use aipipe_actors::tenant::{answers, limits, policy};
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aipipe_actors::identity::{ModelId, ProviderId, TenantId};
use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::digest::PromptKey;
use aipipe_actors::tenant::answers::AnswerKey;
use aipipe_actors::tenant::policy::{BudgetPeriod, Policy};
use provider::gate::{Entry, Gate, Place};
use provider::turns::Weight;
use shuttle::future::block_on;
use shuttle::thread;
use tenant::account::{Account, Position};
use tenant::flight::{Boarding, Flights, Landing, SharedRefusal};

/// Schedules tried at random, of each kind.
const SCHEDULES: usize = 1_000;
/// Schedules tried one after the other, at most.
const IN_ORDER: usize = 1_000;

fn main() {
    for (name, model) in [
        ("a place is handed over to whoever waits", places_are_handed_over as fn()),
        ("waiters that leave lose no place", waiters_leave as fn()),
        ("bounds change while places are handed over", bounds_change as fn()),
        ("a flight lands once for all, or another leads", flights_land as fn()),
        ("reservations never exceed a budget", budgets_hold as fn()),
    ] {
        println!("model: {name}");
        shuttle::check_dfs(model, Some(IN_ORDER));
        shuttle::check_random(model, SCHEDULES);
        shuttle::check_pct(model, SCHEDULES, 3);
    }
}

fn tenant_named(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn enter(gate: &Arc<Gate>, name: &str) -> Entry {
    // Unlike weights, so that turns are passed over.
    let weight = if name == "a" { 3 } else { 1 };
    gate.enter(&tenant_named(name), Weight::try_from(weight).unwrap())
}

/// Waits for a place, or has it at once.
fn place(entry: Entry) -> Option<Place> {
    match entry {
        Entry::Place(place) => Some(place),
        Entry::Queued(queued) => Some(block_on(queued)),
        Entry::Full => None,
    }
}

fn assert_empty(gate: &Gate) {
    assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
}

fn places_are_handed_over() {
    let gate = Gate::new(1, 4);
    let inside = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = ["a", "a", "b"]
        .map(|name| {
            let (gate, inside) = (gate.clone(), inside.clone());
            thread::spawn(move || {
                let place = place(enter(&gate, name)).expect("the queue has room");
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "one place, one inside");
                thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(place);
            })
        })
        .into_iter()
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert_empty(&gate);
}

fn waiters_leave() {
    let gate = Gate::new(1, 4);
    let held = place(enter(&gate, "a")).unwrap();
    let leaving: Vec<_> = ["a", "b"]
        .map(|name| {
            let gate = gate.clone();
            // Whether it waits by now or has a place, it goes without a look at it.
            thread::spawn(move || drop(enter(&gate, name)))
        })
        .into_iter()
        .collect();
    let staying = {
        let gate = gate.clone();
        thread::spawn(move || drop(place(enter(&gate, "c")).unwrap()))
    };
    drop(held);
    leaving.into_iter().chain([staying]).for_each(|task| task.join().unwrap());
    assert_empty(&gate);
}

fn bounds_change() {
    let gate = Gate::new(1, 4);
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let gate = gate.clone();
            thread::spawn(move || drop(place(enter(&gate, "a")).unwrap()))
        })
        .collect();
    gate.resize(2, 4);
    gate.resize(1, 4);
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert_empty(&gate);
}

fn key() -> AnswerKey {
    AnswerKey {
        provider: ProviderId::parse("openai").unwrap(),
        model: ModelId::parse("m").unwrap(),
        prompt: PromptKey(1),
    }
}

fn flights_land() {
    let flights = Arc::new(Flights::default());
    let calls = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = [false, true, true]
        .map(|lands| {
            let (flights, calls) = (flights.clone(), calls.clone());
            thread::spawn(move || {
                // As a request does: after a flight that came to nothing it asks again.
                loop {
                    match flights.board(key()) {
                        Boarding::Lead(leader) => {
                            assert_eq!(calls.fetch_add(1, Ordering::SeqCst), 0, "one call at a time");
                            thread::yield_now();
                            calls.fetch_sub(1, Ordering::SeqCst);
                            if lands {
                                let (code, message) = ("code".to_owned(), "message".to_owned());
                                let refusal = SharedRefusal { status: 400, code, message, param: None };
                                leader.land(Landing::Refused(Arc::new(refusal)));
                            }
                            return;
                        }
                        Boarding::Follow(follower) => match block_on(follower.landing()) {
                            Landing::Abandoned => {}
                            Landing::Answered(_) | Landing::Refused(_) => return,
                        },
                    }
                }
            })
        })
        .into_iter()
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert!(flights.is_empty());
}

fn budgets_hold() {
    let now = "2026-11-26T12:00:00Z".parse().unwrap();
    let policy = Policy { budget_usd: Some(NanoUsd(100)), budget_period: BudgetPeriod::Day, ..Policy::default() };
    let account = Account::open(Position::default(), now);
    let settled = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = [true, false, true]
        .map(|dispatched| {
            let (account, policy, settled) = (account.clone(), policy.clone(), settled.clone());
            thread::spawn(move || {
                let Ok(mut reserved) = account.reserve(&policy, now, NanoUsd(40)) else { return };
                // A second attempt, or a hedge.
                if let Ok(more) = account.reserve(&policy, now, NanoUsd(20)) {
                    reserved.join(more);
                }
                let balance = account.balance(now);
                assert!(balance.spent_day.0 + balance.held.0 <= 100, "{balance:?}");
                if dispatched {
                    settled.fetch_add(30, Ordering::SeqCst);
                    reserved.settle(NanoUsd(30));
                }
            })
        })
        .into_iter()
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    let balance = account.balance(now);
    assert_eq!((balance.held, balance.spent_day), (NanoUsd::ZERO, NanoUsd(settled.load(Ordering::SeqCst) as i64)));
}
