//! Requests: limits, sampling, thinking, the form of the answer.

use aipipe_actors::catalogue::{Effort, Model, ReasoningControl};
use serde_json::{Value, json};

use super::ORIGIN;
use super::sample::{call, encode, encoded, model, raw, refusal_of, result, say, tool, turn, user, without_schemas};
use crate::dialects::conversation::{
    Conversation, Opaque, Part, Reasoning, ResponseFormat, Role, Settings, Thought, ToolChoice,
};

fn with(settings: Settings) -> Conversation {
    Conversation { settings, ..user("Hi") }
}

fn refusing(names: &[&str]) -> Model {
    let mut model = model();
    model.parameters.refuses = names.iter().map(|&name| name.to_owned()).collect();
    model
}

#[test]
fn the_output_limit_is_the_clients_at_most_the_models() {
    let limit = |max_output_tokens, model: &Model| {
        let (body, dropped) = encode(&with(Settings { max_output_tokens, ..Settings::default() }), model);
        (body["max_tokens"].as_u64().unwrap(), dropped)
    };
    assert_eq!(limit(None, &model()), (64_000, vec![]));
    assert_eq!(limit(Some(100), &model()), (100, vec![]));
    assert_eq!(limit(Some(100_000), &model()), (64_000, vec!["max_tokens".to_owned()]));
    let unknown = Model { max_output_tokens: 0, ..model() };
    assert_eq!(limit(None, &unknown), (8192, vec![]));
    assert_eq!(limit(Some(100_000), &unknown), (100_000, vec![]));
}

#[test]
fn temperature_fits_the_scale_and_goes_alone() {
    let settings = Settings { temperature: Some(1.7), top_p: Some(0.9), top_k: Some(5), ..Settings::default() };
    let (body, dropped) = encode(&with(settings), &model());
    assert_eq!((&body["temperature"], &body["top_p"], &body["top_k"]), (&json!(1.0), &Value::Null, &json!(5)));
    assert_eq!(dropped, ["temperature", "top_p"]);
    let (body, dropped) = encode(&with(Settings { top_p: Some(0.9), ..Settings::default() }), &model());
    assert_eq!((&body["top_p"], dropped.len()), (&json!(0.9), 0));
}

#[test]
fn sampling_that_the_model_refuses_is_dropped_and_named() {
    let settings = Settings { temperature: Some(0.5), top_p: Some(0.9), top_k: Some(5), ..Settings::default() };
    let (body, dropped) = encode(&with(settings), &refusing(&["temperature", "top_p", "top_k"]));
    assert_eq!(dropped, ["temperature", "top_p", "top_k"]);
    assert!(["temperature", "top_p", "top_k"].iter().all(|name| body[name].is_null()));
}

#[test]
fn hints_are_dropped_and_what_changes_the_answer_is_refused() {
    let hints = Settings {
        seed: Some(1),
        presence_penalty: Some(0.0),
        frequency_penalty: Some(0.0),
        choices: Some(1),
        ..Settings::default()
    };
    let conversation = Conversation { hints: vec!["user"], ..with(hints) };
    assert_eq!(encode(&conversation, &model()).1, ["user", "presence_penalty", "frequency_penalty", "seed"]);
    let refused = [
        (Settings { choices: Some(2), ..Settings::default() }, "n"),
        (Settings { logprobs: Some(0), ..Settings::default() }, "logprobs"),
        (Settings { presence_penalty: Some(0.5), ..Settings::default() }, "presence_penalty"),
        (Settings { frequency_penalty: Some(-0.5), ..Settings::default() }, "frequency_penalty"),
        (Settings { stop: vec!["\n".into()], ..Settings::default() }, "stop"),
    ];
    for (settings, field) in refused {
        assert_eq!(refusal_of(&with(settings), &model()), field);
    }
}

#[test]
fn stop_sequences_may_be_many_and_empty_ones_vanish() {
    let stop =
        |texts: &[&str]| with(Settings { stop: texts.iter().map(|&t| t.to_owned()).collect(), ..Settings::default() });
    let (body, _) = encode(&stop(&["a", "", "b", "c", "d", "e"]), &model());
    assert_eq!(body["stop_sequences"], json!(["a", "b", "c", "d", "e"]));
    assert!(encode(&stop(&[""]), &refusing(&["stop"])).0["stop_sequences"].is_null());
    assert_eq!(refusal_of(&stop(&["a"]), &refusing(&["stop"])), "stop");
}

fn thinking_model(reasoning: ReasoningControl, efforts: &[Effort]) -> Model {
    let mut model = model();
    model.parameters.reasoning = reasoning;
    model.parameters.efforts = efforts.to_vec();
    model
}

fn effort(effort: Effort) -> Conversation {
    Conversation { reasoning: Some(Reasoning { effort: Some(effort), budget_tokens: None }), ..user("Hi") }
}

