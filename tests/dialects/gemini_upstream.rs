//! Recorded Gemini exchanges: every answer and stream decodes to what its JSON plainly says.
use aipipe::dialects::conversation::{Answer, Event, Part, Stop};
use aipipe::dialects::gemini::Gemini;
use aipipe::dialects::translate::{Malformed, Step, Undo, UpstreamDialect};
use aipipe_actors::money::Tokens;
use http::StatusCode;
use serde_json::Value;

use crate::recordings::{self, Exchange};

const ORIGIN: &str = "gemini/recorded";

/// What an answer says, however it was read.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    thoughts: String,
    calls: Vec<(String, Value)>,
    signatures: Vec<String>,
    /// Input, cached input, output, reasoning.
    usage: Option<[u64; 4]>,
}

impl Said {
    /// Walks the JSON of one candidate of some pieces.
    fn plainly(pieces: &[Value], candidate: usize) -> Self {
        let mut said = Self::default();
        for piece in pieces {
            let parts = piece["candidates"][candidate]["content"]["parts"].as_array();
            for part in parts.into_iter().flatten() {
                let text = part["text"].as_str().unwrap_or_default();
                if part["thought"] == true {
                    said.thoughts += text;
                } else {
                    said.text += text;
                }
                if let Some(name) = part["functionCall"]["name"].as_str() {
                    let args = part["functionCall"].get("args").cloned().unwrap_or(serde_json::json!({}));
                    said.calls.push((name.to_owned(), args));
                }
                said.signatures.extend(part["thoughtSignature"].as_str().map(str::to_owned));
            }
            let counted = &piece["usageMetadata"];
            let count = |name: &str| counted[name].as_u64().unwrap_or(0);
            let input = count("promptTokenCount") + count("toolUsePromptTokenCount");
            let output = count("candidatesTokenCount") + count("thoughtsTokenCount");
            if input + output > 0 {
                said.usage = Some([input, count("cachedContentTokenCount"), output, count("thoughtsTokenCount")]);
            }
        }
        said
    }

    fn of_choice(answer: &Answer, choice: usize) -> Self {
        let usage = answer.usage.map(|usage| figures(usage.tokens));
        let mut said = Self { usage, ..Self::default() };
        for part in &answer.choices[choice].parts {
            match part {
                Part::Text(text) => said.text += text,
                Part::Reasoning(thought) => {
                    said.thoughts += &thought.text;
                    said.signatures.extend(thought.opaque.iter().map(|opaque| opaque.data.clone()));
                }
                Part::ToolCall(call) => {
                    said.calls.push((call.name.clone(), serde_json::from_str(&call.arguments).unwrap()));
                    said.signatures.extend(call.signature.iter().map(|opaque| opaque.data.clone()));
                }
                other => panic!("no recording holds {other:?}"),
            }
        }
        said
    }

    fn of_events(events: &[Event]) -> Self {
        let mut said = Self::default();
        let mut arguments: Vec<String> = Vec::new();
        let mut names = Vec::new();
        for event in events {
            match event {
                Event::Text(text) => said.text += text,
                Event::Reasoning(text) => said.thoughts += text,
                Event::ReasoningOpaque(opaque) => said.signatures.push(opaque.data.clone()),
                Event::ToolCallStart { index, name, signature, .. } => {
                    assert_eq!(*index as usize, names.len());
                    names.push(name.clone());
                    arguments.push(String::new());
                    said.signatures.extend(signature.iter().map(|opaque| opaque.data.clone()));
                }
                Event::ToolArguments { index, delta } => arguments[*index as usize] += delta,
                Event::Usage(usage) => said.usage = Some(figures(usage.tokens)),
                Event::Start { .. } | Event::Stop { .. } => {}
                other @ (Event::Refusal(_) | Event::Ping) => panic!("no recording holds {other:?}"),
            }
        }
        let arguments = arguments.iter().map(|text| serde_json::from_str(text).unwrap());
        said.calls = names.into_iter().zip(arguments).collect();
        said
    }
}

fn figures(tokens: Tokens) -> [u64; 4] {
    assert_eq!(tokens.cache_write, 0);
    [tokens.input, tokens.cached_input, tokens.output, tokens.reasoning]
}

/// The last finish reason of a candidate.
fn reason(pieces: &[Value], candidate: usize) -> &str {
    pieces.iter().rev().find_map(|piece| piece["candidates"][candidate]["finishReason"].as_str()).unwrap()
}

fn expected_stop(reason: &str, said: &Said) -> Stop {
    match reason {
        "STOP" if said.calls.is_empty() => Stop::End,
        "STOP" => Stop::ToolUse,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" => Stop::Filtered,
        other => panic!("no recording ends with {other}"),
    }
}

