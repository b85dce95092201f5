//! Recorded streams, broken after each of their events: what another model would be given to go on from.

use aipipe::dialects::anthropic::{Anthropic, Messages};
use aipipe::dialects::client::{Addressed, ClientSurface, Frame};
use aipipe::dialects::gemini::{Gemini, GeminiApi};
use aipipe::dialects::openai_chat::{Chat, ChatUpstream};
use aipipe::dialects::progress::Progress;
use aipipe::dialects::responses::Responses;
use aipipe::dialects::translate::{Undo, UpstreamDialect};
use aipipe::providers::Profile;
use aipipe_actors::identity::RequestId;
use serde_json::{Value, json};

use crate::recordings::{self, Exchange, events};

/// What could be continued after each event that has data, as whoever follows the stream in its own dialect sees it.
fn followed(exchange: &Exchange, surface: &dyn ClientSurface) -> Vec<Option<String>> {
    let body = json!({
        "model": "m", "stream": true, "max_tokens": 9, "input": "hi", "messages": [{"role": "user", "content": "hi"}],
        "contents": [{"parts": [{"text": "hi"}]}],
    });
    let body = body.to_string();
    let request = surface.scan(body.as_bytes(), &Addressed { model: Some("m"), stream: true }).unwrap();
    let mut encoder = request.stream_encoder(&Frame { request_id: RequestId::generate(), created: 0 });
    let mut progress = Progress::default();
    let events = events([exchange.stream.as_ref().unwrap().as_bytes()]);
    let with_data = events.iter().filter(|event| !event.is_comment());
    let after = with_data.map(|event| {
        encoder.follow(event.data(), &mut progress);
        progress.text_to_continue().map(str::to_owned)
    });
    after.collect()
}

/// The same, as the stream reads in the canonical form.
fn read(exchange: &Exchange, dialect: &dyn UpstreamDialect) -> Vec<Option<String>> {
    let mut decoder = dialect.stream_decoder("origin/target", Undo::default());
    let mut progress = Progress::default();
    let mut read = Vec::new();
    let events = events([exchange.stream.as_ref().unwrap().as_bytes()]);
    let with_data = events.iter().filter(|event| !event.is_comment());
    let after = with_data.map(|event| {
        let _ = decoder.event(event.name(), event.data(), &mut read);
        read.drain(..).for_each(|event| progress.event(&event));
        progress.text_to_continue().map(str::to_owned)
    });
    after.collect()
}

/// Streams in which something can be continued, of those that were recorded.
fn compare(name: &str, surface: &dyn ClientSurface, dialect: &dyn UpstreamDialect) {
    let Some(exchanges) = recordings::exchanges(name) else { return };
    let mut continued = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.stream.is_some()) {
        let (own, canonical) = (followed(exchange, surface), read(exchange, dialect));
        let all = events([exchange.stream.as_ref().unwrap().as_bytes()]);
        let with_data = all.iter().filter(|event| !event.is_comment());
        // The canonical form holds the end back, as some providers revise it.
        let until_the_end = with_data.take_while(|event| !says_why_it_ended(event.data()));
        for (event, pair) in until_the_end.zip(own.iter().zip(&canonical)) {
            let at = event.data();
            match pair {
                (Some(own), canonical) => {
                    assert_eq!(Some(own), canonical.as_ref(), "{} after {at}", exchange.name)
                }
                // The canonical form has no words for what a provider's own tools do; and some pieces are not told at once.
                (None, Some(_)) => assert!(is_more_than_text(exchange), "{} after {at}", exchange.name),
                (None, None) => {}
            }
        }
        continued += usize::from(own.iter().any(Option::is_some));
    }
    assert!(continued > 3, "{name}: {continued}");
}

fn says_why_it_ended(data: &str) -> bool {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    data["choices"][0]["finish_reason"].is_string()
        || data["type"] == "message_delta"
        || data["candidates"][0]["finishReason"].is_string()
}

fn is_more_than_text(exchange: &Exchange) -> bool {
    let stream = exchange.stream.as_ref().unwrap();
    ["server_tool_use", "executableCode", "\"error\"", "\"index\":1"].iter().any(|sign| stream.contains(sign))
}

#[test]
fn chat_completions_are_followed() {
    compare("openai-chat", &Chat, &ChatUpstream::new(Profile::OPENAI));
}

#[test]
fn messages_are_followed() {
    compare("anthropic-messages", &Messages, &Anthropic);
}

#[test]
fn gemini_is_followed() {
    compare("gemini", &GeminiApi, &Gemini);
}

#[test]
fn responses_are_followed() {
    let Some(exchanges) = recordings::exchanges("openai-responses") else { return };
    let mut continued = 0;
    for exchange in exchanges.iter().filter(|exchange| exchange.stream.is_some()) {
        let mut text = String::new();
        let all = events([exchange.stream.as_ref().unwrap().as_bytes()]);
        let with_data = all.iter().filter(|event| !event.is_comment());
        for (event, own) in with_data.zip(followed(exchange, &Responses)) {
            let data: Value = serde_json::from_str(event.data()).unwrap_or_default();
            if data["type"] == "response.output_text.delta" {
                text.push_str(data["delta"].as_str().unwrap());
            }
            if let Some(own) = own {
                assert_eq!(own, text, "{}", exchange.name);
                continued += 1;
            }
        }
    }
    assert!(continued > 3, "{continued}");
}
