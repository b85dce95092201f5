use aipipe_actors::catalogue::{Effort, ReasoningControl};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{body, model, passed, talk};
use crate::dialects::client::Chosen;

const ALL: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High];

fn passed_json(extra: &Value, reasoning: ReasoningControl, chosen: Chosen) -> (Value, Vec<String>) {
    let (text, dropped) = passed(&body(extra), &model(reasoning, ALL), chosen);
    (serde_json::from_str(&text).unwrap(), dropped)
}

#[test]
fn only_the_model_and_aipipes_own_change() {
    let text = r#"{ "x" : 1.0,"aipipe":{"cache":"off"}, "model" :"auto","messages":[{"role":"user","content":"\u00e9","y":null}], "max_tokens":9}"#;
    let expected = r#"{ "x" : 1.0, "model" :"claude-test","messages":[{"role":"user","content":"\u00e9","y":null}], "max_tokens":9}"#;
    let model = model(ReasoningControl::None, &[]);
    assert_eq!(passed(text, &model, Chosen::Named), (expected.to_owned(), Vec::new()));
}

#[test]
fn a_limit_is_lowered_only_where_aipipe_chose() {
    let extra = json!({"max_tokens": 100_000});
    let (auto, dropped) = passed_json(&extra, ReasoningControl::None, Chosen::Auto);
    assert_eq!((&auto["max_tokens"], dropped), (&json!(64_000), vec!["max_tokens".to_owned()]));
    let (named, dropped) = passed_json(&extra, ReasoningControl::None, Chosen::Named);
    assert_eq!((&named["max_tokens"], dropped), (&json!(100_000), Vec::new()));
}

#[test]
fn d67_what_a_chosen_model_refuses_is_left_out() {
    let mut model = model(ReasoningControl::None, &[]);
    model.parameters.refuses = vec!["temperature".to_owned(), "top_p".to_owned(), "stop".to_owned()];
    let text = body(&json!({"temperature": 0.2, "top_k": 5, "stop_sequences": ["x"]}));
    let (auto, dropped) = passed(&text, &model, Chosen::Auto);
    let auto: Value = serde_json::from_str(&auto).unwrap();
    assert_eq!((auto.get("temperature"), &auto["top_k"], &auto["stop_sequences"]), (None, &json!(5), &json!(["x"])));
    assert_eq!(dropped, ["temperature"]);
    assert!(passed(&text, &model, Chosen::Named).0.contains("temperature"));
}

#[test]
fn d76_thinking_is_asked_for_as_the_chosen_model_takes_it() {
    let enabled = json!({"thinking": {"type": "enabled", "budget_tokens": 4000}, "max_tokens": 9000});
    let adaptive = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}, "max_tokens": 9000});
    for (extra, control, thinking, effort) in [
        (&enabled, ReasoningControl::Budget, Some(enabled["thinking"].clone()), None),
        (&enabled, ReasoningControl::Adaptive, Some(json!({"type": "adaptive", "display": "summarized"})), None),
        (&enabled, ReasoningControl::None, None, None),
        (&adaptive, ReasoningControl::Adaptive, Some(json!({"type": "adaptive"})), Some("low")),
        (&adaptive, ReasoningControl::Budget, Some(json!({"type": "enabled", "budget_tokens": 2048})), None),
        (&adaptive, ReasoningControl::None, None, None),
    ] {
        let (auto, _) = passed_json(extra, control, Chosen::Auto);
        assert_eq!(auto.get("thinking"), thinking.as_ref(), "{control:?} {extra}");
        let written = auto.pointer("/output_config/effort").and_then(Value::as_str);
        assert_eq!(written, effort, "{control:?} {extra}");
        assert_eq!(passed_json(extra, control, Chosen::Named).0["thinking"], extra["thinking"]);
    }
    let off = json!({"thinking": {"type": "between_tools"}});
    let (auto, _) = passed_json(&off, ReasoningControl::Adaptive, Chosen::Auto);
    assert_eq!(auto["thinking"], json!({"type": "disabled"}));
    let (auto, dropped) = passed_json(&adaptive, ReasoningControl::None, Chosen::Auto);
    assert_eq!(auto["output_config"], json!({}));
    assert_eq!(dropped, ["thinking", "output_config.effort"]);
}

#[test]
fn d75_an_effort_becomes_the_nearest_that_the_chosen_model_knows() {
    let extra = json!({"output_config": {"format": null, "effort": "max"}});
    let (auto, _) = passed_json(&extra, ReasoningControl::Adaptive, Chosen::Auto);
    assert_eq!(auto["output_config"]["effort"], "high");
}

/// A thought as AiPipe marks it.
fn thinking(origin: &str, data: &str) -> Value {
    json!({"type": "thinking", "thinking": "hm", "signature": format!("aipipe:1:signature:{origin}:{data}")})
}

