//! Watches a stream that passes through: learns usage and the end from each chunk, and changes only what the client did not ask for and
//! what AiPipe adds.

use std::fmt::Write as _;

use aipipe_actors::money::NanoUsd;
use bytes::Bytes;
use http::StatusCode;

use super::error;
use super::quirks::ChatQuirks;
use super::reader::{self, Choices, Finish, Reading, bit};
use super::usage;
use crate::dialects::conversation::{Stop, Usage};
use crate::dialects::splice::Splice;
use crate::dialects::translate::{Malformed, ProviderError};
use crate::upstream::sse::RawEvent;

/// Whether the client asked for usage within its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageView {
    /// It gets the figures, with AiPipe's `cost`.
    Shown,
    /// It gets none: AiPipe asked for them on its own account.
    Hidden,
    /// It gets what the provider sends of its own accord, as it would without AiPipe.
    Untouched,
}

/// What one event of a stream says.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ChunkFacts {
    /// It carries something of the answer itself: text, reasoning, a call.
    pub is_content: bool,
    /// Bytes of that as written: the base of an estimate where no usage comes.
    pub content_bytes: usize,
    /// Why a choice ended; with this or with content the stream is committed.
    pub stop: Option<Stop>,
    /// Figures; later ones replace earlier ones.
    pub usage: Option<Usage>,
    /// It holds usage and nothing else.
    pub is_usage_only: bool,
    /// The provider reports an error: the stream is over, and not well.
    pub error: Option<ProviderError>,
    /// `[DONE]`: nothing follows.
    pub is_done: bool,
    /// It cannot be read and may have carried content: the stream must end in an error.
    pub malformed: Option<Malformed>,
}

/// An event after a look at it.
#[derive(Debug)]
pub struct Relayed {
    /// What it says.
    pub facts: ChunkFacts,
    /// What goes to the client; `None` where that is nothing.
    pub bytes: Option<Bytes>,
}

/// What usage costs, where the price is known.
pub type Price<'a> = &'a dyn Fn(&Usage) -> Option<NanoUsd>;

/// Looks at each event of one stream.
#[derive(Debug)]
pub struct PassthroughScanner {
    quirks: ChatQuirks,
    view: UsageView,
    /// Choices that began and that ended, a bit each.
    met: u128,
    finished: u128,
    usage: Option<Usage>,
    usage_sent: bool,
    done: bool,
    /// `id`, `created` and `model` of the stream as JSON members, for a usage chunk of our own.
    head: String,
}

impl PassthroughScanner {
    /// Stands before the first event.
    pub fn new(quirks: ChatQuirks, view: UsageView) -> Self {
        Self { quirks, view, met: 0, finished: 0, usage: None, usage_sent: false, done: false, head: String::new() }
    }

    /// The last figures so far.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Looks at one event and says what of it goes to the client.
    pub fn relay(&mut self, event: RawEvent, price: Price<'_>) -> Relayed {
        if event.is_comment() {
            return Relayed { facts: ChunkFacts::default(), bytes: Some(event.into_raw()) };
        }
        let data = event.data();
        if data.trim() == "[DONE]" {
            self.done = true;
            let facts = ChunkFacts { is_done: true, ..ChunkFacts::default() };
            let bytes = match self.own_usage_chunk(price) {
                Some(mut chunk) => {
                    chunk.extend_from_slice(event.raw());
                    Bytes::from(chunk)
                }
                None => event.into_raw(),
            };
            return Relayed { facts, bytes: Some(bytes) };
        }
        let reading = match reader::read(data, self.quirks) {
            Ok(reading) => reading,
            Err(fault) => {
                let malformed = Some(Malformed(format!("an event of the stream is not a chunk: {fault}")));
                return Relayed { facts: ChunkFacts { malformed, ..ChunkFacts::default() }, bytes: None };
            }
        };
        let facts = self.learn(&reading);
        if facts.error.is_some() {
            return Relayed { facts, bytes: None };
        }
        let edits = self.edits(&reading, data, price);
        self.finished |= reading.finishes.iter().fold(0, |bits, finish| bits | bit(finish.index));
        let bytes = match edits {
            None => None,
            Some(splice) if splice.is_empty() => Some(event.into_raw()),
            Some(splice) => Some(splice.into_event(&event)),
        };
        Relayed { facts, bytes }
    }

