//! Reads a provider's stream and writes the client's, event by event: one interface over passing through and translating.

use aipipe_actors::money::NanoUsd;
use bytes::Bytes;

use super::outgoing::Reading;
use crate::dialects::conversation::{Event, Usage};
use crate::dialects::openai_chat::answer::AnswerShape;
use crate::dialects::openai_chat::{ChatStreamEncoder, PassthroughScanner, UsageView};
use crate::dialects::translate::{Malformed, ProviderError, Step, StreamDecoder, StreamEncoder};
use crate::upstream::sse::RawEvent;

/// What usage costs, the request's earlier attempts included.
pub type Price<'a> = &'a dyn Fn(&Usage) -> Option<NanoUsd>;

/// What one event of a stream says.
#[derive(Debug, Default)]
pub struct Seen {
    /// Bytes of the answer itself that it carries, as written; `Some(0)` where it commits the stream without any (a reason to end).
    pub content: Option<usize>,
    /// Figures so far.
    pub usage: Option<Usage>,
    /// How the stream goes on.
    pub course: Onward,
}

/// How a stream goes on after an event.
#[derive(Debug, Default)]
pub enum Onward {
    /// More may come.
    #[default]
    More,
    /// The answer is whole.
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

    /// The connection closed properly: whether the answer is whole.
    ///
    /// # Errors
    /// [`Malformed`] where it is not.
    fn close(&mut self, out: &mut Vec<Bytes>) -> Result<(), Malformed>;

    /// Appends what a whole answer's client is still owed: usage with its cost, and the dialect's end.
    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>);
}

/// Starts reading a stream.
pub fn stream_reading(reading: Reading, origin: &str, shape: AnswerShape, view: UsageView) -> Box<dyn StreamReading> {
    match reading {
        Reading::Same(quirks) => Box::new(Passing(PassthroughScanner::new(quirks, view))),
        Reading::Translated { dialect, undo, tools } => Box::new(Translating {
            decoder: dialect.stream_decoder(origin, undo),
            encoder: ChatStreamEncoder::new(AnswerShape { tools, ..shape }, view),
            usage: None,
            events: Vec::new(),
        }),
    }
}

struct Passing(PassthroughScanner);

impl StreamReading for Passing {
    fn event(&mut self, event: RawEvent, price: Price<'_>, out: &mut Vec<Bytes>) -> Seen {
        let relayed = self.0.relay(event, price);
        let facts = relayed.facts;
        let course = match (facts.error, facts.malformed) {
            (Some(error), _) => Onward::Error(error),
            (_, Some(malformed)) => Onward::Malformed(malformed),
            _ if facts.is_done => match self.0.close() {
                Ok(()) => Onward::Whole,
                Err(malformed) => Onward::Malformed(malformed),
            },
            _ => Onward::More,
        };
        // The end of an answer that is not whole must not reach the client.
        if matches!(course, Onward::More | Onward::Whole) {
            out.extend(relayed.bytes);
        }
        let commits = facts.is_content || facts.stop.is_some();
        Seen { content: commits.then_some(facts.content_bytes), usage: facts.usage, course }
    }

    fn close(&mut self, _: &mut Vec<Bytes>) -> Result<(), Malformed> {
        self.0.close()
    }

    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>) {
        out.extend(self.0.finish(price));
    }
}

struct Translating {
    decoder: Box<dyn StreamDecoder>,
    encoder: ChatStreamEncoder,
    usage: Option<Usage>,
    events: Vec<Event>,
}

impl Translating {
    /// Writes the events that were read; tells the bytes of content among them.
    fn write(&mut self, out: &mut Vec<Bytes>) -> (Option<usize>, Option<Usage>) {
        let mut written = Vec::new();
        let mut content: Option<usize> = None;
        let mut usage = None;
        for event in self.events.drain(..) {
            if event.is_content() {
                *content.get_or_insert(0) += content_bytes(&event);
            }
            if let Event::Usage(figures) = &event {
                usage = Some(*figures);
            }
            self.encoder.event(&event, &mut written);
        }
        if usage.is_some() {
            self.usage = usage;
        }
        if !written.is_empty() {
            out.push(Bytes::from(written));
        }
        (content, usage)
    }
}

fn content_bytes(event: &Event) -> usize {
    match event {
        Event::Text(text) | Event::Refusal(text) | Event::Reasoning(text) => text.len(),
        Event::ToolCallStart { name, .. } => name.len(),
        Event::ToolArguments { delta, .. } => delta.len(),
        Event::Start { .. } | Event::ReasoningOpaque(_) | Event::Usage(_) | Event::Stop { .. } | Event::Ping => 0,
    }
}

impl StreamReading for Translating {
    fn event(&mut self, event: RawEvent, _: Price<'_>, out: &mut Vec<Bytes>) -> Seen {
        if event.is_comment() {
            return Seen::default();
        }
        let step = self.decoder.event(event.name(), event.data(), &mut self.events);
        let (content, usage) = self.write(out);
        let course = match step {
            Ok(Step::Continue) => Onward::More,
            Ok(Step::End) => Onward::Whole,
            Ok(Step::Error(error)) => Onward::Error(error),
            Err(malformed) => Onward::Malformed(malformed),
        };
        Seen { content, usage, course }
    }

    fn close(&mut self, out: &mut Vec<Bytes>) -> Result<(), Malformed> {
        self.decoder.close(&mut self.events)?;
        self.write(out);
        Ok(())
    }

    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>) {
        let cost = self.usage.as_ref().and_then(price).map(|cost| cost.to_string());
        let mut written = Vec::new();
        self.encoder.finish(cost.as_deref(), &mut written);
        out.push(Bytes::from(written));
    }
}
