//! The tenants that exist, and the live ones: an actor with its estate and keys each.
//!
//! Names are in memory from start-up, so that an unknown one reads nothing and costs nothing. A tenant becomes live with its first
//! request (one load at a time), is passivated when idle, and the number of live ones is bounded.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aipipe_actors::clock::Clock;
use aipipe_actors::identity::{ProviderId, TenantId};
use aipipe_actors::ledger::IssuedHash;
use aipipe_actors::runtime::{Address, Leaf, Supervisor, System};
use aipipe_actors::tenant::account::{Account, Position, day_of};
use aipipe_actors::tenant::answers::{Answers, CacheBounds, CacheLimits};
use aipipe_actors::tenant::cooling::Cooling;
use aipipe_actors::tenant::hedging::Hedging;
use aipipe_actors::tenant::learning::Learning;
use aipipe_actors::tenant::pins::Pins;
use aipipe_actors::tenant::policy::Policy;
use aipipe_actors::tenant::shadow::Shadow;
use aipipe_actors::tenant::{Estate, Message, Tenant, World};
use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::shadow;
use crate::config::{Config, ProviderConfig};
use crate::dialects::issued;
use crate::store::{AdminScope, Store, StoreError};

/// Live tenants at a time: each costs some ten kilobytes beside its cache.
const MAX_LIVE: usize = 4_096;
/// A tenant without requests for so long is passivated. Longer than any window of its limits.
const IDLE: Duration = Duration::from_secs(600);
/// Messages waiting at one tenant; beyond it the client gets 429.
const MAILBOX: usize = 1_024;
/// Questions about kept answers at a time, of one tenant; beyond it the client gets 429.
const ERRANDS: usize = 8;

/// Why a tenant cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Nobody created it.
    #[error("there is no tenant of this name")]
    Unknown,
    /// As many tenants are live as may be, and none is idle.
    #[error("too many tenants are active at the moment")]
    TooMany,
    /// It could not be loaded.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The key to present at each provider.
type Keyring = HashMap<ProviderId, SecretString>;

fn secret_at<'k>(keys: &'k Keyring, provider: &ProviderId) -> Option<&'k str> {
    keys.get(provider).map(ExposeSecret::expose_secret)
}

/// A live tenant.
pub struct Live {
    /// Its name.
    pub id: TenantId,
    /// Its actor.
    pub address: Address<Message>,
    /// What outlives its actor.
    pub estate: Arc<Estate>,
    keys: ArcSwap<Keyring>,
    /// Room for what is asked about kept answers, which waits for a provider outside the gates of requests.
    pub errands: Semaphore,
    /// Room for calls of its second policy's models.
    pub shadows: Arc<Semaphore>,
    last_used: AtomicI64,
    /// The version of its slot that policy and keys are of.
    version: AtomicU64,
    removed: AtomicBool,
}

impl Live {
    /// Whether the tenant was removed: its actor has gone home and has no successor.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    /// The key to present at a provider: the tenant's own or, where it may use that, the operator's.
    pub fn key(&self, provider: &ProviderId) -> Option<SecretString> {
        self.keys.load().get(provider).cloned()
    }

    /// The hash of that key: what a provider has, it has for one account.
    pub fn key_hash(&self, provider: &ProviderId) -> IssuedHash {
        issued::hash(secret_at(&self.keys.load(), provider).unwrap_or_default())
    }

    /// Keys took others' places, or were given anew: they wait for nothing, and what was cached with the former ones goes.
    pub(super) fn keys_changed<'p>(&self, providers: impl IntoIterator<Item = &'p ProviderId>) {
        let now = Instant::now();
        let mut any = false;
        for provider in providers {
            self.estate.cooling.key_changed(provider, now);
            any = true;
        }
        if any {
            self.estate.answers.clear();
        }
    }

    fn is_idle(&self, now: i64) -> bool {
        let balance = self.estate.account.balance(jiff::Timestamp::from_second(now).unwrap_or_default());
        let quiet = balance.in_flight == 0 && balance.held.0 == 0 && self.address.gauges().mailbox() == 0;
        quiet
            && self.estate.learning.is_saved()
            && self.estate.shadow.is_saved()
            && now - self.last_used.load(Ordering::Relaxed) >= IDLE.as_secs() as i64
    }
}

