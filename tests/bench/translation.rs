//! What translating costs beside passing on, in this process: requests of 100 kB and streams of 64 deltas.
//!
//! The same calls that the gateway makes, without HTTP, actors and ledger: a request is scanned and then passed on or translated; a stream
//! is cut into events, read and written for the client.

use std::hint::black_box;
use std::time::Duration;

use aipipe::config::{self, Environment};
use aipipe::dialects::client::{Addressed, Chosen, Frame, StreamReading, Target};
use aipipe::dialects::conversation::{Event, Stop, Usage};
use aipipe::dialects::form::Form;
use aipipe::dialects::issued::Holdings;
use aipipe::dialects::translate::Undo;
use aipipe::dialects::{surface, upstream};
use aipipe::gateway::reading::Translating;
use aipipe::providers::{BuiltIn, Dialect, built_in};
use aipipe::upstream::sse::SseDecoder;
use aipipe_actors::catalogue::Model;
use aipipe_actors::identity::RequestId;
use aipipe_actors::money::{NanoUsd, Tokens};
use aipipe_actors::routing::digest::ClientDialect;
use anyhow::{Context, ensure};
use bytes::Bytes;
use rustix::time::ClockId;
use serde_json::{Value, json};

use super::machine::cpu_time;
use super::report::Figure;

const ROUNDS: usize = 3;
/// CPU time of a round: many times the clock's resolution, and the whole bench takes seconds.
const ROUND: Duration = Duration::from_millis(100);
/// About the size of a request.
const REQUEST_BYTES: usize = 100 * 1024;
const TURNS: usize = 24;
/// Pieces of text in a stream.
const DELTAS: usize = 64;
const TOOLS: usize = 8;

/// Who asks whom.
struct Pair {
    client: ClientDialect,
    provider: &'static str,
    model: &'static str,
}

const PAIRS: [Pair; 7] = [
    Pair { client: ClientDialect::Chat, provider: "openai", model: "gpt-4.1-mini" },
    Pair { client: ClientDialect::Chat, provider: "anthropic", model: "claude-haiku-4-5" },
    Pair { client: ClientDialect::Chat, provider: "gemini", model: "gemini-3.5-flash" },
    Pair { client: ClientDialect::Messages, provider: "anthropic", model: "claude-haiku-4-5" },
    Pair { client: ClientDialect::Messages, provider: "openai", model: "gpt-4.1-mini" },
    Pair { client: ClientDialect::Responses, provider: "openai", model: "gpt-4.1-mini" },
    Pair { client: ClientDialect::Responses, provider: "moonshot", model: "kimi-k2.6" },
];

/// CPU time per request and per event of each pair.
pub(crate) fn figures() -> anyhow::Result<Vec<Figure>> {
    eprintln!("bench: translation");
    let unused = ("AIPIPE_DATABASE".to_owned(), "unused.db".to_owned());
    let config = config::load(None, &Environment::from_iter([unused])).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let mut requests = Vec::new();
    let mut streams = Vec::new();
    for pair in &PAIRS {
        let provider = built_in(pair.provider).context("a provider is not built in")?;
        let model =
            config.catalogue.at_provider(pair.provider, pair.model).context("a model has left the catalogue")?;
        let body = long_request(pair.client).to_string();
        let name = format!("{} client to {}", name_of(pair.client), pair.provider);
        let way = if surface(pair.client).is_spoken_by(&provider.profile) { "passed on" } else { "translated" };
        let values = rounds(|| request(pair, provider, model, body.as_bytes()))?;
        let how =
            format!("thread CPU time; {} kB in {TURNS} turns with {TOOLS} tools: scanned and {way}", body.len() / 1024);
        requests.push(Figure::median(format!("CPU per 100 kB request, {name}"), values, "µs", how));

        let events = provider_stream(&provider.profile.dialect, pair)?;
        let count = events.len() as f64;
        let values = rounds(|| stream(pair, provider, &events))?.into_iter().map(|micros| micros / count).collect();
        let how =
            format!("thread CPU time; {DELTAS} deltas of text, {count} events, {way}; one piece of the network each");
        streams.push(Figure::median(format!("CPU per event, {name}"), values, "µs", how));
    }
    requests.append(&mut streams);
    Ok(requests)
}

