#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use aipipe_actors::catalogue::{Capability, Effort};
use serde_json::{Value, json};

use super::GeminiApi;
use crate::dialects::client::{Addressed, ClientRequest, ClientSurface, Frame};
use crate::dialects::conversation::{
    Answer, Choice, Event, Media, Part, ResponseFormat, Role, Stop, ToolCall, ToolChoice,
};

fn scan(body: &str) -> Box<dyn ClientRequest + '_> {
    let addressed = Addressed { model: Some("auto"), stream: false };
    GeminiApi.scan(body.as_bytes(), &addressed).unwrap()
}

#[test]
fn d16_d61_d84_a_request_is_read_in_both_spellings() {
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "maxOutputTokens": 9, "stopSequences": ["x"], "thinkingConfig": {"thinkingBudget": 0}, "mediaResolution": "LOW",
            "responseMimeType": "application/json", "responseSchema": {"type": "STRING"},
        },
        "safetySettings": [],
    });
    let snake = camel
        .to_string()
        .replace("systemInstruction", "system_instruction")
        .replace("inlineData", "inline_data")
        .replace("mimeType", "mime_type")
        .replace("maxOutputTokens", "max_output_tokens")
        .replace("responseSchema", "response_schema");
    for body in [camel.to_string(), snake] {
        let request = scan(&body);
        let facts = request.facts();
        for need in [Capability::Tools, Capability::Images, Capability::JsonSchema] {
            assert!(facts.demand.needs.contains(need), "{need:?}");
        }
        assert_eq!(facts.demand.parameters, ["stop", "response_format", "tool_choice"]);
        assert_eq!((facts.demand.output_limit, facts.demand.effort), (Some(9), Some(Effort::None)));
        let read = request.decode().unwrap();
        let conversation = read.conversation;
        assert_eq!(conversation.instructions, ["Be brief."]);
        let parts = &conversation.turns[0].parts;
        assert!(matches!(&parts[0], Part::Text(text) if text == "Hello"));
        assert!(matches!(&parts[1], Part::Image(Media::Inline { media_type, .. }) if media_type == "image/png"));
        assert_eq!(conversation.tools[0].schema.as_ref().unwrap().get(), r#"{"type":"object"}"#);
        assert_eq!(conversation.tool_choice, ToolChoice::Required);
        let ResponseFormat::JsonSchema { schema, .. } = conversation.format else { panic!("no schema") };
        assert_eq!(schema.get(), r#"{"type":"string"}"#);
        assert_eq!(read.dropped, ["safetySettings", "generationConfig.mediaResolution", "tools.googleSearch"]);
    }
}

#[test]
fn d12_d15_roles_may_be_left_out_or_be_the_legacy_one() {
    let body = json!({"contents": [
        {"parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": "f", "response": {"result": "rain"}}}]},
        {"role": "model", "parts": [{"text": "Rain."}]},
    ]});
    let text = body.to_string();
    let request = scan(&text);
    // A new answer begins after the last one, which any model can do.
    assert!(!request.facts().demand.needs.contains(Capability::Prefill));
    let turns = request.decode().unwrap().conversation.turns;
    let roles: Vec<Role> = turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User, Role::Assistant]);
    assert!(matches!(&turns[2].parts[..], [Part::ToolResult(result)] if result.name == "f"));

    let strange = json!({"contents": [{"role": "narrator", "parts": [{"text": "x"}]}]}).to_string();
    assert_eq!(scan(&strange).decode().unwrap_err().param.as_deref(), Some("contents[0].role"));
}

