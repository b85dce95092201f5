//! The official SDKs against the real binary and the simulated providers.
//!
//! They are Python packages, installed from the package index into an environment below the target directory the first time. Where that
//! is not possible the test says so in one line and passes; with `CI` set it fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use aipipe::simulator::Provider;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::support::{Bench, model};

/// What is installed: the versions that the tests were written against.
const PACKAGES: [&str; 3] = ["anthropic==2.14.0", "google-genai==3.6.1", "openai==3.57.0"];

/// The interpreter of an environment that has the packages, or why there is none.
fn python() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk");
    let python = target.join("bin/python");
    let stamp = target.join("installed");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let run = |command: &mut Command| {
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&target))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    std::fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

/// Runs a script against a gateway, with these providers; `None` where the SDKs cannot be installed.
async fn run(bench: &Bench, script: &str, providers: &[Provider]) -> Option<String> {
    // One installation, whichever test comes first.
    static INSTALLED: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    let install = async || tokio::task::spawn_blocking(python).await.unwrap();
    let python = match INSTALLED.get_or_init(install).await {
        Ok(python) => python,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "the SDKs cannot be installed: {why}");
            eprintln!("SKIPPED: the official SDKs need python3 with venv and access to the package index: {why}");
            return None;
        }
    };
    let names = |providers: Vec<Provider>| providers.into_iter().map(model).collect::<Vec<_>>().join(",");
    let sees = |provider: &Provider| matches!(provider, Provider::OpenAi | Provider::Anthropic | Provider::Gemini);
    let all = names(providers.to_vec());
    let seeing = names(providers.iter().copied().filter(sees).collect());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(script);
    let output = tokio::process::Command::new(python)
        .arg(script)
        .env("AIPIPE_URL", bench.url(""))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AIPIPE_MODELS", all)
        .env("AIPIPE_SEEING_MODELS", seeing)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_needs_no_change() {
    let bench = Bench::start().await;
    bench.put_tenant("slow", &json!({"operator_keys": true, "requests_per_minute": 0})).await;
    if let Some(said) = run(&bench, "openai_chat.py", &Provider::ALL).await {
        print!("{said}");
        bench.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_needs_no_change_for_responses() {
    let bench = Bench::start().await;
    bench.put_tenant("slow", &json!({"operator_keys": true, "requests_per_minute": 0})).await;
    bench.put_tenant("other", &json!({"operator_keys": true})).await;
    if let Some(said) = run(&bench, "openai_responses.py", &Provider::ALL).await {
        print!("{said}");
        bench.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_google_sdk_needs_no_change() {
    let bench = Bench::start().await;
    if let Some(said) = run(&bench, "gemini.py", &Provider::ALL).await {
        print!("{said}");
        bench.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anthropic_sdk_needs_no_change() {
    let bench = Bench::start().await;
    bench.put_tenant("slow", &json!({"operator_keys": true, "requests_per_minute": 0})).await;
    if let Some(said) = run(&bench, "anthropic_messages.py", &Provider::ALL).await {
        print!("{said}");
        bench.idle().await;
    }
}
