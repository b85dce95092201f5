//! Requests of every client dialect, spoilt at random: wrong types everywhere, deep and huge values, doubled and missing members, bytes
//! that are no JSON. Each is answered in the shape of its dialect, none breaks anything.
//!
//! `AIPIPE_MUTATIONS` sets how many are sent.

use std::time::Duration;

use aipipe::simulator::{Behaviour, Provider};
use proptest::prelude::*;
use proptest::sample::Index;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::dialects::Dialect;
use crate::mutation::json::Spoiling;
use crate::mutation::stream::StreamSpoiling;
use crate::mutation::{self, samples};
use crate::support::{self, Answer, Bench, Setting, model};

/// Whatever takes so long never ends.
const HANGS: Duration = Duration::from_secs(30);

fn assert_shape(path: &str, answer: &Answer) {
    let error =
        serde_json::from_str::<Value>(&answer.text).unwrap_or_else(|_| panic!("{path}: no JSON: {}", answer.text));
    let message = &error["error"]["message"];
    assert!(message.as_str().is_some_and(|message| !message.is_empty()), "{path}: {error}");
    match path {
        path if path.starts_with("/v1/messages") => {
            assert_eq!(error["type"], "error", "{error}");
            assert!(error["error"]["type"].is_string() && error["request_id"].is_string(), "{error}");
        }
        path if path.starts_with("/v1beta/") => {
            assert_eq!(error["error"]["code"], answer.status, "{error}");
            assert!(error["error"]["status"].is_string(), "{error}");
        }
        _ => assert!(error["error"]["type"].is_string(), "{error}"),
    }
}

/// Whether it was answered; what is not is said to be somebody's fault, and never AiPipe's.
fn check(path: &str, answer: &Answer) -> Result<bool, TestCaseError> {
    prop_assert!(answer.status != 500, "{path}: {}", answer.text);
    prop_assert!(!answer.header("x-request-id").is_empty());
    prop_assert!(answer.header("set-cookie").is_empty());
    if answer.status >= 400 {
        assert_shape(path, answer);
    }
    Ok(answer.status == 200)
}

/// A gateway, and the runtime that it runs on.
fn started(file: &str) -> (Runtime, Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let file = format!("{file}[cache]\nttl_seconds = 0\n");
    let bench = runtime.block_on(Bench::with(Setting { file: &file, ..Setting::default() }));
    (runtime, bench)
}

async fn answer(request: RequestBuilder) -> Answer {
    Answer::read(timeout(HANGS, request.send()).await.expect("an answer in time").unwrap()).await
}

#[test]
fn spoilt_requests_are_told_what_is_wrong_and_nothing_breaks() {
    let (runtime, bench) = started("");
    let requests = samples::requests();
    let bodies: Vec<Value> = requests.iter().map(|(_, body)| body.clone()).collect();
    let strategy = (0..requests.len(), any::<Index>(), Spoiling::any());
    mutation::run(300, &strategy, |(which, donor, spoiling)| {
        let (path, body) = &requests[which];
        let spoilt = spoiling.spoil(body, donor.get(&bodies));
        let request = bench.client.post(bench.url(path)).header("content-type", "application/json").body(spoilt);
        let answer = runtime.block_on(answer(request));
        prop_assert!(answer.status < 500, "{}: {}", answer.status, answer.text);
        check(path, &answer)
    });
    runtime.block_on(bench.idle());
}

/// The ways to ask a provider for a stream.
fn asks(bench: &Bench, provider: Provider) -> Vec<RequestBuilder> {
    let name = model(provider);
    let responses = json!({"model": name, "stream": true, "input": "Hello"});
    let others = Dialect::ALL.map(|dialect| dialect.ask_stream(bench, name, "Hello"));
    others.into_iter().chain([bench.post("/v1/responses", &responses)]).collect()
}

/// What each provider sends where nothing is wrong, in each dialect that it speaks.
async fn good_streams(bench: &Bench) -> Vec<(Provider, String)> {
    let mut good = Vec::new();
    for provider in Provider::ALL {
        let has_responses = matches!(provider, Provider::OpenAi | Provider::Xai | Provider::OpenRouter);
        let speaks = Dialect::ALL.map(|dialect| dialect.is_spoken_by(provider)).into_iter().chain([has_responses]);
        for (ask, _) in asks(bench, provider).into_iter().zip(speaks).filter(|(_, speaks)| *speaks) {
            good.push((provider, Answer::read(ask.send().await.unwrap()).await.ok().text));
        }
    }
    good
}

#[test]
fn spoilt_streams_of_providers_end_in_their_end_or_in_an_error() {
    let (runtime, bench) = started("[reliability]\nmax_attempts = 1\n");
    let good = runtime.block_on(good_streams(&bench));
    let streams: Vec<String> = good.iter().map(|(_, stream)| stream.clone()).collect();
    let strategy = (0..good.len(), StreamSpoiling::any(), any::<Index>());
    mutation::run(100, &strategy, |(which, spoiling, ask)| {
        let (provider, stream) = &good[which];
        // Three calls out of four are well, or the circuit would open and the others prove nothing.
        for _ in 0..3 {
            runtime.block_on(bench.answered(&support::ask(model(*provider), "Hello")));
        }
        let bytes = spoiling.spoil(stream, &streams).concat().into();
        bench.simulator.script_next(*provider, Behaviour::Fixed { content_type: "text/event-stream".into(), bytes });
        let mut asks = asks(&bench, *provider);
        let ask = asks.swap_remove(ask.index(asks.len()));
        let path = ask.try_clone().unwrap().build().unwrap().url().path().to_owned();
        let answer = runtime.block_on(answer(ask));
        check(&path, &answer)
    });
    runtime.block_on(bench.idle());
}
