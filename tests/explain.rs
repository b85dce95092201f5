//! `aipipe explain`, run as a person runs it, and every number of its JSON recomputed from the others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "explain/recompute.rs"]
mod recompute;

use std::process::Command;

use serde_json::Value;

fn explain(arguments: &[&str]) -> String {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("AIPIPE_DATABASE", place.path().join("aipipe.db"));
    command.envs([("OPENAI_API_KEY", "sk-one"), ("ANTHROPIC_API_KEY", "sk-two"), ("GEMINI_API_KEY", "sk-three")]);
    let output = command.arg("explain").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn decision(prompt: &str) -> Value {
    serde_json::from_str(&explain(&["--json", prompt])).unwrap()
}

const PROMPTS: [&str; 4] = [
    "good evening",
    "Write a limerick about a kettle.",
    "Prove that the sum of two algebraic numbers is algebraic, and bound its degree.",
    "…",
];

/// A decimal string, which the contract demands of costs.
fn usd(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn every_number_follows_from_the_others() {
    for prompt in PROMPTS {
        let decision = decision(prompt);
        let complexity = decision["complexity"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&complexity), "{prompt}");
        let exponent = (complexity - 0.25).max(0.0) * 6.0;
        assert!((decision["exponent"].as_f64().unwrap() - exponent).abs() < 1e-12, "{prompt}");
        for name in ["length", "code", "keywords", "structure", "depth"] {
            assert!((0.0..=1.0).contains(&decision["signals"][name].as_f64().unwrap()), "{prompt}: {name}");
        }
        let candidates = decision["candidates"].as_array().unwrap();
        let mut eligible = Vec::new();
        for candidate in candidates {
            if candidate["raw_cost_usd"].is_null() {
                assert!(candidate["adjusted_cost_usd"].is_null(), "{candidate}");
                continue;
            }
            let (raw, quality) = (usd(&candidate["raw_cost_usd"]), candidate["quality"].as_f64().unwrap());
            let (adjusted, effective) = (usd(&candidate["adjusted_cost_usd"]), usd(&candidate["effective_cost_usd"]));
            let penalty = candidate["penalty"].as_f64().unwrap();
            let near = |shown: f64, computed: f64| (shown - computed).abs() <= computed.abs() * 1e-11;
            assert!(near(adjusted, raw / quality.powf(exponent)), "{candidate}");
            assert!(near(effective, adjusted * penalty) && penalty >= 1.0, "{candidate}");
            let digits = candidate["adjusted_cost_usd"].as_str().unwrap().replace('.', "");
            assert_eq!(digits.trim_start_matches('0').len(), 12, "{candidate}");
            assert_eq!(candidate["reason"].is_null(), candidate["eligible"] == true, "{candidate}");
            if candidate["eligible"] == true {
                eligible.push((candidate["rank"].as_u64().unwrap(), effective, candidate));
            }
        }
        let order = |it: &(u64, f64, &Value)| {
            (it.2["provider"].as_str().unwrap().to_owned(), it.2["model"].as_str().unwrap().to_owned())
        };
        for (number, pair) in eligible.windows(2).enumerate() {
            assert_eq!((pair[0].0, pair[1].0), (number as u64 + 1, number as u64 + 2), "{prompt}");
            let rises = pair[0].1 < pair[1].1 || (pair[0].1 == pair[1].1 && order(&pair[0]) < order(&pair[1]));
            assert!(rises, "{} before {}", pair[0].2, pair[1].2);
        }
        assert_eq!(decision["chosen"]["provider"], eligible[0].2["provider"], "{prompt}");
        assert_eq!(decision["chosen"]["model"], eligible[0].2["model"], "{prompt}");
    }
}

#[test]
fn an_independent_script_recomputes_every_number() {
    recompute::recompute(&PROMPTS.map(decision), &[]);
    let mut wrong = decision(PROMPTS[2]);
    wrong["candidates"][0]["quality"] = Value::from(0.123);
    let caught = std::panic::catch_unwind(|| recompute::recompute(&[wrong], &[]));
    let has_python =
        Command::new("python3").args(["-c", "import tomllib"]).output().is_ok_and(|it| it.status.success());
    assert!(caught.is_err() || !has_python, "a wrong number passed");
}

#[test]
fn nothing_to_score_by_is_said() {
    for (prompt, signal) in [("…", "none"), ("  ", "none"), ("ok", "scored"), ("continue", "scored")] {
        let decision = decision(prompt);
        assert_eq!(decision["signal"], signal, "{prompt:?}");
        assert!(decision["complexity"].as_f64().unwrap() <= 0.25, "{prompt:?}");
    }
}

/// The complexity at which the page says that the second would be chosen, with its name.
fn break_even(page: &str) -> (String, f64) {
    let line = page.lines().find(|line| line.contains("would be chosen from")).unwrap_or_else(|| panic!("{page}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = words.iter().find_map(|word| word.parse::<f64>().ok()).unwrap();
    (words[0].to_owned(), number)
}

#[test]
fn the_page_shows_what_moved_the_score_and_where_the_second_would_win() {
    let page = explain(&[PROMPTS[2]]);
    for sign in ["keywords", "prove", "Prove", "█", "effective $", "chosen", "no_key", "max(0, "] {
        assert!(page.contains(sign), "{sign:?} is missing in\n{page}");
    }
    let (second, complexity) = break_even(&explain(&[PROMPTS[0]]));
    let body = |complexity: f64| {
        let wishes = format!(r#""aipipe": {{"complexity": {complexity}}}"#);
        format!(r#"{{"model": "auto", "messages": [{{"role": "user", "content": "{}"}}], {wishes}}}"#, PROMPTS[0])
    };
    let beats = |complexity: f64| {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("body.json");
        std::fs::write(&file, body(complexity)).unwrap();
        let decision: Value = serde_json::from_str(&explain(&["--json", "--file", file.to_str().unwrap()])).unwrap();
        let cost = |name: &str| {
            let found = decision["candidates"].as_array().unwrap().iter().find(|candidate| {
                format!("{}/{}", candidate["provider"].as_str().unwrap(), candidate["model"].as_str().unwrap()) == name
            });
            usd(&found.unwrap()["effective_cost_usd"])
        };
        let first: Value = serde_json::from_str(&explain(&["--json", PROMPTS[0]])).unwrap();
        let chosen = &first["chosen"];
        cost(&second) < cost(&format!("{}/{}", chosen["provider"].as_str().unwrap(), chosen["model"].as_str().unwrap()))
    };
    assert!(!beats(complexity - 0.01) && beats(complexity + 0.01), "{second} at {complexity}");
}
