//! Everything at once: the real program under twice the load that its places take, with providers that fail in every way, actors that
//! crash, reloads, tenants that come and go, and clients that leave. Two providers are always well, and every request may go to them.
//!
//! It runs in rounds. After each one all is quiet for a moment, and the books of the round are compared with what the providers counted;
//! so a long run needs no more memory than a short one.
//!
//! `AIPIPE_CHAOS_SECONDS` sets how long it runs (`scripts/chaos` in minutes), `AIPIPE_CHAOS_SEED` what is drawn; order and time are the
//! machine's.

mod books;
mod footprint;
mod load;
mod trouble;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aipipe::config::{self, Environment};
use aipipe::simulator::{Latency, Provider, Settings, Simulator};
use fastrand::Rng;
use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::accounts::number;
use crate::process::{Daemon, HANGS};
use crate::support::{Answer, SECRET, client, write_configuration};
use books::Books;
use footprint::Footprint;
use load::{Told, ask_until_told};
use trouble::Trouble;

/// Tenants that are always there, and whose requests nothing may refuse.
const RESIDENTS: [&str; 3] = ["default", "acme", "globex"];
/// Tenants that are made, changed and deleted meanwhile.
const GUESTS: [&str; 4] = ["guest-a", "guest-b", "guest-c", "guest-d"];
/// Upstream calls at a time, of each provider.
const PLACES: usize = 8;
/// Requests at a time: twice as many as there are places.
const CLIENTS: usize = 2 * PLACES * Provider::ALL.len();
const ROUND: Duration = Duration::from_secs(20);
/// Growth of resident memory, from the first round to the last, that is no leak: caches fill, allocators keep what they had.
const GROWTH_KIB: u64 = 64 << 10;

/// The program and how it is reached, for everybody who uses it.
struct Stage {
    address: String,
    file: PathBuf,
    simulator: Simulator,
    client: Client,
}

impl Stage {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).header("x-admin-secret", SECRET)
    }

    async fn shown(&self, path: &str) -> Value {
        Answer::read(self.admin(Method::GET, path).send().await.unwrap()).await.ok().json()
    }

    /// A configuration that differs from the one before in what a reload can change.
    fn configure(&self, rng: &mut Rng) {
        let ttl = rng.u8(1..5);
        let mut text = format!(
            "[cache]\nttl_seconds = {ttl}\nmax_bytes = 4194304\n[reliability]\nfirst_byte_timeout_ms = 2000\n\
             answer_timeout_ms = 8000\nidle_timeout_ms = 4000\nmax_attempts = 100\n"
        );
        for provider in Provider::ALL {
            let queue = rng.usize(CLIENTS..2 * CLIENTS);
            text += &format!("[providers.{}]\nmax_in_flight = {PLACES}\nmax_queue = {queue}\n", provider.as_str());
        }
        write_configuration(&self.file, &text);
    }

    /// Waits until every request is settled: no row is reserved and no call is open.
    async fn settled(&self) {
        let settled = async {
            for provider in Provider::ALL {
                self.simulator.wait_until(provider, |counts| counts.open == 0).await;
            }
            while !self.shown("/admin/requests?outcome=reserved").await["requests"].as_array().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(HANGS, settled).await.expect("a request never ends");
    }
}

/// Reads the log to its end, and keeps what it says of errors.
fn listen(daemon: &mut Daemon) -> JoinHandle<Vec<String>> {
    let mut lines = daemon.take_log();
    tokio::spawn(async move {
        let mut errors = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("\"level\":\"ERROR\"") && !line.contains("crashed by the operator") {
                errors.push(line);
            }
        }
        errors
    })
}

