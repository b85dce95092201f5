//! Who can be reached: the providers, with the operator's keys; the clock, by what they say of the time; a gateway that runs already.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::timeout;

use super::Finding;
use crate::config::{Config, ProviderConfig};
use crate::gateway::upstreams::{Upstream, upstreams};
use crate::providers::Auth;
use crate::upstream::client::{Call, Client};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds that the clock may differ from a provider's; budgets and penalties do not mind less.
const FAST_OR_SLOW: i64 = 30;

/// What a provider answered.
struct Answered {
    status: StatusCode,
    after: Duration,
    /// Seconds that this machine's clock is ahead.
    ahead: Option<i64>,
}

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let client = match Client::new(config.reliability.connect_timeout) {
        Ok(client) => client,
        Err(error) => return vec![Finding::bad("TLS", error.to_string(), "look at the system's certificates")],
    };
    let upstreams = upstreams(config);
    let used = config.providers.iter().filter(|provider| provider.key.is_some() || !provider.needs_key());
    let asked = used.filter_map(|provider| Some((provider, upstreams.get(&provider.id)?)));
    let client = &client;
    let answers =
        join_all(asked.map(|(provider, upstream)| async move { (provider, ask(client, upstream).await) })).await;
    let mut findings: Vec<Finding> = answers.iter().map(|(provider, answer)| reached(provider, answer)).collect();
    let ahead: Vec<i64> = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.ahead).collect();
    findings.extend(clock(ahead));
    findings.push(running(config).await);
    findings
}

async fn ask(client: &Client, upstream: &Upstream) -> Result<Answered, String> {
    let url = upstream.url(upstream.config.profile.dialect.models_path()).map_err(|broken| broken.message)?;
    let config = &upstream.config;
    let began = Instant::now();
    let call = Call { url, headers: upstream.headers.clone(), body: Bytes::new() };
    let answer = client.request(Method::GET, call, config.profile.auth, config.key.as_ref());
    let response = tokio::time::timeout(PATIENCE, answer).await;
    let response = response.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
    let response = response.map_err(|broken| broken.message)?;
    let date = response.headers().get(http::header::DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
    let ahead = date.map(|date| Timestamp::now().as_second() - date.as_second());
    Ok(Answered { status: response.status(), after: began.elapsed(), ahead })
}

fn reached(provider: &ProviderConfig, answer: &Result<Answered, String>) -> Finding {
    let what = provider.id.as_str();
    let variable = provider.key_variable.as_deref().unwrap_or("its key");
    match answer {
        Err(why) => {
            let remedy = "look at the network, the proxy and the provider's base_url; requests go to other providers";
            Finding::bad(what, format!("{} cannot be reached: {why}", provider.base_url), remedy)
        }
        Ok(Answered { status, after, .. }) => {
            let found = format!("{} answers {} after {} ms", provider.base_url, status.as_u16(), after.as_millis());
            match status.as_u16() {
                200..300 => Finding::good(what, found),
                400 if provider.profile.wrong_key_is_400 => {
                    Finding::bad(what, found, format!("set {variable} to a valid key"))
                }
                401..=403 => Finding::bad(what, found, format!("set {variable} to a valid key with credit")),
                404 | 405 => Finding::good(what, format!("{found}: it lists no models, but is there")),
                429 => Finding::doubtful(what, found, "the key is at its limit; wait, or raise it at the provider"),
                _ => Finding::doubtful(what, found, "wait, or look at the provider's status page"),
            }
        }
    }
}

/// The clock by the provider that agrees best: one whose clock is wrong must not accuse this one.
fn clock(ahead: Vec<i64>) -> Option<Finding> {
    let ahead = ahead.into_iter().min_by_key(|ahead| ahead.abs())?;
    if ahead.abs() <= FAST_OR_SLOW {
        return Some(Finding::good("clock", "agrees with the providers'"));
    }
    let found = format!("{} s {} the providers'", ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
    Some(Finding::bad("clock", found, "let it be set by NTP: budgets and the ledger go by it"))
}

/// Whether a gateway lives at the configured address, or why not.
pub(super) async fn alive(config: &Config) -> Result<(), String> {
    let addr = config.server.own_addr();
    let client = Client::new(config.reliability.connect_timeout).map_err(|error| error.to_string())?;
    let url = format!("http://{addr}/healthz").parse().map_err(|error| format!("{addr}: {error}"))?;
    let call = Call { url, headers: HeaderMap::new(), body: Bytes::new() };
    let asked = timeout(PATIENCE, client.request(Method::GET, call, Auth::Bearer, None)).await;
    match asked {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("{addr} answers {}", answer.status())),
        Ok(Err(broken)) => Err(format!("{addr}: {broken}")),
        Err(_) => Err(format!("{addr} does not answer")),
    }
}

/// Whether a gateway answers at the configured address.
async fn running(config: &Config) -> Finding {
    let addr = config.server.own_addr();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let Ok(client) = client else { return Finding::good("gateway", "not looked for") };
    match client.get(format!("http://{addr}/readyz")).send().await {
        Err(error) if error.is_connect() => Finding::good("gateway", format!("nothing listens on {addr}")),
        Err(_) => {
            let remedy = format!("stop what listens on {addr}, or set AIPIPE_ADDR to another address");
            Finding::bad("gateway", format!("what listens on {addr} is no gateway"), remedy)
        }
        Ok(answer) if answer.status().is_success() => Finding::good("gateway", format!("runs on {addr} and is ready")),
        Ok(answer) => {
            let why = answer.text().await.unwrap_or_default();
            let why: String = why.chars().take(200).collect();
            Finding::doubtful("gateway", format!("runs on {addr} and is not ready"), format!("see what it says: {why}"))
        }
    }
}