    /// The connection closed properly: whether the answer is whole, that is, whether every choice that began has said why it ended.
    ///
    /// # Errors
    /// [`Malformed`] where it is not, however whole the text may look.
    pub fn close(&self) -> Result<(), Malformed> {
        if self.finished == 0 || self.met & !self.finished != 0 {
            return Err(Malformed("the stream ended without a finish_reason".into()));
        }
        Ok(())
    }

    /// What a whole stream still owes its client after the provider's last event: the usage that it asked for, and `[DONE]`.
    pub fn finish(&mut self, price: Price<'_>) -> Option<Bytes> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let mut rest = self.own_usage_chunk(price).unwrap_or_default();
        rest.extend_from_slice(b"data: [DONE]\n\n");
        Some(Bytes::from(rest))
    }

    fn learn(&mut self, reading: &Reading<'_>) -> ChunkFacts {
        self.met |= reading.met;
        if self.head.is_empty() && self.view == UsageView::Shown {
            let created = if reading.created.is_empty() { "0" } else { reading.created };
            // Writing to a string cannot fail.
            let _ = write!(
                self.head,
                "\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":\"{}\"",
                reading.id.raw(),
                reading.model.raw()
            );
        }
        let usage = reading.usage.or(reading.choice_usage);
        if usage.is_some() {
            self.usage = usage;
        }
        let stop = reading.finishes.last().map(|finish| stop(finish, reading.has_tool_calls));
        ChunkFacts {
            is_content: reading.has_content,
            content_bytes: reading.content_bytes,
            stop,
            usage,
            is_usage_only: reading.choices == Choices::List(0) && reading.usage.is_some(),
            error: failure(reading),
            ..ChunkFacts::default()
        }
    }

    /// The changes to a chunk; `None` where the client gets nothing of it.
    fn edits<'d>(&mut self, reading: &Reading<'d>, data: &'d str, price: Price<'_>) -> Option<Splice<'d>> {
        let mut splice = Splice::new(data);
        match self.view {
            UsageView::Hidden => {
                let is_bare = reading.choices == Choices::List(0) && !reading.usage_member.is_empty();
                let beside_nothing = reading.usage.is_some() && reading.finishes.is_empty() && !reading.has_content;
                if is_bare || beside_nothing {
                    return None;
                }
                for range in &reading.usage_member {
                    splice.remove(range.clone());
                }
            }
            UsageView::Shown => {
                if let (Some(usage), Some(slot)) = (&reading.usage, &reading.cost_slot) {
                    self.usage_sent = true;
                    if let Some(cost) = price(usage) {
                        slot.fill(&mut splice, "cost", &cost.to_string());
                    }
                }
            }
            UsageView::Untouched => {}
        }
        for range in &reading.empty_roles {
            splice.remove(range.clone());
        }
        Some(splice)
    }

    /// The usage chunk that the client asked for and that the provider put elsewhere.
    fn own_usage_chunk(&mut self, price: Price<'_>) -> Option<Vec<u8>> {
        if self.view != UsageView::Shown || self.usage_sent {
            return None;
        }
        let usage = self.usage?;
        self.usage_sent = true;
        let cost = price(&usage).map(|cost| cost.to_string());
        let mut chunk = format!("data: {{{},\"choices\":[],\"usage\":", self.head);
        usage::write(&usage, cost.as_deref(), &mut chunk);
        chunk.push_str("}\n\n");
        Some(chunk.into_bytes())
    }
}

/// The error that a chunk or answer reports.
pub(super) fn failure(reading: &Reading<'_>) -> Option<ProviderError> {
    if let Some(text) = reading.error {
        return Some(error::within_answer(text));
    }
    if let Some(failure) = reading.base_resp.and_then(error::base_resp) {
        return Some(failure);
    }
    reading.finishes.iter().any(|finish| finish.reason == *"error").then(|| ProviderError {
        status: StatusCode::BAD_GATEWAY,
        code: None,
        message: "the provider ended the answer with an error".into(),
        param: None,
        retry_after: None,
    })
}

/// What a `finish_reason` means; some compatible servers say `stop` although they call tools.
pub(super) fn stop(finish: &Finish<'_>, calls_tools: bool) -> Stop {
    match finish.reason.raw() {
        "length" => Stop::Length,
        "content_filter" => Stop::Filtered,
        "tool_calls" | "function_call" => Stop::ToolUse,
        _ if calls_tools => Stop::ToolUse,
        _ => Stop::End,
    }
}
