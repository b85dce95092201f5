#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use aipipe_actors::catalogue::{Capabilities, Capability, Effort};
use aipipe_actors::routing::preferences::CacheMode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialects::scan::PromptHasher;

fn body(extra: &Value) -> String {
    let mut body = json!({"model": "auto", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body.to_string()
}

fn scanned(extra: &Value) -> Scan<'static> {
    scan(body(extra).leak().as_bytes()).unwrap()
}

fn refusal(text: &str) -> (Option<String>, String) {
    let error = scan(text.as_bytes()).map(|_| ()).unwrap_err();
    (error.param, error.message)
}

fn needs(extra: &Value) -> Capabilities {
    scanned(extra).found.needs
}

fn only(capabilities: &[Capability]) -> Capabilities {
    capabilities.iter().copied().collect()
}

fn with_part(part: &Value) -> Value {
    json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]})
}

#[test]
fn the_plain_facts() {
    let scan = scanned(&json!({
        "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 5, "max_completion_tokens": 7, "temperature": null,
        "aipipe": {"cache": "off"},
    }));
    assert_eq!(
        (&*scan.found.model, scan.found.stream, scan.include_usage, scan.found.output_limit),
        ("auto", true, true, Some(7))
    );
    assert_eq!(scan.found.preferences().unwrap().cache, Some(CacheMode::Off));
    assert_eq!(scan.found.needs, Capabilities::NONE);
    assert!(scan.found.meaningful.is_empty());
    assert_eq!(scan.found.text().get(scan.found.members.get("stream").unwrap().value.clone()), Some("true"));
}

#[test]
fn max_completion_tokens_wins_in_either_order() {
    for (text, limit) in [
        (r#""max_tokens":5,"max_completion_tokens":7"#, 7),
        (r#""max_completion_tokens":7,"max_tokens":5"#, 7),
        (r#""max_completion_tokens":null,"max_tokens":1e1"#, 10),
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],{text}}}"#);
        assert_eq!(scan(body.as_bytes()).unwrap().found.output_limit, Some(limit), "{text}");
    }
}

