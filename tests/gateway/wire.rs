//! A provider that says exactly these bytes to every call, and then does what providers do when they fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What follows the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The connection is closed properly.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing, with the connection open.
    Silence,
    /// The last bytes again, every so many milliseconds.
    Repeat(u64),
}

/// A listener on loopback; dropping it ends it.
pub(crate) struct Wire {
    address: String,
    counts: Arc<Counts>,
    listening: AbortHandle,
}

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    answered: AtomicUsize,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Wire {
    pub(crate) async fn start(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let counts = Arc::<Counts>::default();
        let (bytes, counted) = (Arc::new(bytes.into()), counts.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, bytes.clone(), then, counted.clone()));
            }
        });
        Self { address, counts, listening: listening.abort_handle() }
    }

    /// Its address, as a base URL without a path.
    pub(crate) fn url(&self) -> &str {
        &self.address
    }

    /// Calls that came whole.
    pub(crate) fn calls(&self) -> usize {
        self.counts.calls.load(Ordering::SeqCst)
    }

    /// Answers of which every byte has been taken.
    pub(crate) fn answered(&self) -> usize {
        self.counts.answered.load(Ordering::SeqCst)
    }
}

/// The bytes of an answer with this head and body, without a length: its end is the end of the connection.
pub(crate) fn unframed(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}")
}

async fn answer(mut stream: TcpStream, bytes: Arc<Vec<u8>>, then: Then, counts: Arc<Counts>) {
    if read_call(&mut stream).await.is_none() {
        return;
    }
    counts.calls.fetch_add(1, Ordering::SeqCst);
    // Whoever was called may have left.
    if stream.write_all(&bytes).await.is_err() {
        return;
    }
    counts.answered.fetch_add(1, Ordering::SeqCst);
    match then {
        Then::Close => {
            let _ = stream.shutdown().await;
            // Closing with something unread would reset the connection.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Then::Reset => {
            // What was sent is read before the reset, or the reset would take it along.
            tokio::task::yield_now().await;
            stream.set_zero_linger().unwrap();
        }
        Then::Silence => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Then::Repeat(pause) => {
            let last = bytes.windows(4).rposition(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                if stream.write_all(&bytes[last..]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads one call, head and body.
async fn read_call(stream: &mut TcpStream) -> Option<()> {
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if received.len() >= end + 4 + length {
                return Some(());
            }
        }
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
}
