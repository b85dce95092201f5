//! The Chat Completions dialect held against recorded traffic of the providers that speak it.

use aipipe::dialects::client::Chosen;
use aipipe::dialects::conversation::{Answer, Event, Part, Stop};
use aipipe::dialects::openai_chat::scan::scan;
use aipipe::dialects::openai_chat::{
    ChatQuirks, ChatUpstream, Passthrough, PassthroughScanner, UsageView, decode_request, prepare_passthrough,
    read_answer, read_error, request::translatable,
};
use aipipe::dialects::scan::PromptHasher;
use aipipe::dialects::translate::{AnswerError, Step, Undo, UpstreamDialect};
use aipipe::providers::{Profile, built_in};
use aipipe_actors::catalogue::{Capabilities, Model};
use aipipe_actors::money::{NanoUsd, Tokens};
use http::StatusCode;
use serde_json::{Value, json};

use crate::recordings::{self, events};

fn quirks(provider: &str) -> ChatQuirks {
    ChatQuirks { completion_excludes_reasoning: provider == "xai", usage_in_choice: provider == "moonshot" }
}

/// The figures of a usage object by the providers' documentation, worked out apart from the code under test.
fn expected_tokens(provider: &str, usage: &Value) -> Option<Tokens> {
    let figure = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let reasoning = figure("/completion_tokens_details/reasoning_tokens");
    let beside = if provider == "xai" { reasoning } else { 0 };
    let output = figure("/completion_tokens") + beside;
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

fn model() -> Model {
    Model { capabilities: Capabilities::NONE, ..recordings::model("openai") }
}

#[test]
fn every_recorded_request_is_scanned_spliced_and_understood() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let key = PromptHasher::default();
    let target = model();
    let mut count = 0;
    for exchange in &exchanges {
        let Some(request) = &exchange.request else { continue };
        let name = &exchange.name;
        let text = request.to_string();
        let pretty = serde_json::to_string_pretty(request).unwrap();
        let scanned = scan(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(*scanned.found.model, *request["model"].as_str().unwrap(), "{name}");
        assert_eq!(scanned.found.stream, request["stream"] == true, "{name}");
        assert_eq!(
            scanned.found.prompt_key(&key, &["chat"]),
            scan(pretty.as_bytes()).unwrap().found.prompt_key(&key, &["chat"]),
            "{name}"
        );
        // A last user message may hold an image alone; whoever shows no text must show an attachment.
        let ask = scanned.found.ask();
        let view = ask.view();
        assert!(scanned.found.estimate.tokens() > 0 && (!view.current.is_empty() || view.attachments > 0), "{name}");

        let prepared = prepare_passthrough(&scanned, &Passthrough::plain(&target, Chosen::Named));
        let mut expected = request.clone();
        expected["model"] = json!("target");
        if scanned.found.stream {
            expected["stream_options"]["include_usage"] = json!(true);
        }
        for message in expected["messages"].as_array_mut().unwrap() {
            message.as_object_mut().unwrap().shift_remove("reasoning_details");
        }
        assert_eq!(serde_json::from_slice::<Value>(&prepared.body).unwrap(), expected, "{name}");
        assert_eq!(prepared.dropped, [""; 0], "{name}");

        if translatable(&scanned).is_ok() {
            let read = decode_request(&scanned).unwrap_or_else(|error| panic!("{name}: {error}"));
            let messages = request["messages"].as_array().unwrap().len();
            assert!(read.conversation.turns.len() + read.conversation.instructions.len() <= messages, "{name}");
            assert!(!read.conversation.turns.is_empty(), "{name}");
        }
        count += 1;
    }
    assert!(count > 0, "no recorded request was read");
    println!("{count} recorded requests read");
}

#[test]
fn every_recorded_answer_gives_its_figures() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let mut count = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.stream.is_none() && exchange.status == 200) {
        let (name, provider) = (&exchange.name, &*exchange.provider);
        let text = exchange.body.to_string();
        let failed = exchange.body.pointer("/base_resp/status_code").is_some_and(|code| *code != 0);
        match read_answer(text.as_bytes(), quirks(provider)) {
            Ok(facts) => {
                assert!(!failed && facts.is_whole, "{name}");
                assert_eq!(
                    facts.usage.map(|usage| usage.tokens),
                    expected_tokens(provider, &exchange.body["usage"]),
                    "{name}"
                );
            }
            Err(AnswerError::Provider(error)) => assert!(failed && error.code.is_some(), "{name}: {error:?}"),
            Err(AnswerError::Malformed(why)) => panic!("{name}: {why}"),
        }
        count += 1;
    }
    assert!(count > 0, "no recorded answer was read");
    println!("{count} recorded answers read");
}

