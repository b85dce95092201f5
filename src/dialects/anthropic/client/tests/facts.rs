use aipipe_actors::catalogue::{Capabilities, Capability, Effort};
use serde_json::{Value, json};

use super::{body, scanned, talk, try_scan};
use crate::dialects::anthropic::client::scan::scan;
use crate::dialects::issued::Stored;

fn needs(extra: &Value) -> Capabilities {
    scanned(extra).facts().demand.needs
}

fn only(capabilities: &[Capability]) -> Capabilities {
    capabilities.iter().copied().collect()
}

#[test]
fn the_plain_facts() {
    let request = scanned(&json!({"stream": true, "temperature": null, "aipipe": {"explain": true}}));
    let facts = request.facts();
    assert_eq!(
        (&*facts.model, facts.demand.stream, facts.demand.output_limit, facts.demand.choices),
        ("auto", true, Some(100), 1)
    );
    assert!(facts.preferences.explain && facts.demand.parameters.is_empty() && facts.stored.is_empty());
    assert_eq!(facts.demand.needs, Capabilities::NONE);
}

#[test]
fn wrong_shapes_name_the_field() {
    for (text, param) in [
        ("[]", None),
        (r#"{"model":"m""#, None),
        (r#"{"messages":[{"role":"user","content":"x"}]}"#, Some("model")),
        (r#"{"model":"m","messages":[]}"#, Some("messages")),
        (r#"{"model":"m","messages":[7]}"#, Some("messages[0]")),
        (r#"{"model":"m","messages":[{"content":"x"}]}"#, Some("messages[0].role")),
        (r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"tool"}]}"#, Some("messages[1].role")),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}"#, Some("messages[0].content")),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image"}]}]}"#, Some("messages[0].content")),
        (r#"{"model":"m","model":"n","messages":[{"role":"user"}]}"#, Some("model")),
    ] {
        assert_eq!(try_scan(text).map(drop).unwrap_err().param.as_deref(), param, "{text}");
    }
    for (extra, param) in [
        (json!({"max_tokens": "9"}), "max_tokens"),
        (json!({"system": 7}), "system"),
        (json!({"tool_choice": "auto"}), "tool_choice"),
        (json!({"stop_sequences": "x"}), "stop_sequences"),
        (json!({"thinking": true}), "thinking"),
        (json!({"aipipe": {"what": 1}}), "aipipe.what"),
    ] {
        assert_eq!(try_scan(&body(&extra)).map(drop).unwrap_err().param.as_deref(), Some(param));
    }
}

#[test]
fn what_the_model_must_be_able_to_do() {
    let media = |block: Value| talk(&[json!([{"type": "text", "text": "look"}, block])]);
    let source = |kind: &str, source: Value| media(json!({"type": kind, "source": source}));
    let base64 = json!({"type": "base64", "media_type": "image/png", "data": "aa"});
    for (extra, expected) in [
        (source("image", base64.clone()), vec![Capability::Images]),
        (source("image", json!({"type": "url", "url": "https://x/y.png"})), vec![Capability::ImageUrl]),
        (source("document", base64.clone()), vec![Capability::Documents]),
        (source("document", json!({"type": "text", "media_type": "text/plain", "data": "x"})), vec![]),
        (
            source("document", json!({"type": "content", "content": [{"type": "image", "source": base64}]})),
            vec![Capability::Images],
        ),
        (json!({"tools": [{"name": "f", "input_schema": {}}]}), vec![Capability::Tools]),
        // Anthropic's own tools are nothing that a model must be able to call back for.
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), vec![]),
        (json!({"output_format": {"type": "json_schema", "schema": {}}}), vec![Capability::JsonSchema]),
        (json!({"output_config": {"format": {"type": "json_schema", "schema": {}}}}), vec![Capability::JsonSchema]),
        (talk(&[json!("hi"), json!("The answer is")]), vec![Capability::Prefill]),
    ] {
        assert_eq!(needs(&extra), only(&expected), "{extra}");
    }
    // A turn that paused in a tool of the provider's is resumed, not prefilled.
    let paused = json!([{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}]);
    assert_eq!(needs(&talk(&[json!("hi"), paused])), Capabilities::NONE);
}

#[test]
fn d33_images_within_results_count_as_images() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}});
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": [image]}]);
    let call = json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]);
    let extra = talk(&[json!("hi"), call, result]);
    assert_eq!(needs(&extra), only(&[Capability::Images, Capability::Tools]));
}

