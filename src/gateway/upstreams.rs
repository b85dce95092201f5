//! The providers as the pipeline calls them: addresses and headers, made once.

use std::collections::HashMap;

use aipipe_actors::catalogue::Model;
use aipipe_actors::fault::Fault;
use aipipe_actors::identity::ProviderId;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::Url;

use crate::config::{Config, ProviderConfig};
use crate::dialects;
use crate::dialects::translate::{ProviderError, UpstreamDialect};
use crate::upstream::client::Broken;

/// One provider, ready to be called.
pub struct Upstream {
    /// How it is configured.
    pub config: ProviderConfig,
    /// What it speaks, for clients that speak otherwise.
    pub dialect: Box<dyn UpstreamDialect>,
    /// Sent with every call.
    pub headers: HeaderMap,
    /// Where chat is, for a dialect that does not name the model in the address.
    chat: Option<Url>,
}

impl Upstream {
    fn new(config: &ProviderConfig) -> Self {
        let pairs = config.profile.headers.iter();
        let headers =
            pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let paths = config.profile.paths;
        let base = config.base_url.as_str().trim_end_matches('/');
        let is_fixed = !paths.chat.contains("{model}");
        let chat = is_fixed.then(|| Url::parse(&format!("{base}{}", paths.chat)).ok()).flatten();
        Self { config: config.clone(), dialect: dialects::upstream(&config.profile), headers, chat }
    }

    /// The address of a path below the base URL.
    ///
    /// # Errors
    /// Where the two make no address.
    pub fn url(&self, path: &str) -> Result<Url, Broken> {
        address(&format!("{}{path}", self.config.base_url.as_str().trim_end_matches('/')))
    }

    /// The address of one of the profile's paths.
    ///
    /// # Errors
    /// As [`Self::url`].
    pub fn url_of(&self, path: &str, model: &Model) -> Result<Url, Broken> {
        let is_chat = path == self.config.profile.paths.chat;
        if let Some(chat) = self.chat.as_ref().filter(|_| is_chat) {
            return Ok(chat.clone());
        }
        address(&self.config.endpoint(path, &model.id))
    }

    /// What an answer with an error status says.
    pub fn read_error(&self, status: StatusCode, body: &[u8]) -> ProviderError {
        self.dialect.decode_error(status, body)
    }
}

/// All enabled providers of a configuration.
pub fn upstreams(config: &Config) -> HashMap<ProviderId, Upstream> {
    let enabled = config.providers.iter().filter(|provider| provider.enabled);
    enabled.map(|provider| (provider.id.clone(), Upstream::new(provider))).collect()
}

fn address(text: &str) -> Result<Url, Broken> {
    let unreachable = |error| Broken { fault: Fault::Unreachable, message: format!("{text} is no address: {error}") };
    Url::parse(text).map_err(unreachable)
}
