//! The simulator keeps its promises: it is independent, its shapes are those of the recordings, and its faults happen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aipipe::simulator::{Behaviour, Latency, LatencyProfile, Outcome, Provider, Record, Settings, Simulator};
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

const OPENAI_LIKE: [Provider; 5] =
    [Provider::OpenAi, Provider::Xai, Provider::OpenRouter, Provider::MiniMax, Provider::Moonshot];

fn client() -> Client {
    // A second installation is an error that changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

async fn simulator() -> Simulator {
    Simulator::start(Settings::default()).await.unwrap()
}

/// A model of the provider that does not reason unless it cannot help it.
fn model(provider: Provider) -> &'static str {
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
enum Wanted {
    Text,
    Weather,
}

fn body(provider: Provider, wanted: Wanted, user: &str) -> Value {
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

fn url(simulator: &Simulator, provider: Provider, stream: bool) -> String {
    let base = simulator.base_url(provider);
    match (provider, stream) {
        (Provider::Anthropic, _) => format!("{base}/v1/messages"),
        (Provider::Gemini, false) => format!("{base}/v1beta/models/{}:generateContent", model(provider)),
        (Provider::Gemini, true) => format!("{base}/v1beta/models/{}:streamGenerateContent?alt=sse", model(provider)),
        _ => format!("{base}/chat/completions"),
    }
}

fn with_key(request: RequestBuilder, provider: Provider, key: &str) -> RequestBuilder {
    match provider {
        Provider::Anthropic => request.header("x-api-key", key).header("anthropic-version", "2023-06-01"),
        Provider::Gemini => request.header("x-goog-api-key", key),
        _ => request.bearer_auth(key),
    }
}

fn prepared(simulator: &Simulator, provider: Provider, stream: bool, body: &Value) -> RequestBuilder {
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

async fn ask(simulator: &Simulator, provider: Provider, body: &Value) -> Response {
    prepared(simulator, provider, false, body).send().await.unwrap()
}

async fn answered(simulator: &Simulator, provider: Provider, body: &Value) -> Value {
    let response = ask(simulator, provider, body).await;
    assert_eq!(response.status(), 200, "{provider}");
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// The refusal of a request: its status and body.
async fn refused(simulator: &Simulator, provider: Provider, body: &Value) -> (u16, Value) {
    let response = ask(simulator, provider, body).await;
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn streamed(simulator: &Simulator, provider: Provider, body: &Value) -> String {
    let response = prepared(simulator, provider, true, body).send().await.unwrap();
    assert_eq!(response.status(), 200, "{provider}");
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert!(response.headers().get("content-length").is_none());
    response.text().await.unwrap()
}

/// The JSON of each event.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data.trim()).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

/// The text of an answer, streamed or not.
fn text(provider: Provider, parts: &[Value]) -> String {
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

// ── Independence ──

#[test]
fn the_simulator_shares_no_code_with_the_gateway() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/simulator");
    let mut read = 0;
    for entry in std::fs::read_dir(room).unwrap() {
        let path = entry.unwrap().path();
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            // The documentation shows how others use the simulator.
            let code = line.split("//").next().unwrap();
            let foreign = ["crate::", "aipipe::", "aipipe_actors"]
                .iter()
                .any(|word| code.replace("pub(crate)", "").contains(word));
            assert!(!foreign, "{}:{}: {line}", path.display(), number + 1);
        }
        read += 1;
    }
    assert!(read > 10, "only {read} files");
}

// ── Good answers ──

#[tokio::test]
async fn every_provider_says_the_same_streamed_and_whole() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        let body = body(provider, Wanted::Text, "[[echo]] one two three, four five six; seven.");
        let whole = text(provider, &[answered(&simulator, provider, &body).await]);
        let stream = text(provider, &events(&streamed(&simulator, provider, &body).await));
        assert_eq!(whole, stream, "{provider}");
        assert!(whole.ends_with("one two three, four five six; seven."), "{provider}: {whole}");
    }
}

#[tokio::test]
async fn an_answer_follows_from_the_request() {
    let (one, other) = (simulator().await, simulator().await);
    for provider in Provider::ALL {
        let body = body(provider, Wanted::Text, "Why is the sky blue?");
        let first = text(provider, &[answered(&one, provider, &body).await]);
        assert!(first.len() > 20, "{provider}: {first}");
        assert_eq!(first, text(provider, &[answered(&other, provider, &body).await]), "{provider}");
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_is_quoted() {
    let simulator = simulator().await;
    let user = "How is the weather in Rome?";
    for provider in OPENAI_LIKE {
        let mut body = body(provider, Wanted::Weather, user);
        let answer = answered(&simulator, provider, &body).await;
        let message = answer["choices"][0]["message"].clone();
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
        let call = &message["tool_calls"][0];
        assert_eq!(call["function"]["arguments"], r#"{"city":"Rome"}"#);
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "31 degrees"});
        body["messages"].as_array_mut().unwrap().extend([message, result]);
        let told = text(provider, &[answered(&simulator, provider, &body).await]);
        assert!(told.contains("31 degrees"), "{provider}: {told}");
    }

    let mut body_ = body(Provider::Anthropic, Wanted::Weather, user);
    let answer = answered(&simulator, Provider::Anthropic, &body_).await;
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"][0]["input"], json!({"city": "Rome"}));
    let result = json!({"type": "tool_result", "tool_use_id": answer["content"][0]["id"], "content": "31 degrees"});
    let turns =
        [json!({"role": "assistant", "content": answer["content"]}), json!({"role": "user", "content": [result]})];
    body_["messages"].as_array_mut().unwrap().extend(turns);
    assert!(
        text(Provider::Anthropic, &[answered(&simulator, Provider::Anthropic, &body_).await]).contains("31 degrees")
    );

    let mut body_ = body(Provider::Gemini, Wanted::Weather, user);
    let answer = answered(&simulator, Provider::Gemini, &body_).await;
    let content = answer["candidates"][0]["content"].clone();
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert_eq!(content["parts"][0]["functionCall"], json!({"name": "get_weather", "args": {"city": "Rome"}}));
    let result = json!({"functionResponse": {"name": "get_weather", "response": {"result": "31 degrees"}}});
    body_["contents"].as_array_mut().unwrap().extend([content, json!({"role": "user", "parts": [result]})]);
    assert!(text(Provider::Gemini, &[answered(&simulator, Provider::Gemini, &body_).await]).contains("31 degrees"));
}

#[tokio::test]
async fn streamed_arguments_add_up_to_the_call() {
    let simulator = simulator().await;
    for provider in OPENAI_LIKE {
        let stream =
            streamed(&simulator, provider, &body(provider, Wanted::Weather, "How is the weather in Rome?")).await;
        let events = events(&stream);
        let calls = events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"][0].as_object());
        let pieces: Vec<String> =
            calls.map(|call| call["function"]["arguments"].as_str().unwrap().to_owned()).collect();
        assert_eq!(pieces.concat(), r#"{"city":"Rome"}"#, "{provider}");
        assert_eq!(
            pieces.len() == 1,
            provider == Provider::Xai,
            "{provider} sends the call in {} pieces",
            pieces.len()
        );
    }
    let stream =
        streamed(&simulator, Provider::Anthropic, &body(Provider::Anthropic, Wanted::Weather, "weather in Rome")).await;
    let json: String = events(&stream).iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(json, r#"{"city":"Rome"}"#);
}

#[tokio::test]
async fn a_schema_is_satisfied_and_a_limit_is_kept() {
    let simulator = simulator().await;
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]});
    let mut asked = body(Provider::OpenAi, Wanted::Text, "Invent a dog");
    asked["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "dog", "schema": schema}});
    let dog: Value =
        serde_json::from_str(&text(Provider::OpenAi, &[answered(&simulator, Provider::OpenAi, &asked).await])).unwrap();
    assert!(dog["name"].is_string() && dog["age"].is_i64());

    let long = "[[echo]] many more words than the limit lets through";
    let mut asked = body(Provider::OpenAi, Wanted::Text, long);
    asked["max_tokens"] = json!(3);
    let answer = answered(&simulator, Provider::OpenAi, &asked).await;
    assert_eq!(
        (&answer["choices"][0]["finish_reason"], &answer["usage"]["completion_tokens"]),
        (&json!("length"), &json!(3))
    );
    let mut asked = body(Provider::Anthropic, Wanted::Text, long);
    asked["max_tokens"] = json!(3);
    assert_eq!(answered(&simulator, Provider::Anthropic, &asked).await["stop_reason"], "max_tokens");
    let mut asked = body(Provider::Gemini, Wanted::Text, long);
    asked["generationConfig"] = json!({"maxOutputTokens": 3});
    let answer = answered(&simulator, Provider::Gemini, &asked).await;
    assert_eq!(
        answer["candidates"][0],
        json!({"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0})
    );
}

#[tokio::test]
async fn the_usage_that_is_told_is_the_usage_that_is_recorded() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        for stream in [false, true, true] {
            let body = body(provider, Wanted::Text, "Count this.");
            let parts = if stream {
                events(&streamed(&simulator, provider, &body).await)
            } else {
                vec![answered(&simulator, provider, &body).await]
            };
            let call = simulator.calls_of(provider).pop().unwrap();
            let counted = call.usage.unwrap();
            let (input, output) = match provider {
                Provider::Anthropic => {
                    let usage = &parts.iter().rfind(|part| part["usage"].is_object()).unwrap()["usage"];
                    let field = |name: &str| usage[name].as_u64().unwrap();
                    let input = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"].map(field);
                    (input.iter().sum(), field("output_tokens"))
                }
                Provider::Gemini => {
                    let usage = &parts.last().unwrap()["usageMetadata"];
                    let field = |name: &str| usage[name].as_u64().unwrap();
                    assert_eq!(field("totalTokenCount"), counted.input + counted.output);
                    (field("promptTokenCount"), field("candidatesTokenCount") + field("thoughtsTokenCount"))
                }
                _ => {
                    let in_choice = |part: &Value| part["choices"][0]["usage"].clone();
                    let told = parts
                        .iter()
                        .map(|part| if part["usage"].is_object() { part["usage"].clone() } else { in_choice(part) });
                    let usage = told.filter(Value::is_object).last().unwrap();
                    let beside = if provider == Provider::Xai { counted.reasoning } else { 0 };
                    assert_eq!(usage["total_tokens"], counted.input + counted.output, "{provider}");
                    (usage["prompt_tokens"].as_u64().unwrap(), usage["completion_tokens"].as_u64().unwrap() + beside)
                }
            };
            assert_eq!((input, output), (counted.input, counted.output), "{provider}");
        }
        let cached = simulator.calls_of(provider)[1].usage.unwrap().cached;
        assert_eq!(cached > 0, provider != Provider::Anthropic, "{provider} cached {cached}");
    }
}

#[tokio::test]
async fn thinking_is_signed_and_a_foreign_signature_is_refused() {
    let simulator = simulator().await;
    let mut asked = body(Provider::Anthropic, Wanted::Text, "Think about it.");
    asked["thinking"] = json!({"type": "enabled", "budget_tokens": 2048});
    let answer = answered(&simulator, Provider::Anthropic, &asked).await;
    assert_eq!(answer["content"][0]["type"], "thinking");
    let more = json!({"role": "user", "content": "Go on."});
    asked["messages"]
        .as_array_mut()
        .unwrap()
        .extend([json!({"role": "assistant", "content": answer["content"]}), more]);
    answered(&simulator, Provider::Anthropic, &asked).await;
    asked["model"] = json!("claude-haiku-4-5");
    let (status, error) = refused(&simulator, Provider::Anthropic, &asked).await;
    assert_eq!(status, 400);
    assert!(error["error"]["message"].as_str().unwrap().contains("Invalid `signature`"), "{error}");
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_as_base64() {
    let simulator = simulator().await;
    let url = format!("{}/embeddings", simulator.base_url(Provider::OpenAi));
    let asked = |format: &str| {
        let body = json!({"model": "text-embedding-3-small", "input": ["one", "two"], "encoding_format": format, "dimensions": 8});
        client().post(&url).bearer_auth(simulator.api_key(Provider::OpenAi)).body(body.to_string())
    };
    let numbers: Value = serde_json::from_str(&asked("float").send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(numbers["data"][1]["embedding"].as_array().unwrap().len(), 8);
    assert_eq!(numbers["usage"]["prompt_tokens"], 2);
    let encoded: Value = serde_json::from_str(&asked("base64").send().await.unwrap().text().await.unwrap()).unwrap();
    // 8 numbers of 4 bytes are 32 bytes, in base64 44 letters.
    assert_eq!(encoded["data"][0]["embedding"].as_str().unwrap().len(), 44);
}

// ── Refusals ──

#[tokio::test]
async fn a_wrong_key_is_refused_the_way_each_provider_does() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        let body = body(provider, Wanted::Text, "Hello");
        for key in [Some("wrong"), None] {
            let request = client().post(url(&simulator, provider, false)).body(body.to_string());
            let request = match key {
                Some(key) => with_key(request, provider, key),
                None => request.header("anthropic-version", "2023-06-01"),
            };
            let response = request.send().await.unwrap();
            let expected = match (provider, key) {
                (Provider::Gemini, None) => 403,
                (Provider::Gemini | Provider::Xai, _) => 400,
                _ => 401,
            };
            assert_eq!(response.status(), expected, "{provider}");
        }
    }
    let models = client()
        .get(format!("{}/models", simulator.base_url(Provider::Xai)))
        .bearer_auth("wrong")
        .send()
        .await
        .unwrap();
    let error: Value = serde_json::from_str(&models.text().await.unwrap()).unwrap();
    assert!(error["error"].is_string() && error["code"].is_string(), "{error}");
}

#[tokio::test]
async fn fields_of_the_gateway_are_unknown_to_every_provider() {
    let simulator = simulator().await;
    for provider in Provider::ALL {
        let mut body = body(provider, Wanted::Text, "Hello");
        body["aipipe"] = json!({"min_quality": 0.5});
        let (status, error) = refused(&simulator, provider, &body).await;
        assert_eq!(status, 400, "{provider}");
        assert!(error.to_string().contains("aipipe"), "{provider}: {error}");
    }
}

#[tokio::test]
async fn an_unknown_model_is_refused_the_way_each_provider_does() {
    let simulator = simulator().await;
    for provider in OPENAI_LIKE {
        let mut body = body(provider, Wanted::Text, "Hello");
        body["model"] = json!("no-such-model");
        let (status, _) = refused(&simulator, provider, &body).await;
        assert_eq!(
            status,
            if matches!(provider, Provider::OpenAi | Provider::Moonshot) { 404 } else { 400 },
            "{provider}"
        );
    }
}

#[tokio::test]
async fn what_the_real_provider_refuses_is_refused() {
    let user = json!({"role": "user", "content": "Hello"});
    let calls = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]});
    let empty_text = json!([{"role": "user", "content": [{"type": "text", "text": ""}]}]);
    let tool_use = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}]});
    let cases = [
        (Provider::OpenAi, json!({"model": "gpt-5", "max_tokens": 5}), "max_completion_tokens"),
        (Provider::OpenAi, json!({"model": "gpt-5", "temperature": 0.2}), "temperature"),
        (Provider::OpenAi, json!({"messages": [user, calls, user]}), "did not have response messages: call_1"),
        (
            Provider::OpenAi,
            json!({"messages": [user, {"role": "tool", "tool_call_id": "x", "content": "1"}]}),
            "preceeding message",
        ),
        (Provider::OpenAi, json!({"response_format": {"type": "json_object"}}), "must contain the word 'json'"),
        (Provider::OpenAi, json!({"stream_options": {"include_usage": true}}), "stream_options"),
        (
            Provider::OpenAi,
            json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
            "Invalid value: 'image'",
        ),
        (Provider::Xai, json!({"model": "grok-4.3", "stop": ["a"]}), "stop"),
        (Provider::MiniMax, json!({"temperature": 0}), "temperature"),
        (Provider::Moonshot, json!({"model": "kimi-k2.6", "temperature": 0.5}), "only 1 is allowed"),
        (Provider::Anthropic, json!({"max_tokens": null}), "max_tokens: Field required"),
        (Provider::Anthropic, json!({"temperature": 1.5}), "temperature: range: 0..1"),
        (Provider::Anthropic, json!({"messages": empty_text}), "text content blocks must be non-empty"),
        (Provider::Anthropic, json!({"messages": [{"role": "system", "content": "x"}, user]}), "Unexpected role"),
        (
            Provider::Anthropic,
            json!({"messages": [user, tool_use, user], "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}]}),
            "`tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
        ),
        (
            Provider::Anthropic,
            json!({"tools": [{"name": "a", "input_schema": {}}]}),
            "input_schema.type: Field required",
        ),
        (Provider::Gemini, json!({"contents": []}), "contents is not specified"),
        (
            Provider::Gemini,
            json!({"tools": [{"functionDeclarations": [{"name": "a", "parameters": {"type": "object", "additionalProperties": false}}]}]}),
            "Unknown name \"additionalProperties\"",
        ),
        (Provider::Gemini, json!({"generationConfig": {"thinking_budget": 1}}), "Unknown name"),
    ];
    let simulator = simulator().await;
    for (provider, changes, expected) in cases {
        let mut body = body(provider, Wanted::Text, "Hello");
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, error) = refused(&simulator, provider, &body).await;
        assert_eq!(status, 400, "{provider}: {changes}");
        assert!(error.to_string().replace("\\\"", "\"").contains(expected), "{provider}: {error} for {changes}");
    }
}

