//! Prompts from a file, with what models scored on them: one JSON object a line, with `messages`, `outcomes` (model to 0..=1) and,
//! optionally, `id`, `source`, `tools`, `tool_defs` and `pair` (weak models, strong models, margin).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::curve::Outcome;
use super::policy::Policy;
use crate::gateway::prepare::AUTO;

const TIERS: &str = include_str!("tiers.toml");
/// By how much the strong tier must do better for a prompt to need it, where nothing else is said.
const MARGIN: f64 = 0.5;
/// A model stands for a tier unasked only where it answered so much of a source.
const ANSWERED: f64 = 0.5;
/// What an answer counts in tokens of input: 400 tokens at four times the price.
const ANSWER_IN_INPUT_TOKENS: f64 = 1_600.0;

/// Two tiers and the gap between them that counts as need.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tiers {
    weak: Vec<String>,
    strong: Vec<String>,
    margin: f64,
}

/// One line of the file.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    #[serde(default = "unnamed")]
    source: String,
    messages: Value,
    #[serde(default)]
    tools: Value,
    #[serde(default)]
    tool_defs: Value,
    #[serde(default)]
    pub(super) outcomes: Option<BTreeMap<String, f64>>,
    #[serde(default)]
    pair: Option<(Vec<String>, Vec<String>, f64)>,
}

fn unnamed() -> String {
    "data".to_owned()
}

impl Row {
    /// Its Chat Completions body.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({"model": AUTO, "messages": self.messages});
        let declared = [&self.tool_defs, &self.tools].into_iter().find(|tools| tools.is_array());
        if let (Some(tools), Some(body)) = (declared, body.as_object_mut()) {
            body.insert("tools".into(), tools.clone());
        }
        body
    }

    /// What the tiers scored on it: weak, strong, margin.
    fn tiers(&self, known: &HashMap<String, Tiers>) -> Option<(f64, f64, f64)> {
        let outcomes = self.outcomes.as_ref()?;
        let own = self.pair.clone().map(|(weak, strong, margin)| Tiers { weak, strong, margin });
        let tiers = own.as_ref().or_else(|| known.get(&self.source))?;
        let mean = |models: &[String]| {
            let scores: Vec<f64> = models.iter().filter_map(|model| outcomes.get(model)).copied().collect();
            (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
        };
        Some((mean(&tiers.weak)?, mean(&tiers.strong)?, tiers.margin))
    }
}

/// Reads a file.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(number, line)| {
        serde_json::from_str::<Row>(line).with_context(|| format!("{}:{}", file.display(), number + 1))
    });
    rows.collect()
}

/// Sum and number of the scores of each model.
type Scores<'a> = BTreeMap<&'a str, (f64, usize)>;

/// The tiers of every source: those that are known of public data sets, else the worst and the best model of the source.
fn tiers(rows: &[Row]) -> anyhow::Result<HashMap<String, Tiers>> {
    let mut known: HashMap<String, Tiers> = toml::from_str(TIERS).context("the tiers of public data sets")?;
    let mut scores: BTreeMap<&str, (usize, Scores<'_>)> = BTreeMap::new();
    for row in rows {
        let (answered, models) = scores.entry(&row.source).or_default();
        *answered += usize::from(row.outcomes.as_ref().is_some_and(|outcomes| !outcomes.is_empty()));
        for (model, score) in row.outcomes.iter().flatten() {
            let (sum, count) = models.entry(model).or_default();
            (*sum, *count) = (*sum + score, *count + 1);
        }
    }
    for (source, (answered, models)) in scores {
        let mean = |(_, (sum, count)): &(&&str, &(f64, usize))| sum / *count as f64;
        let often = |(_, (_, count)): &(&&str, &(f64, usize))| *count as f64 >= ANSWERED * answered as f64;
        let worst = models.iter().filter(often).min_by(|a, b| mean(a).total_cmp(&mean(b)));
        let best = models.iter().filter(often).max_by(|a, b| mean(a).total_cmp(&mean(b)));
        if let (Some((weak, _)), Some((strong, _))) = (worst, best)
            && weak != strong
        {
            let tiers = Tiers { weak: vec![(*weak).to_owned()], strong: vec![(*strong).to_owned()], margin: MARGIN };
            known.entry(source.to_owned()).or_insert(tiers);
        }
    }
    Ok(known)
}

/// Scores every row that both tiers answered.
pub(super) fn score(policy: &Policy, rows: &[Row], mut tick: impl FnMut()) -> anyhow::Result<Vec<Outcome>> {
    let known = tiers(rows)?;
    let mut outcomes = Vec::new();
    for row in rows {
        tick();
        let Some((weak, strong, margin)) = row.tiers(&known) else { continue };
        let decision = policy.decide(&row.body())?;
        outcomes.push(Outcome {
            source: row.source.clone(),
            complexity: decision.complexity,
            weak,
            strong,
            need: strong - weak >= margin - 1e-9,
            cost: decision.input_tokens as f64 + ANSWER_IN_INPUT_TOKENS,
        });
    }
    Ok(outcomes)
}
