//! Responses as a client's dialect, held against recorded traffic of all providers.

use aipipe::dialects::anthropic::Anthropic;
use aipipe::dialects::client::{Addressed, Chosen, ClientRequest, ClientSurface as _, Frame, Onward, Target, annotate};
use aipipe::dialects::conversation::{Answer, Event, Part, Role, Stop, Thought};
use aipipe::dialects::gemini::Gemini;
use aipipe::dialects::issued::{Holdings, hash};
use aipipe::dialects::openai_chat::ChatUpstream;
use aipipe::dialects::responses::Responses;
use aipipe::dialects::translate::{AnswerError, Step, Undo, UpstreamDialect};
use aipipe::providers::{Profile, built_in};
use aipipe::upstream::sse::RawEvent;
use aipipe_actors::identity::{ProviderId, RequestId};
use aipipe_actors::money::NanoUsd;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::recordings::{Exchange, events, exchanges, model};

/// The exchanges of the Responses API.
fn responses() -> Option<Vec<Exchange>> {
    exchanges("openai-responses")
}

/// Those of the other dialects of models, each with how its provider is read.
fn others() -> Option<Vec<(Exchange, Box<dyn UpstreamDialect>)>> {
    let mut all: Vec<(Exchange, Box<dyn UpstreamDialect>)> = Vec::new();
    for exchange in exchanges("openai-chat")? {
        let profile = built_in(&exchange.provider).map(|provider| provider.profile);
        let profile = profile.filter(|profile| profile.dialect == Profile::OPENAI.dialect).unwrap_or(Profile::OPENAI);
        all.push((exchange, Box::new(ChatUpstream::new(profile))));
    }
    all.extend(exchanges("anthropic-messages")?.into_iter().map(|exchange| (exchange, Box::new(Anthropic) as _)));
    all.extend(exchanges("gemini")?.into_iter().map(|exchange| (exchange, Box::new(Gemini) as _)));
    Some(all)
}

