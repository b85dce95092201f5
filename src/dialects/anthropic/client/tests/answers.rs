use aipipe_actors::money::{NanoUsd, Tokens};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Messages, frame, opaque, scanned};
use crate::dialects::client::{ClientSurface as _, annotate};
use crate::dialects::conversation::{Answer, Choice, Media, Part, Stop, Thought, ToolCall, Usage};
use crate::dialects::translate::{AnswerError, ClientError};
use crate::providers::Profile;

fn call(arguments: &str) -> Part {
    Part::ToolCall(ToolCall {
        id: "functions.f:0".into(),
        name: "f".into(),
        arguments: arguments.into(),
        signature: None,
    })
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn answer(parts: Vec<Part>, stop: Stop) -> Answer {
    let choices = vec![Choice { parts, stop, stop_sequence: None }];
    Answer { id: "chatcmpl-1".into(), model: "grok-4.3".into(), choices, usage: None }
}

fn written_for(extra: &Value, answer: &Answer) -> Value {
    serde_json::from_slice(&scanned(extra).write_answer(answer, &frame())).unwrap()
}

fn written(parts: Vec<Part>, stop: Stop) -> Value {
    written_for(&json!({"tools": [{"name": "f", "input_schema": {}}]}), &answer(parts, stop))
}

#[test]
fn d132_d134_the_frame_is_this_dialects_and_the_model_the_providers() {
    let message = written(vec![text("hi")], Stop::End);
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(
        (&message["type"], &message["role"], &message["model"]),
        (&json!("message"), &json!("assistant"), &json!("grok-4.3"))
    );
    assert_eq!(message["content"], json!([{"type": "text", "text": "hi"}]));
    assert!(message["usage"].is_object());
}

#[test]
fn why_it_ended() {
    for (parts, stop, reason) in [
        (vec![text("x")], Stop::End, "end_turn"),
        (vec![text("x")], Stop::Length, "max_tokens"),
        (vec![text("x")], Stop::ContextFull, "model_context_window_exceeded"),
        (vec![text("x")], Stop::Filtered, "refusal"),
        (vec![], Stop::Refusal, "refusal"),
        (vec![text("x")], Stop::Paused, "pause_turn"),
        // D73: which sequence it was is not known.
        (vec![text("x")], Stop::Sequence, "end_turn"),
        // D98: calls are decided by the content.
        (vec![call("{}")], Stop::End, "tool_use"),
        (vec![text("x")], Stop::ToolUse, "end_turn"),
        (vec![call("{\"a\":1}")], Stop::Length, "max_tokens"),
    ] {
        let message = written(parts, stop);
        assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!(reason), &json!(null)), "{stop:?}");
    }
    let mut known = answer(vec![text("x")], Stop::Sequence);
    known.choices[0].stop_sequence = Some("END".into());
    let message = written_for(&json!({}), &known);
    assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
}

#[test]
fn d99_a_refusal_is_text_with_its_reason_to_end() {
    let message = written(vec![Part::Refusal("I can't".into())], Stop::End);
    assert_eq!(message["content"], json!([{"type": "text", "text": "I can't"}]));
    assert_eq!(message["stop_reason"], "refusal");
}

