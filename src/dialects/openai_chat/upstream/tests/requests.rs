//! Messages and tools.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::dialects::conversation::{Media, Opaque, ResponseFormat, Thought, ToolChoice};

fn messages(turns: Vec<Turn>, provider: &str) -> Value {
    encode(&talk(turns), &model(provider)).0["messages"].take()
}

fn inline(media_type: &str, bytes: &[u8]) -> Media {
    Media::Inline { media_type: media_type.into(), base64: STANDARD.encode(bytes) }
}

fn document(media_type: &str, bytes: &[u8], name: Option<&str>) -> Part {
    Part::Document { media: inline(media_type, bytes), name: name.map(str::to_owned) }
}

fn thought(text: &str, origin: &str, kind: &'static str, data: &str) -> Part {
    let opaque = Some(Opaque { origin: origin.into(), kind, data: data.into() });
    Part::Reasoning(Thought { text: text.into(), opaque })
}

#[test]
fn d1_d3_instructions_stand_in_order_and_in_their_place() {
    let conversation = Conversation {
        instructions: vec!["a".into(), "b".into()],
        turns: vec![
            turn(Role::User, vec![text("x")]),
            turn(Role::System, vec![text("c")]),
            Turn { name: Some("ann".into()), ..turn(Role::User, vec![text("y")]) },
        ],
        ..Conversation::default()
    };
    assert_eq!(
        encode(&conversation, &model("xai")).0["messages"],
        json!([
            {"role": "system", "content": "a"},
            {"role": "system", "content": "b"},
            {"role": "user", "content": "x"},
            {"role": "system", "content": "c"},
            {"role": "user", "name": "ann", "content": "y"},
        ])
    );
}

#[test]
fn d10_an_answer_of_which_nothing_is_left_is_left_out() {
    let foreign = thought("hm", "anthropic/c", "signature", "s");
    let turns = vec![
        turn(Role::User, vec![text("x")]),
        turn(Role::Assistant, vec![foreign]),
        turn(Role::User, vec![text("y")]),
    ];
    assert_eq!(messages(turns, "openai"), json!([{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]));
}

#[test]
fn d22_names_that_do_not_fit_are_changed_everywhere_and_come_back() {
    let long = format!("mcp__{}", "a".repeat(80));
    for own in ["server.tool", "größe", long.as_str()] {
        let conversation = Conversation {
            tools: vec![tool("fits"), tool(own)],
            tool_choice: ToolChoice::Named(own.into()),
            ..talk(vec![
                turn(Role::User, vec![text("x")]),
                turn(Role::Assistant, vec![call("c", own, "{}")]),
                turn(Role::User, vec![result("c", own, vec![text("r")])]),
            ])
        };
        let encoded = encoded(&conversation, &model("openai"));
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        let sent = body["tools"][1]["function"]["name"].as_str().unwrap();
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        assert!(sent.len() <= 64 && sent.chars().all(fits), "{sent}");
        assert_eq!(body["tools"][0]["function"]["name"], "fits");
        assert_eq!(body["tool_choice"]["function"]["name"], sent);
        assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], sent);
        assert_eq!(encoded.undo.original_name(sent), own);
        assert_eq!(encoded.undo.renamed.len(), 1);
    }
    let names = ["a.b", "a:b"].map(|name| {
        let conversation = Conversation { tools: vec![tool(name)], ..ask() };
        encode(&conversation, &model("openai")).0["tools"][0]["function"]["name"].clone()
    });
    assert_ne!(names[0], names[1]);
}

#[test]
fn d24_only_the_allowed_functions_are_sent() {
    let choose = |names: &[&str], required| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let tool_choice = ToolChoice::Allowed { names, required };
        let conversation = Conversation { tools: vec![tool("a"), tool("b")], tool_choice, ..ask() };
        let body = encode(&conversation, &model("openai")).0;
        let sent = body["tools"].as_array().into_iter().flatten();
        (sent.map(|tool| tool["function"]["name"].clone()).collect::<Vec<_>>(), body["tool_choice"].clone())
    };
    assert_eq!(choose(&["b"], true), (vec![json!("b")], json!("required")));
    assert_eq!(choose(&["a", "b"], false), (vec![json!("a"), json!("b")], Value::Null));
    // A choice without tools is refused by OpenAI.
    assert_eq!(choose(&[], false), (vec![], Value::Null));
    let none = ToolChoice::Allowed { names: vec!["absent".into()], required: true };
    let conversation = Conversation { tools: vec![tool("a")], tool_choice: none, ..ask() };
    assert_eq!(refusal_of(&conversation, &model("openai")), "tool_choice");
}

