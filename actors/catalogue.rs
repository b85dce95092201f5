//! What is known of each model: prices, limits, capabilities, quality, lifecycle.
//!
//! The facts come from a data file and the operator's configuration; a catalogue is immutable once built and replaced as a whole on
//! reload, so that a decision can name the revision it was made with.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::identity::{ModelId, ProviderId};
use crate::money::Rates;
use crate::routing::lineup::Lineup;

/// One thing that a request may need and a model may be able to do. Text and streaming go without saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Capability {
    /// Function calling.
    Tools,
    /// Several tool calls in one answer, and switching that off.
    ParallelTools,
    /// Images given as data.
    Images,
    /// Documents (PDF) given as data.
    Documents,
    /// Audio given as data.
    Audio,
    /// Answers that follow a JSON schema.
    JsonSchema,
    /// Images given by URL: the provider fetches them.
    ImageUrl,
    /// Thinks before it answers; the thoughts are billed as output.
    Reasoning,
    /// Continues a last assistant message.
    Prefill,
    /// Log probabilities of tokens.
    Logprobs,
    /// Several choices in one answer.
    N,
    /// Produces embeddings instead of chat answers.
    Embeddings,
}

impl Capability {
    /// All of them, in the order in which they are named to people.
    pub const ALL: [Self; 12] = [
        Self::Tools,
        Self::ParallelTools,
        Self::Images,
        Self::Documents,
        Self::Audio,
        Self::JsonSchema,
        Self::ImageUrl,
        Self::Reasoning,
        Self::Prefill,
        Self::Logprobs,
        Self::N,
        Self::Embeddings,
    ];

    /// The name used in configuration and in `capability:<name>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::Images => "images",
            Self::Documents => "documents",
            Self::Audio => "audio",
            Self::JsonSchema => "json_schema",
            Self::ImageUrl => "image_url",
            Self::Reasoning => "reasoning",
            Self::Prefill => "prefill",
            Self::Logprobs => "logprobs",
            Self::N => "n",
            Self::Embeddings => "embeddings",
        }
    }
}

/// A set of capabilities in one word.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// This set with one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// Adds one.
    pub fn insert(&mut self, capability: Capability) {
        *self = self.with(capability);
    }

    /// Whether it holds this one.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// The first of `needed` that is missing here.
    pub fn first_missing(self, needed: Self) -> Option<Capability> {
        let missing = needed.0 & !self.0;
        Capability::ALL.into_iter().find(|&c| missing & (1 << c as u8) != 0)
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter().fold(Self::NONE, Self::with)
    }
}

/// How much a model is asked to think, from none to all it can; the union of the providers' scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// No reasoning.
    None,
    /// As little as the model can.
    Minimal,
    /// Little.
    Low,
    /// The provider's usual amount.
    Medium,
    /// Much.
    High,
    /// More than high.
    Xhigh,
    /// All that the model can.
    Max,
}

/// How reasoning is asked for in the provider's own dialect.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningControl {
    /// The model takes no such setting.
    #[default]
    None,
    /// By a level of effort (`reasoning_effort`, `thinkingLevel`).
    Level,
    /// By a budget of tokens (`budget_tokens`, `thinkingBudget`).
    Budget,
    /// Adaptive thinking with an effort beside it (Anthropic from Claude 4.6 on).
    Adaptive,
}

/// Which request parameters a model takes; they differ by model, not by provider.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParameterLimits {
    /// Names of Chat Completions parameters (`temperature`, `stop`, …) that the model refuses.
    pub refuses: Vec<String>,
    /// Wants `max_completion_tokens` in place of `max_tokens` (OpenAI's reasoning models).
    pub max_completion_tokens: bool,
    /// How reasoning is asked for.
    pub reasoning: ReasoningControl,
    /// The levels of effort that the model knows, in rising order; empty: unknown, any is passed on.
    pub efforts: Vec<Effort>,
}

impl ParameterLimits {
    /// Whether the model refuses this Chat Completions parameter.
    pub fn refuses(&self, parameter: &str) -> bool {
        self.refuses.iter().any(|name| name == parameter)
    }

    /// The supported level nearest to `asked`, the lower one of two equally near.
    pub fn nearest_effort(&self, asked: Effort) -> Effort {
        let distance = |level: Effort| (level as i8 - asked as i8).abs();
        self.efforts.iter().copied().min_by_key(|&level| (distance(level), level)).unwrap_or(asked)
    }
}

/// Instructions of a provider's own around a request, in tokens of the model: nobody sees them, and they are counted as input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AddedTokens {
    /// To every request.
    pub request: u64,
    /// To a request that declares functions, beside those.
    pub tools: u64,
}

