//! The ledger beside the providers' own count.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use aipipe::simulator::{Call, Usage};
use aipipe_actors::catalogue::Catalogue;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Stage;
use super::load::{Outcome, Told};
use crate::accounts::{nanos, price};
use crate::support::all_rows;

const KINDS: [&str; 5] = ["input", "cached_input", "cache_write", "output", "reasoning"];

fn figures(usage: Usage) -> [u64; 5] {
    [usage.input, usage.cached, usage.cache_written, usage.output, usage.reasoning]
}

/// The sums of all rounds so far.
pub(super) struct Books {
    catalogue: Arc<Catalogue>,
    rows: usize,
    calls: usize,
    /// Rows charged by the providers' figures alone, compared with them.
    exact: usize,
    estimated: usize,
    /// By the ledger, and by the providers: tokens by kind, then nano-dollars. Of the rows that are compared.
    ledger: [i128; 6],
    providers: [i128; 6],
    /// Of all rows.
    cost: i128,
}

impl Books {
    pub(super) fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, rows: 0, calls: 0, exact: 0, estimated: 0, ledger: [0; 6], providers: [0; 6], cost: 0 }
    }

    /// Compares what a round left in the ledger with what the providers were asked and the clients were told; what does not fit.
    pub(super) async fn compare(&mut self, stage: &Stage, since: Timestamp, told: &[Told]) -> Vec<String> {
        let rows = all_rows(async |path| stage.shown(&format!("{path}&since={since}")).await).await;
        self.rows += rows.len();
        let calls = stage.simulator.take_calls();
        self.calls += calls.len();
        let mut misses = Vec::new();

        let mut row_of: HashMap<&str, &Value> = HashMap::new();
        let mut questions: BTreeMap<&str, (Vec<&Value>, Vec<&Call>)> = BTreeMap::new();
        for row in &rows {
            let (question, request) = (row["tags"][0].as_str().unwrap(), row["tags"][1].as_str().unwrap());
            questions.entry(question).or_default().0.push(row);
            if row_of.insert(request, row).is_some() {
                misses.push(format!("{request} has two rows"));
            }
            if !["ok", "cancelled", "truncated", "failed"].contains(&row["outcome"].as_str().unwrap()) {
                misses.push(format!("not settled: {row}"));
            }
            self.cost += nanos(&row["cost_usd"]);
        }
        for call in &calls {
            let body = std::str::from_utf8(&call.body).unwrap();
            let at = body.find("mark-").unwrap();
            questions.entry(body[at..].split(' ').next().unwrap()).or_default().1.push(call);
        }
        for (question, (rows, calls)) in questions {
            misses.extend(self.compare_question(question, &rows, calls));
        }
        for one in told {
            let row = row_of.get(one.request.as_str()).copied();
            misses.extend(one.miss().map(|miss| format!("{miss}\n  {}", row.map(course).unwrap_or_default())));
            misses.extend(contradiction(one, row));
        }
        misses
    }

    /// All requests that asked the same: each call that they paid for is one that a provider counted the same way.
    fn compare_question(&mut self, question: &str, rows: &[&Value], mut calls: Vec<&Call>) -> Vec<String> {
        let mut misses = Vec::new();
        let attempts = |row: &Value| row["attempts"].as_array().unwrap().clone();
        let made: usize = rows.iter().map(|row| attempts(row).len()).sum();
        if made < calls.len() {
            misses.push(format!("{question}: {} calls, of which the ledger knows {made}", calls.len()));
        }
        for row in rows {
            let cost: i128 = attempts(row).iter().map(|attempt| nanos(&attempt["cost_usd"])).sum();
            if cost != nanos(&row["cost_usd"]) {
                misses.push(format!("its attempts cost {cost}: {row}"));
            }
            if row["estimated"] == true {
                self.estimated += 1;
                continue;
            }
            if row["outcome"] == "ok" && row["cache"] != "hit" && cost == 0 {
                misses.push(format!("answered for nothing: {row}"));
            }
            let mut counted = [0_i128; 6];
            for attempt in attempts(row).iter().filter(|attempt| nanos(&attempt["cost_usd"]) > 0) {
                let paid = nanos(&attempt["cost_usd"]);
                let fits = |call: &&Call| {
                    let usage = call.usage.filter(|_| attempt["provider"] == call.provider.as_str());
                    usage.is_some_and(|usage| price(&self.catalogue, call, usage) == paid)
                };
                let Some(at) = calls.iter().position(fits) else {
                    misses.push(format!("no provider counted {attempt} of {row}"));
                    continue;
                };
                let usage = figures(calls.swap_remove(at).usage.unwrap());
                usage.iter().zip(&mut counted).for_each(|(tokens, sum)| *sum += i128::from(*tokens));
                counted[5] += paid;
            }
            let written = KINDS.map(|kind| i128::from(row["tokens"][kind].as_u64().unwrap()));
            if written != counted[..5] {
                misses.push(format!("the providers counted {counted:?}: {row}"));
            }
            written.iter().chain([&cost]).zip(&mut self.ledger).for_each(|(figure, sum)| *sum += figure);
            counted.iter().zip(&mut self.providers).for_each(|(figure, sum)| *sum += figure);
            self.exact += 1;
        }
        misses
    }

    /// Compares the sums at the end; what does not fit.
    pub(super) async fn close(&self, stage: &Stage) -> Vec<String> {
        let mut misses = Vec::new();
        let told = stage.metric_sum("aipipe_cost_usd_total").await;
        if (told - self.cost as f64 / 1e9).abs() > 1e-6 {
            misses.push(format!("the metrics tell {told} USD, the ledger {} nano-dollars", self.cost));
        }
        if self.exact * 4 < self.rows {
            misses.push(format!("only {} of {} rows could be compared", self.exact, self.rows));
        }
        misses
    }
}

