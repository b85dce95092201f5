//! From a scanned body and its headers to all that the tenant actor is told of a request.

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::{ClientDialect, Digest, Requested};
use aipipe_actors::routing::preferences::{CacheMode, Preferences};
use aipipe_actors::routing::signals::Features;
use http::StatusCode;

use super::refusal::Refusal;
use super::{Setup, wishes};
use crate::dialects::scan::{PromptHasher, Scan, preferences};

/// The name with which a client leaves the choice to AiPipe.
pub const AUTO: &str = "auto";

/// Makes the digest of a request.
///
/// # Errors
/// [`Refusal`] where the `aipipe` object is not what it must be, or the request names something stored at a provider that AiPipe never
/// issued to this tenant.
pub fn digest(
    scan: &Scan<'_>,
    request_id: RequestId,
    headers: Preferences,
    setup: &Setup,
    hasher: &PromptHasher,
) -> Result<Digest, Refusal> {
    let body = scan.preferences.map(preferences).transpose()?.unwrap_or_default();
    let preferences = wishes::overlay(body, headers);
    if let Some(stored) = scan.stored.first() {
        let message = format!("there is nothing stored under the id {stored:?} that was issued to this tenant");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", message));
    }
    let cached = !scan.stream && preferences.cache != Some(CacheMode::Off) && !setup.config.cache.ttl.is_zero();
    Ok(Digest {
        request_id,
        dialect: ClientDialect::Chat,
        requested: requested(&scan.model, setup),
        requested_text: scan.model.clone().into_owned(),
        features: Features::measure(&scan.ask().view()),
        needs: scan.needs,
        parameters: scan.meaningful.clone(),
        effort: scan.reasoning.as_ref().and_then(|reasoning| reasoning.effort),
        input_tokens: scan.estimate.tokens(),
        input_bound: scan.estimate.upper_bound(),
        output_limit: scan.output_limit,
        choices: scan.choices,
        stream: scan.stream,
        cache_key: cached.then(|| scan.prompt_key(hasher, &[ClientDialect::Chat.as_str()])),
        preferences,
    })
}

/// What a model's name means: `auto`, `provider/model` where the part before the first slash is a provider, a model's name otherwise.
fn requested(name: &str, setup: &Setup) -> Requested {
    if name == AUTO {
        return Requested::Auto;
    }
    match name.split_once('/') {
        Some((provider, model)) if setup.config.provider(provider).is_some() && !model.is_empty() => {
            Requested::Named { provider: Some(provider.to_owned()), model: model.to_owned() }
        }
        _ => Requested::Named { provider: None, model: name.to_owned() },
    }
}
