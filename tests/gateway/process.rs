//! The real program: its signals, its lock, its death and what it finds when it comes back.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use aipipe::simulator::{Provider, Settings, Simulator};
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::support::{Answer, SECRET, ask, ask_stream, client, write_configuration};

/// Whatever takes so long never ends.
pub(crate) const HANGS: Duration = Duration::from_secs(30);
const MODEL: &str = "openai/gpt-4o-mini";

/// `aipipe serve` as a child process that has said it is ready.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    /// `None` where it was taken to be read elsewhere.
    log: Option<Lines<BufReader<ChildStderr>>>,
    pub(crate) address: String,
    pub(crate) client: Client,
}

pub(crate) fn command(directory: &Path, simulator: &Simulator) -> Command {
    let file = directory.join("aipipe.toml");
    if !file.exists() {
        write_configuration(&file, "");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command
        .env_clear()
        .envs(simulator.environment())
        .env("AIPIPE_ADDR", "127.0.0.1:0")
        .env("AIPIPE_CONFIG", file)
        .env("AIPIPE_ADMIN_SECRET", SECRET)
        .env("AIPIPE_DATABASE", directory.join("aipipe.db"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Daemon {
    pub(crate) async fn start(directory: &Path, simulator: &Simulator) -> Self {
        Self::start_with(directory, simulator, &[]).await
    }

    /// With further variables of the environment.
    pub(crate) async fn start_with(directory: &Path, simulator: &Simulator, variables: &[(&str, &str)]) -> Self {
        let mut command = command(directory, simulator);
        command.envs(variables.iter().copied());
        Self::run(command).await
    }

    /// Runs this command until it says that it is ready.
    pub(crate) async fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("the program ended before it was ready");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry.to_string().contains("\"ready\"") {
                let address = find_address(&line);
                let client = client();
                return Self { child, log: Some(log), address, client };
            }
        }
    }

    /// The rest of its log, for whoever reads it instead.
    pub(crate) fn take_log(&mut self) -> Lines<BufReader<ChildStderr>> {
        self.log.take().unwrap()
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) async fn ended(&mut self) {
        self.child.wait().await.unwrap();
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn chat(&self, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(self.url("/v1/chat/completions")).body(body.to_string())
    }

    pub(crate) async fn shown(&self, path: &str) -> Value {
        let request = self.client.get(self.url(path)).header("x-admin-secret", SECRET);
        Answer::read(request.send().await.unwrap()).await.ok().json()
    }

    /// Waits for a line of the log that holds these words.
    pub(crate) async fn logged(&mut self, words: &str) {
        let log = self.log.as_mut().unwrap();
        let line = async { while !log.next_line().await.unwrap().expect("the log ended").contains(words) {} };
        timeout(HANGS, line).await.unwrap_or_else(|_| panic!("the log never said {words:?}"));
    }
}

fn find_address(line: &str) -> String {
    let start = line.find("127.0.0.1:").unwrap();
    line[start..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
}

pub(crate) async fn place() -> (TempDir, Simulator) {
    (tempfile::tempdir().unwrap(), Simulator::start(Settings::default()).await.unwrap())
}

pub(crate) async fn run(mut command: Command) -> Output {
    command.output().await.unwrap()
}

#[tokio::test]
async fn told_to_stop_it_lets_streams_finish_and_turns_new_requests_away() {
    let (directory, simulator) = place().await;
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    let hold = simulator.hold_after(Provider::OpenAi, 2);
    let mut stream = daemon.chat(&ask_stream(MODEL, "Tell me a story.")).send().await.unwrap();
    let mut received = stream.chunk().await.unwrap().unwrap().to_vec();

    daemon.signal(Signal::TERM);
    daemon.logged("draining").await;
    let turned_away = Answer::read(daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap()).await;
    assert_eq!((turned_away.status, turned_away.code().as_str()), (503, "draining"));
    assert_eq!(turned_away.header("connection"), "close");
    assert!(!turned_away.header("retry-after").is_empty());
    let get = |path: &str| daemon.client.get(daemon.url(path)).send();
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    assert_eq!(get("/metrics").await.unwrap().status(), 200);
    let ready = Answer::read(get("/readyz").await.unwrap()).await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("draining"), "{}", ready.text);
    assert_eq!(daemon.shown("/admin/actors").await["name"], "root");

    drop(hold);
    while let Some(chunk) = stream.chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(received).unwrap().trim_end().ends_with("data: [DONE]"));
    assert_eq!(daemon.child.wait().await.unwrap().code(), Some(0));

    let again = Daemon::start(directory.path(), &simulator).await;
    let row = &again.shown("/admin/requests").await["requests"][0];
    assert_eq!(row["outcome"], "ok", "{row}");
}

#[tokio::test]
async fn a_second_one_names_the_first() {
    let (directory, simulator) = place().await;
    let daemon = Daemon::start(directory.path(), &simulator).await;
    let output = run(command(directory.path(), &simulator)).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&daemon.child.id().unwrap().to_string()), "{said}");
}