#[test]
fn d18_d23_d29_tools_and_schemas_are_written_as_they_came() {
    let schema = r#"{"type":"object","properties":{"b":{"maximum":1.0},"a":{"minimum":12345678901234567890123}},"required":["b","a"],"additionalProperties":false}"#;
    let conversation = Conversation {
        tools: vec![Tool { description: Some("d".into()), schema: Some(raw(schema)), strict: Some(true), ..tool("f") }],
        tool_choice: ToolChoice::Required,
        parallel_tool_calls: Some(false),
        format: ResponseFormat::JsonSchema {
            name: "n".into(),
            description: None,
            schema: raw(schema),
            strict: Some(true),
        },
        ..ask()
    };
    let body = String::from_utf8(encoded(&conversation, &model("openai")).body.to_vec()).unwrap();
    assert_eq!(body.matches(schema).count(), 2, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["tools"][0]["function"]["strict"], true);
    assert_eq!((&body["tool_choice"], &body["parallel_tool_calls"]), (&json!("required"), &json!(false)));
    assert_eq!(body["response_format"]["type"], "json_schema");
    let (body, dropped) = encode(&conversation, &model("moonshot"));
    assert_eq!(
        (&body["tools"][0]["function"]["strict"], dropped.contains(&"tools.strict".to_owned())),
        (&Value::Null, true)
    );
}

#[test]
fn what_a_model_says_it_refuses_of_tools_is_not_sent() {
    let forced = Conversation { tools: vec![tool("a")], tool_choice: ToolChoice::Required, ..ask() };
    assert_eq!(refusal_of(&forced, &refusing("moonshot", &["tool_choice"])), "tool_choice");
    // Without its tools it calls none either.
    let none = Conversation { tools: vec![tool("a")], tool_choice: ToolChoice::None, ..ask() };
    let body = encode(&none, &refusing("moonshot", &["tool_choice"])).0;
    assert_eq!((body.get("tools"), body.get("tool_choice")), (None, None));
    assert_eq!(encode(&none, &model("openai")).0["tool_choice"], "none");

    let several = |value| Conversation { tools: vec![tool("a")], parallel_tool_calls: Some(value), ..ask() };
    let limited = refusing("openai", &["parallel_tool_calls"]);
    assert_eq!(refusal_of(&several(false), &limited), "parallel_tool_calls");
    let (body, dropped) = encode(&several(true), &limited);
    assert_eq!((body.get("parallel_tool_calls"), dropped), (None, vec!["parallel_tool_calls".to_owned()]));
}

#[test]
fn d43_free_json_is_spoken_of_where_the_mode_is_asked_for() {
    let asked = |said: &str, format| {
        let turns = vec![turn(Role::User, vec![text(said)])];
        let conversation = Conversation { instructions: vec!["a".into()], format, ..talk(turns) };
        let body = encode(&conversation, &model("openai")).0;
        (
            body["response_format"]["type"].clone(),
            body["messages"].as_array().unwrap().len(),
            body["messages"][1].clone(),
        )
    };
    let (mode, messages, instruction) = asked("List them.", ResponseFormat::JsonObject);
    assert_eq!((mode, messages, &instruction["role"]), (json!("json_object"), 3, &json!("system")));
    assert!(instruction["content"].as_str().unwrap().contains("JSON"));
    assert_eq!(asked("List them as Json.", ResponseFormat::JsonObject).1, 2);
    assert_eq!(asked("List them.", ResponseFormat::Text).1, 2);
}

