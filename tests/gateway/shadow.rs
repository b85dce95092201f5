//! A tenant's second policy whose models are called too: after the client has its answer, within a budget, and without effect on it.

use aipipe::simulator::{Behaviour, Provider, Settings, Simulator};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::Daemon;
use crate::support::{Answer, Bench, SECRET, Setting, ask, ask_stream, write_configuration};

const CHEAP: &str = "openai/gpt-5.4-nano";
const DEAR: &str = "anthropic/claude-haiku-4-5";
/// Two models that differ in price alone.
const FILE: &str = "[[models]]\nprovider = \"openai\"\nid = \"gpt-5.4-nano\"\ninput = 1.0\noutput = 1.0\nquality = 0.5\n\
    [[models]]\nprovider = \"anthropic\"\nid = \"claude-haiku-4-5\"\ninput = 4.0\noutput = 4.0\nquality = 0.5\n";

/// A second policy that knows the dear model alone.
fn dear(budget: &str) -> Value {
    json!({"shadow": {"sample": 1.0, "models": [DEAR], "send": true, "budget_usd": budget}})
}

/// A request that the policy that holds gives to the cheap model.
fn open(prompt: &str) -> Value {
    let mut body = ask("auto", prompt);
    body["aipipe"] = json!({"models": [CHEAP, DEAR], "cache": "off", "tags": ["trial"]});
    body
}

async fn bench(policy: &Value) -> Bench {
    let bench = Bench::with(Setting { file: FILE, ..Setting::default() }).await;
    bench.put_tenant("default", policy).await;
    bench
}

impl Bench {
    /// Asks, and checks that the cheap model answered.
    async fn served_cheaply(&self, body: &Value) -> Answer {
        let answer = self.answered(body).await;
        assert_eq!(answer.header("x-aipipe-provider"), "openai", "{}", answer.text);
        answer
    }

    async fn compared(&self) -> Value {
        self.shown("/admin/tenants/default/shadow").await["comparison"].clone()
    }

    fn dear_calls(&self) -> usize {
        self.simulator.counts(Provider::Anthropic).arrived
    }
}

