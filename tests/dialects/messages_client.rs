//! Messages as a client's dialect, held against recorded traffic of Anthropic's.

use aipipe::dialects::anthropic::{Anthropic, Messages};
use aipipe::dialects::client::{Addressed, Chosen, ClientRequest, ClientSurface as _, Frame, Onward, Target, annotate};
use aipipe::dialects::conversation::{Event, Part, Role, Stop};
use aipipe::dialects::issued::Holdings;
use aipipe::dialects::scan::PromptHasher;
use aipipe::dialects::translate::{Step, Undo, UpstreamDialect as _};
use aipipe::providers::Profile;
use aipipe::upstream::sse::RawEvent;
use aipipe_actors::catalogue::{Model, ParameterLimits, ReasoningControl};
use aipipe_actors::identity::RequestId;
use aipipe_actors::money::NanoUsd;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::recordings::{self, events};

const ORIGIN: &str = "anthropic/target";
/// Members that a translation carries.
const CARRIED: [&str; 12] = [
    "model",
    "max_tokens",
    "system",
    "messages",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "temperature",
    "top_k",
    "stop_sequences",
    "stream",
];

/// A model that takes thinking the way the request asks for it, so that nothing needs to be fitted.
fn model(request: &Value) -> Model {
    let reasoning = if request["thinking"]["type"] == "enabled" {
        ReasoningControl::Budget
    } else if request["output_config"]["effort"].is_string() {
        ReasoningControl::Level
    } else {
        ReasoningControl::None
    };
    Model { parameters: ParameterLimits { reasoning, ..ParameterLimits::default() }, ..recordings::model("anthropic") }
}

