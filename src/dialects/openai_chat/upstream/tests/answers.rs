//! Whole answers.

use serde_json::json;

use super::*;
use crate::dialects::conversation::{Answer, Opaque, Stop, Thought};
use crate::dialects::translate::{AnswerError, Renamed, Undo};

fn decode(provider: &str, body: &Value) -> Result<Answer, AnswerError> {
    upstream(provider).decode_answer(body.to_string().as_bytes(), "p/m", &Undo::default())
}

fn said(provider: &str, message: Value, finish: &str) -> (Vec<Part>, Stop) {
    let body = json!({"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}]});
    let mut answer = decode(provider, &body).unwrap();
    let choice = answer.choices.remove(0);
    (choice.parts, choice.stop)
}

fn thoughts(provider: &str, message: Value) -> Vec<Thought> {
    let parts = said(provider, message, "stop").0;
    parts
        .into_iter()
        .filter_map(|part| if let Part::Reasoning(thought) = part { Some(thought) } else { None })
        .collect()
}

fn signed(text: &str, kind: &'static str, data: &str) -> Thought {
    let opaque = Some(Opaque { origin: "p/m".into(), kind, data: data.into() });
    Thought { text: text.into(), opaque }
}

#[test]
fn d22_calls_come_back_under_the_clients_name() {
    let undo = Undo { renamed: vec![Renamed { sent: "a_b".into(), original: "a.b".into() }], ..Undo::default() };
    let body = json!({"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [
        {"id": "1", "function": {"name": "a_b", "arguments": "{}"}}]}}]});
    let answer = upstream("openai").decode_answer(body.to_string().as_bytes(), "p/m", &undo).unwrap();
    assert!(matches!(&answer.choices[0].parts[0], Part::ToolCall(call) if call.name == "a.b"));
}

#[test]
fn d98_d99_d105_why_an_answer_ended() {
    let calls = json!({"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]});
    let refusal = json!({"content": null, "refusal": "no"});
    for (message, finish, stop) in [
        (json!({"content": "x"}), "stop", Stop::End),
        (json!({"content": "x"}), "length", Stop::Length),
        (json!({"content": "x"}), "content_filter", Stop::Filtered),
        (json!({"content": "x"}), "something_new", Stop::End),
        (calls.clone(), "stop", Stop::ToolUse),
        (calls.clone(), "tool_calls", Stop::ToolUse),
        (calls, "length", Stop::Length),
        (refusal, "stop", Stop::Refusal),
    ] {
        assert_eq!(said("openai", message.clone(), finish).1, stop, "{message} {finish}");
    }
}

#[test]
fn d106_d131_what_only_the_provider_says_is_passed_over() {
    let citation = json!({"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "url": "u"}});
    for native in [json!("STOP"), json!("length"), Value::Null] {
        let body = json!({"id": "gen-1", "provider": "X", "choices": [{
            "index": 0, "finish_reason": "stop", "native_finish_reason": native,
            "message": {"role": "assistant", "content": "é", "refusal": null, "annotations": [citation]}}]});
        let choice = decode("openrouter", &body).unwrap().choices.remove(0);
        assert_eq!(choice.stop, Stop::End, "{native}");
        assert!(matches!(&choice.parts[..], [Part::Text(text)] if text == "é"), "{:?}", choice.parts);
    }
}

#[test]
fn d121_each_thought_keeps_its_own_signature() {
    let details = json!([
        {"type": "reasoning.encrypted", "data": "e", "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "text": "one", "signature": "s1", "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "text": "two", "signature": "s2", "format": "anthropic-claude-v1"},
    ]);
    assert_eq!(
        thoughts("openrouter", json!({"content": "x", "reasoning": "onetwo", "reasoning_details": details})),
        [signed("", "redacted", "e"), signed("one", "signature", "s1"), signed("two", "signature", "s2")]
    );
}

#[test]
fn d121_a_summary_belongs_to_the_encrypted_thought_after_it() {
    let details = json!([
        {"type": "reasoning.summary", "summary": "short", "format": "openai-responses-v1"},
        {"type": "reasoning.encrypted", "data": "e", "format": "openai-responses-v1", "id": "rs_1"},
    ]);
    let message = json!({"content": "x", "reasoning": "short", "reasoning_details": details});
    assert_eq!(thoughts("openrouter", message), [signed("short", "encrypted", "e")]);
}

#[test]
fn d127_d129_reasoning_is_read_once() {
    let unsigned = |text: &str| vec![Thought { text: text.into(), opaque: None }];
    for message in [
        json!({"reasoning_content": "hm"}),
        json!({"reasoning": "hm", "reasoning_content": ""}),
        json!({"reasoning": "hm", "reasoning_content": "hm"}),
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        json!({"reasoning_content": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
    ] {
        assert_eq!(thoughts("openai", message.clone()), unsigned("hm"), "{message}");
    }
    assert_eq!(thoughts("openai", json!({"content": "x", "reasoning_content": ""})), []);
    // A provider that wants its thoughts back without having signed them gets them marked as its own.
    let thought = thoughts("moonshot", json!({"reasoning_content": "hm"})).remove(0);
    assert_eq!((&*thought.text, &*thought.opaque.unwrap().origin), ("hm", "p/m"));
}

#[test]
fn d122_a_calls_signature_is_read() {
    let message = json!({"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "s"}}}]});
    let parts = said("openai", message, "tool_calls").0;
    let Part::ToolCall(call) = &parts[0] else { panic!("{parts:?}") };
    assert_eq!(call.signature, Some(Opaque { origin: "p/m".into(), kind: "thought_signature", data: "s".into() }));
}

#[test]
fn d135_ids_are_made_where_they_are_missing() {
    let call = json!({"id": "", "function": {"name": "f", "arguments": "{}"}});
    let parts = said("openai", json!({"tool_calls": [call, call]}), "tool_calls").0;
    let ids: Vec<&str> =
        parts.iter().filter_map(|part| if let Part::ToolCall(call) = part { Some(&*call.id) } else { None }).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && !ids[0].is_empty(), "{ids:?}");
}

#[test]
fn d163_d173_errors_within_a_200_are_errors() {
    for body in [
        json!({"error": {"message": "no", "code": 502}}),
        json!({"choices": null, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}),
        json!({"choices": [{"finish_reason": "error", "message": {"content": "half"}}]}),
    ] {
        assert!(matches!(decode("openrouter", &body), Err(AnswerError::Provider(_))), "{body}");
    }
    for body in [json!({}), json!({"choices": []}), json!({"choices": [{"message": {"content": "x"}}]}), json!([])] {
        assert!(matches!(decode("openai", &body), Err(AnswerError::Malformed(_))), "{body}");
    }
}
