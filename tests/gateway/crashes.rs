//! Every kind of actor crashes, with requests at each step of their way: they end well or are told, and nothing stays held.

use std::time::Duration;

use aipipe::simulator::Provider;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Answer, Bench, Setting, ask, ask_stream};

const MODEL: &str = "openai/gpt-4o-mini";
const ACTORS: [&str; 6] = ["tenant:default", "provider:openai", "metrics", "tenants", "providers", "root"];

impl Bench {
    /// Crashes an actor through the admin API and waits until its successor runs.
    async fn crash(&self, name: &str) {
        let restarts = |node: &Value| find(node, name).map(|node| node["restarts"].as_u64().unwrap());
        let before = restarts(&self.shown("/admin/actors").await).unwrap();
        let path = format!("/admin/actors/{}/restart", name.replace(':', "%3A"));
        let answer = Answer::read(self.admin(reqwest::Method::POST, &path).send().await.unwrap()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let until = Instant::now() + Duration::from_secs(10);
        while restarts(&self.shown("/admin/actors").await).is_none_or(|now| now <= before) {
            assert!(Instant::now() < until, "{name} was not restarted");
            tokio::task::yield_now().await;
        }
    }
}

fn find<'a>(node: &'a Value, name: &str) -> Option<&'a Value> {
    if node["name"] == name {
        return Some(node);
    }
    node["children"].as_array()?.iter().find_map(|child| find(child, name))
}

#[tokio::test]
async fn a_crash_is_seen_everywhere_and_survived() {
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "Hello")).await;
    for name in ACTORS {
        bench.crash(name).await;
        let tree = bench.shown("/admin/actors").await;
        let node = find(&tree, name).unwrap();
        assert_eq!(node["status"], "running", "{node}");
        assert!(node["last_failure"]["reason"].as_str().unwrap().contains("operator") || name == "root", "{node}");
        let label = if name.starts_with("tenant:") { "tenant" } else { name };
        let series = format!(r#"aipipe_actor_restarts_total{{actor="{label}"}}"#);
        assert!(bench.metric(&series).await >= 1.0, "{series}");
        bench.answered(&ask(MODEL, &format!("Hello after {name}"))).await;
    }
    bench.idle().await;
}

#[tokio::test]
async fn requests_that_wait_for_a_choice_outlive_the_crash_of_any_actor() {
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "Hello")).await;
    let live = bench.gateway.directory.all_live();
    let tenant = &live[0].address;
    for name in ACTORS {
        let calls = bench.simulator.counts(Provider::OpenAi).arrived;
        let suspension = tenant.suspend();
        let asked = tokio::spawn(bench.chat(&ask(MODEL, &format!("Waiting while {name} crashes"))).send());
        while tenant.gauges().mailbox() == 0 {
            tokio::task::yield_now().await;
        }
        // Without the tenant actor's word nothing goes out.
        assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, calls);
        if name == "tenant:default" {
            // It handles nothing while suspended: its crash stands behind the suspension.
            let path = "/admin/actors/tenant%3Adefault/restart";
            assert_eq!(bench.admin(reqwest::Method::POST, path).send().await.unwrap().status(), 202);
        } else {
            bench.crash(name).await;
        }
        drop(suspension);
        let answer = Answer::read(asked.await.unwrap().unwrap()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        bench.idle().await;
    }
}

#[tokio::test]
async fn requests_in_a_providers_queue_outlive_the_crash_of_any_actor() {
    let file = "[providers.openai]\nmax_in_flight = 1\nmax_queue = 4\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    bench.answered(&ask(MODEL, "Hello")).await;
    for name in ACTORS {
        let calls = bench.simulator.counts(Provider::OpenAi).arrived;
        let hold = bench.simulator.hold(Provider::OpenAi);
        let first = tokio::spawn(bench.chat(&ask(MODEL, &format!("First while {name} crashes"))).send());
        bench.simulator.wait_for_calls(Provider::OpenAi, calls + 1).await;
        let second = tokio::spawn(bench.chat(&ask(MODEL, &format!("Second while {name} crashes"))).send());
        while bench.shown("/admin/providers/openai").await["queue_depth"] == json!(0) {
            tokio::task::yield_now().await;
        }
        bench.crash(name).await;
        drop(hold);
        for one in [first, second] {
            let answer = Answer::read(one.await.unwrap().unwrap()).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        }
        bench.idle().await;
    }
    assert!(bench.rows().await.iter().all(|row| row["outcome"] == "ok"));
}

#[tokio::test]
async fn streams_outlive_the_crash_of_any_actor() {
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "Hello")).await;
    for name in ACTORS {
        let hold = bench.simulator.hold_after(Provider::OpenAi, 2);
        let mut response = bench.chat(&ask_stream(MODEL, "Tell me a story.")).send().await.unwrap();
        let mut received = Vec::new();
        received.extend_from_slice(&response.chunk().await.unwrap().unwrap());
        bench.crash(name).await;
        drop(hold);
        while let Some(chunk) = response.chunk().await.unwrap() {
            received.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(received).unwrap();
        assert!(text.trim_end().ends_with("data: [DONE]"), "{name}: {text}");
        bench.idle().await;
    }
    assert!(bench.rows().await.iter().all(|row| row["outcome"] == "ok"));
}

#[tokio::test]
async fn while_a_providers_actor_is_down_others_answer_and_where_there_is_none_it_is_waited_for() {
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "Hello")).await;
    // The fifth crash in a row is made good after 200 ms at the earliest.
    for _ in 0..4 {
        bench.crash("provider:openai").await;
    }
    let path = "/admin/actors/provider%3Aopenai/restart";
    assert_eq!(bench.admin(reqwest::Method::POST, path).send().await.unwrap().status(), 202);
    while find(&bench.shown("/admin/actors").await, "provider:openai").unwrap()["status"] == "running" {
        tokio::task::yield_now().await;
    }
    let mut body = ask(MODEL, "Who answers?");
    body["aipipe"] = json!({"models": ["anthropic/claude-haiku-4-5"]});
    let other = bench.answered(&body).await;
    assert_eq!((other.header("x-aipipe-provider"), other.header("x-aipipe-attempts")), ("anthropic", "1"));
    bench.answered(&ask(MODEL, "And now?")).await;
    bench.idle().await;
}

#[tokio::test]
async fn an_unknown_actor_cannot_be_restarted() {
    let bench = Bench::start().await;
    let answer = bench.admin(reqwest::Method::POST, "/admin/actors/nobody/restart").send().await.unwrap();
    let answer = Answer::read(answer).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
}
