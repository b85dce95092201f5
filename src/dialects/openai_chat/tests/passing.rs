//! Streams that pass through.

use aipipe_actors::money::{NanoUsd, Tokens};
use bytes::Bytes;
use serde_json::Value;

use crate::dialects::conversation::{Stop, Usage};
use crate::dialects::openai_chat::quirks::ChatQuirks;
use crate::dialects::openai_chat::relay::{ChunkFacts, PassthroughScanner, UsageView};
use crate::upstream::sse::SseDecoder;

const QUIRKS: ChatQuirks = ChatQuirks { completion_excludes_reasoning: false, usage_in_choice: true };

fn price(_: &Usage) -> Option<NanoUsd> {
    Some(NanoUsd(42))
}

struct Passed {
    facts: Vec<ChunkFacts>,
    text: String,
    is_whole: bool,
    usage: Option<Tokens>,
}

fn pass(stream: &str, view: UsageView) -> Passed {
    let mut events = Vec::new();
    let mut decoder = SseDecoder::default();
    decoder.feed(Bytes::copy_from_slice(stream.as_bytes()), &mut events).unwrap();
    events.extend(decoder.finish().unwrap());
    let mut scanner = PassthroughScanner::new(QUIRKS, view);
    let mut text = Vec::new();
    let mut facts = Vec::new();
    for event in events {
        let relayed = scanner.relay(event, &price);
        text.extend(relayed.bytes.unwrap_or_default());
        facts.push(relayed.facts);
    }
    let is_whole = scanner.close().is_ok();
    if is_whole {
        text.extend(scanner.finish(&price).unwrap_or_default());
    }
    let usage = scanner.usage().map(|usage| usage.tokens);
    Passed { facts, text: String::from_utf8(text).unwrap(), is_whole, usage }
}

