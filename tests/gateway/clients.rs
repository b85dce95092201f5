//! Requests with the shapes that known programs send, and answers held to what these programs rely on.

use aipipe::simulator::{Behaviour, Provider};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialects::{Dialect, message_of};
use crate::support::{Answer, Bench, ask_stream, model};

/// Providers of which OpenAI's clients get more than an echo of what they send: their answers are translated or tidied.
fn tidied() -> impl Iterator<Item = Provider> {
    // OpenRouter repeats its last chunk with the usage: that passes as it comes.
    Provider::ALL.into_iter().filter(|provider| *provider != Provider::OpenRouter)
}

fn function(name: &str) -> Value {
    json!({"type": "function", "function": {
        "name": name, "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }})
}

const WEATHER: &str = "What is the weather in Bergen? Use the tool.";

/// What Claude Code sends, tools and all.
fn claude_code(model: &str, messages: Value) -> Value {
    let ephemeral = json!({"type": "ephemeral"});
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
        "properties": {"city": {"type": "string"}}, "required": ["city"],
    });
    let named = |name: String| json!({"name": name, "description": "The weather of a city", "input_schema": schema});
    let mut tools: Vec<Value> = vec![named("get_weather".into())];
    tools.extend((0..22).map(|n| named(format!("mcp__server_{n}__tool"))));
    json!({
        "model": model, "max_tokens": 32_000, "stream": true, "temperature": 1,
        "metadata": {"user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=12345;"},
            {"type": "text", "text": "You are Claude Code.", "cache_control": ephemeral},
            {"type": "text", "text": "Rules.", "cache_control": ephemeral},
        ],
        "tools": tools, "messages": messages,
    })
}

#[tokio::test]
async fn d193_d197_claude_code_works_with_every_provider() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let mut messages = json!([{"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>As you answer, mind the date.</system-reminder>"},
            {"type": "text", "text": WEATHER, "cache_control": {"type": "ephemeral"}},
        ]}]);
        let send = async |path: &str, body: &Value| {
            let request = bench
                .post(path, body)
                .header("authorization", "Bearer any")
                .header("anthropic-version", "2023-06-01")
                .header("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14")
                .header("x-app", "cli");
            Answer::read(request.send().await.unwrap()).await
        };
        let body = claude_code(model(provider), messages.clone());
        let called = message_of(&send("/v1/messages?beta=true", &body).await.ok().text);
        assert_eq!(called["stop_reason"], "tool_use", "{provider}: {called}");
        assert!(called["id"].as_str().unwrap().starts_with("msg_"), "{provider}: {called}");
        let calls = called["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use");
        let results: Vec<Value> = calls
            .map(|call| {
                assert_eq!(call["name"], "get_weather", "{provider}");
                assert!(call["input"]["city"].is_string(), "{provider}: {call}");
                json!({"type": "tool_result", "tool_use_id": call["id"], "content": "rain"})
            })
            .collect();
        let turns = messages.as_array_mut().unwrap();
        turns.push(json!({"role": "assistant", "content": called["content"]}));
        turns.push(json!({"role": "user", "content": results}));
        let body = claude_code(model(provider), messages);
        let ended = message_of(&send("/v1/messages?beta=true", &body).await.ok().text);
        assert_eq!(ended["stop_reason"], "end_turn", "{provider}: {ended}");

        // The billing line changes with every call and would spoil another provider's cache of the prompt.
        let sent = bench.simulator.calls_of(provider).pop().unwrap().body;
        let has_line = String::from_utf8_lossy(&sent).contains("x-anthropic-billing-header");
        assert_eq!(has_line, provider == Provider::Anthropic, "{provider}");

        let mut counted = body;
        for member in ["max_tokens", "stream", "temperature", "metadata"] {
            counted.as_object_mut().unwrap().remove(member);
        }
        let counted = send("/v1/messages/count_tokens?beta=true", &counted).await.ok();
        assert!(counted.json()["input_tokens"].as_u64().unwrap() > 100, "{provider}: {}", counted.text);
    }
}

#[tokio::test]
async fn d196_the_openai_sdks_send_nulls_and_headers_of_their_own() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let body = json!({
            "model": model(provider), "messages": [{"role": "user", "content": "Hello", "name": null}], "stream": null,
            "temperature": null, "top_p": null, "n": null, "stop": null, "tools": null, "tool_choice": null,
            "response_format": null, "max_tokens": null, "user": null, "seed": null, "logit_bias": null,
        });
        let request = bench
            .chat(&body)
            .header("x-stainless-retry-count", "1")
            .header("x-stainless-lang", "js")
            .header("idempotency-key", "stainless-node-retry-1")
            .header("user-agent", "OpenAI/JS 6.1.0");
        let answer = Answer::read(request.send().await.unwrap()).await;
        // A null is left to the provider that is spoken to in its own dialect.
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text);
        assert!(answer.header("x-aipipe-dropped").is_empty(), "{provider}: {}", answer.header("x-aipipe-dropped"));
    }
}