fn budget(budget: u64) -> Conversation {
    Conversation { reasoning: Some(Reasoning { effort: None, budget_tokens: Some(budget) }), ..user("Hi") }
}

#[test]
fn efforts_become_budgets_below_the_output_limit() {
    let model = thinking_model(ReasoningControl::Budget, &[]);
    let tokens = |conversation: &Conversation| encode(conversation, &model).0["thinking"]["budget_tokens"].as_u64();
    assert_eq!(tokens(&effort(Effort::Minimal)), Some(1024));
    assert_eq!(tokens(&effort(Effort::Low)), Some(2048));
    assert_eq!(tokens(&effort(Effort::Medium)), Some(8192));
    assert_eq!(tokens(&effort(Effort::High)), Some(16_384));
    assert_eq!(tokens(&effort(Effort::Max)), Some(32_000));
    assert_eq!(tokens(&budget(10)), Some(1024));
    assert_eq!(tokens(&budget(5000)), Some(5000));
    assert_eq!(tokens(&budget(100_000)), Some(63_999));
    assert_eq!(tokens(&effort(Effort::None)), None);
    assert_eq!(tokens(&budget(0)), None);
}

#[test]
fn a_limit_too_small_to_think_in_switches_thinking_off() {
    let mut conversation = effort(Effort::High);
    conversation.settings.max_output_tokens = Some(1024);
    let (body, dropped) = encode(&conversation, &thinking_model(ReasoningControl::Budget, &[]));
    assert_eq!((&body["thinking"], dropped), (&Value::Null, vec!["reasoning_effort".to_owned()]));
}

#[test]
fn adaptive_models_get_the_nearest_effort_they_know() {
    let known = [Effort::Low, Effort::Medium, Effort::High, Effort::Max];
    let asked = |conversation: &Conversation| {
        let body = encode(conversation, &thinking_model(ReasoningControl::Adaptive, &known)).0;
        assert_eq!(body["thinking"], json!({"type": "adaptive", "display": "summarized"}));
        body["output_config"]["effort"].as_str().map(str::to_owned)
    };
    assert_eq!(asked(&effort(Effort::Xhigh)).as_deref(), Some("high"));
    assert_eq!(asked(&effort(Effort::Minimal)).as_deref(), Some("low"));
    assert_eq!(asked(&budget(2048)).as_deref(), Some("low"));
    assert_eq!(asked(&budget(8192)).as_deref(), Some("medium"));
    assert_eq!(asked(&budget(8193)).as_deref(), Some("high"));
    let open = Conversation { reasoning: Some(Reasoning::default()), ..user("Hi") };
    assert_eq!(asked(&open), None);
}

#[test]
fn no_reasoning_is_off_where_the_model_can_and_least_where_it_cannot() {
    let can = thinking_model(ReasoningControl::Adaptive, &[Effort::None, Effort::Low, Effort::High]);
    assert_eq!(encode(&effort(Effort::None), &can).0["thinking"], json!({"type": "disabled"}));
    let cannot = thinking_model(ReasoningControl::Adaptive, &[Effort::Low, Effort::High]);
    let body = encode(&effort(Effort::None), &cannot).0;
    assert_eq!((&body["thinking"]["type"], &body["output_config"]["effort"]), (&json!("adaptive"), &json!("low")));
}

#[test]
fn reasoning_asked_of_a_model_without_it_is_named() {
    assert_eq!(encode(&effort(Effort::High), &model()).1, ["reasoning_effort"]);
    assert!(encode(&effort(Effort::None), &model()).1.is_empty());
}

#[test]
fn a_forced_call_switches_budget_thinking_off_and_leaves_adaptive_on() {
    let conversation =
        Conversation { tools: vec![tool("f", None)], tool_choice: ToolChoice::Required, ..effort(Effort::High) };
    let (body, dropped) = encode(&conversation, &thinking_model(ReasoningControl::Budget, &[]));
    assert_eq!((&body["thinking"], dropped), (&Value::Null, vec!["reasoning_effort".to_owned()]));
    let (body, dropped) = encode(&conversation, &thinking_model(ReasoningControl::Adaptive, &[]));
    assert_eq!((&body["thinking"]["type"], dropped.len()), (&json!("adaptive"), 0));
}

#[test]
fn thinking_takes_no_other_temperature_than_one() {
    let settings = Settings { temperature: Some(0.5), top_k: Some(3), ..Settings::default() };
    let conversation = Conversation { settings, ..effort(Effort::High) };
    let (body, dropped) = encode(&conversation, &thinking_model(ReasoningControl::Budget, &[]));
    assert_eq!((&body["temperature"], &body["top_k"]), (&Value::Null, &Value::Null));
    assert_eq!(dropped, ["temperature", "top_k"]);
    let settings = Settings { temperature: Some(1.0), ..Settings::default() };
    let (body, _) =
        encode(&Conversation { settings, ..effort(Effort::High) }, &thinking_model(ReasoningControl::Budget, &[]));
    assert_eq!(body["temperature"], 1.0);
}