fn scanned(body: &[u8]) -> Box<dyn ClientRequest + '_> {
    Messages.scan(body, &Addressed::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn is_run_by_anthropic(block: &Value) -> bool {
    let kind = block["type"].as_str().unwrap_or_default();
    kind == "server_tool_use" || (kind != "tool_result" && kind.ends_with("_tool_result"))
}

/// What is left of a block, or of a list of them, when spellings that mean the same are made one.
fn plain_content(content: &Value, keep_thoughts: bool) -> Vec<Value> {
    let blocks = match content {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    };
    let thought = |block: &Value| matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"));
    let kept = blocks.into_iter().filter(|block| !is_run_by_anthropic(block) && (keep_thoughts || !thought(block)));
    kept.map(|mut block| {
        let members = block.as_object_mut().unwrap();
        members.retain(|name, value| !matches!(&**name, "cache_control" | "citations" | "caller") && !value.is_null());
        if members.get("is_error") == Some(&json!(false)) {
            members.shift_remove("is_error");
        }
        if block["type"] == "tool_result" {
            block["content"] = plain_content(&block["content"], keep_thoughts).into();
        }
        block
    })
    .collect()
}

/// What a request means, as far as a translation carries it.
fn meaning(request: &Value, keep_thoughts: bool) -> Value {
    let mut meaning = request.clone();
    if let Some(format) = meaning.as_object_mut().unwrap().shift_remove("output_format") {
        meaning["output_config"]["format"] = format;
    }
    let members = meaning.as_object_mut().unwrap();
    members.retain(|name, value| CARRIED.contains(&&**name) && !value.is_null());
    members.insert("model".into(), json!("target"));
    if members.get("stream") == Some(&json!(false)) {
        members.shift_remove("stream");
    }
    if let Some(system) = members.get("system") {
        let system = plain_content(system, keep_thoughts);
        members.insert("system".into(), system.into());
    }
    if let Some(tools) = members.get_mut("tools").and_then(Value::as_array_mut) {
        tools.retain(|tool| tool.get("type").is_none_or(|kind| kind == "custom"));
        for tool in tools.iter_mut() {
            tool.as_object_mut()
                .unwrap()
                .retain(|name, _| matches!(&**name, "name" | "description" | "input_schema" | "strict"));
        }
        if tools.is_empty() {
            members.shift_remove("tools");
            members.shift_remove("tool_choice");
        }
    }
    // What is the default need not be said.
    if let Some(choice) = members.get_mut("tool_choice") {
        if choice["disable_parallel_tool_use"] != true {
            choice.as_object_mut().unwrap().shift_remove("disable_parallel_tool_use");
        }
        if *choice == json!({"type": "auto"}) {
            members.shift_remove("tool_choice");
        }
    }
    for message in members["messages"].as_array_mut().unwrap() {
        message["content"] = plain_content(&message["content"], keep_thoughts).into();
    }
    sorted(&meaning)
}

/// The same value with the members of each object in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Marks every thought of the history as the target's.
fn marked(request: &Value) -> Value {
    let mut marked = request.clone();
    for message in marked["messages"].as_array_mut().unwrap() {
        for block in message["content"].as_array_mut().into_iter().flatten() {
            let (member, kind) = match block["type"].as_str() {
                Some("thinking") => ("signature", "signature"),
                Some("redacted_thinking") => ("data", "redacted"),
                _ => continue,
            };
            block[member] = json!(format!("aipipe:1:{kind}:{ORIGIN}:{}", block[member].as_str().unwrap()));
        }
    }
    marked
}

#[test]
fn every_recorded_request_passes_and_survives_a_translation() {
    let Some(exchanges) = recordings::exchanges("anthropic-messages") else { return };
    let hasher = PromptHasher::default();
    let (mut read, mut translated) = (0, 0);
    for exchange in &exchanges {
        let Some(request) = &exchange.request else { continue };
        let name = &exchange.name;
        let (text, pretty) = (request.to_string(), serde_json::to_string_pretty(request).unwrap());
        let found = scanned(text.as_bytes());
        let facts = found.facts();
        assert_eq!(facts.model, request["model"].as_str().unwrap(), "{name}");
        assert_eq!(facts.demand.stream, request["stream"] == true, "{name}");
        assert_eq!(facts.demand.output_limit, request["max_tokens"].as_u64(), "{name}");
        assert!(facts.demand.input_tokens > 0 && facts.demand.input_tokens <= facts.demand.input_bound, "{name}");
        assert_eq!(found.prompt_key(&hasher), scanned(pretty.as_bytes()).prompt_key(&hasher), "{name}");

        let model = model(request);
        for chosen in [Chosen::Named, Chosen::Auto] {
            let target = Target { model: &model, chosen, profile: &Profile::ANTHROPIC, holdings: &Holdings::default() };
            let prepared = found.pass(&target);
            assert_eq!(prepared.body, text.replacen(&request["model"].to_string(), "\"target\"", 1), "{name}");
            assert_eq!(prepared.dropped, [""; 0], "{name}");
            // What AiPipe marked goes back as it came from the model.
            let marked = marked(request).to_string();
            let back = scanned(marked.as_bytes()).pass(&target);
            assert_eq!(back.body, prepared.body, "{name}");
        }

        let computer = request["tools"].as_array().into_iter().flatten();
        if computer.filter_map(|tool| tool["type"].as_str()).any(|kind| kind.starts_with("computer_")) {
            let error = found.decode().unwrap_err();
            assert!(error.param.unwrap().starts_with("tools["), "{name}");
        } else {
            for (request, keeps) in [(request.clone(), false), (marked(request), true)] {
                let text = request.to_string();
                let found = scanned(text.as_bytes());
                let decoded = found.decode().unwrap_or_else(|error| panic!("{name}: {error}"));
                let encoded = Anthropic.encode_request(&decoded.conversation, &model);
                let encoded = encoded.unwrap_or_else(|error| panic!("{name}: {error}"));
                let written: Value = serde_json::from_slice(&encoded.body).unwrap();
                let mut expected = meaning(exchange.request.as_ref().unwrap(), keeps);
                if expected["messages"].as_array().unwrap().iter().any(|m| m["content"] == json!([])) {
                    expected["messages"].as_array_mut().unwrap().retain(|m| m["content"] != json!([]));
                }
                assert_eq!(meaning(&written, true), expected, "{name}");
            }
            translated += 1;
        }
        read += 1;
    }
    assert!(read > 0 && translated > 0, "no recorded request was read");
    println!("{read} recorded requests read, {translated} of them translated and back");
}

/// What came of a stream that passed.
struct Passed {
    text: String,
    tokens: Option<[u64; 4]>,
    content_bytes: usize,
    end: Onward,
    closes: bool,
}

fn pass(events: Vec<RawEvent>) -> Passed {
    let body = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = scanned(body);
    let mut reader = request.passing(&Profile::ANTHROPIC);
    let mut passed = Passed { text: String::new(), tokens: None, content_bytes: 0, end: Onward::More, closes: false };
    let mut out = Vec::new();
    for event in events {
        let seen = reader.event(event, &|_| Some(NanoUsd(7)), &mut out);
        passed.content_bytes += seen.content.unwrap_or(0);
        if let Some(usage) = seen.usage {
            let tokens = usage.tokens;
            passed.tokens = Some([tokens.input, tokens.cached_input, tokens.cache_write, tokens.output]);
        }
        if !matches!(seen.course, Onward::More) && matches!(passed.end, Onward::More) {
            passed.end = seen.course;
        }
    }
    passed.closes = reader.close(&mut out).is_ok();
    reader.finish(&|_| Some(NanoUsd(7)), &mut out);
    passed.text = String::from_utf8(out.concat()).unwrap();
    passed
}

/// The member `cost` as a server wrote it.
fn own_cost(line: &str) -> Option<&str> {
    let start = line.find("\"cost\":")?;
    let length = line[start..].find([',', '}'])?;
    Some(&line[start..start + length])
}

#[test]
fn every_recorded_stream_passes_untouched_but_for_its_cost() {
    let Some(exchanges) = recordings::exchanges("anthropic-messages") else { return };
    let (mut count, mut failed) = (0, 0);
    for exchange in &exchanges {
        let Some(stream) = &exchange.stream else { continue };
        let name = &exchange.name;
        let data: Vec<Value> =
            stream.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok()).collect();
        let boundaries: Vec<usize> = stream.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        let whole = pass(events([stream.as_bytes()]));
        for &cut in &boundaries {
            assert_eq!(
                pass(events([&stream.as_bytes()[..cut], &stream.as_bytes()[cut..]])).text,
                whole.text,
                "{name} cut at {cut}"
            );
        }
        if data.iter().any(|event| event["type"] == "error") {
            assert!(matches!(whole.end, Onward::Error(_)) && !whole.closes, "{name}");
            assert!(!whole.text.contains("event: error"), "{name}");
            failed += 1;
            continue;
        }
        let ends = data.iter().any(|event| event["type"] == "message_stop");
        assert_eq!((matches!(whole.end, Onward::Whole), whole.closes), (ends, ends), "{name}");

        let mut costs = 0;
        let mut sent = stream.lines();
        for line in whole.text.lines() {
            let original = sent.next().unwrap();
            if line == original {
                continue;
            }
            // OpenRouter states a cost of its own, whose place AiPipe's takes.
            let own = own_cost(original).map(|own| original.replacen(own, "\"cost\":0.000000007", 1));
            match own {
                Some(expected) => assert_eq!(line, expected, "{name}"),
                None => assert_eq!(line.replacen(",\"cost\":0.000000007", "", 1), original, "{name}"),
            }
            assert!(original.contains("message_delta"), "{name}");
            costs += 1;
        }
        let deltas = data.iter().filter(|event| event["type"] == "message_delta" && event["usage"].is_object());
        assert_eq!(costs, deltas.count(), "{name}");

        let figure = |member: &str| {
            let usages = data.iter().rev().filter_map(|event| {
                event.get("usage").or_else(|| event.pointer("/message/usage"))?.get(member)?.as_u64()
            });
            usages.into_iter().next().unwrap_or(0)
        };
        let (read, written) = (figure("cache_read_input_tokens"), figure("cache_creation_input_tokens"));
        let expected = [figure("input_tokens") + read + written, read, written, figure("output_tokens")];
        assert_eq!(whole.tokens, Some(expected), "{name}");
        let has_text = data.iter().any(|event| event.pointer("/delta/text").is_some());
        assert!(whole.content_bytes > 0 || !has_text, "{name}");
        count += 1;
    }
    assert!(count > 0, "no recorded stream was read");
    println!("{count} recorded streams passed, {failed} more reported an error");
}