#[tokio::test]
async fn d198_google_genai_reads_lines_of_whole_json() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let request = Dialect::Gemini
            .ask_stream(&bench, model(provider), "Tell me a story.")
            .header("x-goog-api-key", "any")
            .header("x-goog-api-client", "google-genai-sdk/1.2.0 gl-python/3.13");
        let answer = Answer::read(request.send().await.unwrap()).await.ok();
        let lines: Vec<&str> = answer.text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')).collect();
        assert!(lines.len() > 1, "{provider}: {}", answer.text);
        for line in lines {
            let data: Value = serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
            assert!(data["candidates"].is_array() && data["responseId"].is_string(), "{provider}: {line}");
        }
    }
}

#[tokio::test]
async fn d199_langchain_gets_role_reason_model_and_usage_once() {
    let bench = Bench::start().await;
    for provider in tidied() {
        for prompt in ["Tell me a story.", WEATHER] {
            let mut body = ask_stream(model(provider), prompt);
            body["tools"] = json!([function("get_weather")]);
            let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await.ok();
            let chunks = answer.chunks();
            let count = |has: &dyn Fn(&Value) -> bool| chunks.iter().filter(|chunk| has(chunk)).count();
            let choice = |chunk: &Value| chunk["choices"][0].clone();
            assert_eq!(count(&|chunk| choice(chunk)["finish_reason"].is_string()), 1, "{provider}: {}", answer.text);
            assert_eq!(
                count(&|chunk| chunk["usage"].is_object() && chunk["choices"] == json!([])),
                1,
                "{provider}: {}",
                answer.text
            );
            // Only the chunk with usage has no choice, and it is the last.
            assert_eq!(count(&|chunk| chunk["choices"] == json!([])), 1, "{provider}");
            assert!(chunks.last().unwrap()["usage"]["total_tokens"].is_u64(), "{provider}");
            let models: std::collections::BTreeSet<&str> =
                chunks.iter().map(|chunk| chunk["model"].as_str().unwrap()).collect();
            assert_eq!(models.len(), 1, "{provider}: {models:?}");
            // The pieces of a call are put together by their index.
            let pieces = chunks
                .iter()
                .flat_map(|chunk| choice(chunk)["delta"]["tool_calls"].as_array().cloned().unwrap_or_default());
            let arguments: String = pieces
                .map(|piece| {
                    assert_eq!(piece["index"], 0, "{provider}: {piece}");
                    piece["function"]["arguments"].as_str().unwrap_or_default().to_owned()
                })
                .collect();
            if prompt == WEATHER {
                assert!(
                    serde_json::from_str::<Value>(&arguments).unwrap()["city"].is_string(),
                    "{provider}: {arguments}"
                );
            }
        }
    }
}

/// What the Vercel AI SDK's schema of a chunk allows.
fn valid_for_vercel(chunk: &Value) -> bool {
    let text_or_null = |value: &Value| value.is_null() || value.is_string();
    let delta_fits = |delta: &Value| {
        let role = &delta["role"];
        let calls = delta["tool_calls"].as_array().into_iter().flatten();
        (role.is_null() || role == "assistant")
            && text_or_null(&delta["content"])
            && text_or_null(&delta["reasoning_content"])
            && calls.into_iter().all(|call| call["index"].is_u64() && call["function"].is_object())
    };
    let reasons = ["stop", "length", "content_filter", "tool_calls", "function_call"];
    let choice_fits = |choice: &Value| {
        choice["index"].is_u64()
            && (choice["finish_reason"].is_null() || reasons.iter().any(|reason| choice["finish_reason"] == *reason))
            && (choice["delta"].is_null() || delta_fits(&choice["delta"]))
    };
    let usage = &chunk["usage"];
    let usage_fits = usage.is_null() || (usage["prompt_tokens"].is_u64() && usage["completion_tokens"].is_u64());
    chunk["choices"].as_array().is_some_and(|choices| choices.iter().all(choice_fits)) && usage_fits
}

#[tokio::test]
async fn d146_d200_every_chunk_fits_the_schema_of_the_vercel_ai_sdk() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for prompt in ["Tell me a story.", WEATHER] {
            let mut body = ask_stream(model(provider), prompt);
            body["tools"] = json!([function("get_weather")]);
            let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await.ok();
            for chunk in answer.chunks() {
                assert!(valid_for_vercel(&chunk), "{provider}: {chunk}");
            }
            let finish = answer
                .chunks()
                .iter()
                .rev()
                .find_map(|chunk| chunk["choices"][0]["finish_reason"].as_str().map(str::to_owned));
            assert_eq!(finish.as_deref(), Some(if prompt == WEATHER { "tool_calls" } else { "stop" }), "{provider}");
        }
    }
}

