//! Providers fail: the client gets its answer from another, or is told in its own dialect what was wrong and what to do.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask, ask_stream};

const FIRST: &str = "openai/gpt-4o-mini";
const SECOND: &str = "anthropic/claude-haiku-4-5";

/// A refusal by moderation.
const MODERATED: &str = r#"{"error": {"message": "Input flagged by moderation", "type": "invalid_request_error"}}"#;
/// Short waits, so that silence is noticed soon.
const IMPATIENT: &str = "[reliability]\nfirst_byte_timeout_ms = 300\nanswer_timeout_ms = 300\nidle_timeout_ms = 300\n";

/// A named model with another to fall back to.
fn with_fallback(mut body: serde_json::Value) -> serde_json::Value {
    body["aipipe"] = json!({"models": [SECOND]});
    body
}

#[tokio::test]
async fn every_fault_before_the_first_byte_goes_to_the_next_candidate() {
    for (behaviour, fault) in [
        (Behaviour::status(500), "upstream"),
        (Behaviour::status(503), "overloaded"),
        (Behaviour::rate_limited(7), "rate_limited"),
        (Behaviour::status(401), "key"),
        (Behaviour::status(400), "request"),
        (Behaviour::OutOfMoney, "quota"),
        (Behaviour::TooLong, "context_length"),
        (Behaviour::NotJson { status: 403, body: MODERATED.into() }, "content_policy"),
        (Behaviour::ResetBeforeHeaders, "broken"),
        (Behaviour::Silent, "silent"),
        (Behaviour::StallAfter(0), "silent"),
        (Behaviour::NotJson { status: 200, body: "<html>sorry</html>".into() }, "malformed"),
        (Behaviour::NotJson { status: 502, body: "<html>bad gateway</html>".into() }, "upstream"),
    ] {
        let bench = Bench::with(Setting { file: IMPATIENT, ..Setting::default() }).await;
        bench.simulator.script(Provider::OpenAi, behaviour.clone());
        for body in [with_fallback(ask(FIRST, "Hello")), with_fallback(ask_stream(FIRST, "Hello"))] {
            bench.gateway.directory.all_live().iter().for_each(|live| {
                // Each request finds the key as fresh as the first did.
                let openai = aipipe_actors::identity::ProviderId::parse("openai").unwrap();
                live.estate.cooling.key_changed(&openai, tokio::time::Instant::now());
            });
            let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await;
            assert_eq!(answer.status, 200, "{behaviour:?}: {}", answer.text);
            assert_eq!(answer.header("x-aipipe-provider"), "anthropic", "{behaviour:?}");
            assert_eq!(answer.header("x-aipipe-attempts"), "2", "{behaviour:?}");
        }
        for row in bench.rows().await {
            assert_eq!(
                (&row["outcome"], &row["provider"]),
                (&json!("ok"), &json!("anthropic")),
                "{behaviour:?}: {row}"
            );
            let attempts = row["attempts"].as_array().unwrap();
            assert_eq!(attempts[0]["fault"], fault, "{behaviour:?}: {row}");
            assert_eq!((&attempts[0]["outcome"], &attempts[1]["outcome"]), (&json!("failed"), &json!("ok")));
        }
        bench.idle().await;
    }
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_is_asked_for_elsewhere() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Truncated);
    let answer = bench.answered(&with_fallback(ask(FIRST, "Hello"))).await;
    assert_eq!(answer.header("x-aipipe-provider"), "anthropic");
    let row = &bench.rows().await[0];
    assert_eq!((&row["attempts"][0]["fault"], &row["estimated"]), (&json!("broken"), &json!(true)), "{row}");
}

