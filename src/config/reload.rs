//! A configuration for a gateway that is running: what changed, and what has to wait for a restart.

use std::fmt;
use std::path::Path;

use aipipe_actors::catalogue::{Catalogue, Model};
use secrecy::{ExposeSecret, SecretString};

use super::environment::Environment;
use super::errors::ConfigErrors;
use super::meaning::{Config, ProviderConfig};

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// With the reload.
    Applied,
    /// With the next start; until then what is running holds.
    NeedsRestart,
}

/// One difference between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, as in the file.
    pub key: String,
    /// What changed, for people; of a secret only that it changed.
    pub what: String,
    /// When it takes effect.
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restart = if self.effect == Effect::NeedsRestart { " (with the next start)" } else { "" };
        write!(f, "{}: {}{restart}", self.key, self.what)
    }
}

/// Loads anew beside a running configuration. The result is complete and can take its place: what needs a restart is carried over from
/// `running`, and the catalogue's revision counts up. On error the running configuration stays as it is.
pub fn reload(
    file: Option<&Path>,
    environment: &Environment,
    running: &Config,
) -> Result<(Config, Vec<Change>), ConfigErrors> {
    let mut loaded = super::load_revision(file, environment, running.catalogue.revision() + 1)?;
    let changes = changes(running, &loaded);
    loaded.server = running.server;
    loaded.database = running.database.clone();
    loaded.master_key = running.master_key.clone();
    loaded.reliability.connect_timeout = running.reliability.connect_timeout;
    loaded.limits.max_connections = running.limits.max_connections;
    loaded.log = running.log.clone();
    // Whether a header can be trusted depends on the address that is listened on, which stays.
    loaded.tenants.auth = running.tenants.auth;
    Ok((loaded, changes))
}

/// What differs, in the order of the file.
pub(super) fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut diff = Diff(Vec::new());
    let restart = Effect::NeedsRestart;
    diff.value("server.addr", &old.server.addr, &new.server.addr, restart);
    diff.value("server.drain_timeout_ms", &old.server.drain_timeout, &new.server.drain_timeout, restart);
    diff.value("limits.max_connections", &old.limits.max_connections, &new.limits.max_connections, restart);
    diff.value("log.filter", &old.log, &new.log, restart);
    diff.value("database.path", &old.database.path, &new.database.path, restart);
    diff.value("database.synchronous", &old.database.synchronous, &new.database.synchronous, restart);
    let key = |config: &Config| config.master_key.as_ref().map(|key| *key.expose());
    diff.hidden("AIPIPE_MASTER_KEY", key(old) != key(new), restart);
    diff.value("tenants.auth", &old.tenants.auth, &new.tenants.auth, restart);

    let now = Effect::Applied;
    diff.hidden("AIPIPE_ADMIN_SECRET", !same_secret(&old.admin_secret, &new.admin_secret), now);
    diff.value("limits.max_body_bytes", &old.limits.max_body_bytes, &new.limits.max_body_bytes, now);
    let (before, after) = (old.limits.max_buffered_bytes, new.limits.max_buffered_bytes);
    diff.value("limits.max_buffered_bytes", &before, &after, now);
    diff.value("tenants.auto_create", &old.tenants.auto_create, &new.tenants.auto_create, now);
    diff.value("tenants.max", &old.tenants.max, &new.tenants.max, now);
    let (before, after) = (&old.reliability, &new.reliability);
    diff.value("reliability.connect_timeout_ms", &before.connect_timeout, &after.connect_timeout, restart);
    diff.value("reliability.first_byte_timeout_ms", &before.first_byte_timeout, &after.first_byte_timeout, now);
    diff.value("reliability.answer_timeout_ms", &before.answer_timeout, &after.answer_timeout, now);
    diff.value("reliability.idle_timeout_ms", &before.idle_timeout, &after.idle_timeout, now);
    diff.value("reliability.keep_alive_ms", &before.keep_alive, &after.keep_alive, now);
    diff.value("reliability.total_timeout_ms", &before.total_timeout, &after.total_timeout, now);
    diff.value("reliability.max_attempts", &before.max_attempts, &after.max_attempts, now);
    diff.value("reliability.on_break", &before.on_break, &after.on_break, now);
    diff.value("hedge.enabled", &old.hedge.enabled, &new.hedge.enabled, now);
    diff.value("hedge.max_extra_cost", &old.hedge.max_extra_cost, &new.hedge.max_extra_cost, now);
    diff.value("cache.ttl_seconds", &old.cache.ttl, &new.cache.ttl, now);
    diff.value("cache.max_entries", &old.cache.max_entries, &new.cache.max_entries, now);
    diff.value("cache.max_bytes", &old.cache.max_bytes, &new.cache.max_bytes, now);
    diff.value("metrics.tenant_label", &old.metrics.tenant_label, &new.metrics.tenant_label, now);
    diff.value("telemetry.content", &old.telemetry.content, &new.telemetry.content, now);
    let baseline = |config: &Config| config.routing.baseline.as_deref().map(name);
    diff.value("routing.baseline", &baseline(old), &baseline(new), now);
    diff.providers(&old.providers, &new.providers);
    diff.models(&old.catalogue, &new.catalogue);
    diff.0
}

