//! Faults happen as they were asked for.

use std::time::Duration;

use aipipe::simulator::{Behaviour, Latency, LatencyProfile, Outcome, Provider, Settings, Simulator};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn scripts_decide_by_queue_then_model_then_provider() {
    let simulator = simulator().await;
    let asked = body(Provider::OpenAi, Wanted::Text, "Hello");
    simulator.script(Provider::OpenAi, Behaviour::status(500));
    simulator.script_model(Provider::OpenAi, model(Provider::OpenAi), Behaviour::Normal);
    simulator.script_next(Provider::OpenAi, Behaviour::rate_limited(7));
    let limited = ask(&simulator, Provider::OpenAi, &asked).await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(ask(&simulator, Provider::OpenAi, &asked).await.status(), 200);
    let mut other = asked.clone();
    other["model"] = json!("gpt-4o");
    assert_eq!(ask(&simulator, Provider::OpenAi, &other).await.status(), 500);
}

#[tokio::test]
async fn every_status_has_a_askedof_the_provider() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        for status in [400, 401, 402, 403, 404, 413, 429, 500, 503, 529] {
            simulator.script_next(provider, Behaviour::status(status));
            let (sent, error) = refused(&simulator, provider, &body(provider, Wanted::Text, "Hello")).await;
            assert_eq!(sent, status);
            let told = match provider {
                Provider::Xai => &error["error"],
                _ => &error["error"]["message"],
            };
            assert!(told.as_str().is_some_and(|text| !text.is_empty()), "{provider} {status}: {error}");
        }
    }
}

#[tokio::test]
async fn a_stream_breaks_after_exactly_so_many_deltas() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        simulator.script_next(provider, Behaviour::BreaksAfter(2));
        let asked = body(
            provider,
            Wanted::Text,
            "[[echo]] one two three four five six seven eight nine ten one two three four five six seven eight nine ten",
        );
        let mut stream = prepared(&simulator, provider, true, &asked).send().await.unwrap().bytes_stream();
        let mut received = Vec::new();
        let broke = loop {
            match stream.next().await {
                Some(Ok(bytes)) => received.extend_from_slice(&bytes),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        let received = String::from_utf8(received).unwrap();
        assert!(broke, "{provider} ended properly: {received}");
        let received_events = events(&received);
        let deltas = received_events.iter().filter(|event| {
            let choice = &event["choices"][0];
            event["type"] == "content_block_delta"
                || event["candidates"].is_array()
                || choice["delta"]["content"].as_str().is_some_and(|text| !text.is_empty())
                || choice["delta"]["reasoning_content"].is_string()
        });
        assert_eq!(deltas.count(), 2, "{provider}: {received}");
        assert_eq!(simulator.calls_of(provider).pop().unwrap().outcome, Outcome::Broken);
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_lacks_its_end() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        simulator.script_next(provider, Behaviour::EndsEarly(1));
        let stream =
            streamed(&simulator, provider, &body(provider, Wanted::Text, "Hello there, tell me more about it")).await;
        let end = ["[DONE]", "message_stop", "\"finish_reason\":\"stop\"", "finishReason"];
        assert!(!end.iter().any(|end| stream.contains(end)), "{provider}: {stream}");
    }
}

#[tokio::test]
async fn an_error_event_ends_a_stream_and_a_malformed_one_does_not() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        let asked = body(provider, Wanted::Text, "Hello there, tell me more about it");
        simulator.script_next(provider, Behaviour::ErrorEventAfter(1));
        let stream = streamed(&simulator, provider, &asked).await;
        let last = events(&stream).pop().unwrap();
        let told = !last["error"].is_null() || last.pointer("/base_resp/status_code").is_some_and(|code| code != 0);
        assert!(told, "{provider}: {last}");
        simulator.script_next(provider, Behaviour::MalformedEventAfter(1));
        let stream = streamed(&simulator, provider, &asked).await;
        let data: Vec<&str> =
            stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]").collect();
        let broken: Vec<bool> = data.iter().map(|data| serde_json::from_str::<Value>(data).is_err()).collect();
        assert_eq!(broken.iter().filter(|broken| **broken).count(), 1, "{provider}");
        assert_eq!(broken.last(), Some(&false), "{provider}");
    }
}

#[tokio::test]
async fn errors_hide_in_a_200() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        simulator.script_next(provider, Behaviour::ErrorIn200);
        let answer = answered(&simulator, provider, &body(provider, Wanted::Text, "Hello")).await;
        let code = answer["base_resp"]["status_code"].as_u64();
        assert!(code == Some(1002) || !answer["error"].is_null(), "{provider}: {answer}");
    }
}