#[test]
fn parameters_go_by_their_chat_completions_names() {
    let extra = json!({
        "stop_sequences": ["", "x"], "tools": [{"name": "f", "input_schema": {}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "output_config": {"format": {"type": "json_schema", "schema": {}}, "effort": "low"},
        "temperature": 0.5, "top_k": 3, "metadata": {"user_id": "u"}, "service_tier": "auto",
    });
    let request = scanned(&extra);
    assert_eq!(request.facts().demand.parameters, ["stop", "tool_choice", "parallel_tool_calls", "response_format"]);
    assert_eq!(request.facts().demand.effort, Some(Effort::Low));
    let lax = json!({"stop_sequences": [], "tool_choice": {"type": "auto", "disable_parallel_tool_use": false}});
    assert!(scanned(&lax).facts().demand.parameters.is_empty());
}

#[test]
fn d76_a_budget_stands_for_an_effort() {
    for (thinking, effort) in [
        (json!({"type": "enabled", "budget_tokens": 1024}), Some(Effort::Low)),
        (json!({"type": "enabled", "budget_tokens": 8192}), Some(Effort::Medium)),
        (json!({"type": "enabled", "budget_tokens": 20_000}), Some(Effort::High)),
        (json!({"type": "adaptive"}), None),
        (json!({"type": "disabled"}), Some(Effort::None)),
    ] {
        assert_eq!(scanned(&json!({"thinking": thinking})).facts().demand.effort, effort, "{thinking}");
    }
}

#[test]
fn d59_what_is_stored_at_a_provider_is_named() {
    let extra = json!({
        "container": {"id": "container_1"},
        "messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "container_upload", "file_id": "file_2"},
        ]}],
    });
    let mut stored = scanned(&extra).facts().stored.clone();
    stored.sort();
    assert_eq!(stored, ["container_1", "file_1", "file_2"].map(Stored::thing));
    assert_eq!(scanned(&json!({"container": "container_2"})).facts().stored, [Stored::thing("container_2")]);
}

#[test]
fn the_ask_is_what_the_human_said_last() {
    let call = json!([{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]);
    let result = json!([
        {"type": "tool_result", "tool_use_id": "t", "content": "42"},
        {"type": "text", "text": "<system-reminder>the list is empty</system-reminder>"},
    ]);
    let first = json!([
        {"type": "text", "text": "<system-reminder>rules</system-reminder>"}, {"type": "text", "text": "Refactor it"},
    ]);
    let extra = talk(&[first, call.clone(), result, call, json!([{"type": "tool_result", "tool_use_id": "t"}])]);
    let text = body(&extra);
    let read = scan(text.as_bytes()).unwrap();
    let ask = read.found.ask();
    let view = ask.view();
    assert_eq!((view.current, view.user_turns, view.assistant_turns), ("Refactor it", 1, 2));
    assert_eq!(view.tool_results_since_ask, 2);

    // Words beside results are an ask, as where somebody interrupts.
    let interrupted = json!([{"type": "tool_result", "tool_use_id": "t"}, {"type": "text", "text": "Stop"}]);
    let text = body(&talk(&[json!("Go"), json!("ok"), interrupted]));
    let read = scan(text.as_bytes()).unwrap();
    let ask = read.found.ask();
    assert_eq!((ask.view().current, ask.view().tool_results_since_ask), ("Stop", 0));
}

#[test]
fn the_key_holds_all_that_decides_the_answer() {
    let hasher = crate::dialects::scan::PromptHasher::default();
    let key = |extra: &Value| scanned(extra).prompt_key(&hasher);
    let plain = key(&json!({}));
    assert_eq!(key(&json!({"aipipe": {"cache": "use"}, "metadata": {"user_id": "u"}, "model": "m"})), plain);
    for other in [json!({"max_tokens": 5}), json!({"system": "x"}), json!({"thinking": {"type": "adaptive"}})] {
        assert_ne!(key(&other), plain, "{other}");
    }
}
