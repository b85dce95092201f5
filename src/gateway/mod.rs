//! The gateway: what is running, and the way of a request through it.
//!
//! A request's own task carries its body and its stream; actors only decide. The way:
//!
//! 1. [`prepare`]: one scan of the body and the headers' wishes become a [`Digest`](aipipe_actors::routing::digest::Digest).
//!    What it names that a provider keeps must be the tenant's own ([`belongings`]).
//! 2. [`pipeline`]: the tenant's actor chooses, reserves and hands the choice to the provider's actor, which grants a place. Without its
//!    ticket nothing is called.
//! 3. [`course`]: the request is in the journal before the first byte goes upstream, and is settled exactly once, however it ends.
//! 4. [`outgoing`] writes the provider's request, [`attempt`] calls and judges what comes before the client sees any of it, [`reading`]
//!    and [`relay`] carry a stream to its end.
//! 5. What failed goes back to 2 (`search` knows who is left), until an answer has begun or nothing is left; then the client gets a
//!    [`refusal`]. `hedge` asks a second model beside a slow one; where it is asked for, `rescue` goes on with a stream that broke. What
//!    became of an answer teaches the tenant's routing (`lessons`); `shadow` sends a request that was answered to a second policy's model.
//!
//! [`start`] puts the parts together, [`tenants`] knows who exists and who is live, [`buffers`] bounds what bodies take up, [`drain`] lets what
//! is under way end in peace.

mod admin;
pub mod answered;
pub mod attempt;
pub mod belongings;
pub mod buffers;
pub mod counting;
pub mod course;
pub mod drain;
pub mod errands;
mod explained;
pub mod failure;
mod hedge;
mod lessons;
pub mod meter;
pub mod outgoing;
mod overheard;
pub mod pipeline;
pub mod prepare;
pub mod reading;
pub mod refusal;
pub mod relay;
mod rescue;
pub mod search;
pub mod sessions;
mod shadow;
pub mod start;
pub mod tenants;
pub mod tokens;
mod told;
pub mod upstreams;
pub mod wishes;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aipipe_actors::clock::Clock;
use aipipe_actors::identity::ProviderId;
use aipipe_actors::ledger::Ledger;
use aipipe_actors::metrics::{Completed, Metrics};
use aipipe_actors::runtime::{Address, Supervisor, System};
use aipipe_actors::tenant::World;
use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Semaphore};

use crate::config::{Config, Environment};
use crate::dialects::scan::PromptHasher;
use crate::store::Store;
use crate::telemetry::Meters;
use crate::telemetry::traces::Tracer;
use crate::upstream::client::Client;
use buffers::Buffers;
use drain::Drain;
use tenants::Directory;
use tokens::Tokens;
use upstreams::Upstream;

/// What a reload replaces as a whole.
pub struct Setup {
    /// The configuration that holds.
    pub config: Config,
    /// The enabled providers.
    pub upstreams: HashMap<ProviderId, Upstream>,
}

/// Where the configuration came from, to be read again.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file, if one was named.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
}

/// The aggregator with its actor.
pub struct Aggregator {
    /// What it publishes.
    pub metrics: Arc<Metrics>,
    /// Its actor.
    pub address: Address<Completed>,
}

/// A running gateway. Nothing of it is global: several live side by side in one process.
pub struct Gateway {
    /// What a reload replaces.
    pub setup: ArcSwap<Setup>,
    /// What outlives the process.
    pub store: Store,
    /// Where requests are written down.
    pub ledger: Arc<dyn Ledger>,
    /// The tree of actors.
    pub system: Arc<System>,
    /// What tenants choose from.
    pub world: Arc<World>,
    /// Who exists, and who is live.
    pub directory: Directory,
    /// Client tokens.
    pub tokens: Tokens,
    /// HTTP to the providers.
    pub client: Client,
    /// Percentiles, cost and tokens.
    pub aggregator: Aggregator,
    /// The counters of `/metrics`.
    pub meters: Meters,
    /// Makes the spans of requests, where they go somewhere.
    pub tracer: Option<Arc<Tracer>>,
    /// What is under way.
    pub drain: Arc<Drain>,
    /// How much of bodies is in memory.
    pub buffers: Arc<Buffers>,
    /// What cache keys are made with.
    pub prompt_hasher: PromptHasher,
    /// The date.
    pub clock: Arc<dyn Clock>,
    /// When it started.
    pub started: Instant,
    /// Counts of tokens that may be asked of providers at the same time.
    counts: Semaphore,
    providers: Arc<Supervisor>,
    source: Source,
    /// One change of configuration, tenants, keys or tokens at a time.
    changing: Mutex<()>,
}
