//! Requests that the real providers refuse are refused in their words.

use aipipe::simulator::Provider;
use serde_json::{Value, json};

use crate::support::*;

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