#[test]
fn d124_thoughts_go_back_only_to_the_model_that_had_them() {
    let own = thinking("anthropic/claude-test", "sig");
    let raw = json!({"type": "thinking", "thinking": "mm", "signature": "EooC"});
    let text = json!({"type": "text", "text": "ok"});
    let unsigned = json!({"type": "thinking", "thinking": "hm", "signature": "aipipe:1:none::"});
    let call = json!({"type": "redacted_thinking", "data": "aipipe:1:call:gemini/g:xyz"});
    let foreign = thinking("anthropic/claude-other", "sig");
    for (content, expected) in [
        (json!([own, text]), json!([{"type": "thinking", "thinking": "hm", "signature": "sig"}, text])),
        (json!([raw, text]), json!([raw, text])),
        (json!([foreign, text]), json!([text])),
        (json!([text, foreign]), json!([text])),
        (json!([text, unsigned, call, raw, foreign, text]), json!([text, raw, text])),
    ] {
        let extra = talk(&[json!("hi"), content.clone(), json!("go on")]);
        for chosen in [Chosen::Auto, Chosen::Named] {
            let (passed, _) = passed_json(&extra, ReasoningControl::Budget, chosen);
            assert_eq!(passed["messages"][1]["content"], expected, "{content}");
        }
    }
}

#[test]
fn d10_a_message_that_came_out_empty_is_dropped() {
    let gone = json!([thinking("gemini/g", "x")]);
    let extra = talk(&[json!("hi"), gone.clone(), json!("go on"), gone]);
    let (passed, _) = passed_json(&extra, ReasoningControl::None, Chosen::Named);
    assert_eq!(passed["messages"], json!([{"role": "user", "content": "hi"}, {"role": "user", "content": "go on"}]));
}

#[test]
fn d124a_without_its_thoughts_a_tool_loop_goes_on_unthinking() {
    let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "1"}]);
    let mut extra = talk(&[json!("hi"), json!([thinking("gemini/g", "x"), call]), result]);
    extra["thinking"] = json!({"type": "enabled", "budget_tokens": 2000});
    extra["max_tokens"] = json!(5000);
    for chosen in [Chosen::Auto, Chosen::Named] {
        let (passed, dropped) = passed_json(&extra, ReasoningControl::Budget, chosen);
        assert_eq!((passed.get("thinking"), dropped), (None, vec!["thinking".to_owned()]));
        assert_eq!(passed["messages"][1]["content"].as_array().unwrap().len(), 1);
    }
    // Past the loop a thought is missed by nobody.
    let mut messages = extra["messages"].as_array().unwrap().clone();
    messages.push(json!({"role": "assistant", "content": "1"}));
    messages.push(json!({"role": "user", "content": "thanks"}));
    extra["messages"] = messages.into();
    let (passed, _) = passed_json(&extra, ReasoningControl::Budget, Chosen::Auto);
    assert_eq!(passed["thinking"], extra["thinking"]);
}

#[test]
fn escaped_marks_are_found_too() {
    let text = r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"aipipe:1:signature:anthropic\/claude-test:a\/b"},{"type":"text","text":"ok"}]},{"role":"user","content":"x"}]}"#;
    let (passed, _) = passed(text, &model(ReasoningControl::Budget, ALL), Chosen::Named);
    assert!(passed.contains(r#""signature":"a/b""#), "{passed}");
}

proptest! {
    /// Whatever thoughts lie where, what passes is what a plain walk over the tree leaves.
    #[test]
    fn foreign_thoughts_go_from_anywhere(
        messages in prop::collection::vec(prop::collection::vec(0_usize..4, 0..5), 1..6),
        pretty in any::<bool>(),
    ) {
        let foreign = thinking("gemini/g:1", "x");
        let blocks = [
            json!({"type": "text", "text": "\"},{\"type\":"}),
            json!({"type": "thinking", "thinking": "mm", "signature": "EooC"}),
            thinking("anthropic/claude-test", "own:="),
            foreign.clone(),
        ];
        let content = |kinds: &Vec<usize>| kinds.iter().map(|&kind| blocks[kind].clone()).collect::<Value>();
        let extra = talk(&messages.iter().map(content).collect::<Vec<_>>());
        let mut expected: Value = serde_json::from_str(&body(&extra)).unwrap();
        expected["model"] = json!("claude-test");
        for message in expected["messages"].as_array_mut().unwrap() {
            let blocks = message["content"].as_array_mut().unwrap();
            let only_foreign = !blocks.is_empty() && blocks.iter().all(|block| *block == foreign);
            blocks.retain(|block| *block != foreign);
            for block in blocks.iter_mut().filter(|block| block["signature"].as_str().is_some_and(|s| s.contains("own"))) {
                block["signature"] = json!("own:=");
            }
            if only_foreign {
                *message = Value::Null;
            }
        }
        expected["messages"].as_array_mut().unwrap().retain(|message| !message.is_null());
        let text: Value = serde_json::from_str(&body(&extra)).unwrap();
        let text = if pretty { serde_json::to_string_pretty(&text).unwrap() } else { text.to_string() };
        let (passed, _) = passed(&text, &model(ReasoningControl::None, &[]), Chosen::Named);
        prop_assert_eq!(serde_json::from_str::<Value>(&passed).unwrap(), expected);
    }
}
