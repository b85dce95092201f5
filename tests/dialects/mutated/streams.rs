//! Providers' streams.

use aipipe::dialects::client::{Addressed, ClientSurface, Onward, StreamReading};
use aipipe::dialects::form::Form;
use aipipe::dialects::translate::{ClientError, Undo};
use aipipe::dialects::{surface, upstream};
use aipipe::gateway::reading::Translating;
use aipipe::providers::{BUILT_IN, Profile};
use aipipe::upstream::sse::SseDecoder;
use aipipe_actors::identity::RequestId;
use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::digest::ClientDialect;
use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::{CLIENTS, Corpus, FEW, assert_bounded, frame, is_json, plain_request};
use crate::mutation;
use crate::mutation::stream::StreamSpoiling;

/// What a client got.
struct Told {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Relays a stream as the gateway does.
fn relay(pieces: &[Bytes], reader: &mut dyn StreamReading, surface: &dyn ClientSurface) -> Told {
    let price = |_: &_| Some(NanoUsd(7));
    let mut decoder = SseDecoder::default();
    let mut out = Vec::new();
    let mut is_whole = None;
    let mut ends = vec![false; pieces.len()];
    ends.push(true);
    'stream: for (number, is_end) in ends.into_iter().enumerate() {
        let mut events = Vec::new();
        let read = match pieces.get(number) {
            Some(piece) => decoder.feed(piece.clone(), &mut events),
            None => decoder.finish().map(|last| events.extend(last)),
        };
        if read.is_err() {
            is_whole = Some(false);
        }
        for event in events {
            match reader.event(event, &price, &mut out).course {
                Onward::More => {}
                Onward::Whole => is_whole = Some(true),
                Onward::Error(_) | Onward::Malformed(_) => is_whole = Some(false),
            }
            if is_whole.is_some() {
                break 'stream;
            }
        }
        if is_whole.is_some() {
            break;
        }
        if is_end {
            is_whole = Some(reader.close(&mut out).is_ok());
        }
    }
    let is_whole = is_whole == Some(true);
    if is_whole {
        reader.finish(&price, &mut out);
    } else {
        let error = ClientError {
            status: StatusCode::BAD_GATEWAY,
            code: "upstream_malformed",
            message: "it broke",
            param: None,
        };
        let told = reader.fail(&error);
        out.push(told.unwrap_or_else(|| surface.error_event(&error, RequestId::generate())));
    }
    Told { bytes: out.concat(), is_whole }
}

/// Whether an event says, in a client's dialect, that the answer is whole.
fn is_end(client: ClientDialect, data: &str) -> bool {
    let read: Value = serde_json::from_str(data).unwrap_or_default();
    match client {
        ClientDialect::Chat => data == "[DONE]",
        ClientDialect::Messages => read["type"] == "message_stop",
        ClientDialect::Gemini => {
            read["candidates"][0]["finishReason"].is_string() || read["promptFeedback"]["blockReason"].is_string()
        }
        ClientDialect::Responses => matches!(read["type"].as_str(), Some("response.completed" | "response.incomplete")),
        ClientDialect::Embeddings => false,
    }
}

/// What a client is told of a stream; whether it is whole.
fn check(pieces: &[Bytes], profile: Profile, client: ClientDialect, undo: Undo) -> Result<bool, TestCaseError> {
    let came: usize = pieces.iter().map(Bytes::len).sum();
    let surface = surface(client);
    let body = plain_request(client);
    let request = surface.scan(&body, &Addressed { model: Some("m"), stream: true }).unwrap();
    if surface.is_spoken_by(&profile) {
        let told = relay(pieces, &mut *request.passing(&profile), surface);
        assert_bounded(told.bytes.len(), came)?;
        return Ok(told.is_whole);
    }
    let decoder = upstream(&profile).stream_decoder("openai/target", undo);
    let mut reader = Translating::new(decoder, request.stream_encoder(&frame()), Form::of(request.facts()));
    let told = relay(pieces, &mut reader, surface);
    assert_bounded(told.bytes.len(), came)?;
    let mut ends = 0;
    for event in crate::recordings::events([told.bytes.as_slice()]).iter().filter(|event| !event.is_comment()) {
        prop_assert!(is_json(event.data().as_bytes()) || event.data() == "[DONE]", "{client:?}: {:?}", event.data());
        ends += usize::from(is_end(client, event.data()));
    }
    prop_assert_eq!(ends, usize::from(told.is_whole), "{:?}: {}", client, String::from_utf8_lossy(&told.bytes));
    Ok(told.is_whole)
}

fn streams(dialect: ClientDialect) {
    let streams = Corpus::of(dialect).streams;
    let profiles: Vec<Profile> = BUILT_IN
        .iter()
        .map(|provider| provider.profile)
        .filter(|profile| surface(dialect).is_spoken_by(profile))
        .collect();
    let strategy = (any::<Index>(), StreamSpoiling::any(), any::<Index>(), any::<bool>());
    mutation::run(FEW, &strategy, |(stream, spoiling, profile, is_tool)| {
        let pieces = spoiling.spoil(&streams[stream.index(streams.len())], &streams);
        let profile = *profile.get(&profiles);
        let mut is_whole = false;
        for client in CLIENTS {
            // No other dialect is translated from Responses.
            if dialect != ClientDialect::Responses || client == dialect {
                let undo = Undo { answer_tool: is_tool.then(|| "f".to_owned()), ..Undo::default() };
                is_whole |= check(&pieces, profile, client, undo)?;
            }
        }
        Ok(is_whole)
    });
}

#[test]
fn spoilt_chat_streams() {
    streams(ClientDialect::Chat);
}

#[test]
fn spoilt_messages_streams() {
    streams(ClientDialect::Messages);
}

#[test]
fn spoilt_gemini_streams() {
    streams(ClientDialect::Gemini);
}

#[test]
fn spoilt_responses_streams() {
    streams(ClientDialect::Responses);
}
