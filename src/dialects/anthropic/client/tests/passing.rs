use aipipe_actors::money::NanoUsd;
use bytes::Bytes;
use serde_json::json;

use super::scanned;
use crate::dialects::client::{Onward, Seen};
use crate::providers::Profile;
use crate::upstream::sse::SseDecoder;

/// What the client gets of a stream, and what was seen of each event.
fn pass(stream: &str) -> (String, Vec<Seen>, bool) {
    let mut events = Vec::new();
    let mut decoder = SseDecoder::default();
    decoder.feed(Bytes::copy_from_slice(stream.as_bytes()), &mut events).unwrap();
    events.extend(decoder.finish().unwrap());
    let mut reader = scanned(&json!({"stream": true})).passing(&Profile::ANTHROPIC);
    let mut out = Vec::new();
    let seen = events.into_iter().map(|event| reader.event(event, &|_| Some(NanoUsd(42)), &mut out)).collect();
    let closes = reader.close(&mut out).is_ok();
    (String::from_utf8(out.concat()).unwrap(), seen, closes)
}

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":12,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[test]
fn d110_figures_are_cumulative_and_missing_ones_hold() {
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":30}}   \n\n";
    let (text, seen, closes) = pass(&format!("{START}{delta}{STOP}"));
    assert_eq!(text, format!("{START}{}{STOP}", delta.replace(":30}", ":30,\"cost\":0.000000042}")));
    let tokens = seen[1].usage.unwrap().tokens;
    assert_eq!((tokens.input, tokens.cached_input, tokens.output), (15, 3, 30));
    assert_eq!((seen[0].content, seen[1].content), (None, Some(0)));
    assert!(closes && matches!(seen[2].course, Onward::Whole));
}

#[test]
fn d165_without_message_stop_a_stream_is_broken() {
    let text =
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"abc\"}}\n\n";
    let (_, seen, closes) = pass(&format!("{START}{text}"));
    assert_eq!((seen[1].content, closes), (Some(3), false));
}

#[test]
fn d163_errors_are_told_and_not_passed_on() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let (text, seen, closes) = pass(error);
    let Onward::Error(error) = &seen[0].course else { panic!("{seen:?}") };
    assert_eq!((error.status.as_u16(), seen[0].content, closes, &*text), (529, None, false, ""));
    let (text, seen, _) = pass("event: content_block_delta\ndata: {\"type\":\n\n");
    assert!(matches!(seen[0].course, Onward::Malformed(_)) && text.is_empty());
}

#[test]
fn d166_what_counts_as_content() {
    for (data, content) in [
        (r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#, None),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            None,
        ),
        (r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"ab"}}"#, Some(2)),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
            Some(0),
        ),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            Some(1),
        ),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#, None),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#, Some(0)),
        (r#"{"type":"ping"}"#, None),
        (r#"{"type":"something_new","x":[1]}"#, None),
    ] {
        let stream = format!("data: {data}\n\n");
        let (text, seen, _) = pass(&stream);
        assert_eq!((seen[0].content, text), (content, stream), "{data}");
    }
}

#[test]
fn comments_and_foreign_markers_pass() {
    let stream = format!(": OPENROUTER PROCESSING\n\n{STOP}data: [DONE]\n\n");
    assert_eq!(pass(&stream).0, stream);
}
