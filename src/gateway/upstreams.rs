//! The providers as the pipeline calls them: addresses and headers, made once.

use std::collections::HashMap;

use aipipe_actors::fault::Fault;
use aipipe_actors::identity::ProviderId;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use crate::config::{Config, ProviderConfig};
use crate::dialects::anthropic::Anthropic;
use crate::dialects::gemini::Gemini;
use crate::dialects::translate::UpstreamDialect;
use crate::providers::Dialect;
use crate::upstream::client::Broken;

/// One provider, ready to be called.
#[derive(Debug)]
pub struct Upstream {
    /// How it is configured.
    pub config: ProviderConfig,
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
        let base = config.base_url.as_str().trim_end_matches('/');
        let chat = Url::parse(&format!("{base}{}", config.profile.paths.chat)).ok();
        Self { config: config.clone(), headers, chat }
    }

    /// The address of a path below the base URL.
    ///
    /// # Errors
    /// Where the two make no address.
    pub fn url(&self, path: &str) -> Result<Url, Broken> {
        if let Some(chat) = self.chat.as_ref().filter(|_| path == self.config.profile.paths.chat) {
            return Ok(chat.clone());
        }
        let base = self.config.base_url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}")).map_err(|error| Broken {
            fault: Fault::Unreachable,
            message: format!("the provider's base URL and {path} make no address: {error}"),
        })
    }

    /// The dialect to translate to; `None`: Chat Completions, as the client speaks it.
    pub fn translation(&self) -> Option<&'static dyn UpstreamDialect> {
        match self.config.profile.dialect {
            Dialect::OpenAi => None,
            Dialect::Anthropic => Some(&Anthropic),
            Dialect::Gemini => Some(&Gemini),
        }
    }
}

/// All enabled providers of a configuration.
pub fn upstreams(config: &Config) -> HashMap<ProviderId, Upstream> {
    let enabled = config.providers.iter().filter(|provider| provider.enabled);
    enabled.map(|provider| (provider.id.clone(), Upstream::new(provider))).collect()
}
