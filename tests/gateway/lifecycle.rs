//! The real program between start and end: a manager that watches it, a shortage of files and of disk, and ends that nobody waits for.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use aipipe::simulator::{Provider, Simulator};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::process::{Daemon, HANGS, command, place, run};
use crate::support::{Answer, ask, ask_stream, write_configuration};

const MODEL: &str = "openai/gpt-4o-mini";

impl Daemon {
    /// Sets a limit of the running process, and returns the one before.
    fn limit(&self, resource: Resource, current: u64) -> Rlimit {
        // The process has inherited what may be set at most.
        let limit = Rlimit { current: Some(current), maximum: getrlimit(resource).maximum };
        prlimit(Some(self.id()), resource, limit).unwrap()
    }

    fn restore(&self, resource: Resource, limit: Rlimit) {
        prlimit(Some(self.id()), resource, limit).unwrap();
    }

    /// Starts a stream that its provider holds after its beginning, and tells the program to stop once; the stream's bytes so far.
    async fn stop_in_mid_stream(&mut self) -> (reqwest::Response, Vec<u8>) {
        let mut stream = self.chat(&ask_stream(MODEL, "Tell me a story.")).send().await.unwrap();
        let received = stream.chunk().await.unwrap().unwrap().to_vec();
        self.signal(Signal::TERM);
        self.logged("draining").await;
        (stream, received)
    }
}

/// Reads a stream to its end, however it ends.
async fn rest((mut stream, mut received): (reqwest::Response, Vec<u8>)) -> String {
    while let Ok(Some(chunk)) = stream.chunk().await {
        received.extend_from_slice(&chunk);
    }
    String::from_utf8(received).unwrap()
}

/// The program's command behind a shell that sets something up first.
fn behind(shell: &str, directory: &std::path::Path, simulator: &Simulator) -> Command {
    let inner = command(directory, simulator);
    let mut outer = Command::new("sh");
    outer.arg("-c").arg(format!("{shell} exec \"$0\" serve")).arg(inner.as_std().get_program()).env_clear();
    outer.envs(inner.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    outer
}

async fn outcome_of_the_last(directory: &std::path::Path, simulator: &Simulator) -> serde_json::Value {
    let again = Daemon::start(directory, simulator).await;
    again.shown("/admin/requests").await["requests"][0].clone()
}

#[tokio::test]
async fn told_twice_to_stop_it_does_not_wait_and_stays_consistent() {
    let (directory, simulator) = place().await;
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    let _hold = simulator.hold_after(Provider::OpenAi, 2);
    let stream = daemon.stop_in_mid_stream().await;
    daemon.signal(Signal::INT);
    let status = timeout(HANGS, daemon.child.wait()).await.expect("it waits all the same").unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!rest(stream).await.contains("[DONE]"));
    let row = outcome_of_the_last(directory.path(), &simulator).await;
    assert_eq!((&row["outcome"], &row["estimated"]), (&json!("cancelled"), &json!(true)), "{row}");
    assert!(row["tokens"]["output"].as_u64().unwrap() > 0, "{row}");
}

#[tokio::test]
async fn draining_ends_after_its_time() {
    let (directory, simulator) = place().await;
    write_configuration(&directory.path().join("aipipe.toml"), "[server]\ndrain_timeout_ms = 50\n");
    let mut daemon = Daemon::start(directory.path(), &simulator).await;
    let _hold = simulator.hold_after(Provider::OpenAi, 2);
    let stream = daemon.stop_in_mid_stream().await;
    let status = timeout(HANGS, daemon.child.wait()).await.expect("it waits all the same").unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!rest(stream).await.contains("[DONE]"));
    assert_eq!(outcome_of_the_last(directory.path(), &simulator).await["outcome"], "cancelled");
}