/// Text, thoughts, calls, stop reason, stop sequence and usage of an answer.
fn gist(message: &Value, origin: &str) -> Value {
    let mut text = String::new();
    let (mut thoughts, mut calls) = (Vec::new(), Vec::new());
    let raw = |data: &Value, kind: &str| {
        let data = data.as_str().unwrap_or_default();
        data.strip_prefix(&format!("aipipe:1:{kind}:{origin}:")).unwrap_or(data).to_owned()
    };
    for block in message["content"].as_array().unwrap() {
        match block["type"].as_str().unwrap() {
            "text" => text.push_str(block["text"].as_str().unwrap()),
            "thinking" => thoughts.push(json!([block["thinking"], raw(&block["signature"], "signature")])),
            "redacted_thinking" => thoughts.push(json!(raw(&block["data"], "redacted"))),
            "tool_use" => calls.push(json!([block["id"], block["name"], block["input"]])),
            _ => {}
        }
    }
    if let Some(explanation) = message["stop_details"]["explanation"].as_str() {
        text.push_str(explanation);
    }
    let figure = |path: &str| message.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let usage = [
        "/usage/input_tokens",
        "/usage/cache_read_input_tokens",
        "/usage/cache_creation_input_tokens",
        "/usage/output_tokens",
        "/usage/output_tokens_details/thinking_tokens",
    ];
    json!({
        "model": message["model"], "text": text, "thoughts": thoughts, "calls": calls,
        "stop": [message["stop_reason"], message["stop_sequence"]], "usage": usage.map(figure),
    })
}

