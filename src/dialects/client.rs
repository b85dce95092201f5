//! The terms on which a client's dialect is served: what is learned from a request, how it goes on to a provider, and how answers, streams
//! and errors are written for it.
//!
//! A dialect is a [`ClientSurface`], of which there is one each, and a [`ClientRequest`] for each request that it has scanned. A provider
//! that speaks the client's own dialect gets the client's bytes ([`ClientRequest::pass`]) and its answer passes through
//! ([`ClientSurface::read_answer`], [`ClientSurface::passing`]); for any other the request is read into the canonical form
//! ([`ClientRequest::decode`]) and the canonical answer is written ([`ClientRequest::write_answer`], [`ClientRequest::stream_encoder`]).

use std::ops::Range;
use std::sync::Arc;

use aipipe_actors::catalogue::Model;
use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::IssuedHash;
use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::digest::{Demand, PromptKey};
use aipipe_actors::routing::preferences::Preferences;
use bytes::Bytes;

use super::conversation::{Answer, Conversation, Stop, Usage};
use super::form::Form;
use super::issued::{Holdings, Stored};
use super::progress::Progress;
use super::scan::{PromptHasher, Trace};
use super::splice::Splice;
use super::translate::{AnswerError, ClientError, InvalidRequest, Malformed, ProviderError, StreamEncoder};
use crate::providers::Profile;
use crate::upstream::sse::RawEvent;

/// What the address of a request says, where a dialect puts things there that others put in the body.
#[derive(Debug, Default, Clone, Copy)]
pub struct Addressed<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// What routing and accounting need to know of a request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The model that the client asked for, as it wrote it.
    pub model: String,
    /// What the client asks of the choice in the body's `aipipe` object.
    pub preferences: Preferences,
    /// What it demands of a model.
    pub demand: Arc<Demand>,
    /// What the request cannot do without and a provider keeps: accepted only from the tenant to which it was issued.
    pub stored: Vec<Stored>,
    /// What a provider issued and the request holds in full: it goes back to that provider, and is left out elsewhere.
    pub mentioned: Vec<IssuedHash>,
    /// What its conversation is known by.
    pub trace: Trace,
    /// What the client's harness calls the conversation or session, where its body says so.
    pub session: Option<String>,
}

/// How the model came to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// The client named it: its parameters go as they came, and the provider judges them.
    Named,
    /// AiPipe did: what the model cannot take and only tunes is left out.
    Auto,
}

/// Where a request goes that passes through.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The model.
    pub model: &'a Model,
    /// Who chose it.
    pub chosen: Chosen,
    /// How its provider wants to be spoken to.
    pub profile: &'a Profile,
    /// What providers issued to the tenant, of all that the request names.
    pub holdings: &'a Holdings,
}

/// A body ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The body.
    pub body: Bytes,
    /// Names of the fields that were left out or lowered, for `x-aipipe-dropped`.
    pub dropped: Vec<String>,
}

/// A request read into the canonical form.
#[derive(Debug)]
pub struct Decoded {
    /// What it means.
    pub conversation: Conversation,
    /// Names of members that no other dialect has and that were left out; the conversation's own hints come on top.
    pub dropped: Vec<String>,
}

/// What an answer has beside its content.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Which request it answers: the answer's id is made of it.
    pub request_id: RequestId,
    /// Seconds since 1970.
    pub created: u64,
}

/// What a whole answer that passes through says, and where AiPipe's own can be added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFacts {
    /// What it used; `None` where the provider said nothing.
    pub usage: Option<Usage>,
    /// Why it ended; of several choices the one that was cut off counts.
    pub stop: Stop,
    /// Whether it says of every choice why it ended.
    pub is_whole: bool,
    /// Bytes of content as written: the base of an estimate where usage is missing.
    pub content_bytes: usize,
    /// Where the cost stands or can stand, beside the usage.
    pub cost_slot: Option<Slot>,
    /// Where the explanation can stand, in the answer's object.
    pub explanation_slot: Slot,
    /// What the provider issued with it and keeps or alone can read.
    pub issued: Vec<IssuedHash>,
}