#[tokio::test]
async fn a_proper_anthropic_call_needs_its_version_header() {
    let simulator = simulator().await;
    let request = client()
        .post(url(&simulator, Provider::Anthropic, false))
        .header("x-api-key", simulator.api_key(Provider::Anthropic));
    let response = request.body(body(Provider::Anthropic, Wanted::Text, "Hello").to_string()).send().await.unwrap();
    assert!(response.text().await.unwrap().contains("anthropic-version: header is required"));
}

// ── Faults ──

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
async fn every_status_has_a_body_of_the_provider() {
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
    let profile = LatencyProfile { first_token: Duration::from_secs(2), per_token: Duration::from_secs(1) };
    let simulator = Simulator::start(Settings { latency: Latency::Realistic, ..Settings::default() }).await.unwrap();
    simulator.script(Provider::OpenAi, Behaviour::Latency(profile));
    let begun = tokio::time::Instant::now();
    let asked = body(Provider::OpenAi, Wanted::Text, "[[echo]] one two three");
    streamed(&simulator, Provider::OpenAi, &asked).await;
    assert_eq!(begun.elapsed().as_secs(), 4);
}

// ── Control ──

#[tokio::test]
async fn calls_are_recorded_as_received_or_only_counted() {
    let simulator = simulator().await;
    let asked = body(Provider::Moonshot, Wanted::Text, "Hello");
    ask(&simulator, Provider::Moonshot, &asked).await;
    let calls = simulator.calls();
    assert_eq!((calls.len(), calls[0].provider, calls[0].json()), (1, Provider::Moonshot, asked.clone()));
    assert_eq!((calls[0].path.as_str(), calls[0].status), ("/v1/chat/completions", Some(200)));
    assert_eq!(calls[0].header("authorization").unwrap(), format!("Bearer {}", simulator.api_key(Provider::Moonshot)));

    let counting = Simulator::start(Settings { record: Record::CountOnly, ..Settings::default() }).await.unwrap();
    let content_type = "application/json".to_owned();
    counting.script(Provider::Moonshot, Behaviour::Fixed { content_type, bytes: Bytes::from_static(b"{}") });
    assert_eq!(ask(&counting, Provider::Moonshot, &asked).await.text().await.unwrap(), "{}");
    assert!(counting.calls().is_empty());
    assert_eq!(counting.counts(Provider::Moonshot).arrived, 1);
}