#[tokio::test]
async fn a_stream_that_breaks_after_its_first_byte_ends_in_an_error_event() {
    for (behaviour, code) in [
        (Behaviour::BreaksAfter(2), "upstream_malformed"),
        (Behaviour::EndsEarly(1), "upstream_malformed"),
        (Behaviour::StallAfter(2), "upstream_timeout"),
        (Behaviour::ErrorEventAfter(2), "upstream_error"),
        (Behaviour::MalformedEventAfter(2), "upstream_malformed"),
    ] {
        let bench = Bench::with(Setting { file: IMPATIENT, ..Setting::default() }).await;
        for (provider, model) in
            [(Provider::OpenAi, FIRST), (Provider::Anthropic, SECOND), (Provider::Gemini, "gemini/gemini-3.5-flash")]
        {
            bench.simulator.script(provider, behaviour.clone());
            let body = with_fallback(ask_stream(model, "Tell me a long story about the sea."));
            let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await;
            assert_eq!(answer.status, 200);
            assert!(!answer.streamed().is_empty(), "{behaviour:?} {provider}: {}", answer.text);
            assert!(!answer.is_whole_stream(), "{behaviour:?} {provider}: {}", answer.text);
            let last = answer.chunks().pop().unwrap();
            assert_eq!(last["error"]["code"], code, "{behaviour:?} {provider}: {last}");
            let row = &bench.rows().await[0];
            assert_eq!(row["outcome"], "truncated", "{behaviour:?} {provider}: {row}");
            assert!(row["tokens"]["output"].as_u64().unwrap() > 0, "{behaviour:?} {provider}: {row}");
        }
        bench.idle().await;
    }
}

#[tokio::test]
async fn what_no_candidate_can_mend_is_told_in_the_clients_dialect() {
    for (behaviour, status, code, attempts) in [
        (Behaviour::status(401), 502, "upstream_error", 1),
        (Behaviour::OutOfMoney, 502, "upstream_error", 1),
        (Behaviour::rate_limited(7), 429, "rate_limited", 1),
        (Behaviour::status(500), 502, "upstream_error", 2),
        (Behaviour::ResetBeforeHeaders, 502, "upstream_malformed", 2),
        (Behaviour::NotJson { status: 200, body: "<html>sorry</html>".into() }, 502, "upstream_malformed", 1),
        (Behaviour::Silent, 504, "upstream_timeout", 1),
    ] {
        let bench = Bench::with(Setting { file: IMPATIENT, ..Setting::default() }).await;
        bench.simulator.script(Provider::OpenAi, behaviour.clone());
        let answer = bench.refused(&ask(FIRST, "Hello")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{behaviour:?}: {}", answer.text);
        assert!(!answer.header("x-request-id").is_empty());
        if status == 429 {
            assert_eq!(answer.header("retry-after"), "7");
        }
        let row = &bench.rows().await[0];
        assert_eq!(row["outcome"], "failed");
        assert_eq!(row["attempts"].as_array().unwrap().len(), attempts, "{behaviour:?}: {row}");
        // Who asks again is told the same, whether or not the provider is asked again so soon.
        let again = bench.refused(&ask(FIRST, "Hello again")).await;
        assert_eq!((again.status, again.code().as_str()), (status, code), "{behaviour:?}: {}", again.text);
        assert!(!answer.text.contains(bench.simulator.api_key(Provider::OpenAi)));
        bench.idle().await;
    }
}

#[tokio::test]
async fn a_refusal_of_the_request_itself_reaches_the_client_as_the_provider_said_it() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::TooLong);
    let answer = bench.refused(&ask(FIRST, "Hello")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "context_length_exceeded"), "{}", answer.text);
    // Also where another candidate was tried and failed for its own reasons.
    bench.simulator.script(Provider::Anthropic, Behaviour::status(500));
    let answer = bench.refused(&with_fallback(ask(FIRST, "Hello"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "context_length_exceeded"), "{}", answer.text);
}