#[test]
fn in_a_tool_loop_budget_thinking_needs_the_models_own_thought() {
    let loop_of = |origin: &str| {
        let opaque = Opaque { origin: origin.into(), kind: "signature", data: "c2ln".into() };
        let thought = Part::Reasoning(Thought { text: "Hm".into(), opaque: Some(opaque) });
        Conversation {
            turns: vec![
                say(Role::User, "Q"),
                turn(Role::Assistant, vec![thought, call("t", "f", "{}")]),
                turn(Role::User, vec![result("t", "1")]),
            ],
            tools: vec![tool("f", None)],
            ..effort(Effort::High)
        }
    };
    let budget = thinking_model(ReasoningControl::Budget, &[]);
    assert_eq!(encode(&loop_of(ORIGIN), &budget).0["thinking"]["type"], "enabled");
    let mut further = loop_of(ORIGIN);
    further.turns.extend([turn(Role::Assistant, vec![call("u", "f", "{}")]), turn(Role::User, vec![result("u", "2")])]);
    assert_eq!(encode(&further, &budget).0["thinking"]["type"], "enabled");
    let mut ended = loop_of("anthropic/other");
    ended.turns.extend([say(Role::Assistant, "A"), say(Role::User, "R")]);
    assert_eq!(encode(&ended, &budget).0["thinking"]["type"], "enabled");
    let (body, dropped) = encode(&loop_of("anthropic/other"), &budget);
    assert_eq!((&body["thinking"], dropped), (&Value::Null, vec!["reasoning_effort".to_owned()]));
    let adaptive = thinking_model(ReasoningControl::Adaptive, &[]);
    assert_eq!(encode(&loop_of("anthropic/other"), &adaptive).0["thinking"]["type"], "adaptive");
}

const CLOSED: &str = r#"{"type":"object","properties":{"properties":{"type":"object","properties":{"n":{"type":"number"}},"required":["n"],"additionalProperties":false}},"required":["properties"],"additionalProperties":false}"#;
const OPEN: &str = r#"{"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"string"}}}"#;

fn formed(schema: &str, strict: Option<bool>) -> Conversation {
    let format = ResponseFormat::JsonSchema { name: "city".into(), description: None, schema: raw(schema), strict };
    Conversation { format, ..user("Hi") }
}

#[test]
fn d41_a_schema_goes_the_native_way_where_the_model_has_one() {
    for conversation in [formed(CLOSED, None), formed(CLOSED, Some(true)), formed(OPEN, Some(true))] {
        let encoded = encoded(&conversation, &model());
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(body["output_config"]["format"]["type"], "json_schema");
        assert_eq!(body["tools"], Value::Null);
        assert_eq!(encoded.undo.answer_tool, None);
    }
    let encoded = encoded(&formed(CLOSED, None), &model());
    assert!(std::str::from_utf8(&encoded.body).unwrap().contains(CLOSED));
}

#[test]
fn d42_else_the_answer_is_a_forced_call() {
    for (conversation, model) in [(formed(OPEN, None), model()), (formed(CLOSED, Some(true)), without_schemas())] {
        let encoded = encoded(&conversation, &model);
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(encoded.undo.answer_tool.as_deref(), Some("answer"));
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "answer", "disable_parallel_tool_use": true}));
        assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
        assert_eq!(body["output_config"], Value::Null);
    }
}

#[test]
fn d42_the_answer_tool_stands_beside_the_clients_functions() {
    let base = || Conversation { tools: vec![tool("answer", None)], ..formed(OPEN, None) };
    let encoded_as = |tool_choice| encoded(&Conversation { tool_choice, ..base() }, &model());
    let auto = encoded_as(ToolChoice::Auto);
    assert_eq!(auto.undo.answer_tool.as_deref(), Some("answer_2"));
    let body: Value = serde_json::from_slice(&auto.body).unwrap();
    assert_eq!(body["tool_choice"], json!({"type": "any"}));
    assert_eq!(body["tools"].as_array().unwrap().len(), 2);
    let body: Value = serde_json::from_slice(&encoded_as(ToolChoice::None).body).unwrap();
    assert_eq!(body["tool_choice"]["name"], "answer_2");
    let required = encoded_as(ToolChoice::Required);
    assert_eq!(required.undo.answer_tool, None);
}

#[test]
fn a_schema_that_no_arguments_follow_is_refused() {
    assert_eq!(refusal_of(&formed(r#"{"type":"array","items":{}}"#, None), &without_schemas()), "response_format");
}

#[test]
fn d43_free_json_is_asked_for_in_words() {
    let conversation =
        Conversation { format: ResponseFormat::JsonObject, instructions: vec!["A".into()], ..user("Hi") };
    let body = encode(&conversation, &model()).0;
    assert_eq!(body["system"][0]["text"], "A");
    assert!(body["system"][1]["text"].as_str().unwrap().contains("JSON object"));
}