/// One model at one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Who serves it.
    pub provider: ProviderId,
    /// How the provider names it.
    pub id: ModelId,
    /// Other names of the same model at the same provider (dated names, `-latest`).
    pub aliases: Vec<ModelId>,
    /// Prices; a model without is never chosen by `auto`.
    pub rates: Option<Rates>,
    /// The chance of a good answer to a demanding request, above 0 and at most 1.
    pub quality: f64,
    /// Whether `auto` may choose it when nobody named it: enough independent evidence and an agreed price.
    pub auto: bool,
    /// Input and output tokens together.
    pub context_tokens: u64,
    /// Most output tokens of one answer.
    pub max_output_tokens: u64,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Which parameters it takes.
    pub parameters: ParameterLimits,
    /// Tokens of this model's tokenizer for each token of o200k: the factor on estimates. Source: `config/catalogue.toml`.
    pub token_ratio: f64,
    /// Tokens that its provider adds to the input. Source: `config/catalogue.toml`.
    pub added: AddedTokens,
    /// Warned of 30 days ahead; no candidate from this day (UTC) on.
    pub retires_on: Option<Date>,
}

impl Model {
    /// `provider/model`, by which one model of one provider is named everywhere.
    pub fn address(&self) -> String {
        format!("{}/{}", self.provider, self.id)
    }

    /// Whether the provider has retired the model by `today` (UTC).
    pub fn retired(&self, today: Date) -> bool {
        self.retires_on.is_some_and(|day| today >= day)
    }

    /// This model's tokens for an o200k estimate, rounded up.
    pub fn own_tokens(&self, estimate: u64) -> u64 {
        (estimate as f64 * self.token_ratio).ceil() as u64
    }

    /// What the provider will count as the input of a request of so many o200k tokens that needs this.
    pub fn input_tokens(&self, estimate: u64, needs: Capabilities) -> u64 {
        self.own_tokens(estimate).saturating_add(self.added_tokens(needs))
    }

    /// What the provider adds to the input of a request that needs this.
    pub fn added_tokens(&self, needs: Capabilities) -> u64 {
        let tools = if needs.contains(Capability::Tools) { self.added.tools } else { 0 };
        self.added.request.saturating_add(tools)
    }

    /// The context in tokens that all models count alike: by it two models are compared.
    pub fn room(&self) -> f64 {
        self.context_tokens as f64 / self.token_ratio
    }
}

/// All models, sorted by provider and id, with the ways to find them.
#[derive(Debug, Default)]
pub struct Catalogue {
    models: Vec<Arc<Model>>,
    by_name: HashMap<ModelId, Vec<usize>>,
    lineup: Arc<Lineup>,
    revision: u64,
}

impl Catalogue {
    /// Builds a catalogue; where (provider, id) occurs twice the later one holds.
    pub fn new(models: impl IntoIterator<Item = Model>, revision: u64) -> Self {
        let mut unique: Vec<Arc<Model>> = Vec::new();
        let mut position: HashMap<(ProviderId, ModelId), usize> = HashMap::new();
        for model in models {
            let key = (model.provider.clone(), model.id.clone());
            match position.get(&key).and_then(|&at| unique.get_mut(at)) {
                Some(slot) => *slot = Arc::new(model),
                None => {
                    position.insert(key, unique.len());
                    unique.push(Arc::new(model));
                }
            }
        }
        unique.sort_by(|a, b| (&a.provider, &a.id).cmp(&(&b.provider, &b.id)));
        let mut by_name: HashMap<ModelId, Vec<usize>> = HashMap::new();
        for (index, model) in unique.iter().enumerate() {
            for name in std::iter::once(&model.id).chain(&model.aliases) {
                let places: &mut Vec<usize> = by_name.entry(name.clone()).or_default();
                // A model may be its own alias.
                if places.last() != Some(&index) {
                    places.push(index);
                }
            }
        }
        Self { lineup: Lineup::of(&unique).into(), models: unique, by_name, revision }
    }

    /// Counts up with every reload.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Every model, by provider and id.
    pub fn models(&self) -> &[Arc<Model>] {
        &self.models
    }

    /// What decisions have in common that are made with it.
    pub fn lineup(&self) -> &Arc<Lineup> {
        &self.lineup
    }

    /// The models that bear this name at any provider (their own id or an alias).
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Arc<Model>> {
        self.placed(name).map(|(_, model)| model)
    }

    /// The same, each with its place among [`models`](Self::models).
    pub fn placed(&self, name: &str) -> impl Iterator<Item = (u32, &Arc<Model>)> {
        self.by_name.get(name).into_iter().flatten().filter_map(|&at| Some((at as u32, self.models.get(at)?)))
    }

    /// The model that bears this name at this provider.
    pub fn at_provider(&self, provider: &str, name: &str) -> Option<&Arc<Model>> {
        self.named(name).find(|model| model.provider.as_str() == provider)
    }
}
