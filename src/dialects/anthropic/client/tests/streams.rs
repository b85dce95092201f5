use aipipe_actors::money::Tokens;
use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{frame, opaque, scanned};
use crate::dialects::conversation::{Event, Stop, Usage};
use crate::dialects::translate::ClientError;

fn start(index: u32) -> Event {
    Event::ToolCallStart { index, id: format!("call_{index}"), name: format!("f{index}"), signature: None }
}

fn more(index: u32, delta: &str) -> Event {
    Event::ToolArguments { index, delta: delta.to_owned() }
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn stop(reason: Stop) -> Event {
    Event::Stop { reason, sequence: None }
}

fn thinks() -> Value {
    json!({"thinking": {"type": "adaptive"}})
}

/// Every event of the stream that is written for these.
fn streamed_for(extra: &Value, events: &[Event]) -> Vec<Value> {
    let mut encoder = scanned(extra).stream_encoder(&frame());
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    encoder.finish(Some("0.25"), &mut out);
    String::from_utf8(out).unwrap().split_terminator("\n\n").map(parsed).collect()
}

fn parsed(event: &str) -> Value {
    let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["type"], name);
    data
}

fn streamed(events: &[Event]) -> Vec<Value> {
    streamed_for(&thinks(), events)
}

/// The blocks as a client puts them together; fails where the order would make it fail.
fn blocks(events: &[Value]) -> Vec<Value> {
    let mut done: Vec<Value> = Vec::new();
    let mut open: Option<Value> = None;
    for event in events {
        if let Some(index) = event.get("index") {
            assert_eq!(*index, done.len());
        }
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(open.replace(event["content_block"].clone()).is_none());
            }
            "content_block_delta" => {
                let block = open.as_mut().unwrap();
                let delta = event["delta"].as_object().unwrap();
                let (member, more) = delta.iter().find(|(name, _)| *name != "type").unwrap();
                let before = block.get(member).and_then(Value::as_str).unwrap_or_default();
                block[member] = json!(format!("{before}{}", more.as_str().unwrap()));
            }
            "content_block_stop" => done.push(open.take().unwrap()),
            _ => {}
        }
    }
    assert!(open.is_none());
    done
}

#[test]
fn d140_the_order_of_events() {
    let usage =
        Usage { tokens: Tokens { input: 9, cached_input: 4, output: 3, ..Tokens::default() }, reported_cost: None };
    let events = streamed(&[
        Event::Start { id: "x".into(), model: "first".into() },
        Event::Start { id: "x".into(), model: "second".into() },
        Event::Ping,
        text("a"),
        Event::Ping,
        text("b"),
        stop(Stop::End),
        Event::Usage(usage),
    ]);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let message = &events[0]["message"];
    assert_eq!(
        (&message["model"], &message["content"], &message["stop_reason"]),
        (&json!("second"), &json!([]), &json!(null))
    );
    assert_eq!(message["usage"]["input_tokens"], 0);
    assert_eq!(events[7]["delta"], json!({"stop_reason": "end_turn", "stop_sequence": null}));
    assert_eq!(
        events[7]["usage"],
        json!({
            "input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 3,
            "cost": 0.25,
        })
    );
}

#[test]
fn d64_an_answer_without_content_is_one() {
    let events = streamed(&[stop(Stop::Length)]);
    let kinds: Vec<&Value> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["message_start", "ping", "message_delta", "message_stop"]);
    assert_eq!(events[2]["delta"]["stop_reason"], "max_tokens");
}

#[test]
fn d141_interleaved_calls_come_one_after_another() {
    let events = streamed(&[
        text("Look:"),
        start(0),
        more(0, "{\"a\":"),
        start(1),
        more(1, "{\"b\""),
        more(0, "{}}"),
        more(1, ":2}"),
        text("done"),
        stop(Stop::End),
    ]);
    assert_eq!(
        blocks(&events),
        [
            json!({"type": "text", "text": "Look:"}),
            json!({"type": "tool_use", "id": "call_0", "name": "f0", "input": {}, "partial_json": "{\"a\":{}}"}),
            json!({"type": "tool_use", "id": "call_1", "name": "f1", "input": {}, "partial_json": "{\"b\":2}"}),
            json!({"type": "text", "text": "done"}),
        ]
    );
    let delta = &events[events.len() - 2];
    assert_eq!(delta["delta"]["stop_reason"], "tool_use");
}

#[test]
fn d142_d143_a_call_without_arguments_has_no_delta() {
    let events = streamed(&[start(0), more(0, ""), start(1), more(1, "{}"), stop(Stop::ToolUse)]);
    let blocks = blocks(&events);
    assert_eq!(blocks[0].get("partial_json"), None);
    assert_eq!(blocks[1]["partial_json"], "{}");
}

#[test]
fn d105_half_arguments_stay_half() {
    let events = streamed(&[start(0), more(0, "{\"a\":\"x"), stop(Stop::Length)]);
    assert_eq!(blocks(&events)[0]["partial_json"], "{\"a\":\"x");
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "max_tokens");
}

