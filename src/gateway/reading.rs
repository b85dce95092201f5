//! Reads a stream of another dialect than the client's and writes the client's, event by event.

use bytes::Bytes;

use crate::dialects::client::{ClientRequest, Frame, Onward, Price, Seen, StreamReading};
use crate::dialects::conversation::{Event, Stop, Usage};
use crate::dialects::form::Form;
use crate::dialects::surrogates::Surrogates;
use crate::dialects::translate::{ClientError, Malformed, Step, StreamDecoder, StreamEncoder};
use crate::upstream::sse::RawEvent;

/// A stream that is translated on its way.
pub struct Translating {
    decoder: Box<dyn StreamDecoder>,
    encoder: Box<dyn StreamEncoder>,
    surrogates: Surrogates,
    usage: Option<Usage>,
    events: Vec<Event>,
    form: Form,
}

impl Translating {
    /// Stands before the first event of an answer to this request.
    pub fn new(decoder: Box<dyn StreamDecoder>, request: &dyn ClientRequest, frame: &Frame) -> Self {
        Self {
            decoder,
            encoder: request.stream_encoder(frame),
            surrogates: Surrogates::default(),
            usage: None,
            events: Vec::new(),
            form: Form::of(request.facts()),
        }
    }

    /// Tells a whole answer as a stream, all of it but its end.
    pub fn recite(&mut self, events: Vec<Event>, out: &mut Vec<Bytes>) -> Seen {
        self.events = events;
        Seen { course: Onward::Whole, ..self.write(out) }
    }

    /// Writes the events that were read; tells the bytes of content, the figures and the reason to end among them.
    fn write(&mut self, out: &mut Vec<Bytes>) -> Seen {
        let mut written = Vec::new();
        let mut seen = Seen::default();
        for event in self.events.drain(..) {
            self.form.event(&event);
            if event.is_content() {
                *seen.content.get_or_insert(0) += content_bytes(&event);
            }
            if let Event::Usage(figures) = &event {
                seen.usage = Some(*figures);
            }
            seen.stop = event.stop().or(seen.stop);
            self.encoder.event(&event, &mut written);
        }
        self.usage = seen.usage.or(self.usage);
        if !written.is_empty() {
            out.push(Bytes::from(written));
        }
        seen
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
            // The provider lives and has nothing to say yet: the client, and what stands between, hear as much.
            self.keep_alive(out);
            return Seen::default();
        }
        let step = self.decoder.event(event.name(), &self.surrogates.join(event.data()), &mut self.events);
        let seen = self.write(out);
        let course = match step {
            Ok(Step::Continue) => Onward::More,
            Ok(Step::End) => Onward::Whole,
            Ok(Step::Error(error)) => Onward::Error(error),
            Err(malformed) => Onward::Malformed(malformed),
        };
        Seen { course, ..seen }
    }

    fn keep_alive(&mut self, out: &mut Vec<Bytes>) {
        self.events.push(Event::Ping);
        self.write(out);
    }

    fn close(&mut self, out: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed> {
        self.decoder.close(&mut self.events)?;
        Ok(self.write(out).stop)
    }

    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>) {
        let cost = self.usage.as_ref().and_then(price).map(|cost| cost.to_string());
        let mut written = Vec::new();
        self.encoder.finish(cost.as_deref(), &mut written);
        out.push(Bytes::from(written));
    }

    fn form(&self) -> &Form {
        &self.form
    }

    fn fail(&mut self, error: &ClientError<'_>) -> Option<Bytes> {
        let mut written = Vec::new();
        self.encoder.error(error, &mut written);
        Some(Bytes::from(written))
    }
}
