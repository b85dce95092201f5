//! From a scanned request and its headers to all that the tenant actor is told of it.

use aipipe_actors::catalogue::Capability;
use aipipe_actors::identity::{ProviderId, RequestId};
pub use aipipe_actors::routing::decision::AUTO;
use aipipe_actors::routing::digest::{ClientDialect, Digest, PromptKey, Requested};
use aipipe_actors::routing::preferences::{CacheMode, Preferences, Quality};
use http::HeaderMap;

use super::refusal::Refusal;
use super::sessions::Session;
use super::{Setup, belongings, wishes};
use crate::dialects::client::{ClientRequest, Facts};
use crate::dialects::issued::Holdings;
use crate::dialects::scan::PromptHasher;

/// The names of [`AUTO`] that say how good the answer should be.
pub fn auto_names() -> impl Iterator<Item = String> {
    Quality::ALL.into_iter().map(|quality| format!("{AUTO}:{}", quality.as_str()))
}

/// Whether this name leaves the choice to AiPipe.
pub fn is_auto(name: &str) -> bool {
    name == AUTO || quality(name).is_some()
}

/// How good an answer a name of `auto` asks for, where it says so.
fn quality(name: &str) -> Option<Quality> {
    let word = name.strip_prefix(AUTO)?.strip_prefix(':')?;
    Quality::ALL.into_iter().find(|quality| quality.as_str() == word)
}

/// What a request has beside its body.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its id.
    pub request_id: RequestId,
    /// The client's dialect.
    pub dialect: ClientDialect,
    /// What its headers ask of the choice.
    pub wishes: Preferences,
    /// Headers that go along where the request passes through: the dialect's own, which decide the answer too.
    pub along: HeaderMap,
    /// What its headers call its conversation.
    pub session: Session,
}

/// Makes the digest of a request.
///
/// # Errors
/// [`Refusal`] where the request names something stored at a provider that was never issued to this tenant, or leaves the choice among
/// embedding models to AiPipe.
pub fn digest(
    request: &dyn ClientRequest,
    label: Label,
    setup: &Setup,
    hasher: &PromptHasher,
    holdings: &Holdings,
) -> Result<Digest, Refusal> {
    let Label { request_id, dialect, wishes, along, session } = label;
    let facts: &Facts = request.facts();
    let mut preferences = wishes::overlay(facts.preferences.clone(), wishes);
    let requested = requested(&facts.model, setup);
    if let Some(holder) = belongings::holder(&facts.stored, holdings, &requested, &setup.config.catalogue)? {
        pin(&mut preferences, holder)?;
    }
    if facts.demand.needs.contains(Capability::Embeddings) {
        one_model(&requested, &preferences)?;
    }
    // What goes on from something stored depends on more than its text.
    let cached = !facts.demand.stream
        && facts.stored.is_empty()
        && preferences.cache != Some(CacheMode::Off)
        && !setup.config.cache.ttl.is_zero();
    Ok(Digest {
        request_id,
        dialect,
        turn: session.turn(&requested, facts, hasher),
        requested,
        quality: quality(&facts.model),
        requested_text: facts.model.clone(),
        demand: facts.demand.clone(),
        cache_key: cached.then(|| prompt_key(request, &along, hasher)),
        preferences,
    })
}

/// Only the provider that has what the request names can serve it.
fn pin(preferences: &mut Preferences, holder: &ProviderId) -> Result<(), Refusal> {
    let listed = &preferences.providers;
    if !listed.is_empty() && !listed.iter().any(|name| name == holder.as_str()) {
        let message =
            format!("the request names something that is stored at {holder}, which `aipipe.providers` leaves out");
        return Err(Refusal::invalid(Some("aipipe.providers"), message));
    }
    preferences.providers = vec![holder.to_string()];
    Ok(())
}

/// Vectors of different models cannot be compared: neither a choice nor a fallback may mix them unseen.
fn one_model(requested: &Requested, preferences: &Preferences) -> Result<(), Refusal> {
    let why = "vectors of different models cannot be compared";
    if *requested == Requested::Auto {
        return Err(Refusal::invalid(
            Some("model"),
            format!("{why}, so \"auto\" chooses none: name an embedding model"),
        ));
    }
    if !preferences.models.is_empty() {
        let message = format!("{why}, so embeddings take no list of models to fall back to; `providers` may be listed");
        return Err(Refusal::invalid(Some("aipipe.models"), message));
    }
    Ok(())
}

/// The key of all that decides the answer, the headers that go along included.
fn prompt_key(request: &dyn ClientRequest, along: &HeaderMap, hasher: &PromptHasher) -> PromptKey {
    let body = request.prompt_key(hasher);
    if along.is_empty() {
        return body;
    }
    let texts: Vec<&str> =
        along.iter().flat_map(|(name, value)| [name.as_str(), value.to_str().unwrap_or_default()]).collect();
    PromptKey(body.0 ^ hasher.key_of(&texts, &[]).0)
}

/// What a model's name means: `auto` with or without a quality, `provider/model` where the part before the first slash is a provider, a
/// model's name otherwise.
fn requested(name: &str, setup: &Setup) -> Requested {
    if is_auto(name) {
        return Requested::Auto;
    }
    match name.split_once('/') {
        Some((provider, model)) if setup.config.provider(provider).is_some() && !model.is_empty() => {
            Requested::Named { provider: Some(provider.to_owned()), model: model.to_owned() }
        }
        _ => Requested::Named { provider: None, model: name.to_owned() },
    }
}
