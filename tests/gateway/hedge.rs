//! A second model is asked beside one that is slow to begin, where the operator allows it: whose content comes first answers, the other is
//! cancelled, and both are paid.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask_stream};

const FIRST: &str = "openai/gpt-4o-mini";
const SECOND: &str = "openrouter/openai/gpt-4o-mini";
const HEDGED: &str = "[hedge]\nenabled = true\nmax_extra_cost = 1.0\n";

fn body(prompt: &str) -> Value {
    let mut body = ask_stream(FIRST, prompt);
    // As little as can be expected of an answer: hedges are weighed by what they are expected to cost.
    body["max_tokens"] = json!(20);
    body["aipipe"] = json!({"models": [SECOND]});
    body
}

async fn answered(bench: &Bench, body: &Value) -> Answer {
    let answer = Answer::read(bench.chat(body).send().await.unwrap()).await.ok();
    assert!(answer.is_whole_stream(), "{}", answer.text);
    answer
}

/// A gateway that knows how soon the first model usually begins.
async fn warm(file: &str) -> Bench {
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    for n in 0..aipipe_actors::provider::pace::FEWEST_SAMPLES {
        answered(&bench, &body(&format!("Count to {n}."))).await;
    }
    bench
}

#[tokio::test]
async fn the_second_answers_where_the_first_is_slow() {
    let bench = warm(HEDGED).await;
    let before = bench.simulator.counts(Provider::OpenRouter).arrived;
    let _hold = bench.simulator.hold(Provider::OpenAi);
    let answer = answered(&bench, &body("Where are you?")).await;
    assert_eq!((answer.header("x-aipipe-provider"), answer.header("x-aipipe-attempts")), ("openrouter", "2"));
    bench.simulator.wait_for_disconnects(Provider::OpenAi, 1).await;
    assert_eq!(bench.simulator.counts(Provider::OpenRouter).arrived, before + 1);
    bench.idle().await;
    let row = &bench.rows().await[0];
    let [slow, hedge] = row["attempts"].as_array().unwrap().as_slice() else { panic!("{row}") };
    assert_eq!((&slow["outcome"], &slow["fault"]), (&json!("cancelled"), &json!("outrun")), "{row}");
    assert_eq!((&hedge["outcome"], &hedge["role"]), (&json!("ok"), &json!("hedge")), "{row}");
    assert_eq!((&row["outcome"], &row["provider"]), (&json!("ok"), &json!("openrouter")), "{row}");
    let usd = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    assert!(usd(&slow["cost_usd"]) > 0.0, "what it was sent is paid: {row}");
    let cost = usd(&slow["cost_usd"]) + usd(&hedge["cost_usd"]);
    assert!((usd(&row["cost_usd"]) - cost).abs() < 1e-12, "{row}");
    let told = answer.chunks().iter().rev().find_map(|chunk| chunk["usage"]["cost"].as_f64()).unwrap();
    assert!((told - cost).abs() < 1e-12, "{told} {row}");
    assert_eq!(bench.metric(r#"aipipe_hedges_total{result="first"}"#).await, 1.0);
    // Being slow is no failure.
    let provider = bench.shown("/admin/providers/openai").await;
    assert_eq!(provider["models"]["gpt-4o-mini"]["failed"], 0, "{provider}");
}

#[tokio::test]
async fn the_first_answers_where_it_begins_before_the_second() {
    let bench = warm(HEDGED).await;
    let first = bench.simulator.hold(Provider::OpenAi);
    let _second = bench.simulator.hold(Provider::OpenRouter);
    let request = tokio::spawn(bench.chat(&body("Where are you?")).send());
    bench.simulator.wait_for_calls(Provider::OpenRouter, 1).await;
    first.release();
    let answer = Answer::read(request.await.unwrap().unwrap()).await.ok();
    assert_eq!(answer.header("x-aipipe-provider"), "openai");
    assert!(answer.is_whole_stream(), "{}", answer.text);
    bench.simulator.wait_for_disconnects(Provider::OpenRouter, 1).await;
    bench.idle().await;
    let row = &bench.rows().await[0];
    let [hedge, first] = row["attempts"].as_array().unwrap().as_slice() else { panic!("{row}") };
    assert_eq!((&hedge["fault"], &hedge["role"]), (&json!("outrun"), &json!("hedge")), "{row}");
    assert_eq!((&first["outcome"], &first["provider"]), (&json!("ok"), &json!("openai")), "{row}");
    assert_eq!(bench.metric(r#"aipipe_hedges_total{result="lost"}"#).await, 1.0);
}

#[tokio::test]
async fn the_second_stands_in_where_the_first_fails() {
    let bench = warm(HEDGED).await;
    let first = bench.simulator.hold(Provider::OpenAi);
    let second = bench.simulator.hold(Provider::OpenRouter);
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let request = tokio::spawn(bench.chat(&body("Where are you?")).send());
    bench.simulator.wait_for_calls(Provider::OpenRouter, 1).await;
    let arrived = bench.simulator.counts(Provider::OpenAi).arrived;
    first.release();
    bench.simulator.wait_until(Provider::OpenAi, |counts| counts.open == 0).await;
    second.release();
    let answer = Answer::read(request.await.unwrap().unwrap()).await.ok();
    assert_eq!(answer.header("x-aipipe-provider"), "openrouter");
    assert!(answer.is_whole_stream(), "{}", answer.text);
    bench.idle().await;
    assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, arrived);
    let row = &bench.rows().await[0];
    assert_eq!(
        (&row["attempts"][0]["fault"], &row["attempts"][1]["role"]),
        (&json!("upstream"), &json!("hedge")),
        "{row}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_cancels_both() {
    let bench = warm(HEDGED).await;
    let _first = bench.simulator.hold(Provider::OpenAi);
    let _second = bench.simulator.hold(Provider::OpenRouter);
    let request = tokio::spawn(bench.chat(&body("Where are you?")).send());
    bench.simulator.wait_for_calls(Provider::OpenRouter, 1).await;
    request.abort();
    bench.simulator.wait_for_disconnects(Provider::OpenAi, 1).await;
    bench.simulator.wait_for_disconnects(Provider::OpenRouter, 1).await;
    bench.idle().await;
    let row = &bench.rows().await[0];
    let faults: Vec<_> = row["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["fault"]).collect();
    assert_eq!(faults, ["client_gone", "client_gone"], "{row}");
}

#[tokio::test]
async fn nothing_is_asked_twice_where_it_is_not_allowed_or_not_safe() {
    let dear = "[hedge]\nenabled = true\nmax_extra_cost = 0.000001\n";
    for (file, members) in [
        ("", json!({})),
        (dear, json!({})),
        // The client wants this model alone.
        (HEDGED, json!({"aipipe": {}})),
        (HEDGED, json!({"stream": false, "stream_options": null})),
    ] {
        let bench = warm(file).await;
        let hold = bench.simulator.hold(Provider::OpenAi);
        let mut body = body("Where are you?");
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        // Long past the percentile of answers that come at once.
        let wait = json!(600);
        body["aipipe"]["timeout_ms"] = wait;
        let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await;
        assert_eq!(bench.metric(r#"aipipe_hedges_total{result="first"}"#).await, 0.0, "{file} {members}");
        assert_eq!(bench.metric(r#"aipipe_hedges_total{result="lost"}"#).await, 0.0, "{file} {members}");
        let row = &bench.rows().await[0];
        assert!(row["attempts"].as_array().unwrap().iter().all(|attempt| attempt["role"].is_null()), "{row}");
        drop((hold, answer));
    }
}
