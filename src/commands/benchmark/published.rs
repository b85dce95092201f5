//! The published benchmark: a typical mix of requests, decided with the catalogue of its day, and its claims beside what comes out.

use std::collections::BTreeMap;

use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::decision::{Decision, exponent};
use anyhow::Context;
use comfy_table::Table;
use serde::Deserialize;
use serde_json::{Value, json};

use super::plot::Plot;
use super::policy::Policy;
use super::table;
use crate::gateway::prepare::AUTO;

const PROMPTS: &str = include_str!("prompts.toml");
const CHEAP: &str = "gpt-4o-mini";
const FRONTIER: &str = "gpt-4o";
const REASONER: &str = "claude-sonnet-4-5";

/// Shares at which a claim about where prompts go holds.
const ALMOST_ALL: f64 = 0.95;
const MOST: f64 = 2.0 / 3.0;
/// Savings in per cent that count as about half.
const ABOUT_HALF: std::ops::RangeInclusive<f64> = 35.0..=65.0;

/// How demanding a prompt is, by the judgement of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Label {
    Simple,
    Standard,
    Complex,
}

impl Label {
    const ALL: [Self; 3] = [Self::Simple, Self::Standard, Self::Complex];

    fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Standard => "standard",
            Self::Complex => "complex",
        }
    }
}

/// A prompt that the program carries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompt {
    label: Label,
    system: Option<String>,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    prompts: Vec<Prompt>,
}

impl Prompt {
    /// All of them.
    pub(super) fn all() -> anyhow::Result<Vec<Self>> {
        let written: Written = toml::from_str(PROMPTS).context("the benchmark's prompts cannot be read")?;
        Ok(written.prompts)
    }

    /// Its Chat Completions body.
    pub(super) fn body(&self) -> Value {
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let messages: Vec<Value> = system.chain([json!({"role": "user", "content": self.text})]).collect();
        json!({"model": AUTO, "messages": messages})
    }
}

/// One prompt with its decision.
struct Decided {
    prompt: Prompt,
    decision: Decision,
}

impl Decided {
    fn chosen(&self) -> &str {
        self.decision.chosen().map_or("", |candidate| candidate.model.as_str())
    }

    fn candidate(&self, model: &str) -> Option<(NanoUsd, f64)> {
        let candidate = self.decision.candidates.iter().find(|candidate| candidate.model.as_str() == model)?;
        let chance = candidate.quality.powf(exponent(self.decision.complexity));
        Some((candidate.raw?, chance))
    }
}

/// What a way to route comes to over the mix.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    cost: NanoUsd,
    /// Mean of the formula's own estimate of a good answer, `quality ^ exponent`.
    chance: f64,
}

/// One claim and what was measured.
struct Claim {
    says: &'static str,
    measured: String,
    holds: bool,
}

/// The whole benchmark, decided.
pub(super) struct Published {
    decided: Vec<Decided>,
}

impl Published {
    /// Decides every prompt.
    pub(super) fn run(policy: &Policy, mut tick: impl FnMut()) -> anyhow::Result<Self> {
        let mut decided = Vec::new();
        for prompt in Prompt::all()? {
            let decision = policy.decide(&prompt.body())?;
            decided.push(Decided { prompt, decision });
            tick();
        }
        Ok(Self { decided })
    }

    fn labelled(&self, label: Label) -> impl Iterator<Item = &Decided> {
        self.decided.iter().filter(move |decided| decided.prompt.label == label)
    }

