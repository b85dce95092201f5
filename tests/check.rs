//! `aipipe check`, run as a person runs it.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn check(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("HOME", "/nonexistent").envs(variables.iter().copied()).arg("check").args(arguments);
    command.output().unwrap()
}

#[test]
fn the_defaults_are_valid_and_name_all_seven_providers() {
    let output = check(&[], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for provider in ["openai", "anthropic", "xai", "openrouter", "minimax", "moonshot", "gemini"] {
        assert!(text.contains(provider), "{provider} is missing in\n{text}");
    }
}

#[test]
fn every_problem_of_a_file_is_listed_with_its_line_and_the_exit_code_is_2() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[server]\nadress = \"127.0.0.1:1\"\n\n[cache]\nttl_seconds = \"soon\"\n").unwrap();
    let output = check(&["--config", file.path().to_str().unwrap()], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains(":2: server.adress") && text.contains(":5: cache.ttl_seconds"), "{text}");
}

#[test]
fn d188_the_region_of_a_key_is_told_where_it_matters() {
    let told = |variables: &[(&str, &str)]| String::from_utf8(check(&[], variables).stdout).unwrap();
    assert!(told(&[("MINIMAX_API_KEY", "k")]).contains("AIPIPE_MINIMAX_BASE_URL"));
    assert!(told(&[("KIMI_API_KEY", "k")]).contains("https://api.moonshot.cn/v1"));
    let chinese = [("MINIMAX_API_KEY", "k"), ("AIPIPE_MINIMAX_BASE_URL", "https://api.minimaxi.com/v1")];
    assert!(!told(&chinese).contains("AIPIPE_MINIMAX_BASE_URL"));
    assert!(!told(&[]).contains("AIPIPE_MINIMAX_BASE_URL"));
}

#[test]
fn no_key_is_ever_printed() {
    let output = check(&[], &[("OPENAI_API_KEY", "sk-secret-of-the-operator")]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains("secret-of-the-operator"), "{text}");
}

#[test]
fn a_database_that_is_none_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "this is no database, however long one looks at it").unwrap();
    let output = check(&[], &[("AIPIPE_DATABASE", file.path().to_str().unwrap())]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains(file.path().to_str().unwrap()) && text.contains("not a database"), "{text}");
}
