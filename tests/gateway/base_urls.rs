//! A base URL works with and without a version, whatever path the SDK adds to it.

use aipipe::simulator::Provider;
use serde_json::json;

use crate::support::{Answer, Bench, ask, model};

#[tokio::test]
async fn d202_every_endpoint_stands_where_a_base_url_puts_it() {
    let bench = Bench::start().await;
    let name = model(Provider::OpenAi);
    let gemini = format!("/models/{name}:generateContent");
    let question = json!([{"role": "user", "content": "Hello"}]);
    let messages = json!({"model": name, "max_tokens": 50, "messages": question});
    let contents = json!({"contents": [{"parts": [{"text": "Hello"}]}]});
    let calls = [
        ("", "/chat/completions", ask(name, "Hello")),
        ("/v1", "/chat/completions", ask(name, "Hello")),
        ("/v1/v1", "/chat/completions", ask(name, "Hello")),
        ("/v1/", "/chat/completions", ask(name, "Hello")),
        ("//v1", "/chat/completions/", ask(name, "Hello")),
        ("/v1/", "/messages?beta=true", messages.clone()),
        ("/v1beta/", &gemini, contents.clone()),
        ("/v1", "/messages", messages.clone()),
        ("/v1/v1", "/messages", messages.clone()),
        ("/v1/v1", "/messages/count_tokens", messages),
        ("/v1beta", &gemini, contents.clone()),
        ("/v1", &gemini, contents.clone()),
        ("/v1/v1beta", &gemini, contents.clone()),
        ("/v1beta/v1beta", &gemini, contents),
    ];
    for (base, path, body) in calls {
        let answer = Answer::read(bench.post(&format!("{base}{path}"), &body).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{base}{path}: {}", answer.text);
    }
    let client = crate::support::client();
    for base in ["", "/v1", "/v1/", "/v1/v1", "/v1beta", "/v1/v1beta", "/v1beta/v1beta"] {
        for path in ["/models".to_owned(), format!("/models/{name}")] {
            let listed = client.get(bench.url(&format!("{base}{path}"))).send().await.unwrap();
            assert_eq!(listed.status(), 200, "{base}{path}");
        }
    }
    bench.idle().await;
}
