//! What the written values mean together: defaults filled in, ranges and cross-references checked, every problem reported.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::{Catalogue, Model};
use aipipe_actors::identity::ProviderId;
use aipipe_actors::routing::preferences::OnBreak;
use url::Url;

use super::document::Found;
use super::environment::{Environment, base_url_variable};
use super::errors::{ConfigError, ConfigErrors, Place, suggestion};
use super::meaning::{
    Cache, Config, Database, Hedge, Limits, Metrics, ProviderConfig, Reliability, Routing, Server, Telemetry,
    TenantAuth, Tenants,
};
use super::values::{CatalogueMode, TenantAuthWritten, VariableName};
use super::written::{
    Written, WrittenCache, WrittenHedge, WrittenModel, WrittenProvider, WrittenReliability, WrittenRouting,
    WrittenTenants,
};
use super::{catalogue, open_telemetry, values::Text};
use crate::providers::{BUILT_IN, BuiltIn, Profile};
use crate::store::{MasterKey, Synchronous};

/// The address of `aipipe serve` where none is given.
const DEFAULT_ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8082);
const DEFAULT_BASELINE: &str = "openai/gpt-4o";
const DEFAULT_EXTRA_COST: f64 = 0.05;
const A_DAY_IN_MS: u64 = 86_400_000;

/// Checks everything; `problems` are those found so far.
pub(super) fn check(
    written: Written,
    environment: &Environment,
    revision: u64,
    problems: Vec<ConfigError>,
) -> Result<Config, ConfigErrors> {
    let mut check = Check { environment, problems, unusable: Vec::new() };
    let addr = written.addr.map_or(DEFAULT_ADDR, |found| found.value);
    let providers = check.providers(written.providers);
    let catalogue = check.catalogue(written.models, &written.routing, &providers, revision);
    let config = Config {
        server: Server { addr, drain_timeout: check.milliseconds(written.drain_timeout, 600_000) },
        admin_secret: environment.secret("AIPIPE_ADMIN_SECRET"),
        database: Database {
            path: check.database_path(written.database_path),
            synchronous: written.synchronous.map_or(Synchronous::Normal, |found| found.value),
        },
        master_key: check.master_key(),
        log: check.log_filter(written.log_filter),
        limits: check.limits(written.max_body_bytes, written.max_buffered_bytes, written.max_connections),
        routing: check.routing(written.routing, &catalogue),
        providers,
        catalogue: Arc::new(catalogue),
        tenants: check.tenants(written.tenants, addr),
        reliability: check.reliability(written.reliability),
        hedge: check.hedge(written.hedge),
        cache: check.cache(written.cache),
        metrics: Metrics { tenant_label: written.tenant_label.is_some_and(|found| found.value) },
        telemetry: Telemetry { content: written.telemetry_content.is_some_and(|found| found.value) },
        traces: open_telemetry::traces(environment, &mut check.problems),
    };
    ConfigErrors::none_or(config, check.problems)
}

/// A model as `provider/model`; the model's own name may hold further slashes.
fn find<'c>(catalogue: &'c Catalogue, name: &str) -> Option<&'c Arc<Model>> {
    let (provider, model) = name.split_once('/')?;
    catalogue.at_provider(provider, model)
}

struct Check<'e> {
    environment: &'e Environment,
    problems: Vec<ConfigError>,
    /// Names in `[providers]` that did not become a provider; their models are not held against the file a second time.
    unusable: Vec<String>,
}

