//! What clients can fill is bounded: connections, bodies in memory, queues. The newest is told so at once, and operators still get through.

use aipipe::simulator::{Behaviour, Provider};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::faults::{chunk, declared, events};
use crate::support::{Answer, Bench, Setting, ask, ask_stream};
use crate::wire::{Then, Wire};

const MODEL: &str = "openai/gpt-4o-mini";
const NARROW: &str = "[providers.openai]\nmax_in_flight = 1\nmax_queue = 2\n";

impl Bench {
    /// Waits until so many wait for OpenAI.
    pub(crate) async fn queue_of(&self, depth: u64) {
        while self.shown("/admin/providers/openai").await["queue_depth"] != json!(depth) {
            tokio::task::yield_now().await;
        }
    }

    async fn operators_get_through(&self) {
        for path in ["/healthz", "/metrics"] {
            assert_eq!(self.client.get(self.url(path)).send().await.unwrap().status(), 200, "{path}");
        }
        assert_eq!(self.shown("/admin/actors").await["name"], "root");
    }

    async fn health(&self) -> Value {
        self.shown("/admin/providers/openai").await["models"]["gpt-4o-mini"].clone()
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_so() {
    let bench = Bench::with(Setting { file: "[limits]\nmax_connections = 2\n", ..Setting::default() }).await;
    let idle = [TcpStream::connect(bench.socket()).await.unwrap(), TcpStream::connect(bench.socket()).await.unwrap()];
    let refused = bench.refused(&ask(MODEL, "Hello")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "gateway_overloaded"), "{}", refused.text);
    assert_eq!(refused.header("retry-after"), "1");
    let refused = bench.post("/v1/messages", &ask(MODEL, "Hello")).send().await.unwrap();
    let refused = Answer::read(refused).await;
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (503, &json!("overloaded_error")));
    bench.operators_get_through().await;
    assert!(bench.simulator.calls().is_empty());
    drop(idle);
    // Until the server has noticed.
    while bench.chat(&ask(MODEL, "Hello")).send().await.unwrap().status() != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bodies_beyond_the_bound_are_refused_from_the_newest() {
    let file = "[limits]\nmax_body_bytes = 100000\nmax_buffered_bytes = 100000\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    let hold = bench.simulator.hold(Provider::OpenAi);
    let large = |word: &str| ask(MODEL, &word.repeat(60_000 / word.len()));
    let first = tokio::spawn(bench.chat(&large("first ")).send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    let refused = bench.refused(&large("second ")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "gateway_overloaded"), "{}", refused.text);
    assert_eq!(refused.header("retry-after"), "1");
    // One that does not say how long it is.
    let pieces = large("third ").to_string().into_bytes().chunks(8_000).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let unannounced = bench.client.post(bench.url("/v1/chat/completions")).body(reqwest::Body::wrap_stream(pieces));
    assert_eq!(unannounced.send().await.unwrap().status(), 503);
    let small = tokio::spawn(bench.chat(&ask(MODEL, "Hello")).send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 2).await;
    bench.operators_get_through().await;
    drop(hold);
    for one in [first, small] {
        assert_eq!(Answer::read(one.await.unwrap().unwrap()).await.status, 200);
    }
    bench.idle().await;
    assert_eq!(bench.gateway.buffers.held(), 0);
    // What has begun to stream holds nothing of its request any more.
    let _hold = bench.simulator.hold_after(Provider::OpenAi, 1);
    let mut body = large("fourth ");
    body["stream"] = json!(true);
    let streaming = bench.chat(&body).send().await.unwrap();
    assert_eq!(streaming.status(), 200);
    assert_eq!(bench.gateway.buffers.held(), 0);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_never_sent() {
    let bench = Bench::with(Setting { file: NARROW, ..Setting::default() }).await;
    let hold = bench.simulator.hold(Provider::OpenAi);
    let first = tokio::spawn(bench.chat(&ask(MODEL, "In flight")).send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    let leaves = tokio::spawn(bench.chat(&ask(MODEL, "Leaves")).send());
    bench.queue_of(1).await;
    leaves.abort();
    bench.queue_of(0).await;
    let mut late = ask(MODEL, "Too late");
    late["aipipe"] = json!({"timeout_ms": 50});
    let late = bench.refused(&late).await;
    assert_eq!((late.status, late.code().as_str()), (504, "upstream_timeout"), "{}", late.text);
    drop(hold);
    assert_eq!(Answer::read(first.await.unwrap().unwrap()).await.status, 200);
    bench.idle().await;
    assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, 1);
}

#[tokio::test]
async fn impatient_clients_cost_a_provider_nothing() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Silent);
    for round in 0..10 {
        let asked = (0..100).map(|n| {
            let mut body = if n % 2 == 0 { ask(MODEL, "Hello") } else { ask_stream(MODEL, "Hello") };
            body["aipipe"] = json!({"timeout_ms": 1, "tags": [format!("{round}-{n}")], "cache": "off"});
            let request = bench.chat(&body).send();
            async move { request.await.unwrap().status() }
        });
        assert!(join_all(asked).await.into_iter().all(|status| status == 504));
    }
    bench.idle().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Normal);
    bench.answered(&ask(MODEL, "Hello")).await;
    while bench.health().await["ok"] != json!(1) {
        tokio::task::yield_now().await;
    }
    let health = bench.health().await;
    assert_eq!((&health["penalty"], &health["circuit"]), (&json!(1.0), &json!("closed")), "{health}");
}