/// Microseconds of this thread's CPU time that `work` takes once, for each round.
fn rounds(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<f64>> {
    let mut values = Vec::new();
    // The first warms up.
    for _ in 0..=ROUNDS {
        let begin = cpu_time(ClockId::ThreadCPUTime);
        let mut times = 0_u32;
        while times == 0 || cpu_time(ClockId::ThreadCPUTime) - begin < ROUND {
            for _ in 0..8 {
                work()?;
            }
            times += 8;
        }
        values.push((cpu_time(ClockId::ThreadCPUTime) - begin).as_secs_f64() * 1e6 / f64::from(times));
    }
    Ok(values.split_off(1))
}

fn request(pair: &Pair, provider: &BuiltIn, model: &Model, body: &[u8]) -> anyhow::Result<()> {
    let surface = surface(pair.client);
    let request = surface.scan(body, &Addressed::default())?;
    let body = if surface.is_spoken_by(&provider.profile) {
        let holdings = Holdings::default();
        request.pass(&Target { model, chosen: Chosen::Named, profile: &provider.profile, holdings: &holdings }).body
    } else {
        upstream(&provider.profile).encode_request(&request.decode()?.conversation, model)?.body
    };
    ensure!(body.len() > REQUEST_BYTES / 2, "a request was lost on the way");
    black_box(body);
    Ok(())
}

fn stream(pair: &Pair, provider: &BuiltIn, events: &[Bytes]) -> anyhow::Result<()> {
    let surface = surface(pair.client);
    let body = short_request(pair.client);
    let request = surface.scan(body.as_bytes(), &Addressed { model: Some("m"), stream: true })?;
    let mut reader: Box<dyn StreamReading> = if surface.is_spoken_by(&provider.profile) {
        request.passing(&provider.profile)
    } else {
        let decoder = upstream(&provider.profile).stream_decoder("provider/model", Undo::default());
        Box::new(Translating::new(decoder, request.stream_encoder(&frame()), Form::of(request.facts())))
    };
    let price = |_: &Usage| Some(NanoUsd(1));
    let mut decoder = SseDecoder::default();
    let (mut read, mut out) = (Vec::new(), Vec::new());
    for piece in events {
        decoder.feed(piece.clone(), &mut read)?;
        for event in read.drain(..) {
            reader.event(event, &price, &mut out);
        }
    }
    reader.finish(&price, &mut out);
    ensure!(out.len() > DELTAS, "a stream was lost on the way");
    black_box(out);
    Ok(())
}

/// The events of a provider's stream, as its own clients are written them.
fn provider_stream(dialect: &Dialect, pair: &Pair) -> anyhow::Result<Vec<Bytes>> {
    let sender = match (dialect, pair.client) {
        (Dialect::Anthropic, _) => ClientDialect::Messages,
        (Dialect::Gemini, _) => ClientDialect::Gemini,
        (Dialect::OpenAi, ClientDialect::Responses) if pair.provider == "openai" => ClientDialect::Responses,
        (Dialect::OpenAi, _) => ClientDialect::Chat,
    };
    let body = short_request(sender);
    let request = surface(sender).scan(body.as_bytes(), &Addressed { model: Some("m"), stream: true })?;
    let mut encoder = request.stream_encoder(&frame());
    let tokens = Tokens { input: 100, output: 64, ..Tokens::default() };
    let mut events = vec![Event::Start { id: "a1".into(), model: "m".into() }];
    events.extend((0..DELTAS).map(|number| Event::Text(format!("word{number} "))));
    events.push(Event::Usage(Usage { tokens, reported_cost: None }));
    events.push(Event::Stop { reason: Stop::End, sequence: None });
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut bytes));
    encoder.finish(None, &mut bytes);
    let mut read = Vec::new();
    SseDecoder::default().feed(Bytes::from(bytes), &mut read)?;
    Ok(read.into_iter().map(|event| event.into_raw()).collect())
}

fn frame() -> Frame {
    Frame { request_id: RequestId::generate(), created: 1 }
}

fn name_of(client: ClientDialect) -> &'static str {
    match client {
        ClientDialect::Chat => "Chat Completions",
        ClientDialect::Messages => "Messages",
        ClientDialect::Responses => "Responses",
        ClientDialect::Gemini => "Gemini",
        ClientDialect::Embeddings => "Embeddings",
    }
}

fn short_request(client: ClientDialect) -> String {
    match client {
        ClientDialect::Gemini => json!({"contents": [{"parts": [{"text": "hi"}]}]}),
        ClientDialect::Responses => json!({"model": "m", "stream": true, "input": "hi"}),
        _ => json!({"model": "m", "stream": true, "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}),
    }
    .to_string()
}

/// A conversation of prose with tools declared, in the words of a client.
fn long_request(client: ClientDialect) -> Value {
    let text =
        "The quick brown fox jumps over the lazy dog, says \"hello\" and goes on.\n".repeat(REQUEST_BYTES / TURNS / 73);
    let role = |turn: usize| if turn.is_multiple_of(2) { "user" } else { "assistant" };
    // The user has the last word.
    let messages: Vec<Value> = (0..=TURNS).map(|turn| json!({"role": role(turn), "content": text})).collect();
    let schema = json!({"type": "object", "properties": {"city": {"type": "string", "description": "Where"}}, "required": ["city"]});
    let tools =
        |tool: &dyn Fn(String) -> Value| (0..TOOLS).map(|number| tool(format!("tool_{number}"))).collect::<Value>();
    match client {
        ClientDialect::Messages => json!({"model": "m", "max_tokens": 500, "messages": messages,
            "tools": tools(&|name| json!({"name": name, "input_schema": schema}))}),
        ClientDialect::Responses => json!({"model": "m", "input": messages,
            "tools": tools(&|name| json!({"type": "function", "name": name, "parameters": schema}))}),
        _ => json!({"model": "m", "messages": messages,
            "tools": tools(&|name| json!({"type": "function", "function": {"name": name, "parameters": schema}}))}),
    }
}
