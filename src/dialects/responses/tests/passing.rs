use aipipe_actors::catalogue::Model;
use aipipe_actors::identity::ProviderId;
use aipipe_actors::money::NanoUsd;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{body, try_scan};
use crate::dialects::client::{Chosen, Onward, Target};
use crate::dialects::issued::{Holdings, Stored, StoredKind, hash};
use crate::dialects::translate::ClientError;
use crate::providers::Profile;
use crate::upstream::sse::{RawEvent, SseDecoder};

fn model() -> Model {
    let catalogue = crate::config::benchmark_catalogue().unwrap();
    (**catalogue.models().iter().find(|model| model.provider.as_str() == "openai").unwrap()).clone()
}

/// The input as it goes to a provider that issued these.
fn passed(input: &Value, held: &[(&str, &str)]) -> Value {
    let text = body(json!({"input": input}));
    let held = held.iter().map(|(text, provider)| (hash(text), ProviderId::parse(provider).unwrap()));
    let holdings: Holdings = held.collect();
    let target = Target { model: &model(), chosen: Chosen::Named, profile: &Profile::OPENAI, holdings: &holdings };
    let prepared = try_scan(&text).unwrap().pass(&target);
    serde_json::from_slice::<Value>(&prepared.body).unwrap()["input"].take()
}

#[test]
fn d124_d133_ids_and_thoughts_go_to_who_issued_them() {
    let user = json!({"role": "user", "content": "hi"});
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"});
    let message = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": []});
    let input = json!([user, thought, message]);
    let all = [("rs_1", "openai"), ("msg_1", "openai"), ("gAAA", "openai")];
    assert_eq!(passed(&input, &all), input);
    let bare = json!({"type": "message", "role": "assistant", "content": []});
    assert_eq!(passed(&input, &[]), json!([user, bare]));
    let elsewhere = [("rs_1", "xai"), ("msg_1", "xai"), ("gAAA", "xai")];
    assert_eq!(passed(&input, &elsewhere), json!([user, bare]));
    // The content alone decides whether a thought can be read; a foreign id would lead to what another has.
    let only_content = json!({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"});
    assert_eq!(passed(&input, &[("gAAA", "openai")]), json!([user, only_content, bare]));
    // What AiPipe marked is for nobody who speaks this dialect.
    let marked =
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "aipipe:1:signature:openai/x:y"});
    assert_eq!(passed(&json!([marked, user]), &all), json!([user]));
    let named = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    assert_eq!(passed(&json!([user, named, message]), &[]), json!([user, bare]));
}

#[test]
fn d88_what_a_provider_keeps_is_named() {
    let stored = |extra: Value| {
        let text = body(extra);
        let mut stored = try_scan(&text).unwrap().facts().stored.clone();
        stored.sort();
        stored
    };
    let of = |id: &str, kind| vec![Stored { id: id.to_owned(), kind }];
    assert_eq!(stored(json!({"previous_response_id": "r"})), of("r", StoredKind::PreviousResponse));
    assert_eq!(stored(json!({"input": [{"type": "item_reference", "id": "i"}]})), of("i", StoredKind::Item));
    assert_eq!(
        stored(json!({"input": [{"type": "reasoning", "id": "i", "summary": []}]})),
        of("i", StoredKind::Thought)
    );
    assert_eq!(stored(json!({"input": [{"type": "function_call", "id": "i"}]})), of("i", StoredKind::Item));
    assert_eq!(stored(json!({"conversation": {"id": "c"}})), of("c", StoredKind::Thing));
    let none = json!({"input": [{"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "{\"file_id\":\"x\"}"}],
        "metadata": {"file_id": "x"}, "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}}}]});
    assert_eq!(stored(none), []);
}

#[test]
fn what_the_model_cannot_take_is_left_out_where_aipipe_chose_it() {
    let text = body(json!({"max_output_tokens": 99_999_999, "reasoning": {"effort": "high"}, "user": "u"}));
    let model = model();
    let request = try_scan(&text).unwrap();
    let holdings = Holdings::default();
    let target = |chosen| Target { model: &model, chosen, profile: &Profile::OPENAI, holdings: &holdings };
    let auto = request.pass(&target(Chosen::Auto));
    let sent: Value = serde_json::from_slice(&auto.body).unwrap();
    assert_eq!((&sent["max_output_tokens"], sent.get("reasoning")), (&json!(model.max_output_tokens), None));
    assert_eq!(auto.dropped, ["max_output_tokens", "reasoning"]);
    let named: Value = serde_json::from_slice(&request.pass(&target(Chosen::Named)).body).unwrap();
    assert_eq!((&named["max_output_tokens"], &named["reasoning"]["effort"]), (&json!(99_999_999), &json!("high")));
}

fn events(stream: &str) -> Vec<RawEvent> {
    let mut events = Vec::new();
    SseDecoder::default().feed(Bytes::copy_from_slice(stream.as_bytes()), &mut events).unwrap();
    events
}

/// How a stream ends, and what its client is told where it breaks after these events.
fn broken_after(stream: &str) -> (Vec<bool>, bool, String) {
    let text = body(json!({"stream": true}));
    let mut reader = try_scan(&text).unwrap().passing(&Profile::OPENAI);
    let mut out = Vec::new();
    let ends = events(stream).into_iter().map(|event| {
        let seen = reader.event(event, &|_| Some(NanoUsd(1)), &mut out);
        matches!(seen.course, Onward::Error(_))
    });
    let ends = ends.collect();
    let error = ClientError { status: StatusCode::BAD_GATEWAY, code: "upstream_error", message: "m", param: None };
    let told = reader.fail(&error).unwrap();
    (ends, reader.close(&mut out).is_ok(), String::from_utf8(told.to_vec()).unwrap())
}

#[test]
fn d151_d162_d165_a_stream_that_breaks_ends_in_an_error_numbered_on() {
    let created = r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","output":[]}}"#;
    let delta = r#"data: {"type":"response.output_text.delta","sequence_number":4,"delta":"a"}"#;
    let (errors, closes, told) = broken_after(&format!("{created}\n\n{delta}\n\n"));
    assert_eq!((errors, closes), (vec![false, false], false));
    assert!(told.starts_with("event: error\n") && told.contains("\"sequence_number\":5"), "{told}");
    let failed: Value = serde_json::from_str(told.rsplit("data: ").next().unwrap().trim()).unwrap();
    assert_eq!((&failed["type"], &failed["sequence_number"]), (&json!("response.failed"), &json!(6)));
    assert_eq!((&failed["response"]["id"], &failed["response"]["status"]), (&json!("r"), &json!("failed")));
    assert_eq!(failed["response"]["error"]["code"], "upstream_error");
}

#[test]
fn d163_an_error_is_seen_in_every_form() {
    for event in [
        r#"{"type":"error","sequence_number":2,"error":{"code":"insufficient_quota","message":"m"}}"#,
        r#"{"type":"error","code":"x","message":"m","param":null}"#,
        r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"x","message":"m"}}}"#,
        r#"{"error":{"message":"m","code":502}}"#,
    ] {
        assert_eq!(broken_after(&format!("data: {event}\n\n")).0, [true], "{event}");
    }
}