#[test]
fn d28_d29_d30_arguments_are_an_object_and_ids_are_valid() {
    let input = |arguments: &str| written(vec![call(arguments)], Stop::ToolUse)["content"][0].clone();
    assert_eq!(input("")["input"], json!({}));
    assert_eq!(input("{\"a\":")["input"], json!({"_raw": "{\"a\":"}));
    assert_eq!(input("{}")["id"], "id_functions_2ef_3a0");
    let precise = answer(vec![call(r#"{"n": 12345678901234567890123, "x": 1.0}"#)], Stop::ToolUse);
    let body = scanned(&json!({})).write_answer(&precise, &frame());
    assert!(std::str::from_utf8(&body).unwrap().contains(r#""input":{"n": 12345678901234567890123, "x": 1.0}"#));
}

#[test]
fn d105_a_call_without_arguments_that_was_cut_off_is_not_invented() {
    let message = written(vec![text("x"), call("")], Stop::Length);
    assert_eq!((message["content"].as_array().unwrap().len(), &message["stop_reason"]), (1, &json!("max_tokens")));
}

#[test]
fn d121_d125_thoughts_are_signed_with_their_origin() {
    let thought = |text: &str, opaque| Part::Reasoning(Thought { text: text.into(), opaque });
    let parts = vec![
        thought("plain", None),
        thought("signed", Some(opaque("anthropic/c", "signature", "s="))),
        thought("", Some(opaque("anthropic/c", "redacted", "r="))),
        thought("", Some(opaque("openrouter/a/b:free", "encrypted", "e="))),
        thought("", None),
        Part::ToolCall(ToolCall {
            id: "t".into(),
            name: "f".into(),
            arguments: "{}".into(),
            signature: Some(opaque("gemini/g", "thought_signature", "g=")),
        }),
    ];
    let content = written(parts, Stop::ToolUse)["content"].take();
    assert_eq!(
        content,
        json!([
            {"type": "thinking", "thinking": "plain", "signature": "aipipe:1:none::"},
            {"type": "thinking", "thinking": "signed", "signature": "aipipe:1:signature:anthropic/c:s="},
            {"type": "redacted_thinking", "data": "aipipe:1:redacted:anthropic/c:r="},
            {"type": "redacted_thinking", "data": "aipipe:1:encrypted:openrouter/a/b%3Afree:e="},
            {"type": "redacted_thinking", "data": "aipipe:1:call:gemini/g:g="},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        ])
    );
}

#[test]
fn d79_a_client_that_asked_for_no_thinking_gets_its_text_first() {
    let parts = || vec![Part::Reasoning(Thought { text: "hm".into(), opaque: None }), text("42")];
    for (extra, blocks) in [
        (json!({}), 1),
        (json!({"thinking": {"type": "disabled"}}), 1),
        (json!({"thinking": {"type": "adaptive"}}), 2),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), 2),
        // A tool loop may need them back.
        (json!({"tools": [{"name": "f", "input_schema": {}}]}), 2),
    ] {
        let message = written_for(&extra, &answer(parts(), Stop::End));
        assert_eq!(message["content"].as_array().unwrap().len(), blocks, "{extra}");
    }
}

#[test]
fn d109_cached_input_stands_beside_the_input() {
    let usage = |input, cached_input, cache_write| {
        let tokens = Tokens { input, cached_input, cache_write, output: 7, reasoning: 3, ..Tokens::default() };
        let answer = Answer { usage: Some(Usage { tokens, reported_cost: None }), ..answer(vec![], Stop::End) };
        written_for(&json!({}), &answer)["usage"].take()
    };
    assert_eq!(
        usage(100, 60, 10),
        json!({
            "input_tokens": 30, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 60, "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3},
        })
    );
    assert_eq!(usage(5, 9, 0)["input_tokens"], 0);
}

#[test]
fn d139_images_in_answers_have_no_place() {
    let image = Part::Image(Media::Url("https://x".into()));
    assert_eq!(written(vec![image, text("x")], Stop::End)["content"], json!([{"type": "text", "text": "x"}]));
}

#[test]
fn an_answer_that_passes_is_read_and_annotated() {
    let body = br#"{"id":"msg_1","type":"message","content":[{"type":"text","text":"abc"},{"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":3}}"#;
    let body = bytes::Bytes::from_static(body);
    let facts = Messages.read_answer(&body, &Profile::ANTHROPIC).unwrap();
    assert_eq!((facts.stop, facts.is_whole, facts.content_bytes), (Stop::ToolUse, true, 3 + 1 + 7));
    let expected = std::str::from_utf8(&body)
        .unwrap()
        .replace("\"output_tokens\":3}}", "\"output_tokens\":3,\"cost\":0.000000005},\"aipipe\":{\"x\":1}}");
    assert_eq!(annotate(&body, &facts, Some(NanoUsd(5)), Some("{\"x\":1}")), expected);
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    let read = |body: &str| Messages.read_answer(body.as_bytes(), &Profile::ANTHROPIC);
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let Err(AnswerError::Provider(error)) = read(error) else { panic!("no error") };
    assert_eq!((error.status.as_u16(), &*error.message), (529, "Overloaded"));
    for body in ["", "[]", "{}", "<html>", r#"{"content":"x"}"#] {
        assert!(matches!(read(body), Err(AnswerError::Malformed(_))), "{body}");
    }
    assert!(!read(r#"{"content":[]}"#).unwrap().is_whole);
}

#[test]
fn d179_errors_have_anthropics_types_and_aipipes_codes() {
    let id = frame().request_id;
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let error = ClientError { status, code: "a_code", message: "so", param: None };
        let expected = json!({
            "type": "error", "error": {"type": kind, "message": "so", "code": "a_code"}, "request_id": id.to_string(),
        });
        assert_eq!(serde_json::from_slice::<Value>(&Messages.error(&error, id)).unwrap(), expected);
        let event = Messages.error_event(&error, id);
        assert_eq!(event, format!("event: error\ndata: {expected}\n\n"));
    }
}
