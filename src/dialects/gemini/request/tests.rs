#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::dialects::conversation::{
    Media, Opaque, Part, Reasoning, ResponseFormat, Role, Settings, Thought, Tool, ToolCall, ToolChoice, ToolResult,
    Turn,
};
use aipipe_actors::catalogue::{Capabilities, Capability, Effort, ParameterLimits, ReasoningControl};
use aipipe_actors::identity::{ModelId, ProviderId};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn model(id: &str) -> Model {
    let three = Generation::of(&bare(id)).is_three_or_later();
    let reasoning = if three { ReasoningControl::Level } else { ReasoningControl::Budget };
    let parameters = ParameterLimits { reasoning, ..ParameterLimits::default() };
    Model { parameters, capabilities: Capabilities::NONE.with(Capability::N), ..bare(id) }
}

fn bare(id: &str) -> Model {
    Model {
        provider: ProviderId::parse("gemini").unwrap(),
        id: ModelId::parse(id).unwrap(),
        aliases: Vec::new(),
        rates: None,
        quality: 0.5,
        auto: false,
        context_tokens: 1_048_576,
        max_output_tokens: 65_536,
        capabilities: Capabilities::NONE,
        parameters: ParameterLimits::default(),
        token_ratio: 1.0,
        added: aipipe_actors::catalogue::AddedTokens::default(),
        retires_on: None,
    }
}

struct Sent {
    path: String,
    text: String,
    body: Value,
    dropped: Vec<String>,
}

fn send_to(model: &Model, conversation: &Conversation) -> Sent {
    let sent = encode(conversation, model).expect("can be carried");
    let text = String::from_utf8(sent.body.to_vec()).unwrap();
    Sent { path: sent.path, body: serde_json::from_str(&text).unwrap(), text, dropped: sent.dropped }
}

fn send(id: &str, conversation: &Conversation) -> Sent {
    send_to(&model(id), conversation)
}

fn refused(id: &str, conversation: &Conversation) -> String {
    encode(conversation, &model(id)).expect_err("cannot be carried").field
}

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn user(said: &str) -> Turn {
    turn(Role::User, vec![text(said)])
}

fn talk(turns: Vec<Turn>) -> Conversation {
    Conversation { turns, ..Conversation::default() }
}

fn hi() -> Conversation {
    talk(vec![user("hi")])
}

fn with(settings: Settings) -> Conversation {
    Conversation { settings, ..hi() }
}

fn call(id: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: arguments.to_owned(), signature: None }
}

fn result(id: &str, said: &str) -> ToolResult {
    ToolResult { call_id: id.to_owned(), name: "f".to_owned(), parts: vec![text(said)], is_error: false }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn tool(schema: Option<&str>) -> Tool {
    Tool { name: "f".to_owned(), description: Some("does f".to_owned()), schema: schema.map(raw), strict: None }
}

fn with_tools(tools: Vec<Tool>, tool_choice: ToolChoice) -> Conversation {
    Conversation { tools, tool_choice, ..hi() }
}

fn signed(origin: &str) -> Option<Opaque> {
    Some(Opaque { origin: origin.to_owned(), kind: "thought_signature", data: "sig".to_owned() })
}

const OWN: &str = "gemini/gemini-3-flash-preview";

#[test]
fn the_path_names_model_and_method() {
    assert_eq!(send("gemini-2.5-flash", &hi()).path, "/v1beta/models/gemini-2.5-flash:generateContent");
    let streamed = Conversation { stream: true, ..hi() };
    assert_eq!(send("models/tuned/a+b", &streamed).path, "/v1beta/models/tuned%2Fa%2Bb:streamGenerateContent?alt=sse");
}

#[test]
fn d1_instructions_stay_apart_and_in_order() {
    let conversation = Conversation { instructions: vec!["a".into(), String::new(), "b".into()], ..hi() };
    let sent = send("gemini-2.5-flash", &conversation);
    assert_eq!(
        sent.body,
        json!({"systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
               "contents": [{"role": "user", "parts": [{"text": "hi"}]}]})
    );
    let alone = Conversation { instructions: vec!["a".into()], ..Conversation::default() };
    assert_eq!(
        send("gemini-2.5-flash", &alone).body,
        json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}]})
    );
}

