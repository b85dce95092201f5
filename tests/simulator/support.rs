//! A client that asks any of the simulated providers in its own words.

use aipipe::simulator::{Provider, Settings, Simulator};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

pub(crate) const OPENAI_LIKE: [Provider; 5] =
    [Provider::OpenAi, Provider::Xai, Provider::OpenRouter, Provider::MiniMax, Provider::Moonshot];

pub(crate) fn client() -> Client {
    // A second installation is an error that changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

pub(crate) async fn simulator() -> Simulator {
    Simulator::start(Settings::default()).await.unwrap()
}

/// A model of the provider that does not reason unless it cannot help it.
pub(crate) fn model(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi => "gpt-4.1",
        Provider::Anthropic => "claude-sonnet-4-5",
        Provider::Xai => "grok-3-mini",
        Provider::OpenRouter => "anthropic/claude-haiku-4.5",
        Provider::MiniMax => "MiniMax-M2.7",
        Provider::Moonshot => "kimi-k2-0905-preview",
        Provider::Gemini => "gemini-2.5-flash",
    }
}

/// What is asked of any provider, in its own words.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    Text,
    Weather,
}

pub(crate) fn body(provider: Provider, wanted: Wanted, user: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let (name, description) = ("get_weather", "The weather of a city");
    match provider {
        Provider::Anthropic => {
            let mut body =
                json!({"model": model(provider), "max_tokens": 4096, "messages": [{"role": "user", "content": user}]});
            if matches!(wanted, Wanted::Weather) {
                body["tools"] = json!([{"name": name, "description": description, "input_schema": schema}]);
            }
            body
        }
        Provider::Gemini => {
            let mut body = json!({"contents": [{"role": "user", "parts": [{"text": user}]}]});
            if matches!(wanted, Wanted::Weather) {
                let declared = json!({"name": name, "description": description, "parameters": schema});
                body["tools"] = json!([{"functionDeclarations": [declared]}]);
            }
            body
        }
        _ => {
            let mut body = json!({"model": model(provider), "messages": [{"role": "user", "content": user}]});
            if matches!(wanted, Wanted::Weather) {
                let function = json!({"name": name, "description": description, "parameters": schema});
                body["tools"] = json!([{"type": "function", "function": function}]);
            }
            body
        }
    }
}

pub(crate) fn url(simulator: &Simulator, provider: Provider, stream: bool) -> String {
    let base = simulator.base_url(provider);
    match (provider, stream) {
        (Provider::Anthropic, _) => format!("{base}/v1/messages"),
        (Provider::Gemini, false) => format!("{base}/v1beta/models/{}:generateContent", model(provider)),
        (Provider::Gemini, true) => format!("{base}/v1beta/models/{}:streamGenerateContent?alt=sse", model(provider)),
        _ => format!("{base}/chat/completions"),
    }
}

pub(crate) fn with_key(request: RequestBuilder, provider: Provider, key: &str) -> RequestBuilder {
    match provider {
        Provider::Anthropic => request.header("x-api-key", key).header("anthropic-version", "2023-06-01"),
        Provider::Gemini => request.header("x-goog-api-key", key),
        _ => request.bearer_auth(key),
    }
}

pub(crate) fn prepared(simulator: &Simulator, provider: Provider, stream: bool, body: &Value) -> RequestBuilder {
    let mut body = body.clone();
    if stream && provider != Provider::Gemini {
        body["stream"] = json!(true);
        if provider != Provider::Anthropic {
            body["stream_options"] = json!({"include_usage": true});
        }
    }
    let request = client().post(url(simulator, provider, stream)).body(body.to_string());
    with_key(request.header("content-type", "application/json"), provider, simulator.api_key(provider))
}

pub(crate) async fn ask(simulator: &Simulator, provider: Provider, body: &Value) -> Response {
    prepared(simulator, provider, false, body).send().await.unwrap()
}

pub(crate) async fn answered(simulator: &Simulator, provider: Provider, body: &Value) -> Value {
    let response = ask(simulator, provider, body).await;
    assert_eq!(response.status(), 200, "{provider}");
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// The refusal of a request: its status and body.
pub(crate) async fn refused(simulator: &Simulator, provider: Provider, body: &Value) -> (u16, Value) {
    let response = ask(simulator, provider, body).await;
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

pub(crate) async fn streamed(simulator: &Simulator, provider: Provider, body: &Value) -> String {
    let response = prepared(simulator, provider, true, body).send().await.unwrap();
    assert_eq!(response.status(), 200, "{provider}");
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert!(response.headers().get("content-length").is_none());
    response.text().await.unwrap()
}

/// The JSON of each event.
pub(crate) fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data.trim()).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

/// The text of an answer, streamed or not.
pub(crate) fn text(provider: Provider, parts: &[Value]) -> String {
    let pick = |part: &Value| -> String {
        let found = match provider {
            Provider::Anthropic if part["type"] == "message" => part["content"][0]["text"].as_str(),
            Provider::Anthropic => part["delta"]["text"].as_str(),
            Provider::Gemini => part["candidates"][0]["content"]["parts"][0]["text"].as_str(),
            _ => part["choices"][0]["message"]["content"].as_str().or(part["choices"][0]["delta"]["content"].as_str()),
        };
        found.unwrap_or_default().to_owned()
    };
    parts.iter().map(pick).collect()
}
