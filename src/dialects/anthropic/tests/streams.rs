//! Streams, event by event.

use super::ORIGIN;
use crate::dialects::anthropic::stream::Decoder;
use crate::dialects::conversation::{Event, Opaque, Stop};
use crate::dialects::translate::{Malformed, Renamed, Step, StreamDecoder, Undo};

const START: &str = r#"{"type":"message_start","message":{"id":"m","model":"c","content":[],"usage":{"input_tokens":7,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

struct Run {
    events: Vec<Event>,
    last: Result<Step, Malformed>,
    closed: Result<(), Malformed>,
}

fn run_with(undo: Undo, data: &[&str]) -> Run {
    let mut decoder = Decoder::new(ORIGIN, undo);
    let mut events = Vec::new();
    let mut last = Ok(Step::Continue);
    for data in data {
        last = decoder.event("", data, &mut events);
        if !matches!(last, Ok(Step::Continue)) {
            break;
        }
    }
    let closed = decoder.close(&mut events);
    Run { events, last, closed }
}

fn run(data: &[&str]) -> Run {
    run_with(Undo::default(), data)
}

fn block(index: u64, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: u64, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

fn end(index: u64) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

fn ended(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":9}}}}"#
    )
}

fn whole(blocks: &[String], reason: &str) -> Run {
    whole_with(Undo::default(), blocks, reason)
}

fn whole_with(undo: Undo, blocks: &[String], reason: &str) -> Run {
    let ended = ended(reason);
    let data: Vec<&str> =
        [START].into_iter().chain(blocks.iter().map(String::as_str)).chain([ended.as_str(), STOP]).collect();
    let run = run_with(undo, &data);
    assert_eq!((&run.last, &run.closed), (&Ok(Step::End), &Ok(())));
    run
}

/// What came beside start, usage and stop.
fn content(run: &Run) -> Vec<&Event> {
    let is_frame = |event: &&Event| matches!(event, Event::Start { .. } | Event::Usage(_) | Event::Stop { .. });
    run.events.iter().filter(|event| !is_frame(event)).collect()
}

