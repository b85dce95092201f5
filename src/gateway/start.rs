//! Puts a gateway together, changes it on reload, and takes it apart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::clock::{Clock, SystemClock};
use aipipe_actors::metrics::Metrics;
use aipipe_actors::provider::Provider;
use aipipe_actors::provider::gate::Gate;
use aipipe_actors::runtime::{Address, Child, Leaf, Roster, System};
use aipipe_actors::tenant::answers::{CacheBounds, CacheLimits};
use aipipe_actors::tenant::{Providers, World};
use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Semaphore};

use super::buffers::Buffers;
use super::drain::Drain;
use super::tenants::{Directory, Tree};
use super::tokens::Tokens;
use super::upstreams::upstreams;
use super::{Aggregator, Gateway, Setup, Source, counting};
use crate::config::{self, Change, Config, ConfigErrors, ProviderConfig};
use crate::dialects::scan::PromptHasher;
use crate::store::{MasterKeySource, Settings, Store, StoreError};
use crate::telemetry::traces::Tracer;
use crate::telemetry::{LabelBounds, Meters, TenantLabel};
use crate::upstream::client::{Client, NoTls};

/// Messages waiting at one provider's actor; beyond it requests are told that it is overloaded.
const PROVIDER_MAILBOX: usize = 16_384;
/// Messages waiting at the aggregator; beyond it samples are lost, counters are not.
const AGGREGATOR_MAILBOX: usize = 65_536;
/// How often idle tenants are looked for, and what was learned and the last uses of tokens are written down.
const TIDYING_INTERVAL: Duration = Duration::from_secs(30);
/// How long the actors may take to handle what is queued when the gateway ends.
const ACTOR_PATIENCE: Duration = Duration::from_secs(5);
/// How long the collector may take for the last spans when the gateway ends.
const COLLECTOR_PATIENCE: Duration = Duration::from_secs(5);

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client for upstream calls cannot be made.
    #[error("upstream calls cannot be set up: {0}")]
    Client(#[from] NoTls),
    /// The runtime refused a blocking task.
    #[error("the store cannot be opened: {0}")]
    Runtime(#[from] tokio::task::JoinError),
}

fn labels(config: &Config) -> LabelBounds {
    let models = config.catalogue.models().iter().map(|model| (model.provider.clone(), model.id.clone()));
    let tenant = if config.metrics.tenant_label { TenantLabel::Present } else { TenantLabel::Absent };
    LabelBounds::new(models, tenant)
}

fn cache_limits(config: &Config) -> CacheLimits {
    let config::Cache { ttl, max_entries, max_bytes } = config.cache;
    CacheLimits { ttl, max_entries, max_bytes }
}

/// A provider's gate, health and actor.
fn provider(
    config: &ProviderConfig,
    system: &System,
    clock: &Arc<dyn Clock>,
) -> (Arc<Provider>, Arc<dyn Child>, Providers) {
    let gate = Gate::new(config.max_in_flight, config.max_queue);
    let provider = Provider::new(config.id.clone(), gate, clock.clone());
    let name = format!("provider:{}", config.id);
    let address = Address::new(name.clone(), PROVIDER_MAILBOX, system.gauges(&name));
    let child = Leaf::new(provider.clone(), address.clone());
    let entry = HashMap::from([(config.id.clone(), (provider.clone(), address))]);
    (provider, child, entry)
}

impl Gateway {
    /// Opens the store, starts the actors and recovers what a former process left. The listener is the caller's.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, source: Source) -> Result<Arc<Self>, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = open_store(&config).await?;
        let system = System::new();
        let mut providers = Providers::new();
        let provider_roster = Arc::new(Roster::default());
        for configured in config.providers.iter().filter(|provider| provider.enabled) {
            let (_, child, entry) = provider(configured, &system, &clock);
            provider_roster.add(child);
            providers.extend(entry);
        }
        let world = Arc::new(World {
            catalogue: ArcSwap::new(config.catalogue.clone()),
            weights: ArcSwap::from_pointee(config::shipped_weights()),
            providers: ArcSwap::from_pointee(providers),
            clock: clock.clone(),
        });
        let aggregator = Aggregator {
            metrics: Metrics::new(clock.clone()),
            address: Address::new("metrics".into(), AGGREGATOR_MAILBOX, system.gauges("metrics")),
        };
        let metrics_leaf = Leaf::new(aggregator.metrics.clone(), aggregator.address.clone());
        let tenants_supervisor = system.supervisor("tenants", Arc::default());
        let providers_supervisor = system.supervisor("providers", provider_roster);
        let children: Vec<Arc<dyn Child>> =
            vec![Arc::new(providers_supervisor.clone()), Arc::new(tenants_supervisor.clone()), metrics_leaf];
        system.start(children).await;
        let tree = Tree {
            supervisor: tenants_supervisor,
            system: system.clone(),
            world: world.clone(),
            bounds: CacheBounds::new(cache_limits(&config)),
            clock: clock.clone(),
        };
        let client = Client::new(config.reliability.connect_timeout)?;
        let meters = Meters::new(labels(&config));
        let traces = config.traces.as_ref();
        let gateway = Arc::new(Self {
            ledger: store.ledger(),
            directory: Directory::open(&store, tree).await?,
            tokens: Tokens::open(&store).await?,
            buffers: Buffers::new(config.limits.max_buffered_bytes),
            tracer: traces.map(|traces| Tracer::start(traces, client.clone(), &meters)),
            client,
            meters,
            setup: ArcSwap::from_pointee(Setup { upstreams: upstreams(&config), config }),
            store,
            system,
            world,
            aggregator,
            drain: Arc::new(Drain::default()),
            prompt_hasher: PromptHasher::default(),
            counts: Semaphore::new(counting::MOST_AT_ONCE),
            clock,
            started: Instant::now(),
            providers: providers_supervisor,
            source,
            changing: Mutex::new(()),
        });
        gateway.ledger.introduce(gateway.world.catalogue.load().lineup());
        tokio::spawn(tidy(Arc::downgrade(&gateway)));
        Ok(gateway)
    }

    /// Reads the configuration again and takes over what can change while running. Requests under way go on with what they began with.
    ///
    /// # Errors
    /// The problems of the new configuration; the running one stays as it is.
    pub async fn reload(&self) -> Result<Vec<Change>, ConfigErrors> {
        let _one_at_a_time = self.changing.lock().await;
        let running = self.setup.load_full();
        let (config, changes) = config::reload(self.source.file.as_deref(), &self.source.environment, &running.config)?;
        self.ledger.introduce(config.catalogue.lineup());
        self.world.catalogue.store(config.catalogue.clone());
        self.meters.rebind(labels(&config));
        self.directory.bound_caches(cache_limits(&config));
        self.buffers.bound(config.limits.max_buffered_bytes);
        self.fit_providers(&config).await;
        self.setup.store(Arc::new(Setup { upstreams: upstreams(&config), config }));
        let setup = self.setup.load_full();
        for live in self.directory.all_live() {
            if let Err(error) = self.directory.refresh(&live.id, &self.store, &setup.config).await {
                tracing::error!(tenant = %live.id, %error, "a tenant's keys could not be read again");
            }
        }
        for change in &changes {
            tracing::info!(%change, "configuration changed");
        }
        Ok(changes)
    }

    /// Starts the actors of providers that are new, retires those of providers that are gone or switched off.
    async fn fit_providers(&self, config: &Config) {
        let mut providers = (**self.world.providers.load()).clone();
        let wanted = |id: &_| config.providers.iter().find(|provider| provider.enabled && provider.id == *id);
        for configured in config.providers.iter().filter(|provider| provider.enabled) {
            if let Some((known, _)) = providers.get(&configured.id) {
                known.gate().resize(configured.max_in_flight, configured.max_queue);
                continue;
            }
            let (_, child, entry) = provider(configured, &self.system, &self.clock);
            self.providers.start(child).await;
            providers.extend(entry);
        }
        for (id, (_, address)) in self.world.providers.load().iter() {
            if wanted(id).is_none() {
                providers.remove(id);
                self.providers.retire(address.name());
            }
        }
        self.world.providers.store(Arc::new(providers));
    }

    /// Ends the gateway after [`Drain::begin`]: waits for what is under way, then for the actors, then for the writer.
    pub async fn shut_down(self: Arc<Self>) {
        self.drain.emptied().await;
        self.system.shutdown(ACTOR_PATIENCE).await;
        self.save_token_uses().await;
        self.save_findings().await;
        if let Some(tracer) = &self.tracer {
            tracer.close(COLLECTOR_PATIENCE).await;
        }
        // Whoever still holds the gateway (a probe in flight) closes the store by dropping it.
        if let Ok(gateway) = Arc::try_unwrap(self).map_err(|_| ())
            && tokio::task::spawn_blocking(move || gateway.store.close()).await.is_err()
        {
            tracing::error!("the ledger's writer could not be waited for");
        }
    }

    async fn save_token_uses(&self) {
        if let Err(error) = self.tokens.save_uses(&self.store).await {
            tracing::warn!(%error, "when client tokens were last used could not be written down");
        }
    }

    /// The catalogue that holds.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.world.catalogue.load_full()
    }

    /// Writes down what live tenants' requests have taught, and how their second policies compare.
    async fn save_findings(&self) {
        for live in self.directory.all_live() {
            // Nobody is removed meanwhile: what is written belongs to someone. One tenant at a time, so that changes need not wait for all.
            let _one_at_a_time = self.changing.lock().await;
            if !live.is_removed() {
                self.save_lessons(&live).await;
                self.save_comparison(&live).await;
            }
        }
    }
}

/// How the configuration says that the store is opened.
pub fn store_settings(config: &Config) -> Settings {
    let master_key = config.master_key.clone().map_or(MasterKeySource::FileBesideDatabase, MasterKeySource::Given);
    Settings { path: config.database.path.clone(), master_key, synchronous: config.database.synchronous }
}

async fn open_store(config: &Config) -> Result<Store, StartError> {
    let settings = store_settings(config);
    let (store, _) = tokio::task::spawn_blocking(move || Store::open(settings)).await??;
    Ok(store)
}

/// Writes down what was learned and the last uses of tokens, and passivates idle tenants, for as long as the gateway lives.
async fn tidy(gateway: std::sync::Weak<Gateway>) {
    loop {
        tokio::time::sleep(TIDYING_INTERVAL).await;
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.save_findings().await;
        gateway.directory.passivate_idle();
        gateway.save_token_uses().await;
    }
}