#[tokio::test]
async fn a_child_process_is_told_where_the_providers_are() {
    let settings = Settings { keys: vec![(Provider::Gemini, "a-key".to_owned())], ..Settings::default() };
    let simulator = Simulator::start(settings).await.unwrap();
    let environment = simulator.environment();
    assert_eq!(environment.len(), 14);
    assert!(environment.contains(&("GEMINI_API_KEY".to_owned(), "a-key".to_owned())));
    assert!(environment.contains(&("AIPIPE_OPENROUTER_BASE_URL".to_owned(), simulator.base_url(Provider::OpenRouter))));
    assert!(simulator.base_url(Provider::OpenRouter).ends_with("/api/v1"));
}

#[tokio::test]
async fn dropping_the_simulator_ends_listeners_and_connections() {
    let simulator = simulator().await;
    simulator.script_next(Provider::OpenAi, Behaviour::Silent);
    let asked = body(Provider::OpenAi, Wanted::Text, "Hello");
    let again = prepared(&simulator, Provider::OpenAi, false, &asked);
    let call = tokio::spawn(prepared(&simulator, Provider::OpenAi, false, &asked).send());
    simulator.wait_for_calls(Provider::OpenAi, 1).await;
    drop(simulator);
    assert!(call.await.unwrap().is_err());
    assert!(again.send().await.unwrap_err().is_connect());
}

