//! `aipipe serve`: runs the gateway in the foreground until SIGTERM or SIGINT.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::{INVALID, configuration, service};
use crate::config::Config;
use crate::gateway::start::StartError;
use crate::gateway::{Gateway, Source};
use crate::http::{self, server::LAST_BYTES};
use crate::store::StoreError;
use crate::telemetry::log;

/// Runs until told to stop.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let (config, source) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let _log = match log::init(&config.log) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("aipipe: {error}");
            return ExitCode::from(INVALID);
        }
    };
    raise_descriptors();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("aipipe: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config, source)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the gateway cannot run");
            eprintln!("aipipe: {error:#}");
            exit_code(&error)
        }
    }
}

/// 2 where something must be set right first, or another process serves the database; 1 where the next start may succeed.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Store(store)) if needs_a_person(store) => ExitCode::from(INVALID),
        _ => ExitCode::FAILURE,
    }
}

fn needs_a_person(error: &StoreError) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, PermissionDenied, ReadOnly};
    match error {
        StoreError::Locked { .. } | StoreError::MasterKey(_) | StoreError::Format { .. } => true,
        StoreError::Unreadable(_) => true,
        StoreError::File { source, .. } => {
            use std::io::ErrorKind::{IsADirectory, NotADirectory, PermissionDenied};
            matches!(source.kind(), IsADirectory | NotADirectory | PermissionDenied)
        }
        StoreError::Database(error) => matches!(
            error.sqlite_error_code(),
            Some(CannotOpen | DatabaseCorrupt | NotADatabase | PermissionDenied | ReadOnly)
        ),
        _ => false,
    }
}

/// Each connection needs a file descriptor, and shells give few: as many as the system allows are taken.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

async fn serve(config: Config, source: Source) -> anyhow::Result<()> {
    // From here on a signal is noticed, also one that comes while the store recovers.
    let mut signals = Signals::new()?;
    let (addr, drain_timeout) = (config.server.addr, config.server.drain_timeout);
    let database = config.database.path.clone();
    let gateway = Gateway::start(config, source).await.with_context(|| format!("database {}", database.display()))?;
    let listener = match service::listener(addr)? {
        Some(listener) => TcpListener::from_std(listener)?,
        None => TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?,
    };
    announce(&gateway, listener.local_addr()?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<Duration>();
    let server = tokio::spawn(http::server::serve(listener, gateway.clone(), async {
        // A sender that is gone says the same.
        stopped.await.unwrap_or(LAST_BYTES)
    }));
    service::ready();
    // Draining counts as life.
    tokio::spawn(service::stay_alive());
    let ended = tokio::select! {
        ended = signals.until_stop(&gateway) => ended,
        () = gateway.system.ended() => Err(anyhow::anyhow!("the actors' root failed for good")),
    };
    gateway.drain.begin();
    service::stopping();
    tracing::info!(under_way = gateway.drain.present(), "draining");
    let patience = tokio::select! {
        () = gateway.drain.emptied() => LAST_BYTES,
        () = sleep(drain_timeout) => {
            tracing::warn!(under_way = gateway.drain.present(), "the time to drain is over: not waiting");
            Duration::ZERO
        }
        _ = signals.stop() => {
            tracing::warn!(under_way = gateway.drain.present(), "told to stop a second time: not waiting");
            Duration::ZERO
        }
    };
    // What is cut off is settled at what was counted until then.
    if stop.send(patience).is_err() {
        tracing::error!("the server ended before it was told to");
    }
    server.await.context("the server failed")?;
    gateway.shut_down().await;
    tracing::info!("stopped");
    ended
}

/// Says what runs, in the log and on a terminal's stderr alike.
fn announce(gateway: &Arc<Gateway>, addr: std::net::SocketAddr) {
    let setup = gateway.setup.load();
    let usable = setup
        .config
        .providers
        .iter()
        .filter(|provider| provider.enabled && (provider.key.is_some() || !provider.needs_key()));
    let usable: Vec<&str> = usable.map(|provider| provider.id.as_str()).collect();
    let today = aipipe_actors::tenant::account::day_of(gateway.clock.now());
    for (model, day) in setup.config.retiring(today) {
        tracing::warn!(provider = %model.provider, model = %model.id, retires_on = %day, "the model retires");
    }
    if usable.is_empty() {
        tracing::warn!("no provider key is set: only tenants with keys of their own can be served");
    }
    let admin = if setup.config.admin_secret.is_some() { "on" } else { "off: AIPIPE_ADMIN_SECRET is not set" };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = crate::COMMIT,
        %addr,
        providers = usable.join(","),
        database = %setup.config.database.path.display(),
        admin,
        "ready"
    );
}

/// The signals that a daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Caught, so that a file that may not grow is an error of its writer's and not the end of the process.
    _file_size: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            hang_up: of(SignalKind::hangup())?,
            _file_size: of(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Completes with SIGTERM or SIGINT.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Completes with SIGTERM or SIGINT; reloads at SIGHUP.
    async fn until_stop(&mut self, gateway: &Arc<Gateway>) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.hang_up.recv() => reload(gateway).await,
            }
        }
    }
}

async fn reload(gateway: &Arc<Gateway>) {
    service::reloading();
    match gateway.reload().await {
        Ok(changes) => tracing::info!(changes = changes.len(), "configuration reloaded"),
        Err(problems) => tracing::error!(%problems, "the configuration was not reloaded; the running one holds"),
    }
    service::ready();
}