    /// What some prompts cost and promise with one model for all, or (`None`) with the one that was chosen for each.
    fn total<'a>(&self, prompts: impl Iterator<Item = &'a Decided>, model: Option<&str>) -> Total {
        let (mut total, mut count) = (Total::default(), 0.0);
        for decided in prompts {
            if let Some((cost, chance)) = decided.candidate(model.unwrap_or(decided.chosen())) {
                total.cost += cost;
                total.chance += chance;
                count += 1.0;
            }
        }
        Total { chance: if count > 0.0 { total.chance / count } else { 0.0 }, ..total }
    }

    /// How many prompts of a label went to each model.
    fn went(&self, label: Label) -> BTreeMap<&str, usize> {
        let mut went = BTreeMap::new();
        for decided in self.labelled(label) {
            *went.entry(decided.chosen()).or_default() += 1;
        }
        went
    }

    fn claims(&self) -> [Claim; 4] {
        let share = |label, model: &str| {
            let all = self.labelled(label).count();
            let some = self.went(label).get(model).copied().unwrap_or(0);
            (format!("{some} of {all}"), some as f64 / all.max(1) as f64)
        };
        let saved = |label: Option<Label>, against: &str| {
            let chosen = |decided: &&Decided| label.is_none_or(|label| decided.prompt.label == label);
            let cost = |model| self.total(self.decided.iter().filter(chosen), model).cost.as_usd_f64();
            100.0 * (1.0 - cost(None) / cost(Some(against)))
        };
        let (simple, simple_share) = share(Label::Simple, CHEAP);
        let (complex, complex_share) = share(Label::Complex, REASONER);
        let cheaper = saved(Some(Label::Simple), FRONTIER);
        let half = saved(None, FRONTIER);
        [
            Claim {
                says: "simple tasks go to gpt-4o-mini (95 % or more)",
                measured: simple,
                holds: simple_share >= ALMOST_ALL,
            },
            Claim {
                says: "simple tasks cost 94 % less than with gpt-4o",
                measured: format!("{cheaper:.1} % less"),
                holds: (93.0..=95.0).contains(&cheaper),
            },
            Claim {
                says: "complex reasoning goes to claude-sonnet-4-5 (two thirds or more)",
                measured: complex,
                holds: complex_share >= MOST,
            },
            Claim {
                says: "a typical mix costs about half of one frontier model, gpt-4o (35 to 65 % less)",
                measured: format!("{half:.1} % less"),
                holds: ABOUT_HALF.contains(&half),
            },
        ]
    }

    /// Whether all claims hold.
    pub(super) fn holds(&self) -> bool {
        self.claims().iter().all(|claim| claim.holds)
    }

    fn policies(&self) -> [(&'static str, Option<&'static str>); 4] {
        [
            ("routed", None),
            ("all gpt-4o-mini", Some(CHEAP)),
            ("all gpt-4o", Some(FRONTIER)),
            ("all claude-sonnet-4-5", Some(REASONER)),
        ]
    }

    /// The tables.
    pub(super) fn page(&self) -> String {
        let mut went =
            table(["label", "prompts", "complexity", "chosen", "cost $", "all gpt-4o $", "saved"], &[1, 2, 4, 5, 6]);
        for label in Label::ALL {
            let all: Vec<_> = self.labelled(label).collect();
            let complexity: f64 = all.iter().map(|decided| decided.decision.complexity).sum::<f64>() / all.len() as f64;
            let chosen: Vec<_> =
                self.went(label).into_iter().map(|(model, count)| format!("{count} {model}")).collect();
            let cost = |model| self.total(self.labelled(label), model).cost;
            let (routed, frontier) = (cost(None), cost(Some(FRONTIER)));
            went.add_row([
                label.name().to_owned(),
                all.len().to_string(),
                format!("{complexity:.3}"),
                chosen.join(", "),
                routed.to_string(),
                frontier.to_string(),
                percent(routed, frontier),
            ]);
        }
        format!(
            "Routing benchmark: {} prompts, catalogue config/benchmark-catalogue.toml\n\n{went}\n\n{}\n\n{}\n",
            self.decided.len(),
            self.costs(),
            self.told()
        )
    }

    fn costs(&self) -> Table {
        let mut table = table(
            ["routing", "cost $", "beside all claude-sonnet-4-5", "estimated chance of a good answer"],
            &[1, 2, 3],
        );
        let dearest = self.total(self.decided.iter(), Some(REASONER)).cost;
        for (name, model) in self.policies() {
            let total = self.total(self.decided.iter(), model);
            table.add_row([
                name.to_owned(),
                total.cost.to_string(),
                percent(total.cost, dearest),
                format!("{:.3}", total.chance),
            ]);
        }
        table
    }

    fn told(&self) -> Table {
        let mut table = table(["claim", "measured", ""], &[]);
        for claim in self.claims() {
            let verdict = if claim.holds { "holds" } else { "does not hold" };
            table.add_row([claim.says, &claim.measured, verdict]);
        }
        table
    }

    /// The same as JSON.
    pub(super) fn to_json(&self) -> Value {
        let prompts: Vec<Value> = self
            .decided
            .iter()
            .map(|decided| {
                let costs = [CHEAP, FRONTIER, REASONER].into_iter().filter_map(|model| {
                    let (cost, _) = decided.candidate(model)?;
                    Some((model.to_owned(), Value::from(cost.to_string())))
                });
                json!({
                    "label": decided.prompt.label.name(),
                    "text": decided.prompt.text,
                    "complexity": decided.decision.complexity,
                    "chosen": decided.chosen(),
                    "costs_usd": costs.collect::<serde_json::Map<_, _>>(),
                })
            })
            .collect();
        let routings = self.policies().map(|(name, model)| {
            let total = self.total(self.decided.iter(), model);
            json!({"routing": name, "cost_usd": total.cost.to_string(), "estimated_chance": total.chance})
        });
        let claims =
            self.claims().map(|claim| json!({"claim": claim.says, "measured": claim.measured, "holds": claim.holds}));
        json!({"prompts": prompts, "routings": routings, "claims": claims})
    }

    /// Cost and estimated chance of each way to route.
    pub(super) fn plot(&self) -> Plot {
        let mut plot =
            Plot::new("Cost and estimated quality of the benchmark's mix", "cost, USD", "chance of a good answer");
        for (name, model) in self.policies() {
            let total = self.total(self.decided.iter(), model);
            plot.point(name, (total.cost.as_usd_f64(), total.chance));
        }
        plot
    }
}

/// How much less one amount is than another.
fn percent(cost: NanoUsd, than: NanoUsd) -> String {
    format!("{:.1} %", 100.0 * (1.0 - cost.as_usd_f64() / than.as_usd_f64()))
}
