//! Translated streams.

use aipipe_actors::money::Tokens;
use http::StatusCode;
use serde_json::{Value, json};

use crate::dialects::conversation::{Event, Opaque, Stop, Usage};
use crate::dialects::openai_chat::answer::{AnswerShape, ToolShape};
use crate::dialects::openai_chat::relay::UsageView;
use crate::dialects::openai_chat::stream::ChatStreamEncoder;
use crate::dialects::translate::{ClientError, StreamEncoder};

fn start() -> Event {
    Event::Start { id: "msg_1".into(), model: "claude".into() }
}

fn stop(reason: Stop) -> Event {
    Event::Stop { reason, sequence: None }
}

fn call(index: u32, name: &str) -> Event {
    Event::ToolCallStart { index, id: format!("c{index}"), name: name.into(), signature: None }
}

fn encoder(view: UsageView, tools: ToolShape) -> ChatStreamEncoder {
    ChatStreamEncoder::new(AnswerShape { id: "chatcmpl-1".into(), created: 7, tools, custom_tools: Vec::new() }, view)
}

/// The data of each event, the last of which must be `[DONE]`.
fn chunks(events: &[Event], view: UsageView, tools: ToolShape) -> Vec<Value> {
    let mut encoder = encoder(view, tools);
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(Some("0.000000009"), &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut data: Vec<&str> =
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(data.pop(), Some("[DONE]"));
    data.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn deltas(events: &[Event], tools: ToolShape) -> Vec<(Value, Value)> {
    let chunks = chunks(events, UsageView::Hidden, tools);
    chunks
        .into_iter()
        .map(|mut chunk| (chunk["choices"][0]["delta"].take(), chunk["choices"][0]["finish_reason"].take()))
        .collect()
}

#[test]
fn d120_d146_d147_text_streams_in_the_dialects_order() {
    let usage = Usage { tokens: Tokens { input: 3, output: 2, ..Tokens::default() }, reported_cost: None };
    let events = [start(), Event::Text("a\n".into()), Event::Usage(usage), stop(Stop::End)];
    let written = chunks(&events, UsageView::Shown, ToolShape::Calls);
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "claude",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null})
    };
    assert_eq!(written[0], chunk(json!({"role": "assistant", "content": ""}), Value::Null));
    assert_eq!(written[1], chunk(json!({"content": "a\n"}), Value::Null));
    assert_eq!(written[2], chunk(json!({}), json!("stop")));
    assert_eq!((&written[3]["choices"], &written[3]["usage"]["cost"]), (&json!([]), &json!(0.000000009)));
    assert_eq!(written.len(), 4);
    let hidden = chunks(&events, UsageView::Hidden, ToolShape::Calls);
    assert_eq!(hidden.len(), 3);
    assert!(hidden.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn d143_every_call_has_arguments_that_parse() {
    let arguments = |index, text: &str| Event::ToolArguments { index, delta: text.into() };
    let events = [
        start(),
        call(0, "none"),
        call(1, "some"),
        arguments(1, ""),
        arguments(1, "{\"a\""),
        arguments(1, ":1}"),
        call(2, "last"),
        stop(Stop::End),
    ];
    let written = deltas(&events, ToolShape::Calls);
    let mut joined = [String::new(), String::new(), String::new()];
    for (delta, _) in &written {
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            joined[index].push_str(call["function"]["arguments"].as_str().unwrap());
        }
    }
    assert_eq!(joined, ["{}", "{\"a\":1}", "{}"]);
    assert_eq!(
        written[1].0["tool_calls"][0],
        json!({"index": 0, "id": "c0", "type": "function", "function": {"name": "none", "arguments": ""}})
    );
    assert_eq!(written.last().unwrap().1, "tool_calls");
    let cut = deltas(&[start(), call(0, "cut"), stop(Stop::Length)], ToolShape::Calls);
    assert_eq!((cut.len(), &cut.last().unwrap().1), (3, &json!("length")));
}

#[test]
fn d37_legacy_clients_get_one_function_call() {
    let events = [
        start(),
        call(0, "f"),
        Event::ToolArguments { index: 0, delta: "{}".into() },
        call(1, "g"),
        stop(Stop::ToolUse),
    ];
    let written = deltas(&events, ToolShape::LegacyFunction);
    let calls: Vec<&Value> = written.iter().filter_map(|(delta, _)| delta.get("function_call")).collect();
    assert_eq!(calls, [&json!({"name": "f", "arguments": ""}), &json!({"arguments": "{}"})]);
    assert_eq!(written.last().unwrap().1, "function_call");
}

#[test]
fn a_signature_comes_with_the_whole_thought() {
    let opaque = Opaque { origin: "anthropic/claude".into(), kind: "signature", data: "sig".into() };
    let events = [
        start(),
        Event::Reasoning("a".into()),
        Event::Reasoning("b".into()),
        Event::ReasoningOpaque(opaque),
        Event::Text("t".into()),
    ];
    let written = deltas(&events, ToolShape::Calls);
    assert_eq!(written[2].0, json!({"reasoning_content": "b"}));
    assert_eq!(
        written[3].0,
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "ab", "signature": "sig", "format": "anthropic-claude-v1",
            "index": 0, "origin": "anthropic/claude"}]})
    );
}

#[test]
fn d115_d146_d199_a_second_start_and_a_second_stop_are_one() {
    let events = [start(), stop(Stop::End), Event::Text("more".into()), start(), stop(Stop::End)];
    let written = deltas(&events, ToolShape::Calls);
    assert_eq!(written.iter().filter(|(delta, _)| delta.get("role").is_some()).count(), 1);
    assert_eq!(written.iter().filter(|(_, finish)| finish == "stop").count(), 1);
    assert_eq!(written.last().unwrap().1, "stop");
}

#[test]
fn d156_d162_a_ping_is_a_comment_and_an_error_no_clean_end() {
    let mut encoder = encoder(UsageView::Hidden, ToolShape::Calls);
    let mut out = Vec::new();
    encoder.event(&Event::Ping, &mut out);
    assert_eq!(out, b": keep-alive\n\n");
    out.clear();
    encoder.error(
        &ClientError { status: StatusCode::BAD_GATEWAY, code: "upstream_error", message: "broke off", param: None },
        &mut out,
    );
    let text = String::from_utf8(out).unwrap();
    let data: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["error"]["code"], "upstream_error");
    assert!(!text.contains("[DONE]"));
}