fn frame() -> Frame {
    Frame { request_id: RequestId::generate(), created: 0 }
}

const THINKING: &[u8] =
    br#"{"model":"m","max_tokens":9,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn every_recorded_answer_is_written_again_as_it_was() {
    let Some(exchanges) = recordings::exchanges("anthropic-messages") else { return };
    let request = scanned(THINKING);
    let mut count = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.is_whole()) {
        let name = &exchange.name;
        let text = exchange.body.to_string();
        let answer = Anthropic.decode_answer(text.as_bytes(), ORIGIN, &Undo::default());
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let body = request.write_answer(&answer, &frame());
        let written: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(gist(&written, ORIGIN), gist(&exchange.body, ORIGIN), "{name}");
        assert!(written["id"].as_str().unwrap().starts_with("msg_"), "{name}");

        for (body, message) in [(body, &written), (Bytes::from(text), &exchange.body)] {
            let facts = Messages.read_answer(&body, &Profile::ANTHROPIC).unwrap();
            assert_eq!(facts.usage, answer.usage, "{name}");
            assert_eq!((facts.stop, facts.is_whole), (answer.choices[0].stop, true), "{name}");
            let annotated: Value =
                serde_json::from_slice(&annotate(&body, &facts, Some(NanoUsd(7)), Some("{}"))).unwrap();
            let mut expected = message.clone();
            expected["usage"]["cost"] = json!(0.000000007);
            expected["aipipe"] = json!({});
            assert_eq!(annotated, expected, "{name}");
        }
        count += 1;
    }
    assert!(count > 0, "no recorded answer was read");
    println!("{count} recorded answers written again");
}

