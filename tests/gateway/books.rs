//! The commands that work on the ledger and the keys of a daemon that has ended: `reprice`, `reconcile`, `rekey`.

use std::path::Path;
use std::process::Output;

use aipipe::simulator::{Provider, Settings, Simulator};
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Daemon, command, place};
use crate::support::{Answer, SECRET, ask, write_configuration};

const MODEL: &str = "openai/gpt-4o-mini";

/// Runs the program, and gives its exit code and all that it said.
async fn run(directory: &Path, simulator: &Simulator, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = command(directory, simulator);
    command.args(arguments).envs(variables.iter().copied()).stdout(std::process::Stdio::piped());
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

impl Daemon {
    async fn asked(&self, prompt: &str) -> Answer {
        Answer::read(self.chat(&ask(MODEL, prompt)).send().await.unwrap()).await.ok()
    }

    async fn set(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.client.request(method, self.url(path)).header("x-admin-secret", SECRET);
        Answer::read(request.body(body.to_string()).send().await.unwrap()).await.ok()
    }

    async fn stopped(mut self) {
        self.stop();
        self.ended().await;
    }
}

#[tokio::test]
async fn past_requests_are_charged_at_other_prices_on_demand() {
    let (directory, simulator) = place().await;
    let daemon = Daemon::start(directory.path(), &simulator).await;
    for prompt in ["One", "Two"] {
        daemon.asked(prompt).await;
    }
    let before = daemon.shown("/admin/requests").await["requests"].clone();
    let since = before[1]["at"].as_str().unwrap().to_owned();
    let arguments = ["reprice", "--since", since.as_str()];
    let apply = [&arguments[..], &["--apply"]].concat();
    let (code, said) = run(directory.path(), &simulator, &apply, &[]).await;
    assert_eq!(code, 2, "a running daemon has the accounts in its hands: {said}");
    let (code, said) = run(directory.path(), &simulator, &arguments, &[]).await;
    assert!(code == 0 && said.contains("0 of 2 requests would change"), "{said}");
    daemon.stopped().await;

    let dearer = "[[models]]\nprovider = \"openai\"\nid = \"gpt-4o-mini\"\ninput = 1.5\ncached_input = 0.75\noutput = 6.0\n\
         retires_on = \"9999-12-31\"\n";
    std::fs::write(directory.path().join("aipipe.toml"), dearer).unwrap();
    let (code, said) = run(directory.path(), &simulator, &arguments, &[]).await;
    assert!(code == 0 && said.contains("2 of 2 requests would change") && said.contains("gpt-4o-mini"), "{said}");
    let (code, said) = run(directory.path(), &simulator, &apply, &[]).await;
    assert!(code == 0 && said.contains("2 of 2 requests changed"), "{said}");
    let (_, said) = run(directory.path(), &simulator, &apply, &[]).await;
    assert!(said.contains("0 of 2 requests changed"), "what has these prices is left alone: {said}");

    let daemon = Daemon::start(directory.path(), &simulator).await;
    let after = daemon.shown("/admin/requests").await["requests"].clone();
    let usd = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let mut sum = 0.0;
    for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
        assert_eq!((&after["tokens"], &after["request_id"]), (&before["tokens"], &before["request_id"]));
        let (old, new) = (usd(&before["cost_usd"]), usd(&after["cost_usd"]));
        assert!((new - old * 10.0).abs() < 1e-8, "{old} became {new}");
        assert_eq!(after["attempts"][0]["cost_usd"], after["cost_usd"]);
        assert!((usd(&before["saved_usd"]) + old - usd(&after["saved_usd"]) - new).abs() < 1e-8);
        sum += new;
    }
    let stats = daemon.shown("/admin/tenants/default/stats").await;
    assert!((usd(&stats["cost_usd"]) - sum).abs() < 1e-9);
    assert_eq!(stats["models"]["gpt-4o-mini"]["cost_usd"], stats["cost_usd"]);
    let balance = daemon.balance().await;
    assert_eq!(balance, stats["cost_usd"], "budgets go by the new costs too");
}

impl Daemon {
    /// What the default tenant's account says was spent today, in the words of a refusal.
    async fn balance(&self) -> Value {
        self.set(Method::PUT, "/admin/tenants/default", json!({"budget_usd": "0", "budget_period": "day"})).await;
        let refused = Answer::read(self.chat(&ask(MODEL, "More?")).send().await.unwrap()).await;
        let message = refused.message();
        json!(message.split(" USD spent").next().unwrap().rsplit(' ').next().unwrap())
    }
}

