//! `kill -9` at any moment: no record that was acknowledged is lost, and none counts twice.
//!
//! The test starts itself as a child that appends as fast as it can and prints each record once the append has returned; kills it after
//! a random number of acknowledgements; opens the store and compares. `AIPIPE_KILL_ROUNDS` sets how often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use aipipe::store::{AdminScope, MasterKeySource, Settings, Store, Synchronous};
use aipipe_actors::identity::{ModelId, ProviderId, RequestId, TenantId};
use aipipe_actors::ledger::{CacheUse, Closing, Ledger, Opening, Outcome, Raise};
use aipipe_actors::money::{NanoUsd, Rates, Tokens};
use jiff::Timestamp;
use serde_json::value::RawValue;

const DATABASE: &str = "AIPIPE_TEST_KILL_DATABASE";
const RESERVED: NanoUsd = NanoUsd(1_000);
const RAISED: NanoUsd = NanoUsd(3_000);
const COST: NanoUsd = NanoUsd(700);

fn open(path: &Path) -> (Store, aipipe::store::Recovered) {
    let settings = Settings {
        path: path.to_owned(),
        master_key: MasterKeySource::FileBesideDatabase,
        synchronous: Synchronous::Normal,
    };
    Store::open(settings).unwrap()
}

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn opening(decision: &Arc<RawValue>) -> Opening {
    Opening {
        request_id: RequestId::generate(),
        tenant: tenant(),
        at: Timestamp::now(),
        dialect: "chat".into(),
        requested: "auto".into(),
        complexity: 0.5,
        provider: ProviderId::parse("openai").unwrap(),
        model: ModelId::parse("gpt-4o-mini").unwrap(),
        rates: Rates::default(),
        reserved: RESERVED,
        cache: CacheUse::Miss,
        tags: Vec::new(),
        decision: Arc::clone(decision),
        shadow_of: None,
    }
}

fn raise(opening: &Opening) -> Raise {
    Raise {
        request_id: opening.request_id,
        tenant: opening.tenant.clone(),
        provider: opening.provider.clone(),
        model: opening.model.clone(),
        reserved: RAISED,
    }
}

fn closing(opening: &Opening) -> Closing {
    Closing {
        request_id: opening.request_id,
        tenant: opening.tenant.clone(),
        at: Timestamp::now(),
        outcome: Outcome::Ok,
        provider: opening.provider.clone(),
        model: opening.model.clone(),
        attempts: Vec::new(),
        tokens: Tokens { input: 10, output: 20, ..Tokens::default() },
        estimated: false,
        cost: COST,
        saved: NanoUsd::ZERO,
        latency_ms: 5,
        ttft_ms: None,
    }
}

/// The child: not a test of its own, and idle unless the parent started it.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(DATABASE).map(PathBuf::from) else { return };
    let (store, _) = open(&path);
    let ledger = store.ledger();
    // Long enough that some rounds see segments turn.
    let decision: Arc<RawValue> = RawValue::from_string(format!("\"{}\"", "d".repeat(4_000))).unwrap().into();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| append_forever(&*ledger, &decision));
        }
    });
}

fn append_forever(ledger: &dyn Ledger, decision: &Arc<RawValue>) {
    let acknowledge = |what: &str, id: RequestId| {
        // One write a line, so that the lines of two threads do not mingle.
        let line = format!("\n{what} {id}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    };
    for number in 0_u64.. {
        let opening = opening(decision);
        let id = opening.request_id;
        if number % 5 == 4 {
            ledger.open_and_close(&opening, &closing(&opening)).unwrap();
            acknowledge("closed", id);
            continue;
        }
        ledger.open(&opening).unwrap();
        acknowledge("opened", id);
        if number % 5 == 1 {
            ledger.raise(&raise(&opening)).unwrap();
            acknowledge("raised", id);
        }
        // Every fifth request is never settled.
        if number % 5 != 2 {
            ledger.close(&closing(&opening));
            acknowledge("closed", id);
        }
    }
}

/// The last thing that was acknowledged of each request, by a child that was killed after `acknowledgements` of them.
fn killed_after(acknowledgements: usize, path: &Path) -> HashMap<RequestId, String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut last = HashMap::new();
    let mut seen = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        // What the pipe holds of an acknowledgement that was cut off names no whole id.
        let Some((what, id)) = line.trim_end().split_once(' ') else { continue };
        if !["opened", "raised", "closed"].contains(&what) {
            continue;
        }
        let Ok(id) = RequestId::parse(id) else { continue };
        last.insert(id, what.to_owned());
        seen += 1;
        if seen == acknowledgements {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "it was killed");
    assert!(seen >= acknowledgements, "the child ended by itself");
    last
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_counted_twice() {
    let rounds: usize = std::env::var("AIPIPE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aipipe.db");
    let mut unsettled_before = 0;
    for round in 0..rounds {
        // Mostly early, when the journal is all there is; now and then late enough for segments to turn.
        let acknowledgements = if round % 10 == 9 { fastrand::usize(5_000..9_000) } else { fastrand::usize(1..800) };
        let acknowledged = killed_after(acknowledgements, &path);
        let (store, recovered) = open(&path);
        assert_eq!(store.unsettled_count(), unsettled_before + recovered.unsettled);
        unsettled_before = store.unsettled_count();
        for (id, what) in &acknowledged {
            let row = store.request(AdminScope::granted(), *id).await.unwrap();
            let row = row.unwrap_or_else(|| panic!("round {round}: {id}, {what}, has no row"));
            let found = (row.outcome, row.cost);
            // A step that came after the last one that was acknowledged may have been recorded too.
            let allowed = match what.as_str() {
                "closed" => [(Outcome::Ok, COST)].as_slice(),
                "raised" => &[(Outcome::Unsettled, RAISED), (Outcome::Ok, COST)],
                _ => &[(Outcome::Unsettled, RESERVED), (Outcome::Unsettled, RAISED), (Outcome::Ok, COST)],
            };
            assert!(allowed.contains(&found), "round {round}: {id}, {what}, is {found:?}");
        }
        // The sums that budgets go by move with each settlement: a second one would part them from the rows.
        let stats = store.stats(&tenant(), Timestamp::MIN, Timestamp::MAX).await.unwrap();
        let spent = spent_since_the_first_round(&store).await;
        assert_eq!(stats.total.cost, spent, "round {round}");
        store.close();
    }
}

/// All days' spend: the months of yesterday and today, which differ where the test runs over their border.
async fn spent_since_the_first_round(store: &Store) -> NanoUsd {
    let now = Timestamp::now();
    let yesterday = now - jiff::SignedDuration::from_hours(24);
    let today = store.position(&tenant(), now).await.unwrap();
    let before = store.position(&tenant(), yesterday).await.unwrap();
    if now.to_string().get(..7) == yesterday.to_string().get(..7) { today.month } else { today.month + before.month }
}
