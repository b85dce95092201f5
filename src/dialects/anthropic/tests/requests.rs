//! Requests: messages, functions, media.

use serde_json::{Value, json};

use super::ORIGIN;
use super::sample::{call, encode, model, raw, refusal_of, result, say, tool, turn, user};
use crate::dialects::conversation::{Conversation, Media, Opaque, Part, Role, Settings, Thought, Tool, ToolChoice};

fn body(conversation: &Conversation) -> Value {
    encode(conversation, &model()).0
}

#[test]
fn the_call_is_addressed_and_versioned() {
    let encoded = super::sample::encoded(&user("Hi"), &model());
    assert_eq!(encoded.path, "/v1/messages");
    assert_eq!(encoded.headers["anthropic-version"], "2023-06-01");
    assert!(encoded.dropped.is_empty());
}

#[test]
fn a_plain_request_says_no_more_than_it_must() {
    let expected = json!({
        "model": "claude-test", "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    });
    assert_eq!(body(&user("Hi")), expected);
    assert_eq!(body(&Conversation { stream: true, ..user("Hi") })["stream"], true);
}

#[test]
fn instructions_stay_several_and_in_order() {
    let conversation = Conversation { instructions: vec!["One.".into(), " ".into(), "Two.".into()], ..user("Hi") };
    assert_eq!(
        body(&conversation)["system"],
        json!([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}])
    );
}

#[test]
fn an_instruction_in_the_middle_stays_at_its_place_in_the_users_words() {
    let conversation = Conversation {
        turns: vec![
            say(Role::User, "A"),
            say(Role::Assistant, "B"),
            say(Role::System, "Be brief."),
            say(Role::User, "C"),
        ],
        ..Conversation::default()
    };
    let messages = &body(&conversation)["messages"];
    assert_eq!(messages.as_array().unwrap().len(), 3);
    assert_eq!(messages[2]["content"][0]["text"], "<system_note>\nBe brief.\n</system_note>");
    assert_eq!(messages[2]["content"][1]["text"], "C");
}

#[test]
fn d5_d6_turns_of_one_role_merge_and_results_open_the_users_message() {
    let conversation = Conversation {
        turns: vec![
            say(Role::User, "A"),
            turn(Role::Assistant, vec![call("t1", "f", "{}"), call("t2", "f", "{}")]),
            say(Role::User, "wait"),
            turn(Role::User, vec![result("t1", "1")]),
            turn(Role::User, vec![result("t2", "2")]),
            say(Role::User, "go on"),
        ],
        tools: vec![tool("f", None)],
        ..Conversation::default()
    };
    let messages = &body(&conversation)["messages"];
    assert_eq!(messages.as_array().unwrap().len(), 3);
    let kinds: Vec<&str> =
        messages[2]["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["tool_result", "tool_result", "text", "text"]);
    assert_eq!(
        messages[2]["content"][1],
        json!({"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "2"}]})
    );
}

#[test]
fn d7_text_after_a_call_moves_before_it() {
    let assistant = vec![call("t1", "f", "{}"), Part::Text("Let me see.".into())];
    let conversation = Conversation {
        turns: vec![say(Role::User, "A"), turn(Role::Assistant, assistant), turn(Role::User, vec![result("t1", "1")])],
        tools: vec![tool("f", None)],
        ..Conversation::default()
    };
    let content = &body(&conversation)["messages"][1]["content"];
    assert_eq!((content[0]["type"].as_str(), content[1]["type"].as_str()), (Some("text"), Some("tool_use")));
}

#[test]
fn d9_d10_empty_text_and_empty_turns_vanish_and_their_neighbours_meet() {
    let conversation = Conversation {
        turns: vec![
            say(Role::User, "A"),
            turn(Role::Assistant, vec![Part::Text(String::new()), Part::Text(" \n".into())]),
            turn(Role::User, vec![result("t1", "1"), Part::Text("B".into())]),
        ],
        tools: vec![tool("f", None)],
        ..Conversation::default()
    };
    let messages = &body(&conversation)["messages"];
    assert_eq!(messages.as_array().unwrap().len(), 1);
    assert_eq!(messages[0]["content"][0]["type"], "tool_result");
}

#[test]
fn a_conversation_without_content_is_refused() {
    let conversation = Conversation { instructions: vec!["Be brief.".into()], ..Conversation::default() };
    assert_eq!(refusal_of(&conversation, &model()), "messages");
}

#[test]
fn d12_a_last_assistant_message_is_continued_only_by_models_that_can() {
    let conversation = Conversation {
        turns: vec![say(Role::User, "A"), say(Role::Assistant, "Once upon \n")],
        ..Conversation::default()
    };
    assert_eq!(body(&conversation)["messages"][1]["content"][0]["text"], "Once upon");
    let mut cannot = model();
    cannot.capabilities = super::sample::without_prefill();
    assert_eq!(refusal_of(&conversation, &cannot), "messages");
}

#[test]
fn d11_speakers_names_stand_before_their_words() {
    let mut conversation = user("Hi");
    conversation.turns[0].name = Some("Ada".into());
    assert_eq!(body(&conversation)["messages"][0]["content"][0]["text"], "Ada: Hi");
}

#[test]
fn refusals_in_the_history_are_text() {
    let conversation = Conversation {
        turns: vec![
            say(Role::User, "A"),
            turn(Role::Assistant, vec![Part::Refusal("No.".into())]),
            say(Role::User, "B"),
        ],
        ..Conversation::default()
    };
    assert_eq!(body(&conversation)["messages"][1]["content"], json!([{"type": "text", "text": "No."}]));
}

fn thought(origin: &str, kind: &'static str, text: &str) -> Part {
    let opaque = Opaque { origin: origin.into(), kind, data: "c2ln".into() };
    Part::Reasoning(Thought { text: text.into(), opaque: Some(opaque) })
}

#[test]
fn only_the_models_own_thoughts_return_and_unchanged() {
    let parts = vec![
        thought(ORIGIN, "signature", "Hm.  "),
        thought(ORIGIN, "signature", ""),
        thought(ORIGIN, "redacted", ""),
        thought("anthropic/claude-other", "signature", "foreign"),
        thought("", "signature", "unknown"),
        Part::Reasoning(Thought { text: "unsigned".into(), opaque: None }),
        Part::Text("A".into()),
    ];
    let conversation = Conversation {
        turns: vec![say(Role::User, "Q"), turn(Role::Assistant, parts), say(Role::User, "R")],
        ..Conversation::default()
    };
    assert_eq!(
        body(&conversation)["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "Hm.  ", "signature": "c2ln"},
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "c2ln"},
            {"type": "text", "text": "A"},
        ])
    );
}

#[test]
fn d28_d29_arguments_keep_their_spelling_and_are_always_an_object() {
    let spelled = r#"{"big":12345678901234567890123,"one":1.0,"z":1,"a":2}"#;
    let parts = ["", spelled, "{\"half\":", "[1]", "\"text\""].map(|arguments| call("t", "f", arguments)).to_vec();
    let conversation = Conversation {
        turns: vec![say(Role::User, "Q"), turn(Role::Assistant, parts), turn(Role::User, vec![result("t", "")])],
        tools: vec![tool("f", None)],
        ..Conversation::default()
    };
    let encoded = super::sample::encoded(&conversation, &model());
    let text = std::str::from_utf8(&encoded.body).unwrap();
    assert!(text.contains(&format!("\"input\":{spelled}")), "{text}");
    let content: Value = serde_json::from_str(text).unwrap();
    let inputs: Vec<&Value> =
        content["messages"][1]["content"].as_array().unwrap().iter().map(|block| &block["input"]).collect();
    assert_eq!(inputs[0], &json!({}));
    assert_eq!(inputs[2], &json!({"_raw": "{\"half\":"}));
    assert_eq!(inputs[3], &json!({"_raw": "[1]"}));
    assert_eq!(inputs[4], &json!({"_raw": "\"text\""}));
}

#[test]
fn d30_ids_are_made_valid_and_calls_still_find_their_results() {
    let ids = ["functions.name:0", "functions_name_0", "", "id_x", "call_ok-1"];
    let calls = ids.map(|id| call(id, "f", "{}")).to_vec();
    let results = ids.map(|id| result(id, "r")).to_vec();
    let conversation = Conversation {
        turns: vec![say(Role::User, "Q"), turn(Role::Assistant, calls), turn(Role::User, results)],
        tools: vec![tool("f", None)],
        ..Conversation::default()
    };
    let body = body(&conversation);
    let column = |message: usize, field: &str| -> Vec<String> {
        let blocks = body["messages"][message]["content"].as_array().unwrap().iter();
        blocks.map(|block| block[field].as_str().unwrap().to_owned()).collect()
    };
    let (called, answered) = (column(1, "id"), column(2, "tool_use_id"));
    assert_eq!(called, answered);
    assert_eq!(called[4], "call_ok-1");
    let distinct: std::collections::HashSet<&String> = called.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    assert!(
        called.iter().all(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)))
    );
}