#[tokio::test]
async fn killed_it_comes_back_with_every_row() {
    let (directory, simulator) = place().await;
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    for n in 0..5 {
        Answer::read(daemon.chat(&ask(MODEL, &format!("Question {n}"))).send().await.unwrap()).await.ok();
    }
    let _hold = simulator.hold(Provider::OpenAi);
    let open: Vec<_> = (0..3).map(|n| tokio::spawn(daemon.chat(&ask(MODEL, &format!("Open {n}"))).send())).collect();
    simulator.wait_for_calls(Provider::OpenAi, 8).await;
    daemon.signal(Signal::KILL);
    daemon.child.wait().await.unwrap();
    for one in open {
        assert!(one.await.unwrap().is_err());
    }

    let daemon = Daemon::start(directory.path(), &simulator).await;
    let rows = daemon.shown("/admin/requests").await["requests"].as_array().unwrap().clone();
    let of = |outcome: &str| rows.iter().filter(|row| row["outcome"] == outcome).count();
    assert_eq!((of("ok"), of("unsettled"), rows.len()), (5, 3, 8));
    let unsettled = rows.iter().find(|row| row["outcome"] == "unsettled").unwrap();
    assert_eq!(unsettled["cost_usd"], unsettled["reserved_usd"], "{unsettled}");
    let stats = daemon.shown("/admin/tenants/default/stats").await;
    assert_eq!((&stats["requests"], &stats["unsettled"]), (&json!(8), &json!(3)), "{stats}");
    let metrics = daemon.client.get(daemon.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("aipipe_ledger_unsettled 3"), "{metrics}");
}

#[tokio::test]
async fn hung_up_on_it_reads_its_configuration_again() {
    let (directory, simulator) = place().await;
    let file = directory.path().join("aipipe.toml");
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    write_configuration(&file, "[limits]\nmax_body_bytes = 1024\n");
    daemon.signal(Signal::HUP);
    daemon.logged("configuration reloaded").await;
    let large = ask(MODEL, &"x".repeat(2_000));
    let answer = Answer::read(daemon.chat(&large).send().await.unwrap()).await;
    assert_eq!(answer.status, 413);

    write_configuration(&file, "[limits]\nmax_body_byte = 1024\n");
    daemon.signal(Signal::HUP);
    daemon.logged("not reloaded").await;
    let answer = Answer::read(daemon.chat(&large).send().await.unwrap()).await;
    assert_eq!(answer.status, 413, "the running configuration holds");

    write_configuration(&file, "[providers.openai]\nenabled = false\n");
    let reload = daemon.client.post(daemon.url("/admin/reload")).header("x-admin-secret", SECRET);
    let changed = Answer::read(reload.send().await.unwrap()).await.ok();
    assert!(changed.text.contains("providers.openai.enabled"), "{}", changed.text);
    let answer = Answer::read(daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "no_candidate"), "{}", answer.text);
}

#[tokio::test]
async fn a_configuration_that_cannot_run_ends_it_with_every_problem() {
    let (directory, simulator) = place().await;
    let file = directory.path().join("aipipe.toml");
    std::fs::write(&file, "[limits]\nmax_body_byte = 10\n[cache]\nttl_seconds = \"long\"\n").unwrap();
    let output = run(command(directory.path(), &simulator)).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("max_body_byte") && said.contains("ttl_seconds"), "{said}");
}

#[tokio::test]
async fn explain_and_route_tell_the_same_decision() {
    let (directory, simulator) = place().await;
    let daemon = Daemon::start(directory.path(), &simulator).await;
    let prompt = "Prove that there are infinitely many primes, and say why the proof is constructive.";
    let request = daemon.client.post(daemon.url("/v1/route")).body(ask("auto", prompt).to_string());
    let routed = Answer::read(request.send().await.unwrap()).await.ok().json();
    let mut command = command(directory.path(), &simulator);
    command.args(["explain", "--json", prompt]).stdout(Stdio::piped());
    let output = run(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained, routed);
    assert!(simulator.calls().is_empty());
}

#[tokio::test]
async fn a_decision_is_told_with_the_figures_of_its_day() {
    let write_price = |file: &Path, input: u32| {
        let model = "[[models]]\nprovider = \"openai\"\nid = \"gpt-4o-mini\"\nretires_on = \"9999-12-31\"";
        std::fs::write(file, format!("{model}\ninput = {input}\noutput = 1\n")).unwrap();
    };
    let (directory, simulator) = place().await;
    let file = directory.path().join("aipipe.toml");
    write_price(&file, 1);
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    let mut ids = Vec::new();
    let mut told = Vec::new();
    for input in [1, 3] {
        write_price(&file, input);
        let reload = daemon.client.post(daemon.url("/admin/reload")).header("x-admin-secret", SECRET);
        Answer::read(reload.send().await.unwrap()).await.ok();
        let mut body = ask(MODEL, "Hello");
        body["aipipe"] = json!({"explain": true, "cache": "off"});
        let answer = Answer::read(daemon.chat(&body).send().await.unwrap()).await.ok();
        ids.push(answer.header("x-request-id").to_owned());
        told.push(answer.json()["aipipe"]["decision"].clone());
    }
    let cost = |decision: &Value| decision["candidates"][0]["raw_cost_usd"].as_str().unwrap().to_owned();
    assert_ne!(cost(&told[0]), cost(&told[1]));
    daemon.signal(Signal::KILL);
    daemon.child.wait().await.unwrap();

    write_price(&file, 9);
    let daemon = Daemon::start(directory.path(), &simulator).await;
    for (id, told) in ids.iter().zip(&told) {
        assert_eq!(daemon.shown(&format!("/admin/requests/{id}")).await["decision"], *told);
    }
}

#[tokio::test]
async fn what_a_provider_keeps_for_a_tenant_is_known_after_a_death() {
    let (directory, simulator) = place().await;
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    let body = json!({"model": MODEL, "input": "Hello.", "stream": true});
    let request = daemon.client.post(daemon.url("/v1/responses")).body(body.to_string());
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    let created = answer.text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let id = serde_json::from_str::<Value>(created).unwrap()["response"]["id"].as_str().unwrap().to_owned();
    daemon.signal(Signal::KILL);
    daemon.child.wait().await.unwrap();

    let daemon = Daemon::start(directory.path(), &simulator).await;
    let kept = daemon.client.get(daemon.url(&format!("/v1/responses/{id}"))).send().await.unwrap();
    assert_eq!(Answer::read(kept).await.ok().json()["id"], id.as_str());
}
