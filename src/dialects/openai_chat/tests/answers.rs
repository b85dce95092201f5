//! Whole answers, written and read.

use aipipe_actors::money::{NanoUsd, Tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::dialects::client::annotate;
use crate::dialects::conversation::{Answer, Choice, Opaque, Part, Stop, Thought, ToolCall, Usage};
use crate::dialects::openai_chat::answer::{AnswerShape, ToolShape, read_answer, write_answer};
use crate::dialects::openai_chat::quirks::ChatQuirks;
use crate::dialects::openai_chat::request::decode_request;
use crate::dialects::openai_chat::scan::scan;
use crate::dialects::translate::AnswerError;

fn shape(tools: ToolShape) -> AnswerShape {
    AnswerShape { id: "chatcmpl-1".into(), created: 7, tools, custom_tools: Vec::new() }
}

fn written(parts: Vec<Part>, stop: Stop, tools: ToolShape) -> Value {
    let usage = Usage { tokens: Tokens { input: 3, output: 2, ..Tokens::default() }, reported_cost: None };
    let choices = vec![Choice { parts, stop, stop_sequence: None }];
    let answer = Answer { id: "msg_1".into(), model: "claude".into(), choices, usage: Some(usage) };
    serde_json::from_slice(&write_answer(&answer, &shape(tools), Some(NanoUsd(1_500)))).unwrap()
}

fn call(arguments: &str) -> Part {
    let signature = Opaque { origin: "gemini/g".into(), kind: "thought_signature", data: "sig".into() };
    Part::ToolCall(ToolCall {
        id: "c1".into(),
        name: "f".into(),
        arguments: arguments.into(),
        signature: Some(signature),
    })
}

#[test]
fn d108_d130_d136_an_answer_has_what_clients_require() {
    let body = written(vec![Part::Text("a".into()), Part::Text("b\"".into())], Stop::End, ToolShape::Calls);
    assert_eq!(
        body,
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "claude",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "ab\"", "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0}, "cost": 0.000001500},
        })
    );
}

#[test]
fn d100_d101_why_it_ended_is_said_in_the_dialects_words() {
    for (stop, reason) in [
        (Stop::End, "stop"),
        (Stop::Sequence, "stop"),
        (Stop::Length, "length"),
        (Stop::ContextFull, "length"),
        (Stop::Paused, "length"),
        (Stop::Refusal, "content_filter"),
        (Stop::Filtered, "content_filter"),
    ] {
        assert_eq!(written(vec![], stop, ToolShape::Calls)["choices"][0]["finish_reason"], reason, "{stop:?}");
    }
    assert_eq!(written(vec![call("{}")], Stop::End, ToolShape::Calls)["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn d37_calls_take_the_shape_that_the_client_reads() {
    let modern = written(vec![call("")], Stop::ToolUse, ToolShape::Calls);
    let message = &modern["choices"][0]["message"];
    assert_eq!(message["content"], Value::Null);
    assert_eq!(
        message["tool_calls"],
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "sig"}, "aipipe": {"origin": "gemini/g"}}}])
    );
    let legacy = written(vec![call("{\"a\":1}")], Stop::ToolUse, ToolShape::LegacyFunction);
    assert_eq!(legacy["choices"][0]["message"]["function_call"], json!({"name": "f", "arguments": "{\"a\":1}"}));
    assert_eq!(legacy["choices"][0]["finish_reason"], "function_call");
    let cut = written(vec![call("")], Stop::Length, ToolShape::Calls);
    assert_eq!(cut["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "");
}

#[test]
fn what_only_the_model_can_read_makes_the_round_trip() {
    let thought = |kind, text: &str| Thought {
        text: text.into(),
        opaque: Some(Opaque { origin: "anthropic/claude".into(), kind, data: format!("{kind}-data") }),
    };
    let thoughts = [
        thought("signature", "first"),
        thought("redacted", ""),
        thought("encrypted", ""),
        thought("thought_signature", "t"),
    ];
    let mut parts: Vec<Part> = thoughts.iter().cloned().map(Part::Reasoning).collect();
    parts.push(call("{}"));
    let answer = written(parts, Stop::ToolUse, ToolShape::Calls);
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "firstt");
    let body = json!({"model": "m", "messages": [message, {"role": "tool", "tool_call_id": "c1", "content": "r"}]});
    let turns = decode_request(&scan(body.to_string().as_bytes()).unwrap()).unwrap().conversation.turns;
    let returned: Vec<&Thought> = turns[0]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Reasoning(thought) => Some(thought),
            _ => None,
        })
        .collect();
    assert_eq!(returned, thoughts.iter().collect::<Vec<_>>());
    let Some(Part::ToolCall(returned)) = turns[0].parts.last() else { panic!() };
    assert_eq!(
        returned.signature.as_ref().map(|signature| (&*signature.origin, &*signature.data)),
        Some(("gemini/g", "sig"))
    );
}

