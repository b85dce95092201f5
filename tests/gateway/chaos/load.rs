//! The clients: every dialect, streamed and whole, some of whom leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aipipe::simulator::Provider;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{GUESTS, RESIDENTS, Stage};
use crate::support::{ask, ask_stream, model};

/// The number of the next question.
static QUESTIONS: AtomicU64 = AtomicU64::new(0);
/// The number of the next request.
static REQUESTS: AtomicU64 = AtomicU64::new(0);
/// The first bytes of an answer, which tell what an error is.
const SHOWN: usize = 400;

/// How a request ended for its client.
pub(super) enum Outcome {
    Answered,
    /// A stream that ended in an error event of its dialect.
    BrokenOff,
    /// The client did not wait for the end.
    Left,
    Refused(u16, String),
    /// An answer of status 200 that is neither whole nor says what went wrong.
    Cut(String),
}

impl Outcome {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Answered => "answered".into(),
            Self::BrokenOff => "broken off in mid-stream, and told so".into(),
            Self::Left => "left by the client".into(),
            Self::Refused(status, _) => format!("refused with {status}"),
            Self::Cut(_) => "cut without a word".into(),
        }
    }
}

/// What a client knows when its request has ended.
pub(super) struct Told {
    /// The request's own mark, as in its tags.
    pub(super) request: String,
    tenant: &'static str,
    pub(super) cost: Option<String>,
    pub(super) outcome: Outcome,
}

impl Told {
    /// What should not have happened: an error before the first byte, as a healthy candidate was always there, or an answer cut short.
    pub(super) fn miss(&self) -> Option<String> {
        let Self { request, tenant, .. } = self;
        match &self.outcome {
            // A guest may be gone, at its limits, or too poor for all models but the one that failed.
            Outcome::Refused(400..500 | 502 | 504, _) if GUESTS.contains(tenant) => None,
            Outcome::Refused(status, text) => Some(format!("{request} of {tenant}: {status} {text}")),
            Outcome::Cut(text) => Some(format!("{request} of {tenant} was cut: {text}")),
            Outcome::Answered | Outcome::BrokenOff | Outcome::Left => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Dialect {
    Chat,
    Responses,
    Messages,
    Gemini,
}

impl Dialect {
    const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Messages, Self::Gemini];

    fn request(self, name: &str, prompt: &str, stream: bool) -> (String, Value) {
        match self {
            Self::Chat if stream => ("/v1/chat/completions".into(), ask_stream(name, prompt)),
            Self::Chat => ("/v1/chat/completions".into(), ask(name, prompt)),
            Self::Responses => ("/v1/responses".into(), json!({"model": name, "input": prompt, "stream": stream})),
            Self::Messages => {
                let mut body = ask(name, prompt);
                body["max_tokens"] = json!(1_000);
                body["stream"] = json!(stream);
                ("/v1/messages".into(), body)
            }
            Self::Gemini => {
                let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                let body = json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]});
                (format!("/v1beta/models/{name}:{method}"), body)
            }
        }
    }

    /// How a stream that was read to its end has ended.
    fn stream_outcome(self, text: &str) -> Outcome {
        let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| *data != "[DONE]");
        let last: Value = last.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        let failed = !last["error"].is_null() || last["type"] == "error" || last["type"] == "response.failed";
        let whole = match self {
            Self::Chat => text.trim_end().ends_with("data: [DONE]"),
            Self::Responses => matches!(last["type"].as_str(), Some("response.completed" | "response.incomplete")),
            Self::Messages => last["type"] == "message_stop",
            Self::Gemini => last["candidates"][0]["finishReason"].is_string(),
        };
        match (failed, whole) {
            (true, _) => Outcome::BrokenOff,
            (false, true) => Outcome::Answered,
            (false, false) => Outcome::Cut(format!("its last event is {last}")),
        }
    }
}

