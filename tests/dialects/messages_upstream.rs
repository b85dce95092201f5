//! The Messages dialect over recorded traffic: what the decoders make of each exchange equals what a plain walk over its JSON gives.
use aipipe::dialects::anthropic::Anthropic;
use aipipe::dialects::conversation::{Answer, Event, Part, Stop, Usage};
use aipipe::dialects::translate::{Step, Undo, UpstreamDialect as _};
use http::StatusCode;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::recordings::{self, Exchange};

const ORIGIN: &str = "anthropic/recorded";

/// The recorded exchanges of one kind; `None` where there are no recordings at all.
fn exchanges(kind: impl Fn(&Exchange) -> bool) -> Option<Vec<Exchange>> {
    let mut exchanges = recordings::exchanges("anthropic-messages")?;
    exchanges.retain(kind);
    assert!(!exchanges.is_empty());
    Some(exchanges)
}

/// What an answer comes to, whichever way it was read.
#[derive(Debug, Default, PartialEq)]
struct Gist {
    text: String,
    thoughts: String,
    /// Signatures and redacted thoughts, in order.
    opaque: Vec<String>,
    /// Id, name and arguments.
    calls: Vec<(String, String, Value)>,
    stop: Option<Stop>,
    stop_sequence: Option<String>,
    /// Input, read from the cache, written to it, output, reasoning.
    tokens: [u64; 5],
}

fn tokens_of(usage: Option<Usage>) -> [u64; 5] {
    let tokens = usage.expect("usage").tokens;
    [tokens.input, tokens.cached_input, tokens.cache_write, tokens.output, tokens.reasoning]
}

fn json_of(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| panic!("{arguments:?} is not JSON"))
}

fn gist_of_answer(answer: &Answer) -> Gist {
    let choice = &answer.choices[0];
    let mut gist = Gist {
        stop: Some(choice.stop),
        stop_sequence: choice.stop_sequence.clone(),
        tokens: tokens_of(answer.usage),
        ..Gist::default()
    };
    for part in &choice.parts {
        match part {
            Part::Text(text) | Part::Refusal(text) => gist.text.push_str(text),
            Part::Reasoning(thought) => {
                gist.thoughts.push_str(&thought.text);
                gist.opaque.extend(thought.opaque.iter().map(|opaque| opaque.data.clone()));
            }
            Part::ToolCall(call) => gist.calls.push((call.id.clone(), call.name.clone(), json_of(&call.arguments))),
            other => panic!("{other:?}"),
        }
    }
    gist
}

fn gist_of_events(events: Vec<Event>) -> Gist {
    let mut gist = Gist::default();
    let mut calls: Vec<(String, String, String)> = Vec::new();
    let mut usage = None;
    for event in events {
        match event {
            Event::Text(text) | Event::Refusal(text) => gist.text.push_str(&text),
            Event::Reasoning(text) => gist.thoughts.push_str(&text),
            Event::ReasoningOpaque(opaque) => gist.opaque.push(opaque.data),
            Event::ToolCallStart { index, id, name, .. } => {
                assert_eq!(index as usize, calls.len(), "calls are numbered in order");
                calls.push((id, name, String::new()));
            }
            Event::ToolArguments { index, delta } => calls[index as usize].2.push_str(&delta),
            Event::Usage(figures) => usage = Some(figures),
            Event::Stop { reason, sequence } => {
                assert_eq!(gist.stop, None, "the stop is told once");
                (gist.stop, gist.stop_sequence) = (Some(reason), sequence);
            }
            Event::Start { .. } | Event::Ping => {}
        }
    }
    gist.calls = calls.into_iter().map(|(id, name, arguments)| (id, name, json_of(&arguments))).collect();
    gist.tokens = tokens_of(usage);
    gist
}

/// The plain walk over a whole message.
fn gist_of_message(message: &Value) -> Gist {
    let mut gist = Gist::default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for block in message["content"].as_array().unwrap() {
        match block["type"].as_str().unwrap() {
            "text" => gist.text.push_str(block["text"].as_str().unwrap()),
            "thinking" => {
                gist.thoughts.push_str(block["thinking"].as_str().unwrap());
                gist.opaque.push(text(&block["signature"]));
            }
            "redacted_thinking" => gist.opaque.push(text(&block["data"])),
            "tool_use" => gist.calls.push((text(&block["id"]), text(&block["name"]), block["input"].clone())),
            _ => {}
        }
    }
    gist.opaque.retain(|data| !data.is_empty());
    gist.stop = Some(match message["stop_reason"].as_str().unwrap() {
        "end_turn" => Stop::End,
        "tool_use" => Stop::ToolUse,
        "max_tokens" => Stop::Length,
        "stop_sequence" => Stop::Sequence,
        "refusal" => Stop::Refusal,
        "pause_turn" => Stop::Paused,
        other => panic!("{other}"),
    });
    if gist.stop == Some(Stop::Refusal) {
        gist.text.push_str(message["stop_details"]["explanation"].as_str().unwrap());
    }
    gist.stop_sequence = message["stop_sequence"].as_str().map(str::to_owned);
    let figure = |name: &str| message["usage"][name].as_u64().unwrap_or(0);
    let (read, written) = (figure("cache_read_input_tokens"), figure("cache_creation_input_tokens"));
    let thinking = message["usage"]["output_tokens_details"]["thinking_tokens"].as_u64().unwrap_or(0);
    gist.tokens = [figure("input_tokens") + read + written, read, written, figure("output_tokens"), thinking];
    gist
}

