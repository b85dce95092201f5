//! A decision as the JSON of the contract. Every number in it can be recomputed from the others; `tests/explain/recompute.py` does.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::conversation::Continuation;
use super::decision::{Bias, BreakEven, Decision, Learned, Reason, Side, Weighed, adjusted_cost, exponent};

impl Decision {
    /// The JSON of the contract.
    pub fn to_json(&self) -> Value {
        let exponent = exponent(self.complexity);
        let mut rank = 0;
        let candidates: Vec<Value> = self
            .candidates
            .iter()
            .map(|candidate| {
                let adjusted = candidate.raw.map(|raw| adjusted_cost(raw, candidate.quality, exponent));
                let mut entry = json!({
                    "provider": candidate.provider,
                    "model": candidate.model,
                    "eligible": candidate.reason.is_none(),
                    "reason": candidate.reason.as_ref().map(Reason::name),
                    "input_tokens": candidate.input_tokens,
                    "output_tokens": candidate.output_tokens,
                    "raw_cost_usd": candidate.raw.map(|raw| raw.to_string()),
                    "quality": candidate.quality,
                    "adjusted_cost_usd": adjusted.map(twelve_digits),
                    "penalty": candidate.penalty,
                    "effective_cost_usd": adjusted.map(|cost| twelve_digits(cost * candidate.penalty)),
                });
                if let Some(entry) = entry.as_object_mut() {
                    if candidate.reason.is_none() {
                        rank += 1;
                        entry.insert("rank".into(), json!(rank));
                    }
                    let learned =
                        candidate.learned.map(|Learned { prior, shift }| json!({"prior": prior, "shift": shift}));
                    entry.extend(learned.map(|learned| ("learned".to_owned(), learned)));
                }
                entry
            })
            .collect();
        let mut decision = json!({
            "tenant": self.tenant,
            "requested": self.requested,
            "complexity": self.complexity,
            "signal": self.basis,
            "signals": self.signals,
            "task": self.task,
            "exponent": exponent,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "chosen": self.chosen().map(|chosen| json!({"provider": chosen.provider, "model": chosen.model})),
            "candidates": candidates,
        });
        if let Some(decision) = decision.as_object_mut() {
            decision.extend(self.explored.then(|| ("explored".to_owned(), json!(true))));
            decision.extend(self.bias.map(|bias| ("bias".to_owned(), bias_json(&bias))));
            decision.extend(self.break_even().map(|even| ("break_even".to_owned(), break_even_json(&even))));
            let conversation = self.conversation.as_ref().map(conversation_json);
            decision.extend(conversation.map(|conversation| ("conversation".to_owned(), conversation)));
        }
        decision
    }
}

fn break_even_json(even: &BreakEven<'_>) -> Value {
    let (side, complexity) = match even.side {
        Some(Side::From(complexity)) => (Some("from"), Some(complexity)),
        Some(Side::UpTo(complexity)) => (Some("up_to"), Some(complexity)),
        None => (None, None),
    };
    let BreakEven { second: Weighed { provider, model, .. }, .. } = even;
    json!({"provider": provider, "model": model, "complexity": complexity, "side": side})
}

fn bias_json(bias: &Bias) -> Value {
    json!({"assessed": bias.assessed, "quality": bias.quality, "stuck": bias.stuck, "shift": bias.shift()})
}

fn conversation_json(conversation: &Continuation) -> Value {
    json!({
        "kept": conversation.kept,
        "why": conversation.why,
        "provider": conversation.provider,
        "model": conversation.model,
        "since": conversation.since.to_string(),
        "cached_input_tokens": conversation.cached_tokens,
        "cached_cost_usd": conversation.cached.map(|cost| cost.to_string()),
        "cached_effective_cost_usd": conversation.effective.map(twelve_digits),
    })
}

/// A non-negative amount with twelve significant digits, as a plain decimal without an exponent.
pub fn twelve_digits(amount: f64) -> String {
    if amount == 0.0 {
        return "0.00000000000".to_owned();
    }
    if !amount.is_finite() {
        return amount.to_string();
    }
    let scientific = format!("{amount:.11e}");
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let power: i32 = power.parse().unwrap_or(0);
    let mut text = String::with_capacity(24);
    match usize::try_from(power) {
        Ok(power) if power + 1 >= digits.len() => {
            let _ = write!(text, "{digits}{}", "0".repeat(power + 1 - digits.len()));
        }
        Ok(power) => {
            let (whole, fraction) = digits.split_at(power + 1);
            let _ = write!(text, "{whole}.{fraction}");
        }
        Err(_) => {
            let zeros = usize::try_from(-power - 1).unwrap_or(0);
            let _ = write!(text, "0.{}{digits}", "0".repeat(zeros));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::NanoUsd;

    #[test]
    fn the_contract_example_adds_up() {
        let raw = NanoUsd(258_450);
        let exponent = exponent(0.412);
        assert!((exponent - 0.972).abs() < 1e-12);
        assert_eq!(twelve_digits(adjusted_cost(raw, 0.11, exponent)), "0.00220873110120");
    }

    #[test]
    fn twelve_digits_are_kept_at_every_magnitude() {
        for (amount, text) in [
            (0.0, "0.00000000000"),
            (1.0, "1.00000000000"),
            (123.456, "123.456000000"),
            (0.000_001, "0.00000100000000000"),
            (123_456_789_012.0, "123456789012"),
            (1.5e13, "15000000000000"),
        ] {
            assert_eq!(twelve_digits(amount), text);
        }
    }
}
