use aipipe_actors::catalogue::{Capability, Effort};
use serde_json::{Value, json};

use super::{body, decoded, refused, try_scan};
use crate::dialects::conversation::{Media, Part, ResponseFormat, Role, ToolChoice};

/// The turns as roles and parts, shortly.
fn turns(input: Value) -> Vec<(Role, Vec<String>)> {
    let short = |part: &Part| match part {
        Part::Text(text) => format!("text {text}"),
        Part::Refusal(text) => format!("refusal {text}"),
        Part::ToolCall(call) => format!("call {} {} {}", call.id, call.name, call.arguments),
        Part::ToolResult(result) => format!("result {} {} {}", result.call_id, result.name, result.parts.len()),
        Part::Reasoning(thought) => format!("thought {} {:?}", thought.text, thought.opaque.as_ref().map(|o| &o.data)),
        other => format!("{other:?}"),
    };
    let decoded = decoded(json!({"input": input}));
    decoded.conversation.turns.iter().map(|turn| (turn.role, turn.parts.iter().map(short).collect())).collect()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[test]
fn d1_instructions_and_the_developers_messages_at_the_head_are_joined_in_order() {
    let head = json!({"instructions": "a", "input": [
        {"role": "system", "content": "b"}, {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "c"}]},
        user("hi"), {"role": "developer", "content": "d"}, user("go on")]});
    let conversation = decoded(head).conversation;
    assert_eq!(conversation.instructions, ["a", "b", "c"]);
    let roles: Vec<Role> = conversation.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::System, Role::User]);
}

#[test]
fn d13_every_item_that_others_know_is_read_and_no_other_passed_over() {
    let input = json!([
        user("hi"),
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAAAB"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1.0}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "raw \"text\""},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "1"}, {"type": "input_text", "text": "2"}]},
    ]);
    let answer: &[&str] = &[
        "thought hm None",
        "text yes",
        "refusal no",
        "call c1 f {\"a\":1.0}",
        "call c2 g {\"input\":\"raw \\\"text\\\"\"}",
    ];
    let expected: [(Role, &[&str]); 4] = [
        (Role::User, &["text hi"]),
        (Role::Assistant, answer),
        (Role::User, &["result c1 f 1"]),
        (Role::User, &["result c2 g 2"]),
    ];
    let read = turns(input);
    let read: Vec<(Role, Vec<&str>)> =
        read.iter().map(|(role, parts)| (*role, parts.iter().map(String::as_str).collect())).collect();
    let expected: Vec<(Role, Vec<&str>)> = expected.iter().map(|(role, parts)| (*role, parts.to_vec())).collect();
    assert_eq!(read, expected);
    for kind in ["web_search_call", "compaction", "item_reference", "computer_call"] {
        assert_eq!(
            refused(json!({"input": [{"type": kind, "id": "x", "status": "completed"}, user("hi")]})),
            "input[0].type"
        );
    }
    let part = json!([{"role": "user", "content": [{"type": "input_novelty"}]}]);
    assert_eq!(refused(json!({"input": part})), "input[0].content[0]");
}

#[test]
fn d14_a_text_is_one_message_of_the_user() {
    assert_eq!(turns(json!("hi")), turns(json!([user("hi")])));
}

#[test]
fn d19_strictness_that_is_left_out_stays_unset() {
    let tool =
        |strict: Value| json!({"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": strict});
    let read = decoded(json!({"tools": [tool(Value::Null), tool(json!(true)), tool(json!(false))]}));
    let strict: Vec<_> = read.conversation.tools.iter().map(|tool| tool.strict).collect();
    assert_eq!(strict, [None, Some(true), Some(false)]);
}

