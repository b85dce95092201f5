//! The configuration of a LiteLLM proxy, as far as it has a counterpart here. What is read is taken out; the rest is what has none.

use serde_json::{Map, Value};

use crate::commands::litellm::CAPABILITIES;

/// One deployment of `model_list`.
pub(super) struct Deployment {
    /// Where it stands in the list, from 1.
    pub(super) number: usize,
    /// What clients call it; several deployments may share a name.
    pub(super) group: String,
    /// The provider's prefix, where there is one.
    pub(super) prefix: Option<String>,
    /// The model's name at the provider.
    pub(super) model: String,
    pub(super) base_url: Option<String>,
    pub(super) key: Key,
    /// USD per token, in digits.
    pub(super) input_price: Option<String>,
    pub(super) output_price: Option<String>,
    pub(super) context_tokens: Option<u64>,
    pub(super) max_output_tokens: Option<u64>,
    /// In the words of the configuration; absent where nothing is said.
    pub(super) capabilities: Option<Vec<&'static str>>,
    /// Parameters without a counterpart.
    pub(super) rest: Vec<String>,
}

/// Where a deployment's key is.
pub(super) enum Key {
    /// Nothing is said.
    Usual,
    /// In this variable.
    Variable(String),
    /// In the file itself.
    Literal,
}

/// A whole configuration.
pub(super) struct Proxy {
    pub(super) deployments: Vec<Deployment>,
    /// Other names of groups.
    pub(super) aliases: Vec<(String, String)>,
    /// Upstream calls of a request beyond the first.
    pub(super) retries: Option<u64>,
    /// Seconds for a whole answer.
    pub(super) timeout: Option<f64>,
    /// Seconds to the first part of a stream.
    pub(super) stream_timeout: Option<f64>,
    pub(super) caches: bool,
    /// Seconds.
    pub(super) cache_ttl: Option<u64>,
    /// Groups that take over from others, as they are written: in the first case after any failure.
    pub(super) fallbacks: Vec<(String, Value)>,
    pub(super) has_master_key: bool,
    /// Settings without a counterpart, by their path.
    pub(super) rest: Vec<String>,
    /// What cannot be read, and is left out.
    pub(super) unread: Vec<String>,
}

impl Proxy {
    /// Reads a YAML text.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let root: Value = serde_saphyr::from_str(text)?;
        let Value::Object(mut root) = root else { anyhow::bail!("no configuration of a LiteLLM proxy: not a mapping") };
        let Some(Value::Array(list)) = root.remove("model_list") else {
            anyhow::bail!("no configuration of a LiteLLM proxy: it has no model_list");
        };
        let mut unread = Vec::new();
        let mut litellm = section(&mut root, "litellm_settings", &mut unread);
        let mut router = section(&mut root, "router_settings", &mut unread);
        let mut general = section(&mut root, "general_settings", &mut unread);
        let mut cache = section(&mut litellm, "cache_params", &mut unread);
        let mut fallbacks = Vec::new();
        for settings in [&mut litellm, &mut router] {
            for key in ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"] {
                fallbacks.extend(settings.remove(key).map(|value| (key.to_owned(), value)));
            }
        }
        // The settings of the router hold for requests, those of the library for single calls.
        let mut either = |key: &str| router.remove(key).into_iter().chain(litellm.remove(key)).next();
        let retries = either("num_retries").and_then(|value| value.as_u64());
        let timeout = router.remove("timeout").or_else(|| litellm.remove("request_timeout"));
        let stream_timeout = router.remove("stream_timeout");
        let mut aliases = Vec::new();
        for (alias, group) in section(&mut router, "model_group_alias", &mut unread) {
            match group.get("model").unwrap_or(&group).as_str() {
                Some(group) => aliases.push((alias, group.to_owned())),
                None => unread.push(format!("model_group_alias {alias}: left out: it names no group")),
            }
        }
        let has_master_key = general.remove("master_key").is_some();
        let caches = litellm.remove("cache") == Some(Value::Bool(true));
        let cache_ttl = cache.remove("ttl").and_then(|value| value.as_f64()).map(|seconds| seconds as u64);
        let sections = [
            ("litellm_settings", litellm),
            ("litellm_settings.cache_params", cache),
            ("router_settings", router),
            ("general_settings", general),
        ];
        let within =
            sections.into_iter().flat_map(|(name, rest)| rest.into_iter().map(move |(key, _)| format!("{name}.{key}")));
        let rest = within.chain(root.into_iter().map(|(key, _)| key)).collect();
        let mut deployments = Vec::new();
        for (entry, number) in list.into_iter().zip(1..) {
            let place = format!("model_list {number}");
            let mut notes = Vec::new();
            match deployment(entry, number, &mut notes) {
                Some(deployment) => deployments.push(deployment),
                None => notes.push("left out: it names no model (litellm_params.model)".to_owned()),
            }
            unread.extend(notes.into_iter().map(|note| format!("{place}: {note}")));
        }
        Ok(Self {
            deployments,
            aliases,
            retries,
            timeout: timeout.and_then(|value| value.as_f64()),
            stream_timeout: stream_timeout.and_then(|value| value.as_f64()),
            caches,
            cache_ttl,
            fallbacks,
            has_master_key,
            rest,
            unread,
        })
    }
}

