//! Reads a stream of another dialect than the client's and writes the client's, event by event; and follows one that passes through, so
//! that another model could go on with it.

use aipipe_actors::money::Tokens;
use bytes::Bytes;

use crate::dialects::client::{Onward, Price, Seen, StreamReading};
use crate::dialects::conversation::{Event, Stop, Usage};
use crate::dialects::form::Form;
use crate::dialects::progress::{Progress, Seam};
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
    /// What of it should be JSON.
    form: Form,
    /// How far the answer has come, where that is watched.
    progress: Option<Progress>,
    /// Where it continues another model's answer.
    joint: Option<Joint>,
}

/// Where a continuation is joined to what went before.
pub struct Joint {
    /// The white space there.
    pub seam: Seam,
    /// What the calls before used: the client is told the figures of all of them together.
    pub earlier: Tokens,
}

impl Translating {
    /// Stands before the first event of an answer that should have this form.
    pub fn new(decoder: Box<dyn StreamDecoder>, encoder: Box<dyn StreamEncoder>, form: Form) -> Self {
        let surrogates = Surrogates::default();
        Self { decoder, encoder, surrogates, usage: None, events: Vec::new(), form, progress: None, joint: None }
    }

    /// Watches how far the answer comes.
    #[must_use]
    pub fn watched(self) -> Self {
        Self { progress: Some(Progress::default()), ..self }
    }

    /// Goes on from an answer that has come so far.
    #[must_use]
    pub fn joined(self, progress: Progress, joint: Joint) -> Self {
        Self { progress: Some(progress), joint: Some(joint), ..self }
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
        for mut event in self.events.drain(..) {
            self.form.event(&event);
            if event.is_content() {
                *seen.content.get_or_insert(0) += content_bytes(&event);
            }
            if let Event::Usage(figures) = &event {
                seen.usage = Some(*figures);
            }
            seen.stop = event.stop().or(seen.stop);
            if let Some(joint) = &mut self.joint {
                joint.fit(&mut event);
            }
            if let Some(progress) = &mut self.progress {
                progress.event(&event);
            }
            self.encoder.event(&event, &mut written);
        }
        self.usage = seen.usage.or(self.usage);
        if !written.is_empty() {
            out.push(Bytes::from(written));
        }
        seen
    }
}

impl Joint {
    fn fit(&mut self, event: &mut Event) {
        match event {
            Event::Text(text) => *text = self.seam.fit(text).to_owned(),
            Event::Usage(figures) => figures.tokens += self.earlier,
            _ => {}
        }
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

    fn standing(&self) -> Option<(&Progress, &dyn StreamEncoder)> {
        Some((self.progress.as_ref()?, &*self.encoder))
    }

    fn fail(&mut self, error: &ClientError<'_>) -> Option<Bytes> {
        let mut written = Vec::new();
        self.encoder.error(error, &mut written);
        Some(Bytes::from(written))
    }
}

/// A stream that passes through, with an encoder that follows it.
pub struct Followed {
    passing: Box<dyn StreamReading>,
    encoder: Box<dyn StreamEncoder>,
    progress: Progress,
}

impl Followed {
    /// Stands before the first event.
    pub fn new(passing: Box<dyn StreamReading>, encoder: Box<dyn StreamEncoder>) -> Self {
        Self { passing, encoder, progress: Progress::default() }
    }
}

impl StreamReading for Followed {
    fn event(&mut self, event: RawEvent, price: Price<'_>, out: &mut Vec<Bytes>) -> Seen {
        let passed = event.clone();
        let seen = self.passing.event(event, price, out);
        // What is not passed on has not come to the client.
        if matches!(seen.course, Onward::More | Onward::Whole) && !passed.is_comment() {
            self.encoder.follow(passed.data(), &mut self.progress);
        }
        seen
    }

    fn keep_alive(&mut self, out: &mut Vec<Bytes>) {
        self.passing.keep_alive(out);
    }

    fn close(&mut self, out: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed> {
        self.passing.close(out)
    }

    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>) {
        self.passing.finish(price, out);
    }

    fn form(&self) -> &Form {
        self.passing.form()
    }

    fn standing(&self) -> Option<(&Progress, &dyn StreamEncoder)> {
        Some((&self.progress, &*self.encoder))
    }

    fn fail(&mut self, error: &ClientError<'_>) -> Option<Bytes> {
        self.passing.fail(error)
    }
}
