use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::RpcReplyPort;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

/// Counts what it is asked; `total` outlives its crashes, the state does not.
struct Counter {
    total: AtomicU64,
}

enum Ask {
    Next(RpcReplyPort<u64>),
    Panic,
}

impl Behaviour for Counter {
    type Message = Ask;
    type State = u64;

    fn kind(&self) -> &'static str {
        "counter"
    }

    fn start(&self) -> u64 {
        0
    }

    fn handle(&self, state: &mut u64, message: Ask) {
        match message {
            Ask::Next(port) => {
                *state += 1;
                self.total.fetch_add(1, Ordering::Relaxed);
                let _ = port.send(*state);
            }
            Ask::Panic => panic!("told to"),
        }
    }

    fn observe(&self, state: &u64) -> Value {
        json!({ "count": state })
    }

    fn in_flight(&self) -> u64 {
        0
    }
}

async fn system_of(names: &[&str]) -> (Arc<System>, Vec<Address<Ask>>, Arc<Supervisor>) {
    let system = System::new();
    let roster = Arc::new(Roster::default());
    let mut addresses = Vec::new();
    for name in names {
        let address = Address::new((*name).to_owned(), 4, system.gauges(name));
        roster.add(Leaf::new(Arc::new(Counter { total: AtomicU64::new(0) }), address.clone()));
        addresses.push(address);
    }
    let supervisor = system.supervisor("counters", roster);
    system.start(vec![Arc::new(supervisor.clone())]).await;
    (system, addresses, supervisor)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn next(address: &Address<Ask>) -> Result<u64, CallError> {
    address.call(soon(), Ask::Next).await
}

#[tokio::test]
async fn a_crashed_actor_comes_back_at_its_address_with_fresh_state() {
    let (system, addresses, _) = system_of(&["a", "b"]).await;
    assert_eq!(next(&addresses[0]).await, Ok(1));
    assert_eq!(next(&addresses[0]).await, Ok(2));
    assert!(system.crash("a"));
    assert_eq!(next(&addresses[0]).await, Ok(1), "the state is the new incarnation's");
    assert_eq!(addresses[0].gauges().restarts(), 1);
    assert!(addresses[0].gauges().last_failure().unwrap().reason.contains("crashed by the operator"));
    assert_eq!(addresses[1].gauges().restarts(), 0, "a sibling is untouched");
    assert!(!system.crash("nobody"));
}

#[tokio::test]
async fn a_call_queued_behind_a_crash_is_asked_again() {
    let (_system, addresses, _) = system_of(&["a"]).await;
    let suspension = addresses[0].suspend();
    addresses[0].cast(Ask::Panic).unwrap();
    let waiting = tokio::spawn({
        let address = addresses[0].clone();
        async move { next(&address).await }
    });
    while addresses[0].gauges().mailbox() < 2 {
        tokio::task::yield_now().await;
    }
    drop(suspension);
    assert_eq!(waiting.await.unwrap(), Ok(1));
    assert_eq!(addresses[0].gauges().mailbox(), 0, "the flushed slot came back");
}

#[tokio::test]
async fn a_full_mailbox_refuses_and_a_drained_one_accepts() {
    let (_system, addresses, _) = system_of(&["a"]).await;
    let suspension = addresses[0].suspend();
    let mut calls: Vec<_> = Vec::new();
    for _ in 0..4 {
        let address = addresses[0].clone();
        calls.push(tokio::spawn(async move { next(&address).await }));
    }
    while addresses[0].gauges().mailbox() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&addresses[0]).await, Err(CallError::Full));
    assert_eq!(addresses[0].gauges().refused(), 1);
    drop(suspension);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert!(next(&addresses[0]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_actor_fails_the_call_and_never_hangs_it() {
    let (_system, addresses, _) = system_of(&["a"]).await;
    let _suspension = addresses[0].suspend();
    assert_eq!(next(&addresses[0]).await, Err(CallError::Unavailable));
}

#[tokio::test]
async fn crashed_supervisors_and_the_root_rebuild_what_is_below_them() {
    let (system, addresses, _) = system_of(&["a", "b"]).await;
    for (round, name) in ["counters", "root"].into_iter().enumerate() {
        assert!(system.crash(name));
        for address in &addresses {
            while address.gauges().restarts() < round as u64 + 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!(next(address).await, Ok(1));
        }
    }
    let tree = serde_json::to_value(system.tree()).unwrap();
    assert_eq!(tree["name"], "root");
    assert_eq!(tree["restarts"], 1);
    assert_eq!(tree["children"][0]["name"], "counters");
    assert_eq!(tree["children"][0]["children"][1]["name"], "b");
    assert_eq!(tree["children"][0]["children"][1]["status"], "running");
}

#[tokio::test(start_paused = true)]
async fn restarts_back_off_and_never_give_up() {
    let (_system, addresses, _) = system_of(&["a"]).await;
    for round in 0..12 {
        addresses[0].cast(Ask::Panic).unwrap();
        while addresses[0].gauges().restarts() <= round {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(next(&addresses[0]).await.is_ok());
}

#[tokio::test]
async fn a_retired_child_is_forgotten_and_its_name_can_be_used_again() {
    let (system, addresses, supervisor) = system_of(&["a"]).await;
    supervisor.retire("a");
    let again = Address::new("a".to_owned(), 4, system.gauges("a"));
    supervisor.start(Leaf::new(Arc::new(Counter { total: AtomicU64::new(0) }), again.clone())).await;
    assert_eq!(next(&again).await, Ok(1));
    assert!(matches!(
        addresses[0].call(Instant::now() + Duration::from_millis(1), Ask::Next).await,
        Err(CallError::Unavailable)
    ));
    assert_eq!(again.gauges().restarts(), 0);
}

#[tokio::test]
async fn shutdown_handles_what_is_queued_and_restarts_nothing() {
    let (system, addresses, _) = system_of(&["a"]).await;
    let suspension = addresses[0].suspend();
    let queued = tokio::spawn({
        let address = addresses[0].clone();
        async move { next(&address).await }
    });
    while addresses[0].gauges().mailbox() < 1 {
        tokio::task::yield_now().await;
    }
    drop(suspension);
    system.shutdown(Duration::from_secs(5)).await;
    assert_eq!(queued.await.unwrap(), Ok(1));
    assert_eq!(addresses[0].gauges().restarts(), 0);
}
