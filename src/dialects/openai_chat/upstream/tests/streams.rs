//! Streams.

use serde_json::json;

use super::*;
use crate::dialects::conversation::{Event, Opaque, Stop};
use crate::dialects::translate::{Malformed, Renamed, Step, Undo};

/// The events of these deltas, and what the last chunk and the close say.
fn read(provider: &str, deltas: &[Value], finish: Option<&str>) -> Result<Vec<Event>, Malformed> {
    let mut chunks: Vec<Value> = deltas
        .iter()
        .map(|delta| json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta}]}))
        .collect();
    if let Some(finish) = finish {
        chunks.push(json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}));
    }
    read_chunks(provider, &chunks)
}

fn read_chunks(provider: &str, chunks: &[Value]) -> Result<Vec<Event>, Malformed> {
    let undo = Undo { renamed: vec![Renamed { sent: "a_b".into(), original: "a.b".into() }], ..Undo::default() };
    let mut decoder = upstream(provider).stream_decoder("p/m", undo);
    let mut out = Vec::new();
    for chunk in chunks {
        assert_eq!(decoder.event("", &chunk.to_string(), &mut out)?, Step::Continue);
    }
    decoder.close(&mut out)?;
    Ok(out)
}

/// (id, name, arguments) of each call.
fn calls(deltas: &[Value]) -> Vec<(String, String, String)> {
    let mut calls = Vec::new();
    for event in read("openai", deltas, Some("tool_calls")).unwrap() {
        match event {
            Event::ToolCallStart { index, id, name, .. } => {
                assert_eq!(index as usize, calls.len());
                calls.push((id, name, String::new()));
            }
            Event::ToolArguments { index, delta } => calls[index as usize].2 += &delta,
            _ => {}
        }
    }
    calls
}

fn pieces(list: &[Value]) -> Vec<Value> {
    list.iter().map(|call| json!({"tool_calls": [call]})).collect()
}

fn own(list: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    list.iter().map(|(id, name, arguments)| ((*id).into(), (*name).into(), (*arguments).into())).collect()
}

