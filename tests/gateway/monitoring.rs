//! What is shipped for Prometheus and Grafana, against what a running gateway exposes.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{Bench, ask};

const ALERTS: &str = include_str!("../../config/prometheus-alerts.yml");
const ALERTS_TEST: &str = include_str!("../../config/prometheus-alerts-test.yml");
const GRAFANA: &str = include_str!("../../config/grafana-dashboard.json");

/// The text of a gateway that has served a request.
async fn metrics() -> String {
    let bench = Bench::start().await;
    bench.answered(&ask("openai/gpt-4o-mini", "Hello")).await;
    bench.client.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("aipipe_")).collect()
}

#[tokio::test]
async fn every_metric_that_is_shown_or_watched_is_exposed() {
    let text = metrics().await;
    let samples: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let exposed = names(&samples);
    for (file, content) in [("alerts", ALERTS), ("their test", ALERTS_TEST), ("Grafana", GRAFANA)] {
        let used = names(content);
        assert!(used.len() > 5, "{file}");
        let unknown: Vec<_> = used.difference(&exposed).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(GRAFANA).unwrap();
    let shown: String = dashboard["panels"].as_array().unwrap().iter().map(Value::to_string).collect();
    // Each metric is shown: by its name, or of a histogram by its buckets.
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(names(&shown).iter().any(|used| used.trim_end_matches("_bucket") == name), "{name} is not shown");
    }
}

/// Runs promtool; `None`, said aloud, where it is not installed.
async fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "promtool is not installed");
            eprintln!("SKIPPED: alerts and metrics by promtool: install prometheus");
            return None;
        }
        child => child.unwrap(),
    };
    let mut stdin = child.stdin.take().unwrap();
    // A tool that reads nothing has closed it already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said))
}

#[tokio::test]
async fn promtool_has_nothing_to_say_of_the_metrics() {
    if let Some((success, said)) = promtool(&["check", "metrics"], &metrics().await).await {
        assert!(success && said.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_only_then() {
    for arguments in [["check", "rules", "prometheus-alerts.yml"], ["test", "rules", "prometheus-alerts-test.yml"]] {
        if let Some((success, said)) = promtool(&arguments, "").await {
            assert!(success, "{said}");
        }
    }
    for alert in ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(ALERTS_TEST.contains(&format!("alertname: {alert}\n")), "{alert} is not tested");
    }
}