#[test]
fn every_recorded_stream_gives_its_figures_and_its_end() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let mut count = 0;
    for exchange in &exchanges {
        let Some(stream) = &exchange.stream else { continue };
        let (name, provider) = (&exchange.name, &*exchange.provider);
        let whole = events([stream.as_bytes()]);
        for chunk in [1, 7, 64, 1000] {
            assert_eq!(events(stream.as_bytes().chunks(chunk)), whole, "{name} in pieces of {chunk}");
        }
        let chunks: Vec<Value> = whole.iter().filter_map(|event| serde_json::from_str(event.data()).ok()).collect();
        let usage = chunks.iter().rev().find_map(|chunk| {
            let in_choice = chunk.pointer("/choices/0/usage").unwrap_or(&Value::Null);
            expected_tokens(provider, &chunk["usage"]).or_else(|| expected_tokens(provider, in_choice))
        });
        let fails = chunks.iter().any(|chunk| chunk.get("error").is_some());
        let ends = chunks.iter().any(|chunk| chunk.pointer("/choices/0/finish_reason").is_some_and(Value::is_string));

        let mut passed = Vec::new();
        let mut scanner = PassthroughScanner::new(quirks(provider), UsageView::Shown);
        let mut failed = false;
        for event in whole {
            let relayed = scanner.relay(event, &|_| Some(NanoUsd(7)));
            assert_eq!(relayed.facts.malformed, None, "{name}");
            failed |= relayed.facts.error.is_some();
            passed.extend(relayed.bytes.unwrap_or_default());
        }
        assert_eq!(scanner.usage().map(|usage| usage.tokens), usage, "{name}");
        assert_eq!((failed, scanner.close().is_ok()), (fails, ends), "{name}");
        if ends && !fails {
            passed.extend(scanner.finish(&|_| Some(NanoUsd(7))).unwrap_or_default());
            check_passed(name, &String::from_utf8(passed).unwrap(), &chunks, usage.is_some());
        }
        count += 1;
    }
    assert!(count > 0, "no recorded stream was read");
    println!("{count} recorded streams read");
}

/// What the client got: the same text, one cost, one `[DONE]` at the end.
fn check_passed(name: &str, passed: &str, sent: &[Value], costs: bool) {
    let got: Vec<Value> =
        events([passed.as_bytes()]).iter().filter_map(|event| serde_json::from_str(event.data()).ok()).collect();
    let text = |chunks: &[Value]| -> String {
        chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/content")?.as_str()).collect()
    };
    assert_eq!(text(&got), text(sent), "{name}");
    let costed = got.iter().filter(|chunk| chunk.pointer("/usage/cost") == Some(&json!(0.000000007))).count();
    assert_eq!(costed, usize::from(costs), "{name}");
    assert!(passed.trim_end().ends_with("data: [DONE]"), "{name}");
    assert_eq!(passed.matches("[DONE]").count(), 1, "{name}");
}

#[test]
fn every_recorded_error_is_told_without_secrets() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let mut count = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.status >= 400) {
        let body = match &exchange.body {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let error = read_error(StatusCode::from_u16(exchange.status).unwrap(), body.as_bytes());
        assert_eq!(error.status.as_u16(), exchange.status, "{}", exchange.name);
        assert!(
            !error.message.contains("without a reason") && !error.message.contains("org-"),
            "{}: {}",
            exchange.name,
            error.message
        );
        count += 1;
    }
    assert!(count > 0, "no recorded error was read");
    println!("{count} recorded errors read");
}

/// The same exchanges read into the canonical form, as for a client that speaks another dialect.
#[test]
fn every_recorded_answer_and_stream_is_read_for_other_dialects() {
    let Some(exchanges) = recordings::exchanges("openai-chat") else { return };
    let (mut answers, mut streams) = (0, 0);
    for exchange in exchanges.iter().filter(|exchange| exchange.status == 200) {
        let (name, provider) = (&exchange.name, &*exchange.provider);
        let profile = built_in(provider).map_or(Profile::OPENAI, |row| row.profile);
        let upstream = ChatUpstream::new(profile);
        match &exchange.stream {
            None => {
                let text = exchange.body.to_string();
                match upstream.decode_answer(text.as_bytes(), "p/m", &Undo::default()) {
                    Ok(answer) => check_answer(name, provider, &answer, &exchange.body),
                    Err(AnswerError::Provider(_)) => assert!(
                        exchange.body.pointer("/base_resp/status_code").is_some_and(|code| *code != 0),
                        "{name}"
                    ),
                    Err(AnswerError::Malformed(why)) => panic!("{name}: {why}"),
                }
                answers += 1;
            }
            Some(stream) => {
                check_stream(name, &upstream, stream);
                streams += 1;
            }
        }
    }
    assert!(answers > 0 && streams > 0, "no recorded answer or stream was read");
    println!("{answers} recorded answers and {streams} recorded streams read into the canonical form");
}