/// What was tried for a request, and what was left when nothing more was.
fn course(row: &Value) -> String {
    let mut all = Vec::new();
    for attempt in row["attempts"].as_array().unwrap() {
        all.push(format!("{} {} {}", attempt["provider"], attempt["fault"], attempt["latency_ms"]));
    }
    for candidate in row["decision"]["candidates"].as_array().into_iter().flatten() {
        let reason = &candidate["reason"];
        if reason != "excluded" {
            all.push(format!("{} of {}: {reason}", candidate["model"], candidate["provider"]));
        }
    }
    all.join(", ")
}

/// Where a client was told something else than the ledger says.
fn contradiction(told: &Told, row: Option<&Value>) -> Option<String> {
    let Told { request, cost, .. } = told;
    let says = |outcomes: &[&str]| row.is_some_and(|row| outcomes.contains(&row["outcome"].as_str().unwrap()));
    let fits = match &told.outcome {
        Outcome::Answered => {
            says(&["ok"]) && cost.iter().all(|cost| row.is_some_and(|row| row["cost_usd"] == json!(cost)))
        }
        Outcome::BrokenOff => says(&["truncated"]),
        Outcome::Refused(..) => row.is_none() || says(&["failed"]),
        Outcome::Left | Outcome::Cut(_) => true,
    };
    (!fits).then(|| format!("{request} was {}, cost {cost:?}: {row:?}", told.outcome.name()))
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, calls, exact, estimated, ledger, providers, cost, .. } = self;
        writeln!(f, "{rows} rows, {calls} calls, {cost} nano-dollars; {exact} rows compared, {estimated} estimated")?;
        for (at, kind) in KINDS.into_iter().chain(["nano-dollars"]).enumerate() {
            let (ours, theirs) = (ledger[at], providers[at]);
            writeln!(f, "{kind:>13}: ledger {ours}, providers {theirs}, difference {}", ours - theirs)?;
        }
        Ok(())
    }
}