fn stop(deltas: &[Value], finish: &str) -> Stop {
    let events = read("openai", deltas, Some(finish)).unwrap();
    match events.last() {
        Some(Event::Stop { reason, .. }) => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn d144_calls_in_several_spellings() {
    let openai = pieces(&[
        json!({"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}),
        json!({"index": 0, "function": {"arguments": "{\"a\""}}),
        json!({"index": 1, "id": "2", "function": {"name": "g", "arguments": "{"}}),
        json!({"index": 0, "function": {"arguments": ":1}"}}),
        json!({"index": 1, "function": {"arguments": "}"}}),
    ]);
    assert_eq!(calls(&openai), own(&[("1", "f", "{\"a\":1}"), ("2", "g", "{}")]));
    let whole = [json!({"tool_calls": [
        {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "2", "function": {"name": "f", "arguments": "{}"}}]})];
    assert_eq!(calls(&whole), own(&[("1", "f", "{}"), ("2", "f", "{}")]));
    let all_are_first = pieces(&[
        json!({"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}),
        json!({"index": 0, "id": "2", "function": {"name": "g", "arguments": "{}"}}),
    ]);
    assert_eq!(calls(&all_are_first), own(&[("1", "f", "{}"), ("2", "g", "{}")]));
    let by_id = pieces(&[
        json!({"id": "1", "function": {"name": "f", "arguments": "{"}}),
        json!({"id": "2", "function": {"name": "g", "arguments": "{"}}),
        json!({"id": "1", "function": {"arguments": "}"}}),
        json!({"id": "2", "function": {"arguments": "}"}}),
    ]);
    assert_eq!(calls(&by_id), own(&[("1", "f", "{}"), ("2", "g", "{}")]));
    let nothing_but_the_last = pieces(&[
        json!({"id": "1", "function": {"name": "f", "arguments": "{"}}),
        json!({"id": null, "function": {"name": null, "arguments": "}"}}),
    ]);
    assert_eq!(calls(&nothing_but_the_last), own(&[("1", "f", "{}")]));
}

#[test]
fn d145_numbers_of_calls_that_begin_later_are_counted_from_the_first() {
    let deltas = [
        json!({"content": "so"}),
        json!({"tool_calls": [{"index": 1, "id": "1", "function": {"name": "f", "arguments": "{}"}}]}),
        json!({"tool_calls": [{"index": 3, "id": "2", "function": {"name": "g", "arguments": "{}"}}]}),
    ];
    assert_eq!(calls(&deltas), own(&[("1", "f", "{}"), ("2", "g", "{}")]));
}

#[test]
fn d146_d152_repeated_roles_begin_nothing_and_padding_says_nothing() {
    let delta = |text: &str| json!({"role": "assistant", "content": text, "obfuscation": "aB3"});
    let chunk =
        |delta: Value| json!({"id": "x", "model": "m", "obfuscation": "Zz", "choices": [{"index": 0, "delta": delta}]});
    let last = json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"role": ""}, "finish_reason": "stop"}], "obfuscation": "q"});
    let events = read_chunks("openrouter", &[chunk(delta("")), chunk(delta("a")), chunk(delta("b")), last]).unwrap();
    assert_eq!(
        events[1..],
        [Event::Text("a".into()), Event::Text("b".into()), Event::Stop { reason: Stop::End, sequence: None }]
    );
}

#[test]
fn d144_a_call_begins_when_its_name_is_known() {
    let late = pieces(&[
        json!({"index": 0, "id": "1", "function": {"name": "", "arguments": ""}}),
        json!({"index": 0, "function": {"name": "f", "arguments": "{"}}),
        json!({"index": 0, "function": {"arguments": "}"}}),
    ]);
    assert_eq!(calls(&late), own(&[("1", "f", "{}")]));
    let after_arguments = pieces(&[
        json!({"index": 0, "id": "1", "function": {"arguments": "{"}}),
        json!({"index": 0, "function": {"name": "f", "arguments": "}"}}),
    ]);
    assert_eq!(calls(&after_arguments), own(&[("1", "f", "{}")]));
    let never = pieces(&[json!({"index": 0, "id": "1", "function": {"arguments": "{}"}})]);
    assert!(read("openai", &never, Some("tool_calls")).is_err());
    assert!(read("openai", &never, Some("length")).is_ok());
}

#[test]
fn d144_whole_calls_without_index_and_id_are_calls_of_their_own() {
    let call = |name: &str, arguments: &str| json!({"function": {"name": name, "arguments": arguments}});
    let together = [json!({"tool_calls": [call("f", "{}"), call("g", "{\"a\":1}")]})];
    let apart = pieces(&[call("f", "{}"), call("g", "{\"a\":1}")]);
    for deltas in [&together[..], &apart] {
        let calls = calls(deltas);
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert_eq!((&*calls[0].1, &*calls[0].2, &*calls[1].1, &*calls[1].2), ("f", "{}", "g", "{\"a\":1}"));
        assert_ne!(calls[0].0, calls[1].0);
    }
    // A server that repeats the name with every piece.
    let repeated = pieces(&[call("f", "{\"a\""), call("f", ":1}")]);
    let read = calls(&repeated);
    assert_eq!((read.len(), &*read[0].2), (1, "{\"a\":1}"));
}

#[test]
fn d22_calls_come_back_under_the_clients_name() {
    let deltas = pieces(&[json!({"index": 0, "id": "1", "function": {"name": "a_b", "arguments": "{}"}})]);
    assert_eq!(calls(&deltas), own(&[("1", "a.b", "{}")]));
}

#[test]
fn d98_d99_d105_why_a_stream_ended() {
    let call = pieces(&[json!({"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}})]);
    assert_eq!(stop(&[json!({"content": "x"})], "stop"), Stop::End);
    assert_eq!(stop(&call, "stop"), Stop::ToolUse);
    assert_eq!(stop(&call, "length"), Stop::Length);
    assert_eq!(stop(&[json!({"refusal": "no"})], "stop"), Stop::Refusal);
    assert_eq!(stop(&[json!({"refusal": "no"})], "content_filter"), Stop::Filtered);
}

#[test]
fn d115_a_reason_that_is_given_twice_is_told_once_and_last() {
    let finish = || json!({"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]});
    let mut second = finish();
    second["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2});
    let text = json!({"model": "m", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": null}]});
    let events = read_chunks("openrouter", &[text, finish(), second]).unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Stop { .. })).count(), 1);
    assert!(
        matches!(events[..], [Event::Start { .. }, Event::Text(_), Event::Usage(_), Event::Stop { .. }]),
        "{events:?}"
    );
}

#[test]
fn d121_each_thought_of_a_stream_keeps_its_own_signature() {
    let detail = |text: &str, signature: &str| json!({"type": "reasoning.text", "text": text, "signature": signature, "format": "anthropic-claude-v1"});
    let opaque =
        |data: &str| Event::ReasoningOpaque(Opaque { origin: "p/m".into(), kind: "signature", data: data.into() });
    let deltas = [
        json!({"reasoning": "on", "reasoning_details": [detail("on", "")]}),
        json!({"reasoning": "etwo", "reasoning_details": [detail("e", "s1"), detail("two", "s2")]}),
        json!({"content": "x"}),
    ];
    let events = read("openrouter", &deltas, Some("stop")).unwrap();
    assert_eq!(
        events[1..6],
        [
            Event::Reasoning("on".into()),
            Event::Reasoning("e".into()),
            opaque("s1"),
            Event::Reasoning("two".into()),
            opaque("s2"),
        ]
    );
}

#[test]
fn d147_d148_chunks_without_choices_are_no_content() {
    let chunks = [
        json!({"id": "", "model": "", "choices": [], "prompt_filter_results": []}),
        json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": null}),
        json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"id": "x", "model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
    ];
    let events = read_chunks("openai", &chunks).unwrap();
    assert!(matches!(events[..], [Event::Start { .. }, Event::Usage(_), Event::Stop { .. }]), "{events:?}");
}

#[test]
fn d161_d164_d165_a_stream_that_is_not_whole_ends_in_an_error() {
    assert!(read("openai", &[json!({"content": "x"})], None).is_err());
    let mut decoder = upstream("openai").stream_decoder("p/m", Undo::default());
    let mut out = Vec::new();
    let glued = r#"{"id":"chatcmpl-jQugNdata:{"id":"x"}"#;
    assert!(decoder.event("", glued, &mut out).is_err());
    assert!(decoder.event("", "[DONE]", &mut out).is_err());
    let failed =
        json!({"error": {"code": 400, "message": "limit"}, "choices": [{"index": 0, "finish_reason": "error"}]});
    assert!(matches!(decoder.event("", &failed.to_string(), &mut out), Ok(Step::Error(_))));
    assert_eq!(out, []);
}

#[test]
fn d190_results_of_a_providers_own_search_are_no_text() {
    let deltas = [
        json!({"role": "assistant", "content": "a"}),
        json!({"role": "tool", "content": "<html>"}),
        json!({"role": "assistant", "content": "b"}),
    ];
    let events = read("minimax", &deltas, Some("stop")).unwrap();
    let said: String =
        events.iter().filter_map(|event| if let Event::Text(text) = event { Some(&**text) } else { None }).collect();
    assert_eq!(said, "ab");
}

#[test]
fn a_message_at_the_end_that_repeats_the_whole_answer_is_not_said_twice() {
    let whole = json!({"content": "ab", "role": "assistant"});
    let delta = |text: &str| json!({"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]});
    let last = json!({"model": "m", "choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]});
    let both = json!({"model": "m", "choices": [{"index": 0, "delta": {}, "message": whole, "finish_reason": "stop"}]});
    let said = |chunks: &[Value]| -> String {
        let events = read_chunks("minimax", chunks).unwrap();
        events.iter().filter_map(|event| if let Event::Text(text) = event { Some(&**text) } else { None }).collect()
    };
    assert_eq!(said(&[delta("a"), delta("b"), last.clone()]), "ab");
    assert_eq!(said(&[delta("a"), delta("b"), both]), "ab");
    // A server that does not stream although it was asked to.
    assert_eq!(said(&[last]), "ab");
}