#[test]
fn calls_without_ids_find_their_responses() {
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": [
            {"functionCall": {"name": "weather", "args": {"city": "Bergen"}}, "thoughtSignature": "AAAA"},
            {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "weather", "response": {"result": "rain"}}},
            {"functionResponse": {"name": "weather", "response": {"error": "unknown"}}},
        ]},
    ]});
    let text = body.to_string();
    let turns = scan(&text).decode().unwrap().conversation.turns;
    assert_eq!(turns[1].role, Role::Assistant);
    let ids: Vec<&str> = turns[1]
        .parts
        .iter()
        .filter_map(|part| if let Part::ToolCall(call) = part { Some(&*call.id) } else { None })
        .collect();
    let results: Vec<(&str, bool)> = turns[2]
        .parts
        .iter()
        .filter_map(
            |part| if let Part::ToolResult(result) = part { Some((&*result.call_id, result.is_error)) } else { None },
        )
        .collect();
    assert_eq!(results, [(ids[0], false), (ids[1], true)]);

    let orphan =
        json!({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]});
    let text = orphan.to_string();
    assert_eq!(scan(&text).decode().unwrap_err().param.as_deref(), Some("contents[0].parts"));
}

#[test]
fn d29_numbers_of_a_calls_arguments_are_written_as_the_model_wrote_them() {
    let arguments = r#"{"z":12345678901234567890123,"a":1.0,"e":1e2}"#;
    let call =
        |arguments: &str| ToolCall { id: "c".into(), name: "f".into(), arguments: arguments.into(), signature: None };
    let frame = Frame { request_id: aipipe_actors::identity::RequestId::generate(), created: 0 };
    let body = json!({"contents": [{"parts": [{"text": "x"}]}]}).to_string();
    let request = scan(&body);
    let parts = vec![Part::ToolCall(call(arguments)), Part::ToolCall(call("")), Part::ToolCall(call("[1"))];
    let choices = vec![Choice { parts, stop: Stop::ToolUse, stop_sequence: None }];
    let whole = request.write_answer(&Answer { choices, ..Answer::default() }, &frame);
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    for args in [&format!("\"args\":{arguments}"), "\"args\":{}", r#""args":{"_raw":"[1"}"#] {
        assert!(whole.contains(args), "{args} in {whole}");
    }

    let mut encoder = request.stream_encoder(&frame);
    let mut out = Vec::new();
    encoder.event(&Event::ToolCallStart { index: 0, id: "c".into(), name: "f".into(), signature: None }, &mut out);
    for delta in [&arguments[..9], &arguments[9..]] {
        encoder.event(&Event::ToolArguments { index: 0, delta: delta.into() }, &mut out);
    }
    encoder.finish(None, &mut out);
    assert!(String::from_utf8(out).unwrap().contains(&format!("\"args\":{arguments}")));
}

#[test]
fn what_breaks_the_rules_is_named() {
    let addressed = Addressed { model: Some("auto"), stream: false };
    for (body, param) in [
        ("", None),
        ("[]", None),
        ("{}", None),
        (r#"{"contents":[]}"#, Some("contents")),
        (r#"{"contents":"x"}"#, None),
        (r#"{"contents":[{"parts":[{"text":"x"}]}],"aipipe":{"colour":1}}"#, Some("aipipe.colour")),
    ] {
        let error = GeminiApi.scan(body.as_bytes(), &addressed).err().unwrap();
        assert_eq!(error.param.as_deref(), param, "{body}");
    }
}

#[test]
fn the_body_goes_on_as_it_came_without_aipipes_own() {
    let body = r#"{ "aipipe" : {"tags":["a"]}, "contents":[ {"parts" : [{"text":"caf\u00e9"}]} ] , "x":1.50 }"#;
    let request = scan(body);
    assert_eq!(request.facts().preferences.tags, ["a"]);
    let kept: Value = serde_json::from_str(body).unwrap();
    let catalogue = crate::config::benchmark_catalogue().unwrap();
    let model = &*catalogue.models()[0];
    let target = crate::dialects::client::Target {
        model,
        chosen: crate::dialects::client::Chosen::Auto,
        profile: &crate::providers::Profile::GEMINI,
        holdings: &crate::dialects::issued::Holdings::default(),
    };
    let prepared = request.pass(&target);
    assert_eq!(prepared.body, r#"{ "contents":[ {"parts" : [{"text":"caf\u00e9"}]} ] , "x":1.50 }"#);
    assert!(kept.get("aipipe").is_some());
}
