//! The choice among models: filters, then the formula. A pure function of what is known at this moment.

use std::sync::Arc;

use jiff::civil::Date;

use super::decision::{Basis, Bias, Decision, Learned, Reason, Weighed, exponent};
use super::digest::{Digest, Requested};
use super::evidence::{Task, shifted};
use super::signals::Signals;
use crate::catalogue::{Capability, Catalogue, Model};
use crate::identity::TenantId;
use crate::money::{NanoUsd, Tokens};

/// Output tokens expected of an answer whose length nobody limits.
pub const EXPECTED_OUTPUT_TOKENS: u64 = 400;
/// Thinking tokens expected beside them of a model that reasons.
pub const EXPECTED_REASONING_TOKENS: u64 = 600;

/// What is known of a model at this moment, beside the catalogue.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It can be asked; the penalty is at least 1.
    Ready {
        /// From its health.
        penalty: f64,
    },
    /// It cannot, for this reason.
    Barred(Reason),
}

/// How complex the request is, with where that came from.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// In 0..=1.
    pub complexity: f64,
    /// How it came about.
    pub basis: Basis,
    /// What it was shifted by.
    pub bias: Option<Bias>,
    /// The five signals.
    pub signals: Signals,
}

/// All that a choice depends on.
pub struct Situation<'a> {
    /// Whose request.
    pub tenant: &'a TenantId,
    /// The request.
    pub digest: &'a Digest,
    /// Its complexity.
    pub scored: Scored,
    /// The models.
    pub catalogue: &'a Catalogue,
    /// Names (`model`, `provider/model`) that the tenant may use; `None`: all.
    pub allowed: Option<&'a [String]>,
    /// Least quality of what `auto` chooses for the tenant.
    pub min_quality: Option<f64>,
    /// What the tenant's requests have taught; `None`: nothing.
    pub learned: Option<&'a dyn Lessons>,
    /// The day (UTC).
    pub today: Date,
}

/// What was learned of models.
pub trait Lessons {
    /// What a model's quality is shifted by for this kind of task, in logits; 0 where nothing is known.
    fn shift(&self, model: &Model, task: Task) -> f64;
}

/// A choice: the explained decision, and the models of its eligible candidates in the same order.
pub struct Choice {
    /// What was weighed.
    pub decision: Decision,
    /// The eligible models by rank.
    pub ranked: Vec<Arc<Model>>,
}

/// Whether `pattern` (`model`, `provider/model` or `provider`) means this model.
fn names(pattern: &str, model: &Model) -> bool {
    let is = |text: &str| model.id.as_str() == text || model.aliases.iter().any(|alias| alias.as_str() == text);
    match pattern.strip_prefix(model.provider.as_str()).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) if is(rest) => true,
        _ => is(pattern) || pattern == model.provider.as_str(),
    }
}

/// The place of a model in a list of names; `None`: it is not in it.
fn place_in(list: &[String], model: &Model) -> Option<usize> {
    list.iter().position(|pattern| names(pattern, model))
}

/// Whether a tenant that may use the models of `allowed` (`None`: all) may use this one.
pub fn is_allowed(allowed: Option<&[String]>, model: &Model) -> bool {
    allowed.is_none_or(|allowed| place_in(allowed, model).is_some())
}

/// The most output tokens that an answer of this model can have for this request: what a reservation must cover.
pub fn output_bound(digest: &Digest, model: &Model) -> u64 {
    let limit = digest.demand.output_limit.unwrap_or(u64::MAX).min(model.max_output_tokens.max(1));
    limit.saturating_mul(u64::from(digest.demand.choices.max(1)))
}

/// The most input tokens that this model's provider can count.
fn input_bound(digest: &Digest, model: &Model) -> u64 {
    digest.demand.input_bound.saturating_add(model.added_tokens(digest.demand.needs))
}

/// The most that one attempt with this model can cost.
pub fn worst_case(digest: &Digest, model: &Model) -> NanoUsd {
    model
        .rates
        .map_or(NanoUsd::ZERO, |rates| rates.upper_bound(input_bound(digest, model), output_bound(digest, model)))
}

/// The tokens expected of an answer by this model, in its own tokens.
pub fn expected_tokens(digest: &Digest, model: &Model) -> Tokens {
    let thinks = model.capabilities.contains(Capability::Reasoning);
    let visible = EXPECTED_OUTPUT_TOKENS.saturating_mul(u64::from(digest.demand.choices.max(1)));
    let reasoning = if thinks { EXPECTED_REASONING_TOKENS } else { 0 };
    let output = model.own_tokens(visible + reasoning).min(output_bound(digest, model));
    Tokens { input: model.input_tokens(digest.demand.input_tokens, digest.demand.needs), output, ..Tokens::default() }
}

