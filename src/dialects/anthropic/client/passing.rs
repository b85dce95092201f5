//! Watches a stream that passes through: learns the figures and the end from each event, and adds only the cost.

use bytes::Bytes;

use super::{form, reading};
use crate::dialects::anthropic::answer::unreadable_error;
use crate::dialects::anthropic::block::{Calls, stop_of};
use crate::dialects::anthropic::error::read_envelope;
use crate::dialects::anthropic::usage::Count;
use crate::dialects::client::{Onward, Price, Seen, StreamReading};
use crate::dialects::conversation::Stop;
use crate::dialects::form::Form;
use crate::dialects::splice::Splice;
use crate::dialects::translate::Malformed;
use crate::upstream::sse::RawEvent;

/// Watches one stream.
#[derive(Debug, Default)]
pub(super) struct Passing {
    count: Count,
    is_whole: bool,
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
        // OpenRouter ends its Messages streams with OpenAI's marker.
        if event.is_comment() || matches!(data.trim(), "" | "[DONE]") {
            out.push(event.into_raw());
            return Seen::default();
        }
        let reading = match reading::read(data) {
            Ok(reading) => reading,
            Err(fault) => {
                let malformed = Malformed(format!("an event of the stream cannot be read: {fault}"));
                return Seen { course: Onward::Malformed(malformed), ..Seen::default() };
            }
        };
        let kind = if reading.kind.is_empty() { event.name() } else { reading.kind.raw() };
        if kind == "error" || reading.is_error {
            let error = read_envelope(data).unwrap_or_else(unreadable_error);
            return Seen { course: Onward::Error(error), ..Seen::default() };
        }
        form::read(data, &mut self.form);
        let ends = kind == "message_stop";
        let tells_end = kind == "message_delta";
        let commits = reading.has_content || reading.stop_reason.is_some() || ends;
        let content = commits.then_some(reading.content_bytes);
        // Which calls came before it is not known here; the reason alone says nearly as much.
        let stop = reading.stop_reason.as_ref().map(|reason| stop_of(reason.raw(), Calls::None));
        let mut usage = None;
        if reading.usage.is_some() {
            reading.take_usage(data, &mut self.count);
            usage = self.count.usage();
        }
        let priced = usage.filter(|_| tells_end).and_then(|usage| price(&usage)).zip(reading.cost_slot(data));
        match priced {
            Some((cost, slot)) => {
                let mut splice = Splice::new(data);
                slot.fill(&mut splice, "cost", &cost.to_string());
                out.push(splice.into_event(&event));
            }
            None => out.push(event.into_raw()),
        }
        self.is_whole |= ends;
        let course = if ends { Onward::Whole } else { Onward::More };
        Seen { content, usage, stop, course, ..Seen::default() }
    }

    fn close(&mut self, _: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed> {
        if self.is_whole { Ok(None) } else { Err(Malformed("the stream closed before message_stop".to_owned())) }
    }

    fn finish(&mut self, _: Price<'_>, _: &mut Vec<Bytes>) {
        // `message_stop` has passed, and nothing follows it.
    }

    fn form(&self) -> &Form {
        &self.form
    }
}