fn said(parts: &[Part]) -> String {
    parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}

fn check_answer(name: &str, provider: &str, answer: &Answer, body: &Value) {
    assert_eq!(answer.choices.len(), body["choices"].as_array().unwrap().len(), "{name}");
    for (choice, written) in answer.choices.iter().zip(body["choices"].as_array().unwrap()) {
        let message = &written["message"];
        let text = match &message["content"] {
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        assert_eq!(said(&choice.parts), text, "{name}");
        let calls: Vec<(&str, Value)> = choice
            .parts
            .iter()
            .filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None })
            .map(|call| (call.name.as_str(), serde_json::from_str(&call.arguments).unwrap_or_default()))
            .collect();
        let expected: Vec<(&str, Value)> = message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|call| &call["function"])
            .chain(message.get("function_call").filter(|call| call.is_object()))
            .map(|call| {
                (
                    call["name"].as_str().unwrap(),
                    serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(calls, expected, "{name}");
        let reasoning: String = choice
            .parts
            .iter()
            .filter_map(|part| if let Part::Reasoning(thought) = part { Some(thought.text.as_str()) } else { None })
            .collect();
        let plain = message["reasoning_content"].as_str().or(message["reasoning"].as_str()).unwrap_or_default();
        // Where only details are given, they are all there is.
        assert!(reasoning == plain || plain.is_empty(), "{name}: {reasoning} is not {plain}");
        let stop = match written["finish_reason"].as_str() {
            Some("length") => Stop::Length,
            Some("content_filter") => Stop::Filtered,
            _ if !expected.is_empty() => Stop::ToolUse,
            _ if message["refusal"].as_str().is_some_and(|text| !text.is_empty()) => Stop::Refusal,
            _ => Stop::End,
        };
        assert_eq!(choice.stop, stop, "{name}");
    }
    assert_eq!(answer.usage.map(|usage| usage.tokens), expected_tokens(provider, &body["usage"]), "{name}");
}

/// Text, arguments and the end of a stream, and that no beginning of it counts as whole.
fn check_stream(name: &str, upstream: &ChatUpstream, stream: &str) {
    let all = events([stream.as_bytes()]);
    let chunks: Vec<Value> = all.iter().filter_map(|event| serde_json::from_str(event.data()).ok()).collect();
    let fails = chunks.iter().any(|chunk| chunk.get("error").is_some());
    let finish =
        chunks.iter().position(|chunk| chunk.pointer("/choices/0/finish_reason").is_some_and(Value::is_string));
    let read = |count: usize| {
        let mut decoder = upstream.stream_decoder("p/m", Undo::default());
        let mut out = Vec::new();
        let mut last = Step::Continue;
        for event in all.iter().take(count).filter(|event| !event.is_comment()) {
            match decoder.event(event.name(), event.data(), &mut out) {
                Ok(step) => last = step,
                // `[DONE]` without a reason to end.
                Err(_) if event.data().trim() == "[DONE]" => return (false, out),
                Err(why) => panic!("{name}: {why}"),
            }
            if last != Step::Continue {
                break;
            }
        }
        let whole = last == Step::End || (last == Step::Continue && decoder.close(&mut out).is_ok());
        (whole, out)
    };
    let (whole, out) = read(all.len());
    assert_eq!(whole, finish.is_some() && !fails, "{name}");
    if !whole {
        return;
    }
    let pieces = |path: &str| -> String { chunks.iter().filter_map(|chunk| chunk.pointer(path)?.as_str()).collect() };
    let text: String =
        out.iter().filter_map(|event| if let Event::Text(text) = event { Some(text.as_str()) } else { None }).collect();
    assert_eq!(text, pieces("/choices/0/delta/content"), "{name}");
    let arguments: String = out
        .iter()
        .filter_map(|event| if let Event::ToolArguments { delta, .. } = event { Some(delta.as_str()) } else { None })
        .collect();
    let sent: String = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls")?.as_array())
        .flatten()
        .filter_map(|call| call["function"]["arguments"].as_str())
        .chain(chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/function_call/arguments")?.as_str()))
        .collect();
    assert_eq!(arguments, sent, "{name}");
    assert_eq!(out.iter().filter(|event| matches!(event, Event::Stop { .. })).count(), 1, "{name}");
    // Every cut of a short stream, and as many of a long one.
    for cut in (0..all.len()).step_by(all.len().div_ceil(40)) {
        let seen = all.iter().take(cut).filter_map(|event| serde_json::from_str::<Value>(event.data()).ok());
        let ended =
            seen.filter(|chunk| chunk.pointer("/choices/0/finish_reason").is_some_and(Value::is_string)).count() > 0;
        assert_eq!(read(cut).0, ended, "{name} cut after {cut} events");
    }
}