/// The pieces of a recorded stream: server-sent events, or the array of a request without `alt=sse`, which is kept as text.
fn pieces(exchange: &Exchange) -> Option<Vec<Value>> {
    let text = exchange.stream.as_deref().or(exchange.body.as_str())?;
    if text.trim_start().starts_with('[') {
        return Some(serde_json::from_str(text).unwrap());
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    Some(data.map(|data| serde_json::from_str(data.trim()).unwrap()).collect())
}

/// Feeds a decoder and closes it.
fn decode(pieces: &[Value]) -> Result<Vec<Event>, Malformed> {
    let mut decoder = Gemini.stream_decoder(ORIGIN, Undo::default());
    let mut events = Vec::new();
    for piece in pieces {
        assert_eq!(decoder.event("", &piece.to_string(), &mut events)?, Step::Continue);
    }
    decoder.close(&mut events)?;
    Ok(events)
}

#[test]
fn recorded_answers_decode_to_what_they_say() {
    let Some(exchanges) = recordings::exchanges("gemini") else { return };
    let mut read = 0;
    for Exchange { name, body, .. } in exchanges.iter().filter(|exchange| exchange.status == 200) {
        if !body.is_object() {
            continue;
        }
        let answer = Gemini
            .decode_answer(&serde_json::to_vec_pretty(body).unwrap(), ORIGIN, &Undo::default())
            .unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        let whole = std::slice::from_ref(body);
        assert_eq!(answer.choices.len(), body["candidates"].as_array().unwrap().len(), "{name}");
        for (at, choice) in answer.choices.iter().enumerate() {
            let said = Said::of_choice(&answer, at);
            assert_eq!(said, Said::plainly(whole, at), "{name}");
            assert_eq!(choice.stop, expected_stop(reason(whole, at), &said), "{name}");
        }
        assert_eq!(answer.model, body["modelVersion"].as_str().unwrap(), "{name}");
        assert_eq!(answer.id, body["responseId"].as_str().unwrap(), "{name}");
        read += 1;
    }
    println!("{read} recorded answers read");
    assert!(read > 0);
}

#[test]
fn recorded_streams_decode_to_what_they_say() {
    let Some(exchanges) = recordings::exchanges("gemini") else { return };
    let (mut whole, mut in_pieces) = (0, 0);
    for exchange in exchanges.iter().filter(|exchange| exchange.status == 200) {
        let name = &exchange.name;
        let Some(pieces) = pieces(exchange) else { continue };
        let decoded = decode(&pieces);
        // Calls in pieces come only where they are asked for, which no translated request does.
        if pieces.iter().any(|piece| piece.to_string().contains("\"willContinue\"")) {
            assert!(decoded.is_err(), "{name}");
            in_pieces += 1;
            continue;
        }
        let events = decoded.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let said = Said::of_events(&events);
        assert_eq!(said, Said::plainly(&pieces, 0), "{name}");
        let stop = Event::Stop { reason: expected_stop(reason(&pieces, 0), &said), sequence: None };
        assert_eq!(events.last(), Some(&stop), "{name}");
        let stops = events.iter().filter(|event| matches!(event, Event::Stop { .. }));
        assert_eq!(stops.count(), 1, "{name}");
        assert!(matches!(events.first(), Some(Event::Start { .. })), "{name}");

        let finished = pieces.iter().position(|piece| piece["candidates"][0]["finishReason"].is_string()).unwrap();
        assert!(decode(&pieces[..finished]).is_err(), "{name}: cut before its finish reason");
        whole += 1;
    }
    println!("{whole} recorded streams read whole, {in_pieces} with calls in pieces refused");
    assert!(whole > 0);
}

#[test]
fn recorded_errors_keep_their_status_and_code() {
    let Some(exchanges) = recordings::exchanges("gemini") else { return };
    let mut read = 0;
    for Exchange { name, status, body, stream, .. } in exchanges.iter().filter(|exchange| exchange.status != 200) {
        let status = StatusCode::from_u16(*status).unwrap();
        let (bytes, body) = match stream.as_deref().or(body.as_str()) {
            Some(text) => (text.as_bytes().to_vec(), serde_json::from_str(text).unwrap()),
            None => (body.to_string().into_bytes(), body.clone()),
        };
        let error = Gemini.decode_error(status, &bytes);
        let wrong_key = body.to_string().contains("API_KEY_INVALID");
        let code = if wrong_key { "API_KEY_INVALID" } else { body["error"]["status"].as_str().unwrap() };
        assert_eq!((error.status, error.code.as_deref()), (status, Some(code)), "{name}");
        assert_eq!(error.message, body["error"]["message"].as_str().unwrap(), "{name}");
        assert_eq!(error.retry_after.is_some(), body.to_string().contains("retryDelay"), "{name}");
        read += 1;
    }
    println!("{read} recorded errors read");
    assert!(read > 0);
}
