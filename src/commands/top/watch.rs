//! Listens to `GET /admin/events` of a running gateway.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Response;
use secrecy::ExposeSecret;
use tokio::sync::watch as latest;
use tokio::time::{sleep, timeout};
use url::Url;

use super::view::{Seen, Snapshot};
use crate::config::Config;
use crate::providers::Auth;
use crate::upstream::client::{Call, Client, MAX_ERROR_BYTES, read_body};
use crate::upstream::sse::SseDecoder;

/// A gateway that says nothing for so long is gone: it gives a sign of life every ten seconds.
const SILENCE: Duration = Duration::from_secs(25);
/// How long to wait before a gateway that is gone is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to a gateway.
pub(super) struct Watch {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Watch {
    /// The gateway at an address, or the one that is configured.
    pub(super) fn new(config: &Config, url: Option<&Url>) -> anyhow::Result<Self> {
        let secret = config.admin_secret.as_ref().context("AIPIPE_ADMIN_SECRET is not set: it opens the admin API")?;
        let mut secret = HeaderValue::from_str(secret.expose_secret()).context("AIPIPE_ADMIN_SECRET fits no header")?;
        secret.set_sensitive(true);
        let base = url.map_or_else(|| format!("http://{}", config.server.own_addr()), Url::to_string);
        let url = Url::parse(&format!("{}/admin/events", base.trim_end_matches('/')))?;
        let headers = [(HeaderName::from_static("x-admin-secret"), secret)].into_iter().collect();
        Ok(Self { client: Client::new(config.reliability.connect_timeout)?, url, headers })
    }

    /// Host and port.
    pub(super) fn address(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.url.host_str().unwrap_or_default())
    }

    /// The first look.
    pub(super) async fn first(&self) -> anyhow::Result<Snapshot> {
        let mut listening = self.listen().await?;
        listening.next().await
    }

    /// Tells every look, and comes again where the gateway was gone, for as long as somebody wants to know.
    pub(super) async fn follow(self, sender: latest::Sender<Seen>) {
        while !sender.is_closed() {
            let Err(error) = self.tell(&sender).await;
            sender.send_modify(|seen| seen.trouble = Some(format!("{error:#}")));
            sleep(PAUSE).await;
        }
    }

    async fn tell(&self, sender: &latest::Sender<Seen>) -> anyhow::Result<std::convert::Infallible> {
        let mut listening = self.listen().await?;
        loop {
            let snapshot = listening.next().await?;
            sender.send_modify(|seen| {
                seen.snapshot = Some(snapshot);
                seen.trouble = None;
            });
        }
    }

    async fn listen(&self) -> anyhow::Result<Listening> {
        let call = Call { url: self.url.clone(), headers: self.headers.clone(), body: Bytes::new() };
        let asked = self.client.request(Method::GET, call, Auth::Bearer, None);
        let response = timeout(SILENCE, asked).await.context("no answer")?;
        let response = response.with_context(|| format!("no gateway answers at {}", self.address()))?;
        match response.status() {
            StatusCode::OK => Ok(Listening { response, decoder: SseDecoder::default() }),
            status => {
                let body = timeout(SILENCE, read_body(response, MAX_ERROR_BYTES)).await??;
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let message = body.pointer("/error/message");
                bail!(
                    "{}: {status}: {}",
                    self.address(),
                    message.and_then(|message| message.as_str()).unwrap_or_default()
                );
            }
        }
    }
}

/// A stream of looks.
struct Listening {
    response: Response,
    decoder: SseDecoder,
}

impl Listening {
    /// The newest look.
    async fn next(&mut self) -> anyhow::Result<Snapshot> {
        loop {
            let chunk = timeout(SILENCE, self.response.chunk()).await.context("the gateway has fallen silent")??;
            let chunk = chunk.context("the gateway has ended the connection")?;
            let mut events = Vec::new();
            self.decoder.feed(chunk, &mut events)?;
            if let Some(event) = events.iter().rfind(|event| !event.is_comment()) {
                return serde_json::from_str(event.data()).context("what the gateway tells is of another version");
            }
        }
    }
}
