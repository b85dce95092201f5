//! How Claude's unusual ends are told to clients of other dialects.

use aipipe::dialects::anthropic::Anthropic;
use aipipe::dialects::client::{Addressed, ClientSurface, Frame};
use aipipe::dialects::gemini::GeminiApi;
use aipipe::dialects::openai_chat::Chat;
use aipipe::dialects::translate::{Undo, UpstreamDialect as _};
use aipipe_actors::identity::RequestId;
use serde_json::{Value, json};

use crate::recordings::{self, Exchange, events};

const ORIGIN: &str = "anthropic/target";

/// The recorded exchange as a client of this surface gets it: the documents or chunks, one after another.
fn told(exchange: &Exchange, surface: &dyn ClientSurface) -> Vec<Value> {
    let body = json!({
        "model": "m", "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "hi"}],
        "contents": [{"parts": [{"text": "hi"}]}],
    });
    let body = body.to_string();
    let addressed = Addressed { model: Some("m"), stream: exchange.stream.is_some() };
    let request = surface.scan(body.as_bytes(), &addressed).unwrap();
    let frame = Frame { request_id: RequestId::generate(), created: 0 };
    let Some(stream) = &exchange.stream else {
        let answer = Anthropic.decode_answer(exchange.body.to_string().as_bytes(), ORIGIN, &Undo::default()).unwrap();
        return vec![serde_json::from_slice(&request.write_answer(&answer, &frame)).unwrap()];
    };
    let mut decoder = Anthropic.stream_decoder(ORIGIN, Undo::default());
    let mut encoder = request.stream_encoder(&frame);
    let (mut read, mut out) = (Vec::new(), Vec::new());
    for event in events([stream.as_bytes()]) {
        decoder.event(event.name(), event.data(), &mut read).unwrap();
    }
    read.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(None, &mut out);
    let written = events([out.as_slice()]);
    let data =
        written.iter().map(aipipe::upstream::sse::RawEvent::data).filter(|data| !data.is_empty() && *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The recorded exchanges that ended for this reason.
fn ended(reason: &str) -> Vec<Exchange> {
    let Some(exchanges) = recordings::exchanges("anthropic-messages") else { return Vec::new() };
    let says = format!("\"stop_reason\":\"{reason}\"");
    let ended = |exchange: &Exchange| {
        exchange.stream.as_ref().is_some_and(|stream| stream.contains(&says)) || exchange.body["stop_reason"] == reason
    };
    let ended: Vec<Exchange> = exchanges.into_iter().filter(ended).collect();
    assert!(!ended.is_empty(), "no recording ended with {reason}");
    ended
}

#[test]
fn d100_a_refusal_before_any_content_is_told_with_its_explanation_and_its_usage() {
    for exchange in ended("refusal") {
        let name = &exchange.name;
        let chat = told(&exchange, &Chat);
        let choices = || chat.iter().map(|chunk| &chunk["choices"][0]);
        let message = |choice: &'_ Value| {
            if choice["message"].is_object() { choice["message"].clone() } else { choice["delta"].clone() }
        };
        let refusal: String =
            choices().filter_map(|choice| message(choice)["refusal"].as_str().map(str::to_owned)).collect();
        let content: String =
            choices().filter_map(|choice| message(choice)["content"].as_str().map(str::to_owned)).collect();
        assert!(!refusal.is_empty() && content.is_empty(), "{name}: {chat:?}");
        assert!(choices().any(|choice| message(choice)["role"] == "assistant"), "{name}");
        let reasons: Vec<&str> = choices().filter_map(|choice| choice["finish_reason"].as_str()).collect();
        assert_eq!(reasons, ["content_filter"], "{name}");
        assert!(chat.iter().any(|chunk| chunk["usage"]["prompt_tokens"].as_u64() > Some(0)), "{name}");

        let gemini = told(&exchange, &GeminiApi);
        let last = &gemini.last().unwrap()["candidates"][0];
        assert_eq!(last["finishReason"], "SAFETY", "{name}");
        assert!(gemini.iter().any(|chunk| chunk.to_string().contains(refusal.trim())), "{name}: {gemini:?}");
    }
}

#[test]
fn d101_a_pause_is_never_told_as_an_end() {
    for exchange in ended("pause_turn") {
        let name = &exchange.name;
        let chat = told(&exchange, &Chat);
        let reasons: Vec<&str> =
            chat.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
        assert_eq!(reasons, ["length"], "{name}");
        let gemini = told(&exchange, &GeminiApi);
        assert_eq!(gemini.last().unwrap()["candidates"][0]["finishReason"], "MAX_TOKENS", "{name}");
    }
}
