//! Accepts connections and serves a router on them, until told to stop.
//!
//! Connections are served by hyper itself, which gives what a public listener needs: a bound on the time for a request's head, and an end
//! that lets what is under way finish. `TCP_NODELAY` is set, since a stream's first event must not wait for the acknowledgement of its
//! head.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// How long a client may take to send the head of a request, and an idle connection is kept.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// How long connections may take to end when the server stops.
const LAST_BYTES: Duration = Duration::from_secs(10);
/// The wait after an accept that failed for want of something (file descriptors): it would fail again at once.
const SHORTAGE_WAIT: Duration = Duration::from_millis(50);

/// Where a request's connection comes from; each request has it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Serves until `stop` completes, then lets the requests under way end.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => (stream, Peer(address.ip())),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(SHORTAGE_WAIT).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // Without it small answers are late, but no less right.
        let _ = stream.set_nodelay(true);
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    if timeout(LAST_BYTES, connections.shutdown()).await.is_err() {
        tracing::warn!("connections were still open when the server ended");
    }
}