/// Puts together the message that a stream describes, as the SDKs do, and holds it to the order that they rely on.
fn assembled(name: &str, stream: &str) -> Value {
    let mut message = Value::Null;
    let mut open: Option<(Value, String)> = None;
    let mut last = String::new();
    for event in events([stream.as_bytes()]) {
        let data: Value = serde_json::from_str(event.data()).unwrap();
        assert_eq!(data["type"], event.name(), "{name}");
        let kind = event.name().to_owned();
        match &*kind {
            "message_start" => {
                assert!(message.is_null(), "{name}: begun twice");
                message = data["message"].clone();
                assert!(message["usage"].is_object(), "{name}");
            }
            "content_block_start" => {
                assert!(open.is_none(), "{name}: a block begins within another");
                assert_eq!(data["index"], message["content"].as_array().unwrap().len(), "{name}");
                open = Some((data["content_block"].clone(), String::new()));
            }
            "content_block_delta" => {
                let (block, input) = open.as_mut().unwrap_or_else(|| panic!("{name}: a delta without a block"));
                assert_eq!(data["index"], message["content"].as_array().unwrap().len(), "{name}");
                for member in ["text", "thinking", "signature"] {
                    if let Some(more) = data["delta"][member].as_str() {
                        block[member] = json!(format!("{}{more}", block[member].as_str().unwrap()));
                    }
                }
                input.push_str(data["delta"]["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                let (mut block, input) = open.take().unwrap();
                if !input.is_empty() {
                    block["input"] = serde_json::from_str(&input).unwrap();
                }
                message["content"].as_array_mut().unwrap().push(block);
            }
            "message_delta" => {
                assert!(open.is_none(), "{name}: a block is left open");
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["stop_sequence"] = data["delta"]["stop_sequence"].clone();
                message["usage"] = data["usage"].clone();
            }
            "ping" | "message_stop" => {}
            other => panic!("{name}: {other}"),
        }
        last = kind;
    }
    assert_eq!(last, "message_stop", "{name}");
    message
}

#[test]
fn every_recorded_stream_is_written_again_as_it_was() {
    let Some(exchanges) = recordings::exchanges("anthropic-messages") else { return };
    let request = scanned(THINKING);
    let mut count = 0;
    for exchange in &exchanges {
        let Some(stream) = &exchange.stream else { continue };
        let name = &exchange.name;
        let mut decoder = Anthropic.stream_decoder(ORIGIN, Undo::default());
        let mut read = Vec::new();
        let steps: Vec<Step> = events([stream.as_bytes()])
            .iter()
            .filter(|event| !event.is_comment())
            .map(|event| decoder.event(event.name(), event.data(), &mut read).unwrap())
            .collect();
        if !steps.contains(&Step::End) {
            continue;
        }
        let mut encoder = request.stream_encoder(&frame());
        let mut out = Vec::new();
        for event in &read {
            encoder.event(event, &mut out);
        }
        encoder.finish(Some("0.5"), &mut out);
        let message = assembled(name, &String::from_utf8(out).unwrap());
        assert_eq!(message["usage"]["cost"], json!(0.5), "{name}");

        // The same events as a whole answer say the same.
        let told = gist(&message, ORIGIN);
        let texts: String = read
            .iter()
            .filter_map(|event| match event {
                Event::Text(text) | Event::Refusal(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(told["text"], texts, "{name}");
        let calls = read.iter().filter(|event| matches!(event, Event::ToolCallStart { .. })).count();
        assert_eq!(told["calls"].as_array().unwrap().len(), calls, "{name}");
        let thoughts: String = read
            .iter()
            .filter_map(|event| match event {
                Event::Reasoning(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let written: String = told["thoughts"].as_array().unwrap().iter().filter_map(|t| t[0].as_str()).collect();
        assert_eq!(written, thoughts, "{name}");
        let opaque = read.iter().filter(|event| matches!(event, Event::ReasoningOpaque(_))).count();
        assert_eq!(message.to_string().matches(&format!(":{ORIGIN}:")).count(), opaque, "{name}");
        let stop = read.iter().find_map(|event| match event {
            Event::Stop { reason, .. } => Some(*reason),
            _ => None,
        });
        let expected = match stop.unwrap() {
            Stop::End => "end_turn",
            Stop::ToolUse => "tool_use",
            Stop::Length => "max_tokens",
            Stop::Sequence => "stop_sequence",
            Stop::Refusal => "refusal",
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(told["stop"][0], expected, "{name}");
        count += 1;
    }
    assert!(count > 0, "no recorded stream was read");
    println!("{count} recorded streams written again");
}

#[test]
fn a_history_written_by_aipipe_reads_back() {
    let Some(exchanges) = recordings::exchanges("anthropic-messages") else { return };
    let request = scanned(THINKING);
    let mut count = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.is_whole()) {
        let name = &exchange.name;
        let text = exchange.body.to_string();
        let answer = Anthropic.decode_answer(text.as_bytes(), "gemini/some:model", &Undo::default()).unwrap();
        let written: Value = serde_json::from_slice(&request.write_answer(&answer, &frame())).unwrap();
        let next = json!({"model": "m", "max_tokens": 9, "messages": [
            {"role": "user", "content": "hi"}, {"role": "assistant", "content": written["content"]}, {"role": "user", "content": "go on"},
        ]});
        let next = next.to_string();
        let decoded = scanned(next.as_bytes()).decode().unwrap_or_else(|error| panic!("{name}: {error}"));
        let parts = |parts: &[Part]| -> Vec<String> {
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) | Part::Refusal(text) => format!("text {text}"),
                    other => format!("{other:?}"),
                })
                .collect()
        };
        let turns = decoded.conversation.turns.iter().filter(|turn| turn.role == Role::Assistant);
        let read: Vec<String> = turns.flat_map(|turn| parts(&turn.parts)).collect();
        assert_eq!(read, parts(&answer.choices[0].parts), "{name}");
        count += 1;
    }
    assert!(count > 0, "no recorded answer was read");
    println!("{count} recorded answers read back from a history");
}
