//! `aipipe serve` as a child process: started, waited for, observed through `/proc`, stopped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::connection::Target;
use super::machine::Split;

/// A gateway that needs longer to start or to stop never will.
const HANGS: Duration = Duration::from_secs(30);
/// Between two looks at a gateway that starts: the resolution of the start-up time.
const POLL: Duration = Duration::from_micros(100);
/// The models' limits and last days are no subject of these figures: 1 MB of text has to fit, on any day.
const CONFIGURATION: &str = "[[models]]\nprovider = \"openai\"\nid = \"gpt-4o-mini\"\nretires_on = \"9999-12-31\"\n\
                             context_tokens = 4000000\n";
/// Guards the admin API, from nobody.
const SECRET: &str = "of the bench";

/// A gateway that is ready; dropping it kills it.
pub(crate) struct Gateway {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From the start of the process to status 200 of `/readyz`.
    pub(crate) started_in: Duration,
    directory: TempDir,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident: u64,
    /// At its highest.
    pub(crate) peak: u64,
}

impl Gateway {
    /// Starts the program with an empty data directory, further configuration and nothing of this process's environment, and waits until it
    /// is ready.
    pub(crate) fn start(
        binary: &Path,
        environment: &[(String, String)],
        split: &Split,
        further: &str,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("aipipe.toml");
        fs::write(&configuration, format!("{further}{CONFIGURATION}"))?;
        let log = File::create(directory.path().join("log"))?;
        let address = free_address()?;
        let mut command = Command::new(binary);
        command
            .arg("serve")
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("AIPIPE_ADDR", address.to_string())
            .env("AIPIPE_ADMIN_SECRET", SECRET)
            .env("AIPIPE_CONFIG", configuration)
            .env("AIPIPE_DATABASE", directory.path().join("aipipe.db"))
            .env("AIPIPE_LOG", "info")
            .env("XDG_DATA_HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let begin = Instant::now();
        let child = split.on_gateway_cpus(|| command.spawn())?;
        let child = child.with_context(|| format!("cannot start {}", binary.display()))?;
        let mut gateway = Self { child, address, started_in: Duration::ZERO, directory };
        gateway.await_ready(begin)?;
        Ok(gateway)
    }

    fn await_ready(&mut self, begin: Instant) -> anyhow::Result<()> {
        while !is_ready(self.address) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended before it was ready: {status}\n{}", self.log());
            }
            ensure!(begin.elapsed() < HANGS, "the gateway is not ready after {HANGS:?}\n{}", self.log());
            thread::park_timeout(POLL);
        }
        self.started_in = begin.elapsed();
        Ok(())
    }

    /// Its chat completions, as the default tenant.
    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, path: "/v1/chat/completions".to_owned(), authorization: None, tenant: None }
    }

    /// Creates a tenant that the operator's keys serve.
    pub(crate) fn put_tenant(&self, tenant: &str) -> anyhow::Result<()> {
        let body = r#"{"operator_keys": true}"#;
        let request = format!(
            "PUT /admin/tenants/{tenant} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-admin-secret: {SECRET}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        ensure!(&status_line(self.address, &request)? == OK, "the gateway does not create a tenant\n{}", self.log());
        Ok(())
    }

    /// User and system time of all its threads so far, also of those that have ended.
    ///
    /// The kernel tells it in ticks: see [`tick`].
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field, the program's name, may hold spaces; it ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat has no program name")?;
        let field = |place: usize| -> anyhow::Result<u32> {
            Ok(fields.split_whitespace().nth(place).context("/proc/<pid>/stat is too short")?.parse()?)
        };
        let (user, system) = (field(11)?, field(12)?);
        Ok(tick() * (user + system))
    }

    /// Resident memory now and at its peak.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.split_whitespace().next().context("an empty field")?.parse()?)
        };
        Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Where it keeps its ledger, until this is dropped.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("aipipe.db")
    }

    /// Tells it to stop by SIGTERM and waits until it has.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let id = Pid::from_raw(self.child.id().try_into()?).context("the gateway has no process id")?;
        kill_process(id, Signal::TERM)?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the gateway ended with {status}\n{}", self.log());
                return Ok(());
            }
            ensure!(begin.elapsed() < HANGS, "the gateway does not stop\n{}", self.log());
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// The end of its log.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail only for a process that has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The unit in which the kernel tells CPU time, usually 10 ms.
pub(crate) fn tick() -> Duration {
    let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100).max(1);
    Duration::from_secs(1) / ticks
}

/// A loopback address that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether `GET /readyz` is answered with 200.
fn is_ready(address: SocketAddr) -> bool {
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    status_line(address, request).is_ok_and(|status| &status == OK)
}

const OK: &[u8; 12] = b"HTTP/1.1 200";

/// The beginning of what a request is answered with, as far as the status.
fn status_line(address: SocketAddr, request: &str) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status)
}