fn scanned(body: &[u8]) -> Box<dyn ClientRequest + '_> {
    Responses.scan(body, &Addressed::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn frame() -> Frame {
    Frame { request_id: RequestId::generate(), created: 1 }
}

const PLAIN: &[u8] = br#"{"model":"m","input":"hi"}"#;

/// Every string that a request names something by, as if it had been issued to its tenant.
fn all_held(request: &Value, provider: &ProviderId) -> Holdings {
    fn strings(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
            Value::Object(members) => members.values().for_each(|member| strings(member, out)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    strings(request, &mut all);
    all.iter().map(|text| (hash(text), provider.clone())).collect()
}

#[test]
fn every_recorded_request_passes_untouched_to_who_issued_what_it_names() {
    let Some(exchanges) = responses() else { return };
    let mut count = 0;
    for exchange in &exchanges {
        let Some(request) = &exchange.request else { continue };
        let name = &exchange.name;
        let text = request.to_string();
        let found = scanned(text.as_bytes());
        let facts = found.facts();
        assert_eq!(facts.model, request["model"].as_str().unwrap(), "{name}");
        assert_eq!(facts.demand.stream, request["stream"] == true, "{name}");
        let model = model("openai");
        let holdings = all_held(request, &model.provider);
        assert!(facts.stored.iter().all(|stored| holdings.holder(hash(&stored.id)).is_some()), "{name}");
        for chosen in [Chosen::Named, Chosen::Auto] {
            let target = Target { model: &model, chosen, profile: &Profile::OPENAI, holdings: &holdings };
            let prepared = found.pass(&target);
            let expected = text.replacen(&format!("\"model\":{}", request["model"]), "\"model\":\"target\"", 1);
            assert_eq!(prepared.body, expected, "{name}");
        }
        // Without an issuer no id of an item and nothing encrypted goes along.
        let nothing = Holdings::default();
        let target = Target { model: &model, chosen: Chosen::Named, profile: &Profile::OPENAI, holdings: &nothing };
        let prepared: Value = serde_json::from_slice(&found.pass(&target).body).unwrap();
        for item in prepared["input"].as_array().into_iter().flatten() {
            let is_reference = item["type"] == "item_reference";
            assert!(is_reference || (item["id"].is_null() && item["encrypted_content"].is_null()), "{name}: {item}");
        }
        count += 1;
    }
    assert!(count > 0);
    println!("{count} recorded requests pass");
}

/// What came of a stream that passed.
struct Passed {
    text: String,
    tokens: Option<[u64; 4]>,
    content_bytes: usize,
    issued: usize,
    end: Onward,
    closes: bool,
}

fn pass(events: Vec<RawEvent>) -> Passed {
    let request = scanned(PLAIN);
    let mut reader = request.passing(&Profile::OPENAI);
    let mut passed =
        Passed { text: String::new(), tokens: None, content_bytes: 0, issued: 0, end: Onward::More, closes: false };
    let mut out = Vec::new();
    for event in events {
        let seen = reader.event(event, &|_| Some(NanoUsd(7)), &mut out);
        passed.content_bytes += seen.content.unwrap_or(0);
        passed.issued += seen.issued.len();
        if let Some(usage) = seen.usage {
            let tokens = usage.tokens;
            passed.tokens = Some([tokens.input, tokens.cached_input, tokens.output, tokens.reasoning]);
        }
        if !matches!(seen.course, Onward::More) {
            passed.end = seen.course;
            break;
        }
    }
    passed.closes = reader.close(&mut out).is_ok();
    reader.finish(&|_| Some(NanoUsd(7)), &mut out);
    passed.text = String::from_utf8(out.concat()).unwrap();
    passed
}

/// The line with AiPipe's cost in the place of the provider's own, or taken out again.
fn without_cost(line: &str) -> Value {
    let mut data: Value = serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line)).unwrap();
    if let Some(usage) = data["response"]["usage"].as_object_mut() {
        usage.shift_remove("cost");
    }
    data
}

#[test]
fn every_recorded_stream_passes_untouched_but_for_its_cost() {
    let Some(exchanges) = responses() else { return };
    let (mut count, mut failed) = (0, 0);
    for exchange in &exchanges {
        let Some(stream) = &exchange.stream else { continue };
        let name = &exchange.name;
        let data: Vec<Value> =
            stream.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok()).collect();
        let whole = pass(events([stream.as_bytes()]));
        // Recordings of several answers in one go are no stream of any provider.
        let answers = data.iter().filter(|event| event["type"] == "response.created").count();
        if answers > 1 {
            continue;
        }
        if data.iter().any(|event| event["type"] == "error" || event["type"] == "response.failed") {
            assert!(matches!(whole.end, Onward::Error(_)) && !whole.closes, "{name}");
            assert!(!whole.text.contains("event: error"), "{name}");
            failed += 1;
            continue;
        }
        let last = data.iter().rev().find(|event| event["response"].is_object()).unwrap();
        let ends = matches!(last["type"].as_str(), Some("response.completed" | "response.incomplete"));
        assert_eq!((matches!(whole.end, Onward::Whole), whole.closes), (ends, ends), "{name}: {:?}", whole.end);
        let mut costs = 0;
        let mut sent = stream.lines();
        for line in whole.text.lines() {
            // An event that its recording leaves open is closed.
            let original = sent.next().unwrap_or_default();
            if line != original {
                assert!(line.contains("\"cost\":0.000000007"), "{name}: {line}");
                assert_eq!(without_cost(line), without_cost(original), "{name}");
                costs += 1;
            }
        }
        assert!(sent.all(|line| line.is_empty()), "{name}: something did not pass");
        assert_eq!(costs, i32::from(ends), "{name}");
        let figure = |path: &str| last.pointer(&format!("/response/usage{path}")).and_then(Value::as_u64).unwrap_or(0);
        let expected = [
            figure("/input_tokens"),
            figure("/input_tokens_details/cached_tokens"),
            figure("/output_tokens"),
            figure("/output_tokens_details/reasoning_tokens"),
        ];
        assert_eq!(whole.tokens, Some(expected), "{name}");
        let has_deltas = data.iter().any(|event| event["delta"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(whole.content_bytes > 0, has_deltas, "{name}");
        assert!(whole.issued > 0, "{name}");
        count += 1;
    }
    assert!(count > 0 && failed > 0);
    println!("{count} recorded streams passed, {failed} more reported an error");
}

#[test]
fn every_recorded_answer_is_read() {
    let Some(exchanges) = responses() else { return };
    let mut count = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.is_whole()) {
        let name = &exchange.name;
        let body = Bytes::from(exchange.body.to_string());
        let facts = Responses.read_answer(&body, &Profile::OPENAI).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        // Figures that are all zero are none.
        let tokens = facts.usage.unwrap_or_default().tokens;
        assert_eq!(Some(tokens.input), exchange.body["usage"]["input_tokens"].as_u64(), "{name}");
        assert_eq!(Some(tokens.output), exchange.body["usage"]["output_tokens"].as_u64(), "{name}");
        let is_incomplete = exchange.body["status"] == "incomplete";
        assert_eq!(facts.stop == Stop::Length, is_incomplete, "{name}");
        let is_kept = exchange.body["store"] != false;
        assert_eq!(facts.issued.contains(&hash(exchange.body["id"].as_str().unwrap())), is_kept, "{name}");
        for item in exchange.body["output"].as_array().unwrap() {
            for member in ["id", "encrypted_content"] {
                assert!(item[member].as_str().is_none_or(|text| facts.issued.contains(&hash(text))), "{name}");
            }
        }
        let annotated: Value = serde_json::from_slice(&annotate(&body, &facts, Some(NanoUsd(7)), Some("{}"))).unwrap();
        let mut expected = exchange.body.clone();
        expected["usage"]["cost"] = json!(0.000000007);
        expected["aipipe"] = json!({});
        assert_eq!(annotated, expected, "{name}");
        count += 1;
    }
    assert!(count > 0);
    println!("{count} recorded answers read");
}

/// Text, refusals, summaries, calls and how it ended, of a `response` object.
fn gist(response: &Value) -> Value {
    let (mut text, mut refusal, mut thoughts, mut calls) = (String::new(), String::new(), String::new(), Vec::new());
    for item in response["output"].as_array().unwrap() {
        match item["type"].as_str().unwrap() {
            "message" => {
                for part in item["content"].as_array().unwrap() {
                    text.push_str(part["text"].as_str().unwrap_or_default());
                    refusal.push_str(part["refusal"].as_str().unwrap_or_default());
                }
            }
            "reasoning" => {
                assert!(item["encrypted_content"].as_str().is_some_and(|text| text.starts_with("aipipe:1:")));
                for part in item["summary"].as_array().unwrap() {
                    thoughts.push_str(part["text"].as_str().unwrap());
                }
            }
            "function_call" => calls.push(json!([item["call_id"], item["name"], arguments(&item["arguments"])])),
            other => panic!("{other}"),
        }
    }
    json!({"text": text, "refusal": refusal, "thoughts": thoughts, "calls": calls,
        "end": [response["status"], response["incomplete_details"]["reason"]], "model": response["model"]})
}

fn arguments(text: &Value) -> Value {
    let text = text.as_str().unwrap();
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// The same of a canonical answer.
fn meant(answer: &Answer) -> Value {
    let choice = &answer.choices[0];
    let (mut text, mut refusal, mut thoughts, mut calls) = (String::new(), String::new(), String::new(), Vec::new());
    for part in &choice.parts {
        match part {
            Part::Text(more) => text.push_str(more),
            Part::Refusal(more) => refusal.push_str(more),
            Part::Reasoning(Thought { text, .. }) => thoughts.push_str(text),
            Part::ToolCall(call) => {
                let written =
                    if call.arguments.is_empty() && choice.stop != Stop::Length { "{}" } else { &call.arguments };
                calls.push(json!([call.id, call.name, arguments(&json!(written))]));
            }
            _ => {}
        }
    }
    let silent = choice.parts.is_empty();
    let end = match choice.stop {
        Stop::Length | Stop::ContextFull | Stop::Paused => json!(["incomplete", "max_output_tokens"]),
        Stop::Filtered => json!(["incomplete", "content_filter"]),
        Stop::Refusal if silent => json!(["incomplete", "content_filter"]),
        _ => json!(["completed", null]),
    };
    json!({"text": text, "refusal": refusal, "thoughts": thoughts, "calls": calls, "end": end, "model": answer.model})
}

#[test]
fn every_recorded_answer_of_another_dialect_is_written_with_all_that_it_says() {
    let Some(exchanges) = others() else { return };
    let request = scanned(PLAIN);
    let mut count = 0;
    for (exchange, dialect) in exchanges.iter().filter(|(exchange, _)| exchange.is_whole()) {
        let name = &exchange.name;
        let text = exchange.body.as_str().map_or_else(|| exchange.body.to_string(), str::to_owned);
        let answer = match dialect.decode_answer(text.as_bytes(), "some/model", &Undo::default()) {
            Ok(answer) => answer,
            Err(AnswerError::Provider(_) | AnswerError::Malformed(_)) => continue,
        };
        let body = request.write_answer(&answer, &frame());
        let written: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(gist(&written), meant(&answer), "{name}");
        let facts = Responses.read_answer(&body, &Profile::OPENAI).unwrap();
        assert_eq!(facts.usage.map(|usage| usage.tokens), answer.usage.map(|usage| usage.tokens), "{name}");

        // It reads back from a history, with what its model wants back.
        let mut input = vec![json!({"role": "user", "content": "hi"})];
        input.extend(written["output"].as_array().unwrap().iter().cloned());
        input.push(json!({"role": "user", "content": "go on"}));
        let next = json!({"model": "m", "input": input}).to_string();
        let next = scanned(next.as_bytes());
        assert_eq!(next.facts().stored, [], "{name}");
        let decoded = next.decode().unwrap_or_else(|error| panic!("{name}: {error}"));
        let turns = decoded.conversation.turns.iter().filter(|turn| turn.role == Role::Assistant);
        let read: Vec<String> = turns.flat_map(|turn| turn.parts.iter().map(|part| format!("{part:?}"))).collect();
        let opaque = |debug: &str| debug.matches("origin: \"some/model\"").count();
        let sent: String = answer.choices[0].parts.iter().map(|part| format!("{part:?}")).collect();
        assert_eq!(opaque(&read.concat()), opaque(&sent), "{name}");
        count += 1;
    }
    assert!(count > 0);
    println!("{count} recorded answers of other dialects written");
}

/// Puts together the response that a stream describes, and holds it to the order that clients rely on.
fn assembled(name: &str, stream: &str) -> Value {
    let mut output: Vec<Value> = Vec::new();
    let mut ended = Value::Null;
    for (number, event) in events([stream.as_bytes()]).into_iter().filter(|event| !event.is_comment()).enumerate() {
        assert!(ended.is_null(), "{name}: something follows the end");
        let data: Value = serde_json::from_str(event.data()).unwrap();
        assert_eq!(data["type"], event.name(), "{name}");
        assert_eq!(data["sequence_number"], number, "{name}");
        let index = data["output_index"].as_u64().map(|index| index as usize);
        match event.name() {
            "response.created" => assert_eq!(number, 0, "{name}"),
            "response.in_progress" => assert_eq!(number, 1, "{name}"),
            "response.output_item.added" => {
                assert_eq!(index, Some(output.len()), "{name}");
                output.push(data["item"].clone());
            }
            "response.output_item.done" => {
                let item = &mut output[index.unwrap()];
                assert_eq!((&item["id"], &item["type"]), (&data["item"]["id"], &data["item"]["type"]), "{name}");
                if let Some(text) = item["so_far"].as_str() {
                    assert_eq!(data["item"]["arguments"], text, "{name}");
                }
                *item = data["item"].clone();
            }
            "response.completed" | "response.incomplete" => {
                assert_eq!(data["response"]["output"], json!(output), "{name}");
                assert_eq!(event.name(), format!("response.{}", data["response"]["status"].as_str().unwrap()));
                ended = data["response"].clone();
            }
            kind => {
                let item = &mut output[index.unwrap()];
                assert_eq!(item["id"], data["item_id"], "{name}: {kind}");
                if kind.ends_with("_call_arguments.delta") {
                    let so_far = item["so_far"].as_str().unwrap_or_default().to_owned();
                    item["so_far"] = json!(so_far + data["delta"].as_str().unwrap());
                }
            }
        }
    }
    assert!(!ended.is_null(), "{name}: no end");
    ended
}

#[test]
fn every_recorded_stream_of_another_dialect_is_written_with_all_that_it_says() {
    let Some(exchanges) = others() else { return };
    let request = scanned(br#"{"model":"m","input":"hi","stream":true}"#);
    let mut count = 0;
    for (exchange, dialect) in &exchanges {
        let Some(stream) = &exchange.stream else { continue };
        let name = &exchange.name;
        let mut decoder = dialect.stream_decoder("some/model", Undo::default());
        let mut read = Vec::new();
        let mut whole = false;
        let mut fine = true;
        for event in events([stream.as_bytes()]).iter().filter(|event| !event.is_comment()) {
            match decoder.event(event.name(), event.data(), &mut read) {
                Ok(Step::Continue) => {}
                Ok(Step::End) => {
                    whole = true;
                    break;
                }
                Ok(Step::Error(_)) | Err(_) => {
                    fine = false;
                    break;
                }
            }
        }
        if !fine || (!whole && decoder.close(&mut read).is_err()) {
            continue;
        }
        let mut encoder = request.stream_encoder(&frame());
        let mut out = Vec::new();
        for event in &read {
            encoder.event(event, &mut out);
        }
        encoder.finish(Some("0.5"), &mut out);
        let response = assembled(name, &String::from_utf8(out).unwrap());
        assert!(response["usage"].is_null() || response["usage"]["cost"] == json!(0.5), "{name}");
        let told = gist(&response);
        let of = |pick: fn(&Event) -> Option<&str>| read.iter().filter_map(pick).collect::<String>();
        assert_eq!(told["text"], of(|event| if let Event::Text(text) = event { Some(text) } else { None }), "{name}");
        let refused = of(|event| if let Event::Refusal(text) = event { Some(text) } else { None });
        assert_eq!(told["refusal"], refused, "{name}");
        let thought = of(|event| if let Event::Reasoning(text) = event { Some(text) } else { None });
        assert_eq!(told["thoughts"], thought, "{name}");
        let calls = read.iter().filter(|event| matches!(event, Event::ToolCallStart { .. })).count();
        assert_eq!(told["calls"].as_array().unwrap().len(), calls, "{name}");
        for (number, call) in told["calls"].as_array().unwrap().iter().enumerate() {
            let pieces = read.iter().filter_map(|event| match event {
                Event::ToolArguments { index, delta } if *index as usize == number => Some(delta.as_str()),
                _ => None,
            });
            let sent: String = pieces.collect();
            if !sent.is_empty() {
                assert_eq!(call[2], arguments(&json!(sent)), "{name}");
            }
        }
        count += 1;
    }
    assert!(count > 0);
    println!("{count} recorded streams of other dialects written");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_stream_passes_alike_however_its_bytes_are_cut(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let created = json!({"id": "resp_1", "status": "in_progress", "output": [], "note": "é🙂"});
        let done = json!({"id": "resp_1", "status": "completed", "output": [{"type": "message", "id": "msg_1", "content": [{"text": "é"}]}],
            "usage": {"input_tokens": 3, "output_tokens": 2}});
        let stream = [
            ("response.created", json!({"type": "response.created", "sequence_number": 0, "response": created})),
            ("response.output_text.delta", json!({"type": "response.output_text.delta", "sequence_number": 1, "delta": "é🙂\n"})),
            ("response.completed", json!({"type": "response.completed", "sequence_number": 2, "response": done})),
        ]
        .map(|(name, data)| format!("event: {name}\r\ndata: {data}\r\n\r\n"))
        .concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]);
        let (whole, cut) = (pass(events([stream.as_bytes()])), pass(events(pieces)));
        prop_assert_eq!(&whole.text, &cut.text);
        prop_assert!(matches!(cut.end, Onward::Whole));
        prop_assert_eq!(whole.text.replace(",\"cost\":0.000000007", ""), stream);
    }
}