#[tokio::test]
async fn a_reader_that_pauses_holds_the_provider_back_and_blames_nobody() {
    // More than the sockets between can hold.
    let word = "x".repeat(256 << 10);
    let said = chunk(&format!("{{\"role\":\"assistant\",\"content\":\"{word}\"}}"), "null").repeat(96);
    let wire = Wire::start(events(&format!("{said}{}", chunk("{}", "\"stop\""))), Then::Close).await;
    let bench = declared(wire.url(), "[reliability]\nidle_timeout_ms = 100\n").await;
    let mut response = bench.chat(&ask_stream("p0/m", "Tell me a very long story.")).send().await.unwrap();
    let mut received = response.chunk().await.unwrap().unwrap().len();
    // Longer than the provider may be silent.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(wire.answered(), 0, "the rest waits where it comes from");
    let mut last = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len();
        last = chunk.to_vec();
    }
    assert!(received > said.len());
    assert!(String::from_utf8_lossy(&last).trim_end().ends_with("data: [DONE]"));
    bench.idle().await;
    assert_eq!(bench.shown("/admin/providers/p0").await["models"]["m"]["penalty"], json!(1.0));
}

#[tokio::test]
async fn an_sdks_timeout_bounds_the_wait_for_an_answer_and_not_its_stream() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::Silent);
    for name in ["x-stainless-timeout", "x-stainless-read-timeout", "x-server-timeout"] {
        for body in [ask(MODEL, "Hello"), ask_stream(MODEL, "Hello")] {
            let answer = Answer::read(bench.chat(&body).header(name, "0.05").send().await.unwrap()).await;
            assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{name}: {}", answer.text);
        }
    }
    bench.idle().await;
    assert_eq!(bench.health().await["penalty"], json!(1.0));

    bench.simulator.script(Provider::OpenAi, Behaviour::Normal);
    let hold = bench.simulator.hold_after(Provider::OpenAi, 2);
    let request = bench.chat(&ask_stream(MODEL, "Tell me a story.")).header("x-stainless-timeout", "2");
    let mut response = request.send().await.unwrap();
    let mut received = response.chunk().await.unwrap().unwrap().to_vec();
    // Beyond what the client would have waited for the first of it.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    drop(hold);
    while let Some(chunk) = response.chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(received).unwrap().trim_end().ends_with("data: [DONE]"));
}

#[tokio::test]
async fn a_stream_that_says_nothing_at_length_is_given_up() {
    let bench = Bench::with(Setting { file: "[reliability]\nmax_attempts = 1\n", ..Setting::default() }).await;
    let comment = format!(": {}\n\n", "-".repeat(1 << 20));
    let behaviour =
        Behaviour::Fixed { content_type: "text/event-stream".into(), bytes: comment.repeat(40).into_bytes().into() };
    bench.simulator.script_next(Provider::OpenAi, behaviour);
    let answer = Answer::read(bench.chat(&ask_stream(MODEL, "Well?")).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_malformed"), "{}", answer.text);
    assert!(answer.message().contains("without any content"), "{}", answer.text);
    bench.idle().await;
}
