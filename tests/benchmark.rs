//! `aipipe benchmark`, run as a person runs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn benchmark(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("HOME", "/nonexistent").arg("benchmark").args(arguments);
    command.output().unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(benchmark(arguments))).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

#[test]
fn the_published_claims_come_out_and_the_costs_add_up() {
    let report = json_of(&["--json"]);
    let prompts = report["prompts"].as_array().unwrap();
    let saved = |label: &str| {
        let chosen = prompts.iter().filter(|prompt| prompt["label"] == label);
        let cost = |prompt: &Value, model: &str| number(&prompt["costs_usd"][model]);
        let (routed, frontier) = chosen.fold((0.0, 0.0), |(routed, frontier), prompt| {
            (routed + cost(prompt, prompt["chosen"].as_str().unwrap()), frontier + cost(prompt, "gpt-4o"))
        });
        100.0 * (1.0 - routed / frontier)
    };
    let went = |label: &str, model: &str| {
        let of_label = || prompts.iter().filter(|prompt| prompt["label"] == label);
        of_label().filter(|prompt| prompt["chosen"] == model).count() as f64 / of_label().count() as f64
    };
    assert!(went("simple", "gpt-4o-mini") >= 0.95);
    assert!((93.0..95.0).contains(&saved("simple")), "{}", saved("simple"));
    assert!(went("complex", "claude-sonnet-4-5") >= 2.0 / 3.0);
    let cost = |routing: &str| {
        let found = report["routings"].as_array().unwrap().iter().find(|it| it["routing"] == routing);
        number(&found.unwrap()["cost_usd"])
    };
    let sum = |of: &dyn Fn(&Value) -> f64| prompts.iter().map(of).sum::<f64>();
    let routed = sum(&|prompt| number(&prompt["costs_usd"][prompt["chosen"].as_str().unwrap()]));
    assert!((routed - cost("routed")).abs() < 1e-9);
    assert!((sum(&|prompt| number(&prompt["costs_usd"]["gpt-4o"])) - cost("all gpt-4o")).abs() < 1e-9);
    assert!((0.35..0.65).contains(&(1.0 - cost("routed") / cost("all gpt-4o"))));
    assert!(report["claims"].as_array().unwrap().iter().all(|claim| claim["holds"] == true));
}

#[test]
fn the_tables_name_each_claim_and_a_plot_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plot.svg");
    let page = text(benchmark(&["--svg", file.to_str().unwrap()]));
    for sign in ["simple", "complex", "all gpt-4o", "claude-sonnet-4-5", "holds"] {
        assert!(page.contains(sign), "{sign:?} is missing in\n{page}");
    }
    let svg = std::fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("routed"), "{svg}");
}

const HARD: &str = "Prove that every compact metric space is complete and derive a counterexample to the converse.";

/// Writes rows of two sources: the strong model is needed where `needs` says so of the hard ask and of the easy one.
fn data(file: &Path, needs: [bool; 2]) {
    let mut lines = String::new();
    for number in 0..60 {
        let hard = number % 2 == 0;
        let text =
            if hard { format!("{HARD} Case {number}.") } else { format!("What is the capital of country {number}?") };
        let needed = if hard { needs[0] } else { needs[1] };
        let row = json!({
            "source": if number < 30 { "one" } else { "two" },
            "messages": [{"role": "user", "content": text}],
            "outcomes": {"small": if needed { 0.0 } else { 1.0 }, "large": 1.0},
            "pair": [["small"], ["large"], 0.5],
        });
        lines += &format!("{row}\n");
    }
    std::fs::write(file, lines).unwrap();
}

#[test]
fn outcomes_that_follow_the_score_are_recovered_first_and_those_against_it_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    let apgr = |needs| {
        data(&file, needs);
        json_of(&["--json", "--data", file.to_str().unwrap()])
    };
    let with = apgr([true, false]);
    assert_eq!(with["prompts"], 60);
    assert!((number(&with["need"]) - 0.5).abs() < 1e-9);
    assert!(number(&with["apgr_spend"]["value"]) > 0.7, "{with}");
    assert!(number(&with["apgr_spend"]["low"]) > 0.5);
    let half = &with["operating_points"][2];
    assert!((number(&half["risk"]["router"]) + number(&half["waste"]["router"])).abs() < 0.05, "{half}");
    assert!((number(&half["risk"]["coin"]) - 0.25).abs() < 1e-9);
    let against = apgr([false, true]);
    assert!(number(&against["apgr_spend"]["value"]) < 0.3, "{against}");
}

#[test]
fn tiers_that_nobody_names_are_the_worst_and_the_best_model() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    let apgr = || json_of(&["--json", "--data", file.to_str().unwrap()])["apgr_spend"].clone();
    data(&file, [true, false]);
    let named = apgr();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(r#","pair":[["small"],["large"],0.5]"#, "");
    assert!(!text.contains("pair"));
    std::fs::write(&file, text).unwrap();
    assert_eq!(apgr(), named);
}

#[test]
fn two_configurations_are_compared_prompt_by_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    let only = |provider: &str| {
        let others = ["openai", "anthropic", "gemini", "xai", "minimax", "moonshot", "openrouter"];
        let disabled = others.into_iter().filter(|other| *other != provider);
        disabled.map(|other| format!("[providers.{other}]\nenabled = false\n")).collect::<String>()
    };
    std::fs::write(&first, only("openai")).unwrap();
    std::fs::write(&second, only("anthropic")).unwrap();
    let paths = [first.to_str().unwrap(), second.to_str().unwrap()];
    let same = json_of(&["--json", "--compare", paths[0], paths[0]]);
    assert_eq!((same["moved"].as_array().unwrap().len(), number(&same["difference_usd_a_request"]["value"])), (0, 0.0));
    let other = json_of(&["--json", "--compare", paths[0], paths[1]]);
    assert_eq!(other["moved"].as_array().unwrap().len() as u64, other["prompts"].as_u64().unwrap());
    let [before, after] = [0, 1].map(|side| number(&other["sides"][side]["cost_usd"]));
    let mean = (after - before) / other["prompts"].as_f64().unwrap();
    assert!((number(&other["difference_usd_a_request"]["value"]) - mean).abs() < 1e-9);
    assert!(text(benchmark(&["--compare", paths[0], paths[1]])).contains("anthropic/"));
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    std::fs::write(&file, "{\"messages\": []\n").unwrap();
    for (file, sign) in [(file.to_str().unwrap(), "rows.jsonl:1"), ("/nonexistent/rows.jsonl", "cannot read")] {
        let output = benchmark(&["--data", file]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(sign), "{output:?}");
    }
}

/// The routing data, where it is at hand: the score beats the coin at the same spend.
#[test]
fn the_score_beats_the_cost_matched_coin_on_recorded_outcomes() {
    let folder = std::env::var("AIPIPE_TEST_DATA").unwrap_or_else(|_| "../shared".to_owned());
    let file = format!("{folder}/routing/dev.jsonl");
    let Ok(rows) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: no {file}");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let some = place.path().join("some.jsonl");
    // One row in ten is enough to tell it from a coin.
    std::fs::write(&some, rows.lines().step_by(10).collect::<Vec<_>>().join("\n")).unwrap();
    let report = json_of(&["--json", "--data", some.to_str().unwrap()]);
    assert!(number(&report["apgr_spend"]["low"]) > 0.5, "{}", report["apgr_spend"]);
}
