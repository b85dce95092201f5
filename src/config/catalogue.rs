//! From models as written to a catalogue: the built-in one, those of a configuration file, and the frozen one of the benchmark.

use std::collections::BTreeMap;
use std::path::Path;

use aipipe_actors::catalogue::{AddedTokens, Capabilities, Capability, Catalogue, Model, ParameterLimits};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::{LongContext, Rates};

use super::document::{Document, Found};
use super::errors::{ConfigError, ConfigErrors, suggestion};
use super::written::{WrittenLongContext, WrittenModel};
use crate::providers::{Profile, built_in};

const BUILT_IN_CATALOGUE: &str = include_str!("../../config/catalogue.toml");
const BENCHMARK_CATALOGUE: &str = include_str!("../../config/benchmark-catalogue.toml");

/// Quality of a model of which none is written: a model that nobody vouches for gets easy requests only.
pub const DEFAULT_QUALITY: f64 = 0.05;
/// Context of a model of which none is written, in tokens.
pub const DEFAULT_CONTEXT_TOKENS: u64 = 32_768;
/// Longest answer of a model of which none is written, in tokens, where its context is not shorter.
pub const DEFAULT_MAX_OUTPUT_TOKENS: u64 = 4_096;

/// The frozen catalogue of the published benchmark.
pub fn benchmark_catalogue() -> Result<Catalogue, ConfigErrors> {
    let mut problems = Vec::new();
    let models = parse("config/benchmark-catalogue.toml", BENCHMARK_CATALOGUE, &mut problems);
    let profile_of = |provider: &str| built_in(provider).map(|row| row.profile);
    let models: Vec<_> = models.into_iter().filter_map(|written| model(written, profile_of, &mut problems)).collect();
    ConfigErrors::none_or(Catalogue::new(models, 1), problems)
}

/// The built-in models, as written.
pub(super) fn built_in_models(problems: &mut Vec<ConfigError>) -> Vec<WrittenModel> {
    parse("config/catalogue.toml", BUILT_IN_CATALOGUE, problems)
}

fn parse(name: &str, text: &str, problems: &mut Vec<ConfigError>) -> Vec<WrittenModel> {
    let document = Document::new(Path::new(name), text);
    let mut root = document.root();
    let models = root.list("models").into_iter().map(WrittenModel::read).collect();
    root.finish();
    problems.extend(document.into_problems());
    models
}

/// Lays models of a file over others, field by field where (provider, id) is the same. One that a file holds twice is reported.
pub(super) fn overlay(
    under: Vec<WrittenModel>,
    file: Vec<WrittenModel>,
    problems: &mut Vec<ConfigError>,
) -> Vec<WrittenModel> {
    let mut by_name: BTreeMap<(ProviderId, ModelId), (WrittenModel, bool)> = BTreeMap::new();
    by_name.extend(under.into_iter().filter_map(|model| Some((key(&model)?, (model, false)))));
    for model in file {
        let Some(name) = key(&model) else {
            problems.push(ConfigError::new(model.place, "a model needs an id and a provider"));
            continue;
        };
        let merged = match by_name.remove(&name) {
            None => model,
            Some((under, false)) => model.over(under),
            Some((_, true)) => {
                let message = format!("{}/{} stands twice in this file", name.0, name.1);
                problems.push(ConfigError::new(model.place.clone(), message));
                model
            }
        };
        by_name.insert(name, (merged, true));
    }
    by_name.into_values().map(|(model, _)| model).collect()
}

fn key(model: &WrittenModel) -> Option<(ProviderId, ModelId)> {
    Some((model.provider.as_ref()?.value.clone(), model.id.as_ref()?.value.clone()))
}