#[tokio::test]
async fn a_service_manager_is_told_how_it_stands() {
    let (directory, simulator) = place().await;
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(HANGS)).unwrap();
    let socket = std::sync::Arc::new(socket);
    let told = |wanted: &'static str| {
        let socket = socket.clone();
        let waits = tokio::task::spawn_blocking(move || {
            let mut message = [0; 256];
            loop {
                let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("never told {wanted}: {error}"));
                if std::str::from_utf8(&message[..length]).unwrap().lines().any(|line| line == wanted) {
                    return;
                }
            }
        });
        async move { waits.await.unwrap() }
    };
    let mut command = command(directory.path(), &simulator);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut daemon = Daemon::run(command).await;
    told("READY=1").await;
    told("WATCHDOG=1").await;
    daemon.signal(Signal::HUP);
    told("RELOADING=1").await;
    told("READY=1").await;
    daemon.signal(Signal::TERM);
    told("STOPPING=1").await;
    assert_eq!(daemon.child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_the_manager_opened_is_served() {
    let (directory, simulator) = place().await;
    for (address, is_served) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shell = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$;";
        let mut command = behind(shell, directory.path(), &simulator);
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        if is_served {
            let daemon = Daemon::run(command).await;
            assert_eq!(daemon.address, format!("127.0.0.1:{port}"));
            Answer::read(daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap()).await.ok();
        } else {
            // Headers are trusted on the loopback only.
            let output = run(command).await;
            assert!(!output.status.success());
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("server.addr"), "{said}");
        }
    }
}

#[tokio::test]
async fn with_few_files_it_serves_fewer_connections() {
    let (directory, simulator) = place().await;
    let mut daemon = Daemon::run(behind("ulimit -n 96;", directory.path(), &simulator)).await;
    daemon.logged("fewer connections").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(&daemon.address).await.unwrap());
    }
    let alive = daemon.client.get(daemon.url("/healthz")).send().await.unwrap();
    assert_eq!(alive.status(), 200);
    let refused = Answer::read(daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap()).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "gateway_overloaded"));
    drop(idle);
    while daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap().status() != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_shortage_of_files_is_no_providers_fault() {
    let (directory, simulator) = place().await;
    let daemon = Daemon::start(directory.path(), &simulator).await;
    // This connection is kept, and no other is made.
    daemon.shown("/admin/providers/openai").await;
    // No descriptor beyond the standard three: what is open stays.
    let before = daemon.limit(Resource::Nofile, 3);
    let refused = Answer::read(daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap()).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "provider_unavailable"), "{}", refused.text);
    assert!(!refused.header("retry-after").is_empty());
    daemon.restore(Resource::Nofile, before);
    Answer::read(daemon.chat(&ask(MODEL, "Hello")).send().await.unwrap()).await.ok();
    let rows = daemon.shown("/admin/requests").await;
    let attempt = &rows["requests"][1]["attempts"][0];
    assert_eq!((&attempt["fault"], &attempt["cost_usd"]), (&json!("shortage"), &json!("0.000000000")), "{rows}");
    let shown = daemon.shown("/admin/providers/openai").await;
    assert_eq!((&shown["reach"]["penalty"], &shown["circuit"]), (&json!(1.0), &json!("closed")), "{shown}");
}

#[tokio::test]
async fn without_disk_nothing_is_sent_until_there_is_some_again() {
    let (directory, simulator) = place().await;
    let daemon = Daemon::start(directory.path(), &simulator).await;
    Answer::read(daemon.chat(&ask(MODEL, "Before")).send().await.unwrap()).await.ok();
    let before = daemon.limit(Resource::Fsize, 1);
    let refused = Answer::read(daemon.chat(&ask(MODEL, "Meanwhile")).send().await.unwrap()).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "ledger_unavailable"), "{}", refused.text);
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(daemon.client.get(daemon.url("/healthz")).send().await.unwrap().status(), 200);
    assert_eq!(simulator.counts(Provider::OpenAi).arrived, 1);
    daemon.restore(Resource::Fsize, before);
    let answered = async {
        while daemon.chat(&ask(MODEL, "After")).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANGS, answered).await.expect("it never recovers");
    let rows = daemon.shown("/admin/requests").await["requests"].as_array().unwrap().len();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_database_that_is_none_ends_it_with_its_name() {
    for directory_in_its_place in [false, true] {
        let (directory, simulator) = place().await;
        let database = directory.path().join("aipipe.db");
        if directory_in_its_place {
            std::fs::create_dir(&database).unwrap();
        } else {
            std::fs::write(&database, "no database at all ".repeat(1_000)).unwrap();
        }
        let output = run(command(directory.path(), &simulator)).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(database.to_str().unwrap()), "{said}");
    }
}
