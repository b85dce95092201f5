//! One kept-alive HTTP/1.1 connection, and one request with its answer on it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use memchr::memmem::Finder;
use tokio::net::TcpStream;

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The path of chat completions.
    pub(crate) path: String,
    /// What the target wants as `authorization`.
    pub(crate) authorization: Option<String>,
    /// The tenant that sends; the default one where there is none.
    pub(crate) tenant: Option<&'static str>,
}

/// What came back, and when.
#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) status: u16,
    /// Whether the gateway says that its cache answered.
    pub(crate) cached: bool,
    /// When the first bytes of the body were there.
    pub(crate) first: Instant,
    /// When the whole body was there.
    pub(crate) end: Instant,
    /// Events with data in the body: deltas, and the few that end a stream.
    pub(crate) events: usize,
    /// Whether the body is a stream without the event that ends it: one that broke has status 200 all the same.
    pub(crate) broke_off: bool,
    /// The body of an answer that is not 200.
    pub(crate) refusal: String,
}

/// An open connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

impl Connection {
    /// Connects without Nagle's algorithm, which would hold back small writes for 40 ms.
    pub(crate) async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How a connection ends is told to whoever sends on it.
        tokio::spawn(connection);
        Ok(Self { sender, target: target.clone() })
    }

    /// Sends the body and reads the answer to its end.
    pub(crate) async fn exchange(&mut self, body: Bytes) -> anyhow::Result<Reception> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.target.path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        if let Some(authorization) = &self.target.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(tenant) = self.target.tenant {
            request = request.header("x-tenant-id", tenant);
        }
        let request = request.body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let cached = response.headers().get("x-aipipe-cache").is_some_and(|cache| cache == "hit");
        let content_type = response.headers().get("content-type");
        let streams = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut body = response.into_body();
        let (mut first, mut counter, mut refusal) = (None, EventCounter::new(), Vec::new());
        let mut ending = Ending::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            first.get_or_insert_with(Instant::now);
            counter.feed(&data);
            ending.feed(&data);
            if status != 200 {
                refusal.extend_from_slice(&data);
            }
        }
        let end = Instant::now();
        Ok(Reception {
            status,
            cached,
            first: first.unwrap_or(end),
            end,
            events: counter.events,
            broke_off: streams && !ending.is_done(),
            refusal: String::from_utf8_lossy(&refusal).into_owned(),
        })
    }
}

/// The last bytes of a body that came in pieces.
#[derive(Default)]
struct Ending(Vec<u8>);

impl Ending {
    /// The event that ends a stream of chat completions.
    const DONE: &[u8] = b"data: [DONE]\n\n";

    fn feed(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece.get(piece.len().saturating_sub(Self::DONE.len())..).unwrap_or(piece));
        self.0.drain(..self.0.len().saturating_sub(Self::DONE.len()));
    }

    fn is_done(&self) -> bool {
        self.0 == Self::DONE
    }
}

/// Counts the ends of server-sent events, wherever the pieces of the body are cut.
struct EventCounter {
    ends: Finder<'static>,
    after_newline: bool,
    events: usize,
}

impl EventCounter {
    fn new() -> Self {
        Self { ends: Finder::new(b"\n\n"), after_newline: false, events: 0 }
    }

    fn feed(&mut self, piece: &[u8]) {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return };
        let cut = self.after_newline && *first == b'\n';
        let rest = if cut { piece.get(1..).unwrap_or_default() } else { piece };
        self.events += usize::from(cut) + self.ends.find_iter(rest).count();
        // A newline that has ended an event begins no other end.
        self.after_newline = *last == b'\n' && !rest.ends_with(b"\n\n") && !rest.is_empty();
    }
}
