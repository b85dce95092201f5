//! What came of one request, and how a person reads it.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::script::Request;

/// What came of a request.
#[derive(Debug)]
pub(super) struct Told {
    kind: String,
    tenant: String,
    status: u16,
    /// `provider/model`, empty where nobody answered.
    pub(super) answered_by: String,
    complexity: String,
    pub(super) attempts: u32,
    cache: String,
    cost: String,
    latency: Duration,
    why: String,
    /// The ledger's name of it.
    pub(super) request_id: String,
}

impl Told {
    /// Reads an answer, streamed or whole.
    pub(super) async fn read(
        request: &Request,
        response: reqwest::Response,
        started: std::time::Instant,
    ) -> anyhow::Result<Self> {
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (provider, model) = (header("x-aipipe-provider"), header("x-aipipe-model"));
        let mut told = Self {
            kind: request.kind.clone(),
            tenant: request.tenant.clone(),
            status,
            answered_by: if provider.is_empty() { String::new() } else { format!("{provider}/{model}") },
            complexity: header("x-aipipe-complexity"),
            attempts: header("x-aipipe-attempts").parse().unwrap_or(0),
            cache: header("x-aipipe-cache"),
            cost: header("x-aipipe-cost-usd"),
            latency: Duration::ZERO,
            why: String::new(),
            request_id: header("x-request-id"),
        };
        let text = response.text().await.context("the answer broke off")?;
        told.latency = started.elapsed();
        let parts: Vec<Value> = if text.starts_with("data:") {
            text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
        } else {
            serde_json::from_str(&text).into_iter().collect()
        };
        if let Some(cost) = parts.iter().rev().find_map(|part| part["usage"]["cost"].as_f64()) {
            told.cost = format!("{cost:.9}");
        }
        let decision = parts.iter().find_map(|part| part["aipipe"].get("decision"));
        told.why = match (decision, parts.first()) {
            (Some(decision), _) => why(decision, &told),
            (None, Some(error)) => error["error"]["message"].as_str().unwrap_or_default().to_owned(),
            (None, None) => String::new(),
        };
        Ok(told)
    }

    /// What failed before somebody answered.
    pub(super) fn after(&mut self, failed: &[String]) {
        if !failed.is_empty() {
            self.why = format!("after {}", failed.join(", "));
        }
    }

    /// Whether somebody answered.
    pub(super) fn is_answered(&self) -> bool {
        self.status == 200
    }

    /// One line.
    pub(super) fn line(&self, number: usize) -> String {
        let who = if self.is_answered() { self.answered_by.clone() } else { format!("refused: {}", self.status) };
        let how = match (self.cache.as_str(), self.attempts) {
            ("hit", _) => "cache".to_owned(),
            (_, 1) => String::new(),
            (_, calls) => format!("{calls} calls"),
        };
        format!(
            "{number:>3}  {:<14} {:<12} {:>5}  {who:<44} {how:<8} {:>12} $ {:>6} ms  {}",
            self.kind,
            self.tenant,
            self.complexity,
            self.cost,
            self.latency.as_millis(),
            self.why
        )
    }
}

/// Why this model, in half a line.
fn why(decision: &Value, told: &Told) -> String {
    if told.cache == "hit" {
        return "asked before".to_owned();
    }
    if decision["requested"] != "auto" {
        return "named by the client".to_owned();
    }
    let candidates = decision["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let eligible = candidates.iter().filter(|one| one["eligible"] == true).collect::<Vec<_>>();
    match (decision["exponent"].as_f64(), eligible.as_slice()) {
        (Some(0.0), [_, ..]) => format!("simple: the cheapest of {}", eligible.len()),
        (_, [first, second, ..]) => format!("adjusted {}, before {}", adjusted(first), adjusted(second)),
        (_, [only]) => format!("adjusted {}, no other candidate", adjusted(only)),
        _ => String::new(),
    }
}

/// `0.00412 $ (openai/gpt-4o, quality 0.46)`.
fn adjusted(candidate: &Value) -> String {
    let text = |name: &str| candidate[name].as_str().unwrap_or_default();
    let usd: f64 = text("effective_cost_usd").parse().unwrap_or_default();
    let quality = candidate["quality"].as_f64().unwrap_or_default();
    format!("{usd:.5} $ at quality {quality:.2} ({})", text("model"))
}
