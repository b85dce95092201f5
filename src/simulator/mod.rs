//! Seven LLM providers on loopback, with their honest wire formats and with faults on request: for tests, demonstrations and load tests
//! without keys or network.
//!
//! One [`Simulator`] listens on one port per [`Provider`], so that its base URLs look like the real ones. It checks keys, refuses what the
//! real provider refuses, counts tokens by its own simple rule and answers deterministically from the request. What it sends follows
//! recordings of the real providers, quirks included.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use aipipe::simulator::{Behaviour, Provider, Settings, Simulator};
//!
//! let simulator = Simulator::start(Settings::default()).await?;
//! simulator.script_next(Provider::Anthropic, Behaviour::status(529));
//! // … point a client at `simulator.base_url(Provider::Anthropic)` …
//! simulator.wait_for_calls(Provider::Anthropic, 1).await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! * It shares no code with the rest of the crate: neither dialects, nor money, nor tokenizer. A mistake on one side cannot be repeated on
//!   the other, so the two check each other.
//! * Everything about an answer but its ids and time stamps follows from the request, the settings' seed and what was sent before.
//! * Dropping the simulator ends its listeners and every connection.
//!
//! A call travels: [`server`] accepts and checks the key → a script decides the [`Behaviour`] → the wire format ([`openai_chat`],
//! [`responses`], [`anthropic`], [`gemini`]) validates and reads the request into what a model sees ([`text::Ask`]) → [`text`] answers → the wire format
//! writes events → [`faults`] spoils them → [`answer`] sends them in time and tells [`calls`] how it ended.

mod answer;
mod anthropic;
mod anthropic_checks;
mod behaviour;
mod calls;
mod embeddings;
mod errors;
mod faults;
mod gemini;
mod gemini_checks;
mod hold;
mod json;
mod latency;
mod models;
mod openai_chat;
mod openai_checks;
mod openai_stream;
mod openai_writer;
mod provider;
mod quirks;
mod responses;
mod responses_checks;
mod responses_writer;
mod routes;
mod schema;
mod server;
mod text;
mod usage;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use behaviour::Behaviour;
pub use calls::{Call, Counts, Outcome, Record};
pub use hold::Hold;
pub use latency::{Latency, LatencyProfile};
pub use provider::Provider;
pub use usage::Usage;

use calls::CallLog;
use provider::PerProvider;
use server::Site;

/// How a simulator is set up; the default answers at once and records every call.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Keys that are accepted; a provider that has none here accepts `simulated-<provider>-key`.
    pub keys: Vec<(Provider, String)>,
    /// Model names that every provider accepts beside those of its own families.
    pub models: Vec<String>,
    /// How long the models take, unless a [`Behaviour`] says otherwise.
    pub latency: Latency,
    /// Decides what the models say and which calls a [`Behaviour::FailureRate`] spoils.
    pub seed: u64,
    /// What is kept of each call.
    pub record: Record,
}

/// Seven simulated providers; see the module's documentation. Dropping it stops them.
#[derive(Debug)]
pub struct Simulator {
    sites: PerProvider<Arc<Site>>,
    log: Arc<CallLog>,
    listeners: Vec<AbortHandle>,
}

impl Simulator {
    /// Opens the seven ports on loopback and serves them from tasks of the current runtime.
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let settings = Arc::new(settings);
        let log = Arc::new(CallLog::new(settings.record));
        let mut listeners = Vec::new();
        let mut sites = Vec::new();
        for provider in Provider::ALL {
            let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
            let site = Arc::new(Site::new(provider, listener.local_addr()?, Arc::clone(&settings), Arc::clone(&log)));
            listeners.push(tokio::spawn(server::serve(listener, Arc::clone(&site))).abort_handle());
            sites.push(site);
        }
        let sites = PerProvider::from_all(sites).ok_or_else(|| io::Error::other("a provider has no listener"))?;
        Ok(Self { sites, log, listeners })
    }

    /// The base URL that an SDK would be given for this provider: with `/v1` where the real one has it, without a trailing slash.
    #[must_use]
    pub fn base_url(&self, provider: Provider) -> String {
        format!("http://{}{}", self.sites.get(provider).address, provider.base_path())
    }

    /// A key that the provider accepts.
    #[must_use]
    pub fn api_key(&self, provider: Provider) -> &str {
        self.sites.get(provider).first_key()
    }

    /// The variables which make a child process use this simulator: `AIPIPE_<PROVIDER>_BASE_URL` and `<PROVIDER>_API_KEY` of each.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let pair = |provider: Provider| {
            let name = provider.as_str().to_ascii_uppercase();
            let base_url = (format!("AIPIPE_{name}_BASE_URL"), self.base_url(provider));
            [base_url, (format!("{name}_API_KEY"), self.api_key(provider).to_owned())]
        };
        Provider::ALL.into_iter().flat_map(pair).collect()
    }

    /// Sets the behaviour of all later calls of the provider that nothing more special decides.
    pub fn script(&self, provider: Provider, behaviour: Behaviour) {
        self.sites.get(provider).script.set(behaviour);
    }

    /// Sets the behaviour of all later calls of one model of the provider, by the name that calls give it.
    pub fn script_model(&self, provider: Provider, model: &str, behaviour: Behaviour) {
        self.sites.get(provider).script.set_model(model, behaviour);
    }

    /// Appends a behaviour for exactly one call: the next one that has none, in the order of these.
    pub fn script_next(&self, provider: Provider, behaviour: Behaviour) {
        self.sites.get(provider).script.push_next(behaviour);
    }

    /// Every recorded call in the order of arrival, as it stands at this moment.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.log.calls(|_| true)
    }

    /// The same, and forgets them, so that memory does not grow in a long run. What becomes of those still open is then told by the
    /// [`Counts`] alone.
    #[must_use]
    pub fn take_calls(&self) -> Vec<Call> {
        self.log.take_calls()
    }

    /// The recorded calls of one provider in the order of arrival.
    #[must_use]
    pub fn calls_of(&self, provider: Provider) -> Vec<Call> {
        self.log.calls(|call| call.provider == provider)
    }

    /// How many calls the provider got, has open, and lost to clients that hung up.
    #[must_use]
    pub fn counts(&self, provider: Provider) -> Counts {
        self.log.counts(provider)
    }

    /// Completes once `arrived` calls, headers and body, have reached the provider since the start.
    pub async fn wait_for_calls(&self, provider: Provider, arrived: usize) {
        self.wait_until(provider, |counts| counts.arrived >= arrived).await;
    }

    /// Completes once `hung_up` clients of the provider have closed the connection before their answer was whole.
    pub async fn wait_for_disconnects(&self, provider: Provider, hung_up: usize) {
        self.wait_until(provider, |counts| counts.hung_up >= hung_up).await;
    }

    /// Completes once the provider's counts satisfy the condition; `|counts| counts.open == 0` waits for silence.
    pub async fn wait_until(&self, provider: Provider, condition: impl FnMut(&Counts) -> bool) {
        self.log.wait_until(provider, condition).await;
    }

    /// From now on calls of the provider arrive and wait, unanswered, until the hold is released or dropped.
    #[must_use = "a dropped hold lets the calls go"]
    pub fn hold(&self, provider: Provider) -> Hold {
        self.sites.get(provider).gate.hold(0)
    }

    /// Like [`Simulator::hold`], but streams send their headers and this many deltas before they wait.
    #[must_use = "a dropped hold lets the calls go"]
    pub fn hold_after(&self, provider: Provider, deltas: usize) -> Hold {
        self.sites.get(provider).gate.hold(deltas)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}