/// What a request does, drawn before it starts.
struct Plan {
    /// Its mark, which stands in the prompt and in the tags; several requests may ask the same.
    question: String,
    tenant: &'static str,
    dialect: Dialect,
    stream: bool,
    name: &'static str,
    /// The models it may go to, one of each provider.
    models: String,
    /// The client leaves after so many pieces of the answer; before the first where it is 0.
    leaves_after: Option<usize>,
}

impl Plan {
    fn draw(rng: &mut Rng) -> Self {
        let asked = if rng.u8(..8) == 0 {
            // What another has just asked, is asking, or is about to ask.
            QUESTIONS.load(Ordering::Relaxed).saturating_sub(rng.u64(..8))
        } else {
            QUESTIONS.fetch_add(1, Ordering::Relaxed)
        };
        let mut providers = Provider::ALL;
        rng.shuffle(&mut providers);
        let names = providers.map(model);
        let tenant =
            if rng.u8(..5) == 0 { GUESTS[rng.usize(..GUESTS.len())] } else { RESIDENTS[rng.usize(..RESIDENTS.len())] };
        Self {
            question: format!("mark-{asked}-"),
            tenant,
            dialect: Dialect::ALL[rng.usize(..Dialect::ALL.len())],
            stream: rng.bool(),
            name: if rng.u8(..3) == 0 { "auto" } else { names[0] },
            models: names.join(","),
            leaves_after: (rng.u8(..6) == 0).then(|| rng.usize(..4)),
        }
    }

    async fn carry_out(self, stage: &Stage, rng: &mut Rng) -> Told {
        let request = format!("request-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
        let (path, body) = self.dialect.request(self.name, &format!("{} tell me more", self.question), self.stream);
        let sending = stage
            .client
            .post(stage.url(&path))
            .header("content-type", "application/json")
            .header("x-tenant-id", self.tenant)
            .header("x-aipipe-models", &self.models)
            .header("x-aipipe-tags", format!("{},{request}", self.question))
            .body(body.to_string())
            .send();
        let told = |cost, outcome| Told { request: request.clone(), tenant: self.tenant, cost, outcome };
        let sent = match self.leaves_after {
            Some(0) => timeout(Duration::from_millis(rng.u64(..1_000)), sending).await,
            _ => Ok(sending.await),
        };
        let mut response = match sent {
            Err(_) => return told(None, Outcome::Left),
            Ok(Err(error)) => return told(None, Outcome::Cut(format!("{error:?}"))),
            Ok(Ok(response)) => response,
        };
        let status = response.status().as_u16();
        let cost = response.headers().get("x-aipipe-cost-usd").map(|cost| cost.to_str().unwrap().to_owned());
        let (mut pieces, mut bytes) = (0, Vec::new());
        let text = loop {
            match response.chunk().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break String::from_utf8(bytes).unwrap(),
                Err(error) => return told(cost, Outcome::Cut(format!("{error:?}"))),
            }
            pieces += 1;
            if self.leaves_after.is_some_and(|most| pieces >= most) {
                return told(None, Outcome::Left);
            }
        };
        let outcome = match status {
            200 if self.stream => self.dialect.stream_outcome(&text),
            200 if serde_json::from_str::<Value>(&text).is_ok() => Outcome::Answered,
            200 => Outcome::Cut(text.chars().take(SHOWN).collect()),
            _ => Outcome::Refused(status, text.chars().take(SHOWN).collect()),
        };
        told(cost, outcome)
    }
}

/// One client after another in the same place, until the round is over.
pub(super) async fn ask_until_told(stage: Arc<Stage>, over: Arc<AtomicBool>, mut rng: Rng) -> Vec<Told> {
    let mut all = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let told = Plan::draw(&mut rng).carry_out(&stage, &mut rng).await;
        // Who was refused does not ask again at once.
        let pause = if matches!(told.outcome, Outcome::Refused(..)) { 200 } else { 10 };
        all.push(told);
        sleep(Duration::from_millis(rng.u64(..pause))).await;
    }
    all
}
