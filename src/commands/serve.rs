//! `aipipe serve`: runs the gateway in the foreground until SIGTERM or SIGINT.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{INVALID, configuration};
use crate::config::Config;
use crate::gateway::start::StartError;
use crate::gateway::{Gateway, Source};
use crate::http;
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

/// 2 where another process serves the database or something must be set right first, 1 otherwise.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Store(StoreError::Locked { .. } | StoreError::MasterKey(_) | StoreError::Format { .. })) => {
            ExitCode::from(INVALID)
        }
        _ => ExitCode::FAILURE,
    }
}

async fn serve(config: Config, source: Source) -> anyhow::Result<()> {
    // From here on a signal is noticed, also one that comes while the store recovers.
    let mut signals = Signals::new()?;
    let addr = config.server.addr;
    let gateway = Gateway::start(config, source).await?;
    let listener = TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?;
    let addr = listener.local_addr()?;
    announce(&gateway, addr);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = http::router(gateway.clone());
    let server = tokio::spawn(http::server::serve(listener, router, async {
        // A sender that is gone says the same.
        let _ = stopped.await;
    }));
    let ended = tokio::select! {
        ended = signals.until_stop(&gateway) => ended,
        () = gateway.system.ended() => Err(anyhow::anyhow!("the actors' root failed for good")),
    };
    gateway.drain.begin();
    tracing::info!(under_way = gateway.drain.present(), "draining");
    tokio::select! {
        () = gateway.drain.emptied() => {}
        _ = signals.stop() => tracing::warn!(under_way = gateway.drain.present(), "told to stop a second time: not waiting"),
    }
    drop(stop);
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
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            hang_up: of(SignalKind::hangup())?,
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
    match gateway.reload().await {
        Ok(changes) => tracing::info!(changes = changes.len(), "configuration reloaded"),
        Err(problems) => tracing::error!(%problems, "the configuration was not reloaded; the running one holds"),
    }
}
