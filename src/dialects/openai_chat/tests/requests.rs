//! Bodies made ready for a provider of the same dialect, and read into the canonical form.

use aipipe_actors::catalogue::{Capabilities, Effort, Model};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::model;
use crate::dialects::client::{Chosen, Decoded};
use crate::dialects::conversation::{Media, Opaque, Part, ResponseFormat, Role, ToolChoice, Turn};
use crate::dialects::openai_chat::passthrough::{DetailsUse, DeveloperRole, NameUse, Passthrough, prepare_passthrough};
use crate::dialects::openai_chat::request::{decode_request, translatable};
use crate::dialects::openai_chat::scan::scan;

fn prepared(text: &str, target: &Passthrough<'_>) -> (String, Vec<String>) {
    let prepared = prepare_passthrough(&scan(text.as_bytes()).unwrap(), target);
    (String::from_utf8(prepared.body.to_vec()).unwrap(), prepared.dropped)
}

fn named(text: &str) -> String {
    prepared(text, &Passthrough::plain(&model(), Chosen::Named)).0
}

fn auto(text: &str, model: &Model) -> (String, Vec<String>) {
    prepared(text, &Passthrough::plain(model, Chosen::Auto))
}

fn decoded(body: &Value) -> Decoded {
    decode_request(&scan(body.to_string().as_bytes()).unwrap()).unwrap()
}

fn turns(messages: Value) -> Vec<Turn> {
    decoded(&json!({"model": "m", "messages": messages})).conversation.turns
}

fn refused(body: Value) -> Option<String> {
    decode_request(&scan(body.to_string().as_bytes()).unwrap()).unwrap_err().param
}