#[test]
fn d23_the_choice_of_tools_is_read_in_all_its_forms() {
    let tools = json!([{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]);
    let named = |name: &str| ToolChoice::Named(name.to_owned());
    let allowed = |names: &[&str], required| ToolChoice::Allowed {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        required,
    };
    let list = json!([{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}, {"type": "web_search"}]);
    for (choice, expected) in [
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (json!({"type": "function", "name": "f"}), named("f")),
        (json!({"type": "custom", "name": "g"}), named("g")),
        (json!({"type": "allowed_tools", "mode": "required", "tools": list}), allowed(&["f", "g"], true)),
        (json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}), ToolChoice::None),
    ] {
        let read = decoded(json!({"tools": tools, "tool_choice": choice}));
        assert_eq!(read.conversation.tool_choice, expected, "{choice}");
    }
    for choice in [json!("any"), json!({"type": "web_search"}), json!({"name": "f"}), json!({"type": "function"})] {
        assert_eq!(refused(json!({"tools": tools, "tool_choice": choice})), "tool_choice");
    }
}

#[test]
fn d31_a_result_without_its_call_is_refused() {
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    assert_eq!(refused(json!({"input": [user("hi"), result]})), "input[1].call_id");
}

#[test]
fn d38_a_custom_tool_is_a_function_of_one_text() {
    let tool = json!({"type": "custom", "name": "patch", "description": "Edits.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: LINE+"}});
    let conversation = decoded(json!({"tools": [tool]})).conversation;
    let tool = &conversation.tools[0];
    assert_eq!(tool.name, "patch");
    let description = tool.description.as_deref().unwrap();
    assert!(description.starts_with("Edits.") && description.ends_with("lark grammar:\nstart: LINE+"));
    let schema: Value = serde_json::from_str(tool.schema.as_ref().unwrap().get()).unwrap();
    assert_eq!((&schema["required"], &schema["properties"]["input"]["type"]), (&json!(["input"]), &json!("string")));
}

#[test]
fn d39_tools_that_a_provider_would_run_are_left_out_and_told() {
    let read =
        decoded(json!({"tools": [{"type": "web_search"}, {"type": "function", "name": "f"}, {"type": "local_shell"}]}));
    assert_eq!(
        (read.conversation.tools.len(), &*read.dropped),
        (1, &["tools.web_search".to_owned(), "tools.local_shell".to_owned()][..])
    );
}

#[test]
fn functions_in_groups_are_declared_beside_the_others() {
    let group = json!({"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}, {"type": "custom", "name": "note"}]});
    let clash = json!({"type": "function", "name": "crm__find"});
    let call = json!({"type": "function_call", "call_id": "c", "name": "find", "namespace": "crm", "arguments": "{}"});
    let read = decoded(
        json!({"tools": [clash, group], "input": [user("hi"), call, {"type": "function_call_output", "call_id": "c", "output": "x"}],
        "tool_choice": {"type": "function", "name": "find", "namespace": "crm"}}),
    );
    let names: Vec<&str> = read.conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["crm__find", "crm__find_", "crm__note"]);
    assert_eq!(read.conversation.tool_choice, ToolChoice::Named("crm__find_".to_owned()));
    assert!(matches!(&read.conversation.turns[1].parts[0], Part::ToolCall(call) if call.name == "crm__find_"));
}

#[test]
fn d41_the_format_of_the_answer_is_read() {
    let format = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true});
    let text = body(json!({"text": {"format": format, "verbosity": "low"}}));
    let request = try_scan(&text).unwrap();
    assert!(request.facts().demand.needs.contains(Capability::JsonSchema));
    let read = request.decode().unwrap().conversation;
    assert!(matches!(&read.format, ResponseFormat::JsonSchema { name, strict: Some(true), .. } if name == "n"));
    assert_eq!(read.hints, ["text.verbosity"]);
    assert!(matches!(
        decoded(json!({"text": {"format": {"type": "json_object"}}})).conversation.format,
        ResponseFormat::JsonObject
    ));
    assert_eq!(refused(json!({"text": {"format": {"type": "json_schema", "name": "n"}}})), "text.format.schema");
}

