//! A gateway with its simulated providers, and a client of it.

use std::path::Path;
use std::sync::Arc;

use aipipe::config::{self, Environment};
use aipipe::gateway::{Gateway, Source};
use aipipe::http;
use aipipe::simulator::{Provider, Settings, Simulator};
use aipipe_actors::money::NanoUsd;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The operator's secret of every gateway here.
pub(crate) const SECRET: &str = "the operator's secret";

/// A client that talks to the loopback alone.
pub(crate) fn client() -> Client {
    // A second installation is an error that changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// Writes a configuration in which the models of the tests are there whatever the day.
pub(crate) fn write_configuration(file: &Path, text: &str) {
    let lasting = "[[models]]\nprovider = \"openai\"\nid = \"gpt-4o-mini\"\nretires_on = \"9999-12-31\"\n";
    std::fs::write(file, format!("{text}\n{lasting}")).unwrap();
}

/// A running gateway, its providers, and what they write to.
pub(crate) struct Bench {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) client: Client,
    address: String,
    _stop: oneshot::Sender<()>,
    directory: TempDir,
}

/// How a bench differs from the usual one.
#[derive(Default)]
pub(crate) struct Setting<'a> {
    /// The configuration file.
    pub(crate) file: &'a str,
    /// Further variables of the environment.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Providers whose operator key is not set.
    pub(crate) without_key: &'a [Provider],
    /// How the providers are set up.
    pub(crate) simulator: Settings,
}

impl Bench {
    /// Seven providers with the operator's keys.
    pub(crate) async fn start() -> Self {
        Self::with(Setting::default()).await
    }

    pub(crate) async fn with(setting: Setting<'_>) -> Self {
        let simulator = Simulator::start(setting.simulator).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("aipipe.toml");
        write_configuration(&file, setting.file);
        let no_key = |name: &str| {
            setting.without_key.iter().any(|provider| name == format!("{}_API_KEY", provider.as_str().to_uppercase()))
        };
        let own = [
            ("AIPIPE_ADMIN_SECRET", SECRET.to_owned()),
            ("AIPIPE_DATABASE", directory.path().join("aipipe.db").display().to_string()),
        ];
        let environment: Environment = simulator
            .environment()
            .into_iter()
            .filter(|(name, _)| !no_key(name))
            .chain(own.map(|(name, value)| (name.to_owned(), value)))
            .chain(setting.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .collect();
        let config = config::load(Some(&file), &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let source = Source { file: Some(file), environment };
        let gateway = Gateway::start(config, source).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(http::server::serve(listener, gateway.clone(), async {
            let _ = stopped.await;
            http::server::LAST_BYTES
        }));
        let client = client();
        Self { simulator, gateway, client, address, _stop: stop, directory }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Where raw bytes can be sent.
    pub(crate) fn socket(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    /// A chat request that is not sent yet.
    pub(crate) fn chat(&self, body: &Value) -> RequestBuilder {
        self.post("/v1/chat/completions", body)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(path)).header("content-type", "application/json").body(body.to_string())
    }

    /// A chat answer of status 200.
    pub(crate) async fn answered(&self, body: &Value) -> Answer {
        Answer::read(self.chat(body).send().await.unwrap()).await.ok()
    }

    /// A chat request that is refused.
    pub(crate) async fn refused(&self, body: &Value) -> Answer {
        let answer = Answer::read(self.chat(body).send().await.unwrap()).await;
        assert!(answer.status >= 400, "{}", answer.text);
        answer
    }

    pub(crate) fn admin(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).header("x-admin-secret", SECRET)
    }

    /// What an admin endpoint shows.
    pub(crate) async fn shown(&self, path: &str) -> Value {
        Answer::read(self.admin(reqwest::Method::GET, path).send().await.unwrap()).await.ok().json()
    }

    pub(crate) async fn put_tenant(&self, tenant: &str, policy: &Value) {
        let request = self.admin(reqwest::Method::PUT, &format!("/admin/tenants/{tenant}")).body(policy.to_string());
        Answer::read(request.send().await.unwrap()).await.ok();
    }

    /// The latest ledger rows.
    pub(crate) async fn rows(&self) -> Vec<Value> {
        self.shown("/admin/requests?limit=100").await["requests"].as_array().unwrap().clone()
    }

    /// The value of a metric with these labels; 0 where it has not appeared.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.client.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// The files that the gateway keeps, with their sizes.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap);
        let mut files: Vec<_> =
            entries.map(|entry| (entry.path().display().to_string(), entry.metadata().unwrap().len())).collect();
        files.sort();
        files
    }

    /// Waits until no request is under way and nothing is held for any: no place, no queue, no money, no message.
    pub(crate) async fn idle(&self) {
        // What goes on after the client has its answer counts too.
        while self.gateway.drain.present() > 0 {
            tokio::task::yield_now().await;
        }
        for (provider, address) in self.gateway.world.providers.load().values() {
            assert_eq!((provider.gate().in_flight(), provider.gate().queued()), (0, 0), "{}", provider.id());
            // The last report may still be on its way to the actor.
            while address.gauges().mailbox() > 0 {
                tokio::task::yield_now().await;
            }
        }
        for live in self.gateway.directory.all_live() {
            let balance = live.estate.account.balance(self.gateway.clock.now());
            assert_eq!((balance.held, balance.in_flight), (NanoUsd::ZERO, 0), "{}", live.id);
            assert!(live.estate.answers.flights().is_empty());
        }
    }
}

/// An answer read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The stable code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The text of the first choice.
    pub(crate) fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }

    /// The chunks of a stream.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
    }

    pub(crate) fn is_whole_stream(&self) -> bool {
        self.text.trim_end().ends_with("data: [DONE]")
    }

    /// The text of a stream's first choice.
    pub(crate) fn streamed(&self) -> String {
        self.chunks().iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
    }
}

/// All rows of the ledger, page by page, as an admin endpoint of this path shows them.
pub(crate) async fn all_rows(shown: impl AsyncFn(String) -> Value) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = shown(format!("/admin/requests?limit=1000{cursor}")).await;
        rows.extend(page["requests"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// A request for this model.
pub(crate) fn ask(model: &str, prompt: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
}

/// The same, streamed, with usage.
pub(crate) fn ask_stream(model: &str, prompt: &str) -> Value {
    let mut body = ask(model, prompt);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// A model of each provider that the catalogue and the simulator know.
pub(crate) fn model(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi => "openai/gpt-4o-mini",
        Provider::Anthropic => "anthropic/claude-haiku-4-5",
        Provider::Xai => "xai/grok-4.3",
        Provider::OpenRouter => "openrouter/openai/gpt-4o-mini",
        Provider::MiniMax => "minimax/MiniMax-M2.7",
        Provider::Moonshot => "moonshot/kimi-k2.6",
        Provider::Gemini => "gemini/gemini-3.5-flash",
    }
}