#[test]
fn d194_every_thought_is_signed_before_it_ends() {
    let thought = |text: &str| Event::Reasoning(text.to_owned());
    let events = streamed(&[
        thought("a"),
        thought("b"),
        Event::ReasoningOpaque(opaque("anthropic/c", "signature", "s=")),
        thought("c"),
        Event::ReasoningOpaque(opaque("anthropic/c", "redacted", "r=")),
        Event::ReasoningOpaque(opaque("anthropic/c", "signature", "silent=")),
        text("x"),
        Event::ReasoningOpaque(opaque("gemini/g", "thought_signature", "g=")),
        Event::ToolCallStart {
            index: 0,
            id: "t".into(),
            name: "f".into(),
            signature: Some(opaque("gemini/g", "thought_signature", "h=")),
        },
        more(0, "{}"),
        stop(Stop::End),
    ]);
    assert_eq!(
        blocks(&events),
        [
            json!({"type": "thinking", "thinking": "ab", "signature": "aipipe:1:signature:anthropic/c:s="}),
            json!({"type": "thinking", "thinking": "c", "signature": "aipipe:1:none::"}),
            json!({"type": "redacted_thinking", "data": "aipipe:1:redacted:anthropic/c:r="}),
            json!({"type": "thinking", "thinking": "", "signature": "aipipe:1:signature:anthropic/c:silent="}),
            json!({"type": "text", "text": "x"}),
            json!({"type": "redacted_thinking", "data": "aipipe:1:thought_signature:gemini/g:g="}),
            json!({"type": "redacted_thinking", "data": "aipipe:1:call:gemini/g:h="}),
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {}, "partial_json": "{}"}),
        ]
    );
}

#[test]
fn d79_hidden_thoughts_are_signs_of_life() {
    let events = streamed_for(&json!({}), &[Event::Reasoning("hm".into()), text("42"), stop(Stop::End)]);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..4], ["message_start", "ping", "ping", "content_block_start"]);
    assert_eq!(blocks(&events), [json!({"type": "text", "text": "42"})]);
}

#[test]
fn d99_d167_a_refusal_reaches_the_client_as_text() {
    let events = streamed(&[Event::Refusal("I ".into()), Event::Refusal("can't".into()), stop(Stop::End)]);
    assert_eq!(blocks(&events), [json!({"type": "text", "text": "I can't"})]);
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "refusal");
}

#[test]
fn d162_an_error_in_mid_stream_is_never_a_clean_end() {
    let mut encoder = scanned(&json!({})).stream_encoder(&frame());
    let mut out = Vec::new();
    encoder.event(&text("a"), &mut out);
    let error = ClientError { status: StatusCode::BAD_GATEWAY, code: "upstream_error", message: "broke", param: None };
    encoder.error(&error, &mut out);
    let out = String::from_utf8(out).unwrap();
    let last = parsed(out.trim_end().rsplit("\n\n").next().unwrap());
    assert_eq!((&last["type"], &last["error"]["code"]), (&json!("error"), &json!("upstream_error")));
    assert!(!out.contains("message_stop") && !out.contains("stop_reason\":\""));
}

proptest! {
    /// However the pieces of three calls, texts and thoughts lie, every block is whole and nothing is lost.
    #[test]
    fn any_order_of_pieces_gives_whole_blocks(order in prop::collection::vec(0_usize..5, 0..40)) {
        let arguments = ["{\"a\":[1,{}]}", "{}", "{\"b\":\"}\"}"];
        let mut written = [0; 3];
        let mut begun = 0;
        let (mut said, mut thought) = (String::new(), String::new());
        let mut events = Vec::new();
        for step in order {
            match step {
                3 => {
                    events.push(text("t"));
                    said.push('t');
                }
                4 => {
                    events.push(Event::Reasoning("r".into()));
                    thought.push('r');
                }
                call => {
                    // Calls begin in order.
                    while begun <= call {
                        events.push(start(u32::try_from(begun).unwrap()));
                        begun += 1;
                    }
                    let rest = &arguments[call][written[call]..];
                    let piece = &rest[..rest.len().min(3)];
                    written[call] += piece.len();
                    events.push(more(u32::try_from(call).unwrap(), piece));
                }
            }
        }
        events.push(stop(Stop::End));
        let blocks = blocks(&streamed(&events));
        let all = |member: &str| -> String { blocks.iter().filter_map(|block| block[member].as_str()).collect() };
        prop_assert_eq!(all("text"), said);
        prop_assert_eq!(all("thinking"), thought);
        let calls: Vec<&Value> = blocks.iter().filter(|block| block["type"] == "tool_use").collect();
        prop_assert_eq!(calls.len(), begun);
        for (index, call) in calls.iter().enumerate() {
            prop_assert_eq!(call["partial_json"].as_str().unwrap_or_default(), &arguments[index][..written[index]]);
        }
    }
}
