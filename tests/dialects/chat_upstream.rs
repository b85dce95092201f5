//! Chat Completions as a provider's dialect, held against the recorded traffic of the providers that speak it.
//!
//! What the JSON of an exchange plainly says is worked out here apart from the code under test. The recordings are no part of the
//! repository: they are read from `$AIPIPE_TEST_DATA/traffic`, or from `../shared/traffic` beside it.

use aipipe::dialects::conversation::{Event, Part, Stop, Usage};
use aipipe::dialects::openai_chat::request::translatable;
use aipipe::dialects::openai_chat::scan::scan;
use aipipe::dialects::openai_chat::{ChatUpstream, decode_request};
use aipipe::dialects::translate::{AnswerError, Step, Undo, UpstreamDialect};
use aipipe::providers::{Profile, built_in};
use aipipe::upstream::sse::{RawEvent, SseDecoder};
use aipipe_actors::money::Tokens;
use bytes::Bytes;
use serde_json::Value;

use crate::recordings::{self, Exchange};

fn upstream(provider: &str) -> ChatUpstream {
    ChatUpstream::new(built_in(provider).map_or(Profile::OPENAI, |row| row.profile))
}

/// What a choice says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    refusal: String,
    reasoning: String,
    /// Signatures and encrypted forms.
    opaque: Vec<String>,
    calls: Vec<Call>,
    stop: Option<Stop>,
    tokens: Option<Tokens>,
}

#[derive(Debug, Default, PartialEq)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Call {
    /// The arguments as JSON; as text where they are none.
    fn value(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::String(self.arguments.clone()))
    }
}