#[test]
fn d52_a_schema_fits_moonshot_and_stays_elsewhere() {
    let schema = r#"{"type":"object","properties":{"any":{},"n":{"type":"number","maximum":1.0}}}"#;
    let conversation = || Conversation {
        tools: vec![Tool { schema: Some(raw(schema)), ..tool("f") }],
        format: ResponseFormat::JsonSchema { name: "n".into(), description: None, schema: raw(schema), strict: None },
        ..ask()
    };
    let sent = |provider: &str| String::from_utf8(encoded(&conversation(), &model(provider)).body.to_vec()).unwrap();
    assert_eq!(sent("openai").matches(schema).count(), 2);
    let moonshot = sent("moonshot");
    assert_eq!((moonshot.matches(r#""any":{"anyOf":["#).count(), moonshot.matches(r#""maximum":1.0"#).count()), (2, 2));
}

#[test]
fn d28_arguments_are_text_and_never_empty() {
    for (given, sent) in [("", "{}"), (" ", "{}"), ("{\"a\":1.0}", "{\"a\":1.0}"), ("{broken", "{broken")] {
        let turns = vec![turn(Role::Assistant, vec![call("c", "f", given)])];
        assert_eq!(messages(turns, "openai")[0]["tool_calls"][0]["function"]["arguments"], sent);
    }
}

#[test]
fn d33_media_of_results_follow_all_results() {
    let image = || Part::Image(inline("image/png", b"x"));
    let calls = || turn(Role::Assistant, vec![call("1", "f", "{}"), call("2", "f", "{}")]);
    let one_turn = vec![
        calls(),
        turn(
            Role::User,
            vec![result("1", "f", vec![text("seen"), image()]), text("and"), result("2", "f", vec![image()])],
        ),
    ];
    // A client whose dialect has a message for each result gives a turn for each.
    let two_turns = vec![
        calls(),
        turn(Role::User, vec![result("1", "f", vec![text("seen"), image()]), text("and")]),
        turn(Role::User, vec![result("2", "f", vec![image()])]),
    ];
    for turns in [one_turn, two_turns] {
        let messages = messages(turns, "openai");
        let roles: Vec<&str> = messages.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["assistant", "tool", "tool", "user"]);
        assert_eq!((&messages[1]["content"], &messages[1]["tool_call_id"]), (&json!("seen"), &json!("1")));
        assert!(!messages[2]["content"].as_str().unwrap().is_empty());
        let kinds: Vec<&str> =
            messages[3]["content"].as_array().unwrap().iter().map(|part| part["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["image_url", "image_url", "text"]);
    }
}

#[test]
fn d34_a_failed_result_says_so() {
    let failed = Part::ToolResult(ToolResult {
        call_id: "1".into(),
        name: "f".into(),
        parts: vec![text("no such file")],
        is_error: true,
    });
    let turns = vec![turn(Role::Assistant, vec![call("1", "f", "{}")]), turn(Role::User, vec![failed])];
    assert_eq!(messages(turns, "openai")[1]["content"], "Error: no such file");
}

#[test]
fn d53_d57_d58_d60_media_stand_in_the_dialects_parts() {
    let parts = vec![
        text("see"),
        Part::Image(inline("image/png", b"x")),
        Part::Image(Media::Url("https://a/b.png".into())),
        document("application/pdf", b"%PDF-", Some("a.pdf")),
        document("text/plain", "größe".as_bytes(), Some("notes.txt")),
        document("application/json; charset=utf-8", b"{}", None),
        Part::Audio(inline("audio/mpeg", b"x")),
    ];
    assert_eq!(
        messages(vec![turn(Role::User, parts)], "openai")[0]["content"],
        json!([
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}},
            {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            {"type": "text", "text": "notes.txt\n\ngröße"},
            {"type": "text", "text": "{}"},
            {"type": "input_audio", "input_audio": {"data": "eA==", "format": "mp3"}},
        ])
    );
    for part in [
        Part::Image(Media::FileId("file-1".into())),
        Part::Document { media: Media::Url("https://a/b.pdf".into()), name: None },
        Part::Audio(inline("audio/ogg", b"x")),
        document("video/mp4", b"x", None),
        document("text/plain", &[0xff, 0xfe], None),
    ] {
        assert_eq!(refusal_of(&talk(vec![turn(Role::User, vec![part])]), &model("openai")), "messages");
    }
}

#[test]
fn d121_d124_thoughts_go_back_to_their_model_alone() {
    let turns = |origin: &str| {
        vec![turn(Role::Assistant, vec![thought("hm", origin, "signature", "s"), text("x"), call("1", "f", "{}")])]
    };
    let (body, dropped) = encode(&talk(turns("openrouter/m")), &model("openrouter"));
    assert_eq!(
        body["messages"][0]["reasoning_details"],
        json!([{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}])
    );
    assert_eq!(dropped, [""; 0]);
    let (body, dropped) = encode(&talk(turns("openrouter/other")), &model("openrouter"));
    assert_eq!((body["messages"][0].get("reasoning_details"), dropped), (None, vec!["reasoning".to_owned()]));

    let minimax = encode(&talk(turns("minimax/m")), &model("minimax")).0;
    assert_eq!(minimax["messages"][0]["reasoning_details"], json!([{"type": "reasoning.text", "text": "hm"}]));
    let moonshot = encode(&talk(turns("moonshot/m")), &model("moonshot")).0;
    assert_eq!(moonshot["messages"][0]["reasoning_content"], "hm");
}

#[test]
fn d126_a_call_bears_thoughts_where_the_model_thinks() {
    let calls = || talk(vec![turn(Role::Assistant, vec![call("1", "f", "{}")])]);
    let bears = |model: &Model| encode(&calls(), model).0["messages"][0].get("reasoning_content").is_some();
    assert!(bears(&thinking("moonshot", &[Effort::None, Effort::High])));
    let capabilities = Capability::ALL.into_iter().filter(|&one| one != Capability::Reasoning).collect();
    assert!(!bears(&Model { capabilities, ..model("moonshot") }));
    assert!(!bears(&model("openai")));
}

#[test]
fn d122_a_calls_signature_goes_back_to_its_model_alone() {
    let signed = |origin: &str| {
        let signature = Some(Opaque { origin: origin.into(), kind: "thought_signature", data: "s".into() });
        let call = ToolCall { id: "1".into(), name: "f".into(), arguments: "{}".into(), signature };
        encode(&talk(vec![turn(Role::Assistant, vec![Part::ToolCall(call)])]), &model("openai"))
    };
    let (body, dropped) = signed("openai/m");
    assert_eq!(body["messages"][0]["tool_calls"][0]["extra_content"], json!({"google": {"thought_signature": "s"}}));
    assert_eq!(dropped, [""; 0]);
    let (body, dropped) = signed("gemini/m");
    assert_eq!(
        (body["messages"][0]["tool_calls"][0].get("extra_content"), dropped),
        (None, vec!["thought_signature".to_owned()])
    );
}
