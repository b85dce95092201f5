//! Every provider's way to say no, as the clients of each dialect are told of it.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::json;

use crate::dialects::Dialect;
use crate::support::{Answer, Bench, Setting, ask, ask_stream, model};
use crate::wire::{Then, Wire, unframed};

/// What the simulated providers' messages say of accounts.
const ACCOUNTS: [&str; 2] = ["org-S1mulated", "ak-s1mulated"];

#[tokio::test]
async fn d171_d172_d174_d175_d177_d179_every_refusal_becomes_the_typed_error_of_the_clients_dialect() {
    for (behaviour, status, code) in [
        (Behaviour::status(400), 400, None),
        (Behaviour::TooLong, 400, Some("context_length_exceeded")),
        (Behaviour::status(401), 502, Some("upstream_error")),
        (Behaviour::status(403), 502, Some("upstream_error")),
        (Behaviour::status(404), 404, None),
        (Behaviour::OutOfMoney, 502, Some("upstream_error")),
        (Behaviour::rate_limited(7), 429, Some("rate_limited")),
        (Behaviour::status(500), 502, Some("upstream_error")),
        (Behaviour::status(503), 502, Some("upstream_error")),
    ] {
        for dialect in Dialect::ALL {
            let bench = Bench::start().await;
            for provider in Provider::ALL {
                bench.simulator.script(provider, behaviour.clone());
                // Google says the same of a rate and of money.
                let (status, code) = match (provider, &behaviour) {
                    (Provider::Gemini, Behaviour::OutOfMoney) => (429, Some("rate_limited")),
                    _ => (status, code),
                };
                let key = bench.simulator.api_key(provider);
                for request in [
                    dialect.ask(&bench, model(provider), "Hello"),
                    // A key that is left alone for a while is told of in the same way.
                    dialect.ask_stream(&bench, model(provider), "Hello again"),
                ] {
                    let answer = Answer::read(request.send().await.unwrap()).await;
                    let context = format!("{behaviour:?} {provider} {dialect:?}: {}", answer.text);
                    assert_eq!(answer.status, status, "{context}");
                    let (told, message) = dialect.error(&answer);
                    assert!(code.is_none_or(|code| told == code) && !told.is_empty(), "{context}");
                    assert!(message.len() > 3, "{context}");
                    let mut secrets = ACCOUNTS.iter().chain(std::iter::once(&key));
                    assert!(!secrets.any(|secret| answer.text.contains(secret)), "{context}");
                    assert!(status != 502 || message.contains(provider.as_str()), "{context}");
                    assert!(status != 429 || !answer.header("retry-after").is_empty(), "{context}");
                }
                // Money does not come back by asking again; a rate does, in the time that the provider tells.
                if matches!(behaviour, Behaviour::OutOfMoney | Behaviour::Status { status: 401 | 403 | 429, .. }) {
                    assert_eq!(bench.simulator.counts(provider).arrived, 1, "{behaviour:?} {provider}");
                }
            }
            bench.idle().await;
        }
    }
}

#[tokio::test]
async fn d171_d181_a_wrong_key_of_the_operators_is_not_the_clients_wrong_token() {
    let keys: Vec<(String, &str)> = Provider::ALL
        .iter()
        .map(|provider| (format!("{}_API_KEY", provider.as_str().to_uppercase()), "wrong"))
        .collect();
    let keys: Vec<(&str, &str)> = keys.iter().map(|(name, key)| (&**name, *key)).collect();
    let bench = Bench::with(Setting { environment: &keys, ..Setting::default() }).await;
    for dialect in Dialect::ALL {
        for provider in Provider::ALL {
            let answer = Answer::read(dialect.ask(&bench, model(provider), "Hello").send().await.unwrap()).await;
            let (code, message) = dialect.error(&answer);
            assert_eq!((answer.status, &*code), (502, "upstream_error"), "{provider}: {}", answer.text);
            assert!(message.contains(provider.as_str()) && message.contains("key"), "{provider}: {message}");
        }
    }
    // A key's fault is nobody else's: no circuit opens and no success rate falls.
    for provider in Provider::ALL {
        let state = bench.shown(&format!("/admin/providers/{provider}")).await;
        assert_eq!(state["circuit"], "closed", "{state}");
    }

    let bench = Bench::with(Setting { file: "[tenants]\nauth = \"token\"\n", ..Setting::default() }).await;
    for dialect in Dialect::ALL {
        let answer = Answer::read(dialect.ask(&bench, "auto", "Hello").send().await.unwrap()).await;
        assert_eq!((answer.status, dialect.error(&answer).0.as_str()), (401, "invalid_token"), "{}", answer.text);
    }
}