/// One model, checked; `profile_of` knows the providers that there are.
pub(super) fn model(
    written: WrittenModel,
    profile_of: impl Fn(&str) -> Option<Profile>,
    problems: &mut Vec<ConfigError>,
) -> Option<Model> {
    let (provider, id) = (written.provider.as_ref()?, written.id.as_ref()?);
    let Some(profile) = profile_of(provider.value.as_str()) else {
        let hint = suggestion(provider.value.as_str(), crate::providers::BUILT_IN.iter().map(|row| row.name));
        let message = format!(
            "there is no provider {0:?}{hint} A further one is declared as [providers.{0}]",
            provider.value.as_str()
        );
        problems.push(ConfigError::new(provider.place.clone(), message));
        return None;
    };
    let capabilities: Capabilities = value_of(&written.capabilities).unwrap_or_default().into_iter().collect();
    let embeddings = capabilities.contains(Capability::Embeddings);
    let rates = rates(&written, embeddings, problems);
    let quality = within(&written.quality, DEFAULT_QUALITY, Range { above: 0.0, most: 1.0 }, problems);
    let token_ratio = within(&written.token_ratio, 1.0, Range { above: 0.0, most: 10.0 }, problems);

    let context_tokens = value_of(&written.context_tokens).unwrap_or(DEFAULT_CONTEXT_TOKENS);
    let max_output_tokens =
        value_of(&written.max_output_tokens).unwrap_or(DEFAULT_MAX_OUTPUT_TOKENS.min(context_tokens));
    if max_output_tokens > context_tokens {
        let at = written.max_output_tokens.as_ref().or(written.context_tokens.as_ref());
        let message = format!("max_output_tokens ({max_output_tokens}) must fit in context_tokens ({context_tokens})");
        problems.extend(at.map(|found| ConfigError::new(found.place.clone(), message)));
    }

    let mut refuses = value_of(&written.parameters.refuses).unwrap_or_default();
    refuses.extend(profile.refuses.iter().map(|&name| name.to_owned()));
    refuses.sort_unstable();
    refuses.dedup();
    Some(Model {
        provider: provider.value.clone(),
        id: id.value.clone(),
        aliases: value_of(&written.aliases).unwrap_or_default(),
        rates,
        quality,
        auto: value_of(&written.auto).unwrap_or(!embeddings),
        context_tokens,
        max_output_tokens,
        capabilities,
        parameters: ParameterLimits {
            refuses,
            max_completion_tokens: value_of(&written.parameters.max_completion_tokens).unwrap_or_default(),
            reasoning: value_of(&written.parameters.reasoning).unwrap_or_default(),
            efforts: value_of(&written.parameters.efforts).unwrap_or_default(),
        },
        token_ratio,
        added: AddedTokens {
            request: value_of(&written.added_tokens.request).unwrap_or_default(),
            tools: value_of(&written.added_tokens.tools).unwrap_or_default(),
        },
        retires_on: value_of(&written.retires_on),
    })
}

/// The prices, where there are any; a cache price that is not written is that of input.
fn rates(written: &WrittenModel, embeddings: bool, problems: &mut Vec<ConfigError>) -> Option<Rates> {
    let output = value_of(&written.output).or(embeddings.then(Default::default));
    let (input, output) = match (value_of(&written.input), output) {
        (Some(input), Some(output)) => (input, output),
        (None, None) | (None, Some(_)) if no_price(written) => return None,
        _ => {
            let message = "a price needs both input and output (USD per million tokens)";
            problems.push(ConfigError::new(written.place.clone(), message));
            return None;
        }
    };
    let long_context = written.long_context.as_ref().and_then(|long| long_context(long, problems));
    Some(Rates {
        input,
        cached_input: value_of(&written.cached_input).unwrap_or(input),
        cache_write: value_of(&written.cache_write).unwrap_or(input),
        output,
        long_context,
    })
}

fn no_price(written: &WrittenModel) -> bool {
    let prices = [&written.input, &written.cached_input, &written.cache_write, &written.output];
    prices.iter().all(|price| price.is_none()) && written.long_context.is_none()
}

fn long_context(written: &WrittenLongContext, problems: &mut Vec<ConfigError>) -> Option<LongContext> {
    let all = (value_of(&written.threshold_tokens), value_of(&written.input), value_of(&written.output));
    let (Some(threshold_tokens), Some(input), Some(output)) = all else {
        problems.push(ConfigError::new(written.place.clone(), "needs threshold_tokens, input and output"));
        return None;
    };
    Some(LongContext { threshold_tokens, input, output })
}

/// Bounds of a fraction.
struct Range {
    above: f64,
    most: f64,
}

fn within(found: &Option<Found<f64>>, default: f64, range: Range, problems: &mut Vec<ConfigError>) -> f64 {
    match found {
        None => default,
        Some(found) if found.value > range.above && found.value <= range.most => found.value,
        Some(found) => {
            let message = format!("must be above {} and at most {}, not {}", range.above, range.most, found.value);
            problems.push(ConfigError::new(found.place.clone(), message));
            default
        }
    }
}

fn value_of<T: Clone>(found: &Option<Found<T>>) -> Option<T> {
    found.as_ref().map(|found| found.value.clone())
}
