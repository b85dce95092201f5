#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;

use aipipe_actors::identity::TenantId;
use aipipe_actors::ledger::{CacheUse, Closing, Opening, Outcome};
use aipipe_actors::money::{NanoUsd, Tokens};
use aipipe_actors::tenant::policy::{BudgetPeriod, Policy};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use super::samples::{attempt, closing, id, instant, model, opening, provider, raise, tenant};
use super::*;

/// A database that outlives the stores which are opened on it.
struct Place {
    _directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/aipipe.db");
        Self { _directory: directory, path }
    }

    fn settings(&self) -> Settings {
        Settings {
            path: self.path.clone(),
            master_key: MasterKeySource::FileBesideDatabase,
            synchronous: Synchronous::Normal,
        }
    }

    fn open(&self) -> (Store, Recovered) {
        Store::open(self.settings()).unwrap()
    }
}

fn admin() -> AdminScope {
    AdminScope::granted()
}

async fn row(store: &Store, number: u128) -> RequestRow {
    store.request(admin(), id(number)).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_was_just_recorded_is_read() {
    let (store, _) = Place::new().open();
    let ledger = store.ledger();
    for number in 0..20 {
        ledger.open(&opening(number)).unwrap();
        assert_eq!(row(&store, number).await.outcome, Outcome::Reserved);
        ledger.close(&closing(number, 700));
        let row = row(&store, number).await;
        assert_eq!((row.outcome, row.cost), (Outcome::Ok, NanoUsd(700)));
    }
}

#[tokio::test]
async fn a_row_shows_all_that_was_recorded() {
    let (store, _) = Place::new().open();
    store.ledger().open(&opening(1)).unwrap();
    store.ledger().close(&closing(1, 258_450));
    let shown = serde_json::to_value(row(&store, 1).await).unwrap();
    let expected = serde_json::json!({
        "request_id": id(1).to_string(), "tenant": "acme", "at": "2026-03-31T23:30:00Z", "dialect": "chat", "requested": "auto",
        "provider": "openai", "model": "gpt-4o-mini", "complexity": 0.412, "outcome": "ok",
        "attempts": [{"provider": "openai", "model": "gpt-4o-mini", "outcome": "ok", "status": 200, "latency_ms": 700,
                      "cost_usd": "0.000258450"}],
        "tokens": {"input": 100, "cached_input": 40, "cache_write": 0, "output": 20, "reasoning": 0,
                   "audio_input": 30, "audio_output": 5}, "estimated": false,
        "cost_usd": "0.000258450", "reserved_usd": "0.000009000", "saved_usd": "0.000000050", "latency_ms": 720, "ttft_ms": 310,
        "cache": "miss", "tags": ["nightly"], "decision": null,
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn rows_left_open_become_unsettled_at_their_reservation() {
    let place = Place::new();
    let (store, recovered) = place.open();
    assert_eq!(recovered, Recovered::default());
    store.ledger().open(&opening(1)).unwrap();
    store.ledger().open(&opening(2)).unwrap();
    store.ledger().raise(&raise(2, 20_000)).unwrap();
    store.ledger().open(&opening(3)).unwrap();
    store.ledger().close(&closing(3, 500));
    store.close();

    let (store, recovered) = place.open();
    assert_eq!(recovered.unsettled, 2);
    assert_eq!(store.unsettled_count(), 2);
    let second = row(&store, 2).await;
    assert_eq!((second.outcome, second.cost), (Outcome::Unsettled, NanoUsd(20_000)));
    assert_eq!((second.provider, second.model), (provider("xai"), model("grok-4")));
    let spent = store.position(&tenant("acme"), instant("2026-03-31T23:59:59Z")).await.unwrap();
    assert_eq!(spent.day, NanoUsd(9_000 + 20_000 + 500));
    let stats =
        store.stats(&tenant("acme"), instant("2026-03-01T00:00:00Z"), instant("2026-04-01T00:00:00Z")).await.unwrap();
    assert_eq!((stats.total.requests, stats.total.unsettled), (3, 2));
    assert_eq!(stats.total.cost, NanoUsd(29_500));

    // A settlement that comes after all is too late, and moves nothing.
    store.ledger().close(&closing(2, 1));
    assert_eq!(row(&store, 2).await.cost, NanoUsd(20_000));
    store.close();
    let (store, recovered) = place.open();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(store.unsettled_count(), 2);
}

#[tokio::test]
async fn what_the_journal_has_beyond_the_database_is_replayed_past_damage() {
    let place = Place::new();
    let (store, _) = place.open();
    store.close();
    let directory = beside(&place.path, ".ledger");
    journal::left_segments(&directory).unwrap();
    let journal = journal::Journal::begin(directory.clone(), 100, journal::Bounds::default()).unwrap();
    let mut ends = vec![0];
    for number in 1..=3 {
        journal.append(journal::Entry::Open(std::borrow::Cow::Owned(opening(number)))).unwrap();
        ends.push(journal.end().offset as usize);
    }
    journal.append(journal::Entry::Close(std::borrow::Cow::Owned(closing(3, 5)))).unwrap();
    drop(journal);
    let file = directory.join(format!("{:016}.journal", 101));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[ends[1] + 20] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let (store, recovered) = place.open();
    assert_eq!(recovered, Recovered { replayed: 3, damaged: 1, unsettled: 1 });
    assert_eq!(row(&store, 1).await.outcome, Outcome::Unsettled);
    assert!(store.request(admin(), id(2)).await.unwrap().is_none());
    assert_eq!(row(&store, 3).await.outcome, Outcome::Ok);
    assert!(file.with_extension("damaged").exists());
}

#[tokio::test]
async fn a_settlement_without_an_opening_keeps_its_cost() {
    let (store, _) = Place::new().open();
    store.ledger().close(&closing(1, 500));
    store.ledger().close(&closing(1, 500));
    assert_eq!(row(&store, 1).await.cost, NanoUsd(500));
    let spent = store.position(&tenant("acme"), instant("2026-04-01T12:00:00Z")).await.unwrap();
    assert_eq!((spent.day, spent.month), (NanoUsd(500), NanoUsd(500)));
}

#[tokio::test]
async fn absurd_figures_stop_nothing() {
    let (store, _) = Place::new().open();
    for number in 1..=3 {
        let absurd = Closing {
            cost: NanoUsd::MAX,
            tokens: Tokens { input: u64::MAX, output: u64::MAX, ..Tokens::default() },
            latency_ms: u64::MAX,
            ..closing(number, 0)
        };
        store.ledger().open_and_close(&Opening { reserved: NanoUsd::MAX, ..opening(number) }, &absurd).unwrap();
    }
    let acme = tenant("acme");
    assert_eq!(store.position(&acme, instant("2026-03-31T00:00:00Z")).await.unwrap().month, NanoUsd::MAX);
    let stats = store.stats(&acme, instant("2026-03-01T00:00:00Z"), instant("2027-01-01T00:00:00Z")).await.unwrap();
    assert_eq!(stats.total.cost, NanoUsd::MAX);
    assert_eq!(store.health(), Ok(()));
}

#[tokio::test]
async fn a_request_counts_in_the_period_that_admitted_it() {
    let (store, _) = Place::new().open();
    let acme = tenant("acme");
    for (number, at) in
        (1..).zip(["2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z", "2026-03-31T23:59:59Z", "2026-04-01T00:00:00Z"])
    {
        let opening = Opening { at: instant(at), ..opening(number) };
        store.ledger().open_and_close(&opening, &closing(number, 10_i64.pow(number as u32))).unwrap();
    }
    for (now, day, month) in [
        ("2026-02-28T12:00:00Z", 10, 10),
        ("2026-03-01T12:00:00Z", 100, 1_100),
        ("2026-03-15T12:00:00Z", 0, 1_100),
        ("2026-04-01T00:00:00Z", 10_000, 10_000),
        ("2026-05-01T00:00:00Z", 0, 0),
    ] {
        let spent = store.position(&acme, instant(now)).await.unwrap();
        assert_eq!(spent, Spent { day: NanoUsd(day), month: NanoUsd(month) }, "{now}");
    }
    let nobody = store.position(&tenant("other"), instant("2026-03-01T00:00:00Z")).await.unwrap();
    assert_eq!(nobody, Spent::default());
}

#[tokio::test]
async fn pages_hold_every_row_once_newest_first() {
    let (store, _) = Place::new().open();
    for number in 0..25_u128 {
        // Several of the same instant, and two tenants in turn.
        let second = number / 4;
        let opening = Opening {
            at: instant(&format!("2026-03-31T00:00:{second:02}Z")),
            tenant: tenant(if number % 2 == 0 { "even" } else { "odd" }),
            ..opening(number)
        };
        store.ledger().open(&opening).unwrap();
    }
    for (whose, step, expected) in [(None, 4, 25), (Some("even"), 5, 13), (Some("odd"), 12, 12), (Some("none"), 3, 0)] {
        let mut filter = RequestFilter { tenant: whose.map(tenant), limit: step, ..RequestFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = store.requests(admin(), filter.clone()).await.unwrap();
            assert!(page.requests.len() <= step);
            seen.extend(page.requests.into_iter().map(|row| (row.at, row.request_id)));
            match page.next_cursor {
                Some(cursor) => filter.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(seen.len(), expected, "{whose:?}");
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{whose:?}");
    }
    let astray = RequestFilter { cursor: Some("here".into()), ..RequestFilter::default() };
    assert!(matches!(store.requests(admin(), astray).await, Err(StoreError::UnknownCursor)));
}

#[tokio::test]
async fn figures_count_calls_where_they_went() {
    let (store, _) = Place::new().open();
    let ledger = store.ledger();
    let failed = aipipe_actors::ledger::Attempt {
        provider: provider("xai"),
        model: model("grok-4"),
        fault: Some("timeout".into()),
        status: None,
        latency_ms: 30_000,
        ..attempt(Outcome::Failed, 40)
    };
    let mut rescued = closing(1, 300);
    rescued.attempts.insert(0, failed);
    rescued.cost = NanoUsd(340);
    rescued.tokens += rescued.tokens;
    ledger.open_and_close(&opening(1), &rescued).unwrap();
    let hit = Closing { attempts: vec![], tokens: Tokens::default(), latency_ms: 2, ttft_ms: Some(2), ..closing(2, 0) };
    ledger.open_and_close(&Opening { cache: CacheUse::Hit, ..opening(2) }, &hit).unwrap();
    ledger.open(&opening(3)).unwrap();
    ledger.open_and_close(&Opening { tenant: tenant("other"), ..opening(4) }, &closing(4, 1_000_000)).unwrap();

    let stats =
        store.stats(&tenant("acme"), instant("2026-03-01T00:00:00Z"), instant("2026-04-01T00:00:00Z")).await.unwrap();
    let total = &stats.total;
    assert_eq!((total.requests, total.errors, total.cache_hits, total.cost), (2, 0, 1, NanoUsd(340)));
    assert_eq!((total.tokens.input, total.tokens.output, total.saved), (200, 40, NanoUsd(100)));
    assert_eq!((total.latency_ms.p50, total.latency_ms.p99, total.ttft_ms.p50), (Some(2), Some(720), Some(2)));
    let xai = &stats.providers[&provider("xai")];
    assert_eq!((xai.requests, xai.errors, xai.cost, xai.success_rate), (1, 1, NanoUsd(40), Some(0.0)));
    let mini = &stats.models[&model("gpt-4o-mini")];
    assert_eq!((mini.requests, mini.cache_hits, mini.cost, mini.success_rate), (2, 1, NanoUsd(300), Some(1.0)));
    assert_eq!(stats.providers.values().map(|part| part.cost).sum::<NanoUsd>(), total.cost);
    assert_eq!(stats.providers.values().map(|part| part.tokens.input).sum::<u64>(), total.tokens.input);

    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["cost_usd"], "0.000000340");
    assert_eq!(json["latency_ms"], serde_json::json!({"p50": 2, "p95": 720, "p99": 720}));
    assert_eq!(json["models"]["grok-4"]["success_rate"], 0.0);

    let empty =
        store.stats(&tenant("acme"), instant("2026-04-01T00:00:00Z"), instant("2026-05-01T00:00:00Z")).await.unwrap();
    assert_eq!(empty.total, Totals::default());
}

#[tokio::test]
async fn feedback_is_for_ones_own_requests() {
    let (store, _) = Place::new().open();
    let feedback = || Feedback { score: 0.8, comment: Some("good".into()), counted: true };
    store.ledger().open_and_close(&opening(1), &closing(1, 5)).unwrap();
    let judged = store.feedback(&tenant("acme"), id(1), feedback()).await.unwrap().unwrap();
    assert_eq!((&judged.provider, &judged.model), (&provider("openai"), &model("gpt-4o-mini")));
    assert!(judged.answered && judged.replaced.is_none());
    let again = store.feedback(&tenant("acme"), id(1), Feedback { score: 0.1, ..feedback() }).await.unwrap().unwrap();
    assert_eq!(again.replaced.unwrap().0, 0.8);
    // What is forgotten counts no more, and is not taken back.
    store.forget_lessons(&tenant("acme")).await.unwrap();
    let after = store.feedback(&tenant("acme"), id(1), feedback()).await.unwrap().unwrap();
    assert_eq!(after.replaced, None);
    assert_eq!(store.feedback(&tenant("other"), id(1), feedback()).await.unwrap(), None);
    assert_eq!(store.feedback(&tenant("acme"), id(2), feedback()).await.unwrap(), None);
}

#[tokio::test]
async fn tenants_are_set_read_and_removed() {
    let place = Place::new();
    let (store, _) = place.open();
    let names =
        |tenants: Vec<TenantRecord>| tenants.into_iter().map(|tenant| tenant.id.to_string()).collect::<Vec<_>>();
    assert_eq!(names(store.tenants(admin()).await.unwrap()), ["default"]);
    assert_eq!(store.tenant(&tenant("default")).await.unwrap().unwrap().policy, Policy::default());
    assert_eq!(store.tenant(&tenant("zeta")).await.unwrap(), None);

    let policy = Policy {
        budget_usd: Some(NanoUsd(12_500_000_000)),
        budget_period: BudgetPeriod::Day,
        models: Some(vec!["gpt-4o-mini".into()]),
        ..Policy::default()
    };
    let set = store.put_tenant(&tenant("zeta"), policy.clone()).await.unwrap();
    assert_eq!(set.policy, policy);
    store.put_tenant(&tenant("alpha"), Policy::default()).await.unwrap();
    store.close();

    let (store, _) = place.open();
    assert_eq!(names(store.tenants(admin()).await.unwrap()), ["alpha", "default", "zeta"]);
    assert_eq!(store.tenant(&tenant("zeta")).await.unwrap(), Some(set.clone()));
    let again = store.put_tenant(&tenant("zeta"), Policy::default()).await.unwrap();
    assert_eq!(again.created_at, set.created_at);
    assert_eq!(serde_json::to_value(&set).unwrap()["budget_usd"], "12.500000000");
    assert!(store.delete_tenant(&tenant("zeta"), LedgerRows::Keep).await.unwrap());
    assert!(!store.delete_tenant(&tenant("zeta"), LedgerRows::Keep).await.unwrap());
    assert_eq!(names(store.tenants(admin()).await.unwrap()), ["alpha", "default"]);
}

fn secret(text: &str) -> Option<SecretString> {
    Some(SecretString::from(text))
}

#[tokio::test]
async fn provider_keys_are_sealed_shown_by_hint_and_opened_for_their_tenant() {
    let place = Place::new();
    let (store, _) = place.open();
    let acme = tenant("acme");
    let (openai, xai) = (provider("openai"), provider("xai"));
    let keys = vec![(openai.clone(), secret("sk-proj-0123456789abcd")), (xai.clone(), secret("xai-0123456789wxyz"))];
    let infos = store.put_keys(&acme, keys).await.unwrap();
    assert_eq!(infos.iter().map(|info| info.hint.as_str()).collect::<Vec<_>>(), ["…abcd", "…wxyz"]);
    assert!(store.tenant(&acme).await.unwrap().is_some(), "a key creates its tenant");
    assert_eq!(store.keys(&acme).await.unwrap(), infos);
    assert_eq!(store.keys(&tenant("other")).await.unwrap(), []);
    store.close();

    for file in ["", "-wal"] {
        let bytes = std::fs::read(beside(&place.path, file)).unwrap_or_default();
        assert!(!bytes.windows(10).any(|window| window == b"0123456789"), "a key lies open in {file:?}");
    }
    let (store, _) = place.open();
    let opened = store.open_keys(&acme).await.unwrap();
    let texts: Vec<_> = opened.iter().map(|(name, key)| (name.as_str(), key.expose_secret())).collect();
    assert_eq!(texts, [("openai", "sk-proj-0123456789abcd"), ("xai", "xai-0123456789wxyz")]);
    let left = store.put_keys(&acme, vec![(openai, None), (provider("gemini"), None)]).await.unwrap();
    assert_eq!(left.iter().map(|info| info.provider.clone()).collect::<Vec<_>>(), [xai]);
    store.delete_tenant(&acme, LedgerRows::Keep).await.unwrap();
    assert_eq!(store.open_keys(&acme).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_wrong_or_missing_master_key_is_noticed_at_start() {
    let place = Place::new();
    place.open().0.close();
    let given = Settings {
        master_key: MasterKeySource::Given(MasterKey::parse(&"ab".repeat(32)).unwrap()),
        ..place.settings()
    };
    assert!(matches!(Store::open(given), Err(StoreError::MasterKey(_))));
    std::fs::remove_file(beside(&place.path, ".key")).unwrap();
    assert!(matches!(Store::open(place.settings()), Err(StoreError::MasterKey(_))));
    assert!(!beside(&place.path, ".key").exists(), "no key is made in place of one that is missing");
}

#[tokio::test]
async fn tokens_are_found_by_id_and_removed_by_their_tenant_only() {
    let (store, _) = Place::new().open();
    let token = |id: &str, whose: &str| TokenRecord {
        id: id.into(),
        tenant: tenant(whose),
        hash: [7; 32],
        created_at: instant("2026-03-01T00:00:00Z"),
        expires_at: Some(instant("2026-04-01T00:00:00Z")),
        last_used_at: None,
    };
    assert!(matches!(store.put_token(token("a", "acme")).await, Err(StoreError::UnknownTenant(_))));
    store.put_tenant(&tenant("acme"), Policy::default()).await.unwrap();
    store.put_token(token("a", "acme")).await.unwrap();
    store.put_token(TokenRecord { expires_at: None, ..token("b", "default") }).await.unwrap();
    assert!(store.put_token(token("a", "default")).await.is_err(), "an id is taken once");
    let used = instant("2026-03-02T00:00:00Z");
    store.note_token_use(vec![("a".into(), used), ("gone".into(), used)]).await.unwrap();
    let kept = store.tokens(admin()).await.unwrap();
    let first = TokenRecord { last_used_at: Some(used), ..token("a", "acme") };
    assert_eq!(kept, [first, TokenRecord { expires_at: None, ..token("b", "default") }]);
    assert!(!store.delete_token(&tenant("default"), "a").await.unwrap());
    assert!(store.delete_token(&tenant("acme"), "a").await.unwrap());
    store.put_token(token("d", "acme")).await.unwrap();
    store.delete_tenant(&tenant("acme"), LedgerRows::Keep).await.unwrap();
    assert!(store.tokens(admin()).await.unwrap().iter().all(|token| token.id == "b"));
}

#[tokio::test]
async fn a_removed_tenants_ledger_stays_unless_it_is_purged() {
    let (store, _) = Place::new().open();
    let (acme, other) = (tenant("acme"), tenant("other"));
    for tenant in [&acme, &other] {
        store.put_tenant(tenant, Policy::default()).await.unwrap();
    }
    let ledger = store.ledger();
    for number in 1..=2 {
        ledger.open(&opening(number)).unwrap();
    }
    ledger.close(&closing(1, 700));
    let of_other = Opening { tenant: other.clone(), ..opening(3) };
    ledger.open_and_close(&of_other, &Closing { tenant: other.clone(), ..closing(3, 50) }).unwrap();
    let spent = async |tenant: &TenantId| store.position(tenant, opening(1).at).await.unwrap().month;

    assert!(store.delete_tenant(&acme, LedgerRows::Keep).await.unwrap());
    assert_eq!(spent(&acme).await, NanoUsd(700));
    assert!(store.delete_tenant(&acme, LedgerRows::Purge).await.unwrap(), "its rows were still there");
    assert!(!store.delete_tenant(&acme, LedgerRows::Purge).await.unwrap());
    assert_eq!((spent(&acme).await, spent(&other).await), (NanoUsd::ZERO, NanoUsd(50)));
    assert!(store.request(admin(), id(1)).await.unwrap().is_none());

    ledger.close(&closing(2, 9));
    assert_eq!(row(&store, 2).await.cost, NanoUsd(9), "what was in flight still settles");
}

#[tokio::test]
async fn one_process_serves_and_others_read() {
    let place = Place::new();
    let nothing = Reader::open(&place.path).unwrap();
    assert_eq!(nothing.tenants(admin()).await.unwrap().len(), 1);
    assert!(!place.path.exists(), "reading makes nothing");

    let (store, _) = place.open();
    assert!(matches!(Store::open(place.settings()), Err(StoreError::Locked { .. })));
    store.put_tenant(&tenant("acme"), Policy::default()).await.unwrap();
    let beside = Reader::open(&place.path).unwrap();
    assert_eq!(beside.tenants(admin()).await.unwrap().len(), 2);
    store.close();
    place.open().0.close();
}

#[tokio::test]
async fn a_closed_store_refuses_requests_and_leaves_no_journal() {
    let place = Place::new();
    let (store, _) = place.open();
    let ledger = store.ledger();
    ledger.open(&opening(1)).unwrap();
    store.close();
    assert!(ledger.open(&opening(2)).is_err());
    assert!(!beside(&place.path, ".ledger").exists());
}

#[tokio::test]
async fn a_store_under_load_keeps_every_record_while_segments_turn() {
    let place = Place::new();
    let bounds = journal::Bounds { segment_bytes: 16 << 10, queue_bytes: 8 << 10 };
    let (store, _) = Store::open_bounded(place.settings(), bounds).unwrap();
    let ledger = store.ledger();
    std::thread::scope(|scope| {
        for thread in 0..4_u128 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in (thread * 500)..(thread * 500 + 500) {
                    ledger.open(&opening(number)).unwrap();
                    ledger.close(&closing(number, 3));
                }
            });
        }
    });
    // A read waits a second at most; the end of the store waits for all.
    store.close();
    assert!(!beside(&place.path, ".ledger").exists());
    let (store, recovered) = place.open();
    assert_eq!(recovered, Recovered::default());
    let (since, until) = (instant("2026-03-01T00:00:00Z"), instant("2026-04-01T00:00:00Z"));
    let stats = store.stats(&tenant("acme"), since, until).await.unwrap();
    assert_eq!((stats.total.requests, stats.total.cost), (2000, NanoUsd(6000)));
    let spent = store.position(&tenant("acme"), since).await.unwrap();
    assert_eq!(spent.month, NanoUsd(6000));
}

mod idempotence {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::journal::{Entry, Position};
    use super::sqlite::{apply, open_empty};
    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry<'static>>> {
        let entry = (0u128..6, 0u8..4, 0i64..1000).prop_map(|(number, kind, amount)| {
            let open = Cow::Owned(opening(number));
            let close = Cow::Owned(closing(number, amount));
            match kind {
                0 => Entry::Open(open),
                1 => Entry::Raise(Cow::Owned(raise(number, 9_000 + amount))),
                2 => Entry::Close(close),
                _ => Entry::OpenClose(open, Box::new(close)),
            }
        });
        prop::collection::vec(entry, 0..30).prop_map(raises_after_openings)
    }

    /// A request is never raised before it was opened.
    fn raises_after_openings(mut entries: Vec<Entry<'static>>) -> Vec<Entry<'static>> {
        let mut opened = Vec::new();
        entries.retain(|entry| match entry {
            Entry::Raise(raise) => opened.contains(&raise.request_id),
            Entry::Open(opening) | Entry::OpenClose(opening, _) => {
                opened.push(opening.request_id);
                true
            }
            Entry::Close(_) | Entry::Issue(_) | Entry::Lineup { .. } => true,
        });
        entries
    }

    fn contents(connection: &Connection) -> (Vec<String>, i64, i64) {
        let mut statement = connection
            .prepare("SELECT hex(id) || outcome || cost || ' ' || reserved || provider || attempts FROM requests ORDER BY id")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let sum = |sql| connection.query_row(sql, [], |row| row.get(0)).unwrap();
        (
            rows,
            sum("SELECT coalesce(sum(cost), 0) FROM requests WHERE outcome <> 'reserved'"),
            sum("SELECT coalesce(sum(cost), 0) FROM spend"),
        )
    }

    fn apply_all(connection: &mut Connection, entries: &[Entry<'static>]) {
        let applied = apply::apply(connection, entries, Position::default()).unwrap();
        assert_eq!(applied.refused, 0);
    }

    proptest! {
        #[test]
        fn replaying_changes_nothing(entries in entries(), from in any::<prop::sample::Index>(), mark in any::<bool>()) {
            let mut once = open_empty().unwrap();
            apply_all(&mut once, &entries);
            let mut twice = open_empty().unwrap();
            apply_all(&mut twice, &entries);
            let from = if entries.is_empty() { 0 } else { from.index(entries.len()) };
            if mark {
                apply::mark_unsettled(&mut once).unwrap();
                apply::mark_unsettled(&mut twice).unwrap();
            }
            apply_all(&mut twice, &entries[from..]);
            prop_assert_eq!(contents(&once), contents(&twice));
            let (_, rows, spend) = contents(&once);
            prop_assert_eq!(rows, spend);
        }
    }
}