#[test]
fn d5_neighbours_of_one_role_merge_and_empty_ones_go() {
    let conversation = talk(vec![
        user("a"),
        turn(Role::System, vec![text("be brief")]),
        user("b"),
        turn(Role::Assistant, vec![]),
        turn(Role::Assistant, vec![text("c")]),
        turn(Role::Assistant, vec![text(""), Part::Refusal("d".into())]),
        user("e"),
    ]);
    assert_eq!(
        send("gemini-2.5-flash", &conversation).body["contents"],
        json!([{"role": "user", "parts": [{"text": "a"}, {"text": "System note: be brief"}, {"text": "b"}]},
               {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
               {"role": "user", "parts": [{"text": "e"}]}])
    );
}

#[test]
fn d18_tools_stand_in_one_object_with_their_schemas_untouched() {
    let schema = r##"{"type":"object","properties":{"z":{"type":"number","maximum":1.0},"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"const":1}}}"##;
    let conversation = with_tools(vec![tool(Some(schema)), tool(None), tool(Some("{}"))], ToolChoice::Auto);
    let sent = send("gemini-2.5-flash", &conversation);
    assert!(sent.text.contains(&format!(r#""parametersJsonSchema":{schema}"#)), "{}", sent.text);
    assert_eq!(sent.body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(sent.body["tools"][0]["functionDeclarations"][1], json!({"name": "f", "description": "does f"}));
    assert_eq!(sent.body["tools"][0]["functionDeclarations"][2], json!({"name": "f", "description": "does f"}));
    assert_eq!(sent.body.get("toolConfig"), None);
}

#[test]
fn d45_older_models_get_googles_subset() {
    let schema = r#"{"type":"object","properties":{"a":{"const":"x"}},"additionalProperties":false}"#;
    let sent = send("gemini-2.0-flash", &with_tools(vec![tool(Some(schema))], ToolChoice::Auto));
    assert_eq!(
        sent.body["tools"][0]["functionDeclarations"][0]["parameters"],
        json!({"type": "OBJECT", "properties": {"a": {"type": "STRING", "enum": ["x"]}}, "propertyOrdering": ["a"]})
    );
}

#[test]
fn d23_tool_choice_becomes_a_calling_mode() {
    let config = |choice| send("gemini-2.5-flash", &with_tools(vec![tool(None)], choice)).body["toolConfig"].clone();
    let calling = |config| json!({ "functionCallingConfig": config });
    assert_eq!(config(ToolChoice::Auto), Value::Null);
    assert_eq!(config(ToolChoice::None), calling(json!({"mode": "NONE"})));
    assert_eq!(config(ToolChoice::Required), calling(json!({"mode": "ANY"})));
    let named = calling(json!({"mode": "ANY", "allowedFunctionNames": ["f"]}));
    assert_eq!(config(ToolChoice::Named("f".into())), named);
    // D24
    assert_eq!(config(ToolChoice::Allowed { names: vec!["f".into()], required: true }), named);
    assert_eq!(
        config(ToolChoice::Allowed { names: vec!["f".into()], required: false }),
        calling(json!({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}))
    );
}

#[test]
fn d50_strict_tools_are_validated_or_ruled_out() {
    let strict = || with_tools(vec![Tool { strict: Some(true), ..tool(None) }], ToolChoice::Auto);
    let sent = send("gemini-2.5-flash", &strict());
    assert_eq!(sent.body["toolConfig"]["functionCallingConfig"]["mode"], "VALIDATED");
    assert_eq!(refused("gemini-2.0-flash", &strict()), "tools");
}

#[test]
fn d27_one_call_an_answer_cannot_be_promised() {
    let one = |tools| Conversation { parallel_tool_calls: Some(false), ..with_tools(tools, ToolChoice::Auto) };
    assert_eq!(refused("gemini-2.5-flash", &one(vec![tool(None)])), "parallel_tool_calls");
    send("gemini-2.5-flash", &one(Vec::new()));
}

#[test]
fn d22_rewritten_names_agree_in_tools_choice_and_history() {
    let mut odd = call("c", "{}");
    odd.name = "my tool".to_owned();
    let mut answer = result("c", "ok");
    answer.name = "my tool".to_owned();
    let conversation = Conversation {
        turns: vec![
            user("hi"),
            turn(Role::Assistant, vec![Part::ToolCall(odd)]),
            turn(Role::User, vec![Part::ToolResult(answer)]),
        ],
        ..with_tools(vec![Tool { name: "my tool".into(), ..tool(None) }], ToolChoice::Named("my tool".into()))
    };
    let body = send("gemini-2.5-flash", &conversation).body;
    let wire = &body["tools"][0]["functionDeclarations"][0]["name"];
    assert_ne!(wire, "my tool");
    assert_eq!(&body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"][0], wire);
    assert_eq!(&body["contents"][1]["parts"][0]["functionCall"]["name"], wire);
    assert_eq!(&body["contents"][2]["parts"][0]["functionResponse"]["name"], wire);
}

#[test]
fn d28_d29_arguments_are_objects_with_their_own_numbers() {
    let parts = [r#"{"n":12345678901234567890,"x":1.0}"#, "", "[1]", r#"{"half"#];
    let parts = parts.iter().map(|arguments| Part::ToolCall(call("c", arguments))).collect();
    let sent = send("gemini-2.5-flash", &talk(vec![user("hi"), turn(Role::Assistant, parts)]));
    assert!(sent.text.contains(r#""args":{"n":12345678901234567890,"x":1.0}"#), "{}", sent.text);
    let args = |at: usize| &sent.body["contents"][1]["parts"][at]["functionCall"]["args"];
    assert_eq!(args(1), &json!({}));
    assert_eq!(args(2), &json!({"_raw": "[1]"}));
    assert_eq!(args(3), &json!({"_raw": "{\"half"}));
}

fn two_calls(results: Vec<Turn>) -> Conversation {
    let calls = vec![Part::ToolCall(call("a", "{}")), Part::ToolCall(call("b", "{}"))];
    let mut turns = vec![user("hi"), turn(Role::Assistant, calls)];
    turns.extend(results);
    talk(turns)
}

#[test]
fn d36_results_come_together_in_the_order_of_their_calls() {
    let conversation = two_calls(vec![
        turn(Role::User, vec![Part::ToolResult(result("b", "2")), text("and?")]),
        turn(Role::User, vec![Part::ToolResult(result("a", "1"))]),
    ]);
    let response = |said: &str| json!({"functionResponse": {"name": "f", "response": {"result": said}}});
    assert_eq!(
        send("gemini-2.5-flash", &conversation).body["contents"].as_array().unwrap()[2..],
        [
            json!({"role": "user", "parts": [response("1"), response("2")]}),
            json!({"role": "user", "parts": [{"text": "and?"}]})
        ]
    );
}

#[test]
fn d34_d35_results_are_wrapped_and_stay_text() {
    let mut failed = result("b", "no such file");
    failed.is_error = true;
    let json_text = r##"{"$ref":"#/x","n":12345678901234567890}"##;
    let results = vec![Part::ToolResult(result("a", json_text)), Part::ToolResult(failed)];
    let body = send("gemini-2.5-flash", &two_calls(vec![turn(Role::User, results)])).body;
    let response = |at: usize| &body["contents"][2]["parts"][at]["functionResponse"]["response"];
    assert_eq!(response(0), &json!({ "result": json_text }));
    assert_eq!(response(1), &json!({"error": "no such file"}));
}

#[test]
fn d31_a_result_without_its_call_is_refused() {
    let mut lost = result("x", "1");
    lost.name.clear();
    assert_eq!(refused("gemini-2.5-flash", &talk(vec![turn(Role::User, vec![Part::ToolResult(lost)])])), "messages");
}

#[test]
fn d33_images_in_results_stand_inside_or_right_after() {
    let image = || Part::Image(Media::Inline { media_type: "image/jpg".into(), base64: "AA==".into() });
    let conversation = || {
        let mut seen = result("a", "look");
        seen.parts.push(image());
        two_calls(vec![turn(Role::User, vec![Part::ToolResult(seen), Part::ToolResult(result("b", "2")), text("so?")])])
    };
    let inline = json!({"inlineData": {"mimeType": "image/jpeg", "data": "AA=="}});
    let new = send("gemini-3-flash-preview", &conversation()).body;
    assert_eq!(new["contents"][2]["parts"][0]["functionResponse"]["parts"], json!([inline]));
    let old = send("gemini-2.5-flash", &conversation()).body;
    let first = &old["contents"][2]["parts"][0]["functionResponse"];
    assert_eq!(first["response"], json!({"result": "look\n(media attached below)"}));
    assert_eq!(old["contents"][3]["parts"], json!([inline, {"text": "so?"}]));
}

#[test]
fn d122_own_signatures_go_back_where_they_came_from() {
    let thought = |text: &str| Part::Reasoning(Thought { text: text.into(), opaque: signed(OWN) });
    let signed_call = ToolCall { signature: signed(OWN), ..call("a", "{}") };
    let said = vec![thought("hm"), text("x"), thought(""), Part::ToolCall(signed_call), thought("")];
    let conversation = talk(vec![user("hi"), turn(Role::Assistant, said)]);
    let sent = send("gemini-3-flash-preview", &conversation);
    assert_eq!(
        sent.body["contents"][1]["parts"],
        json!([{"text": "hm", "thought": true, "thoughtSignature": "sig"}, {"text": "x", "thoughtSignature": "sig"},
               {"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "sig"},
               {"text": "", "thoughtSignature": "sig"}])
    );
    assert!(sent.dropped.is_empty());
}

#[test]
fn d123_a_missing_signature_is_replaced_by_googles_dummy() {
    let foreign = ToolCall { signature: signed("gemini/gemini-3-pro-preview"), ..call("a", "{}") };
    let conversation = talk(vec![
        user("hi"),
        turn(Role::Assistant, vec![Part::ToolCall(foreign), Part::ToolCall(call("b", "{}"))]),
        turn(Role::User, vec![Part::ToolResult(result("a", "1")), Part::ToolResult(result("b", "1"))]),
        turn(Role::Assistant, vec![Part::ToolCall(call("c", "{}"))]),
    ]);
    let sent = send("gemini-3-flash-preview", &conversation);
    let signature = |content: usize, part: usize| &sent.body["contents"][content]["parts"][part]["thoughtSignature"];
    assert_eq!(signature(1, 0), "skip_thought_signature_validator");
    assert_eq!(signature(1, 1), &Value::Null);
    assert_eq!(signature(3, 0), "skip_thought_signature_validator");
    assert_eq!(sent.dropped, ["thought_signature"]);
    let older = send("gemini-2.5-flash", &conversation);
    assert!(!older.text.contains("thoughtSignature") && older.dropped.is_empty());
}

#[test]
fn d124_foreign_and_unsigned_thoughts_become_nothing() {
    let foreign = Thought { text: "secret".into(), opaque: signed("anthropic/claude-opus-4-8") };
    let unsigned = Thought { text: "secret".into(), opaque: None };
    let said = vec![Part::Reasoning(foreign), Part::Reasoning(unsigned), text("x")];
    let sent = send("gemini-3-flash-preview", &talk(vec![user("hi"), turn(Role::Assistant, said)]));
    assert!(!sent.text.contains("secret"));
    assert_eq!(sent.dropped, ["reasoning"]);
}

#[test]
fn d41_formats_become_mime_type_and_schema() {
    let schema = || ResponseFormat::JsonSchema {
        name: "n".into(),
        description: None,
        schema: raw(r#"{"type":"object","properties":{"a":{"type":"integer","minimum":1.0}}}"#),
        strict: Some(true),
    };
    let with = |format| Conversation { format, ..hi() };
    let sent = send("gemini-2.5-flash", &with(schema()));
    assert!(sent.text.contains(r#""minimum":1.0"#));
    assert_eq!(sent.body["generationConfig"]["responseMimeType"], "application/json");
    assert!(sent.body["generationConfig"]["responseJsonSchema"].is_object());
    let old = send("gemini-2.0-flash", &with(schema())).body;
    assert_eq!(old["generationConfig"]["responseSchema"]["propertyOrdering"], json!(["a"]));
    let object = send("gemini-2.5-flash", &with(ResponseFormat::JsonObject)).body;
    assert_eq!(object["generationConfig"], json!({"responseMimeType": "application/json"}));
    let both = |choice| Conversation { format: schema(), ..with_tools(vec![tool(None)], choice) };
    assert_eq!(refused("gemini-2.5-flash", &both(ToolChoice::Auto)), "response_format");
    assert_eq!(send("gemini-2.5-flash", &both(ToolChoice::None)).body.get("tools"), None);
    send("gemini-3-flash-preview", &both(ToolChoice::Auto));
}

#[test]
fn d53_d57_d60_data_goes_inline() {
    let inline = |media_type: &str| Media::Inline { media_type: media_type.into(), base64: "AA==".into() };
    let said = vec![
        Part::Image(inline("image/png")),
        Part::Document { media: inline("application/pdf"), name: Some("a.pdf".into()) },
        Part::Audio(inline("audio/wav")),
    ];
    let sent = send("gemini-2.5-flash", &talk(vec![turn(Role::User, said)]));
    let blob = |media_type: &str| json!({"inlineData": {"mimeType": media_type, "data": "AA=="}});
    assert_eq!(
        sent.body["contents"][0]["parts"],
        json!([blob("image/png"), blob("application/pdf"), blob("audio/wav")])
    );
    assert_eq!(sent.dropped, ["filename"]);
}

#[test]
fn d54_d59_addresses_are_passed_on_where_gemini_takes_them() {
    let say = |media| talk(vec![turn(Role::User, vec![Part::Image(media)])]);
    let url = |url: &str| say(Media::Url(url.into()));
    let photo = "https://example.com/a/photo.JPG?sig=x.png";
    assert_eq!(refused("gemini-2.5-flash", &url(photo)), "messages");
    let mut fetching = model("gemini-2.5-flash");
    fetching.capabilities.insert(Capability::ImageUrl);
    let part = |model: &Model, conversation| send_to(model, &conversation).body["contents"][0]["parts"][0].clone();
    assert_eq!(part(&fetching, url(photo)), json!({"fileData": {"mimeType": "image/jpeg", "fileUri": photo}}));
    let plain = encode(&url("http://example.com/a.png"), &fetching);
    assert_eq!(plain.unwrap_err().field, "messages");
    let model = model("gemini-2.5-flash");
    assert_eq!(part(&model, url("https://youtu.be/x")), json!({"fileData": {"fileUri": "https://youtu.be/x"}}));
    assert_eq!(
        part(&model, say(Media::FileId("files/abc".into()))),
        json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}})
    );
    assert_eq!(refused("gemini-2.5-flash", &say(Media::FileId("file-abc".into()))), "messages");
}

#[test]
fn settings_are_bounded_by_what_gemini_takes() {
    let settings = Settings {
        max_output_tokens: Some(100_000),
        temperature: Some(2.5),
        top_p: Some(0.9),
        top_k: Some(40),
        stop: vec!["a".into(), String::new()],
        seed: Some(i64::MAX),
        presence_penalty: Some(0.5),
        choices: Some(2),
        ..Settings::default()
    };
    let sent = send("gemini-2.5-flash", &with(settings));
    assert_eq!(
        sent.body["generationConfig"],
        json!({"stopSequences": ["a"], "candidateCount": 2, "maxOutputTokens": 65_536, "temperature": 2.0, "topP": 0.9,
               "topK": 40, "presencePenalty": 0.5})
    );
    assert_eq!(sent.dropped, ["max_tokens", "temperature", "seed"]);
}

#[test]
fn d62_without_a_limit_none_is_sent() {
    assert_eq!(send("gemini-2.5-flash", &hi()).body.get("generationConfig"), None);
}

#[test]
fn d72_more_stops_than_five_are_refused() {
    let stop = (0..6).map(|n| n.to_string()).collect();
    assert_eq!(refused("gemini-2.5-flash", &with(Settings { stop, ..Settings::default() })), "stop");
}

#[test]
fn d85_several_choices_need_a_model_that_gives_them() {
    let several = || with(Settings { choices: Some(2), ..Settings::default() });
    let streamed = Conversation { stream: true, ..several() };
    assert_eq!(refused("gemini-2.5-flash", &streamed), "n");
    let single = encode(&several(), &bare("gemini-2.5-flash"));
    assert_eq!(single.unwrap_err().field, "n");
}

#[test]
fn d86_log_probabilities_are_refused() {
    assert_eq!(refused("gemini-2.5-flash", &with(Settings { logprobs: Some(3), ..Settings::default() })), "logprobs");
}

#[test]
fn parameters_that_the_model_refuses_are_named_as_dropped() {
    let mut model = model("gemini-3-flash-preview");
    model.parameters.refuses = vec!["frequency_penalty".into(), "temperature".into()];
    let settings = Settings { frequency_penalty: Some(1.0), temperature: Some(1.0), ..Settings::default() };
    let conversation = Conversation { hints: vec!["user"], ..with(settings) };
    let sent = send_to(&model, &conversation);
    assert_eq!(sent.dropped, ["user", "temperature", "frequency_penalty"]);
    assert_eq!(sent.body.get("generationConfig"), None);
}

fn thinking(id: &str, effort: Option<Effort>, budget_tokens: Option<u64>) -> Value {
    let conversation = Conversation { reasoning: Some(Reasoning { effort, budget_tokens }), ..hi() };
    send(id, &conversation).body["generationConfig"]["thinkingConfig"].clone()
}

#[test]
fn d74_effort_becomes_a_level_or_a_budget() {
    let three = "gemini-3-flash-preview";
    let level = |level: &str| json!({"includeThoughts": true, "thinkingLevel": level});
    assert_eq!(thinking(three, Some(Effort::Low), None), level("LOW"));
    assert_eq!(thinking(three, Some(Effort::Max), None), level("HIGH"));
    // D76
    assert_eq!(thinking(three, None, Some(8_000)), level("MEDIUM"));
    let two = "gemini-2.5-flash";
    let budget = |tokens: u64| json!({"includeThoughts": true, "thinkingBudget": tokens});
    assert_eq!(thinking(two, Some(Effort::Medium), None), budget(8_192));
    assert_eq!(thinking(two, None, Some(60_000)), budget(24_576));
    assert_eq!(thinking("gemini-2.5-flash-lite", None, Some(100)), budget(512));
    // D79
    assert_eq!(thinking(two, None, None), json!({"includeThoughts": true}));
}

#[test]
fn d75_a_level_that_the_model_lacks_folds_to_the_nearest() {
    let mut model = model("gemini-3-pro-preview");
    model.parameters.efforts = vec![Effort::Low, Effort::High];
    let reasoning = Some(Reasoning { effort: Some(Effort::Minimal), budget_tokens: None });
    let sent = send_to(&model, &Conversation { reasoning, ..hi() });
    assert_eq!(sent.body["generationConfig"]["thinkingConfig"]["thinkingLevel"], "LOW");
}

#[test]
fn d77_no_thinking_is_as_little_as_the_model_can() {
    let off = |id| thinking(id, Some(Effort::None), None);
    assert_eq!(off("gemini-2.5-flash"), json!({"includeThoughts": false, "thinkingBudget": 0}));
    assert_eq!(off("gemini-2.5-pro"), json!({"includeThoughts": false, "thinkingBudget": 128}));
    assert_eq!(off("gemini-3-flash-preview"), json!({"includeThoughts": false, "thinkingLevel": "MINIMAL"}));
}

#[test]
fn d78_reasoning_on_a_model_without_it_is_named_as_dropped() {
    let asked = |effort| {
        let reasoning = Some(Reasoning { effort: Some(effort), budget_tokens: None });
        send_to(&bare("gemini-2.0-flash"), &Conversation { reasoning, ..hi() })
    };
    assert_eq!(asked(Effort::High).dropped, ["reasoning_effort"]);
    assert!(asked(Effort::None).dropped.is_empty());
}
