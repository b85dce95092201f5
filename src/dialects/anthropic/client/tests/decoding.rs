use aipipe_actors::catalogue::Effort;
use serde_json::{Value, json};

use super::{decoded, opaque, scanned, talk};
use crate::dialects::conversation::{Media, Part, Reasoning, ResponseFormat, Role, ToolChoice};

fn parts(content: Value) -> Vec<Part> {
    decoded(&talk(&[content])).conversation.turns.remove(0).parts
}

fn refused(extra: &Value) -> String {
    scanned(extra).decode().unwrap_err().param.unwrap()
}

#[test]
fn d14_d17_instructions_keep_their_order_and_lose_the_billing_line() {
    let system = json!([
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=00000;"},
        {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Rules."},
    ]);
    let decoded = decoded(&json!({"system": system}));
    assert_eq!(decoded.conversation.instructions, ["You are Claude Code.", "Rules."]);
    // D80: a mark of the cache is a hint.
    assert_eq!((decoded.conversation.hints, decoded.dropped), (vec!["cache_control"], Vec::new()));
    assert_eq!(super::decoded(&json!({"system": "Be brief."})).conversation.instructions, ["Be brief."]);
}

#[test]
fn d3_an_instruction_in_the_middle_stays_there() {
    let messages = json!([
        {"role": "user", "content": "hi"}, {"role": "system", "content": "Be brief."}, {"role": "user", "content": "go"},
    ]);
    let turns = decoded(&json!({"messages": messages})).conversation.turns;
    assert_eq!(turns.iter().map(|turn| turn.role).collect::<Vec<_>>(), [Role::User, Role::System, Role::User]);
}

#[test]
fn d9_d10_nothing_empty_is_carried_on() {
    let empty = json!([{"type": "text", "text": ""}, {"type": "thinking", "thinking": "", "signature": ""}]);
    let turns = decoded(&talk(&[json!("hi"), empty, json!("go"), json!([])])).conversation.turns;
    assert_eq!(turns.iter().map(|turn| turn.role).collect::<Vec<_>>(), [Role::User, Role::User]);
}

#[test]
fn d53_d56_d58_media() {
    let image = |source: Value| parts(json!([{"type": "image", "source": source}])).remove(0);
    let inline = |part: Part| match part {
        Part::Image(Media::Inline { media_type, base64 }) => (media_type, base64),
        other => panic!("{other:?}"),
    };
    let source = json!({"type": "base64", "media_type": "image/PNG", "data": "aGk\n="});
    assert_eq!(inline(image(source)), ("image/png".into(), "aGk=".into()));
    let by_url = image(json!({"type": "url", "url": "https://x/y"}));
    assert!(matches!(by_url, Part::Image(Media::Url(url)) if url == "https://x/y"));

    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
    let document = parts(json!([{"type": "document", "title": "a.pdf", "source": pdf}])).remove(0);
    assert!(matches!(document, Part::Document { name: Some(name), .. } if name == "a.pdf"));
    let plain = json!({"type": "text", "media_type": "text/plain", "data": "body"});
    let document = parts(json!([{"type": "document", "title": "T", "context": "C", "source": plain}])).remove(0);
    assert!(matches!(document, Part::Text(text) if text == "T\n\nC\n\nbody"));
    let found = json!([{"type": "search_result", "source": "https://x", "title": "T", "content": [{"type": "text", "text": "b"}]}]);
    assert_eq!(parts(found).len(), 2);
}

#[test]
fn d30_d32_d33_d34_results_find_their_calls() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}});
    let calls = json!([
        {"type": "tool_use", "id": "id_functions_2ef_3a0", "name": "f", "input": {"n": 10.0, "b": 12345678901234567890_u64}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ]);
    let results = json!([
        {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": "no"},
        {"type": "tool_result", "tool_use_id": "id_functions_2ef_3a0", "content": [{"type": "text", "text": "see"}, image]},
    ]);
    let turns = decoded(&talk(&[json!("hi"), calls, results])).conversation.turns;
    let [Part::ToolCall(call), Part::ToolCall(_)] = &turns[1].parts[..] else { panic!("{turns:?}") };
    assert_eq!((&*call.id, &*call.arguments), ("functions.f:0", r#"{"n":10.0,"b":12345678901234567890}"#));
    let [Part::ToolResult(failed), Part::ToolResult(seen)] = &turns[2].parts[..] else { panic!("{turns:?}") };
    assert_eq!((&*failed.call_id, &*failed.name, failed.is_error), ("toolu_2", "g", true));
    assert_eq!((&*seen.call_id, &*seen.name, seen.is_error, seen.parts.len()), ("functions.f:0", "f", false, 2));

    let lost = talk(&[json!([{"type": "tool_result", "tool_use_id": "nobody", "content": "x"}])]);
    assert_eq!(refused(&lost), "messages[0].content[0].tool_use_id");
}

#[test]
fn d121_d122_thoughts_and_signatures_have_their_origin() {
    let content = json!([
        {"type": "thinking", "thinking": "hm", "signature": "EooC"},
        {"type": "thinking", "thinking": "kimi", "signature": "aipipe:1:none::"},
        {"type": "redacted_thinking", "data": "aipipe:1:encrypted:openai/o:e:="},
        {"type": "redacted_thinking", "data": "Raw="},
        {"type": "redacted_thinking", "data": "aipipe:1:call:gemini/g:sig"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "tool_use", "id": "u", "name": "f", "input": {}},
    ]);
    let turns = decoded(&talk(&[json!("hi"), content])).conversation.turns;
    let mut thoughts = Vec::new();
    let mut signatures = Vec::new();
    for part in &turns[1].parts {
        match part {
            Part::Reasoning(thought) => thoughts.push((&*thought.text, thought.opaque.clone())),
            Part::ToolCall(call) => signatures.push(call.signature.clone()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        thoughts,
        [
            ("hm", Some(opaque("", "signature", "EooC"))),
            ("kimi", None),
            ("", Some(opaque("openai/o", "encrypted", "e:="))),
            ("", Some(opaque("", "redacted", "Raw="))),
        ]
    );
    assert_eq!(signatures, [Some(opaque("gemini/g", "thought_signature", "sig")), None]);
}

#[test]
fn d18_d20_d23_d27_functions_and_the_choice_among_them() {
    let tools = json!([
        {"name": "f", "description": "d", "input_schema": {"type": "object", "z": 1, "a": 2}, "strict": true},
        {"type": "custom", "name": "g", "input_schema": {"type": "object"}, "defer_loading": true},
    ]);
    for (choice, expected) in [
        (json!({"type": "auto"}), ToolChoice::Auto),
        (json!({"type": "any"}), ToolChoice::Required),
        (json!({"type": "tool", "name": "g"}), ToolChoice::Named("g".into())),
        (json!({"type": "none"}), ToolChoice::None),
    ] {
        let conversation = decoded(&json!({"tools": tools, "tool_choice": choice})).conversation;
        assert_eq!((conversation.tool_choice, conversation.parallel_tool_calls), (expected, None));
        assert_eq!(conversation.tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["f", "g"]);
        assert_eq!(conversation.tools[0].schema.as_ref().unwrap().get(), r#"{"type":"object","z":1,"a":2}"#);
        assert_eq!(conversation.tools[0].strict, Some(true));
    }
    let serial = json!({"tools": tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    assert_eq!(decoded(&serial).conversation.parallel_tool_calls, Some(false));
}

#[test]
fn d39_d40_anthropics_own_tools() {
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3});
    let function = json!({"name": "f", "input_schema": {"type": "object"}});
    let mixed = json!({"tools": [search, function]});
    let read = decoded(&mixed);
    assert_eq!((read.conversation.tools.len(), read.dropped), (1, vec!["tools.web_search_20250305".to_owned()]));
    let forced = json!({"tools": [search, function], "tool_choice": {"type": "tool", "name": "web_search"}});
    assert_eq!(refused(&forced), "tool_choice");
    assert_eq!(refused(&json!({"tools": [search], "tool_choice": {"type": "any"}})), "tool_choice");
    // The client runs these by a schema that only Claude was taught.
    for kind in
        ["bash_20250124", "text_editor_20250728", "computer_toolset_20260801", "browser_toolset_20260801", "new_1"]
    {
        assert_eq!(refused(&json!({"tools": [{"type": kind, "name": "x"}]})), "tools[0]");
    }
    // Of what Anthropic's tools left in the history the text between is kept.
    let history = json!([
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "u"}]},
        {"type": "text", "text": "found", "citations": [{"type": "web_search_result_location"}]},
    ]);
    let read = decoded(&talk(&[json!("hi"), history, json!("more")]));
    assert_eq!(read.conversation.turns[1].parts.len(), 1);
    assert_eq!(read.dropped, ["messages.server_tool_use", "messages.web_search_tool_result"]);
    assert_eq!(refused(&talk(&[json!([{"type": "hologram"}])])), "messages[0].content[0]");
}

#[test]
fn d41_both_spellings_of_a_schema() {
    let format = json!({"type": "json_schema", "schema": {"type": "object"}});
    for extra in [json!({"output_format": format}), json!({"output_config": {"format": format}})] {
        let ResponseFormat::JsonSchema { schema, strict, .. } = decoded(&extra).conversation.format else {
            panic!("no schema");
        };
        assert_eq!((schema.get(), strict), (r#"{"type":"object"}"#, Some(true)));
    }
    assert_eq!(refused(&json!({"output_format": {"type": "grammar"}})), "output_config.format");
}

#[test]
fn d74_thinking_and_effort() {
    for (extra, effort, budget_tokens) in [
        (json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}), None, Some(2000)),
        (json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}), Some(Effort::Xhigh), None),
        (json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}), Some(Effort::None), None),
        (json!({"output_config": {"effort": "medium"}}), Some(Effort::Medium), None),
        (json!({"thinking": {"type": "between_tools"}}), Some(Effort::None), None),
    ] {
        assert_eq!(decoded(&extra).conversation.reasoning, Some(Reasoning { effort, budget_tokens }), "{extra}");
    }
    assert_eq!(decoded(&json!({})).conversation.reasoning, None);
}

#[test]
fn d83_d91_d93_d94_hints_unknown_members_and_nulls() {
    let read = decoded(&json!({
        "metadata": {"user_id": "u"}, "service_tier": "auto", "context_management": {"edits": []}, "mcp_servers": [],
        "inference_geo": null, "system": null, "tools": null, "thinking": null, "temperature": 0.5, "top_k": 4,
        "stop_sequences": ["", "END"],
    }));
    assert_eq!(read.conversation.hints, ["metadata", "service_tier"]);
    assert_eq!(read.dropped, ["context_management", "mcp_servers"]);
    let settings = &read.conversation.settings;
    assert_eq!((settings.max_output_tokens, settings.temperature, settings.top_k), (Some(100), Some(0.5), Some(4)));
    assert_eq!(settings.stop, ["END"]);
}

#[test]
fn what_cannot_be_read_is_not_quoted() {
    let error = scanned(&json!({"tools": [{"name": "f", "description": ["secret"]}]})).decode().unwrap_err();
    assert!(!error.message.contains("secret"), "{}", error.message);
}
