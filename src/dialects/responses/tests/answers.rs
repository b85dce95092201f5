use std::collections::BTreeSet;

use aipipe_actors::money::Tokens;
use serde_json::{Value, json};

use super::{body, frame, try_scan};
use crate::dialects::client::ClientSurface as _;
use crate::dialects::conversation::{Answer, Choice, Opaque, Part, Stop, Thought, ToolCall, Usage};
use crate::dialects::issued::hash;
use crate::dialects::responses::Responses;
use crate::dialects::translate::AnswerError;
use crate::providers::Profile;

fn written_for(extra: Value, parts: Vec<Part>, stop: Stop) -> Value {
    let tokens = Tokens { input: 10, cached_input: 4, cache_write: 2, output: 5, reasoning: 3, ..Tokens::default() };
    let answer = Answer {
        id: "upstream".into(),
        model: "the-model".into(),
        choices: vec![Choice { parts, stop, stop_sequence: None }],
        usage: Some(Usage { tokens, reported_cost: None }),
    };
    let text = body(extra);
    let body = try_scan(&text).unwrap().write_answer(&answer, &frame());
    assert!(Responses.read_answer(&body, &Profile::OPENAI).is_ok());
    serde_json::from_slice(&body).unwrap()
}

fn written(parts: Vec<Part>, stop: Stop) -> Value {
    written_for(json!({}), parts, stop)
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: "call_1".into(), name: name.into(), arguments: arguments.into(), signature: None }
}

#[test]
fn d132_d137_d138_the_answer_tells_back_what_was_set() {
    let set = json!({"instructions": "i", "temperature": 0.50, "top_p": 0.9, "metadata": {"a": "b"}, "max_output_tokens": 99,
        "tools": [{"type": "function", "name": "f"}], "tool_choice": "required", "parallel_tool_calls": false,
        "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "low"}, "truncation": "auto", "user": "u", "prompt_cache_key": "k"});
    let answer = written_for(set.clone(), vec![text("hi")], Stop::End);
    for (name, value) in set.as_object().unwrap() {
        assert_eq!(&answer[name], value, "{name}");
    }
    let plain = written(vec![text("hi")], Stop::End);
    for (name, value) in [
        ("object", json!("response")),
        ("created_at", json!(5)),
        ("status", json!("completed")),
        ("model", json!("the-model")),
        ("store", json!(false)),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("previous_response_id", Value::Null),
        ("tools", json!([])),
        ("tool_choice", json!("auto")),
        ("parallel_tool_calls", json!(true)),
        ("text", json!({"format": {"type": "text"}})),
        ("truncation", json!("disabled")),
    ] {
        assert_eq!(plain[name], value, "{name}");
    }
    assert!(plain["id"].as_str().unwrap().starts_with("resp_") && plain.get("output_text").is_none());
}

#[test]
fn d108_the_figures_hold_their_parts() {
    let usage = json!({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 15});
    assert_eq!(written(vec![text("hi")], Stop::End)["usage"], usage);
}

#[test]
fn d125_thoughts_messages_and_calls_are_items_in_their_order() {
    let opaque = Opaque { origin: "a/b".into(), kind: "signature", data: "sig".into() };
    let signed = ToolCall {
        signature: Some(Opaque { kind: "thought_signature", ..opaque.clone() }),
        ..call("f", "{\"a\":1.0}")
    };
    let parts = vec![
        Part::Reasoning(Thought { text: "hm".into(), opaque: Some(opaque) }),
        text("one, "),
        text("two"),
        Part::ToolCall(signed),
    ];
    let output = written(parts, Stop::ToolUse)["output"].take();
    let kinds: Vec<&str> = output.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "reasoning", "function_call"]);
    assert_eq!(
        (&output[0]["summary"][0]["text"], &output[0]["encrypted_content"]),
        (&json!("hm"), &json!("aipipe:1:signature:a/b:sig"))
    );
    assert_eq!(
        output[1]["content"],
        json!([{"type": "output_text", "annotations": [], "logprobs": [], "text": "one, two"}])
    );
    assert_eq!(output[2]["encrypted_content"], "aipipe:1:call:a/b:sig");
    assert_eq!((&output[3]["call_id"], &output[3]["arguments"]), (&json!("call_1"), &json!("{\"a\":1.0}")));
    let unsigned = written(vec![Part::Reasoning(Thought { text: "hm".into(), opaque: None })], Stop::End);
    assert_eq!(unsigned["output"][0]["encrypted_content"], "aipipe:1:none::");
}

