//! A LiteLLM proxy's configuration in AiPipe's terms.
//!
//! | LiteLLM | AiPipe |
//! |---|---|
//! | `model_list`, a deployment of a known provider | that provider's model of the built-in catalogue, with the group's name as an alias |
//! | … with an `api_base`, or a provider that speaks OpenAI's dialect | `[providers.NAME]` and `[[models]]` |
//! | a group of several deployments, `model_group_alias` | one alias of several models: the cheapest healthy one answers, and others take over |
//! | `api_key: os.environ/NAME` | `api_key_env` |
//! | `num_retries`, `request_timeout`, `timeout`, `stream_timeout` | `[reliability]` |
//! | `cache`, `cache_params.ttl` | `[cache]` |
//! | everything else | a line of the report |

use std::collections::BTreeMap;

use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::identity::ModelId;
use aipipe_actors::money::Rate;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};
use url::Url;

use super::proxy::{Deployment, Key, Proxy};
use crate::config::{self, Environment};
use crate::dialects::decimal::scaled;
use crate::providers::{BUILT_IN, Dialect, built_in};

/// Providers that LiteLLM knows by a prefix and that speak OpenAI's dialect at this address; without one the file must name it.
const COMPATIBLE: [(&str, Option<&str>); 14] = [
    ("cerebras", Some("https://api.cerebras.ai/v1")),
    ("custom_openai", None),
    ("deepinfra", Some("https://api.deepinfra.com/v1/openai")),
    ("deepseek", Some("https://api.deepseek.com/v1")),
    ("fireworks_ai", Some("https://api.fireworks.ai/inference/v1")),
    ("groq", Some("https://api.groq.com/openai/v1")),
    ("hosted_vllm", None),
    ("litellm_proxy", None),
    ("lm_studio", Some("http://127.0.0.1:1234/v1")),
    ("mistral", Some("https://api.mistral.ai/v1")),
    ("nvidia_nim", Some("https://integrate.api.nvidia.com/v1")),
    ("ollama", Some("http://127.0.0.1:11434/v1")),
    ("ollama_chat", Some("http://127.0.0.1:11434/v1")),
    ("together_ai", Some("https://api.together.xyz/v1")),
];
/// What a model at a server of one's own is taken to be able to do where the file says nothing.
const ASSUMED: [&str; 2] = ["tools", "json_schema"];

/// A configuration, and what is to be said of it.
pub(super) struct Imported {
    pub(super) toml: String,
    pub(super) notes: Vec<String>,
}

/// Reads a proxy's configuration and writes AiPipe's.
pub(super) fn import(text: &str) -> anyhow::Result<Imported> {
    let mut proxy = Proxy::read(text)?;
    // The variables that hold the operator's keys are of no matter here, and HOME only gives the database a place.
    let catalogue = config::load(None, &Environment::from([("HOME", "/")]))?.catalogue;
    let mut writer = Writer {
        catalogue: &catalogue,
        providers: BTreeMap::new(),
        models: Vec::new(),
        notes: std::mem::take(&mut proxy.unread),
    };
    for deployment in &proxy.deployments {
        writer.deployment(deployment);
    }
    for (alias, group) in &proxy.aliases {
        writer.alias(alias, group);
    }
    let document = writer.document(&proxy);
    writer.settings(&proxy);
    Ok(Imported { toml: document.to_string(), notes: writer.notes })
}

/// `[providers.NAME]`.
#[derive(Default)]
struct Provider {
    /// Absent for a built-in one.
    dialect: Option<Dialect>,
    base_url: Option<String>,
    api_key_env: Option<String>,
}

/// `[[models]]`.
struct Model {
    provider: String,
    id: String,
    /// Groups that it belongs to.
    groups: Vec<String>,
    input: Option<Rate>,
    output: Option<Rate>,
    context_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    capabilities: Option<Vec<&'static str>>,
}

struct Writer<'c> {
    catalogue: &'c Catalogue,
    providers: BTreeMap<String, Provider>,
    models: Vec<Model>,
    notes: Vec<String>,
}