#[tokio::test]
async fn d26_d201_output_by_a_forced_tool_comes_from_every_provider() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        // pydantic-ai forces any tool, instructor the one; litellm adds members that others do not know.
        for choice in [json!("required"), json!({"type": "function", "function": {"name": "final_result"}})] {
            let mut body = json!({
                "model": model(provider), "messages": [{"role": "user", "content": "Describe Bergen."}],
                "tools": [function("final_result")], "tool_choice": choice,
            });
            if !Dialect::Chat.is_spoken_by(provider) {
                body["litellm_session_id"] = json!("s");
            }
            let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await;
            if provider == Provider::Moonshot {
                // A named model in its own dialect gets the request as it came, and its refusal comes back as it is.
                assert_eq!(answer.status, 400, "{}", answer.text);
                assert!(answer.message().contains("incompatible with thinking"), "{}", answer.text);
                continue;
            }
            let call = &answer.json()["choices"][0];
            assert_eq!(call["finish_reason"], "tool_calls", "{provider}: {}", answer.text);
            assert_eq!(call["message"]["tool_calls"][0]["function"]["name"], "final_result", "{provider}");
            let dropped = answer.header("x-aipipe-dropped");
            assert_eq!(
                dropped.contains("litellm_session_id"),
                !Dialect::Chat.is_spoken_by(provider),
                "{provider}: {dropped}"
            );
        }
        // Anthropic's way to say it; where thinking forbids it, thinking is switched off.
        for choice in [json!({"type": "any"}), json!({"type": "tool", "name": "final_result"})] {
            let body = json!({
                "model": model(provider), "max_tokens": 4_000, "messages": [{"role": "user", "content": "Describe Bergen."}],
                "tools": [{"name": "final_result", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
                "tool_choice": choice,
            });
            let answer = Answer::read(bench.post("/v1/messages", &body).send().await.unwrap()).await.ok();
            assert_eq!(answer.json()["stop_reason"], "tool_use", "{provider}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn d37_a_client_of_legacy_functions_is_answered_its_way() {
    let bench = Bench::start().await;
    for provider in [Provider::OpenAi, Provider::Anthropic, Provider::Gemini] {
        let mut body = json!({
            "model": model(provider), "messages": [{"role": "user", "content": WEATHER}],
            "functions": [function("get_weather")["function"]], "function_call": "auto",
        });
        let answer = bench.answered(&body).await.json();
        if provider == Provider::OpenAi {
            continue;
        }
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "function_call", "{provider}: {answer}");
        assert!(choice["message"].get("tool_calls").is_none(), "{provider}: {answer}");
        let turns = body["messages"].as_array_mut().unwrap();
        turns.push(choice["message"].clone());
        turns.push(json!({"role": "function", "name": "get_weather", "content": "rain"}));
        assert_eq!(bench.answered(&body).await.json()["choices"][0]["finish_reason"], "stop", "{provider}");
    }
}

#[tokio::test]
async fn d169_an_answer_that_does_not_stream_becomes_a_stream() {
    let bench = Bench::start().await;
    let whole = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Well:",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"n\":1.0}"}}]}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    });
    let bytes = Bytes::from(whole.to_string());
    bench.simulator.script(Provider::OpenAi, Behaviour::Fixed { content_type: "application/json".into(), bytes });
    let chat = Answer::read(bench.chat(&ask_stream("openai/gpt-4o-mini", "Hello")).send().await.unwrap()).await.ok();
    assert!(chat.is_whole_stream(), "{}", chat.text);
    assert_eq!(chat.streamed(), "Well:");
    let last = chat.chunks().pop().unwrap();
    assert_eq!((&last["usage"]["total_tokens"], last["usage"]["cost"].is_number()), (&json!(12), true), "{last}");
    let request = Dialect::Messages.ask_stream(&bench, "openai/gpt-4o-mini", "Hello");
    let message = message_of(&Answer::read(request.send().await.unwrap()).await.ok().text);
    assert_eq!(message["content"][0]["text"], "Well:");
    assert_eq!((&message["content"][1]["input"], &message["stop_reason"]), (&json!({"n": 1.0}), &json!("tool_use")));
    for row in bench.rows().await {
        assert_eq!(
            (&row["outcome"], &row["tokens"]["output"], &row["estimated"]),
            (&json!("ok"), &json!(5), &json!(false))
        );
    }
    bench.idle().await;
}