#[test]
fn failed_results_and_images_in_results_are_carried() {
    let png = Media::Inline { media_type: "image/png".into(), base64: "iVBORw0KGgoAAAANSUhEUg==".into() };
    let mut failed = result("t", "boom");
    if let Part::ToolResult(result) = &mut failed {
        result.is_error = true;
        result.parts.push(Part::Image(png));
    }
    let conversation = Conversation {
        turns: vec![
            say(Role::User, "Q"),
            turn(Role::Assistant, vec![call("t", "f", "{}")]),
            turn(Role::User, vec![failed]),
        ],
        tools: vec![tool("f", None)],
        ..Conversation::default()
    };
    let result = &body(&conversation)["messages"][2]["content"][0];
    assert_eq!(result["is_error"], true);
    assert_eq!(result["content"][1]["source"]["media_type"], "image/png");
}

fn with_part(part: Part) -> Conversation {
    Conversation { turns: vec![turn(Role::User, vec![part])], ..Conversation::default() }
}

fn inline(media_type: &str, base64: &str) -> Media {
    Media::Inline { media_type: media_type.into(), base64: base64.into() }
}

#[test]
fn d55_images_go_by_what_their_bytes_say() {
    let source = |media: Media| body(&with_part(Part::Image(media)))["messages"][0]["content"][0]["source"].clone();
    let jpeg = "/9j/4AAQSkZJRgABAQAAAQ==";
    assert_eq!(source(inline("image/jpg", jpeg)), json!({"type": "base64", "media_type": "image/jpeg", "data": jpeg}));
    assert_eq!(source(inline("application/octet-stream", jpeg))["media_type"], "image/jpeg");
    assert_eq!(source(inline("image/png", jpeg))["media_type"], "image/jpeg");
    assert_eq!(source(inline("image/gif", "AAAA"))["media_type"], "image/gif");
    assert_eq!(source(inline("", "UklGRiQAAABXRUJQVlA4IA=="))["media_type"], "image/webp");
    assert_eq!(source(Media::Url("https://x/y.png".into())), json!({"type": "url", "url": "https://x/y.png"}));
}

