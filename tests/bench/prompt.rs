//! The requests, each unlike any other, and what the simulated provider answers.

use std::sync::atomic::{AtomicU64, Ordering};

use aipipe::simulator::Behaviour;
use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};

const MODEL: &str = "gpt-4o-mini";
/// Stands where each request gets its number; no other text has it.
const PLACE: &str = "000000000000";
/// A long conversation is cut into messages of about this many bytes.
const MESSAGE_BYTES: usize = 4_000;
const PROSE: &str = "The harbour authority wants to know which berths stay free when the ferry is late, how long a late ferry \
                     holds up the crane, and what that costs in a month with 22 working days. ";
/// Deltas in one streamed answer.
pub(crate) const DELTAS: usize = 100;

/// What a request asks for beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A document; the gateway's cache is looked up and filled.
    Whole,
    /// A document past the gateway's cache.
    Uncached,
    /// A stream.
    Stream,
    /// A document by whichever of the provider's models the gateway chooses.
    Auto,
}

/// A chat request body of a given size, to be numbered.
pub(crate) struct Prompt {
    body: Vec<u8>,
    place: usize,
}

impl Prompt {
    /// A conversation about nothing in particular, whose JSON has exactly so many bytes (at least about 200).
    pub(crate) fn new(bytes: usize, wish: Wish) -> anyhow::Result<Self> {
        let empty = serialised(&[String::new()], wish).len();
        // An odd number of messages: the user has the first word and the last.
        let messages = (bytes / MESSAGE_BYTES) | 1;
        let share = bytes.saturating_sub(empty) / messages;
        let mut texts: Vec<String> = (0..messages).map(|turn| prose(turn, share.saturating_sub(40))).collect();
        let missing = bytes.saturating_sub(serialised(&texts, wish).len());
        if let Some(last) = texts.last_mut() {
            last.extend(PROSE.chars().cycle().take(missing));
        }
        let body = serialised(&texts, wish);
        let place = body.find(PLACE).context("the prompt has no place for a number")?;
        Ok(Self { body: body.into_bytes(), place })
    }

    /// The body with the next number of this process in it, near the beginning, so that neither the prompt nor a prefix of it occurs twice.
    pub(crate) fn next(&self) -> Bytes {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = format!("{:012}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut body = self.body.clone();
        body.iter_mut().skip(self.place).zip(number.bytes()).for_each(|(digit, new)| *digit = new);
        body.into()
    }
}

/// A message of about so many bytes; the first has the place for the number.
fn prose(turn: usize, bytes: usize) -> String {
    let begin = if turn == 0 { format!("Request {PLACE}. ") } else { format!("Turn {turn}. ") };
    let rest = bytes.saturating_sub(begin.len());
    begin.chars().chain(PROSE.chars().cycle().take(rest)).collect()
}

fn serialised(texts: &[String], wish: Wish) -> String {
    let message = |(turn, text): (usize, &String)| {
        let role = if turn.is_multiple_of(2) { "user" } else { "assistant" };
        json!({"role": role, "content": text})
    };
    let messages: Vec<Value> = texts.iter().enumerate().map(message).collect();
    let body = match wish {
        Wish::Whole => json!({"model": MODEL, "messages": messages}),
        Wish::Uncached => json!({"model": MODEL, "messages": messages, "aipipe": {"cache": "off"}}),
        Wish::Stream => json!({"model": MODEL, "messages": messages, "stream": true}),
        Wish::Auto => json!({"model": "auto", "messages": messages, "aipipe": {"providers": ["openai"]}}),
    };
    body.to_string()
}

/// A short chat completion.
pub(crate) fn whole_answer() -> Behaviour {
    let body = json!({
        "id": "chatcmpl-figures", "object": "chat.completion", "created": 1_780_000_000, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop", "message": {
            "role": "assistant", "refusal": null, "annotations": [],
            "content": "Three berths stay free; the crane waits for 40 minutes, which costs about 2,600 euros a month.",
        }}],
        "usage": usage(), "service_tier": "default", "system_fingerprint": "fp_figures",
    });
    Behaviour::Fixed { content_type: "application/json".to_owned(), bytes: body.to_string().into() }
}

/// A stream of [`DELTAS`] deltas, sent in one piece.
pub(crate) fn streamed_answer() -> Behaviour {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-figures", "object": "chat.completion.chunk", "created": 1_780_000_000,
            "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_figures",
            "choices": choices, "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let choice =
        |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let mut body = String::new();
    for _ in 0..DELTAS {
        body += &chunk(choice(json!({"content": " harbour"}), Value::Null), Value::Null);
    }
    body += &chunk(choice(json!({}), json!("stop")), Value::Null);
    body += &chunk(json!([]), usage());
    body += "data: [DONE]\n\n";
    Behaviour::Fixed { content_type: "text/event-stream; charset=utf-8".to_owned(), bytes: body.into() }
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 210, "completion_tokens": 100, "total_tokens": 310,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    })
}
