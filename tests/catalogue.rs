//! `aipipe catalogue update`, run as a person runs it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// As models.dev publishes it: providers with their models, USD per million tokens.
const MODELS_DEV: &str = r#"{
 "openai": {"id": "openai", "env": ["OPENAI_API_KEY"], "models": {
  "gpt-4o-mini": {"id": "gpt-4o-mini", "cost": {"input": 0.14, "output": 0.6, "cache_read": 0.07}, "limit": {"context": 128000}},
  "gpt-4o": {"id": "gpt-4o", "cost": {"input": 2.5, "output": 100, "cache_read": 1.25}},
  "gpt-image-9": {"id": "gpt-image-9", "cost": {"input": 5, "output": 40}, "modalities": {"input": ["text"], "output": ["image"]}},
  "gpt-99": {"id": "gpt-99", "tool_call": true, "modalities": {"input": ["text", "image"], "output": ["text"]},
   "cost": {"input": 1.25, "output": 10.000000001}, "limit": {"context": 400000, "output": 128000}}}},
 "someone-else": {"id": "someone-else", "models": {"gpt-4o-mini": {"cost": {"input": 9, "output": 9}}}}}"#;

/// As LiteLLM publishes it: one object of all models, USD per token.
const LITELLM: &str = r#"{
 "sample_spec": {"litellm_provider": "one of https://docs.litellm.ai/docs/providers", "mode": "one of: chat", "input_cost_per_token": 0.0},
 "gpt-4o-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.4e-07, "output_cost_per_token": 6e-07,
  "cache_read_input_token_cost": 7.5e-08, "max_input_tokens": 128000},
 "gemini/gemini-3.5-flash": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 7e-06,
  "output_cost_per_token": 8e-06, "input_cost_per_token_above_200k_tokens": 8e-06, "output_cost_per_token_above_200k_tokens": 9e-06},
 "whisper-1": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001}}"#;

/// A configuration that a person has written.
const CONFIGURATION: &str = "# Ours.\n[cache]\nttl_seconds = 60 # one minute\n\n[[models]]\nprovider = \"openai\"\nid = \"gpt-4o-mini\"\n\
input = 0.15 # as of spring\nquality = 0.2\nretires_on = \"9999-12-31\"\n";

struct Desk(TempDir);

impl Desk {
    fn new(prices: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        std::fs::write(desk.file("prices.json"), prices).unwrap();
        std::fs::write(desk.file("aipipe.toml"), CONFIGURATION).unwrap();
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn update(&self, arguments: &[&str]) -> Output {
        let mut command = aipipe(Some(&self.file("aipipe.toml")));
        command.args(["catalogue", "update"]).args(arguments).arg(self.file("prices.json")).output().unwrap()
    }

    fn configuration(&self) -> String {
        std::fs::read_to_string(self.file("aipipe.toml")).unwrap()
    }
}

fn aipipe(config: Option<&Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("HOME", "/nonexistent").stdin(std::process::Stdio::null());
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

/// Whether a line of the text holds these words in this order.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()))
}

#[test]
fn what_differs_is_shown_and_nothing_is_written_where_nobody_confirms_it() {
    let desk = Desk::new(MODELS_DEV);
    let output = desk.update(&[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(has_line(&said, &["openai/gpt-4o-mini", "input", "0.15", "0.14"]), "{said}");
    assert!(has_line(&said, &["openai/gpt-4o-mini", "cached_input", "0.075", "0.07"]), "{said}");
    assert!(has_line(&said, &["openai/gpt-4o", "output", "10", "100", "implausible:"]), "{said}");
    // Prices that agree are no difference; what does not answer in text is no model of the catalogue.
    assert!(!has_line(&said, &["openai/gpt-4o-mini", "output"]) && !said.contains("gpt-image-9"), "{said}");
    assert!(has_line(&said, &["openai/gpt-99"]) && !said.contains("someone-else"), "{said}");
    assert_eq!(desk.configuration(), CONFIGURATION);
}

#[test]
fn what_is_confirmed_overrides_the_catalogue_and_the_rest_of_the_file_stays() {
    let desk = Desk::new(MODELS_DEV);
    let output = desk.update(&["--yes"]);
    assert!(output.status.success(), "{}", said(&output));
    let written = desk.configuration();
    let kept = CONFIGURATION.replace("input = 0.15 # as of spring", "input = 0.14 # as of spring");
    assert!(written.starts_with(&kept), "{written}");
    assert!(written.contains("cached_input = 0.07\n") && written.contains("source = \"prices.json\""), "{written}");
    assert!(!written.contains("gpt-99") && !written.contains("\"gpt-4o\""), "{written}");
    assert_eq!(std::fs::read_dir(desk.0.path()).unwrap().count(), 2);
    assert!(aipipe(Some(&desk.file("aipipe.toml"))).arg("check").output().unwrap().status.success());
    // A second time only what was left out differs.
    let again = said(&desk.update(&["--yes"]));
    assert!(again.contains("1 differ"), "{again}");
    assert_eq!(desk.configuration(), written);
}

#[test]
fn new_models_and_implausible_prices_are_taken_where_that_is_said() {
    let desk = Desk::new(MODELS_DEV);
    let output = desk.update(&["--yes", "--add", "--implausible"]);
    assert!(output.status.success(), "{}", said(&output));
    let written = desk.configuration();
    let added = "provider = \"openai\"\nid = \"gpt-99\"\ninput = 1.25\noutput = 10.000000001\nauto = false\n\
                 context_tokens = 400000\nmax_output_tokens = 128000\ncapabilities = [\"tools\", \"images\"]\n";
    assert!(written.contains(added), "{written}");
    assert!(written.contains("id = \"gpt-4o\"\noutput = 100\n"), "{written}");
    let check = aipipe(Some(&desk.file("aipipe.toml"))).arg("check").output().unwrap();
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn prices_of_litellm_are_read_to_the_digit() {
    let desk = Desk::new(LITELLM);
    let output = desk.update(&["--yes"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(has_line(&said, &["openai/gpt-4o-mini", "input", "0.15", "0.14"]), "{said}");
    assert!(!said.contains("whisper") && !said.contains("sample_spec"), "{said}");
    let written = desk.configuration();
    let long = "long_context = { threshold_tokens = 200000, input = 8, output = 9 }";
    assert!(written.contains("input = 7\n") && written.contains("output = 8\n") && written.contains(long), "{written}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let desk = Desk::new(r#"{"prices": [1, 2]}"#);
    let output = desk.update(&["--yes"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("models.dev"), "{}", said(&output));
    // Without a configuration file there is nothing to write to.
    std::fs::write(desk.file("prices.json"), MODELS_DEV).unwrap();
    let output = aipipe(None).args(["catalogue", "update", "--yes"]).arg(desk.file("prices.json")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--config") && said(&output).contains("0.14"), "{}", said(&output));
}