fn stop(run: &Run) -> Stop {
    match run.events.last() {
        Some(Event::Stop { reason, .. }) => *reason,
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn arguments(index: u32, delta: &str) -> Event {
    Event::ToolArguments { index, delta: delta.to_owned() }
}

fn call(index: u32, id: &str, name: &str) -> Event {
    Event::ToolCallStart { index, id: id.to_owned(), name: name.to_owned(), signature: None }
}

fn last_tokens(run: &Run) -> (u64, u64, u64, u64) {
    run.events
        .iter()
        .rev()
        .find_map(|event| match event {
            Event::Usage(usage) => {
                let tokens = usage.tokens;
                Some((tokens.input, tokens.cached_input, tokens.cache_write, tokens.output))
            }
            _ => None,
        })
        .unwrap()
}

#[test]
fn d152_d156_padding_is_nothing_and_a_ping_no_content() {
    let run = whole(
        &[
            block(0, r#"{"type":"text","text":""}"#),
            r#"{"type": "ping"}"#.to_owned(),
            delta(0, r#"{"type":"text_delta","text":"Hel"}             "#),
            delta(0, r#"{"type":"text_delta","text":"lo"}"#),
            end(0),
        ],
        "end_turn",
    );
    assert_eq!(run.events[0], Event::Start { id: "m".into(), model: "c".into() });
    assert_eq!(content(&run), [&Event::Ping, &text("Hel"), &text("lo")]);
    assert_eq!(stop(&run), Stop::End);
}

#[test]
fn text_in_the_block_start_is_not_lost() {
    let run = whole(&[block(0, r#"{"type":"text","text":"Hi"}"#), end(0)], "end_turn");
    assert_eq!(content(&run), [&text("Hi")]);
}

#[test]
fn arguments_stream_and_calls_are_numbered_by_themselves() {
    let run = whole(
        &[
            block(0, r#"{"type":"text","text":""}"#),
            end(0),
            block(1, r#"{"type":"tool_use","id":"t1","name":"f","input":{}}"#),
            delta(1, r#"{"type":"input_json_delta","partial_json":""}"#),
            delta(1, r#"{"type":"input_json_delta","partial_json":"{\"a\":"}"#),
            delta(1, r#"{"type":"input_json_delta","partial_json":"1}"}"#),
            end(1),
            block(2, r#"{"type":"tool_use","id":"t2","name":"g","input":{}}"#),
            delta(2, r#"{"type":"input_json_delta","partial_json":"{}"}"#),
            end(2),
        ],
        "tool_use",
    );
    assert_eq!(
        content(&run),
        [&call(0, "t1", "f"), &arguments(0, "{\"a\":"), &arguments(0, "1}"), &call(1, "t2", "g"), &arguments(1, "{}")]
    );
    assert_eq!(stop(&run), Stop::ToolUse);
}

#[test]
fn calls_without_arguments_get_an_empty_object_once() {
    let run = whole(
        &[
            block(0, r#"{"type":"tool_use","id":"t1","name":"f","input":{}}"#),
            end(0),
            block(1, r#"{"type":"tool_use","id":"t2","name":"f","input":{}}"#),
            delta(1, r#"{"type":"input_json_delta","partial_json":""}"#),
            end(1),
        ],
        "tool_use",
    );
    assert_eq!(content(&run), [&call(0, "t1", "f"), &arguments(0, "{}"), &call(1, "t2", "f"), &arguments(1, "{}")]);
}

#[test]
fn a_call_cut_off_before_its_arguments_gets_none_invented() {
    let run = whole(&[block(0, r#"{"type":"tool_use","id":"t1","name":"f","input":{}}"#), end(0)], "max_tokens");
    assert_eq!(content(&run), [&call(0, "t1", "f")]);
    assert_eq!(stop(&run), Stop::Length);
}

#[test]
fn input_that_comes_whole_in_the_block_start_is_taken() {
    let run = whole(&[block(0, r#"{"type":"tool_use","id":"t","name":"f","input":{"a":1.0}}"#), end(0)], "tool_use");
    assert_eq!(content(&run), [&call(0, "t", "f"), &arguments(0, r#"{"a":1.0}"#)]);
}

#[test]
fn names_are_mapped_back() {
    let undo = Undo { renamed: vec![Renamed { sent: "a_b".into(), original: "a.b".into() }], ..Undo::default() };
    let run =
        whole_with(undo, &[block(0, r#"{"type":"tool_use","id":"t","name":"a_b","input":{}}"#), end(0)], "tool_use");
    assert_eq!(content(&run)[0], &call(0, "t", "a.b"));
}

#[test]
fn d42_the_answer_tool_streams_as_text() {
    let undo = Undo { answer_tool: Some("answer".into()), ..Undo::default() };
    let blocks = [
        block(0, r#"{"type":"tool_use","id":"t","name":"answer","input":{}}"#),
        delta(0, r#"{"type":"input_json_delta","partial_json":"{\"x\":"}"#),
        delta(0, r#"{"type":"input_json_delta","partial_json":"1}"}"#),
        end(0),
    ];
    let run = whole_with(undo, &blocks, "tool_use");
    assert_eq!(content(&run), [&text("{\"x\":"), &text("1}")]);
    assert_eq!(stop(&run), Stop::End);
}

#[test]
fn a_signature_comes_whole_when_its_thought_ends() {
    let run = whole(
        &[
            block(0, r#"{"type":"thinking","thinking":"","signature":""}"#),
            delta(0, r#"{"type":"thinking_delta","thinking":"Hm"}"#),
            delta(0, r#"{"type":"signature_delta","signature":"ab"}"#),
            delta(0, r#"{"type":"signature_delta","signature":"cd"}"#),
            end(0),
            block(1, r#"{"type":"redacted_thinking","data":"zz"}"#),
            end(1),
        ],
        "end_turn",
    );
    let opaque = |kind, data: &str| Event::ReasoningOpaque(Opaque { origin: ORIGIN.into(), kind, data: data.into() });
    assert_eq!(
        content(&run),
        [&Event::Reasoning("Hm".into()), &opaque("signature", "abcd"), &opaque("redacted", "zz")]
    );
}

#[test]
fn d110_d111_later_figures_replace_earlier_ones_field_by_field() {
    let start = r#"{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":100,"cache_read_input_tokens":0,"output_tokens":1}}}"#;
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":20,"cache_read_input_tokens":80,"cache_creation_input_tokens":null,"output_tokens":9}}"#;
    assert_eq!(last_tokens(&run(&[start, delta, STOP])), (100, 80, 0, 9));
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
    assert_eq!(last_tokens(&run(&[start, delta, STOP])), (100, 0, 0, 9));
}

#[test]
fn d118_a_stream_cut_after_its_start_still_tells_the_input() {
    let run = run(&[START]);
    assert_eq!(last_tokens(&run), (7, 0, 0, 1));
    assert!(run.closed.is_err());
}

#[test]
fn a_second_start_replaces_model_and_figures() {
    let second =
        r#"{"type":"message_start","message":{"id":"m","model":"d","usage":{"input_tokens":8,"output_tokens":2}}}"#;
    let started = |run: &Run| run.events.iter().filter(|event| matches!(event, Event::Start { .. })).count();
    let twice = run(&[START, START, &ended("end_turn"), STOP]);
    assert_eq!(started(&twice), 1);
    let replaced = run(&[START, second, &ended("end_turn"), STOP]);
    assert_eq!(started(&replaced), 2);
    assert_eq!(last_tokens(&replaced), (8, 0, 0, 9));
    let late = run(&[START, &block(0, r#"{"type":"text","text":"A"}"#), &end(0), second, &ended("end_turn"), STOP]);
    assert_eq!(started(&late), 1);
    assert_eq!(last_tokens(&late), (8, 0, 0, 9));
}

#[test]
fn d100_a_refusal_without_content_is_told_before_its_stop() {
    let refused = r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"explanation":"Blocked."}},"usage":{"output_tokens":5}}"#;
    let run = run(&[START, r#"{"type":"ping"}"#, refused, STOP]);
    assert_eq!(content(&run), [&Event::Ping, &Event::Refusal("Blocked.".into())]);
    assert_eq!(stop(&run), Stop::Refusal);
}

#[test]
fn server_tools_unknown_events_and_unknown_deltas_are_passed_over() {
    let run = whole(
        &[
            block(0, r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{}}"#),
            delta(0, r#"{"type":"input_json_delta","partial_json":"{\"query\":"}"#),
            end(0),
            block(1, r#"{"type":"web_search_tool_result","tool_use_id":"s","content":[{"text":{"a":1}}]}"#),
            end(1),
            r#"{"type":"weather_event","index":"north","delta":3}"#.to_owned(),
            block(2, r#"{"citations":[],"type":"text","text":""}"#),
            delta(2, r#"{"type":"citations_delta","citation":{"url":"u"}}"#),
            delta(2, r#"{"type":"later_delta","text":[1]}"#),
            delta(2, r#"{"type":"text_delta","text":"A"}"#),
            end(2),
        ],
        "end_turn",
    );
    assert_eq!(content(&run), [&text("A")]);
}

#[test]
fn an_error_as_first_or_later_event_is_the_providers() {
    let error = r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#;
    for data in [vec![error], vec![START, error]] {
        match run(&data).last {
            Ok(Step::Error(error)) => {
                assert_eq!((error.status.as_u16(), error.message.as_str()), (529, "Overloaded"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn without_message_stop_the_stream_is_broken() {
    assert!(run(&[]).closed.is_err());
    let ended = ended("end_turn");
    let run = run(&[START, &ended]);
    assert!(run.closed.is_err());
    assert!(!run.events.iter().any(|event| matches!(event, Event::Stop { .. })));
}

#[test]
fn message_stop_without_a_reason_is_malformed() {
    assert!(run(&[START, STOP]).last.is_err());
}

#[test]
fn what_may_have_carried_content_and_cannot_be_read_is_malformed() {
    let opened = block(0, r#"{"type":"text","text":""}"#);
    let broken = [
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"secret"#.to_owned(),
        r#"{"type":"content_block_delta","index":0,"delta":{"tydata: {"type":"ping"}"#.to_owned(),
        delta(0, r#"{"type":"text_delta"}"#),
        delta(0, r#"{"type":"input_json_delta","partial_json":"{"}"#),
        delta(3, r#"{"type":"text_delta","text":"A"}"#),
        r#"{"type":"content_block_delta","index":0}"#.to_owned(),
    ];
    for data in &broken {
        let malformed = run(&[START, &opened, data]).last.unwrap_err();
        assert!(!malformed.0.contains("secret"));
    }
}

#[test]
fn the_event_name_stands_in_for_a_missing_type() {
    let mut decoder = Decoder::new(ORIGIN, Undo::default());
    let mut events = Vec::new();
    assert_eq!(decoder.event("ping", "{}", &mut events), Ok(Step::Continue));
    assert_eq!(events, [Event::Ping]);
}

#[test]
fn what_follows_the_end_is_ignored() {
    let mut decoder = Decoder::new(ORIGIN, Undo::default());
    let mut events = Vec::new();
    for data in [START, &ended("end_turn"), STOP] {
        decoder.event("", data, &mut events).unwrap();
    }
    let told = events.len();
    assert_eq!(decoder.event("data", "[DONE]", &mut events), Ok(Step::Continue));
    assert_eq!(events.len(), told);
}