#[test]
fn d53_d57_images_and_files_are_read_by_data_and_by_address() {
    let content = json!([
        {"type": "input_image", "image_url": "data:image/jpg;base64,/9j/"}, {"type": "input_image", "image_url": "https://x/y.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"type": "input_file", "file_url": "https://x/y.pdf"}]);
    let text = body(json!({"input": [{"role": "user", "content": content}]}));
    let request = try_scan(&text).unwrap();
    for capability in [Capability::Images, Capability::ImageUrl, Capability::Documents] {
        assert!(request.facts().demand.needs.contains(capability));
    }
    let read = request.decode().unwrap().conversation;
    let [
        Part::Image(Media::Inline { media_type, .. }),
        Part::Image(Media::Url(_)),
        Part::Document { name, .. },
        Part::Document { media: Media::Url(_), .. },
    ] = &read.turns[0].parts[..]
    else {
        panic!("{:?}", read.turns)
    };
    assert_eq!((media_type.as_str(), name.as_deref()), ("image/jpeg", Some("a.pdf")));
}

#[test]
fn d74_the_effort_is_read_and_what_only_tunes_is_told() {
    let text = body(
        json!({"reasoning": {"effort": "xhigh", "summary": "auto"}, "store": true, "metadata": {"a": "b"}, "user": "u", "truncation": "disabled"}),
    );
    let request = try_scan(&text).unwrap();
    assert_eq!(request.facts().demand.effort, Some(Effort::Xhigh));
    assert_eq!(request.decode().unwrap().conversation.hints, ["store", "metadata", "user"]);
}

#[test]
fn d86_d90_what_no_other_dialect_can_do_is_refused() {
    assert_eq!(refused(json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2})), "logprobs");
    assert_eq!(refused(json!({"background": true})), "background");
    assert_eq!(refused(json!({"input": [user("hi"), {"role": "assistant", "content": "so far"}]})), "input");
}

#[test]
fn d94_a_null_is_an_absent_member_and_none_may_come_twice() {
    let nulls = json!({"tools": null, "instructions": null, "previous_response_id": null, "text": null, "reasoning": null, "background": null});
    assert!(decoded(nulls).conversation.tools.is_empty());
    for twice in [
        r#"{"model":"m","input":"a","input":"b"}"#,
        r#"{"model":"m","input":[{"type":"message","type":"item_reference","id":"x"}]}"#,
        r#"{"model":"m","input":[{"role":"user","content":"x","id":"a","id":"b"}]}"#,
        r#"{"model":"m","input":[{"type":"reasoning","encrypted_content":"a","encrypted_content":"b"}]}"#,
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"a","file_id":"b"}]}]}"#,
        r#"{"model":"m","input":"a","tools":[{"type":"function","type":"file_search","vector_store_ids":["x"]}]}"#,
    ] {
        assert!(try_scan(twice).is_err(), "{twice}");
    }
}

#[test]
fn a_telling_name_in_other_letters_is_refused() {
    for text in [
        r#"{"model":"m","input":"x","Previous_Response_Id":"resp_1"}"#,
        r#"{"model":"m","input":[{"Type":"item_reference","ID":"rs_1"}]}"#,
        r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_file","FILE_ID":"f"}]}]}"#,
        r#"{"model":"m","input":"x","tools":[{"TYPE":"file_search","vector_store_ids":["v"]}]}"#,
    ] {
        assert!(try_scan(text).is_err(), "{text}");
    }
    let escaped = r#"{"model":"m","input":"x","previous_response_\u0069d":"resp_1","tools":[{"type":"file_search","Vector_Store_Ids":["v"]}]}"#;
    let stored: Vec<String> =
        try_scan(escaped).unwrap().facts().stored.iter().map(|stored| stored.id.clone()).collect();
    assert_eq!(stored, ["v", "resp_1"]);
}