#[test]
fn documents_are_pdf_text_or_an_address() {
    let block = |media: Media| {
        let part = Part::Document { media, name: Some("n".into()) };
        body(&with_part(part))["messages"][0]["content"][0].clone()
    };
    let pdf = block(inline("application/octet-stream", "JVBERi0xLjQK"));
    assert_eq!(pdf["source"]["media_type"], "application/pdf");
    assert_eq!(pdf["title"], "n");
    let text = block(inline("text/markdown; charset=utf-8", "SGkgw6k="));
    assert_eq!(text["source"], json!({"type": "text", "media_type": "text/plain", "data": "Hi é"}));
    assert_eq!(block(Media::Url("https://x/y.pdf".into()))["source"]["type"], "url");
}

#[test]
fn media_without_a_counterpart_is_refused() {
    let refused = [
        Part::Audio(inline("audio/wav", "AAAA")),
        Part::Image(inline("image/bmp", "Qk0AAAAA")),
        Part::Image(Media::FileId("file-1".into())),
        Part::Document { media: Media::FileId("file-1".into()), name: None },
        Part::Document { media: inline("application/zip", "UEsDBA=="), name: None },
        Part::Document { media: inline("text/plain", "////"), name: None },
    ];
    for part in refused {
        assert_eq!(refusal_of(&with_part(part), &model()), "messages");
    }
}