#[test]
fn only_what_must_change_changes() {
    assert_eq!(
        named(
            "{ \"aipipe\":{\"models\":[\"a\"]}, \"model\" : \"auto\",\n \"messages\":[{\"role\":\"user\",\"content\":\"\\\"model\\\":1\"}], \"x\":1.50}"
        ),
        "{ \"model\" : \"gpt-x\",\n \"messages\":[{\"role\":\"user\",\"content\":\"\\\"model\\\":1\"}], \"x\":1.50}"
    );
    assert_eq!(
        named(r#"{"messages":[{"role":"user"}],"model":"m","aipipe":null}"#),
        r#"{"messages":[{"role":"user"}],"model":"gpt-x"}"#
    );
}

#[test]
fn streams_are_asked_for_usage() {
    let ask = |options: &str| {
        let text = named(&format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"stream":true{options}}}"#));
        serde_json::from_str::<Value>(&text).unwrap()["stream_options"].take()
    };
    let asked = json!({"include_usage": true});
    for options in
        ["", r#","stream_options":null"#, r#","stream_options":{}"#, r#","stream_options":{ "include_usage":false}"#]
    {
        assert_eq!(ask(options), asked, "{options}");
    }
    assert_eq!(ask(r#","stream_options":{"include_usage":null,"x":1}"#), json!({"include_usage": true, "x": 1}));
    assert_eq!(ask(r#","stream_options":{"x":1}"#), json!({"include_usage": true, "x": 1}));
    let whole =
        r#"{"model":"gpt-x","messages":[{"role":"user"}],"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(named(whole), whole);
}

#[test]
fn a_chosen_model_gets_what_it_takes() {
    let mut strict = model();
    strict.parameters.refuses = vec!["temperature".into(), "presence_penalty".into(), "stop".into()];
    strict.parameters.max_completion_tokens = true;
    strict.parameters.efforts = vec![Effort::Low, Effort::High];
    let body = r#"{"model":"auto","temperature":0.2,"presence_penalty":0,"stop":"x","max_tokens":5000,"reasoning_effort":"xhigh","messages":[{"role":"user"}]}"#;
    let (text, dropped) = auto(body, &strict);
    assert_eq!(
        text,
        r#"{"max_completion_tokens":100,"model":"gpt-x","stop":"x","reasoning_effort":"high","messages":[{"role":"user"}]}"#
    );
    assert_eq!(dropped, ["max_tokens", "reasoning_effort", "temperature", "presence_penalty"]);
    let plain = Model { capabilities: Capabilities::NONE, ..model() };
    assert_eq!(auto(body, &plain).1, ["max_tokens", "reasoning_effort"]);
    let unchanged = prepared(body, &Passthrough::plain(&strict, Chosen::Named));
    assert_eq!(unchanged, (body.replace("\"auto\"", "\"gpt-x\""), vec![]));
}

#[test]
fn two_limits_become_the_one_that_counts() {
    let mut modern = model();
    modern.parameters.max_completion_tokens = true;
    let body = r#"{"model":"auto","max_tokens":5,"max_completion_tokens":700,"messages":[{"role":"user"}]}"#;
    assert_eq!(auto(body, &modern).0, r#"{"model":"gpt-x","max_completion_tokens":100,"messages":[{"role":"user"}]}"#);
}

#[test]
fn d2_d127_a_providers_peculiarities_are_data() {
    let minimax = model();
    let target = Passthrough {
        preset: &[("reasoning_split", "true")],
        foreign: &["provider"],
        developer: DeveloperRole::AsSystem,
        ..Passthrough::plain(&minimax, Chosen::Auto)
    };
    let (text, dropped) = prepared(
        r#"{"model":"auto","provider":{"order":[]},"messages":[{"role":"developer","content":"developer"}]}"#,
        &target,
    );
    assert_eq!(
        text,
        r#"{"reasoning_split":true,"model":"gpt-x","messages":[{"role":"system","content":"developer"}]}"#
    );
    assert_eq!(dropped, ["provider"]);
    let own = r#"{"model":"gpt-x","reasoning_split":false,"messages":[{"role":"user"}]}"#;
    assert_eq!(prepared(own, &target).0, own);
}

#[test]
fn thoughts_return_only_to_the_model_that_had_them() {
    let body = |details: &str| {
        format!(
            r#"{{"model":"gpt-x","messages":[{{"reasoning_details":{details},"role":"assistant","content":"a"}},{{"role":"user"}}]}}"#
        )
    };
    let stripped = r#"{"model":"gpt-x","messages":[{"role":"assistant","content":"a"},{"role":"user"}]}"#;
    let ours = body(r#"[{"type":"reasoning.text","origin":"openai/gpt-x"}]"#);
    let others = body(r#"[{"type":"reasoning.text","origin":"anthropic/claude"}]"#);
    let raw = body(r#"[{"type":"reasoning.text"}]"#);
    let target = model();
    let unaware = Passthrough::plain(&target, Chosen::Named);
    let aware = Passthrough { details: DetailsUse::Own, ..unaware };
    for (text, target, expected) in [
        (&ours, &unaware, &*ours),
        (&others, &unaware, stripped),
        (&raw, &unaware, stripped),
        (&others, &aware, stripped),
        (&raw, &aware, &*raw),
    ] {
        assert_eq!(prepared(text, target).0, expected);
    }
}

#[test]
fn d11_a_name_that_a_provider_gave_itself_is_fitted_to_others() {
    let body = |assistant: &str, user: &str| {
        format!(
            r#"{{"model":"gpt-x","messages":[{{"name":"{user}","role":"user","content":"q"}},{{"name":"{assistant}","role":"assistant","content":"a"}},{{"role":"user","content":"q"}}]}}"#
        )
    };
    let target = model();
    let plain = Passthrough::plain(&target, Chosen::Named);
    assert_eq!(prepared(&body("MiniMax AI", "Ann Lee"), &plain).0, body("MiniMax_AI", "Ann Lee"));
    assert_eq!(prepared(&body("MiniMax-AI", "ann"), &plain).0, body("MiniMax-AI", "ann"));
    let own = Passthrough { names: NameUse::Own, ..plain };
    assert_eq!(prepared(&body("MiniMax AI", "ann"), &own).0, body("MiniMax AI", "ann"));
}

#[test]
fn d128_minimax_gets_its_details_back_and_others_do_not() {
    use crate::dialects::client::{Addressed, ClientSurface as _, Target};
    let with = |details: &str| {
        format!(
            r#"{{"model":"gpt-x","messages":[{{"role":"assistant"{details},"content":"a"}},{{"role":"user","content":"q"}}]}}"#
        )
    };
    let body = with(r#","reasoning_details":[{"type":"reasoning.text","text":"hm"}]"#);
    let request = crate::dialects::openai_chat::Chat.scan(body.as_bytes(), &Addressed::default()).unwrap();
    for (provider, expected) in
        [("minimax", body.clone()), ("openrouter", body.clone()), ("openai", with("")), ("moonshot", with(""))]
    {
        let profile = &crate::providers::built_in(provider).unwrap().profile;
        let model = model();
        let prepared =
            request.pass(&Target { model: &model, chosen: Chosen::Named, profile, holdings: &Default::default() });
        let sent = String::from_utf8(prepared.body.to_vec()).unwrap().replace(r#""reasoning_split":true,"#, "");
        assert_eq!(sent, expected, "{provider}");
    }
}

#[test]
fn d31_d37_history_becomes_turns() {
    let Decoded { conversation, .. } = decoded(&json!({"model": "m", "messages": [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        {"role": "user", "content": "q", "name": "ann"},
        {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"n\":1.0}"}},
            {"id": "", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "1", "content": "r1"},
        {"role": "tool", "tool_call_id": "", "content": "r2"},
        {"role": "system", "content": "note"},
        {"role": "assistant", "content": null, "function_call": {"name": "h", "arguments": "{}"}},
        {"role": "function", "name": "h", "content": "r3"},
    ]}));
    assert_eq!(conversation.instructions, ["a", "bc"]);
    let turns = conversation.turns;
    let roles: Vec<Role> = turns.iter().map(|turn| turn.role).collect();
    use Role::{Assistant, System, User};
    assert_eq!(roles, [User, Assistant, User, User, System, Assistant, User]);
    assert_eq!(turns[0].name.as_deref(), Some("ann"));
    let [Part::Reasoning(thought), Part::ToolCall(first), Part::ToolCall(second)] = &turns[1].parts[..] else {
        panic!("{:?}", turns[1])
    };
    assert_eq!((&*thought.text, &*first.arguments, &*second.name), ("hm", "{\"n\":1.0}", "g"));
    let named = |turn: &Turn| match &turn.parts[..] {
        [Part::ToolResult(result)] => (result.call_id.clone(), result.name.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(&turns[2]), ("1".into(), "f".into()));
    assert_eq!(named(&turns[3]), (second.id.clone(), "g".into()));
    assert_eq!(named(&turns[6]).1, "h");
}

#[test]
fn a_result_without_its_call_is_refused() {
    let body = json!({"model": "m", "messages": [{"role": "tool", "tool_call_id": "x", "content": "r"}]});
    assert_eq!(refused(body).as_deref(), Some("messages[0].tool_call_id"));
}

#[test]
fn d53_d55_d56_d57_d61_media_are_made_regular() {
    let turns = turns(json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9j_-A\n==", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:;base64,iVBORw0KGgoAAA"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0x", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}},
        {"type": "text", "text": "after"},
    ]}]));
    let inline =
        |media_type: &str, base64: &str| Media::Inline { media_type: media_type.into(), base64: base64.into() };
    let media: Vec<Media> = turns[0]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Image(media) | Part::Audio(media) | Part::Document { media, .. } => Some(media.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(
        media,
        [
            inline("image/jpeg", "/9j/+A=="),
            inline("image/png", "iVBORw0KGgoAAA"),
            Media::Url("https://x/y.png".into()),
            inline("application/pdf", "JVBERi0x"),
            Media::FileId("file-1".into()),
            inline("audio/mpeg", "UklG"),
        ]
    );
    assert!(matches!(turns[0].parts.last(), Some(Part::Text(text)) if text == "after"));
}

#[test]
fn d24_d29_tools_choices_and_formats_keep_their_text() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","b":1e2,"a":1.0},"strict":true}},{"type":"web_search"}],
        "tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}},
        "response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"z":1,"a":2}}},
        "seed":4,"user":"u","stop":["","x"],"brand_new":1,"web_search_options":{},"verbosity":null}"#;
    let read = decode_request(&scan(body.as_bytes()).unwrap()).unwrap();
    let conversation = read.conversation;
    assert_eq!(conversation.tools.len(), 1);
    assert_eq!(conversation.tools[0].schema.as_ref().unwrap().get(), r#"{"type":"object","b":1e2,"a":1.0}"#);
    assert_eq!(conversation.tool_choice, ToolChoice::Allowed { names: vec!["f".into()], required: true });
    let ResponseFormat::JsonSchema { schema, .. } = &conversation.format else { panic!() };
    assert_eq!(schema.get(), r#"{"z":1,"a":2}"#);
    assert_eq!((conversation.settings.seed, &*conversation.settings.stop), (Some(4), &["x".to_owned()][..]));
    assert_eq!(
        (conversation.hints, read.dropped),
        (vec!["user"], ["tools.web_search", "brand_new", "web_search_options"].map(str::to_owned).to_vec())
    );
}

#[test]
fn d37_legacy_functions_are_tools() {
    let read = decoded(
        &json!({"model": "m", "messages": [{"role": "user"}], "functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}}),
    );
    assert_eq!((read.conversation.tools.len(), read.conversation.tool_choice), (1, ToolChoice::Named("f".into())));
}

#[test]
fn what_has_no_words_elsewhere_is_named() {
    for (member, value) in [("logit_bias", json!({"1": 1})), ("audio", json!({}))] {
        let body = json!({"model": "m", "messages": [{"role": "user"}], member: value});
        assert_eq!(translatable(&scan(body.to_string().as_bytes()).unwrap()).unwrap_err().field, member);
        assert_eq!(refused(body).as_deref(), Some(member));
    }
    let forced = json!({"model": "m", "messages": [{"role": "user"}], "tool_choice": {"type": "web_search"}});
    assert_eq!(refused(forced).as_deref(), Some("tool_choice"));
}

#[test]
fn openrouters_details_are_thoughts_without_an_origin() {
    let turns = turns(json!([{"role": "assistant", "content": "a", "reasoning": "x", "reasoning_details": [
        {"type": "reasoning.text", "text": "x", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "d", "format": "openai-responses-v1"}]}]));
    let opaque: Vec<Opaque> = turns[0]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Reasoning(thought) => thought.opaque.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(
        opaque,
        [("signature", "s"), ("encrypted", "d")].map(|(kind, data)| Opaque {
            origin: String::new(),
            kind,
            data: data.into()
        })
    );
}

#[test]
fn a_lone_surrogate_passes_untouched_and_is_no_translation() {
    let body = r#"{"model":"gpt-x","messages":[{"role":"user","content":"\ud83d"}]}"#;
    assert_eq!(named(body), body);
    let error = decode_request(&scan(body.as_bytes()).unwrap()).unwrap_err();
    assert!(error.message.contains("line 1"), "{}", error.message);
}

proptest! {
    #[test]
    fn a_spliced_body_means_what_was_meant(
        first in any::<bool>(), stream in any::<bool>(), limit in prop::option::of(1u64..300), text in ".{0,30}", pretty in any::<bool>(),
    ) {
        let mut body = serde_json::Map::new();
        if first {
            body.insert("aipipe".into(), json!({"tags": [text]}));
        }
        body.insert("messages".into(), json!([{"role": "user", "content": text}]));
        body.insert("model".into(), json!("auto"));
        body.insert("stream".into(), json!(stream));
        if let Some(limit) = limit {
            body.insert("max_tokens".into(), json!(limit));
        }
        if !first {
            body.insert("aipipe".into(), json!({"tags": [text]}));
        }
        let written = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let mut modern = model();
        modern.parameters.max_completion_tokens = true;
        let result: Value = serde_json::from_str(&auto(&written, &modern).0).unwrap();
        let mut expected = json!({"messages": body["messages"], "model": "gpt-x", "stream": stream});
        if let Some(limit) = limit {
            expected["max_completion_tokens"] = json!(limit.min(100));
        }
        if stream {
            expected["stream_options"] = json!({"include_usage": true});
        }
        prop_assert_eq!(result, expected);
    }
}
