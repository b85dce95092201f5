//! Requests of every client dialect, spoilt at random: wrong types everywhere, deep and huge values, doubled and missing members, bytes
//! that are no JSON. Each is answered in the shape of its dialect, none breaks anything.
//!
//! `AIPIPE_MUTATIONS` sets how many are sent.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Answer, Bench, Setting};

/// Whatever takes so long never ends.
const HANGS: Duration = Duration::from_secs(30);

/// What each client dialect is sent, before it is spoilt.
fn bodies() -> Vec<(&'static str, Value)> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    vec![
        (
            "/v1/chat/completions",
            json!({
            "model": "auto", "temperature": 0.5, "max_tokens": 20, "stop": ["x"], "n": 1, "stream": false, "seed": 7,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hello"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}], "tool_choice": "auto",
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": false}},
            "aipipe": {"models": ["openai/gpt-4o-mini"], "max_cost_usd": 1, "tags": ["t"], "timeout_ms": 20000}}),
        ),
        (
            "/v1/messages",
            json!({
            "model": "anthropic/claude-haiku-4-5", "max_tokens": 30, "temperature": 0.2, "stop_sequences": ["x"], "top_k": 5,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "b"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]}],
            "tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "auto"}, "metadata": {"user_id": "u"}}),
        ),
        (
            "/v1/messages",
            json!({"model": "openai/gpt-4o-mini", "max_tokens": 30, "messages": [{"role": "user", "content": "Hello"}]}),
        ),
        (
            "/v1beta/models/gemini%2Fgemini-3.5-flash:generateContent",
            json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": "Hello"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": 1}}}]}],
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
            "generationConfig": {"temperature": 0.3, "maxOutputTokens": 40, "stopSequences": ["x"], "candidateCount": 1}}),
        ),
        ("/v1/embeddings", json!({"model": "openai/text-embedding-3-small", "input": ["a", "b"], "dimensions": 8})),
        ("/v1/route", json!({"model": "auto", "messages": [{"role": "user", "content": "Hello"}]})),
        ("/v1/feedback", json!({"request_id": "01a2189e-f0d3-765a-b883-812120e526d4", "score": 0.5, "comment": "c"})),
    ]
}

/// JSON texts that nobody expects where they stand.
fn odd() -> impl Strategy<Value = String> {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    prop::sample::select(vec![
        "null".to_owned(),
        "true".into(),
        "0".into(),
        "-1".into(),
        "1e999".into(),
        "-1e999".into(),
        "1e-999".into(),
        "18446744073709551616".into(),
        "9223372036854775808".into(),
        "0.1".into(),
        "-0".into(),
        "1E400".into(),
        "1".repeat(5_000),
        "\"\"".into(),
        "\"\\u0000\"".into(),
        "\"\\ud800\"".into(),
        "\"\\udc00\\ud800\"".into(),
        "\"\\r\\nset-cookie: a\"".into(),
        "\"auto\"".into(),
        "[]".into(),
        "{}".into(),
        "[null]".into(),
        "[[]]".into(),
        "[{}]".into(),
        "{\"\":{}}".into(),
        "{\"type\":\"\"}".into(),
        "{\"type\":5}".into(),
        "\"\u{10ffff}\"".into(),
        format!("\"{}\"", "x".repeat(100_000)),
        deep,
        deep_object,
        "nul".into(),
        "01".into(),
        "+1".into(),
        "'a'".into(),
        "NaN".into(),
    ])
}

/// Replaces, doubles or removes the value at a place of a body, counted in the order of its text.
fn spoilt(value: &Value, place: &mut usize, action: u8, odd: &str) -> String {
    let here = *place == 0;
    *place = place.wrapping_sub(1);
    if here {
        return odd.to_owned();
    }
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| spoilt(item, place, action, odd)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let mut parts = Vec::new();
            for (name, value) in fields {
                let is_struck = *place == 0;
                let text = spoilt(value, place, action, odd);
                match action {
                    1 if is_struck => {}
                    2 if is_struck => parts.extend([format!("{name:?}:{value}"), format!("{name:?}:{text}")]),
                    3 if is_struck => parts.push(format!("\"{name}\\u0000\":{value}")),
                    _ => parts.push(format!("{name:?}:{text}")),
                }
            }
            format!("{{{}}}", parts.join(","))
        }
        other => other.to_string(),
    }
}

fn places(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(places).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(places).sum::<usize>(),
        _ => 1,
    }
}

fn assert_shape(path: &str, answer: &Answer) {
    let error =
        serde_json::from_str::<Value>(&answer.text).unwrap_or_else(|_| panic!("{path}: no JSON: {}", answer.text));
    let message = &error["error"]["message"];
    assert!(message.as_str().is_some_and(|message| !message.is_empty()), "{path}: {error}");
    match path {
        "/v1/messages" => {
            assert_eq!(error["type"], "error", "{error}");
            assert!(error["error"]["type"].is_string() && error["request_id"].is_string(), "{error}");
        }
        path if path.starts_with("/v1beta/") => {
            assert_eq!(error["error"]["code"], answer.status, "{error}");
            assert!(error["error"]["status"].is_string(), "{error}");
        }
        _ => assert!(error["error"]["type"].is_string(), "{error}"),
    }
}

#[test]
fn spoilt_requests_are_told_what_is_wrong_and_nothing_breaks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::with(Setting { file: "[cache]\nttl_seconds = 0\n", ..Setting::default() }));
    let cases = std::env::var("AIPIPE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(250);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let bodies = bodies();
    let strategy =
        (0..bodies.len(), any::<prop::sample::Index>(), 0_u8..6, odd(), any::<prop::sample::Index>(), any::<u8>());
    let result = runner.run(&strategy, |(which, place, action, odd, at, byte)| {
        let (path, body) = &bodies[which];
        let bytes = match action {
            // The text itself is cut off or has a byte changed.
            4 => body.to_string().as_bytes()[..at.index(body.to_string().len())].to_vec(),
            5 => {
                let mut bytes = body.to_string().into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }
            action => spoilt(body, &mut place.index(places(body)), action, &odd).into_bytes(),
        };
        let answer = runtime.block_on(async {
            let request = bench.client.post(bench.url(path)).header("content-type", "application/json").body(bytes);
            Answer::read(timeout(HANGS, request.send()).await.expect("an answer in time").unwrap()).await
        });
        prop_assert!(answer.status < 500, "{}: {}", answer.status, answer.text);
        prop_assert!(!answer.header("x-request-id").is_empty());
        prop_assert!(answer.header("set-cookie").is_empty());
        if answer.status >= 400 {
            assert_shape(path, &answer);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    runtime.block_on(bench.idle());
}