fn with_tools(names: &[&str], choice: ToolChoice) -> Conversation {
    let tools = names.iter().map(|name| tool(name, Some(r#"{"type":"object"}"#))).collect();
    Conversation { tools, tool_choice: choice, ..user("Hi") }
}

#[test]
fn choices_have_their_words() {
    let choice = |choice| body(&with_tools(&["f", "g"], choice))["tool_choice"].clone();
    assert_eq!(choice(ToolChoice::Auto), Value::Null);
    assert_eq!(choice(ToolChoice::None), json!({"type": "none"}));
    assert_eq!(choice(ToolChoice::Required), json!({"type": "any"}));
    assert_eq!(choice(ToolChoice::Named("g".into())), json!({"type": "tool", "name": "g"}));
}

#[test]
fn functions_that_are_not_allowed_are_not_declared() {
    let allowed = |required| ToolChoice::Allowed { names: vec!["g".into()], required };
    let body = |required| body(&with_tools(&["f", "g"], allowed(required)));
    assert_eq!(body(false)["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body(false)["tools"][0]["name"], "g");
    assert_eq!(body(false)["tool_choice"], Value::Null);
    assert_eq!(body(true)["tool_choice"]["type"], "any");
}

#[test]
fn one_call_at_a_time_is_said_in_the_choice() {
    let choice = |choice| {
        let conversation = Conversation { parallel_tool_calls: Some(false), ..with_tools(&["f"], choice) };
        body(&conversation)["tool_choice"].clone()
    };
    assert_eq!(choice(ToolChoice::Auto), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(choice(ToolChoice::Required), json!({"type": "any", "disable_parallel_tool_use": true}));
    assert_eq!(choice(ToolChoice::None), json!({"type": "none"}));
    let none = Conversation { parallel_tool_calls: Some(false), ..user("Hi") };
    assert_eq!(body(&none)["tool_choice"], Value::Null);
}

#[test]
fn a_choice_without_its_function_is_refused() {
    let cases = [(vec![], ToolChoice::Required), (vec!["f"], ToolChoice::Named("g".into()))];
    for (names, choice) in cases {
        assert_eq!(refusal_of(&with_tools(&names, choice), &model()), "tool_choice");
    }
}

#[test]
fn d25_a_history_of_calls_is_declared_though_none_may_be_called() {
    let conversation = Conversation {
        turns: vec![
            say(Role::User, "Q"),
            turn(Role::Assistant, vec![call("t1", "f", "{}"), call("t2", "f", "{}")]),
            turn(Role::User, vec![result("t1", "1"), result("t2", "2")]),
        ],
        ..Conversation::default()
    };
    let body = body(&conversation);
    assert_eq!(body["tools"], json!([{"name": "f", "input_schema": {"type": "object"}}]));
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn d20_schemas_get_an_object_at_their_root_and_keep_their_spelling() {
    let schema = |schema: Option<&str>| {
        let conversation = Conversation { tools: vec![tool("f", schema)], ..user("Hi") };
        let encoded = super::sample::encoded(&conversation, &model());
        let text = String::from_utf8(encoded.body.to_vec()).unwrap();
        let (_, rest) = text.split_once("\"input_schema\":").unwrap();
        rest.split_once("}]").unwrap().0.to_owned()
    };
    for none in [None, Some("{}"), Some("{ }"), Some("null")] {
        assert_eq!(schema(none), r#"{"type":"object"}"#, "{none:?}");
    }
    let given = r#"{"z":1.0,"type":"object","properties":{"b":{},"a":{}}}"#;
    assert_eq!(schema(Some(given)), given);
    assert_eq!(schema(Some(r#"{"properties":{"type":{}}}"#)), r#"{"type":"object","properties":{"type":{}}}"#);
}

#[test]
fn d21_strictness_is_kept_or_refused() {
    let strict = |count: usize| {
        let tools = (0..count).map(|n| {
            let mut tool = tool(&format!("f{n}"), None);
            tool.strict = Some(true);
            tool
        });
        Conversation { tools: tools.collect(), ..user("Hi") }
    };
    let body = body(&strict(1));
    assert_eq!(body["tools"][0]["strict"], true);
    assert_eq!(body["tools"][0]["input_schema"]["additionalProperties"], false);
    assert_eq!(refusal_of(&strict(21), &model()), "tools");
    assert_eq!(refusal_of(&strict(1), &super::sample::without_schemas()), "tools");
}

#[test]
fn d21_strict_schemas_beyond_anthropics_limits_are_refused() {
    let properties = |count: usize, schema: &str| {
        let all: Vec<String> = (0..count).map(|n| format!("\"p{n}\":{schema}")).collect();
        all.join(",")
    };
    let object = |properties: &str, rest: &str| format!(r#"{{"type":"object","properties":{{{properties}}}{rest}}}"#);
    let required = |count: usize| {
        format!(r#","required":[{}]"#, (0..count).map(|n| format!("\"p{n}\"")).collect::<Vec<_>>().join(","))
    };
    let union = r#"{"type":["string","null"]}"#;
    let tree = r##"{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}},"required":["next"],"$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}},"required":["next"]}}}"##;
    let twice = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"$ref":"#/$defs/n"}},"required":["a","b"],"$defs":{"n":{"type":"string"}}}"##;
    for (schema, fits) in [
        (object(&properties(24, r#"{"type":"string"}"#), ""), true),
        (object(&properties(25, r#"{"type":"string"}"#), ""), false),
        (object(&properties(25, r#"{"type":"string"}"#), &required(25)), true),
        (object(&properties(16, union), &required(16)), true),
        (object(&properties(17, union), &required(17)), false),
        (object(&properties(17, r#"{"anyOf":[{"type":"string"}]}"#), &required(17)), false),
        (twice.to_owned(), true),
        (tree.to_owned(), false),
    ] {
        let strict = |strict| {
            let tool = Tool { strict: Some(strict), ..tool("f", Some(&schema)) };
            Conversation { tools: vec![tool], ..user("Hi") }
        };
        // What was promised to the client is not taken back; what was not need not be kept.
        assert_eq!(body(&strict(false))["tools"][0].get("strict"), None);
        match fits {
            true => assert_eq!(body(&strict(true))["tools"][0]["strict"], true, "{schema}"),
            false => assert_eq!(refusal_of(&strict(true), &model()), "tools", "{schema}"),
        }
    }
    // References that multiply are walked once.
    let defs: Vec<String> = (0..60)
        .map(|n| format!(r##""d{n}":{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d{m}"}},"b":{{"$ref":"#/$defs/d{m}"}}}},"required":["a","b"]}}"##, m = n + 1))
        .collect();
    let many = format!(
        r##"{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d0"}}}},"required":["a"],"$defs":{{{},"d60":{{"type":"string"}}}}}}"##,
        defs.join(",")
    );
    let tool = Tool { strict: Some(true), ..tool("f", Some(&many)) };
    assert_eq!(body(&Conversation { tools: vec![tool], ..user("Hi") })["tools"][0]["strict"], true);
}

#[test]
fn names_are_reversible_in_declaration_choice_and_history() {
    let long = "x".repeat(200);
    let names = ["fs.read", "fs_read", "fs:read", long.as_str(), "größe"];
    let mut conversation = with_tools(&names, ToolChoice::Named("fs.read".into()));
    conversation.turns.extend([
        turn(Role::Assistant, vec![call("t", "fs:read", "{}"), call("u", "old tool", "{}")]),
        turn(Role::User, vec![result("t", "1"), result("u", "2")]),
    ]);
    let (body, undo) = {
        let encoded = super::sample::encoded(&conversation, &model());
        (serde_json::from_slice::<Value>(&encoded.body).unwrap(), encoded.undo)
    };
    let sent: Vec<&str> = body["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    let valid = |name: &&str| {
        (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    assert!(sent.iter().all(valid), "{sent:?}");
    assert_eq!(sent.iter().map(|name| undo.original_name(name)).collect::<Vec<_>>(), names);
    assert_eq!(sent[1], "fs_read");
    assert_eq!(body["tool_choice"]["name"], sent[0]);
    assert_eq!(body["messages"][1]["content"][0]["name"], sent[2]);
    assert_eq!(undo.original_name(body["messages"][1]["content"][1]["name"].as_str().unwrap()), "old tool");
}

#[test]
fn valid_names_need_no_undoing() {
    let encoded = super::sample::encoded(&with_tools(&["f", "answer"], ToolChoice::Auto), &model());
    assert_eq!(encoded.undo, crate::dialects::translate::Undo::default());
}

#[test]
fn descriptions_and_settings_of_tools_are_carried() {
    let mut conversation = Conversation { settings: Settings::default(), ..user("Hi") };
    let mut declared = tool("f", None);
    declared.description = Some("Does f.".into());
    declared.schema = Some(raw(r#"{"type":"object"}"#));
    conversation.tools.push(declared);
    assert_eq!(body(&conversation)["tools"][0]["description"], "Does f.");
}

/// Names and ids that clients and other providers' models may come up with.
fn any_word() -> impl proptest::strategy::Strategy<Value = String> {
    proptest::string::string_regex("(id_)?[a-c_.:é-]{0,5}").unwrap()
}

proptest::proptest! {
    #[test]
    fn any_two_ids_stay_two(first in any_word(), second in any_word()) {
        let conversation = Conversation {
            turns: vec![say(Role::User, "Q"), turn(Role::Assistant, vec![call(&first, "f", "{}"), call(&second, "f", "{}")]), say(Role::User, "R")],
            ..Conversation::default()
        };
        let content = &body(&conversation)["messages"][1]["content"];
        proptest::prop_assert_eq!(content[0]["id"] == content[1]["id"], first == second);
    }

    #[test]
    fn any_names_are_valid_distinct_and_reversible(names in proptest::collection::hash_set(any_word(), 1..8)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let encoded = super::sample::encoded(&with_tools(&names, ToolChoice::Auto), &model());
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        let sent: Vec<&str> = body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        for (name, original) in sent.iter().zip(&names) {
            proptest::prop_assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
            proptest::prop_assert_eq!(encoded.undo.original_name(name), *original);
        }
        let distinct: std::collections::HashSet<&&str> = sent.iter().collect();
        proptest::prop_assert_eq!(distinct.len(), names.len());
    }
}