/// Text, or the texts of parts.
fn text_of(value: &Value) -> String {
    match value {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

/// Adds what a message or a delta plainly says.
fn hear(said: &mut Said, message: &Value) {
    said.text += &text_of(&message["content"]);
    said.refusal += message["refusal"].as_str().unwrap_or_default();
    let named = |name: &str| message[name].as_str().filter(|text| !text.is_empty());
    let details = message["reasoning_details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let in_details =
        || details.iter().filter_map(|detail| detail["text"].as_str().or(detail["summary"].as_str())).collect();
    said.reasoning += &named("reasoning_content").or(named("reasoning")).map_or_else(in_details, str::to_owned);
    let opaque = details.iter().filter_map(|detail| detail["signature"].as_str().or(detail["data"].as_str()));
    said.opaque.extend(opaque.filter(|data| !data.is_empty()).map(str::to_owned));
    if let Some(function) = message.get("function_call").filter(|call| call.is_object()) {
        piece(said, None, function);
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        piece(said, Some(call["id"].as_str().unwrap_or_default()), &call["function"]);
    }
}

/// In the recordings every call has its name in its first piece, and no two calls of a stream are interleaved.
fn piece(said: &mut Said, id: Option<&str>, function: &Value) {
    if let Some(name) = function["name"].as_str() {
        let id = id.unwrap_or_default().to_owned();
        said.calls.push(Call { id, name: name.to_owned(), arguments: String::new() });
    }
    said.calls.last_mut().unwrap().arguments += function["arguments"].as_str().unwrap_or_default();
}

fn stop_of(said: &Said, finish: &str) -> Stop {
    match finish {
        "length" => Stop::Length,
        "content_filter" => Stop::Filtered,
        _ if !said.calls.is_empty() => Stop::ToolUse,
        _ if !said.refusal.is_empty() => Stop::Refusal,
        _ => Stop::End,
    }
}

/// The figures of a usage object by the providers' documentation.
fn tokens_of(provider: &str, usage: &Value) -> Option<Tokens> {
    let figure = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let reasoning = figure("/completion_tokens_details/reasoning_tokens");
    let output = figure("/completion_tokens") + if provider == "xai" { reasoning } else { 0 };
    let tokens = Tokens {
        input: figure("/prompt_tokens"),
        cached_input: figure("/prompt_tokens_details/cached_tokens").max(figure("/cached_tokens")),
        cache_write: figure("/prompt_tokens_details/cache_write_tokens"),
        output,
        reasoning: reasoning.min(output),
        audio_input: figure("/prompt_tokens_details/audio_tokens"),
        audio_output: figure("/completion_tokens_details/audio_tokens"),
    };
    (tokens.input + tokens.output > 0).then_some(tokens)
}

fn same(name: &str, got: &Said, expected: &Said) {
    let rest = |said: &Said| (said.text.clone(), said.refusal.clone(), said.reasoning.clone(), said.stop, said.tokens);
    assert_eq!(rest(got), rest(expected), "{name}");
    // Thoughts that are not signed are marked as their model's own.
    let signed: Vec<&String> = got.opaque.iter().filter(|data| **data != "unsigned").collect();
    assert_eq!(signed, expected.opaque.iter().collect::<Vec<_>>(), "{name}");
    let calls = |said: &Said| said.calls.iter().map(|call| (call.name.clone(), call.value())).collect::<Vec<_>>();
    assert_eq!(calls(got), calls(expected), "{name}");
    for (call, sent) in got.calls.iter().zip(&expected.calls) {
        assert!(!call.id.is_empty() && (sent.id.is_empty() || call.id == sent.id), "{name}: {call:?}");
    }
}

fn said_by(parts: &[Part], stop: Stop, usage: Option<Usage>) -> Said {
    let mut said = Said { stop: Some(stop), tokens: usage.map(|usage| usage.tokens), ..Said::default() };
    for part in parts {
        match part {
            Part::Text(text) => said.text += text,
            Part::Refusal(text) => said.refusal += text,
            Part::Reasoning(thought) => {
                said.reasoning += &thought.text;
                said.opaque.extend(thought.opaque.iter().map(|opaque| opaque.data.clone()));
                assert!(thought.opaque.as_ref().is_none_or(|opaque| opaque.origin == "p/m"));
            }
            Part::ToolCall(call) => said.calls.push(Call {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            }),
            other => panic!("{other:?}"),
        }
    }
    said
}

#[test]
fn every_recorded_answer_means_what_its_json_says() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let mut count = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.is_whole()) {
        let (name, body) = (&exchange.name, &exchange.body);
        let fails = body.pointer("/base_resp/status_code").is_some_and(|code| *code != 0) || body["error"].is_object();
        count += 1;
        match upstream(&exchange.provider).decode_answer(body.to_string().as_bytes(), "p/m", &Undo::default()) {
            Err(AnswerError::Provider(error)) => assert!(fails && !error.message.is_empty(), "{name}: {error:?}"),
            Err(AnswerError::Malformed(why)) => panic!("{name}: {why}"),
            Ok(answer) => {
                assert!(!fails, "{name}");
                let written = body["choices"].as_array().unwrap();
                assert_eq!(answer.choices.len(), written.len(), "{name}");
                for (choice, written) in answer.choices.iter().zip(written) {
                    let mut expected =
                        Said { tokens: tokens_of(&exchange.provider, &body["usage"]), ..Said::default() };
                    hear(&mut expected, &written["message"]);
                    expected.stop = Some(stop_of(&expected, written["finish_reason"].as_str().unwrap()));
                    same(name, &said_by(&choice.parts, choice.stop, answer.usage), &expected);
                }
                assert_eq!(answer.model, body["model"].as_str().unwrap_or_default(), "{name}");
            }
        }
    }
    println!("{count} recorded answers read");
}

/// How a reading of the first events of a stream ended.
#[derive(Debug, PartialEq)]
enum End {
    Whole,
    Broken,
    Failed,
}

/// Reads the first `count` events, then closes.
fn read(exchange: &Exchange, events: &[RawEvent], count: usize) -> (End, Vec<Event>) {
    let mut decoder = upstream(&exchange.provider).stream_decoder("p/m", Undo::default());
    let mut out = Vec::new();
    for event in events.iter().take(count).filter(|event| !event.is_comment()) {
        match decoder.event(event.name(), event.data(), &mut out) {
            Ok(Step::Continue) => {}
            Ok(Step::End) => return (End::Whole, out),
            Ok(Step::Error(_)) => return (End::Failed, out),
            Err(_) => return (End::Broken, out),
        }
    }
    let end = if decoder.close(&mut out).is_ok() { End::Whole } else { End::Broken };
    (end, out)
}

fn said_in(name: &str, events: &[Event]) -> Said {
    let mut said = Said::default();
    for event in events {
        assert!(said.stop.is_none(), "{name}: something follows the reason to end");
        match event {
            Event::Text(text) => said.text += text,
            Event::Refusal(text) => said.refusal += text,
            Event::Reasoning(text) => said.reasoning += text,
            Event::ReasoningOpaque(opaque) => {
                assert_eq!(opaque.origin, "p/m", "{name}");
                said.opaque.push(opaque.data.clone());
            }
            Event::ToolCallStart { index, id, name: function, .. } => {
                assert_eq!(*index as usize, said.calls.len(), "{name}");
                said.calls.push(Call { id: id.clone(), name: function.clone(), arguments: String::new() });
            }
            Event::ToolArguments { index, delta } => said.calls[*index as usize].arguments += delta,
            Event::Usage(usage) => said.tokens = Some(usage.tokens),
            Event::Stop { reason, .. } => said.stop = Some(*reason),
            Event::Start { .. } | Event::Ping => {}
        }
    }
    said
}

#[test]
fn every_recorded_stream_means_what_its_json_says_and_is_whole_at_its_end_alone() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let (mut count, mut cuts) = (0, 0);
    for exchange in &exchanges {
        let Some(stream) = &exchange.stream else { continue };
        let name = &exchange.name;
        let mut decoder = SseDecoder::default();
        let mut events = Vec::new();
        decoder.feed(Bytes::copy_from_slice(stream.as_bytes()), &mut events).unwrap();
        events.extend(decoder.finish().unwrap());
        let chunks: Vec<Option<Value>> = events.iter().map(|event| serde_json::from_str(event.data()).ok()).collect();
        let finish_of = |chunk: &Value| Some(chunk.pointer("/choices/0/finish_reason")?.as_str()?.to_owned());
        let said = || chunks.iter().flatten();
        let fails = said().any(|chunk| chunk.get("error").is_some());
        let finish = said().filter_map(finish_of).next_back();

        let (end, out) = read(exchange, &events, events.len());
        let expected_end = match (&finish, fails) {
            (_, true) => End::Failed,
            (Some(_), false) => End::Whole,
            (None, false) => End::Broken,
        };
        assert_eq!(end, expected_end, "{name}");
        count += 1;
        if let (End::Whole, Some(finish)) = (end, finish) {
            let mut expected = Said::default();
            for chunk in said() {
                hear(&mut expected, chunk.pointer("/choices/0/delta").unwrap_or(&Value::Null));
                let usage = [Some(&chunk["usage"]), chunk.pointer("/choices/0/usage")];
                let usage = usage.into_iter().flatten().find_map(|usage| tokens_of(&exchange.provider, usage));
                expected.tokens = usage.or(expected.tokens);
            }
            expected.stop = Some(stop_of(&expected, &finish));
            same(name, &said_in(name, &out), &expected);
        }
        for cut in 0..events.len() {
            let seen = || chunks.iter().take(cut).flatten();
            let (end, out) = read(exchange, &events, cut);
            let reason_came = seen().any(|chunk| finish_of(chunk).is_some());
            let failed = seen().any(|chunk| chunk.get("error").is_some());
            assert_eq!(end == End::Whole, reason_came && !failed, "{name} cut after {cut} events");
            assert_eq!(out.iter().any(|event| matches!(event, Event::Stop { .. })), end == End::Whole, "{name}: {cut}");
            cuts += 1;
        }
    }
    println!("{count} recorded streams read, {cuts} beginnings of them");
}