fn stream(chunks: &[&str]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

const TEXT: &str = r#"{"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"\"usage\":null"},"finish_reason":null}],"usage":null}"#;
const END: &str =
    r#"{"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"{"id":"c","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

#[test]
fn a_client_that_asked_gets_every_byte_and_the_cost() {
    let passed = pass(&stream(&[TEXT, END, USAGE, "[DONE]"]), UsageView::Shown);
    let costed = USAGE.replace(r#""total_tokens":5}"#, r#""total_tokens":5,"cost":0.000000042}"#);
    assert_eq!(passed.text, stream(&[TEXT, END, &costed, "[DONE]"]));
    assert!(passed.is_whole);
    assert_eq!(passed.usage, Some(Tokens { input: 3, output: 2, ..Tokens::default() }));
    let facts = &passed.facts;
    assert_eq!(
        (facts[0].is_content, facts[1].stop, facts[2].is_usage_only, facts[3].is_done),
        (true, Some(Stop::End), true, true)
    );
}

#[test]
fn a_client_that_did_not_ask_sees_no_usage() {
    let passed = pass(&stream(&[TEXT, END, USAGE, "[DONE]"]), UsageView::Hidden);
    let bare = |chunk: &str| chunk.replace(r#","usage":null}"#, "}");
    assert_eq!(passed.text, stream(&[&bare(TEXT), &bare(END), "[DONE]"]));
    assert!(passed.text.contains(r#""content":"\"usage\":null""#));
    assert_eq!(passed.usage.map(|tokens| tokens.output), Some(2));
}

#[test]
fn d106_d115_d120_d157_what_a_provider_says_twice_or_unasked_passes_as_it_comes() {
    let first = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"STOP"}]}"#;
    let second = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.5}}"#;
    let events = [": OPENROUTER PROCESSING\n\n", &stream(&[TEXT, first, second, "[DONE]"])].concat();
    let untouched = pass(&events, UsageView::Untouched);
    assert_eq!(untouched.text, events);
    assert_eq!(untouched.usage.map(|tokens| tokens.output), Some(1));
    let shown = pass(&events, UsageView::Shown);
    assert_eq!(shown.text, events.replace(r#""cost":0.5"#, r#""cost":0.000000042"#));
}

#[test]
fn d113_usage_inside_a_choice_reaches_a_client_that_asked() {
    let end = r#"{"id":"c","created":9,"model":"kimi","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":8,"completion_tokens":11,"cached_tokens":8}}]}"#;
    let passed = pass(&stream(&[TEXT, end, "[DONE]"]), UsageView::Shown);
    let events: Vec<&str> = passed.text.split_terminator("\n\n").collect();
    assert_eq!((events.len(), events[1], events[3]), (4, &*format!("data: {end}"), "data: [DONE]"));
    let own: Value = serde_json::from_str(events[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&own["id"], &own["model"], &own["choices"]), (&"c".into(), &"m".into(), &Value::Array(vec![])));
    assert_eq!(
        (&own["usage"]["prompt_tokens_details"]["cached_tokens"], &own["usage"]["cost"]),
        (&8.into(), &0.000000042.into())
    );
}

#[test]
fn a_missing_done_is_added_to_a_whole_stream_only() {
    let whole = pass(&stream(&[TEXT, END, USAGE]), UsageView::Hidden);
    assert!(whole.is_whole && whole.text.ends_with("data: [DONE]\n\n"));
    for broken in [stream(&[TEXT]), stream(&[TEXT, "[DONE]"]), stream(&[USAGE, "[DONE]"]), String::new()] {
        assert!(!pass(&broken, UsageView::Hidden).is_whole, "{broken}");
    }
}

#[test]
fn every_choice_must_end() {
    let other = r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#;
    assert!(!pass(&stream(&[TEXT, other, END]), UsageView::Hidden).is_whole);
    let ended = r#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#;
    assert!(pass(&stream(&[TEXT, other, END, ended]), UsageView::Hidden).is_whole);
}

#[test]
fn errors_and_nonsense_are_told_and_not_passed() {
    let error =
        r#"{"choices":[{"index":0,"delta":{"content":""}}],"error":{"code":400,"message":"Token limit reached"}}"#;
    let passed = pass(&stream(&[TEXT, error]), UsageView::Shown);
    assert_eq!(
        passed.facts[1].error.as_ref().map(|error| (error.status.as_u16(), &*error.message)),
        Some((400, "Token limit reached"))
    );
    assert_eq!(passed.text, stream(&[TEXT]));
    let minimax = r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate"}}"#;
    assert_eq!(pass(&stream(&[minimax]), UsageView::Shown).facts[0].error.as_ref().unwrap().status, 429);
    for nonsense in [r#"{"id":"chatcmpl-jQugNdata:{"id":"x"}"#, "7", "{", "oops"] {
        let passed = pass(&stream(&[nonsense]), UsageView::Shown);
        assert!(passed.facts[0].malformed.is_some() && passed.text.is_empty(), "{nonsense}");
    }
}

#[test]
fn d114_d146_an_empty_role_is_taken_out() {
    let chunk = r#"{"choices":[{"index":0,"delta":{"role":"","reasoning_content":""}}],"usage":{"total_tokens":0,"total_characters":0}}"#;
    let passed = pass(&stream(&[chunk]), UsageView::Hidden);
    assert_eq!(passed.text, stream(&[r#"{"choices":[{"index":0,"delta":{"reasoning_content":""}}]}"#]));
    assert_eq!((passed.facts[0].is_content, passed.facts[0].usage), (false, None));
}

#[test]
fn d145_d152_indices_and_padding_pass_as_they_come() {
    let call = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}}],"obfuscation":"x9"}"#;
    let events = stream(&[TEXT, call, END, USAGE, "[DONE]"]);
    let passed = pass(&events, UsageView::Shown);
    assert_eq!(passed.text.replace(r#","cost":0.000000042"#, ""), events);
    // Spaces behind the JSON are padding too.
    let padded = stream(&[&format!("{TEXT}      "), END, "[DONE]"]);
    assert_eq!(pass(&padded, UsageView::Untouched).text, padded);
}

#[test]
fn what_counts_as_content() {
    for (delta, is_content) in [
        (r#"{"role":"assistant","content":""}"#, false),
        (r#"{"role":"assistant","content":null,"refusal":null,"reasoning_details":[]}"#, false),
        (r#"{"name":"MiniMax AI","audio_content":""}"#, false),
        (r#"{"content":"x"}"#, true),
        (r#"{"reasoning":"x"}"#, true),
        (r#"{"refusal":"x"}"#, true),
        (r#"{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}}]}"#, true),
        (r#"{"images":[{"image_url":{"url":"data:"}}]}"#, true),
    ] {
        let chunk = format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
        assert_eq!(pass(&stream(&[&chunk]), UsageView::Hidden).facts[0].is_content, is_content, "{delta}");
    }
}

#[test]
fn data_over_several_lines_is_rewritten_whole() {
    let events = "event: x\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
    let passed = pass(events, UsageView::Shown);
    assert_eq!(
        passed.text,
        "event: x\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":0.000000042}}\n\n"
    );
}