impl Writer<'_> {
    fn deployment(&mut self, deployment: &Deployment) {
        let Deployment { number, group, model, .. } = deployment;
        let place = format!("model_list {number} ({group})");
        if model.contains('*') || group.contains('*') {
            self.notes.push(format!(
                "{place}: left out: the built-in catalogue has the models that a wildcard would let through"
            ));
            return;
        }
        let Some(provider) = self.provider(deployment, &place) else { return };
        for key in &deployment.rest {
            self.notes.push(format!("{place}: {key} has no counterpart"));
        }
        if ModelId::parse(model).is_err() || ModelId::parse(group).is_err() {
            self.notes.push(format!("{place}: left out: a model's name holds no white space"));
            return;
        }
        let known = self.catalogue.at_provider(&provider, model);
        let id = known.map_or_else(|| model.clone(), |known| known.id.to_string());
        // The catalogue's figures hold where it has the model, but for a price that the file sets.
        let is_known = known.is_some();
        let price =
            |digits: &Option<String>| digits.as_ref().and_then(|digits| Some(Rate(scaled(digits, 15)?.nanos.0)));
        let (input, output) = (price(&deployment.input_price), price(&deployment.output_price));
        let is_priced = input.is_some() && output.is_some();
        if !is_known && !is_priced {
            self.notes.push(format!("{place}: no price is known: `auto` never chooses {provider}/{id}, and its use costs nothing in the books"));
        }
        if is_known && input.is_some() != output.is_some() {
            self.notes.push(format!("{place}: left out: one price without the other; those of the catalogue hold"));
        }
        if !is_known && deployment.capabilities.is_none() {
            self.notes
                .push(format!("{place}: {provider}/{id} is taken to be capable of {}: correct it", ASSUMED.join(", ")));
        }
        let is_it = |model: &&mut Model| model.provider == provider && model.id == id;
        if let Some(model) = self.models.iter_mut().find(is_it) {
            if model.groups.contains(group) {
                self.notes
                    .push(format!("{place}: left out: {provider}/{id} stands in this group already, and has one key"));
            } else {
                model.groups.push(group.clone());
                self.notes.push(format!("{place}: {provider}/{id} stands above already, with the figures given there"));
            }
            return;
        }
        self.models.push(Model {
            provider,
            id,
            groups: vec![group.clone()],
            input: input.filter(|_| is_priced),
            output: output.filter(|_| is_priced),
            context_tokens: deployment.context_tokens.filter(|_| !is_known),
            max_output_tokens: deployment.max_output_tokens.filter(|_| !is_known),
            capabilities: (!is_known).then(|| deployment.capabilities.clone().unwrap_or(ASSUMED.to_vec())),
        });
    }

    /// The name of the provider that a deployment goes to; it is declared or changed where need be.
    fn provider(&mut self, deployment: &Deployment, place: &str) -> Option<String> {
        let prefix = match &deployment.prefix {
            Some(prefix) => prefix.as_str(),
            None => self.guess(&deployment.model),
        };
        let base_url = match deployment.base_url.as_deref() {
            Some(url) if url.starts_with("os.environ/") => {
                self.notes.push(format!("{place}: left out: its address stands in a variable ({url}); AiPipe's are AIPIPE_<PROVIDER>_BASE_URL"));
                return None;
            }
            Some(url) => match Url::parse(url) {
                Ok(parsed) => Some((url, parsed)),
                Err(_) => {
                    self.notes.push(format!("{place}: left out: its api_base is no address"));
                    return None;
                }
            },
            None => None,
        };
        if let Some(row) = built_in(prefix) {
            let own = Url::parse(row.base_url).ok();
            let is_own_host = |url: &Url| own.as_ref().is_some_and(|own| domain(own) == domain(url));
            match &base_url {
                None => return Some(self.known(row.name, None, deployment, place)),
                // Other regions of the provider itself, and for all but OpenAI any address: only it is spoken to by others' servers.
                Some((url, parsed)) if prefix != "openai" || is_own_host(parsed) => {
                    let differs = row.base_url.trim_end_matches('/') != url.trim_end_matches('/');
                    return Some(self.known(row.name, differs.then_some(*url), deployment, place));
                }
                Some(_) => {}
            }
        }
        let compatible = COMPATIBLE.iter().find(|(name, _)| *name == prefix);
        let usual = compatible.and_then(|(_, url)| *url);
        let Some(url) = base_url.as_ref().map(|(url, _)| *url).or(usual) else {
            let why =
                if compatible.is_some() { "it names no api_base" } else { "AiPipe does not speak to this provider" };
            self.notes.push(format!("{place}: left out: {prefix}: {why}"));
            return None;
        };
        if compatible.is_none() && prefix != "openai" {
            self.notes.push(format!("{place}: left out: {prefix}: AiPipe does not know what this provider speaks"));
            return None;
        }
        // Ollama's own API stands beside the one that is like OpenAI's.
        let is_bare = prefix.starts_with("ollama") && !url.trim_end_matches('/').ends_with("/v1");
        let url = if is_bare { format!("{}/v1", url.trim_end_matches('/')) } else { url.to_owned() };
        let name = self.free_name(prefix, &url);
        let provider = self.providers.entry(name.clone()).or_default();
        provider.dialect = Some(Dialect::OpenAi);
        provider.base_url = Some(url);
        self.key(&name, deployment, place);
        Some(name)
    }

    /// The provider of a model that is named without one.
    fn guess(&self, model: &str) -> &'static str {
        let direct = |name: &str| self.catalogue.at_provider(name, model).is_some();
        let row = BUILT_IN.iter().find(|row| row.name != "openrouter" && direct(row.name));
        match row {
            Some(row) => row.name,
            None if model.starts_with("claude") => "anthropic",
            None => "openai",
        }
    }

    /// A built-in provider, whose address may be another.
    fn known(&mut self, name: &'static str, base_url: Option<&str>, deployment: &Deployment, place: &str) -> String {
        if let Some(url) = base_url {
            let provider = self.providers.entry(name.to_owned()).or_default();
            match &provider.base_url {
                Some(other) if other != url => {
                    self.notes.push(format!("{place}: {name} has one address here: {other}, not {url}"));
                }
                _ => provider.base_url = Some(url.to_owned()),
            }
        }
        self.key(name, deployment, place);
        name.to_owned()
    }

    /// Where the provider's key is to be found.
    fn key(&mut self, name: &str, deployment: &Deployment, place: &str) {
        let usual: &[&str] = built_in(name).map_or(&[], |row| row.key_variables);
        let variable = match &deployment.key {
            Key::Variable(variable) => variable.clone(),
            Key::Usual => return,
            Key::Literal => {
                let own = || format!("{}_API_KEY", name.to_ascii_uppercase().replace('-', "_"));
                let variable = usual.first().map_or_else(own, |&variable| variable.to_owned());
                self.notes.push(format!(
                    "{place}: its key stands in the file and was not taken over: put it into the environment as {variable}, or \
                     remove api_key_env from [providers.{name}] if it needs none"
                ));
                variable
            }
        };
        if usual.contains(&variable.as_str()) {
            return;
        }
        let provider = self.providers.entry(name.to_owned()).or_default();
        match &provider.api_key_env {
            Some(other) if *other != variable => {
                self.notes.push(format!(
                    "{place}: {name} has one key here: {other}, not {variable}; a tenant may have its own"
                ));
            }
            _ => provider.api_key_env = Some(variable),
        }
    }

    /// The name for a server: its prefix, or a part of its host.
    fn free_name(&self, prefix: &str, url: &str) -> String {
        let host = Url::parse(url).ok().and_then(|url| url.domain().map(str::to_owned));
        let label = host.as_deref().and_then(|host| host.rsplit('.').nth(1)).unwrap_or("local");
        let name = if matches!(prefix, "openai" | "custom_openai") { label } else { prefix };
        let clean: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(48).collect();
        let clean = clean.to_ascii_lowercase();
        let is_taken = |name: &str| {
            let other = self.providers.get(name).and_then(|provider| provider.base_url.as_deref());
            built_in(name).is_some() || other.is_some_and(|other| other != url)
        };
        let numbered = std::iter::once(clean.clone()).chain((2..).map(|number| format!("{clean}-{number}")));
        numbered.into_iter().find(|name| !is_taken(name)).unwrap_or(clean)
    }

    fn alias(&mut self, alias: &str, group: &str) {
        let mut is_known = false;
        for model in self.models.iter_mut().filter(|model| model.groups.iter().any(|name| name == group)) {
            is_known = true;
            model.groups.push(alias.to_owned());
        }
        if !is_known {
            self.notes.push(format!("model_group_alias {alias}: there is no group {group}"));
        }
    }

    fn document(&mut self, proxy: &Proxy) -> DocumentMut {
        let mut document = DocumentMut::new();
        let mut providers = Table::new();
        providers.set_implicit(true);
        for (name, provider) in &self.providers {
            let mut table = Table::new();
            table.extend(provider.dialect.map(|dialect| ("dialect", value(dialect.as_str()))));
            table.extend(provider.base_url.as_ref().map(|url| ("base_url", value(url))));
            table.extend(provider.api_key_env.as_ref().map(|variable| ("api_key_env", value(variable))));
            providers.insert(name, Item::Table(table));
        }
        document.insert("providers", Item::Table(providers));
        let mut reliability = Table::new();
        let seconds = |seconds: f64| (seconds * 1_000.0).clamp(1.0, 86_400_000.0) as i64;
        let timeout = proxy.timeout.map(seconds);
        reliability.extend(proxy.stream_timeout.map(|wait| ("first_byte_timeout_ms", value(seconds(wait)))));
        reliability.extend(timeout.map(|wait| ("answer_timeout_ms", value(wait))));
        reliability.extend(timeout.filter(|wait| *wait > 600_000).map(|wait| ("total_timeout_ms", value(wait))));
        let attempts = proxy.retries.and_then(|retries| i64::try_from(retries.saturating_add(1).min(100)).ok());
        reliability.extend(attempts.map(|attempts| ("max_attempts", value(attempts))));
        document.insert("reliability", Item::Table(reliability));
        let mut cache = Table::new();
        let ttl = proxy.cache_ttl.and_then(|ttl| i64::try_from(ttl).ok());
        cache.extend(if proxy.caches { ttl } else { Some(0) }.map(|ttl| ("ttl_seconds", value(ttl.min(31_536_000)))));
        document.insert("cache", Item::Table(cache));
        let mut models = ArrayOfTables::new();
        for model in &self.models {
            models.extend(self.model(model));
        }
        document.insert("models", Item::ArrayOfTables(models));
        for name in ["reliability", "cache", "models"] {
            if document.get(name).is_some_and(is_empty) {
                document.remove(name);
            }
        }
        document
    }

    /// A model's table; `None` where the built-in catalogue says all of it.
    fn model(&self, model: &Model) -> Option<Table> {
        let known = self.catalogue.at_provider(&model.provider, &model.id);
        let mut table = Table::new();
        table.insert("provider", value(&model.provider));
        table.insert("id", value(&model.id));
        // What is written takes the place of the catalogue's own aliases, which hold on.
        let own: Vec<&str> = known.iter().flat_map(|known| &known.aliases).map(ModelId::as_str).collect();
        let address = format!("{}/{}", model.provider, model.id);
        let is_new = |name: &&str| *name != model.id && *name != address && !own.contains(name);
        let new: Vec<&str> = model.groups.iter().map(String::as_str).filter(is_new).collect();
        if !new.is_empty() {
            let aliases: Array = own.iter().chain(&new).copied().collect();
            table.insert("aliases", value(aliases));
        }
        for (key, rate) in [("input", model.input), ("output", model.output)] {
            if let Some(price) = rate.and_then(|rate| rate.to_string().parse::<Value>().ok()) {
                table.insert(key, Item::Value(price));
            }
        }
        for (key, tokens) in [("context_tokens", model.context_tokens), ("max_output_tokens", model.max_output_tokens)]
        {
            table.extend(tokens.and_then(|tokens| i64::try_from(tokens).ok()).map(|tokens| (key, value(tokens))));
        }
        if let Some(capabilities) = &model.capabilities {
            table.insert("capabilities", value(capabilities.iter().copied().collect::<Array>()));
        }
        (table.len() > 2 || known.is_none()).then_some(table)
    }

    /// What is to be said of the settings.
    fn settings(&mut self, proxy: &Proxy) {
        for (key, fallback) in &proxy.fallbacks {
            self.notes.push(format!(
                "{key}: {fallback}: AiPipe fails over among the models that share a name; a client names others with its request, as \
                 {{\"aipipe\": {{\"models\": [\"…\"]}}}} or X-AiPipe-Models"
            ));
        }
        if proxy.has_master_key {
            self.notes.push(
                "general_settings.master_key: AiPipe's admin secret is AIPIPE_ADMIN_SECRET, and clients have tokens of their own \
                 (POST /admin/tenants/{id}/tokens) wherever it listens beyond loopback"
                    .to_owned(),
            );
        }
        if !proxy.caches {
            self.notes.push("[cache] ttl_seconds = 0: the proxy keeps no answers; without this line AiPipe keeps them for five minutes".to_owned());
        }
        for key in &proxy.rest {
            self.notes.push(format!("{key} has no counterpart"));
        }
    }
}

fn is_empty(item: &Item) -> bool {
    match item {
        Item::Table(table) => table.is_empty(),
        Item::ArrayOfTables(tables) => tables.is_empty(),
        _ => false,
    }
}

/// The last two labels of a host: whose it is.
fn domain(url: &Url) -> Option<String> {
    let mut labels: Vec<&str> = url.domain()?.rsplit('.').take(2).collect();
    labels.reverse();
    Some(labels.join("."))
}
