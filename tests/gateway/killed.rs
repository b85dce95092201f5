//! `kill -9` of the real program under load, again and again: every call that a provider received has its row, settled or unsettled,
//! every answer that a client got is settled at the cost that it was told, and nowhere is a key, a token or a prompt.
//!
//! `AIPIPE_KILL_ROUNDS` sets how often it is killed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aipipe::simulator::{Behaviour, Provider, Settings, Simulator};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::process::Daemon;
use crate::support::{Answer, SECRET, all_rows, ask, ask_stream, model};

/// Stands in every prompt, and must stand nowhere else.
const PROMPT: &str = "the launch code is 0451";
const OWN_KEY: &str = "sk-own-key-of-acme-that-nobody-sees";
const CLIENTS: u64 = 12;

/// What clients learned of their requests, by mark.
type Answers = Arc<Mutex<HashMap<String, (u16, String)>>>;

async fn ask_until_it_dies(daemon: Arc<Daemon>, client: u64, round: usize, token: String, answers: Answers) {
    for n in 0_u64.. {
        let mark = format!("mark-{round}-{client}-{n}-");
        let name = model(Provider::ALL[((client + n) % 7) as usize]);
        let prompt = format!("{mark} {PROMPT}");
        let mut body = if n.is_multiple_of(3) { ask_stream(name, &prompt) } else { ask(name, &prompt) };
        body["aipipe"] = json!({"tags": [mark]});
        let request = daemon.chat(&body);
        let request = if client.is_multiple_of(2) { request } else { request.bearer_auth(&token) };
        let Ok(response) = request.send().await else { return };
        let status = response.status().as_u16();
        let cost = response.headers().get("x-aipipe-cost-usd").map(|cost| cost.to_str().unwrap().to_owned());
        if response.bytes().await.is_err() {
            return;
        }
        answers.lock().unwrap().insert(mark, (status, cost.unwrap_or_default()));
    }
}

/// Everything below a directory that is not the master key.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_none_or(|kind| kind != "key") {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn assert_silent(secrets: &[String], place: &str, bytes: &[u8]) {
    for secret in secrets {
        let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
        assert!(at.is_none(), "{place} holds {secret:?}");
    }
}

async fn ok(daemon: &Daemon, method: reqwest::Method, path: &str, body: Value) -> Answer {
    let request =
        daemon.client.request(method, daemon.url(path)).header("x-admin-secret", SECRET).body(body.to_string());
    Answer::read(request.send().await.unwrap()).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_it_loses_nothing_and_tells_nothing() {
    let rounds = std::env::var("AIPIPE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let directory = tempfile::tempdir().unwrap();
    let keys = vec![(Provider::OpenAi, "operators-own-key-0".to_owned()), (Provider::OpenAi, OWN_KEY.to_owned())];
    let simulator = Simulator::start(Settings { keys, ..Settings::default() }).await.unwrap();
    let failure = Box::new(Behaviour::BreaksAfter(1));
    simulator.script(Provider::Anthropic, Behaviour::FailureRate { rate: 0.2, failure });
    // Providers that quote what they were sent.
    let page = format!("<html>{PROMPT}</html>");
    simulator.script(
        Provider::Moonshot,
        Behaviour::FailureRate { rate: 0.2, failure: Box::new(Behaviour::NotJson { body: page, status: 500 }) },
    );

    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    let acme = "/admin/tenants/acme";
    ok(&daemon, reqwest::Method::PUT, acme, json!({"operator_keys": true})).await;
    ok(&daemon, reqwest::Method::POST, &format!("{acme}/keys"), json!({"openai": OWN_KEY})).await;
    let token = ok(&daemon, reqwest::Method::POST, &format!("{acme}/tokens"), json!({})).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();

    let answers = Answers::default();
    let mut log = Vec::new();
    for round in 0..rounds {
        let mut lines = daemon.take_log();
        let running = Arc::new(daemon);
        let listening: JoinHandle<Vec<String>> = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                all.push(line);
            }
            all
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                tokio::spawn(ask_until_it_dies(running.clone(), client, round, token.clone(), answers.clone()))
            })
            .collect();
        let arrived = simulator.counts(Provider::OpenAi).arrived;
        simulator.wait_for_calls(Provider::OpenAi, arrived + fastrand::usize(3..40)).await;
        running.kill();
        for client in clients {
            client.await.unwrap();
        }
        log.extend(listening.await.unwrap());
        for provider in Provider::ALL {
            simulator.wait_until(provider, |counts| counts.open == 0).await;
        }
        let mut dead = Arc::into_inner(running).unwrap();
        dead.ended().await;

        daemon = Daemon::start(directory.path(), &simulator).await;
        let rows = all_rows(async |path| daemon.shown(&path).await).await;
        let mut row_of = HashMap::new();
        for row in &rows {
            let mark = row["tags"][0].as_str().unwrap();
            assert!(row_of.insert(mark, row).is_none(), "{mark} has two rows");
            assert_ne!(row["outcome"], "reserved", "{row}");
        }
        for call in simulator.calls() {
            let body = std::str::from_utf8(&call.body).unwrap();
            let at = body.find("mark-").unwrap();
            let mark = body[at..].split(' ').next().unwrap();
            assert!(row_of.contains_key(mark), "round {round}: {mark} was sent and has no row");
        }
        for (mark, (status, cost)) in &*answers.lock().unwrap() {
            let row = row_of.get(mark.as_str());
            assert!(row.is_some() || *status >= 400, "round {round}: {mark} was answered and has no row");
            let Some(row) = row else { continue };
            assert_ne!(row["outcome"], "unsettled", "round {round}: {mark} had ended: {row}");
            assert!(cost.is_empty() || row["cost_usd"] == json!(cost), "round {round}: {mark} cost {cost}: {row}");
        }
    }

    let operators = Provider::ALL.map(|provider| simulator.api_key(provider).to_owned());
    let token_secret = token.rsplit('_').next().unwrap().to_owned();
    let mut secrets: Vec<String> = operators.into();
    secrets.extend([PROMPT, OWN_KEY, SECRET, token.as_str(), token_secret.as_str()].map(str::to_owned));
    let mut places = Vec::new();
    files(directory.path(), &mut places);
    assert!(places.iter().any(|(path, _)| path.contains(".ledger/")), "the journal is looked at");
    assert!(places.iter().any(|(path, _)| path.ends_with("-wal")), "so is what SQLite has not checkpointed");
    assert!(!log.is_empty());
    for (place, bytes) in &places {
        assert_silent(&secrets, place, bytes);
    }
    assert_silent(&secrets, "the log", log.join("\n").as_bytes());
    for path in [
        "/admin/tenants",
        acme,
        "/admin/tenants/acme/keys",
        "/admin/tenants/acme/tokens",
        "/admin/tenants/acme/stats",
        "/admin/requests?limit=1000",
        "/admin/providers",
        "/admin/providers/moonshot",
        "/admin/actors",
        "/admin/metrics",
        "/metrics",
        "/healthz",
        "/readyz",
    ] {
        let shown = ok(&daemon, reqwest::Method::GET, path, Value::Null).await;
        assert_silent(&secrets, path, shown.text.as_bytes());
    }
    println!("{} calls, {} answers, {} log lines", simulator.calls().len(), answers.lock().unwrap().len(), log.len());
}
