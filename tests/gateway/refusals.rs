//! Bad input of every kind: told what is wrong and where, in the dialect's shape, and never more than its own request is lost.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Bench, Setting, ask};

const MODEL: &str = "openai/gpt-4o-mini";

impl Bench {
    async fn raw(&self, body: impl Into<reqwest::Body>) -> Answer {
        Answer::read(self.client.post(self.url("/v1/chat/completions")).body(body).send().await.unwrap()).await
    }
}

#[tokio::test]
async fn what_is_no_chat_request_is_refused_by_name() {
    let bench = Bench::start().await;
    let with = |name: &str, value: Value| {
        let mut body = ask(MODEL, "Hello");
        body[name] = value;
        body.to_string()
    };
    for (body, param) in [
        (String::new(), ""),
        ("not json".to_owned(), ""),
        ("[]".to_owned(), ""),
        ("{\"model\":\"auto\"".to_owned(), ""),
        (json!({"messages": [{"role": "user", "content": "x"}]}).to_string(), "model"),
        (json!({"model": "auto"}).to_string(), "messages"),
        (json!({"model": "auto", "messages": []}).to_string(), "messages"),
        (json!({"model": 5, "messages": []}).to_string(), "model"),
        (with("stream", json!("yes")), "stream"),
        (with("max_tokens", json!(-1)), "max_tokens"),
        (with("n", json!(0)), "n"),
        (with("tools", json!({})), "tools"),
        (with("aipipe", json!({"complexity": 2})), "aipipe.complexity"),
        (with("aipipe", json!({"colour": "red"})), "aipipe.colour"),
        (with("aipipe", json!({"timeout_ms": 0})), "aipipe.timeout_ms"),
        (
            "{\"model\":\"auto\",\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}".to_owned(),
            "model",
        ),
        ("[".repeat(100_000), ""),
        (format!("{{\"model\":\"auto\",\"messages\":{}", "[".repeat(100_000)), ""),
    ] {
        let answer = bench.raw(body.clone()).await;
        let shown = body.get(..80).unwrap_or(&body).to_owned();
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{shown}: {}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error");
        if !param.is_empty() {
            assert_eq!(error["param"], param, "{shown}: {error}");
        }
        assert!(!answer.header("x-request-id").is_empty());
    }
    let answer = bench.raw(b"{\"model\":\"\xff\"}".to_vec()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    assert!(bench.simulator.calls().is_empty());
    assert!(bench.rows().await.is_empty());
    bench.answered(&ask(MODEL, "Still there?")).await;
    bench.idle().await;
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_named() {
    let bench = Bench::start().await;
    for (name, value) in
        [("x-aipipe-cache", "sometimes"), ("x-aipipe-timeout-ms", "soon"), ("content-encoding", "gzip")]
    {
        let answer = Answer::read(bench.chat(&ask(MODEL, "Hello")).header(name, value).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
        assert_eq!(answer.json()["error"]["param"], name);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_comes() {
    let bench = Bench::with(Setting { file: "[limits]\nmax_body_bytes = 10000\n", ..Setting::default() }).await;
    let large = ask(MODEL, &"x".repeat(20_000)).to_string();
    let announced = bench.raw(large.clone()).await;
    let chunks = futures_util::stream::iter(
        large.into_bytes().chunks(1_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    let chunked = bench.raw(reqwest::Body::wrap_stream(chunks)).await;
    for answer in [announced, chunked] {
        assert_eq!((answer.status, answer.code().as_str()), (413, "request_too_large"), "{}", answer.text);
    }
    bench.answered(&ask(MODEL, "Hello")).await;
}

#[tokio::test]
async fn what_no_model_can_do_is_said_before_anything_is_sent() {
    let bench = Bench::start().await;
    let answer = bench.refused(&ask("gpt-99", "Hello")).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "model_not_found"));
    assert_eq!(answer.json()["error"]["param"], "model");

    let with = |wishes: Value| {
        let mut body = ask("auto", "Hello");
        body["aipipe"] = wishes;
        body
    };
    for (wishes, reason) in [
        (json!({"max_cost_usd": "0"}), "max_cost"),
        (json!({"min_quality": 1.0}), "min_quality"),
        (json!({"providers": ["nobody"]}), "excluded"),
    ] {
        let answer = bench.refused(&with(wishes.clone())).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "no_candidate"), "{wishes}: {}", answer.text);
        assert!(answer.message().contains(reason), "{wishes}: {}", answer.message());
    }
    let mut biased = ask("anthropic/claude-haiku-4-5", "Hello");
    biased["logit_bias"] = json!({"42": 5});
    let answer = bench.refused(&biased).await;
    assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (422, Some("logit_bias")), "{}", answer.text);
    assert!(bench.simulator.calls().is_empty());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let bench = Bench::start().await;
    let answer = Answer::read(bench.client.get(bench.url("/v2/nothing")).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let answer = Answer::read(bench.client.get(bench.url("/v1/chat/completions")).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    let answer =
        Answer::read(bench.post("/v1/chat/completions?beta=true", &ask(MODEL, "Hello")).send().await.unwrap()).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn clients_that_speak_no_http_or_leave_early_take_nothing_with_them() {
    let bench = Bench::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 100\r\n\r\n{\"model\"",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut socket = TcpStream::connect(bench.socket()).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // A reset says as much as an end.
        let _ = socket.read_to_end(&mut rest).await;
    }
    bench.answered(&ask(MODEL, "Still there?")).await;
    bench.idle().await;
}
