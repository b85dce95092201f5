use http::StatusCode;
use serde_json::{Value, json};

use super::{body, frame, try_scan};
use crate::dialects::conversation::{Event, Opaque, Stop};
use crate::dialects::translate::{ClientError, StreamEncoder};

fn encoder(extra: Value) -> Box<dyn StreamEncoder> {
    let text = body(extra);
    try_scan(&text).unwrap().stream_encoder(&frame())
}

fn parsed(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let read = lines.chunks(3).map(|lines| {
        let data: Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], lines[0].strip_prefix("event: ").unwrap());
        data
    });
    read.collect()
}

/// The events of a stream, without the two that begin it.
fn written(extra: Value, events: &[Event]) -> Vec<Value> {
    let mut encoder = encoder(extra);
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(Some("0.25"), &mut out);
    let events = parsed(&out);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    assert_eq!((&events[0]["type"], &events[1]["type"]), (&json!("response.created"), &json!("response.in_progress")));
    events[2..].to_vec()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}

fn start(index: u32, name: &str) -> Event {
    Event::ToolCallStart { index, id: format!("call_{index}"), name: name.into(), signature: None }
}

fn arguments(index: u32, delta: &str) -> Event {
    Event::ToolArguments { index, delta: delta.into() }
}

fn stop(reason: Stop) -> Event {
    Event::Stop { reason, sequence: None }
}

#[test]
fn d149_items_parts_and_deltas_come_in_order() {
    let opaque = Opaque { origin: "a/b".into(), kind: "signature", data: "s".into() };
    let events = written(
        json!({}),
        &[
            Event::Start { id: "x".into(), model: "first".into() },
            Event::Start { id: "x".into(), model: "second".into() },
            Event::Reasoning("h".into()),
            Event::Reasoning("m".into()),
            Event::ReasoningOpaque(opaque),
            Event::Text("a".into()),
            Event::Refusal("b".into()),
            stop(Stop::End),
        ],
    );
    let expected = [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&events), expected);
    assert_eq!(events[6]["item"]["encrypted_content"], "aipipe:1:signature:a/b:s");
    let response = &events.last().unwrap()["response"];
    assert_eq!((&response["model"], &response["output"][0]), (&json!("second"), &events[6]["item"]));
    assert_eq!(events[12]["content_index"], 1);
}

#[test]
fn d143_d150_a_call_is_whole_when_it_is_done() {
    let events = written(
        json!({}),
        &[start(0, "f"), arguments(0, "{\"a\""), arguments(0, ":1}"), start(1, "g"), stop(Stop::ToolUse)],
    );
    let done: Vec<&Value> = events.iter().filter(|event| event["type"] == "response.output_item.done").collect();
    assert_eq!((&done[0]["item"]["arguments"], &done[1]["item"]["arguments"]), (&json!("{\"a\":1}"), &json!("{}")));
    assert_eq!(done[0]["item"]["call_id"], "call_0");
    let empty: String = events
        .iter()
        .filter(|event| event["type"] == "response.function_call_arguments.delta" && event["output_index"] == 1)
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(empty, "{}");
    assert_eq!(events.last().unwrap()["response"]["output"].as_array().unwrap().len(), 2);
}

#[test]
fn d141_calls_may_come_side_by_side() {
    let events = written(
        json!({}),
        &[
            start(0, "f"),
            start(1, "g"),
            arguments(1, "{\"b\":"),
            arguments(0, "{}"),
            arguments(1, "2}"),
            stop(Stop::ToolUse),
        ],
    );
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!((&output[0]["arguments"], &output[1]["arguments"]), (&json!("{}"), &json!("{\"b\":2}")));
}

#[test]
fn d38_a_custom_tools_input_comes_as_text() {
    let tools = json!({"tools": [{"type": "custom", "name": "patch"}]});
    let events = written(
        tools,
        &[start(0, "patch"), arguments(0, "{\"input\":\"a"), arguments(0, "\\nb\"}"), stop(Stop::ToolUse)],
    );
    assert_eq!(
        kinds(&events),
        [
            "output_item.added",
            "custom_tool_call_input.delta",
            "custom_tool_call_input.done",
            "output_item.done",
            "completed"
        ]
    );
    assert_eq!((&events[1]["delta"], &events[3]["item"]["input"]), (&json!("a\nb"), &json!("a\nb")));
}

#[test]
fn the_end_tells_its_reason_and_the_cost() {
    for (reason, kind, detail) in [
        (Stop::End, "completed", Value::Null),
        (Stop::Length, "incomplete", json!("max_output_tokens")),
        (Stop::Filtered, "incomplete", json!("content_filter")),
    ] {
        let usage = Event::Usage(Default::default());
        let events = written(json!({}), &[Event::Text("a".into()), usage, stop(reason)]);
        let last = events.last().unwrap();
        assert_eq!((kinds(&events).pop().unwrap(), &last["response"]["incomplete_details"]["reason"]), (kind, &detail));
        assert_eq!(last["response"]["usage"]["cost"], json!(0.25));
    }
}

#[test]
fn d156_a_sign_of_life_is_a_comment_and_begins_nothing() {
    let mut encoder = encoder(json!({}));
    let mut out = Vec::new();
    encoder.event(&Event::Ping, &mut out);
    assert!(out.is_empty());
    encoder.event(&Event::Text("a".into()), &mut out);
    out.clear();
    encoder.event(&Event::Ping, &mut out);
    assert_eq!(out, b": keep-alive\n\n");
}

#[test]
fn d151_d162_an_error_ends_the_stream_and_is_numbered_on() {
    let mut encoder = encoder(json!({}));
    let mut out = Vec::new();
    encoder.event(&Event::Text("a".into()), &mut out);
    let error = ClientError { status: StatusCode::BAD_GATEWAY, code: "upstream_error", message: "m", param: None };
    encoder.error(&error, &mut out);
    let events = parsed(&out);
    assert_eq!(
        events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect::<Vec<_>>(),
        (0..7).collect::<Vec<_>>()
    );
    let [.., error, failed] = &events[..] else { panic!() };
    assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!("upstream_error")));
    assert_eq!((&failed["type"], &failed["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(failed["response"]["id"], events[0]["response"]["id"]);
}