/// A mapping within another; one that is empty or absent says nothing.
fn section(from: &mut Map<String, Value>, key: &str, unread: &mut Vec<String>) -> Map<String, Value> {
    match from.remove(key) {
        Some(Value::Object(section)) => return section,
        None | Some(Value::Null) => {}
        Some(_) => unread.push(format!("{key}: left out: it is no mapping")),
    }
    Map::new()
}

/// `None`: it names no model.
fn deployment(entry: Value, number: usize, unread: &mut Vec<String>) -> Option<Deployment> {
    let Value::Object(mut entry) = entry else { return None };
    let mut parameters = section(&mut entry, "litellm_params", unread);
    let mut info = section(&mut entry, "model_info", unread);
    let text = |value: Value| value.as_str().map(str::to_owned);
    let name = parameters.remove("model").and_then(text)?;
    let group = entry.remove("model_name").and_then(text).unwrap_or_else(|| name.clone());
    let (prefix, model) = match name.split_once('/') {
        Some((prefix, model)) => (Some(prefix.to_owned()), model.to_owned()),
        None => (None, name),
    };
    let key = match parameters.remove("api_key").and_then(text) {
        None => Key::Usual,
        Some(key) => match key.strip_prefix("os.environ/") {
            Some(variable) => Key::Variable(variable.to_owned()),
            None => Key::Literal,
        },
    };
    let mut either = |key: &str| parameters.remove(key).into_iter().chain(info.remove(key)).next();
    // The shortest digits that mean the same number: those that were written.
    let digits = |value: Value| value.as_f64().filter(|price| *price >= 0.0).map(|price| price.to_string());
    let input_price = either("input_cost_per_token").and_then(digits);
    let output_price = either("output_cost_per_token").and_then(digits);
    let base_url = either("api_base").or_else(|| either("base_url")).and_then(text);
    let total = info.remove("max_tokens");
    let context_tokens = info.remove("max_input_tokens").or(total).and_then(|value| value.as_u64());
    let max_output_tokens = info.remove("max_output_tokens").and_then(|value| value.as_u64());
    let is_embedding = info.remove("mode").is_some_and(|mode| mode == "embedding");
    let capabilities = if is_embedding { Some(vec!["embeddings"]) } else { capabilities(&mut info) };
    // Names for LiteLLM's own use.
    for own in ["id", "base_model"] {
        info.remove(own);
    }
    let keys = parameters.keys().chain(info.keys()).chain(entry.keys()).cloned().collect();
    Some(Deployment {
        number,
        group,
        prefix,
        model,
        base_url,
        key,
        input_price,
        output_price,
        context_tokens,
        max_output_tokens,
        capabilities,
        rest: keys,
    })
}

fn capabilities(info: &mut Map<String, Value>) -> Option<Vec<&'static str>> {
    let told: Vec<_> = CAPABILITIES.iter().filter_map(|(key, word)| Some((*word, info.remove(*key)?))).collect();
    (!told.is_empty())
        .then(|| told.into_iter().filter(|(_, value)| *value == Value::Bool(true)).map(|(word, _)| word).collect())
}
