//! Two configurations over the same prompts: what each would choose and what that is expected to cost.

use std::collections::BTreeMap;
use std::path::Path;

use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::decision::{Decision, exponent};
use serde_json::{Value, json};

use super::curve::RESAMPLES;
use super::policy::Policy;
use super::table;

/// Prompts of which the choices are listed at most.
const LISTED: usize = 20;

/// What one configuration did.
#[derive(Debug, Default)]
struct Side {
    cost: NanoUsd,
    /// Sum of the formula's own estimates of a good answer.
    chance: f64,
    unserved: usize,
    models: BTreeMap<String, usize>,
}

impl Side {
    fn add(&mut self, decision: &Decision) -> Option<(String, NanoUsd)> {
        let Some(chosen) = decision.chosen() else {
            self.unserved += 1;
            return None;
        };
        let name = format!("{}/{}", chosen.provider, chosen.model);
        let cost = chosen.raw.unwrap_or(NanoUsd::ZERO);
        self.cost += cost;
        self.chance += chosen.quality.powf(exponent(decision.complexity));
        *self.models.entry(name.clone()).or_default() += 1;
        Some((name, cost))
    }
}

/// Both, prompt by prompt.
pub(super) struct Comparison {
    names: [String; 2],
    sides: [Side; 2],
    /// Prompts that both serve: what the second costs more, in USD.
    differences: Vec<f64>,
    /// Prompts that go elsewhere: complexity and both choices.
    moved: Vec<(f64, String, String)>,
    prompts: usize,
}

impl Comparison {
    /// Decides every body with both.
    pub(super) fn run(files: [&Path; 2], bodies: &[Value], mut tick: impl FnMut()) -> anyhow::Result<Self> {
        let [first, second] = files;
        let policies = [Policy::of(first)?, Policy::of(second)?];
        let mut comparison = Self {
            names: files.map(|file| file.display().to_string()),
            sides: Default::default(),
            differences: Vec::new(),
            moved: Vec::new(),
            prompts: bodies.len(),
        };
        for body in bodies {
            let [left, right] = &policies;
            let (left, right) = (left.decide(body)?, right.decide(body)?);
            let [first, second] = &mut comparison.sides;
            if let (Some((from, before)), Some((to, after))) = (first.add(&left), second.add(&right)) {
                comparison.differences.push(after.as_usd_f64() - before.as_usd_f64());
                if from != to {
                    comparison.moved.push((left.complexity, from, to));
                }
            }
            tick();
        }
        Ok(comparison)
    }

    /// The mean difference a request with its 95 % interval (paired bootstrap).
    fn difference(&self) -> [f64; 3] {
        let count = self.differences.len().max(1);
        let mean = |sum: f64| sum / count as f64;
        let mut random = fastrand::Rng::with_seed(1);
        let mut draws: Vec<f64> = (0..RESAMPLES)
            .map(|_| mean((0..self.differences.len()).filter_map(|_| random.choice(&self.differences)).sum()))
            .collect();
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| draws.get((share * (draws.len() - 1) as f64).round() as usize).copied().unwrap_or(0.0);
        [mean(self.differences.iter().sum()), at(0.025), at(0.975)]
    }

    fn chance(&self, side: &Side) -> f64 {
        side.chance / (self.prompts - side.unserved).max(1) as f64
    }

    /// The tables.
    pub(super) fn page(&self) -> String {
        let mut totals =
            table(["configuration", "cost $", "estimated chance of a good answer", "unserved"], &[1, 2, 3]);
        let mut models = table(["configuration", "model", "prompts"], &[2]);
        for (name, side) in self.names.iter().zip(&self.sides) {
            totals.add_row([
                name.clone(),
                side.cost.to_string(),
                format!("{:.3}", self.chance(side)),
                side.unserved.to_string(),
            ]);
            for (model, count) in &side.models {
                models.add_row([name, model, &count.to_string()]);
            }
        }
        let mut moved = table(["complexity", "from", "to"], &[0]);
        for (complexity, from, to) in self.moved.iter().take(LISTED) {
            moved.add_row([&format!("{complexity:.3}"), from, to]);
        }
        let [mean, low, high] = self.difference();
        let rest = self.moved.len().saturating_sub(LISTED);
        let more = if rest > 0 { format!("\n… and {rest} more") } else { String::new() };
        format!(
            "{} prompts; {} go elsewhere with the second configuration\n\n{totals}\n\n{models}\n\n{moved}{more}\n\n\
             the second costs {:+.9} $ a request, 95 % interval {low:+.9} to {high:+.9} (paired bootstrap)\n",
            self.prompts,
            self.moved.len(),
            mean
        )
    }

    /// The same as JSON.
    pub(super) fn to_json(&self) -> Value {
        let sides: Vec<Value> = self
            .names
            .iter()
            .zip(&self.sides)
            .map(|(name, side)| {
                json!({
                    "configuration": name, "cost_usd": side.cost.to_string(), "estimated_chance": self.chance(side),
                    "unserved": side.unserved, "models": side.models,
                })
            })
            .collect();
        let moved: Vec<Value> = self
            .moved
            .iter()
            .map(|(complexity, from, to)| json!({"complexity": complexity, "from": from, "to": to}))
            .collect();
        let [value, low, high] = self.difference();
        json!({
            "prompts": self.prompts, "sides": sides, "moved": moved,
            "difference_usd_a_request": {"value": value, "low": low, "high": high},
        })
    }
}
