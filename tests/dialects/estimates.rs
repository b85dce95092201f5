//! How far the estimate of input tokens is off, held against what providers counted for recorded requests.
//!
//! `cargo test --test dialects estimates -- --nocapture` prints a line for each provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use aipipe::config::{self, Environment};
use aipipe::dialects::client::Addressed;
use aipipe::dialects::surface;
use aipipe_actors::catalogue::{Catalogue, Model};
use aipipe_actors::routing::digest::ClientDialect;
use serde_json::Value;

use crate::recordings::{Exchange, events, exchanges};

const DIALECTS: [(&str, ClientDialect); 6] = [
    ("openai-chat", ClientDialect::Chat),
    ("openai-responses", ClientDialect::Responses),
    ("anthropic-messages", ClientDialect::Messages),
    ("anthropic-count-tokens", ClientDialect::Messages),
    ("gemini", ClientDialect::Gemini),
    ("gemini-count-tokens", ClientDialect::Gemini),
];
/// Where a provider's count stands in its answer or in an event of its stream; several add up.
const COUNTS: [&[&str]; 6] = [
    &["/usage/prompt_tokens"],
    &["/response/usage/input_tokens"],
    &[
        "/message/usage/input_tokens",
        "/message/usage/cache_read_input_tokens",
        "/message/usage/cache_creation_input_tokens",
    ],
    &["/usage/input_tokens", "/usage/cache_read_input_tokens", "/usage/cache_creation_input_tokens"],
    &["/usageMetadata/promptTokenCount"],
    &["/totalTokens"],
];
/// What a request names and does not hold, or what a provider adds for a tool of its own: its count then says nothing of the estimate.
const BEYOND_THE_TEXT: [&str; 17] = [
    "\"previous_response_id\":\"",
    "\"cachedContent\":\"",
    "\"file_id\"",
    "\"fileUri\"",
    "item_reference",
    "web_search",
    "web_fetch",
    "tool_search",
    "computer_",
    "code_execution",
    "googleSearch",
    "google_search",
    "code_interpreter",
    "file_search",
    "mcp_",
    "\"mcp\"",
    "urlContext",
];
/// Signs of images, sound and documents, which are taken at a fixed size.
const ATTACHED: [&str; 7] =
    ["image", "input_audio", "inlineData", "inline_data", "file_data", "\"document\"", "\"source\""];
/// Of so short a request the frame that a provider puts around it is most.
const SHORT: u64 = 100;

/// So many requests say something of a provider.
const ENOUGH: usize = 10;
/// Above it the figures of a family in the catalogue are wrong.
const WORST_MEDIAN: f64 = 0.3;

/// One request: the estimate and the provider's own count.
#[derive(Debug, Clone, Copy)]
struct Pair {
    estimated: u64,
    counted: u64,
}

impl Pair {
    /// Estimated less counted, as a part of the counted.
    fn error(self) -> f64 {
        self.estimated as f64 / self.counted as f64 - 1.0
    }
}

/// The provider's count of the input of an exchange.
fn counted(exchange: &Exchange) -> Option<u64> {
    let streamed = exchange.stream.iter().flat_map(|stream| events([stream.as_bytes()]));
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let documents: Vec<Value> =
        streamed.filter_map(|event| read(event.data())).chain([exchange.body.clone()]).collect();
    let count = |document: &Value| {
        let sum = |paths: &[&str]| paths.iter().filter_map(|path| document.pointer(path)?.as_u64()).sum::<u64>();
        let own = COUNTS.iter().map(|paths| sum(paths)).find(|count| *count > 0);
        // The count endpoint of Anthropic, and Responses that came whole.
        own.or_else(|| document.pointer("/input_tokens").and_then(Value::as_u64))
    };
    documents.iter().rev().find_map(count)
}

/// The estimate for the model that was asked, as routing takes it.
fn estimated(exchange: &Exchange, dialect: ClientDialect, catalogue: &Catalogue) -> Option<u64> {
    let mut request = exchange.request.clone()?;
    if let Some(wrapped) = request.get_mut("generateContentRequest") {
        request = wrapped.take();
    }
    let text = request.to_string();
    if BEYOND_THE_TEXT.iter().chain(&ATTACHED).any(|sign| text.contains(sign)) {
        return None;
    }
    let scanned = surface(dialect).scan(text.as_bytes(), &Addressed { model: Some("m"), stream: false }).ok()?;
    let facts = scanned.facts();
    let name = request["model"].as_str().unwrap_or_default();
    // Figures belong to a family: in place of a model that has retired its nearest relation at the provider is taken.
    let kinship = |model: &&Arc<Model>| {
        model.id.as_str().bytes().zip(name.bytes()).take_while(|(own, other)| own == other).count()
    };
    let relation =
        || catalogue.models().iter().filter(|model| model.provider.as_str() == exchange.provider).max_by_key(kinship);
    let model = catalogue.at_provider(&exchange.provider, name).or_else(relation)?;
    Some(model.input_tokens(facts.demand.input_tokens, facts.demand.needs))
}

/// What the pairs of a provider come to, as cells of a table: how many, median and 90th percentile of the error's size, and its bias.
fn cells(pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return "0 | | | ".to_owned();
    }
    let sum = |of: fn(&Pair) -> u64| pairs.iter().map(of).sum::<u64>() as f64;
    let bias = sum(|pair| pair.estimated) / sum(|pair| pair.counted) - 1.0;
    let (median, high) = (quantile(pairs, 0.5), quantile(pairs, 0.9));
    format!("{} | {:.0} % | {:.0} % | {:+.0} %", pairs.len(), median * 100.0, high * 100.0, bias * 100.0)
}

/// A quantile of the error's size.
fn quantile(pairs: &[Pair], part: f64) -> f64 {
    let mut sizes: Vec<f64> = pairs.iter().map(|pair| pair.error().abs()).collect();
    sizes.sort_by(f64::total_cmp);
    sizes[((sizes.len() - 1) as f64 * part).round() as usize]
}

#[test]
fn the_estimates_error_is_known_for_each_provider() {
    let database = ("AIPIPE_DATABASE".to_owned(), "unused.db".to_owned());
    let config = config::load(None, &Environment::from_iter([database])).unwrap_or_else(|errors| panic!("{errors}"));
    let mut pairs: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    for (name, dialect) in DIALECTS {
        for exchange in exchanges(name).into_iter().flatten().filter(|exchange| exchange.status == 200) {
            let counted = counted(&exchange).filter(|counted| *counted > 0);
            if let (Some(counted), Some(estimated)) = (counted, estimated(&exchange, dialect, &config.catalogue)) {
                pairs.entry(exchange.provider).or_default().push(Pair { estimated, counted });
            }
        }
    }
    println!(
        "| provider | requests | median | 90th percentile | bias | of {SHORT} tokens and more | median | 90th percentile | bias |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (provider, pairs) in &pairs {
        let long: Vec<Pair> = pairs.iter().copied().filter(|pair| pair.counted >= SHORT).collect();
        println!("| {provider} | {} | {} |", cells(pairs), cells(&long));
        assert!(long.len() < ENOUGH || quantile(&long, 0.5) < WORST_MEDIAN, "{provider}: the estimate is far off");
    }
}