/// A place in JSON text for one member more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// The value of a member that is there already, and is replaced.
    Value(Range<usize>),
    /// Before the closing brace at this offset; whether a member precedes it.
    End {
        /// The offset of the closing brace.
        at: usize,
        /// Whether the object has members.
        has_members: bool,
    },
}

impl Slot {
    /// Writes a member into the place; `value` is JSON.
    pub fn fill(&self, splice: &mut Splice<'_>, name: &str, value: &str) {
        match self {
            Self::Value(range) => splice.replace(range.clone(), value.to_owned()),
            Self::End { at, has_members } => {
                let comma = if *has_members { "," } else { "" };
                splice.insert(*at, format!("{comma}\"{name}\":{value}"));
            }
        }
    }
}

/// What should be JSON in a whole answer to a request in its own dialect; it is read only where something should be.
pub fn form_of(request: &dyn ClientRequest, answer: &[u8]) -> Form {
    let is_watched = Form::of(request.facts()).is_watching();
    request.form(if is_watched { std::str::from_utf8(answer).unwrap_or_default() } else { "" })
}

/// Adds AiPipe's own to a whole answer: the cost beside the usage, and the explanation (a JSON object) that was asked for.
pub fn annotate(body: &Bytes, facts: &AnswerFacts, cost: Option<NanoUsd>, explanation: Option<&str>) -> Bytes {
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let mut splice = Splice::new(text);
    if let (Some(cost), Some(slot)) = (cost, &facts.cost_slot) {
        slot.fill(&mut splice, "cost", &cost.to_string());
    }
    if let Some(explanation) = explanation {
        facts.explanation_slot.fill(&mut splice, "aipipe", explanation);
    }
    if splice.is_empty() { body.clone() } else { splice.finish() }
}

/// What usage costs, the request's earlier attempts included; `None` where the model has no price.
pub type Price<'a> = &'a dyn Fn(&Usage) -> Option<NanoUsd>;

/// What one event of a stream says.
#[derive(Debug, Default)]
pub struct Seen {
    /// Bytes of the answer itself that it carries, as written; `Some(0)` where it commits the stream without any (a reason to end).
    pub content: Option<usize>,
    /// Figures so far.
    pub usage: Option<Usage>,
    /// Why the answer ended, where it says so.
    pub stop: Option<Stop>,
    /// What the provider issued with it and keeps or alone can read.
    pub issued: Vec<IssuedHash>,
    /// How the stream goes on.
    pub course: Onward,
}

/// How a stream goes on after an event.
#[derive(Debug, Default)]
pub enum Onward {
    /// More may come.
    #[default]
    More,
    /// The answer is whole: the dialect's terminal event came.
    Whole,
    /// The provider reports an error.
    Error(ProviderError),
    /// It cannot be read and may have carried content.
    Malformed(Malformed),
}

/// A stream on its way from a provider to a client.
pub trait StreamReading: Send {
    /// Takes one event and appends what the client gets of it.
    fn event(&mut self, event: RawEvent, price: Price<'_>, out: &mut Vec<Bytes>) -> Seen;

    /// The provider is silent: appends the dialect's sign of life, where the stream is AiPipe's own writing.
    fn keep_alive(&mut self, _: &mut Vec<Bytes>) {}

    /// The connection closed properly: whether the answer is whole, and why it ended where no event has said so. Appends what was held
    /// back.
    ///
    /// # Errors
    /// [`Malformed`] where it is not.
    fn close(&mut self, out: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed>;

    /// Appends what a whole answer's client is still owed: usage with its cost, and the dialect's end.
    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>);

    /// What should be JSON in what has passed.
    fn form(&self) -> &Form;

    /// How far the answer has come, and what can write on from there, where that is watched.
    fn standing(&self) -> Option<(&Progress, &dyn StreamEncoder)> {
        None
    }

    /// The events that end a stream which broke, where they depend on what has passed.
    fn fail(&mut self, _: &ClientError<'_>) -> Option<Bytes> {
        None
    }
}

/// A request that was scanned; it borrows the body.
pub trait ClientRequest: Send + Sync {
    /// What routing and accounting need to know of it.
    fn facts(&self) -> &Facts;