/// One round: load and trouble for so long, then silence; what the clients were told.
async fn round(
    stage: &Arc<Stage>,
    daemon: &Daemon,
    trouble: &mut Trouble,
    lasts: Duration,
    rng: &mut Rng,
) -> Vec<Told> {
    let over = Arc::new(AtomicBool::new(false));
    let ask = |_| tokio::spawn(ask_until_told(stage.clone(), over.clone(), rng.fork()));
    let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        trouble.strike(stage, daemon).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for client in clients {
        told.extend(client.await.unwrap());
    }
    stage.settled().await;
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_any_trouble_a_request_that_can_be_answered_is_and_the_books_hold() {
    let lasts = Duration::from_secs(number("AIPIPE_CHAOS_SECONDS", 4));
    let seed = number("AIPIPE_CHAOS_SEED", fastrand::u64(..));
    println!("AIPIPE_CHAOS_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { latency: Latency::Realistic, seed, ..Settings::default() };
    let mut stage = Stage {
        address: String::new(),
        file: directory.path().join("aipipe.toml"),
        simulator: Simulator::start(settings).await.unwrap(),
        client: client(),
    };
    stage.configure(&mut rng);
    // Of the configuration only the prices are wanted here: the database is the program's own.
    let database = directory.path().join("aipipe.db").display().to_string();
    let environment: Environment =
        stage.simulator.environment().into_iter().chain([("AIPIPE_DATABASE".to_owned(), database)]).collect();
    let catalogue =
        config::load(Some(&stage.file), &environment).unwrap_or_else(|problems| panic!("{problems}")).catalogue;
    let mut daemon = Daemon::start(directory.path(), &stage.simulator).await;
    stage.address = daemon.address.clone();
    let log = listen(&mut daemon);
    let stage = Arc::new(stage);
    for tenant in RESIDENTS {
        let put = stage.admin(Method::PUT, &format!("/admin/tenants/{tenant}"));
        Answer::read(put.body(json!({"operator_keys": true}).to_string()).send().await.unwrap()).await.ok();
    }

    let mut trouble = Trouble::new(&stage, lasts > ROUND, rng.fork());
    let mut books = Books::new(catalogue);
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut misses: Vec<String> = Vec::new();
    let begin = Instant::now();
    let at_start = Footprint::of(daemon.id());
    let mut warm = None;
    while let Some(left) = lasts.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        let since = Timestamp::now();
        let told = round(&stage, &daemon, &mut trouble, left.min(ROUND), &mut rng).await;
        for one in &told {
            *outcomes.entry(one.outcome.name()).or_default() += 1;
        }
        trouble.pass_on(&stage).await;
        misses.extend(books.compare(&stage, since, &told).await);
        let now = Footprint::of(daemon.id());
        warm.get_or_insert(now.resident_kib);
        println!("{:>5} s: {now}", begin.elapsed().as_secs());
    }

    let restarts = stage.restarts().await;
    misses.extend(stage.unexplained_failures().await);
    misses.extend(books.close(&stage).await);
    let resident = Footprint::of(daemon.id()).resident_kib;
    if resident > warm.unwrap_or(resident) + GROWTH_KIB {
        misses.push(format!("memory grew from {} to {resident} KiB after the first round", warm.unwrap_or_default()));
    }
    // With its clients and providers gone, the program has what it had at the start.
    drop(Arc::into_inner(stage));
    let at_end = Footprint::back_to(at_start, daemon.id()).await;
    if !at_end.is_within(at_start) {
        misses.push(format!("what it holds is not back to the start: {at_start}, then {at_end}"));
    }
    daemon.stop();
    daemon.ended().await;
    let errors = log.await.unwrap();

    println!("requests by outcome:");
    outcomes.iter().for_each(|(outcome, count)| println!("{count:>9} {outcome}"));
    println!("{trouble}\n{books}");
    println!("start: {at_start}\nend:   {at_end}");
    println!("{restarts} actor restarts, {} other errors in the log", errors.len());
    errors.iter().take(5).for_each(|line| println!("  {line}"));
    println!("{} aims missed", misses.len());
    assert!(misses.is_empty(), "{}", misses.iter().take(20).cloned().collect::<Vec<_>>().join("\n"));
}