/// The plain walk over a stream: puts the message together that the events describe.
fn message_of(events: &[(String, String)]) -> Value {
    let mut message = Value::Null;
    let mut blocks: BTreeMap<u64, Value> = BTreeMap::new();
    let mut inputs: BTreeMap<u64, String> = BTreeMap::new();
    for (_, data) in events {
        let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
        let index = event["index"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                blocks.insert(index, event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = blocks.get_mut(&index).unwrap();
                for field in ["text", "thinking", "signature"] {
                    if let Some(more) = event["delta"][field].as_str() {
                        block[field] = Value::from(block[field].as_str().unwrap_or_default().to_owned() + more);
                    }
                }
                if let Some(more) = event["delta"]["partial_json"].as_str() {
                    inputs.entry(index).or_default().push_str(more);
                }
            }
            "message_delta" => {
                for (field, value) in event["delta"].as_object().unwrap() {
                    message[field] = value.clone();
                }
                for (field, value) in event["usage"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
                    message["usage"][field] = value.clone();
                }
            }
            _ => {}
        }
    }
    for (index, input) in inputs.into_iter().filter(|(_, input)| !input.is_empty()) {
        blocks.get_mut(&index).unwrap()["input"] = json_of(&input);
    }
    message["content"] = blocks.into_values().collect();
    message
}

/// Server-sent events: name and data.
fn events_of(sse: &str) -> Vec<(String, String)> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim_start().to_owned()
    };
    let events = sse.split("\n\n").map(|block| (field(block, "event:"), field(block, "data:")));
    events.filter(|(_, data)| !data.is_empty()).collect()
}

#[test]
fn whole_answers_read_as_they_say() {
    let Some(exchanges) = exchanges(|exchange| exchange.is_whole()) else { return };
    for exchange in &exchanges {
        let body = &exchange.body;
        let answer = Anthropic.decode_answer(body.to_string().as_bytes(), ORIGIN, &Undo::default());
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error:?}", exchange.name));
        assert_eq!(gist_of_answer(&answer), gist_of_message(body), "{}", exchange.name);
        assert_eq!(
            (answer.id.as_str(), answer.model.as_str()),
            (body["id"].as_str().unwrap(), body["model"].as_str().unwrap())
        );
    }
    println!("read {} whole answers", exchanges.len());
}

#[test]
fn streams_read_as_the_message_they_describe() {
    let Some(exchanges) = exchanges(|exchange| exchange.stream.is_some()) else { return };
    let mut broken = 0;
    for exchange in &exchanges {
        let recorded = events_of(exchange.stream.as_deref().unwrap());
        let mut decoder = Anthropic.stream_decoder(ORIGIN, Undo::default());
        let mut events = Vec::new();
        let mut last = Step::Continue;
        for (name, data) in &recorded {
            match decoder.event(name, data, &mut events) {
                Ok(Step::Continue) => {}
                Ok(step) => last = step,
                Err(error) => panic!("{}: {error}", exchange.name),
            }
        }
        if recorded.iter().any(|(name, _)| name == "error") {
            assert!(matches!(last, Step::Error(_)), "{}: {last:?}", exchange.name);
            assert!(decoder.close(&mut events).is_err(), "{}", exchange.name);
            assert!(!events.iter().any(|event| matches!(event, Event::Stop { .. })), "{}", exchange.name);
            broken += 1;
            continue;
        }
        assert_eq!((last, decoder.close(&mut events)), (Step::End, Ok(())), "{}", exchange.name);
        // One recording holds the next answer of its conversation behind the first.
        let end = recorded.iter().position(|(name, _)| name == "message_stop").unwrap();
        let described = message_of(&recorded[..=end]);
        assert_eq!(gist_of_events(events), gist_of_message(&described), "{}", exchange.name);
    }
    println!("read {} streams, {broken} of them broken by an error", exchanges.len());
}

#[test]
fn a_stream_cut_anywhere_before_its_end_is_never_whole() {
    let Some(exchanges) = exchanges(|exchange| exchange.stream.is_some()) else { return };
    for exchange in &exchanges {
        let recorded = events_of(exchange.stream.as_deref().unwrap());
        let end = recorded.iter().position(|(name, _)| name == "message_stop").unwrap_or(recorded.len());
        let mut decoder = Anthropic.stream_decoder(ORIGIN, Undo::default());
        let mut events = Vec::new();
        for (name, data) in &recorded[..end] {
            assert!(decoder.close(&mut events).is_err(), "{}", exchange.name);
            decoder.event(name, data, &mut events).unwrap();
        }
        assert!(decoder.close(&mut events).is_err(), "{}", exchange.name);
    }
    println!("cut {} streams", exchanges.len());
}

#[test]
fn errors_read_as_they_say() {
    let Some(exchanges) = exchanges(|exchange| exchange.status >= 400) else { return };
    for exchange in &exchanges {
        let body = &exchange.body;
        let error = Anthropic.decode_error(StatusCode::from_u16(exchange.status).unwrap(), body.to_string().as_bytes());
        assert_eq!(error.status.as_u16(), exchange.status, "{}", exchange.name);
        assert_eq!(error.code.as_deref(), body["error"]["type"].as_str(), "{}", exchange.name);
        assert_eq!(Some(error.message.as_str()), body["error"]["message"].as_str(), "{}", exchange.name);
    }
    println!("read {} errors", exchanges.len());
}
