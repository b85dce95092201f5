//! Whole answers.

use super::ORIGIN;
use crate::dialects::anthropic::answer::decode;
use crate::dialects::conversation::{Answer, Choice, Opaque, Part, Stop};
use crate::dialects::translate::{AnswerError, Renamed, Undo};

fn answer_of(body: &str) -> Answer {
    decode(body.as_bytes(), ORIGIN, &Undo::default()).unwrap()
}

fn body(content: &str, ending: &str) -> String {
    format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":{content},{ending},
            "usage":{{"input_tokens":10,"output_tokens":5}}}}"#
    )
}

fn only_choice(content: &str, ending: &str) -> Choice {
    answer_of(&body(content, ending)).choices.remove(0)
}

const DONE: &str = r#""stop_reason":"end_turn","stop_sequence":null"#;

fn texts(choice: &Choice) -> Vec<&str> {
    let text = |part: &'_ Part| matches!(part, Part::Text(_));
    choice
        .parts
        .iter()
        .filter(|part| text(part))
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            _ => unreachable!(),
        })
        .collect()
}

#[test]
fn identity_text_and_stop_are_read() {
    let answer = answer_of(&body(r#"[{"type":"text","text":"Hi \u00e9"}]"#, DONE));
    assert_eq!((answer.id.as_str(), answer.model.as_str()), ("msg_1", "claude-x"));
    assert_eq!(texts(&answer.choices[0]), ["Hi é"]);
    assert_eq!(answer.choices[0].stop, Stop::End);
}

#[test]
fn d130_d131_a_sentence_split_by_citations_is_one_text_and_server_tools_separate_texts() {
    let choice = only_choice(
        r#"[{"type":"text","text":"It is "},{"type":"text","text":"warm","citations":[{"url":"u"}]},{"type":"text","text":"."},
            {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"q"}},
            {"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]},
            {"type":"text","text":"Done."}]"#,
        DONE,
    );
    assert_eq!(texts(&choice), ["It is warm.", "Done."]);
    assert_eq!(choice.parts.len(), 2);
}

#[test]
fn thoughts_keep_signature_and_origin() {
    let choice = only_choice(
        r#"[{"type":"thinking","thinking":"Hm.","signature":"c2ln"},{"type":"redacted_thinking","data":"cmVk"},
            {"type":"thinking","thinking":"","signature":"b25seQ=="},{"type":"text","text":"A"}]"#,
        DONE,
    );
    let opaque = |kind, data: &str| Some(Opaque { origin: ORIGIN.into(), kind, data: data.into() });
    let thoughts: Vec<_> = choice
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Reasoning(thought) => Some((thought.text.as_str(), thought.opaque.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(
        thoughts,
        [("Hm.", opaque("signature", "c2ln")), ("", opaque("redacted", "cmVk")), ("", opaque("signature", "b25seQ=="))]
    );
}

#[test]
fn d22_d29_arguments_keep_their_spelling_and_names_are_mapped_back() {
    let undo =
        Undo { renamed: vec![Renamed { sent: "fs_read".into(), original: "fs.read".into() }], ..Undo::default() };
    let body = body(
        r#"[{"type":"tool_use","id":"toolu_1","name":"fs_read","input":{"n": 12345678901234567890123, "x": 1.0}},
            {"type":"tool_use","id":"toolu_2","name":"now","input":{},"caller":{"type":"direct"}}]"#,
        r#""stop_reason":"tool_use""#,
    );
    let answer = decode(body.as_bytes(), ORIGIN, &undo).unwrap();
    let calls: Vec<_> = answer.choices[0]
        .parts
        .iter()
        .map(|part| match part {
            Part::ToolCall(call) => (call.id.as_str(), call.name.as_str(), call.arguments.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        calls,
        [("toolu_1", "fs.read", r#"{"n": 12345678901234567890123, "x": 1.0}"#), ("toolu_2", "now", "{}")]
    );
    assert_eq!(answer.choices[0].stop, Stop::ToolUse);
}

#[test]
fn d42_the_answer_tool_becomes_text_and_a_proper_end() {
    let undo = Undo { answer_tool: Some("answer".into()), ..Undo::default() };
    let content = r#"[{"type":"tool_use","id":"toolu_1","name":"answer","input":{"city": "Rome"}}]"#;
    let answer = decode(body(content, r#""stop_reason":"tool_use""#).as_bytes(), ORIGIN, &undo).unwrap();
    assert_eq!(texts(&answer.choices[0]), [r#"{"city": "Rome"}"#]);
    assert_eq!(answer.choices[0].stop, Stop::End);

    let content = r#"[{"type":"tool_use","id":"toolu_1","name":"lookup","input":{}}]"#;
    let answer = decode(body(content, r#""stop_reason":"tool_use""#).as_bytes(), ORIGIN, &undo).unwrap();
    assert_eq!(answer.choices[0].stop, Stop::ToolUse);
}

#[test]
fn d101_every_stop_reason_has_its_meaning() {
    let reasons = [
        ("end_turn", Stop::End),
        ("max_tokens", Stop::Length),
        ("model_context_window_exceeded", Stop::ContextFull),
        ("refusal", Stop::Refusal),
        ("pause_turn", Stop::Paused),
        ("something_later", Stop::End),
    ];
    for (reason, stop) in reasons {
        let choice = only_choice(r#"[{"type":"text","text":"A"}]"#, &format!(r#""stop_reason":"{reason}""#));
        assert_eq!(choice.stop, stop, "{reason}");
    }
    let choice = only_choice("[]", r#""stop_reason":"stop_sequence","stop_sequence":"END""#);
    assert_eq!((choice.stop, choice.stop_sequence.as_deref()), (Stop::Sequence, Some("END")));
}

#[test]
fn a_call_is_a_tool_stop_even_where_the_server_says_it_is_done() {
    let choice = only_choice(r#"[{"type":"tool_use","id":"t","name":"f","input":{}}]"#, DONE);
    assert_eq!(choice.stop, Stop::ToolUse);
}

#[test]
fn d100_a_refusal_before_any_content_carries_its_explanation() {
    let ending =
        r#""stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"Blocked."}"#;
    let choice = only_choice("[]", ending);
    assert_eq!(choice.stop, Stop::Refusal);
    assert!(matches!(choice.parts.as_slice(), [Part::Refusal(text)] if text == "Blocked."));
    let choice = only_choice("[]", r#""stop_reason":"refusal","stop_details":null"#);
    assert!(choice.parts.is_empty());
}

#[test]
fn d108_cached_tokens_are_part_of_the_input() {
    let body = r#"{"content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"cache_read_input_tokens":100,
        "cache_creation_input_tokens":20,"output_tokens":50,"output_tokens_details":{"thinking_tokens":9},"cost":0.000112}}"#;
    let usage = answer_of(body).usage.unwrap();
    let tokens = usage.tokens;
    assert_eq!((tokens.input, tokens.cached_input, tokens.cache_write), (123, 100, 20));
    assert_eq!((tokens.output, tokens.reasoning), (50, 9));
    assert_eq!(usage.reported_cost.unwrap().0, 112_000);
}

#[test]
fn no_usage_is_none_not_zero() {
    assert_eq!(answer_of(r#"{"content":[],"stop_reason":"end_turn"}"#).usage, None);
    assert_eq!(answer_of(r#"{"content":[],"stop_reason":"end_turn","usage":{"input_tokens":null}}"#).usage, None);
}

#[test]
fn an_error_inside_a_200_is_the_providers() {
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    match decode(body, ORIGIN, &Undo::default()) {
        Err(AnswerError::Provider(error)) => {
            assert_eq!((error.status.as_u16(), error.code.as_deref()), (529, Some("overloaded_error")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_message_is_malformed_and_not_quoted() {
    for body in ["<html>secret</html>", "{}", "[]", r#"{"content":[{"type":"text"}],"stop_reason":"end_turn"}"#] {
        match decode(body.as_bytes(), ORIGIN, &Undo::default()) {
            Err(AnswerError::Malformed(malformed)) => assert!(!malformed.0.contains("secret")),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn an_answer_without_a_reason_to_end_is_malformed() {
    let result = decode(body("[]", r#""stop_reason":null"#).as_bytes(), ORIGIN, &Undo::default());
    assert!(matches!(result, Err(AnswerError::Malformed(_))));
}