#[tokio::test]
async fn connections_are_reset_cut_and_answered_by_proxies() {
    let simulator = simulator().await;
    let asked = body(Provider::Xai, Wanted::Text, "Hello");
    simulator.script_next(Provider::Xai, Behaviour::ResetBeforeHeaders);
    let error = prepared(&simulator, Provider::Xai, false, &asked).send().await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    simulator.script_next(Provider::Xai, Behaviour::Truncated);
    let error = ask(&simulator, Provider::Xai, &asked).await.text().await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    simulator.script_next(Provider::Xai, Behaviour::NotJson { body: "<html>502</html>".to_owned(), status: 502 });
    let page = ask(&simulator, Provider::Xai, &asked).await;
    assert_eq!((page.status().as_u16(), page.text().await.unwrap().as_str()), (502, "<html>502</html>"));
}

#[tokio::test]
async fn a_silent_provider_sees_its_client_hang_up() {
    let simulator = simulator().await;
    simulator.script_next(Provider::Gemini, Behaviour::Silent);
    let call = tokio::spawn(
        prepared(&simulator, Provider::Gemini, false, &body(Provider::Gemini, Wanted::Text, "Hello")).send(),
    );
    simulator.wait_for_calls(Provider::Gemini, 1).await;
    assert_eq!(simulator.counts(Provider::Gemini).open, 1);
    call.abort();
    simulator.wait_for_disconnects(Provider::Gemini, 1).await;
    assert_eq!(simulator.calls()[0].outcome, Outcome::HungUp);

    simulator.script_next(Provider::Gemini, Behaviour::StallAfter(1));
    let mut stream = prepared(&simulator, Provider::Gemini, true, &body(Provider::Gemini, Wanted::Text, "Hello"))
        .send()
        .await
        .unwrap()
        .bytes_stream();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    simulator.wait_for_disconnects(Provider::Gemini, 2).await;
}

#[tokio::test]
async fn held_calls_wait_until_they_are_let_go() {
    let simulator = simulator().await;
    let asked = body(Provider::OpenAi, Wanted::Text, "[[echo]] one two three");
    let hold = simulator.hold(Provider::OpenAi);
    let call = tokio::spawn(prepared(&simulator, Provider::OpenAi, false, &asked).send());
    simulator.wait_for_calls(Provider::OpenAi, 1).await;
    assert_eq!(simulator.counts(Provider::OpenAi).open, 1);
    hold.release();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);

    let hold = simulator.hold_after(Provider::OpenAi, 2);
    let mut stream = prepared(&simulator, Provider::OpenAi, true, &asked).send().await.unwrap().bytes_stream();
    let mut received = String::new();
    while !received.contains("two") {
        received.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!received.contains("three"));
    assert_eq!(simulator.counts(Provider::OpenAi).open, 1);
    drop(hold);
    while let Some(bytes) = stream.next().await {
        received.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    assert!(received.ends_with("data: [DONE]\n\n"));
    simulator.wait_until(Provider::OpenAi, |counts| counts.open == 0).await;
}

#[tokio::test]
async fn a_failure_rate_spoils_its_part_of_the_calls_the_same_every_time() {
    let statuses = async |seed: u64| {
        let simulator = Simulator::start(Settings { seed, ..Settings::default() }).await.unwrap();
        simulator.script(Provider::OpenAi, Behaviour::unreliable(0.5));
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(
                ask(&simulator, Provider::OpenAi, &body(Provider::OpenAi, Wanted::Text, "Hello"))
                    .await
                    .status()
                    .as_u16(),
            );
        }
        statuses
    };
    let first = statuses(1).await;
    assert_eq!(first, statuses(1).await);
    assert_ne!(first, statuses(2).await);
    let failed = first.iter().filter(|status| **status == 503).count();
    assert!((8..=32).contains(&failed), "{failed} of 40");
}

#[tokio::test]
async fn usage_can_be_withheld_and_answers_can_be_huge() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        let asked = body(provider, Wanted::Text, "Hello");
        simulator.script_next(provider, Behaviour::UsageMissing);
        let stream = streamed(&simulator, provider, &asked).await;
        assert!(!stream.contains("_tokens\":1") && !stream.contains("usageMetadata"), "{provider}: {stream}");
        assert!(simulator.calls_of(provider).pop().unwrap().usage.is_some());
        simulator.script_next(provider, Behaviour::HugeAnswer(1_000_000));
        let mut asked = asked;
        if provider == Provider::Anthropic {
            asked["max_tokens"] = json!(1_000_000);
        }
        assert!(text(provider, &[answered(&simulator, provider, &asked).await]).len() >= 1_000_000, "{provider}");
    }
}

#[tokio::test(start_paused = true)]
async fn latency_passes_in_virtual_time() {
    let profile = LatencyProfile {
        first_token: Duration::from_secs(2),
        per_token: Duration::from_secs(1),
        ..LatencyProfile::default()
    };
    let simulator = Simulator::start(Settings { latency: Latency::Realistic, ..Settings::default() }).await.unwrap();
    simulator.script(Provider::OpenAi, Behaviour::Latency(profile));
    let begun = tokio::time::Instant::now();
    let asked = body(Provider::OpenAi, Wanted::Text, "[[echo]] one two three");
    streamed(&simulator, Provider::OpenAi, &asked).await;
    assert_eq!(begun.elapsed().as_secs(), 4);
}
