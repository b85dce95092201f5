//! Good answers: texts, tool calls, schemas, limits, usage, embeddings.

use aipipe::simulator::Provider;
use serde_json::{Value, json};

use crate::support::*;

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

    let mut asked = body(Provider::Anthropic, Wanted::Weather, user);
    let answer = answered(&simulator, Provider::Anthropic, &asked).await;
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"][0]["input"], json!({"city": "Rome"}));
    let result = json!({"type": "tool_result", "tool_use_id": answer["content"][0]["id"], "content": "31 degrees"});
    let turns =
        [json!({"role": "assistant", "content": answer["content"]}), json!({"role": "user", "content": [result]})];
    asked["messages"].as_array_mut().unwrap().extend(turns);
    assert!(
        text(Provider::Anthropic, &[answered(&simulator, Provider::Anthropic, &asked).await]).contains("31 degrees")
    );

    let mut asked = body(Provider::Gemini, Wanted::Weather, user);
    let answer = answered(&simulator, Provider::Gemini, &asked).await;
    let content = answer["candidates"][0]["content"].clone();
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert_eq!(content["parts"][0]["functionCall"], json!({"name": "get_weather", "args": {"city": "Rome"}}));
    let result = json!({"functionResponse": {"name": "get_weather", "response": {"result": "31 degrees"}}});
    asked["contents"].as_array_mut().unwrap().extend([content, json!({"role": "user", "parts": [result]})]);
    assert!(text(Provider::Gemini, &[answered(&simulator, Provider::Gemini, &asked).await]).contains("31 degrees"));
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
                    let mut told = parts
                        .iter()
                        .map(|part| if part["usage"].is_object() { part["usage"].clone() } else { in_choice(part) });
                    let usage = told.rfind(Value::is_object).unwrap();
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
