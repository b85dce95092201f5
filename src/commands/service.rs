//! The daemon as a systemd service: what the manager is told, and the socket that it may have opened. Without systemd nothing happens.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::sleep;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told how it stands");
    }
}

/// Requests are answered.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "there is no monotonic clock"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Gives the manager's watchdog its sign of life, twice in each of its periods, for as long as the runtime lives.
pub(super) async fn stay_alive() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else { return };
    loop {
        tell(&[NotifyState::Watchdog]);
        sleep(period / 2).await;
    }
}

/// The socket that the manager opened for this process, if it did.
///
/// # Errors
/// Where it cannot be used, or reaches further than the configured address: who is trusted depends on that.
pub(super) fn listener(configured: SocketAddr) -> anyhow::Result<Option<TcpListener>> {
    let listener =
        ListenFd::from_env().take_tcp_listener(0).context("the socket of the service manager is none for TCP")?;
    let Some(listener) = listener else { return Ok(None) };
    let addr = listener.local_addr()?;
    ensure!(
        addr.ip().is_loopback() || !configured.ip().is_loopback(),
        "the service manager's socket listens on {addr}, but server.addr is {configured}: name an address beyond the loopback there too, \
         since tenants prove themselves otherwise then"
    );
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}