impl Situation<'_> {
    /// Weighs every candidate; `standing` tells what is known of a model now.
    pub fn choose(&self, standing: impl Fn(&Model) -> Standing) -> Choice {
        let preferences = &self.digest.preferences;
        let exponent = exponent(self.scored.complexity);
        let task = Task::of(self.digest, &self.scored.signals);
        let mut eligible: Vec<(usize, f64, Weighed, Arc<Model>)> = Vec::new();
        let mut others: Vec<Weighed> = Vec::new();
        for (place, model) in self.field() {
            let Some(preference) = self.preference(model) else { continue };
            let (quality, learned) = self.quality(model, task);
            let (reason, penalty) = match self.bar(model, quality) {
                Some(reason) => (Some(reason), 1.0),
                None => match standing(model) {
                    Standing::Ready { penalty } => (None, penalty.max(1.0)),
                    Standing::Barred(reason) => (Some(reason), 1.0),
                },
            };
            let expected = expected_tokens(self.digest, model);
            let raw = model.rates.map(|rates| rates.cost(&expected));
            let over_cost = preferences.max_cost.is_some_and(|most| raw.is_some_and(|raw| raw > most));
            let reason = reason.or(over_cost.then_some(Reason::MaxCost));
            let weighed = Weighed {
                place,
                provider: model.provider.clone(),
                model: model.id.clone(),
                reason,
                raw,
                input_tokens: expected.input,
                output_tokens: expected.output,
                quality,
                learned,
                penalty,
            };
            match weighed.reason {
                None => eligible.push((preference, weighed.effective(exponent), weighed, model.clone())),
                Some(_) => others.push(weighed),
            }
        }
        // The catalogue is sorted by provider and id and the sort is stable: that breaks ties.
        eligible.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut candidates = Vec::with_capacity(eligible.len() + others.len());
        let mut ranked = Vec::with_capacity(eligible.len());
        for (_, _, weighed, model) in eligible {
            candidates.push(weighed);
            ranked.push(model);
        }
        candidates.append(&mut others);
        let decision = Decision {
            tenant: self.tenant.clone(),
            requested: self.digest.requested_text.clone(),
            complexity: self.scored.complexity,
            basis: self.scored.basis,
            signals: self.scored.signals,
            input_tokens: self.digest.demand.input_tokens,
            output_tokens: self.expected_output(),
            task,
            explored: false,
            bias: self.scored.bias,
            conversation: None,
            lineup: self.catalogue.lineup().id(),
            candidates,
        };
        Choice { decision, ranked }
    }

    /// The models that may be candidates at all, with their places in the catalogue: of a named model those of that name alone, where
    /// nothing is listed to fall back to.
    fn field(&self) -> impl Iterator<Item = (u32, &Arc<Model>)> {
        let named = match &self.digest.requested {
            Requested::Named { model, .. } if self.digest.preferences.models.is_empty() => Some(model),
            _ => None,
        };
        let others = if named.is_some() { 0 } else { usize::MAX };
        let all = (0..).zip(self.catalogue.models()).take(others);
        named.into_iter().flat_map(|name| self.catalogue.placed(name)).chain(all)
    }

    /// The quality that counts, and how it came about where something was learned.
    fn quality(&self, model: &Model, task: Task) -> (f64, Option<Learned>) {
        let prior = model.quality;
        let shift = self.learned.map_or(0.0, |lessons| lessons.shift(model, task));
        (shifted(prior, shift), (shift != 0.0).then_some(Learned { prior, shift }))
    }

    /// Whether the model is a candidate at all, and in which group: a named model comes before the models listed to fall back to, in
    /// their order; all that `auto` chooses from stand in one group, where the formula decides.
    fn preference(&self, model: &Model) -> Option<usize> {
        let listed = &self.digest.preferences.models;
        match &self.digest.requested {
            Requested::Auto if listed.is_empty() => (model.auto && !self.is_embedding(model)).then_some(0),
            Requested::Auto => place_in(listed, model).map(|_| 0),
            Requested::Named { provider, model: name } => {
                let by_provider = provider.as_ref().is_none_or(|provider| model.provider.as_str() == provider);
                let by_name = model.id.as_str() == name || model.aliases.iter().any(|alias| alias.as_str() == name);
                if by_provider && by_name { Some(0) } else { place_in(listed, model).map(|place| place + 1) }
            }
        }
    }

    fn is_embedding(&self, model: &Model) -> bool {
        model.capabilities.contains(Capability::Embeddings)
    }

    /// The first reason within the request and the catalogue to pass this model over.
    fn bar(&self, model: &Model, quality: f64) -> Option<Reason> {
        let preferences = &self.digest.preferences;
        let embeds = self.digest.demand.needs.contains(Capability::Embeddings);
        if model.retired(self.today) || (self.is_embedding(model) && !embeds) {
            return Some(Reason::Disabled);
        }
        if !is_allowed(self.allowed, model) {
            return Some(Reason::NotAllowed);
        }
        let provider_excluded = !preferences.providers.is_empty()
            && !preferences.providers.iter().any(|name| name == model.provider.as_str());
        if provider_excluded || place_in(&preferences.exclude, model).is_some() {
            return Some(Reason::Excluded);
        }
        if let Some(missing) = model.capabilities.first_missing(self.digest.demand.needs) {
            return Some(Reason::Capability(missing));
        }
        if let Some(refused) = self.digest.demand.parameters.iter().find(|name| model.parameters.refuses(name)) {
            return Some(Reason::parameter(refused));
        }
        let room = self.digest.demand.output_limit.unwrap_or(1).min(model.max_output_tokens);
        let needed = model.input_tokens(self.digest.demand.input_tokens, self.digest.demand.needs).saturating_add(room);
        // The context of an embedding model holds one input, not all of a request: the provider judges each.
        if needed > model.context_tokens && !embeds {
            return Some(Reason::ContextLength);
        }
        let settled = self.min_quality.filter(|_| self.digest.requested == Requested::Auto);
        if preferences.min_quality.into_iter().chain(settled).any(|least| quality < least) {
            return Some(Reason::MinQuality);
        }
        if model.rates.is_none() && self.digest.requested == Requested::Auto {
            return Some(Reason::Unpriced);
        }
        None
    }

    fn expected_output(&self) -> u64 {
        EXPECTED_OUTPUT_TOKENS
            .saturating_mul(u64::from(self.digest.demand.choices.max(1)))
            .min(self.digest.demand.output_limit.unwrap_or(u64::MAX))
    }
}