#[test]
fn wrong_shapes_name_the_field() {
    for (text, param) in [
        ("", None),
        ("[]", None),
        ("{} x", None),
        ("{\"model\":\"m\"", None),
        (r#"{"messages":[{"role":"user"}]}"#, Some("model")),
        (r#"{"model":7,"messages":[{"role":"user"}]}"#, Some("model")),
        (r#"{"model":"m"}"#, Some("messages")),
        (r#"{"model":"m","messages":[]}"#, Some("messages")),
        (r#"{"model":"m","messages":{}}"#, Some("messages")),
        (r#"{"model":"m","messages":[7]}"#, Some("messages[0]")),
        (r#"{"model":"m","messages":[{"content":"x"}]}"#, Some("messages[0].role")),
        (r#"{"model":"m","messages":[{"role":"user"},{"role":"robot"}]}"#, Some("messages[1].role")),
        (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, Some("messages[0].content")),
        (r#"{"model":"m","messages":[{"role":"user","content":["x"]}]}"#, Some("messages[0].content")),
        (r#"{"model":"m","messages":[{"role":"user"}],"model":"n"}"#, Some("model")),
        (r#"{"model":"m","messages":[{"role":"user"}],"mod\u0065l":"n"}"#, Some("model")),
    ] {
        assert_eq!(refusal(text).0.as_deref(), param, "{text}");
    }
    for (member, value) in [
        ("temperature", json!("hot")),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("n", json!(0)),
        ("n", json!(129)),
        ("stream", json!("yes")),
        ("stop", json!([1])),
        ("tools", json!({})),
        ("tool_choice", json!(1)),
        ("response_format", json!("json")),
        ("logprobs", json!(2)),
    ] {
        assert_eq!(refusal(&body(&json!({member: value}))).0.as_deref(), Some(member), "{value}");
    }
    let error = scan(b"{\"model\":\"\xff\"}").map(|_| ()).unwrap_err();
    assert!(error.message.contains("UTF-8 at byte 10"), "{}", error.message);
}

#[test]
fn needs_follow_from_what_is_sent() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    assert_eq!(needs(&json!({"tools": tool})), only(&[Capability::Tools]));
    assert_eq!(needs(&json!({"tools": []})), Capabilities::NONE);
    assert_eq!(needs(&json!({"functions": [{"name": "f"}]})), only(&[Capability::Tools]));
    assert_eq!(needs(&json!({"n": 2, "logprobs": true})), only(&[Capability::N, Capability::Logprobs]));
    assert_eq!(needs(&json!({"n": 1, "logprobs": false})), Capabilities::NONE);
    assert_eq!(
        needs(&json!({"response_format": {"type": "json_schema", "json_schema": {}}})),
        only(&[Capability::JsonSchema])
    );
    assert_eq!(needs(&json!({"response_format": {"type": "json_object"}})), Capabilities::NONE);
    assert_eq!(needs(&json!({"modalities": ["text", "audio"]})), only(&[Capability::Audio]));
    assert_eq!(
        needs(&with_part(&json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}))),
        only(&[Capability::Images])
    );
    assert_eq!(
        needs(&with_part(&json!({"type": "image_url", "image_url": {"url": "HTTPS://x/y"}}))),
        only(&[Capability::ImageUrl])
    );
    assert_eq!(
        needs(&with_part(&json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}))),
        only(&[Capability::Documents])
    );
    assert_eq!(
        needs(&with_part(&json!({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}))),
        only(&[Capability::Audio])
    );
    let answered_last = json!({"messages": [{"role": "user", "content": "a"}, {"content": "b", "role": "assistant"}]});
    assert_eq!(needs(&answered_last), only(&[]));
    let history =
        json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}, {"role": "tool", "content": "r"}]});
    assert_eq!(needs(&history), only(&[Capability::Tools]));
}

#[test]
fn only_values_that_mean_something_count() {
    for (extra, meaning) in [
        (
            json!({"logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0, "stop": [], "top_logprobs": 0}),
            vec![],
        ),
        (json!({"stop": "", "tool_choice": "auto", "parallel_tool_calls": true, "seed": 1, "user": "u"}), vec![]),
        (json!({"logit_bias": {"1": 2}}), vec!["logit_bias"]),
        (json!({"presence_penalty": 0.5}), vec!["presence_penalty"]),
        (json!({"stop": ["", "x"]}), vec!["stop"]),
        (json!({"tool_choice": "required"}), vec!["tool_choice"]),
        (json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}), vec!["tool_choice"]),
        (json!({"parallel_tool_calls": false}), vec!["parallel_tool_calls"]),
        // A search of the web is a hosted tool, whichever way it is asked for.
        (json!({"audio": {"voice": "x"}, "web_search_options": {}}), vec!["audio"]),
        (json!({"tools": [{"type": "custom", "custom": {}}]}), vec!["custom_tools"]),
        (with_part(&json!({"type": "video_url", "video_url": {"url": "x"}})), vec!["messages.content.type"]),
    ] {
        assert_eq!(scanned(&extra).found.meaningful, meaning, "{extra}");
    }
}

#[test]
fn hosted_tools_and_stored_things_are_named() {
    let scan = scanned(&json!({
        "tools": [{"type": "web_search"}, {"type": "function", "function": {"name": "f"}}],
        "messages": [
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}, {"type": "image_url", "image_url": "ms://2"}]},
            {"role": "assistant", "audio": {"id": "audio_3"}}, {"role": "user", "content": "go on"},
        ],
    }));
    assert_eq!((scan.found.tools, &*scan.found.hosted_tools), (1, &["web_search".into()][..]));
    assert_eq!(scan.found.stored, ["file-1", "ms://2", "audio_3"]);
}

#[test]
fn reasoning_is_read_in_each_form() {
    let effort = |extra: Value| scanned(&extra).reasoning.map(|reasoning| (reasoning.effort, reasoning.budget_tokens));
    assert_eq!(effort(json!({})), None);
    assert_eq!(effort(json!({"reasoning_effort": "low"})), Some((Some(Effort::Low), None)));
    assert_eq!(effort(json!({"reasoning": {"effort": "none"}})), Some((Some(Effort::None), None)));
    assert_eq!(effort(json!({"reasoning": {"max_tokens": 2000}})), Some((None, Some(2000))));
    assert_eq!(effort(json!({"thinking": {"type": "disabled"}})), Some((Some(Effort::None), None)));
}

