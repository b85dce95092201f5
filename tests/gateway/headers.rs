//! Headers on both sides: what goes upstream with a call, what never does, and what a client gets to see.

use std::collections::BTreeSet;

use aipipe::simulator::Provider;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Bench, ask, ask_stream, model};

/// A body and its path in each client's dialect.
fn asked(model: &str, stream: bool) -> [(String, Value); 3] {
    let chat = if stream { ask_stream(model, "Hello") } else { ask(model, "Hello") };
    let mut messages = chat.clone();
    messages["max_tokens"] = json!(50);
    messages.as_object_mut().unwrap().remove("stream_options");
    let method = if stream { "streamGenerateContent?alt=sse&" } else { "generateContent?" };
    [
        ("/v1/chat/completions".into(), chat),
        ("/v1/messages?beta=true".into(), messages),
        (
            format!("/v1beta/models/{model}:{method}key=the-clients-own-key"),
            json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}),
        ),
    ]
}

/// What a client sends that is its own affair or the connection's.
const OWN: [(&str, &str); 14] = [
    ("authorization", "Bearer the-clients-own-key"),
    ("x-api-key", "the-clients-own-key"),
    ("x-goog-api-key", "the-clients-own-key"),
    ("cookie", "session=the-clients-own-cookie"),
    ("x-tenant-id", "default"),
    ("accept-encoding", "gzip, br, zstd"),
    ("openai-organization", "org-the-clients-own"),
    ("openai-project", "proj-the-clients-own"),
    ("http-referer", "https://the-clients-own.example"),
    ("x-title", "the-clients-own title"),
    ("te", "trailers"),
    ("x-stainless-lang", "python-of-the-clients-own"),
    ("x-goog-api-client", "genai-of-the-clients-own"),
    ("x-forwarded-for", "10.1.2.3"),
];

#[tokio::test]
async fn d182_d184_d187_a_provider_gets_its_own_key_and_nothing_of_the_clients() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for (path, body) in asked(model(provider), false) {
            let mut request = bench.post(&path, &body);
            for (name, value) in OWN {
                request = request.header(name, value);
            }
            Answer::read(request.send().await.unwrap()).await.ok();
            let call = bench.simulator.calls_of(provider).pop().unwrap();
            let key = bench.simulator.api_key(provider);
            let (auth, value) = match provider {
                Provider::Anthropic => ("x-api-key", key.to_owned()),
                Provider::Gemini => ("x-goog-api-key", key.to_owned()),
                _ => ("authorization", format!("Bearer {key}")),
            };
            assert_eq!(call.header(auth), Some(&*value), "{provider} {path}");
            assert_eq!(call.header("content-length"), Some(&*call.body.len().to_string()), "{provider} {path}");
            assert!(call.header("host").is_some_and(|host| bench.simulator.base_url(provider).contains(host)));
            let version = (provider == Provider::Anthropic).then_some("2023-06-01");
            assert_eq!(call.header("anthropic-version"), version, "{provider} {path}");
            let title = (provider == Provider::OpenRouter).then_some("AiPipe");
            assert_eq!(call.header("x-title"), title, "{provider} {path}");
            assert!(call.header("user-agent").unwrap().starts_with("aipipe/"));
            assert_eq!(call.header("accept-encoding"), Some("identity"));

            let known = [
                "accept",
                "accept-encoding",
                "content-type",
                "content-length",
                "host",
                "user-agent",
                "anthropic-version",
                "x-title",
                auth,
            ];
            let sent: BTreeSet<&str> = call.headers.keys().map(http::HeaderName::as_str).collect();
            let strange: Vec<&&str> = sent.iter().filter(|name| !known.contains(name)).collect();
            assert!(strange.is_empty(), "{provider} {path}: {strange:?}");
            assert!(!format!("{call:?}").contains("the-clients-own"), "{provider} {path}: {call:?}");
        }
    }
}

#[tokio::test]
async fn d183_betas_go_to_anthropic_and_to_nobody_else() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let [_, (path, body), _] = asked(model(provider), false);
        let request = bench
            .post(&path, &body)
            .header("anthropic-version", "2023-06-01")
            .header("anthropic-beta", "interleaved-thinking-2025-05-14,context-1m-2025-08-07")
            .header("anthropic-beta", "claude-code-20250219");
        Answer::read(request.send().await.unwrap()).await.ok();
        let call = bench.simulator.calls_of(provider).pop().unwrap();
        let betas: Vec<&str> = call.headers.get_all("anthropic-beta").iter().map(|v| v.to_str().unwrap()).collect();
        match provider {
            Provider::Anthropic => {
                assert_eq!(betas, ["interleaved-thinking-2025-05-14,context-1m-2025-08-07", "claude-code-20250219"]);
            }
            _ => assert!(betas.is_empty(), "{provider}: {betas:?}"),
        }
        assert!(!call.path.contains("beta=true"), "{provider}: {}", call.path);
    }
}

#[tokio::test]
async fn d170_a_stream_is_framed_so_that_nothing_holds_it_back() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for (path, body) in asked(model(provider), true) {
            let request = bench.post(&path, &body).header("accept-encoding", "gzip, br, deflate, zstd");
            let answer = Answer::read(request.send().await.unwrap()).await.ok();
            assert!(answer.header("content-type").starts_with("text/event-stream"), "{provider} {path}");
            assert_eq!(answer.header("cache-control"), "no-cache", "{provider} {path}");
            assert_eq!(answer.header("x-accel-buffering"), "no", "{provider} {path}");
            for absent in ["content-length", "content-encoding"] {
                assert_eq!(answer.header(absent), "", "{provider} {path}");
            }
        }
    }
}

#[tokio::test]
async fn d170_each_event_reaches_the_client_when_it_comes() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for (path, body) in asked(model(provider), true) {
            // The provider waits in the middle of its answer until the client has seen its beginning.
            let hold = bench.simulator.hold_after(provider, 2);
            let mut stream = TcpStream::connect(bench.socket()).await.unwrap();
            let body = body.to_string().replace("Hello", "Tell me a long story about the sea.");
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
            let mut seen = Vec::new();
            while !seen.windows(6).any(|window| window == b"data: ") {
                assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "{provider} {path}");
            }
            drop(hold);
            stream.read_to_end(&mut seen).await.unwrap();
            let seen = String::from_utf8(seen).unwrap();
            assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with("0\r\n\r\n"), "{provider} {path}: {seen}");
        }
    }
}

#[tokio::test]
async fn d185_d186_the_operators_account_stays_unseen() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for stream in [false, true] {
            for (path, body) in asked(model(provider), stream) {
                let answer = Answer::read(bench.post(&path, &body).send().await.unwrap()).await.ok();
                for name in answer.headers.keys() {
                    let name = name.as_str();
                    let own = name.starts_with("x-aipipe-") || name == "x-request-id";
                    let plain = [
                        "content-type",
                        "content-length",
                        "date",
                        "cache-control",
                        "x-accel-buffering",
                        "transfer-encoding",
                    ];
                    assert!(own || plain.contains(&name), "{provider} {path}: {name}");
                }
                // The id is AiPipe's own, by which its ledger knows the request.
                let rows = bench.rows().await;
                assert!(rows.iter().any(|row| row["request_id"] == answer.header("x-request-id")), "{provider} {path}");
            }
        }
    }
}
