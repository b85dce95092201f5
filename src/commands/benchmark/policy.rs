//! A way to route: a catalogue and the configuration around it, as if every provider could be asked.

use std::path::Path;
use std::sync::Arc;

use aipipe_actors::clock::{Clock, SystemClock};
use aipipe_actors::identity::{RequestId, TenantId};
use aipipe_actors::routing::choice::{Situation, Standing};
use aipipe_actors::routing::complexity::{Weights, assess};
use aipipe_actors::routing::decision::{Decision, Reason};
use aipipe_actors::routing::digest::ClientDialect;
use aipipe_actors::routing::preferences::{Preferences, Quality};
use aipipe_actors::tenant::account::day_of;
use aipipe_actors::tenant::{DEFAULT_COMPLEXITY, scored};
use jiff::civil::Date;
use serde_json::Value;

use crate::config::{self, Environment};
use crate::dialects::client::Addressed;
use crate::dialects::issued::Holdings;
use crate::dialects::scan::PromptHasher;
use crate::dialects::surface;
use crate::gateway::Setup;
use crate::gateway::prepare::{self, Label};
use crate::gateway::sessions::Session;
use crate::gateway::upstreams::upstreams;

/// Decides as the gateway would with every provider's key at hand and every model well.
pub(super) struct Policy {
    setup: Setup,
    weights: Weights,
    hasher: PromptHasher,
    tenant: TenantId,
    today: Date,
}

impl Policy {
    /// The built-in configuration with the frozen catalogue of the published benchmark.
    pub(super) fn frozen() -> anyhow::Result<Self> {
        // Nothing is stored: the name only keeps the place of the user's database out of it.
        let mut config = config::load(None, &Environment::from([("AIPIPE_DATABASE", "benchmark.db")]))?;
        config.catalogue = Arc::new(config::benchmark_catalogue()?);
        Self::new(config)
    }

    /// The configuration of a file.
    pub(super) fn of(file: &Path) -> anyhow::Result<Self> {
        Self::new(config::load(Some(file), &Environment::from_process())?)
    }

    fn new(config: config::Config) -> anyhow::Result<Self> {
        Ok(Self {
            setup: Setup { upstreams: upstreams(&config), config },
            weights: config::shipped_weights(),
            hasher: PromptHasher::default(),
            tenant: TenantId::parse("default")?,
            today: day_of(SystemClock.now()),
        })
    }

    /// The decision for a Chat Completions body.
    pub(super) fn decide(&self, body: &Value) -> anyhow::Result<Decision> {
        let body = body.to_string();
        let request = surface(ClientDialect::Chat).scan(body.as_bytes(), &Addressed::default())?;
        let label = Label {
            request_id: RequestId::generate(),
            dialect: ClientDialect::Chat,
            wishes: Preferences::default(),
            along: http::HeaderMap::new(),
            session: Session::default(),
        };
        let digest = prepare::digest(&*request, label, &self.setup, &self.hasher, &Holdings::default())
            .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let situation = Situation {
            tenant: &self.tenant,
            digest: &digest,
            scored: scored(
                &digest,
                assess(&digest.demand.features, &self.weights, DEFAULT_COMPLEXITY),
                Quality::Balanced,
            ),
            catalogue: &self.setup.config.catalogue,
            allowed: None,
            min_quality: None,
            learned: None,
            today: self.today,
        };
        let providers = &self.setup.config.providers;
        let choice = situation.choose(|model| {
            match providers.iter().any(|provider| provider.enabled && provider.id == model.provider) {
                true => Standing::Ready { penalty: 1.0 },
                false => Standing::Barred(Reason::Disabled),
            }
        });
        Ok(choice.decision)
    }
}