#[test]
fn the_ask_is_the_users_own_text() {
    let scan = scanned(&json!({
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "messages": [
            {"role": "system", "content": "rules"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "t\"wo\n"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "three"}, {"type": "text", "text": "é"}]},
            {"role": "assistant", "tool_calls": [{"id": "c"}]},
            {"role": "tool", "content": "result"},
        ],
    }));
    let ask = scan.found.ask();
    let view = ask.view();
    assert_eq!((view.current, view.earlier), ("three\né", ["t\"wo\n", "one"]));
    assert_eq!((view.user_turns, view.assistant_turns, view.tool_results_since_ask), (3, 2, 1));
    assert_eq!((view.tools, view.attachments, view.structured_output), (1, 1, false));
}

#[test]
fn a_long_ask_shows_both_ends() {
    let text = format!("HEAD{}TAIL", "a\\\"é".repeat(300_000));
    let scan = scanned(&json!({"messages": [{"role": "user", "content": text}]}));
    let ask = scan.found.ask();
    let shown = ask.view().current;
    assert!(shown.starts_with("HEAD") && shown.ends_with("TAIL") && shown.len() < 33_000);
    let many = json!([{"type": "text", "text": "HEAD"}, {"type": "text", "text": "x".repeat(100_000)}, {"type": "text", "text": "TAIL"}]);
    let scan = scanned(&json!({"messages": [{"role": "user", "content": many}]}));
    let ask = scan.found.ask();
    let shown = ask.view().current;
    assert!(shown.starts_with("HEAD\nx") && shown.ends_with("x\nTAIL") && shown.len() < 33_000);
}

#[test]
fn base64_is_not_counted_as_text() {
    let data = format!("data:image/png;base64,{}", "A".repeat(1_000_000));
    let image = scanned(&with_part(&json!({"type": "image_url", "image_url": {"url": data}})));
    assert!(image.found.estimate.tokens() < 2_000);
    let text = scanned(&json!({"messages": [{"role": "user", "content": "word ".repeat(1_000)}]}));
    assert!(text.found.estimate.upper_bound() >= 5_000);
}

#[test]
fn digests_tell_requests_apart_and_nothing_else() {
    let key = PromptHasher::default();
    let digest = |text: &str| scan(text.as_bytes()).unwrap().found.prompt_key(&key, &["chat"]);
    let base = r#"{"model":"a","messages":[{"role":"user","content":"x y"}],"temperature":1}"#;
    let same = [r#"{ "temperature" : 1, "messages" : [ { "role" : "user",
            "content" : "x y" } ], "model" : "b", "stream" : false, "user": "u", "metadata": {}, "aipipe": {}, "top_p": null }"#];
    for text in same {
        assert_eq!(digest(text), digest(base), "{text}");
    }
    let other = [
        r#"{"model":"a","messages":[{"role":"user","content":"xy"}],"temperature":1}"#,
        r#"{"model":"a","messages":[{"role":"user","content":"x  y"}],"temperature":1}"#,
        r#"{"model":"a","messages":[{"content":"x y","role":"user"}],"temperature":1}"#,
        r#"{"model":"a","messages":[{"role":"user","content":"x y"}],"temperature":1.0}"#,
        r#"{"model":"a","messages":[{"role":"user","content":"x y"}],"top_p":1}"#,
        r#"{"model":"a","messages":[{"role":"user","content":"x y"}],"temperature":1,"seed":1}"#,
    ];
    for text in other {
        assert_ne!(digest(text), digest(base), "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = scan(&bytes);
    }

    #[test]
    fn a_bitten_body_is_refused_or_read(cut in 0usize..400, text in "\\PC{0,20}") {
        let whole = body(&with_part(&json!({"type": "text", "text": text})));
        let _ = scan(whole.as_bytes().get(..cut.min(whole.len())).unwrap());
        let read = scan(whole.as_bytes()).unwrap();
        let ask = read.found.ask();
        let current = ask.view().current.to_owned();
        prop_assert_eq!(current, if text.is_empty() { "look".to_owned() } else { format!("look\n{text}") });
    }
}
