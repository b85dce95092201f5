//! Watches a stream that passes through: learns the figures, the ids and the end from each event, and adds only the cost.

use bytes::Bytes;
use http::StatusCode;

use super::reading::{self, EventReading};
use super::{error, form};
use crate::dialects::client::{Onward, Price, Seen, StreamReading};
use crate::dialects::conversation::Stop;
use crate::dialects::form::Form;
use crate::dialects::openai_chat::error::within_answer;
use crate::dialects::splice::Splice;
use crate::dialects::translate::{ClientError, Malformed, ProviderError};
use crate::upstream::sse::RawEvent;

/// Watches one stream.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// The number of the next event.
    sequence: u64,
    /// The `response` object of the stream's first event.
    response: String,
    /// Whether the terminal event has come.
    is_whole: bool,
    /// OpenRouter names no events and ends with `[DONE]`.
    is_named: bool,
    form: Form,
}

impl Passing {
    /// Stands before the first event.
    pub(super) fn new(form: Form) -> Self {
        Self { form, ..Self::default() }
    }
}

impl StreamReading for Passing {
    fn event(&mut self, event: RawEvent, price: Price<'_>, out: &mut Vec<Bytes>) -> Seen {
        let data = event.data();
        if event.is_comment() || data.trim().is_empty() {
            out.push(event.into_raw());
            return Seen::default();
        }
        if data.trim() == "[DONE]" {
            if !self.is_whole {
                return malformed("the stream ended before the response was complete");
            }
            out.push(event.into_raw());
            return Seen { course: Onward::Whole, ..Seen::default() };
        }
        let reading = match reading::event(data) {
            Ok(reading) => reading,
            Err(fault) => return malformed(format!("an event of the stream cannot be read: {fault}")),
        };
        if let Some(error) = failure(&reading, data) {
            return Seen { course: Onward::Error(error), ..Seen::default() };
        }
        self.is_named = !event.name().is_empty();
        self.sequence = reading.sequence.unwrap_or(self.sequence).saturating_add(1);
        let mut seen = Seen { content: reading.delta, ..Seen::default() };
        let mut priced = None;
        if let Some(response) = reading.response {
            if self.response.is_empty() {
                self.response = response.json.to_owned();
            }
            if response.stop().is_some() && matches!(reading.kind.raw(), "response.completed" | "response.incomplete") {
                self.is_whole = true;
                seen.stop = response.stop();
                form::read(response.json, &mut self.form);
                // What came in no delta came with the end.
                seen.content.get_or_insert(0);
            }
            seen.usage = response.usage;
            seen.issued = response.issued;
            priced = seen.usage.and_then(|usage| price(&usage)).zip(response.cost_slot);
        }
        match priced {
            Some((cost, slot)) => {
                let mut splice = Splice::new(data);
                slot.fill(&mut splice, "cost", &cost.to_string());
                out.push(splice.into_event(&event));
            }
            None => out.push(event.into_raw()),
        }
        if self.is_whole && self.is_named {
            seen.course = Onward::Whole;
        }
        seen
    }

    fn close(&mut self, _: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed> {
        if self.is_whole { Ok(None) } else { Err(Malformed("the stream closed before response.completed".to_owned())) }
    }

    fn finish(&mut self, _: Price<'_>, _: &mut Vec<Bytes>) {
        // The terminal event has passed, and nothing follows it.
    }

    fn form(&self) -> &Form {
        &self.form
    }

    fn fail(&mut self, error: &ClientError<'_>) -> Option<Bytes> {
        Some(error::events(error, self.sequence, &self.response))
    }
}

fn malformed(what: impl Into<String>) -> Seen {
    Seen { course: Onward::Malformed(Malformed(what.into())), ..Seen::default() }
}

/// The error that an event reports. OpenAI's `error` event is one itself; others hold one.
fn failure(reading: &EventReading<'_>, data: &str) -> Option<ProviderError> {
    let response = reading.response.as_ref();
    let error = reading.error.or_else(|| response.and_then(|response| response.error));
    match reading.kind.raw() {
        kind @ ("error" | "response.failed") => {
            let itself = (kind == "error" && data.contains("\"message\"")).then_some(data);
            Some(error.or(itself).map_or_else(unexplained, within_answer))
        }
        _ => error.map(within_answer),
    }
}

/// An error without a reason, or with one in a shape of its own.
pub(super) fn unexplained() -> ProviderError {
    ProviderError {
        status: StatusCode::BAD_GATEWAY,
        code: None,
        message: "the provider ended the answer with an error".into(),
        param: None,
        retry_after: None,
    }
}