impl Check<'_> {
    fn report(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(ConfigError::new(place, message));
    }

    /// A whole number within its range.
    fn number(&mut self, found: Option<Found<u64>>, default: u64, range: RangeInclusive<u64>) -> u64 {
        match found {
            Some(found) if range.contains(&found.value) => found.value,
            Some(found) => {
                let message = format!("must be from {} to {}, not {}", range.start(), range.end(), found.value);
                self.report(found.place, message);
                default
            }
            None => default,
        }
    }

    fn count(&mut self, found: Option<Found<u64>>, default: u64, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.number(found, default, range)).unwrap_or(usize::MAX)
    }

    fn milliseconds(&mut self, found: Option<Found<u64>>, default: u64) -> Duration {
        Duration::from_millis(self.number(found, default, 1..=A_DAY_IN_MS))
    }

    fn limits(
        &mut self,
        body: Option<Found<u64>>,
        buffered: Option<Found<u64>>,
        connections: Option<Found<u64>>,
    ) -> Limits {
        let largest = self.number(body, 33_554_432, 1024..=1 << 30);
        Limits {
            max_body_bytes: usize::try_from(largest).unwrap_or(usize::MAX),
            // The largest body that is allowed must find room.
            max_buffered_bytes: self.count(buffered, largest.max(1 << 29), largest..=1 << 40),
            max_connections: self.count(connections, 10_000, 1..=1_000_000),
        }
    }

    fn log_filter(&mut self, written: Option<Found<String>>) -> String {
        let Some(found) = written else { return "info".to_owned() };
        if tracing_subscriber::EnvFilter::try_new(&found.value).is_err() {
            let message =
                "must be a level (error, warn, info, debug, trace) or a filter, as \"info,aipipe::upstream=debug\"";
            self.report(found.place, message);
        }
        found.value
    }

    /// The path as written; a leading `~/`, which no shell has seen, is the home directory.
    fn database_path(&mut self, written: Option<Found<String>>) -> PathBuf {
        let Some(found) = written else { return self.default_database_path() };
        if found.value.starts_with("postgres://") || found.value.starts_with("postgresql://") {
            self.report(found.place, "this build stores in SQLite only: give the path of a file");
        } else if found.value.is_empty() {
            self.report(found.place, "must be the path of a file");
        } else {
            return match (found.value.strip_prefix("~/"), self.environment.get("HOME")) {
                (Some(below), Some(home)) => Path::new(home).join(below),
                _ => PathBuf::from(found.value),
            };
        }
        PathBuf::new()
    }

    /// `$XDG_DATA_HOME/aipipe/aipipe.db`; the XDG specification has `~/.local/share` in its place where it is unset or relative.
    fn default_database_path(&mut self) -> PathBuf {
        let absolute = |name| self.environment.get(name).map(Path::new).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME").map(Path::to_owned);
        match data.or_else(|| absolute("HOME").map(|home| home.join(".local/share"))) {
            Some(data) => data.join("aipipe/aipipe.db"),
            None => {
                let message = "must be set to the path of the database where neither XDG_DATA_HOME nor HOME is";
                self.report(Place::Variable("AIPIPE_DATABASE".into()), message);
                PathBuf::new()
            }
        }
    }

    fn master_key(&mut self) -> Option<MasterKey> {
        let text = self.environment.get("AIPIPE_MASTER_KEY")?;
        let key = MasterKey::parse(text);
        if key.is_none() {
            self.report(Place::Variable("AIPIPE_MASTER_KEY".into()), "must be 32 bytes, in base64 or hex");
        }
        key
    }

    /// The seven in their order, then the declared ones by name.
    fn providers(&mut self, mut written: Vec<WrittenProvider>) -> Vec<ProviderConfig> {
        let mut providers = Vec::with_capacity(BUILT_IN.len() + written.len());
        for row in &BUILT_IN {
            let at = written.iter().position(|provider| provider.name == row.name);
            let nothing = || WrittenProvider::named(row.name.to_owned(), Place::Variable(base_url_variable(row.name)));
            let overrides = at.map_or_else(nothing, |at| written.swap_remove(at));
            if let Some(dialect) = &overrides.dialect
                && dialect.value != row.profile.dialect
            {
                let message = format!("{} speaks {:?} and nothing else", row.name, row.profile.dialect.as_str());
                self.report(dialect.place.clone(), message);
            }
            let terms = ProviderTerms {
                profile: row.profile,
                base_url: Url::parse(row.base_url).ok(),
                key_variable: Some(self.key_variable(row, overrides.api_key_env.as_ref())),
            };
            providers.extend(self.provider(overrides, terms));
        }
        written.sort_by(|a, b| a.name.cmp(&b.name));
        for declared in written {
            let name = declared.name.clone();
            match self.declared_provider(declared) {
                Some(provider) => providers.push(provider),
                None => self.unusable.push(name),
            }
        }
        providers
    }

    /// The variable that holds a built-in provider's key: of its usual ones the first that is set, unless the file names another.
    fn key_variable(&self, row: &BuiltIn, written: Option<&Found<VariableName>>) -> String {
        let written = written.map(|found| found.value.0.as_str());
        let usual = row.key_variables;
        match written {
            Some(other) if !usual.contains(&other) => other.to_owned(),
            _ => {
                let candidates = written.iter().chain(usual);
                let set = candidates.copied().find(|name| self.environment.get(name).is_some());
                set.or(written).or(usual.first().copied()).unwrap_or_default().to_owned()
            }
        }
    }

    fn declared_provider(&mut self, written: WrittenProvider) -> Option<ProviderConfig> {
        let hint = suggestion(&written.name, BUILT_IN.iter().map(|row| row.name));
        let dialect = written.dialect.as_ref().map(|found| found.value);
        if dialect.is_none() || written.base_url.is_none() {
            let message = format!("a provider that is not built in needs a dialect and a base_url{hint}");
            self.report(written.place.clone(), message);
        }
        let terms = ProviderTerms {
            profile: Profile::of(dialect?),
            base_url: None,
            key_variable: written.api_key_env.as_ref().map(|found| found.value.0.clone()),
        };
        self.provider(written, terms)
    }

    fn provider(&mut self, written: WrittenProvider, terms: ProviderTerms) -> Option<ProviderConfig> {
        let Ok(id) = ProviderId::parse(&written.name) else {
            self.report(written.place, format!("must be {}", ProviderId::allowed()));
            return None;
        };
        Some(ProviderConfig {
            id,
            enabled: written.enabled.is_none_or(|found| found.value),
            profile: terms.profile,
            base_url: written.base_url.map(|found| found.value).or(terms.base_url)?,
            key: terms.key_variable.as_ref().and_then(|name| self.environment.secret(name)),
            key_variable: terms.key_variable,
            max_in_flight: self.count(written.max_in_flight, 256, 1..=100_000),
            max_queue: self.count(written.max_queue, 1024, 0..=1_000_000),
        })
    }

    fn catalogue(
        &mut self,
        written: Vec<WrittenModel>,
        routing: &WrittenRouting,
        providers: &[ProviderConfig],
        revision: u64,
    ) -> Catalogue {
        let under = match routing.catalogue.as_ref().map(|found| found.value) {
            Some(CatalogueMode::Replace) => Vec::new(),
            Some(CatalogueMode::Extend) | None => catalogue::built_in_models(&mut self.problems),
        };
        let mut models = catalogue::overlay(under, written, &mut self.problems);
        models.retain(|model| {
            model.provider.as_ref().is_none_or(|found| self.unusable.iter().all(|name| name != found.value.as_str()))
        });
        let profile_of = |name: &str| {
            providers.iter().find(|provider| provider.id.as_str() == name).map(|provider| provider.profile)
        };
        let problems = &mut self.problems;
        let models: Vec<_> =
            models.into_iter().filter_map(|written| catalogue::model(written, profile_of, problems)).collect();
        Catalogue::new(models, revision)
    }

    fn routing(&mut self, written: WrittenRouting, catalogue: &Catalogue) -> Routing {
        let replaced = written.catalogue.is_some_and(|found| found.value == CatalogueMode::Replace);
        let Some(name) = written.baseline else {
            let baseline = find(catalogue, DEFAULT_BASELINE).cloned();
            debug_assert!(replaced || baseline.is_some(), "the built-in catalogue holds the default baseline");
            return Routing { baseline };
        };
        let baseline = find(catalogue, &name.value).filter(|model| model.rates.is_some()).cloned();
        if baseline.is_none() {
            let names: Vec<_> = catalogue.models().iter().map(|model| model.address()).collect();
            let hint = suggestion(&name.value, names.iter().map(String::as_str));
            let message = format!("must name a model of the catalogue that has a price, as {DEFAULT_BASELINE:?}{hint}");
            self.report(name.place, message);
        }
        Routing { baseline }
    }

    fn tenants(&mut self, written: WrittenTenants, addr: SocketAddr) -> Tenants {
        let trusted = self.header_is_trusted(addr);
        let auth = match written.auth {
            Some(Found { value: TenantAuthWritten::Token, .. }) => TenantAuth::Token,
            Some(Found { value: TenantAuthWritten::Header, place }) => {
                if !trusted {
                    let message = format!(
                        "must not be \"header\" on {addr}: anybody who reaches that address could be any tenant. Use \"token\", listen on a \
                         loopback address, or set AIPIPE_TRUST_TENANT_HEADER=1 where a proxy that you trust sets the header"
                    );
                    self.report(place, message);
                }
                TenantAuth::Header
            }
            Some(Found { value: TenantAuthWritten::Auto, .. }) | None if trusted => TenantAuth::Header,
            Some(Found { value: TenantAuthWritten::Auto, .. }) | None => TenantAuth::Token,
        };
        Tenants {
            auth,
            auto_create: written.auto_create.is_some_and(|found| found.value),
            max: self.count(written.max, 10_000, 1..=10_000_000),
        }
    }

    fn header_is_trusted(&mut self, addr: SocketAddr) -> bool {
        let loopback = addr.ip().to_canonical().is_loopback();
        match self.environment.get("AIPIPE_TRUST_TENANT_HEADER") {
            None | Some("0") => loopback,
            Some("1") => true,
            Some(_) => {
                self.report(Place::Variable("AIPIPE_TRUST_TENANT_HEADER".into()), "must be 0 or 1");
                loopback
            }
        }
    }

    fn reliability(&mut self, written: WrittenReliability) -> Reliability {
        let answer_timeout = written.answer_timeout.or_else(|| written.first_byte_timeout.clone());
        let max_attempts = self.number(written.max_attempts, 3, 1..=100);
        Reliability {
            connect_timeout: self.milliseconds(written.connect_timeout, 5_000),
            first_byte_timeout: self.milliseconds(written.first_byte_timeout, 30_000),
            answer_timeout: self.milliseconds(answer_timeout, 300_000),
            idle_timeout: self.milliseconds(written.idle_timeout, 30_000),
            keep_alive: self.milliseconds(written.keep_alive, 15_000),
            total_timeout: self.milliseconds(written.total_timeout, 600_000),
            max_attempts: u32::try_from(max_attempts).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
            on_break: written.on_break.map_or(OnBreak::Error, |found| found.value),
        }
    }

    fn hedge(&mut self, written: WrittenHedge) -> Hedge {
        let max_extra_cost = match written.max_extra_cost {
            Some(found) if (0.0..=1.0).contains(&found.value) => found.value,
            Some(found) => {
                self.report(found.place, format!("must be a share from 0 to 1, not {}", found.value));
                DEFAULT_EXTRA_COST
            }
            None => DEFAULT_EXTRA_COST,
        };
        Hedge { enabled: written.enabled.is_some_and(|found| found.value), max_extra_cost }
    }

    fn cache(&mut self, written: WrittenCache) -> Cache {
        Cache {
            ttl: Duration::from_secs(self.number(written.ttl_seconds, 300, 0..=31_536_000)),
            max_entries: self.count(written.max_entries, 10_000, 0..=100_000_000),
            max_bytes: self.number(written.max_bytes, 268_435_456, 0..=1 << 40),
        }
    }
}

/// What a provider starts from before the file and the environment have their say.
struct ProviderTerms {
    profile: Profile,
    base_url: Option<Url>,
    key_variable: Option<String>,
}