#[tokio::test]
async fn what_does_not_fit_goes_to_a_model_with_more_room() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::TooLong);
    let mut body = ask(FIRST, "Hello");
    // gpt-4o has no more room than gpt-4o-mini.
    body["aipipe"] = json!({"models": ["openai/gpt-4o", SECOND]});
    let answer = bench.answered(&body).await;
    assert_eq!((answer.header("x-aipipe-provider"), answer.header("x-aipipe-attempts")), ("anthropic", "2"));
    assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, 1);
}

#[tokio::test]
async fn a_provider_whose_calls_fail_over_shows_them_though_no_request_fails() {
    let bench = Bench::start().await;
    bench.simulator.script_next(Provider::OpenAi, Behaviour::status(500));
    let mut body = ask(FIRST, "Hello");
    body["aipipe"] = json!({"models": [SECOND]});
    bench.answered(&body).await;
    bench.answered(&ask(FIRST, "Hello again")).await;
    bench.idle().await;
    // Counts are published a little after they change.
    let metrics = loop {
        let metrics = bench.shown("/admin/metrics").await;
        if metrics["providers"]["openai"]["calls"] == 2 && metrics["providers"]["anthropic"]["calls"] == 1 {
            break metrics;
        }
    };
    let provider = bench.shown("/admin/providers/openai").await;
    let calls = |of: &Value| {
        ["calls", "failures", "calls_last_minute", "failures_last_minute"].map(|name| of[name].as_u64().unwrap())
    };
    assert_eq!(calls(&provider["reach"]), [2, 1, 2, 1], "{provider}");
    assert_eq!(calls(&provider["models"]["gpt-4o-mini"]), [2, 1, 2, 1], "{provider}");
    assert_eq!(calls(&metrics["providers"]["openai"]), [2, 1, 2, 1], "{metrics}");
    assert_eq!(calls(&metrics["providers"]["anthropic"]), [1, 0, 1, 0], "{metrics}");
    for (series, count) in [
        (r#"aipipe_attempts_total{provider="openai",model="gpt-4o-mini",outcome="failed"}"#, 1.0),
        (r#"aipipe_attempts_total{provider="openai",model="gpt-4o-mini",outcome="ok"}"#, 1.0),
        (r#"aipipe_attempts_total{provider="anthropic",model="claude-haiku-4-5",outcome="ok"}"#, 1.0),
        (r#"aipipe_requests_total{provider="openai",model="gpt-4o-mini",outcome="failed"}"#, 0.0),
    ] {
        assert_eq!(bench.metric(series).await, count, "{series}");
    }
}

#[tokio::test]
async fn a_circuit_opens_and_says_so_everywhere() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let mut last = bench.refused(&ask(FIRST, "Hello")).await;
    for _ in 0..5 {
        last = bench.refused(&ask(FIRST, "Hello")).await;
    }
    assert_eq!((last.status, last.code().as_str()), (503, "provider_unavailable"), "{}", last.text);
    assert!(last.message().contains("circuit_open"), "{}", last.message());
    assert!(!last.header("retry-after").is_empty());
    let provider = bench.shown("/admin/providers/openai").await;
    let health = &provider["models"]["gpt-4o-mini"];
    assert_eq!((&provider["circuit"], &health["open_because"]), (&json!("open"), &json!("upstream")), "{provider}");
    assert!(health["open_since"].is_string() && health["last_error"]["message"].is_string(), "{health}");
    assert_eq!(bench.metric(r#"aipipe_provider_circuit_state{provider="openai"}"#).await, 2.0);
    // Nobody else suffers.
    bench.answered(&ask(SECOND, "Hello")).await;
    let decision = Answer::read(bench.post("/v1/route", &ask(FIRST, "Hello")).send().await.unwrap()).await.ok().json();
    assert_eq!(decision["candidates"][0]["reason"], "circuit_open", "{decision}");
}

#[tokio::test]
async fn traffic_leaves_a_failing_model_by_itself() {
    let bench = Bench::start().await;
    let route = || async {
        let body = ask("auto", "What is the capital of France?");
        Answer::read(bench.post("/v1/route", &body).send().await.unwrap()).await.ok().json()["chosen"].clone()
    };
    let before = route().await;
    let cheapest: Provider = Provider::ALL.into_iter().find(|p| p.as_str() == before["provider"]).unwrap();
    bench.simulator.script_model(cheapest, before["model"].as_str().unwrap(), Behaviour::status(503));
    let asked = async |n: usize| {
        bench
            .answered(&ask("auto", &format!("What is the capital of France? {n}")))
            .await
            .header("x-aipipe-attempts")
            .to_owned()
    };
    for n in 0..3 {
        asked(n).await;
    }
    assert_ne!(route().await, before);
    assert_eq!(asked(3).await, "1", "the failing model is not asked first any more");
}

#[tokio::test]
async fn a_clients_own_deadline_is_nobodys_fault() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Silent);
    let mut body = with_fallback(ask(FIRST, "Hello"));
    body["aipipe"]["timeout_ms"] = json!(100);
    let answer = bench.refused(&body).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    bench.idle().await;
    let provider = bench.shown("/admin/providers/openai").await;
    assert_eq!(provider["models"]["gpt-4o-mini"]["failed"], 0, "{provider}");
    let row = &bench.rows().await[0];
    assert_eq!((&row["outcome"], &row["attempts"][0]["fault"]), (&json!("failed"), &json!("client_deadline")), "{row}");
}

#[tokio::test]
async fn a_silent_candidate_loses_its_turn_within_a_clients_short_deadline() {
    let bench = Bench::start().await;
    // A whole answer is not given up before it is clear how long they usually take.
    bench.answered(&with_fallback(ask(FIRST, "Hello"))).await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Silent);
    for mut body in [with_fallback(ask_stream(FIRST, "Hello there")), with_fallback(ask(FIRST, "Hello there"))] {
        body["aipipe"]["timeout_ms"] = json!(1_500);
        let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await.ok();
        assert_eq!((answer.header("x-aipipe-provider"), answer.header("x-aipipe-attempts")), ("anthropic", "2"));
        let row = &bench.rows().await[0];
        assert_eq!((&row["outcome"], &row["attempts"][0]["fault"]), (&json!("ok"), &json!("late")), "{row}");
    }
    bench.idle().await;
    // The deadline is the client's own.
    let provider = bench.shown("/admin/providers/openai").await;
    assert_eq!(provider["models"]["gpt-4o-mini"]["failed"], 0, "{provider}");
}

#[tokio::test]
async fn a_request_makes_no_more_calls_than_it_may() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        bench.simulator.script(provider, Behaviour::status(500));
    }
    let answer = bench.refused(&ask("auto", "Hello")).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"));
    let calls: usize = Provider::ALL.iter().map(|provider| bench.simulator.counts(*provider).arrived).sum();
    assert_eq!(calls, 3);
}

#[tokio::test]
async fn d168_a_client_that_leaves_cancels_the_call_and_pays_for_what_it_got() {
    let bench = Bench::start().await;
    let _hold = bench.simulator.hold_after(Provider::OpenAi, 3);
    let mut response = bench.chat(&ask_stream(FIRST, "Tell me a long story.")).send().await.unwrap();
    let mut received = String::new();
    while !received.contains("\"content\":\"") {
        received.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(response);
    bench.simulator.wait_for_disconnects(Provider::OpenAi, 1).await;
    bench.idle().await;
    let row = &bench.rows().await[0];
    assert_eq!((&row["outcome"], &row["estimated"]), (&json!("cancelled"), &json!(true)), "{row}");
    assert!(row["tokens"]["output"].as_u64().unwrap() > 0, "{row}");
    let provider = bench.shown("/admin/providers/openai").await;
    assert_eq!(provider["models"]["gpt-4o-mini"]["failed"], 0, "{provider}");
}