/// A recorded request, read, written for another provider's model and read again, asks for the same.
#[test]
fn every_recorded_request_is_written_as_it_was_meant() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let model = recordings::model("openai");
    let (mut same, mut refused) = (0, 0);
    for exchange in &exchanges {
        let Some(request) = &exchange.request else { continue };
        let (name, text) = (&exchange.name, request.to_string());
        let found = scan(text.as_bytes()).unwrap();
        if translatable(&found).is_err() {
            continue;
        }
        let mut given = decode_request(&found).unwrap().conversation;
        // Thoughts of another model, a marked cache and the like are named as dropped; the rest must come back.
        given.hints.clear();
        given.reasoning = None;
        for turn in &mut given.turns {
            turn.parts.retain(|part| !matches!(part, Part::Reasoning(_)));
        }
        given.turns.retain(|turn| !turn.parts.is_empty());
        given.settings.top_k = None;
        match upstream("openai").encode_request(&given, &model) {
            Ok(encoded) => {
                let read = decode_request(&scan(&encoded.body).unwrap()).unwrap().conversation;
                // What another provider took as strict and OpenAI does not is named.
                let was_open = given.tools.iter().zip(&read.tools).any(|(given, read)| given.strict != read.strict);
                let named: &[&str] = if was_open { &["tools.strict"] } else { &[] };
                assert_eq!(encoded.dropped, named, "{name}");
                if was_open {
                    assert_eq!(exchange.provider, "openrouter", "{name}");
                    given.tools.iter_mut().for_each(|tool| tool.strict = None);
                }
                assert_eq!(format!("{read:?}"), format!("{given:?}"), "{name}");
                same += 1;
            }
            Err(cannot) => {
                println!("{name}: {cannot}");
                refused += 1;
            }
        }
    }
    println!("{same} recorded requests come back equal, {refused} cannot be carried");
}

#[test]
fn d116_the_cost_that_xai_tells_is_what_the_catalogue_makes_of_its_figures() {
    let environment = [("HOME".to_owned(), "/nonexistent".to_owned())].into_iter().collect();
    let config = aipipe::config::load(None, &environment).unwrap();
    let model = config.catalogue.at_provider("xai", "grok-4.3").unwrap();
    // 10⁻¹⁰ USD a tick, as recorded of grok-4.3.
    let body = serde_json::json!({
        "model": "grok-4.3", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}],
        "usage": {"prompt_tokens": 202, "completion_tokens": 5, "total_tokens": 407, "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 200}, "num_sources_used": 0, "cost_in_usd_ticks": 6_306_000},
    });
    let upstream = ChatUpstream::new(built_in("xai").unwrap().profile);
    let answer = upstream.decode_answer(body.to_string().as_bytes(), "xai/grok-4.3", &Undo::default()).unwrap();
    let usage = answer.usage.unwrap();
    assert_eq!(usage.reported_cost, Some(model.rates.unwrap().cost(&usage.tokens)));
}