#[test]
fn an_answer_that_passes_is_read_and_annotated() {
    let text = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"\"usage\":{}"},"finish_reason":"stop"}],"model":"m-1","usage":{"prompt_tokens":3,"completion_tokens":2,"cost":9} }"#;
    let facts = read_answer(text.as_bytes(), ChatQuirks::default()).unwrap();
    assert_eq!((facts.stop, facts.is_whole), (Stop::End, true));
    assert_eq!(facts.usage.unwrap().tokens, Tokens { input: 3, output: 2, ..Tokens::default() });
    let body = Bytes::from_static(text.as_bytes());
    let annotated = annotate(&body, &facts, Some(NanoUsd(5)), Some("{\"decision\":{}}"));
    let expected = text.replace("\"cost\":9} }", "\"cost\":0.000000005} ,\"aipipe\":{\"decision\":{}}}");
    assert_eq!(annotated, expected);
    assert_eq!(annotate(&body, &facts, None, None), body);
}

#[test]
fn errors_in_a_200_are_errors() {
    let provider = |text: &str| match read_answer(text.as_bytes(), ChatQuirks::default()) {
        Err(AnswerError::Provider(error)) => (error.status, error.code, error.message),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        provider(r#"{"choices":null,"base_resp":{"status_code":2061,"status_msg":"plan"}}"#),
        (StatusCode::FORBIDDEN, Some("2061".into()), "plan".into())
    );
    assert_eq!(provider(r#"{"base_resp":{"status_code":1004,"status_msg":"login"}}"#).0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        provider(r#"{"error":{"code":429,"message":"slow"},"choices":[]}"#),
        (StatusCode::TOO_MANY_REQUESTS, None, "slow".into())
    );
    assert_eq!(provider(r#"{"choices":[{"message":{},"finish_reason":"error"}]}"#).0, StatusCode::BAD_GATEWAY);
    for text in [r#"{"choices":[]}"#, "{}", "<html>", "", r#"{"choices":null}"#, r#"{"choices":[{"message":{}}"#] {
        assert!(
            matches!(read_answer(text.as_bytes(), ChatQuirks::default()), Err(AnswerError::Malformed(_))),
            "{text}"
        );
    }
}

#[test]
fn an_answer_without_a_reason_is_not_whole() {
    let read = |text: &str| read_answer(text.as_bytes(), ChatQuirks::default()).unwrap();
    assert!(!read(r#"{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":null}]}"#).is_whole);
    let two = read(
        r#"{"choices":[{"index":0,"message":{},"finish_reason":"stop"},{"index":1,"message":{},"finish_reason":"length"}]}"#,
    );
    assert_eq!((two.is_whole, two.stop), (true, Stop::Length));
    let calls = read(
        r#"{"choices":[{"message":{"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}"#,
    );
    assert_eq!(calls.stop, Stop::ToolUse);
}