#[tokio::test]
async fn a_providers_export_is_held_against_the_ledger() {
    let (directory, simulator) = place().await;
    let daemon = Daemon::start(directory.path(), &simulator).await;
    let mut figures = [0_u64; 2];
    for prompt in ["One", "Two", "Three"] {
        let usage = daemon.asked(prompt).await.json()["usage"].clone();
        figures[0] += usage["prompt_tokens"].as_u64().unwrap();
        figures[1] += usage["completion_tokens"].as_u64().unwrap();
    }
    let day = daemon.shown("/admin/requests").await["requests"][2]["at"].as_str().unwrap()[..10].to_owned();
    let export = |calls: u64, output: u64| {
        let results = json!([{"object": "organization.usage.completions.result", "model": "gpt-4o-mini-2024-07-18",
            "input_tokens": figures[0], "output_tokens": output, "input_cached_tokens": 0, "num_model_requests": calls}]);
        json!({"object": "page", "data": [{"object": "bucket", "start_time_iso": day, "results": results}]}).to_string()
    };
    let file = directory.path().join("export.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, export(3, figures[1])).unwrap();
    let (code, said) = run(directory.path(), &simulator, &["reconcile", path], &[]).await;
    assert!(code == 0 && said.contains("agree"), "{said}");

    std::fs::write(&file, export(4, figures[1] + 7)).unwrap();
    let (code, said) = run(directory.path(), &simulator, &["reconcile", path], &[]).await;
    assert!(code == 1 && said.contains(&day) && said.contains("4 / 3 (+1)") && said.contains("(+7)"), "{said}");

    std::fs::write(&file, "no export").unwrap();
    let (code, said) = run(directory.path(), &simulator, &["reconcile", path], &[]).await;
    assert!(code == 2 && said.contains("export.json"), "{said}");
}

#[tokio::test]
async fn stored_keys_move_to_a_new_master_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys =
        vec![(Provider::OpenAi, "operators-own-key-0".to_owned()), (Provider::OpenAi, "own-key-of-acme".to_owned())];
    let simulator = Simulator::start(Settings { keys, ..Settings::default() }).await.unwrap();
    write_configuration(&directory.path().join("aipipe.toml"), "");
    let answers = async |variables: &[(&str, &str)]| {
        let daemon = Daemon::start_with(directory.path(), &simulator, variables).await;
        let request = daemon.chat(&ask(MODEL, "Hello")).header("x-tenant-id", "acme");
        Answer::read(request.send().await.unwrap()).await.ok();
        daemon.stopped().await;
        let calls = simulator.calls();
        assert_eq!(calls.last().unwrap().header("authorization"), Some("Bearer own-key-of-acme"));
    };
    let daemon = Daemon::start(directory.path(), &simulator).await;
    daemon.set(Method::POST, "/admin/tenants/acme/keys", json!({"openai": "own-key-of-acme"})).await;
    let (code, said) = run(directory.path(), &simulator, &["rekey"], &[]).await;
    assert!(code == 2 && said.contains("another aipipe"), "{said}");
    daemon.stopped().await;

    let file = directory.path().join("aipipe.db.key");
    let first = std::fs::read(&file).unwrap();
    let (code, said) = run(directory.path(), &simulator, &["rekey"], &[]).await;
    assert!(code == 0 && said.contains("1 provider keys"), "{said}");
    let second = std::fs::read(&file).unwrap();
    assert_ne!(first, second);
    answers(&[]).await;

    // A process that died between the database and the file left both keys.
    std::fs::write(directory.path().join("aipipe.db.key.next"), &second).unwrap();
    std::fs::write(&file, &first).unwrap();
    answers(&[]).await;
    assert_eq!(std::fs::read(&file).unwrap(), second);

    let given = "7f".repeat(32);
    let (code, said) = run(directory.path(), &simulator, &["rekey"], &[("AIPIPE_NEW_MASTER_KEY", &given)]).await;
    assert!(code == 0 && said.contains("AIPIPE_MASTER_KEY") && !said.contains(&given), "{said}");
    answers(&[("AIPIPE_MASTER_KEY", &given)]).await;
    let (code, said) = run(directory.path(), &simulator, &["rekey"], &[]).await;
    assert!(code == 2 && said.contains("master key"), "the old key opens nothing any more: {said}");
}
