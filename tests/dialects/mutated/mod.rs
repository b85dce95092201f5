//! Every parser of bytes from outside, on spoilt bytes: clients' requests in all dialects, providers' answers and streams in all of theirs,
//! passed on and translated. Recorded traffic is what is spoilt, where there is any, beside a sample of each dialect.
//!
//! Nothing panics, what is written is JSON in its frame, and nothing grows beyond a small multiple of what came in.

mod answers;
mod requests;
mod streams;

use aipipe::dialects::client::{Addressed, ClientRequest, Frame};
use aipipe::dialects::conversation::{Answer, Choice, Event, Opaque, Part, Stop, Thought, ToolCall, Usage};
use aipipe::dialects::surface;
use aipipe_actors::identity::RequestId;
use aipipe_actors::money::Tokens;
use aipipe_actors::routing::digest::ClientDialect;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::mutation::samples;
use crate::recordings;

/// How often each test spoils something where nobody asks for more.
const FEW: u32 = 150;
/// Larger texts are not spoilt: they cost time and have nothing that smaller ones lack.
const LARGEST: usize = 48 * 1024;
/// The client dialects that stream.
const CLIENTS: [ClientDialect; 4] =
    [ClientDialect::Chat, ClientDialect::Messages, ClientDialect::Gemini, ClientDialect::Responses];

/// What is spoilt of a dialect.
#[derive(Debug, Default)]
struct Corpus {
    requests: Vec<Value>,
    answers: Vec<Value>,
    streams: Vec<String>,
}

impl Corpus {
    fn of(dialect: ClientDialect) -> Self {
        let (recorded, path) = match dialect {
            ClientDialect::Chat => ("openai-chat", "/v1/chat/completions"),
            ClientDialect::Messages => ("anthropic-messages", "/v1/messages"),
            ClientDialect::Gemini => ("gemini", "/v1beta/"),
            ClientDialect::Responses => ("openai-responses", "/v1/responses"),
            ClientDialect::Embeddings => ("openai-embeddings", "/v1/embeddings"),
        };
        let samples = samples::requests().into_iter().filter(|(at, _)| at.starts_with(path));
        let mut corpus = Self { requests: samples.map(|(_, body)| body).collect(), ..Self::default() };
        corpus.add_answers(dialect);
        for exchange in recordings::exchanges(recorded).unwrap_or_default() {
            corpus.requests.extend(exchange.request);
            corpus.answers.extend(Some(exchange.body).filter(|body| body.is_object()));
            corpus.streams.extend(exchange.stream);
        }
        for documents in [&mut corpus.requests, &mut corpus.answers] {
            documents.retain(|document| document.to_string().len() <= LARGEST);
        }
        corpus.streams.retain(|stream| stream.len() <= LARGEST);
        corpus
    }

    /// An answer in the dialect, whole and streamed, to each of its requests.
    fn add_answers(&mut self, dialect: ClientDialect) {
        if dialect == ClientDialect::Embeddings {
            let vectors = serde_json::json!({"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
                "usage": {"prompt_tokens": 3, "total_tokens": 3}});
            return self.answers.push(vectors);
        }
        let body = plain_request(dialect);
        let addressed = Addressed { model: Some("m"), stream: true };
        let request = surface(dialect).scan(&body, &addressed).unwrap();
        self.answers.push(serde_json::from_slice(&request.write_answer(&answer(), &frame())).unwrap());
        self.streams.push(String::from_utf8(streamed(&*request)).unwrap());
    }
}

/// A request with nothing but a question, whose answer is streamed with its usage.
fn plain_request(dialect: ClientDialect) -> Vec<u8> {
    match dialect {
        ClientDialect::Chat => {
            br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#.to_vec()
        }
        ClientDialect::Messages => {
            br#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#.to_vec()
        }
        ClientDialect::Gemini => br#"{"contents":[{"parts":[{"text":"hi"}]}]}"#.to_vec(),
        ClientDialect::Responses => br#"{"model":"m","stream":true,"input":"hi"}"#.to_vec(),
        ClientDialect::Embeddings => br#"{"model":"m","input":"hi"}"#.to_vec(),
    }
}

/// An answer with a piece of everything.
fn answer() -> Answer {
    let opaque = |kind| Some(Opaque { origin: "openai/target".into(), kind, data: "c2lnbmVk".into() });
    let call = |id: &str, name: &str| {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: "{\"a\":\"b\"}".into(),
            signature: opaque("thought_signature"),
        })
    };
    let parts = vec![
        Part::Reasoning(Thought { text: "hm".into(), opaque: opaque("signature") }),
        Part::Text("Hello 😀".into()),
        call("c1", "f"),
        call("c2", "p"),
    ];
    let tokens = Tokens { input: 9, cached_input: 2, output: 8, reasoning: 3, ..Tokens::default() };
    Answer {
        id: "a1".into(),
        model: "target".into(),
        choices: vec![Choice { parts, stop: Stop::ToolUse, stop_sequence: None }],
        usage: Some(Usage { tokens, reported_cost: None }),
    }
}

fn events() -> Vec<Event> {
    answer().into_events().unwrap()
}

/// The answer as a stream that answers this request.
fn streamed(request: &dyn ClientRequest) -> Vec<u8> {
    let mut encoder = request.stream_encoder(&frame());
    let mut out = Vec::new();
    events().iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(Some("0.1"), &mut out);
    out
}

fn frame() -> Frame {
    Frame { request_id: RequestId::generate(), created: 1 }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// That what was made of so many bytes is no larger than a small multiple of them.
fn assert_bounded(made: usize, of: usize) -> Result<(), TestCaseError> {
    prop_assert!(made <= 64 * 1024 + 64 * of, "{of} bytes became {made}");
    Ok(())
}