    /// The key of all that decides the answer, the model apart.
    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey;

    /// The body for a provider of the same dialect: a few splices, every other byte as it came.
    fn pass(&self, target: &Target<'_>) -> Prepared;

    /// The request in the canonical form, for a provider of another dialect.
    ///
    /// # Errors
    /// [`InvalidRequest`] naming the field that cannot be understood or that no other dialect has words for.
    fn decode(&self) -> Result<Decoded, InvalidRequest>;

    /// What should be JSON in a whole answer to this request in its own dialect.
    fn form(&self, answer: &str) -> Form;

    /// Writes a whole canonical answer to this request, with usage but without its cost, which [`annotate`] adds.
    fn write_answer(&self, answer: &Answer, frame: &Frame) -> Bytes;

    /// Starts writing a canonical stream that answers this request.
    fn stream_encoder(&self, frame: &Frame) -> Box<dyn StreamEncoder>;

    /// Starts reading a stream of the same dialect that answers this request.
    fn passing(&self, profile: &Profile) -> Box<dyn StreamReading>;
}

/// A dialect's endpoint that counts the input tokens of a request and does not answer it.
pub trait Counting: Send + Sync {
    /// The request that is to be counted, within the body of the call.
    fn request<'a>(&self, body: &'a [u8]) -> &'a [u8];

    /// The path below the base URL of a provider that speaks this dialect; `{model}` stands for the model's id, `None` where it does not count.
    fn path(&self, profile: &Profile) -> Option<&'static str> {
        profile.paths.count_tokens
    }

    /// The body of the call to a provider; `request` is the request as it would pass to this model.
    fn call(&self, request: Bytes, model: &Model) -> Bytes;

    /// The figure in a provider's answer; `None` where it has none.
    fn read(&self, answer: &[u8]) -> Option<u64>;

    /// The answer with AiPipe's own estimate.
    fn write(&self, tokens: u64) -> Bytes;
}

/// A client's dialect.
pub trait ClientSurface: Send + Sync {
    /// Scans a body.
    ///
    /// # Errors
    /// [`InvalidRequest`] where it breaks a rule that AiPipe relies on.
    fn scan<'a>(
        &self,
        body: &'a [u8],
        addressed: &Addressed<'a>,
    ) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest>;

    /// Whether a provider with this profile speaks this dialect itself, so that requests pass through.
    fn is_spoken_by(&self, profile: &Profile) -> bool;

    /// The path below such a provider's base URL; `{model}` stands for the model's id.
    fn path(&self, profile: &Profile, stream: bool) -> &'static str;

    /// Looks at a whole answer with status 200 in this dialect.
    ///
    /// # Errors
    /// [`AnswerError`] where it is an error in disguise or no answer at all.
    fn read_answer(&self, body: &[u8], profile: &Profile) -> Result<AnswerFacts, AnswerError>;

    /// The decision as an event in front of a stream; `None` where the dialect has no place for it.
    fn explanation_event(&self, frame: &Frame, model: &str, explanation: &str) -> Option<Bytes>;

    /// How input tokens are counted without an answer, where the dialect has an endpoint for it.
    fn counting(&self) -> Option<&'static dyn Counting> {
        None
    }

    /// The body of an error.
    fn error(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes;

    /// The event that ends a stream which broke: clients raise it, and nothing follows.
    fn error_event(&self, error: &ClientError<'_>, request_id: RequestId) -> Bytes;
}