/// A tenant's place: empty until its first request.
#[derive(Default)]
struct Slot {
    live: OnceCell<Arc<Live>>,
    /// Rises with each change that the store has of the tenant, so that one that was loaded meanwhile is renewed.
    version: AtomicU64,
    /// The tenant was removed; whoever is still loading it gives up.
    removed: AtomicBool,
    /// Its actor was sent home, which happens once.
    retired: AtomicBool,
}

/// All tenants by name.
pub struct Directory {
    slots: Mutex<HashMap<TenantId, Arc<Slot>>>,
    /// Accounts of tenants that were removed or passivated, for as long as requests still hold something of them: who comes back under
    /// the same name goes on with the same account.
    leaving: Mutex<HashMap<TenantId, Weak<Account>>>,
    /// One renewal at a time, so that what was read last is taken over last.
    renewing: tokio::sync::Mutex<()>,
    supervisor: Arc<Supervisor>,
    system: Arc<System>,
    world: Arc<World>,
    bounds: Arc<CacheBounds>,
    clock: Arc<dyn Clock>,
}

impl Directory {
    /// The directory of the tenants that the store knows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: &Store, tree: Tree) -> Result<Self, StoreError> {
        let known = store.tenants(AdminScope::granted()).await?;
        let slots = known.into_iter().map(|tenant| (tenant.id, Arc::default())).collect();
        let Tree { supervisor, system, world, bounds, clock } = tree;
        let (slots, leaving, renewing) = (Mutex::new(slots), Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { slots, leaving, renewing, supervisor, system, world, bounds, clock })
    }

    /// Whether the tenant exists.
    pub fn knows(&self, tenant: &TenantId) -> bool {
        self.lock().contains_key(tenant)
    }

    /// How many exist.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Makes a name known.
    pub fn create(&self, tenant: &TenantId) {
        self.lock().entry(tenant.clone()).or_default();
    }

    /// Forgets a tenant that was removed from the store, with its cached answers.
    pub fn remove(&self, tenant: &TenantId) {
        let slot = self.lock().remove(tenant);
        if let Some(slot) = slot {
            slot.removed.store(true, Ordering::SeqCst);
            if let Some(live) = slot.live.get() {
                self.dismiss(&slot, live);
            }
        }
        if *tenant == TenantId::default_tenant() {
            self.create(tenant);
        }
    }

    /// Takes from a removed tenant what it could still use, and sends its actor home. Its requests in flight settle on its account.
    fn dismiss(&self, slot: &Slot, live: &Live) {
        live.removed.store(true, Ordering::SeqCst);
        live.estate.answers.clear();
        live.estate.pins.clear();
        live.estate.learning.clear();
        live.estate.shadow.clear();
        live.keys.store(Arc::default());
        live.estate.reachable.store(Arc::default());
        if !slot.retired.swap(true, Ordering::SeqCst) {
            self.leave(live);
        }
    }

    fn leave(&self, live: &Live) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|_, account| account.strong_count() > 0);
        leaving.insert(live.id.clone(), Arc::downgrade(&live.estate.account));
        drop(leaving);
        self.supervisor.retire(live.address.name());
    }

    /// The live tenant of this name, loaded if need be.
    ///
    /// # Errors
    /// See [`TenantError`].
    pub async fn live(&self, tenant: &TenantId, store: &Store, config: &Config) -> Result<Arc<Live>, TenantError> {
        let now = self.clock.now().as_second();
        let slot = {
            let slots = self.lock();
            let slot = slots.get(tenant).ok_or(TenantError::Unknown)?;
            if let Some(live) = slot.live.get() {
                // Under the lock under which idle ones are sent home.
                live.last_used.store(now, Ordering::Relaxed);
                if live.version.load(Ordering::SeqCst) == slot.version.load(Ordering::SeqCst) {
                    return Ok(live.clone());
                }
            }
            slot.clone()
        };
        if slot.live.get().is_none() && self.live_count() >= MAX_LIVE && !self.passivate_one(now) {
            return Err(TenantError::TooMany);
        }
        let live = slot.live.get_or_try_init(|| self.load(tenant, &slot, store, config)).await?.clone();
        if slot.removed.load(Ordering::SeqCst) {
            self.dismiss(&slot, &live);
            return Err(TenantError::Unknown);
        }
        if live.version.load(Ordering::SeqCst) != slot.version.load(Ordering::SeqCst) {
            self.renew(&slot, &live, store, config).await?;
        }
        Ok(live)
    }

    /// Changes what the tenants' caches may hold.
    pub fn bound_caches(&self, limits: CacheLimits) {
        self.bounds.set(limits);
    }

    /// The tenant if it is live.
    pub fn if_live(&self, tenant: &TenantId) -> Option<Arc<Live>> {
        self.lock().get(tenant)?.live.get().cloned()
    }

    /// Every live tenant.
    pub fn all_live(&self) -> Vec<Arc<Live>> {
        self.lock().values().filter_map(|slot| slot.live.get().cloned()).collect()
    }

    /// Takes over what the admin changed of a live tenant: policy and keys. What was cached with a key that is gone or replaced goes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn refresh(&self, tenant: &TenantId, store: &Store, config: &Config) -> Result<(), StoreError> {
        let slot = self.lock().entry(tenant.clone()).or_default().clone();
        slot.version.fetch_add(1, Ordering::SeqCst);
        match slot.live.get() {
            Some(live) => self.renew(&slot, live, store, config).await,
            None => Ok(()),
        }
    }

    async fn renew(&self, slot: &Slot, live: &Live, store: &Store, config: &Config) -> Result<(), StoreError> {
        let _one_at_a_time = self.renewing.lock().await;
        let version = slot.version.load(Ordering::SeqCst);
        let tenant = &live.id;
        let policy = store.tenant(tenant).await?.map(|record| record.policy).unwrap_or_default();
        let keys = keyring(tenant, &policy, store, config).await?;
        let reachable = reachable(&keys, tenant, &policy, config);
        let (before, keys) = (live.keys.load_full(), Arc::new(keys));
        // The keys first: who is reachable has one.
        live.keys.store(keys.clone());
        live.estate.reachable.store(Arc::new(reachable));
        live.estate.policy.store(Arc::new(policy));
        let providers: HashSet<&ProviderId> = before.keys().chain(keys.keys()).collect();
        live.keys_changed(providers.into_iter().filter(|id| secret_at(&before, id) != secret_at(&keys, id)));
        live.version.store(version, Ordering::SeqCst);
        if slot.removed.load(Ordering::SeqCst) {
            self.dismiss(slot, live);
        }
        Ok(())
    }

    /// Passivates tenants that have been idle long enough.
    pub fn passivate_idle(&self) {
        let now = self.clock.now().as_second();
        for live in self.all_live() {
            self.passivate(&live, now);
        }
    }

    async fn load(
        &self,
        tenant: &TenantId,
        slot: &Slot,
        store: &Store,
        config: &Config,
    ) -> Result<Arc<Live>, TenantError> {
        let version = slot.version.load(Ordering::SeqCst);
        let now = self.clock.now();
        let policy = store.tenant(tenant).await?.map(|record| record.policy).unwrap_or_default();
        let keys = keyring(tenant, &policy, store, config).await?;
        let account = match self.leaving_account(tenant) {
            Some(account) => account,
            None => {
                let spent = store.position(tenant, now).await?;
                Account::open(Position { day: spent.day, month: spent.month }, now)
            }
        };
        let estate = Arc::new(Estate {
            tenant: tenant.clone(),
            reachable: ArcSwap::from_pointee(reachable(&keys, tenant, &policy, config)),
            policy: ArcSwap::from_pointee(policy),
            account,
            answers: Answers::new(self.bounds.clone()),
            cooling: Cooling::default(),
            pins: Pins::default(),
            learning: Learning::of(store.lessons(tenant).await?),
            shadow: Arc::new(Shadow::of(
                store.shadow(tenant).await?,
                day_of(now),
                store.shadow_cost(tenant, now).await?,
            )),
            hedging: Hedging::new(Instant::now()),
        });
        let address = Address::new(format!("tenant:{tenant}"), MAILBOX, self.system.gauges("tenant"));
        let behaviour = Tenant::new(estate.clone(), self.world.clone());
        self.supervisor.start(Leaf::new(behaviour, address.clone())).await;
        let (keys, last_used) = (ArcSwap::from_pointee(keys), AtomicI64::new(now.as_second()));
        let live = Live {
            id: tenant.clone(),
            address,
            estate,
            keys,
            errands: Semaphore::new(ERRANDS),
            shadows: Arc::new(Semaphore::new(shadow::MOST_AT_ONCE)),
            last_used,
            version: version.into(),
            removed: AtomicBool::new(false),
        };
        Ok(Arc::new(live))
    }

    /// The account that requests of a former incarnation of the tenant still hold something of.
    fn leaving_account(&self, tenant: &TenantId) -> Option<Arc<Account>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).get(tenant)?.upgrade()
    }

    fn live_count(&self) -> usize {
        self.lock().values().filter(|slot| slot.live.initialized()).count()
    }

    /// Makes room for one more live tenant: the one that was used longest ago, if it holds nothing.
    fn passivate_one(&self, now: i64) -> bool {
        let mut quiet: Vec<_> = self.all_live();
        quiet.retain(|live| live.is_idle(now));
        let longest_ago = quiet.into_iter().min_by_key(|live| live.last_used.load(Ordering::Relaxed));
        longest_ago.is_some_and(|live| self.passivate(&live, now))
    }

    /// Sends a tenant home, unless it has been asked for or removed meanwhile.
    fn passivate(&self, live: &Arc<Live>, now: i64) -> bool {
        {
            let mut slots = self.lock();
            let is_this = |slot: &&mut Arc<Slot>| slot.live.get().is_some_and(|found| Arc::ptr_eq(found, live));
            let Some(slot) = slots.get_mut(&live.id).filter(is_this).filter(|_| live.is_idle(now)) else {
                return false;
            };
            *slot = Arc::default();
        }
        self.leave(live);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of the actor tree that a directory works with.
pub struct Tree {
    /// The tenants' supervisor.
    pub supervisor: Arc<Supervisor>,
    /// The whole tree.
    pub system: Arc<System>,
    /// What tenants choose from.
    pub world: Arc<World>,
    /// What their caches share.
    pub bounds: Arc<CacheBounds>,
    /// The date.
    pub clock: Arc<dyn Clock>,
}

/// Whether the operator's keys serve this tenant.
pub fn uses_operator_keys(tenant: &TenantId, policy: &Policy) -> bool {
    policy.operator_keys || *tenant == TenantId::default_tenant()
}

/// The keys that a tenant may use: its own, which win, and the operator's where it may.
async fn keyring(tenant: &TenantId, policy: &Policy, store: &Store, config: &Config) -> Result<Keyring, StoreError> {
    let mut keys = HashMap::new();
    if uses_operator_keys(tenant, policy) {
        let operators =
            config.providers.iter().filter_map(|provider| Some((provider.id.clone(), provider.key.clone()?)));
        keys.extend(operators);
    }
    keys.extend(store.open_keys(tenant).await?);
    Ok(keys)
}

/// The providers that a tenant can reach: those with a key, and for tenants of the operator's keys those that need none.
fn reachable(keys: &Keyring, tenant: &TenantId, policy: &Policy, config: &Config) -> HashSet<ProviderId> {
    let keyless = |provider: &&ProviderConfig| !provider.needs_key() && uses_operator_keys(tenant, policy);
    let open = config.providers.iter().filter(keyless).map(|provider| provider.id.clone());
    keys.keys().cloned().chain(open).collect()
}