#[tokio::test]
async fn d180_the_words_that_clients_recover_by_stay() {
    let bench = Bench::start().await;
    for (provider, words) in [(Provider::Anthropic, "prompt is too long"), (Provider::OpenAi, "maximum context length")]
    {
        bench.simulator.script(provider, Behaviour::TooLong);
        for dialect in Dialect::ALL {
            let answer = Answer::read(dialect.ask(&bench, model(provider), "Hello").send().await.unwrap()).await;
            let (code, message) = dialect.error(&answer);
            assert!(message.contains(words), "{provider} {dialect:?}: {message}");
            assert_eq!(code, "context_length_exceeded");
        }
    }
    bench.simulator.script(Provider::Anthropic, Behaviour::Normal);
    let body = json!({"model": model(Provider::Anthropic), "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], "surprise": 1});
    let answer = Answer::read(bench.post("/v1/messages", &body).send().await.unwrap()).await;
    let (_, message) = Dialect::Messages.error(&answer);
    assert_eq!((answer.status, &*message), (400, "surprise: Extra inputs are not permitted"));
}

#[tokio::test]
async fn d202_what_is_nowhere_is_told_in_the_dialect_of_its_path() {
    let bench = Bench::start().await;
    for (path, dialect) in [
        ("/v1/nothing", Dialect::Chat),
        ("/v1/chat/completions/nothing", Dialect::Chat),
        ("/v1/messages/batches", Dialect::Messages),
        ("/v1/v1/messages/nothing", Dialect::Messages),
        ("/v1beta/nothing", Dialect::Gemini),
        ("/v1beta/models/gemini-3.5-flash:embedContent", Dialect::Gemini),
    ] {
        let answer = Answer::read(bench.post(path, &json!({})).send().await.unwrap()).await;
        assert_eq!((answer.status, dialect.error(&answer).0.as_str()), (404, "not_found"), "{path}: {}", answer.text);
    }
    // Clients that only look whether somebody is there.
    for method in [reqwest::Method::HEAD, reqwest::Method::GET] {
        let answer = bench.client.request(method, bench.url("/")).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert!(answer.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn a_key_that_a_provider_repeats_is_told_to_nobody() {
    let key = "plain words/of a key";
    let said = format!(r#"{{"error":{{"message":"no account has {key}: ask for another"}}}}"#);
    let as_event = format!("data: {said}\n\n");
    let begun = r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"So"}}]}"#;
    let midway = format!("{begun}\n\n{as_event}");
    for (wire, whole, streamed) in [
        (unframed("401 Unauthorized", "content-type: application/json\r\n", &said), true, true),
        (unframed("422 Unprocessable Content", "content-type: application/json\r\n", &said), true, true),
        (unframed("200 OK", "content-type: application/json\r\n", &said), true, false),
        (unframed("200 OK", "content-type: text/event-stream\r\n", &as_event), false, true),
        (unframed("200 OK", "content-type: text/event-stream\r\n", &midway), false, true),
    ] {
        let wire = Wire::start(wire, Then::Close).await;
        let environment = [("AIPIPE_OPENAI_BASE_URL", wire.url()), ("OPENAI_API_KEY", key)];
        let name = model(Provider::OpenAi);
        let bodies = [ask(name, "Hello"), ask_stream(name, "Hello")];
        for body in bodies.iter().zip([whole, streamed]).filter_map(|(body, is_meant)| is_meant.then_some(body)) {
            let bench = Bench::with(Setting { environment: &environment, ..Setting::default() }).await;
            let answer = Answer::read(bench.chat(body).send().await.unwrap()).await;
            assert!(answer.text.contains("no account has [redacted]: ask"), "{}", answer.text);
            let noted =
                bench.shown("/admin/providers/openai").await.to_string() + &json!(bench.rows().await).to_string();
            assert!(!noted.contains(key), "{noted}");
        }
    }
}
