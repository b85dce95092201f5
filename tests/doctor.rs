//! `aipipe doctor`, and what the shell and `man` know of the program, run as a person runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aipipe::simulator::{Provider, Settings, Simulator};
use tokio::process::Command;

/// The exit code and what was said.
async fn aipipe(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("HOME", "/nonexistent").envs(variables.iter().copied()).args(arguments);
    let output = command.output().await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

async fn doctor(directory: &Path, simulator: &Simulator, variables: &[(&str, &str)]) -> (i32, String) {
    let environment = simulator.environment();
    let database = directory.join("aipipe.db").display().to_string();
    let mut all: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend([("AIPIPE_DATABASE", database.as_str()), ("AIPIPE_ADDR", "127.0.0.1:1")]);
    all.extend(variables);
    aipipe(&["doctor"], &all).await
}

/// The line about this, and what is to be done.
fn about<'a>(said: &'a str, what: &str) -> &'a str {
    let start = said.find(&format!(" {what} ")).unwrap_or_else(|| panic!("{what} is missing in\n{said}"));
    said[..start].rfind('\n').map_or(said, |line| &said[line + 1..])
}

#[tokio::test]
async fn where_all_is_right_it_says_so_and_asks_each_provider_for_its_models_only() {
    let (directory, simulator) = (tempfile::tempdir().unwrap(), Simulator::start(Settings::default()).await.unwrap());
    let secret = [("AIPIPE_ADMIN_SECRET", "a secret that is long enough")];
    let (code, said) = doctor(directory.path(), &simulator, &secret).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("0 wrong"), "{said}");
    for provider in Provider::ALL {
        assert!(about(&said, provider.as_str()).starts_with("ok"), "{said}");
        let calls = simulator.calls_of(provider);
        assert!(calls.len() == 1 && calls[0].path.ends_with("/models"), "{calls:?}");
        assert!(!said.contains(simulator.api_key(provider)), "{said}");
    }
    assert!(about(&said, "clock").starts_with("ok"), "{said}");
    assert!(!directory.path().join("aipipe.db").exists(), "it changes nothing");
}

#[tokio::test]
async fn a_refused_key_and_an_unreachable_provider_are_told_with_what_to_do() {
    let (directory, simulator) = (tempfile::tempdir().unwrap(), Simulator::start(Settings::default()).await.unwrap());
    let broken = [
        ("OPENAI_API_KEY", "sk-wrong-one"),
        ("GEMINI_API_KEY", "wrong-too"),
        ("AIPIPE_XAI_BASE_URL", "http://127.0.0.1:1/v1"),
    ];
    let (code, said) = doctor(directory.path(), &simulator, &broken).await;
    assert_eq!(code, 1, "{said}");
    for (provider, words) in [("openai", "OPENAI_API_KEY"), ("gemini", "GEMINI_API_KEY"), ("xai", "base_url")] {
        let line = about(&said, provider);
        assert!(line.starts_with("WRONG") && line.contains(words), "{said}");
    }
    assert!(about(&said, "anthropic").starts_with("ok"), "{said}");
    assert!(said.contains("3 wrong") && !said.contains("wrong-one"), "{said}");
}

#[tokio::test]
async fn files_that_others_can_read_and_a_database_that_is_none_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("aipipe.db");
    std::fs::write(&database, "this is no database, however long one looks at it").unwrap();
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    let variables = [("AIPIPE_DATABASE", database.to_str().unwrap())];
    let (code, said) = aipipe(&["doctor", "--offline"], &variables).await;
    assert_eq!(code, 1, "{said}");
    assert!(about(&said, "permissions").starts_with("WRONG") && said.contains("chmod 600"), "{said}");
    assert!(about(&said, "database").starts_with("WRONG"), "{said}");
    let (code, said) = aipipe(&["doctor", "--offline", "--config", "/nonexistent/aipipe.toml"], &[]).await;
    assert_eq!(code, 2, "{said}");
}

#[tokio::test]
async fn shells_and_the_manual_know_every_command() {
    let (_, help) = aipipe(&["--help"], &[]).await;
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"serve") && names.contains(&"doctor"), "{help}");
    let (_, manual) = aipipe(&["man"], &[]).await;
    for shell in ["bash", "zsh", "fish"] {
        let (code, script) = aipipe(&["completions", shell], &[]).await;
        assert_eq!(code, 0);
        for name in &names {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    for name in names {
        assert!(manual.contains(&format!("aipipe\\-{name}(1)")), "{name}: {manual}");
        let (code, page) = aipipe(&["man", name], &[]).await;
        assert!(code == 0 && page.contains(".SH NAME"), "{name}: {page}");
    }
    assert_eq!(aipipe(&["man", "nothing"], &[]).await.0, 2);
}