fn usd(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_second_models_answer_is_judged_paid_and_thrown_away() {
    let bench = bench(&dear("1")).await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Says("It is in Norway.".into()));
    bench.simulator.script(Provider::Anthropic, Behaviour::Says(r#"{"city": "Oslo"}"#.into()));
    let mut body = open("Where is it? Answer in JSON.");
    body["response_format"] = json!({"type": "json_object"});
    body["store"] = json!(false);
    let answer = bench.served_cheaply(&body).await;
    assert_eq!((answer.content().as_str(), answer.header("x-aipipe-attempts")), ("It is in Norway.", "1"));
    bench.idle().await;

    let call = &bench.simulator.calls_of(Provider::Anthropic)[0];
    assert!(call.json().to_string().contains("Where is it?") && !call.stream, "{}", call.json());
    let rows = bench.rows().await;
    let [shadow, client] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(client["request_id"], answer.header("x-request-id"));
    assert!(client["shadow_of"].is_null(), "{client}");
    assert_eq!(shadow["shadow_of"], client["request_id"], "{shadow}");
    assert_eq!(
        (&shadow["requested"], &shadow["outcome"]),
        (&json!(format!("shadow:{DEAR}")), &json!("ok")),
        "{shadow}"
    );
    assert_eq!((&shadow["attempts"][0]["role"], &shadow["tags"]), (&json!("shadow"), &json!(["trial"])), "{shadow}");
    let (paid, extra) = (usd(&client["cost_usd"]), usd(&shadow["cost_usd"]));
    assert!(extra > 0.0 && usd(&shadow["saved_usd"]) == -extra, "{shadow}");

    // It costs, and is no request of the client's.
    let stats = bench.shown("/admin/tenants/default/stats").await;
    assert_eq!((&stats["requests"], &stats["errors"]), (&json!(1), &json!(0)), "{stats}");
    assert!((usd(&stats["cost_usd"]) - paid - extra).abs() < 1e-12, "{stats}");
    let dear = &stats["providers"]["anthropic"];
    assert_eq!((&dear["requests"], &dear["cost_usd"]), (&json!(0), &shadow["cost_usd"]), "{stats}");
    for by in ["tenant", "provider"] {
        let series = bench.shown(&format!("/admin/series?by={by}&steps=1")).await;
        assert_eq!(series["total"]["requests"], 1, "{series}");
        assert!((usd(&series["total"]["cost_usd"]) - paid - extra).abs() < 1e-12, "{series}");
    }
    let tenant = bench.shown("/admin/tenants/default").await;
    assert!((usd(&tenant["spent"]["day_usd"]) - paid - extra).abs() < 1e-12, "{tenant}");
    let of_dear = r#"{provider="anthropic",model="claude-haiku-4-5""#;
    assert_eq!(bench.metric(&format!("aipipe_requests_total{of_dear},outcome=\"ok\"}}")).await, 0.0);
    assert_eq!(bench.metric(&format!("aipipe_attempts_total{of_dear},outcome=\"ok\"}}")).await, 1.0);
    assert_eq!(bench.metric(&format!("aipipe_cost_usd_total{of_dear}}}")).await, extra);
    assert_eq!(bench.metric(r#"aipipe_shadow_calls_total{result="sent"}"#).await, 1.0);

    let answers = bench.compared().await["answers"].clone();
    let counts = ["sent", "skipped", "failed", "judged"].map(|name| answers[name].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 0, 1], "{answers}");
    let mean = |name: &str| answers[name]["mean"].as_f64().unwrap();
    assert_eq!((mean("chosen_quality"), mean("shadow_quality")), (0.0, 1.0), "{answers}");
    assert_eq!((&answers["cost_usd"], &answers["spent_today_usd"]), (&shadow["cost_usd"], &shadow["cost_usd"]));
    // Nothing was learned of it, and nothing of it is in the cache.
    let learning = bench.shown("/admin/tenants/default/learning").await;
    let taught: Vec<&Value> =
        learning["lessons"].as_array().unwrap().iter().map(|lesson| &lesson["provider"]).collect();
    assert_eq!(taught, ["openai"], "{learning}");

    bench.served_cheaply(&body).await;
    bench.idle().await;
    let difference = bench.compared().await["answers"]["difference"].clone();
    assert_eq!(difference, json!({"mean": 1.0, "low": 1.0, "high": 1.0}));
}

#[tokio::test]
async fn what_the_second_policy_may_not_have_is_not_sent_and_counted() {
    // A fifth of a cent pays for no bound of an answer.
    for policy in [
        dear("0.000001"),
        json!({"shadow": dear("1")["shadow"], "requests_per_minute": 1}),
        json!({"shadow": dear("1")["shadow"], "budget_usd": "0.001"}),
    ] {
        let bench = bench(&policy).await;
        let mut body = open("Where is it?");
        body["max_tokens"] = json!(500);
        bench.served_cheaply(&body).await;
        bench.idle().await;
        assert_eq!(bench.dear_calls(), 0, "{policy}");
        let answers = bench.compared().await["answers"].clone();
        assert_eq!((&answers["sent"], &answers["skipped"]), (&json!(0), &json!(1)), "{policy} {answers}");
        assert_eq!(bench.rows().await.len(), 1);
    }
    let bench = bench(&json!({})).await;
    let no_budget = json!({"shadow": {"sample": 1.0, "send": true}}).to_string();
    let put = bench.admin(Method::PUT, "/admin/tenants/default").body(no_budget);
    let refused = Answer::read(put.send().await.unwrap()).await;
    assert!(refused.status == 400 && refused.message().contains("budget_usd"), "{}", refused.text);
}

#[tokio::test]
async fn streams_named_models_cached_answers_and_providers_tools_are_not_sent() {
    let bench = bench(&dear("1")).await;
    let mut stream = ask_stream("auto", "Where is it?");
    stream["aipipe"] = open("")["aipipe"].clone();
    bench.served_cheaply(&stream).await;
    bench.served_cheaply(&ask(CHEAP, "Where is it?")).await;
    let mut searching = json!({"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Who won?"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}]});
    searching["aipipe"] = open("")["aipipe"].clone();
    Answer::read(bench.post("/v1/messages", &searching).send().await.unwrap()).await.ok();
    bench.idle().await;
    assert_eq!(bench.dear_calls(), 0);
    // The first answer of two is sent to the other model too, the second comes from the cache.
    let mut cached = open("And where is that?");
    cached["aipipe"]["cache"] = json!("use");
    for _ in 0..2 {
        bench.answered(&cached).await;
        bench.idle().await;
    }
    assert_eq!(bench.dear_calls(), 1);
}

#[tokio::test]
async fn nobody_waits_for_it_few_run_at_once_and_one_that_fails_is_no_failure_of_the_clients() {
    let bench = bench(&dear("100")).await;
    let hold = bench.simulator.hold(Provider::Anthropic);
    for number in 0..10 {
        // The calls of the second policy's model are all under way, and the client has its answer.
        bench.served_cheaply(&open(&format!("Where is {number}?"))).await;
    }
    bench.simulator.wait_for_calls(Provider::Anthropic, 8).await;
    drop(hold);
    bench.idle().await;
    let answers = bench.compared().await["answers"].clone();
    assert_eq!((&answers["sent"], &answers["skipped"]), (&json!(8), &json!(2)), "{answers}");
    assert_eq!(bench.dear_calls(), 8);

    bench.simulator.script(Provider::Anthropic, Behaviour::status(500));
    bench.served_cheaply(&open("And now?")).await;
    bench.idle().await;
    let answers = bench.compared().await["answers"].clone();
    assert_eq!((&answers["sent"], &answers["failed"]), (&json!(9), &json!(1)), "{answers}");
    let stats = bench.shown("/admin/tenants/default/stats").await;
    assert_eq!((&stats["requests"], &stats["errors"]), (&json!(11), &json!(0)), "{stats}");
    assert_eq!(bench.rows().await[0]["outcome"], "failed");
}

#[tokio::test]
async fn figures_outlive_the_process_and_a_days_spend_its_death() {
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    write_configuration(&place.path().join("aipipe.toml"), FILE);
    let mut daemon = Daemon::start(place.path(), &simulator).await;
    let put = daemon.client.put(daemon.url("/admin/tenants/default")).header("x-admin-secret", SECRET);
    Answer::read(put.body(Bytes::from(dear("1").to_string())).send().await.unwrap()).await.ok();
    let compared = async |daemon: &Daemon| daemon.shown("/admin/tenants/default/shadow").await["comparison"].clone();
    let ask_and_wait = async |daemon: &Daemon, calls: usize| {
        Answer::read(daemon.chat(&open("Where is it?")).send().await.unwrap()).await.ok();
        simulator.wait_for_calls(Provider::Anthropic, calls).await;
        // The last row is settled a little later.
        while daemon.shown("/admin/requests").await["requests"][0]["outcome"] != "ok" {}
        while compared(daemon).await["answers"]["sent"] != calls as u64 {}
    };
    ask_and_wait(&daemon, 1).await;
    let before = compared(&daemon).await;
    daemon.stop();
    daemon.ended().await;
    let mut daemon = Daemon::start(place.path(), &simulator).await;
    assert_eq!(compared(&daemon).await, before);
    let spent = |comparison: &Value| usd(&comparison["answers"]["spent_today_usd"]);
    assert!(spent(&before) > 0.0, "{before}");

    // What was not written down is lost with a process that is killed; what was spent never is.
    Answer::read(daemon.chat(&open("And where is that?")).send().await.unwrap()).await.ok();
    simulator.wait_for_calls(Provider::Anthropic, 2).await;
    while compared(&daemon).await["answers"]["sent"] != 2 {}
    let last = compared(&daemon).await;
    daemon.kill();
    daemon.ended().await;
    let daemon = Daemon::start(place.path(), &simulator).await;
    let after = compared(&daemon).await;
    assert_eq!(spent(&after), spent(&last), "{last} {after}");
    assert!(after["answers"]["sent"].as_u64() >= Some(1), "{after}");
}
