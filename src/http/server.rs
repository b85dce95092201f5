//! Accepts connections and serves the endpoints on them, until told to stop.
//!
//! Connections are served by hyper itself, which gives what a public listener needs: a bound on the time for a request's head, and an end
//! that lets what is under way finish. Their number is bounded; a few more are accepted to be told so, and for the operator's endpoints.
//! `TCP_NODELAY` is set, since a stream's first event must not wait for the acknowledgement of its head.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::unread::Unread;
use super::{crowded, router};
use crate::gateway::Gateway;

/// How long connections may take to end when the server stops and nothing is under way any more.
pub const LAST_BYTES: Duration = Duration::from_secs(10);
/// The wait after an accept that failed for want of something (file descriptors): it would fail again at once.
const SHORTAGE_WAIT: Duration = Duration::from_millis(50);
/// Descriptors for what is no client's connection nor an upstream call: the database, the journal, the log.
const OWN_DESCRIPTORS: u64 = 64;

/// Where a request's connection comes from; each request has it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What connections may take up.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Connections that everything is served on.
    connections: usize,
    /// Connections beyond them, on which only the operator's endpoints are.
    reserved: usize,
    /// How long a client may take to send the head of a request, and an idle connection is kept.
    head: Duration,
    /// The same where connections are scarce.
    crowded_head: Duration,
    /// How long a client may leave what is sent to it unread.
    unread: Duration,
}

impl Bounds {
    fn new(max_connections: usize) -> Self {
        let connections = affordable(max_connections);
        Self {
            connections,
            reserved: (connections / 4).clamp(4, 64),
            head: Duration::from_secs(60),
            crowded_head: Duration::from_millis(500),
            unread: Duration::from_secs(120),
        }
    }
}

/// As many connections as the process may open files for: each needs one, and one more for its upstream call.
fn affordable(max_connections: usize) -> usize {
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return max_connections };
    let most = usize::try_from(descriptors.saturating_sub(OWN_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1);
    if most < max_connections {
        tracing::warn!(
            descriptors,
            connections = most,
            wanted = max_connections,
            "fewer connections than configured: raise the limit of open files"
        );
    }
    most.min(max_connections)
}

/// Serves until `stop` completes, then lets requests under way end for as long as `stop` says, and cuts off the rest.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: impl Future<Output = Duration>) {
    let bounds = Bounds::new(gateway.setup.load().config.limits.max_connections);
    let routers = Routers { open: router(gateway.clone()), crowded: crowded(gateway) };
    run(listener, routers, bounds, stop).await;
}

/// What is served.
struct Routers {
    open: Router,
    crowded: Router,
}

async fn run(listener: TcpListener, routers: Routers, bounds: Bounds, stop: impl Future<Output = Duration>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let open = Arc::new(Semaphore::new(bounds.connections));
    let reserved = Arc::new(Semaphore::new(bounds.reserved));
    let mut stop = std::pin::pin!(stop);
    let patience = loop {
        let (stream, peer, place) = tokio::select! {
            accepted = accept(&listener, &open, &reserved) => accepted,
            Some(_) = connections.join_next() => continue,
            patience = &mut stop => break patience,
        };
        let is_crowded = matches!(place, Place::Reserved { .. });
        // Without it small answers are late, but no less right.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(bounds.unread));
        let router = if is_crowded { &routers.crowded } else { &routers.open };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(Unread::watch(request))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(if is_crowded { bounds.crowded_head } else { bounds.head })
            .keep_alive(!is_crowded)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // How it ended, its requests have noted.
            let _ = connection.await;
            drop(place);
        });
    };
    drop(listener);
    if timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were still open when the server ended");
    }
    connections.shutdown().await;
}

/// What a connection counts as, for as long as it lives.
enum Place {
    Open { _permit: OwnedSemaphorePermit },
    Reserved { _permit: OwnedSemaphorePermit },
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, open: &Arc<Semaphore>, reserved: &Arc<Semaphore>) -> (TcpStream, Peer, Place) {
    loop {
        // Neither is ever closed.
        let Ok(spare) = reserved.clone().acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, address)) => {
                let place = match open.clone().try_acquire_owned() {
                    Ok(permit) => Place::Open { _permit: permit },
                    Err(_) => Place::Reserved { _permit: spare },
                };
                return (stream, Peer(address.ip()), place);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(SHORTAGE_WAIT).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;

    /// One endless answer; its channel closes when nobody can get any more of it.
    fn endless() -> (Router, mpsc::Receiver<()>) {
        let (alive, dropped) = mpsc::channel::<()>(1);
        let alive = Arc::new(Mutex::new(Some(alive)));
        let answer = move || {
            let alive = alive.lock().unwrap().take();
            let pieces = stream::unfold(alive, |alive| async {
                Some((Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 65_536])), alive))
            });
            std::future::ready(Body::from_stream(pieces))
        };
        (Router::new().route("/", get(answer)), dropped)
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_is_left_after_a_while() {
        let (open, mut dropped) = endless();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { unread: Duration::from_millis(50), ..Bounds::new(10) };
        let server =
            tokio::spawn(run(listener, Routers { open, crowded: Router::new() }, bounds, std::future::pending()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(dropped.recv().await, None);
        server.abort();
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_cut_off() {
        let (open, mut dropped) = endless();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let ending = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(run(listener, Routers { open, crowded: Router::new() }, Bounds::new(10), ending));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        client.read_u8().await.unwrap();
        stop.send(Duration::ZERO).unwrap();
        server.await.unwrap();
        assert_eq!(dropped.recv().await, None);
    }
}
