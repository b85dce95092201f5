#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::dialects::conversation::Opaque;
use http::StatusCode;

const ORIGIN: &str = "gemini/gemini-3-flash-preview";

struct Read {
    events: Vec<Event>,
    last: Result<Step, Malformed>,
    closed: Result<(), Malformed>,
}

/// Reads events until one is not followed by another, then closes.
fn read(pieces: &[&str]) -> Read {
    let mut stream = GeminiStream::new(ORIGIN, Undo::default());
    let mut events = Vec::new();
    let mut last = Ok(Step::Continue);
    for piece in pieces {
        last = stream.event("", piece, &mut events);
        if last != Ok(Step::Continue) {
            break;
        }
    }
    let closed = stream.close(&mut events);
    Read { events, last, closed }
}

fn piece(parts: &str, rest: &str) -> String {
    format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}{rest}}}],"modelVersion":"m","responseId":"r"}}"#)
}

fn stop(reason: Stop) -> Event {
    Event::Stop { reason, sequence: None }
}

#[test]
fn d97_d143_d155_text_thoughts_and_calls_become_events() {
    let signature = |data: &str| Opaque { origin: ORIGIN.to_owned(), kind: "thought_signature", data: data.to_owned() };
    let read = read(&[
        &piece(r#"{"text":"hm","thought":true}"#, ""),
        &piece(r#"{"text":"a"},{"functionCall":{"name":"f","args":{"x": 1}},"thoughtSignature":"s"}"#, ""),
        &piece(r#"{"functionCall":{"name":"g"}}"#, ""),
        &piece(r#"{"text":"","thoughtSignature":"t"}"#, r#","finishReason":"STOP""#),
    ]);
    let start = |index, id: &str, name: &str, signature| Event::ToolCallStart {
        index,
        id: id.to_owned(),
        name: name.to_owned(),
        signature,
    };
    let arguments = |index, delta: &str| Event::ToolArguments { index, delta: delta.to_owned() };
    assert_eq!(read.closed, Ok(()));
    assert_eq!(
        read.events,
        [
            Event::Start { id: "r".to_owned(), model: "m".to_owned() },
            Event::Reasoning("hm".to_owned()),
            Event::Text("a".to_owned()),
            start(0, "call_r_0", "f", Some(signature("s"))),
            arguments(0, r#"{"x":1}"#),
            start(1, "call_r_1", "g", None),
            // D143: a call without arguments still carries its object.
            arguments(1, "{}"),
            Event::ReasoningOpaque(signature("t")),
            // D97: by all of the stream, not by its last piece.
            stop(Stop::ToolUse),
        ]
    );
}

#[test]
fn d155_pieces_of_a_call_that_nobody_asked_for_are_not_taken_for_a_whole_one() {
    for call in [
        r#"{"functionCall":{"name":"f","partialArgs":[{"jsonPath":"$.x","stringValue":"a"}],"willContinue":true}}"#,
        r#"{"functionCall":{"name":"f","args":{},"willContinue":true}}"#,
    ] {
        let read = read(&[&piece(call, "")]);
        assert!(read.last.is_err(), "{call}");
        assert!(!read.events.iter().any(|event| matches!(event, Event::ToolCallStart { .. })));
    }
}

#[test]
fn d112_the_last_usage_holds() {
    let usage = |prompt: u64, output: u64| {
        format!(
            r#"{{"candidates":[{{"content":{{}},"finishReason":"STOP"}}],
                "usageMetadata":{{"promptTokenCount":{prompt},"candidatesTokenCount":{output},"thoughtsTokenCount":5}}}}"#
        )
    };
    let read = read(&[
        r#"{"usageMetadata":{"trafficType":"ON_DEMAND"}}"#,
        r#"{"usageMetadata":{"promptTokenCount":8}}"#,
        &usage(8, 3),
        &usage(8, 3),
        &usage(9, 7),
    ]);
    let told = read.events.iter().filter_map(|event| match event {
        Event::Usage(usage) => Some((usage.tokens.input, usage.tokens.output)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(8, 0), (8, 8), (9, 12)]);
}

#[test]
fn d153_a_finish_reason_is_not_the_end() {
    let read = read(&[
        &piece(r#"{"text":"a"}"#, r#","finishReason":"STOP""#),
        &piece(r#"{"text":"b"}"#, ""),
        &piece(r#"{"text":"c"}"#, r#","finishReason":"MAX_TOKENS""#),
    ]);
    assert_eq!(read.last, Ok(Step::Continue));
    let stops: Vec<_> = read.events.iter().filter(|event| matches!(event, Event::Stop { .. })).collect();
    assert_eq!(stops, [&stop(Stop::Length)]);
    assert_eq!(read.events.last(), Some(&stop(Stop::Length)));
}

#[test]
fn d165_a_close_without_finish_reason_is_a_break() {
    assert!(read(&[&piece(r#"{"text":"a"}"#, "")]).closed.is_err());
    assert!(read(&[&piece(r#"{"text":"a"}"#, r#","finishReason":"FINISH_REASON_UNSPECIFIED""#)]).closed.is_err());
    assert!(read(&[]).closed.is_err());
}

#[test]
fn d103_a_blocked_prompt_ends_filtered() {
    let read = read(&[r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"responseId":"r"}"#]);
    assert_eq!(read.closed, Ok(()));
    assert_eq!(read.events.last(), Some(&stop(Stop::Filtered)));
}

#[test]
fn d162_an_error_in_mid_stream_is_an_error() {
    for error in [
        r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#,
        r#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#,
    ] {
        let read = read(&[&piece(r#"{"text":"a"}"#, ""), error]);
        let Ok(Step::Error(error)) = read.last else { panic!("an error") };
        assert_eq!((error.status, error.code.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("UNAVAILABLE")));
        assert!(read.closed.is_err());
    }
}

#[test]
fn d104_a_broken_call_is_not_handed_on() {
    let broken = piece(r#"{"functionCall":{"name":"f"}}"#, r#","finishReason":"MALFORMED_FUNCTION_CALL""#);
    let read = read(&[&broken]);
    assert!(matches!(read.last, Ok(Step::Error(_))));
    assert!(!read.events.iter().any(Event::is_content));
}

#[test]
fn what_may_have_been_content_is_not_skipped() {
    let image = piece(r#"{"inlineData":{"mimeType":"image/png","data":"AA=="}}"#, "");
    let second = piece(r#"{"text":"b"}"#, r#","index":1"#);
    let partial = piece(r#"{"functionCall":{"name":"f","willContinue":true}}"#, "");
    let nameless = piece(r#"{"functionCall":{}}"#, "");
    // D161: two events glued into one.
    let glued = format!("{}data: {}", piece(r#"{"text":"a"}"#, ""), piece(r#"{"text":"b"}"#, ""));
    for bad in [image.as_str(), &second, &partial, &nameless, &glued, "{\"candidates\":[{\"con", "", "[DONE]"] {
        assert!(read(&[bad]).last.is_err(), "{bad}");
    }
}
