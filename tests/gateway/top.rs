//! `aipipe top`: the program as a person runs it, before a gateway that serves.

use aipipe::simulator::{Behaviour, Provider};
use tokio::process::Command;

use crate::support::{Bench, SECRET, ask, model};

/// The exit code of `aipipe top --once`, and what it printed.
async fn once(url: &str, secret: Option<&str>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("HOME", "/nonexistent").envs(secret.map(|secret| ("AIPIPE_ADMIN_SECRET", secret)));
    let output = command.args(["top", "--once", "--url", url]).output().await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

#[tokio::test]
async fn one_frame_tells_what_is_wrong_who_serves_and_what_it_costs() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    for number in 0..8 {
        let mut body = ask(model(Provider::OpenAi), &format!("What is {number}?"));
        body["aipipe"] = serde_json::json!({"models": [model(Provider::Anthropic)]});
        bench.answered(&body).await;
    }
    bench.idle().await;
    let (code, frame) = once(&bench.url(""), Some(SECRET)).await;
    assert_eq!(code, 0, "{frame}");
    let lines: Vec<&str> = frame.lines().collect();
    assert_eq!(lines.len(), 24, "{frame}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{frame}");
    let has = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    for words in [
        ["AiPipe", "not well"],
        ["openai", "OPEN"],
        ["openai", "    5    5    5 "],
        ["anthropic", "closed"],
        ["anthropic", "  anthropic"],
        ["anthropic/claude-haiku-4-5", "ok"],
        ["spent $0.", "tenants 1"],
    ] {
        assert!(has(&words), "{words:?} is missing in\n{frame}");
    }
    let cost = bench.rows().await[0]["cost_usd"].as_str().unwrap().to_owned();
    assert!(has(&["default", &cost]), "{cost} is missing in\n{frame}");
}

#[tokio::test]
async fn who_may_not_look_is_told_why() {
    let bench = Bench::start().await;
    let (code, said) = once(&bench.url(""), Some("a wrong secret")).await;
    assert!(code == 1 && said.contains("403") && !said.contains("a wrong secret"), "{said}");
    let (code, said) = once(&bench.url(""), None).await;
    assert!(code == 1 && said.contains("AIPIPE_ADMIN_SECRET"), "{said}");
    let (code, said) = once("http://127.0.0.1:1", Some(SECRET)).await;
    assert!(code == 1 && said.contains("no gateway answers at 127.0.0.1:1"), "{said}");
}

#[tokio::test]
async fn a_health_check_asks_whether_the_gateway_lives() {
    let bench = Bench::start().await;
    for (addr, code) in [(bench.socket(), 0), ("127.0.0.1:1", 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
        command.env_clear().env("HOME", "/nonexistent").env("AIPIPE_ADDR", addr);
        let output = command.args(["doctor", "--alive"]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{addr}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
