//! The client that all upstream calls share.

use std::time::Duration;

use aipipe_actors::fault::Fault;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use reqwest::Url;
use rustix::io::Errno;
use rustls_platform_verifier::ConfigVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use url::Host;

use crate::providers::Auth;

/// Idle connections kept to one host: above it a burst's connections are closed again.
const IDLE_CONNECTIONS: usize = 512;
/// Shorter than the providers' own keep-alive, so that a connection is not used while the other side closes it.
const IDLE_TIME: Duration = Duration::from_secs(55);
/// The largest error body that is read.
pub const MAX_ERROR_BYTES: usize = 1 << 20;
/// The largest whole answer that is read.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A failure of the connection, without any word from the provider.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Broken {
    /// Its class.
    pub fault: Fault,
    /// The chain of causes, without addresses of secrets.
    pub message: String,
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// The system has no certificates to trust, or they cannot be read.
    #[error("the system's certificates cannot be used: {0}")]
    Certificates(#[from] rustls::Error),
    /// The client takes nothing of it.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// Where to.
    pub url: Url,
    /// Headers of the dialect and the profile.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The pooled client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Goes through the proxy that the environment names.
    remote: reqwest::Client,
    /// For providers on this machine, which no proxy reaches.
    local: reqwest::Client,
}

impl Client {
    /// A client whose connections are made within `connect_timeout`.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(connect_timeout: Duration) -> Result<Self, NoTls> {
        // Another part of the process may have installed a provider already; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Made once for both: the system's certificates take milliseconds and megabytes.
        let mut tls = rustls::ClientConfig::with_platform_verifier()?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(concat!("aipipe/", env!("CARGO_PKG_VERSION")))
                // Where nothing is said, any encoding may come.
                .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
                .connect_timeout(connect_timeout)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .pool_idle_timeout(IDLE_TIME)
                .tcp_nodelay(true)
                .tcp_keepalive(Duration::from_secs(30))
                .http2_adaptive_window(true)
                // A provider that redirects would carry the key to another host.
                .redirect(reqwest::redirect::Policy::none())
        };
        Ok(Self { remote: builder().build()?, local: builder().no_proxy().build()? })
    }

    /// Sends a call with its key and waits for the head of the answer.
    ///
    /// # Errors
    /// [`Broken`] where no head came.
    pub async fn send(&self, call: Call, auth: Auth, key: Option<&SecretString>) -> Result<reqwest::Response, Broken> {
        self.request(Method::POST, call, auth, key).await
    }

    /// The same with another method.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn request(
        &self,
        method: Method,
        call: Call,
        auth: Auth,
        key: Option<&SecretString>,
    ) -> Result<reqwest::Response, Broken> {
        let Call { url, mut headers, body } = call;
        if method == Method::POST {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        authenticate(&mut headers, auth, key)?;
        let call = self.reaching(&url).request(method, url).headers(headers).body(body);
        call.send().await.map_err(|error| broken(&error))
    }

    fn reaching(&self, url: &Url) -> &reqwest::Client {
        if is_local(url) { &self.local } else { &self.remote }
    }
}

/// Whether the host is this machine.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn authenticate(headers: &mut HeaderMap, auth: Auth, key: Option<&SecretString>) -> Result<(), Broken> {
    if let Auth::XApiKey { version } = auth {
        headers.entry("anthropic-version").or_insert(HeaderValue::from_static(version));
    }
    let Some(key) = key else { return Ok(()) };
    let (name, value) = match auth {
        Auth::Bearer => (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))),
        Auth::XApiKey { .. } => (HeaderName::from_static("x-api-key"), HeaderValue::try_from(key.expose_secret())),
        Auth::XGoogApiKey => (HeaderName::from_static("x-goog-api-key"), HeaderValue::try_from(key.expose_secret())),
    };
    let mut value = value.map_err(|_| Broken {
        fault: Fault::Key,
        message: "the provider key holds characters that no HTTP header may have".to_owned(),
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// What the system says where this machine has run out of something: no provider's fault.
const SHORTAGES: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];

fn is_shortage(error: &(dyn std::error::Error + 'static)) -> bool {
    let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    number.is_some_and(|number| SHORTAGES.iter().any(|shortage| shortage.raw_os_error() == number))
}

/// The class of a transport error, with its causes.
pub fn broken(error: &reqwest::Error) -> Broken {
    let mut fault = if error.is_connect() { Fault::Unreachable } else { Fault::Broken };
    let mut message = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if is_shortage(error) {
            fault = Fault::Shortage;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&error.to_string());
        cause = error.source();
    }
    if message.is_empty() {
        // The address may hold a key in its query; the error without it says the same.
        message = if error.is_timeout() { "the connection timed out".into() } else { "the connection failed".into() };
    }
    Broken { fault, message }
}

/// The pieces of a body as they come. Most bodies come in one, which is then not copied.
#[derive(Debug, Default)]
pub struct Gathered {
    first: Option<Bytes>,
    whole: BytesMut,
}

impl Gathered {
    /// Takes one more piece.
    ///
    /// # Errors
    /// [`Broken`] where the body is larger than `limit` bytes with it.
    pub fn add(&mut self, piece: Bytes, limit: usize) -> Result<(), Broken> {
        if self.whole.is_empty() && self.first.is_none() {
            self.first = Some(piece);
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            self.whole.extend_from_slice(&first);
        }
        self.whole.extend_from_slice(&piece);
        if self.whole.len() > limit {
            let message = format!("the answer is larger than {limit} bytes");
            return Err(Broken { fault: Fault::Malformed, message });
        }
        Ok(())
    }

    /// The body.
    pub fn finish(self) -> Bytes {
        self.first.unwrap_or_else(|| self.whole.freeze())
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// [`Broken`] where it ends early or is larger.
pub async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Bytes, Broken> {
    let mut gathered = Gathered::default();
    while let Some(piece) = response.chunk().await.map_err(|error| broken(&error))? {
        gathered.add(piece, limit)?;
    }
    Ok(gathered.finish())
}

/// How long a provider asks to wait, in any of the header's forms: `retry-after-ms`, seconds (also fractions), or an HTTP date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let duration = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return duration(wait / 1_000.0);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return duration(seconds);
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::from_secs(at.as_second().saturating_sub(now.as_second()).max(0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d176_retry_after_is_read_in_all_its_forms() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        for (name, value, wait) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "1.5", Some(1_500)),
            ("retry-after", "-3", Some(0)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "Tue, 24 Nov 2026 10:00:09 GMT", Some(9_000)),
            ("retry-after", "Tue, 24 Nov 2026 09:00:00 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("retry-after", "inf", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(retry_after(&headers, now), wait.map(Duration::from_millis), "{value}");
        }
    }
}