fn name(model: &Model) -> String {
    model.address()
}

fn same_secret(old: &Option<SecretString>, new: &Option<SecretString>) -> bool {
    old.as_ref().map(ExposeSecret::expose_secret) == new.as_ref().map(ExposeSecret::expose_secret)
}

struct Diff(Vec<Change>);

impl Diff {
    fn push(&mut self, key: impl Into<String>, what: impl Into<String>, effect: Effect) {
        self.0.push(Change { key: key.into(), what: what.into(), effect });
    }

    fn value<T: PartialEq + fmt::Debug>(&mut self, key: impl Into<String>, old: &T, new: &T, effect: Effect) {
        if old != new {
            self.push(key, format!("{old:?} becomes {new:?}"), effect);
        }
    }

    fn hidden(&mut self, key: impl Into<String>, differs: bool, effect: Effect) {
        if differs {
            self.push(key, "changed", effect);
        }
    }

    fn providers(&mut self, old: &[ProviderConfig], new: &[ProviderConfig]) {
        for after in new {
            let key = |field: &str| format!("providers.{}{field}", after.id);
            let Some(before) = old.iter().find(|provider| provider.id == after.id) else {
                self.push(key(""), "added", Effect::Applied);
                continue;
            };
            self.value(key(".enabled"), &before.enabled, &after.enabled, Effect::Applied);
            self.value(key(".dialect"), &before.profile.dialect, &after.profile.dialect, Effect::Applied);
            self.value(key(".base_url"), &before.base_url.as_str(), &after.base_url.as_str(), Effect::Applied);
            self.value(key(".api_key_env"), &before.key_variable, &after.key_variable, Effect::Applied);
            self.hidden(key(" key"), !same_secret(&before.key, &after.key), Effect::Applied);
            self.value(key(".max_in_flight"), &before.max_in_flight, &after.max_in_flight, Effect::Applied);
            self.value(key(".max_queue"), &before.max_queue, &after.max_queue, Effect::Applied);
        }
        for before in old.iter().filter(|before| new.iter().all(|after| after.id != before.id)) {
            self.push(format!("providers.{}", before.id), "removed", Effect::Applied);
        }
    }

    fn models(&mut self, old: &Catalogue, new: &Catalogue) {
        let find = |catalogue: &Catalogue, model: &Model| {
            let key = (&model.provider, &model.id);
            let at = catalogue.models().binary_search_by(|other| (&other.provider, &other.id).cmp(&key)).ok()?;
            catalogue.models().get(at).cloned()
        };
        for after in new.models() {
            let what = match find(old, after) {
                None => "added",
                Some(before) if before != *after => "changed",
                Some(_) => continue,
            };
            self.push(format!("models {}", name(after)), what, Effect::Applied);
        }
        for before in old.models().iter().filter(|before| find(new, before).is_none()) {
            self.push(format!("models {}", name(before)), "removed", Effect::Applied);
        }
    }
}
