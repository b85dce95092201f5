//! Simulated providers on loopback, a real gateway in front of them, and a client that asks over HTTP as anybody would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::script::Tenant;
use crate::config::{self, Environment};
use crate::gateway::{Gateway, Source};
use crate::http;
use crate::simulator::{Behaviour, Latency, Provider, Settings, Simulator};
use crate::store::random;

/// Where a gateway listens that nobody told otherwise.
const USUAL_PORT: u16 = 8082;
/// Failures of one in eight, so that there is something to see.
const UNRELIABLE: (Provider, f64) = (Provider::Moonshot, 0.125);

/// All that the demonstration runs.
pub(super) struct Stage {
    /// The providers.
    pub(super) simulator: Simulator,
    /// The operator's secret of this run.
    pub(super) secret: String,
    address: SocketAddr,
    client: reqwest::Client,
    gateway: Arc<Gateway>,
    server: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    _directory: Directory,
}

/// A directory for the run's database, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind lies in the system's own place for it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    /// Starts everything.
    pub(super) async fn set(latency: Latency) -> anyhow::Result<Self> {
        let simulator = Simulator::start(Settings { latency, ..Settings::default() }).await?;
        let (unreliable, rate) = UNRELIABLE;
        simulator.script(unreliable, Behaviour::unreliable(rate));
        let secret = random_name()?;
        let directory = Directory::new(&format!("aipipe-demo-{}", random_name()?))?;
        let database = directory.0.join("aipipe.db").display().to_string();
        let own = [("AIPIPE_DATABASE", database), ("AIPIPE_ADMIN_SECRET", secret.clone())];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let environment: Environment = simulator.environment().into_iter().chain(own).collect();
        let config = config::load(None, &environment)?;
        let gateway = Gateway::start(config, Source { file: None, environment }).await?;
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).await {
            Ok(listener) => listener,
            // Somebody has it already, maybe another gateway.
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(http::server::serve(listener, gateway.clone(), async {
            // A sender that is gone says the same.
            let _ = stopped.await;
            http::server::LAST_BYTES
        }));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build()?;
        Ok(Self { simulator, secret, address, client, gateway, server, stop, _directory: directory })
    }

    /// The address of an endpoint.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The model that savings are counted against.
    pub(super) fn baseline(&self) -> String {
        let setup = self.gateway.setup.load();
        setup.config.routing.baseline.as_ref().map_or_else(|| "nothing".to_owned(), |model| model.id.to_string())
    }

    /// A chat request of a tenant's.
    pub(super) fn chat(&self, tenant: &str, body: &Value) -> RequestBuilder {
        let request = self.client.post(self.url("/v1/chat/completions")).header("x-tenant-id", tenant);
        request.header("content-type", "application/json").body(body.to_string())
    }

    /// Creates a tenant the way an operator does.
    pub(super) async fn create(&self, tenant: &Tenant) -> anyhow::Result<()> {
        let path = format!("/admin/tenants/{}", tenant.id);
        self.admin(Method::PUT, &path, Some(&tenant.policy)).await?;
        if !tenant.own_keys.is_empty() {
            let key = |name: &String| {
                let provider = Provider::ALL.into_iter().find(|provider| provider.as_str() == name)?;
                Some((name.clone(), Value::from(self.simulator.api_key(provider))))
            };
            let keys: Value = tenant.own_keys.iter().filter_map(key).collect::<serde_json::Map<_, _>>().into();
            self.admin(Method::POST, &format!("{path}/keys"), Some(&keys)).await?;
        }
        Ok(())
    }

    /// Calls an admin endpoint.
    pub(super) async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, self.url(path)).header("x-admin-secret", &self.secret);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Lets what is under way finish and ends everything.
    pub(super) async fn clear(self) {
        self.gateway.drain.begin();
        self.gateway.drain.emptied().await;
        drop(self.stop);
        // A server that failed has ended as well.
        let _ = self.server.await;
        self.gateway.shut_down().await;
    }
}

/// Sixteen random letters and digits.
fn random_name() -> anyhow::Result<String> {
    let bytes = random::<8>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