#[test]
fn d38_a_call_of_a_custom_tool_comes_back_as_its_text() {
    let tools = json!({"tools": [{"type": "custom", "name": "patch"}, {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]});
    let parts = vec![Part::ToolCall(call("patch", "{\"input\":\"*** Begin\\n\"}")), Part::ToolCall(call("n__f", ""))];
    let output = written_for(tools, parts, Stop::ToolUse)["output"].take();
    assert_eq!((&output[0]["type"], &output[0]["input"]), (&json!("custom_tool_call"), &json!("*** Begin\n")));
    let grouped = (&output[1]["name"], &output[1]["namespace"], &output[1]["arguments"]);
    assert_eq!(grouped, (&json!("f"), &json!("n"), &json!("{}")));
}

#[test]
fn d99_d100_d105_the_end_is_told() {
    for (parts, stop, status, reason) in [
        (vec![text("x")], Stop::End, "completed", Value::Null),
        (vec![text("x")], Stop::Sequence, "completed", Value::Null),
        (vec![text("x")], Stop::Length, "incomplete", json!("max_output_tokens")),
        (vec![text("x")], Stop::Paused, "incomplete", json!("max_output_tokens")),
        (vec![], Stop::Length, "incomplete", json!("max_output_tokens")),
        (vec![], Stop::Filtered, "incomplete", json!("content_filter")),
        (vec![], Stop::Refusal, "incomplete", json!("content_filter")),
        (vec![Part::Refusal("no".into())], Stop::Refusal, "completed", Value::Null),
    ] {
        let answer = written(parts, stop);
        assert_eq!((&answer["status"], &answer["incomplete_details"]["reason"]), (&json!(status), &reason), "{stop:?}");
    }
    let refusal = written(vec![Part::Refusal("no".into())], Stop::End);
    assert_eq!(refusal["output"][0]["content"], json!([{"type": "refusal", "refusal": "no"}]));
    let cut = written(vec![Part::ToolCall(call("f", "{\"a\":"))], Stop::Length);
    assert_eq!(
        (&cut["output"][0]["arguments"], &cut["output"][0]["status"]),
        (&json!("{\"a\":"), &json!("incomplete"))
    );
}

#[test]
fn an_error_within_a_200_and_what_is_no_answer_are_seen() {
    for (body, is_error) in [
        (r#"{"id":"r","status":"failed","error":{"code":"server_error","message":"m"},"output":[]}"#, true),
        (r#"{"id":"r","status":"failed","error":null,"output":[]}"#, true),
        (r#"{"error":{"message":"m"}}"#, true),
        (r#"{"id":"r","status":"in_progress","output":[]}"#, false),
        (r#"{"id":"r","status":"completed"}"#, false),
        ("[]", false),
        ("<html>", false),
    ] {
        let error = Responses.read_answer(body.as_bytes(), &Profile::OPENAI).unwrap_err();
        assert_eq!(matches!(error, AnswerError::Provider(_)), is_error, "{body}");
    }
}

#[test]
fn only_what_the_provider_itself_gives_is_issued() {
    let body = json!({"id": "resp_1", "status": "completed", "store": true, "conversation": {"id": "no_1"}, "previous_response_id": "no_2", "output": [
        {"type": "message", "id": "msg_1", "container_id": "no_3", "content": [{"type": "output_text", "text": "no_4", "file_id": "no_5",
            "annotations": [{"type": "container_file_citation", "container_id": "cntr_1", "file_id": "file_1"}]}]},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_2", "code": "no_6"},
        {"type": "mcp_list_tools", "id": "mcpl_1", "tools": [{"name": "t", "input_schema": {"file_id": "no_7", "container_id": "no_8", "id": "no_9"}}]},
        {"type": "file_search_call", "id": "fs_1", "results": [{"attributes": {"file_id": "no_10"}}]},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []},
    ]});
    let facts = Responses.read_answer(body.to_string().as_bytes(), &Profile::OPENAI).unwrap();
    let issued = ["cntr_1", "file_1", "msg_1", "ci_1", "cntr_2", "mcpl_1", "fs_1", "rs_1", "gAAA", "resp_1"].map(hash);
    assert_eq!(facts.issued.iter().collect::<BTreeSet<_>>(), issued.iter().collect());
}