// ── Likeness to the recordings ──

/// Where recorded exchanges are, if they are.
fn recordings() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("AIPIPE_TEST_DATA").map_or_else(beside, PathBuf::from);
    Some(root.join("traffic")).filter(|traffic| traffic.is_dir())
}

/// Every path of keys in a value; positions in lists are not told apart.
fn shape(value: &Value, at: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = format!("{at}/{name}");
                paths.insert(path.clone());
                shape(field, &path, paths);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, at, paths)),
        _ => {}
    }
}

/// Everything that a provider was recorded to send in chat answers, streamed and whole.
fn recorded_shape(folder: &Path, dialect: &str) -> (usize, BTreeSet<String>) {
    let mut paths = BTreeSet::new();
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let exchange: Value = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let response = &exchange["response"];
        if exchange["dialect"] != dialect {
            continue;
        }
        read += 1;
        shape(&response["body"], "", &mut paths);
        for line in response["sse"].as_str().unwrap_or_default().lines() {
            let data = line.strip_prefix("data:").unwrap_or_default().trim();
            shape(&serde_json::from_str(data).unwrap_or_default(), "", &mut paths);
        }
    }
    (read, paths)
}

#[tokio::test]
async fn every_field_that_is_sent_was_recorded_of_the_real_provider() {
    let Some(traffic) = recordings() else {
        println!("no recordings found (AIPIPE_TEST_DATA is unset and ../shared absent): skipped");
        return;
    };
    let simulator = simulator().await;
    let mut read_in_all = 0;
    for provider in Provider::ALL {
        let dialect = match provider {
            Provider::Anthropic => "anthropic-messages",
            Provider::Gemini => "gemini",
            _ => "openai-chat",
        };
        let (read, recorded) = recorded_shape(&traffic.join(provider.as_str()), dialect);
        println!("{provider}: {read} exchanges read");
        read_in_all += read;
        let mut sent = BTreeSet::new();
        for user in ["Hello", "How is the weather in Rome?"] {
            for _ in 0..2 {
                let body = body(provider, Wanted::Weather, user);
                shape(&answered(&simulator, provider, &body).await, "", &mut sent);
                events(&streamed(&simulator, provider, &body).await)
                    .iter()
                    .for_each(|event| shape(event, "", &mut sent));
            }
        }
        // The arguments are the client's own; no recording of Moonshot or MiniMax holds a tool call.
        let own = |path: &String| {
            let calls = matches!(provider, Provider::Moonshot | Provider::MiniMax) && path.contains("/tool_calls");
            path.ends_with("/city") || calls
        };
        let unknown: Vec<&String> = sent.difference(&recorded).filter(|path| !own(path)).collect();
        assert!(unknown.is_empty(), "{provider} never sent {unknown:?}");
    }
    println!("{read_in_all} exchanges read");
    assert!(read_in_all > 150);
}
