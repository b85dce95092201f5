//! Sampling, limits, reasoning.

use serde_json::{Value, json};

use super::*;
use crate::dialects::conversation::{Reasoning, Settings, ToolChoice};

fn with(settings: Settings) -> Conversation {
    Conversation { settings, ..ask() }
}

fn reasoning(effort: Option<Effort>, budget_tokens: Option<u64>) -> Conversation {
    Conversation { reasoning: Some(Reasoning { effort, budget_tokens }), ..ask() }
}

/// `thinking`, `reasoning_effort` and `reasoning` as sent.
fn thinks(conversation: &Conversation, model: &Model) -> (Value, Value, Value) {
    let mut body = encode(conversation, model).0;
    (body["thinking"].take(), body["reasoning_effort"].take(), body["reasoning"].take())
}

#[test]
fn d63_the_limit_bears_the_name_that_the_model_knows_and_is_capped() {
    let limited = |asked| with(Settings { max_output_tokens: Some(asked), ..Settings::default() });
    let (body, dropped) = encode(&limited(100), &model("openai"));
    assert_eq!((&body["max_tokens"], body.get("max_completion_tokens"), dropped.len()), (&json!(100), None, 0));
    let mut newer = model("openai");
    newer.parameters.max_completion_tokens = true;
    let (body, dropped) = encode(&limited(1_000_000), &newer);
    assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(64_000)));
    assert_eq!(dropped, ["max_tokens"]);
}

#[test]
fn d66_d67_d71_what_tunes_is_fitted_or_named_as_dropped() {
    let settings =
        || Settings { temperature: Some(1.5), top_p: Some(0.9), top_k: Some(4), seed: Some(7), ..Settings::default() };
    let (body, dropped) = encode(&with(settings()), &model("minimax"));
    assert_eq!((&body["temperature"], &body["top_p"], &body["seed"]), (&json!(1.0), &json!(0.9), &json!(7)));
    assert_eq!(dropped, ["top_k", "temperature"]);
    let (body, dropped) = encode(&with(settings()), &refusing("openrouter", &["temperature", "top_p"]));
    assert_eq!((body.get("temperature"), body.get("top_p"), &body["top_k"]), (None, None, &json!(4)));
    assert_eq!(dropped, ["temperature", "top_p"]);
    let zero = with(Settings { temperature: Some(0.0), ..Settings::default() });
    assert_eq!(encode(&zero, &model("minimax")).0["temperature"], 0.01);
    assert_eq!(encode(&zero, &model("openai")).0["temperature"], 0.0);
}

#[test]
fn d8_d72_d85_d86_what_changes_the_answer_is_refused_by_name() {
    let few = |count: usize| with(Settings { stop: vec!["x".into(); count], ..Settings::default() });
    assert_eq!(encode(&few(4), &model("openai")).0["stop"].as_array().unwrap().len(), 4);
    assert_eq!(refusal_of(&few(5), &model("openai")), "stop");
    assert_eq!(refusal_of(&few(1), &refusing("xai", &["stop"])), "stop");
    assert_eq!(
        encode(&with(Settings { stop: vec![String::new()], ..Settings::default() }), &model("openai")).0.get("stop"),
        None
    );
    let penalty = |value| with(Settings { presence_penalty: Some(value), ..Settings::default() });
    let limited = refusing("xai", &["presence_penalty"]);
    assert_eq!(refusal_of(&penalty(0.5), &limited), "presence_penalty");
    assert_eq!(encode(&penalty(0.0), &limited).0.get("presence_penalty"), None);
    let several = || Settings { choices: Some(3), ..Settings::default() };
    assert_eq!(encode(&with(several()), &model("openai")).0["n"], 3);
    assert_eq!(refusal_of(&Conversation { stream: true, ..with(several()) }, &model("openai")), "n");
    assert_eq!(refusal_of(&with(several()), &Model { capabilities: Default::default(), ..model("openai") }), "n");
    assert_eq!(refusal_of(&with(Settings { logprobs: Some(2), ..Settings::default() }), &model("openai")), "logprobs");
}

#[test]
fn d92_streams_are_asked_for_usage_where_it_is_not_sent_anyway() {
    let stream = || Conversation { stream: true, ..ask() };
    let body = encode(&stream(), &model("openai")).0;
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
    assert_eq!(encode(&stream(), &model("openrouter")).0.get("stream_options"), None);
    assert_eq!(encode(&ask(), &model("openai")).0.get("stream"), None);
    assert_eq!(encode(&stream(), &model("minimax")).0["reasoning_split"], true);
}

#[test]
fn d74_d75_effort_stands_where_the_provider_reads_it() {
    let null = || Value::Null;
    let levels = [Effort::Low, Effort::High];
    let high = reasoning(Some(Effort::Xhigh), None);
    assert_eq!(thinks(&high, &thinking("openai", &levels)), (null(), json!("high"), null()));
    assert_eq!(thinks(&high, &thinking("openrouter", &levels)), (null(), null(), json!({"effort": "xhigh"})));
    let budget = reasoning(None, Some(5_000));
    assert_eq!(thinks(&budget, &thinking("openrouter", &levels)), (null(), null(), json!({"max_tokens": 5_000})));
    assert_eq!(thinks(&budget, &thinking("openai", &[Effort::Low, Effort::Medium])), (null(), json!("medium"), null()));
    assert_eq!(thinks(&ask(), &thinking("openai", &levels)), (null(), null(), null()));
}

#[test]
fn d74_models_that_know_on_and_off_take_the_switch() {
    let both = [Effort::None, Effort::High];
    for (provider, on) in [("moonshot", "enabled"), ("minimax", "adaptive")] {
        let model = thinking(provider, &both);
        let asked = |effort| thinks(&reasoning(Some(effort), None), &model);
        assert_eq!(asked(Effort::Medium), (json!({"type": on}), Value::Null, Value::Null), "{provider}");
        assert_eq!(asked(Effort::None), (json!({"type": "disabled"}), Value::Null, Value::Null), "{provider}");
    }
    let levels = thinking("moonshot", &[Effort::Low, Effort::High, Effort::Max]);
    let asked = thinks(&reasoning(Some(Effort::Max), None), &levels);
    assert_eq!(asked, (Value::Null, json!("max"), Value::Null));
}

#[test]
fn d78_a_model_that_always_thinks_is_not_told_to_stop() {
    for provider in ["moonshot", "minimax", "openai"] {
        let (body, dropped) = encode(&reasoning(Some(Effort::None), None), &thinking(provider, &[]));
        assert_eq!((body.get("thinking"), body.get("reasoning_effort")), (None, None), "{provider}");
        assert_eq!(dropped, ["reasoning_effort"], "{provider}");
    }
}

#[test]
fn d26_a_forced_tool_switches_thinking_off_where_it_can_be() {
    let forced = || Conversation { tools: vec![tool("f")], tool_choice: ToolChoice::Required, ..ask() };
    let off = (json!({"type": "disabled"}), Value::Null, Value::Null);
    assert_eq!(thinks(&forced(), &thinking("moonshot", &[Effort::None, Effort::High])), off);
    let untouched = (Value::Null, Value::Null, Value::Null);
    assert_eq!(thinks(&forced(), &thinking("moonshot", &[Effort::Low, Effort::High, Effort::Max])), untouched);
    assert_eq!(thinks(&forced(), &thinking("minimax", &[Effort::None, Effort::High])), untouched);
}
