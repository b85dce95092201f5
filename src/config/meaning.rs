//! The configuration as it is meant: complete, checked, with units in the types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::{Catalogue, Model};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::routing::preferences::OnBreak;
use jiff::ToSpan;
use jiff::civil::Date;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use url::Url;

use super::open_telemetry::Traces;
use crate::providers::Profile;
use crate::store::{MasterKey, Synchronous};

/// All that the gateway is told from outside.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub server: Server,
    /// Guards `/admin`; without it every admin endpoint is closed.
    pub admin_secret: Option<SecretString>,
    /// Where it stores.
    pub database: Database,
    /// Seals provider keys at rest; without it one is generated beside the database.
    pub master_key: Option<MasterKey>,
    /// Filter of the log, in `tracing`'s syntax.
    pub log: String,
    /// Bounds on what clients send.
    pub limits: Limits,
    /// The built-in providers and the declared ones, in that order, disabled ones included.
    pub providers: Vec<ProviderConfig>,
    /// The models.
    pub catalogue: Arc<Catalogue>,
    /// How models are chosen.
    pub routing: Routing,
    /// Who the tenants are.
    pub tenants: Tenants,
    /// Deadlines and attempts.
    pub reliability: Reliability,
    /// Second calls beside slow ones.
    pub hedge: Hedge,
    /// The answer cache.
    pub cache: Cache,
    /// What the metrics show.
    pub metrics: Metrics,
    /// What traces may hold.
    pub telemetry: Telemetry,
    /// Where traces go; without it none are made.
    pub traces: Option<Traces>,
}

impl Config {
    /// How long before a model retires operators are warned.
    pub const RETIREMENT_WARNING_DAYS: i64 = 30;

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&ProviderConfig> {
        self.providers.iter().find(|provider| provider.id.as_str() == name)
    }

    /// The models that retire within [`Self::RETIREMENT_WARNING_DAYS`] of `today` (UTC) or have retired, by provider and id.
    pub fn retiring(&self, today: Date) -> impl Iterator<Item = (&Model, Date)> {
        let horizon = today.saturating_add(Self::RETIREMENT_WARNING_DAYS.days());
        let models = self.catalogue.models().iter();
        models.filter_map(move |model| Some((&**model, model.retires_on.filter(|&day| day <= horizon)?)))
    }
}

/// Where the gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Listen address.
    pub addr: SocketAddr,
    /// How long requests under way may take once the gateway was told to stop.
    pub drain_timeout: Duration,
}

impl Server {
    /// Where the gateway is reached from its own machine: who listens on every address is reached on loopback.
    pub fn own_addr(&self) -> SocketAddr {
        let mut addr = self.addr;
        match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        addr
    }
}

/// Where the gateway stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// The SQLite file; journal, lock and generated master key stand beside it.
    pub path: PathBuf,
    /// When a commit waits for the disk.
    pub synchronous: Synchronous,
}

/// Bounds on what clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body in bytes; beyond it 413.
    pub max_body_bytes: usize,
    /// Most bytes of bodies in memory, of all requests together; beyond it 503.
    pub max_buffered_bytes: usize,
    /// Most connections of clients; beyond it 503.
    pub max_connections: usize,
}

/// One provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Its name.
    pub id: ProviderId,
    /// Whether it is used at all.
    pub enabled: bool,
    /// How to speak to it.
    pub profile: Profile,
    /// Where it is reached.
    pub base_url: Url,
    /// The operator's key.
    pub key: Option<SecretString>,
    /// The environment variable that holds the operator's key, or would; absent for a declared provider without `api_key_env`, which is
    /// used without a key.
    pub key_variable: Option<String>,
    /// Most upstream calls at a time.
    pub max_in_flight: usize,
    /// Most requests waiting for a place.
    pub max_queue: usize,
}

/// What is escaped in a model's name within a path: all but what RFC 3986 calls unreserved. A slash is escaped too, so that a name never
/// adds a path segment.
const MODEL_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl ProviderConfig {
    /// Whether the provider is used only with a key, the operator's or a tenant's.
    pub fn needs_key(&self) -> bool {
        self.key_variable.is_some()
    }

    /// The full address of one of the profile's paths, for this model.
    pub fn endpoint(&self, path: &str, model: &ModelId) -> String {
        let base = self.base_url.as_str().trim_end_matches('/');
        match path.split_once("{model}") {
            Some((before, after)) => {
                format!("{base}{before}{}{after}", utf8_percent_encode(model.as_str(), MODEL_IN_PATH))
            }
            None => format!("{base}{path}"),
        }
    }
}

/// How models are chosen.
#[derive(Debug, Clone)]
pub struct Routing {
    /// The model that savings are counted against, which has a price. Absent only where the file replaces the catalogue and names none:
    /// savings are then not counted.
    pub baseline: Option<Arc<Model>>,
}

/// Who decides which tenant a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAuth {
    /// The `X-Tenant-ID` header is trusted; a valid token still decides.
    Header,
    /// A token is needed.
    Token,
}

/// Who the tenants are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenants {
    /// Who decides; `auto` is resolved by the listen address.
    pub auth: TenantAuth,
    /// Whether a name that nobody created becomes a tenant.
    pub auto_create: bool,
    /// Most tenants.
    pub max: usize,
}

/// Deadlines and attempts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reliability {
    /// To a connection with the provider.
    pub connect_timeout: Duration,
    /// Streams: to the first content; four times that for models that reason.
    pub first_byte_timeout: Duration,
    /// Not streamed: to the headers and the first byte.
    pub answer_timeout: Duration,
    /// Silence within a stream.
    pub idle_timeout: Duration,
    /// Silence of a translated stream after which its client gets a sign of life.
    pub keep_alive: Duration,
    /// The whole request, all attempts included.
    pub total_timeout: Duration,
    /// Upstream calls of one request, over all models and providers, the first included.
    pub max_attempts: NonZeroU32,
    /// What becomes of a stream that breaks after its first content, where its client does not say.
    pub on_break: OnBreak,
}

/// Second calls beside those that are slow to begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedge {
    /// Whether there are any.
    pub enabled: bool,
    /// The most that calls of which another came first may cost, as a share (0..=1) of a tenant's spend.
    pub max_extra_cost: f64,
}

/// The answer cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// How long an answer is kept; zero: not at all.
    pub ttl: Duration,
    /// Most answers of one tenant.
    pub max_entries: usize,
    /// Most bytes of all tenants together.
    pub max_bytes: u64,
}

/// What traces may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// Whether tenants may have what is said in their requests among the attributes of spans.
    pub content: bool,
}

/// What the metrics show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Whether tenants are a label.
    pub tenant_label: bool,
}
