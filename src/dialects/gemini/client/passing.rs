//! A Gemini stream or answer that passes through: watched by the reader of this dialect, and changed only by the cost.

use bytes::Bytes;

use crate::dialects::client::{AnswerFacts, Onward, Price, Seen, Slot, StreamReading};
use crate::dialects::conversation::{Event, Part, Stop, Usage};
use crate::dialects::form::Form;
use crate::dialects::gemini::answer;
use crate::dialects::gemini::stream::GeminiStream;
use crate::dialects::json::{Cursor, Fault, Kind};
use crate::dialects::splice::Splice;
use crate::dialects::translate::{AnswerError, Malformed, Step, StreamDecoder, Undo};
use crate::upstream::sse::RawEvent;

/// Watches a stream.
pub(super) struct Passing {
    reader: GeminiStream,
    events: Vec<Event>,
    usage: Option<Usage>,
    form: Form,
}

impl Passing {
    pub(super) fn new(form: Form) -> Self {
        Self { reader: GeminiStream::passing(), events: Vec::new(), usage: None, form }
    }
}

impl StreamReading for Passing {
    fn event(&mut self, event: RawEvent, price: Price<'_>, out: &mut Vec<Bytes>) -> Seen {
        if event.is_comment() {
            out.push(event.into_raw());
            return Seen::default();
        }
        let step = self.reader.event(event.name(), event.data(), &mut self.events);
        let mut seen = Seen::default();
        for event in self.events.drain(..) {
            self.form.event(&event);
            match event {
                Event::Usage(usage) => seen.usage = Some(usage),
                Event::Text(text) | Event::Refusal(text) | Event::Reasoning(text) => {
                    *seen.content.get_or_insert(0) += text.len();
                }
                Event::ToolCallStart { name, .. } => *seen.content.get_or_insert(0) += name.len(),
                Event::ToolArguments { delta, .. } => *seen.content.get_or_insert(0) += delta.len(),
                Event::Stop { reason, .. } => seen.stop = Some(reason),
                Event::Start { .. } | Event::ReasoningOpaque(_) | Event::Ping => {}
            }
        }
        if let Some(aside) = self.reader.take_aside() {
            *seen.content.get_or_insert(0) += aside;
        }
        self.usage = seen.usage.or(self.usage);
        seen.course = match step {
            Ok(Step::Continue | Step::End) => Onward::More,
            Ok(Step::Error(error)) => Onward::Error(error),
            Err(malformed) => Onward::Malformed(malformed),
        };
        if matches!(seen.course, Onward::More) {
            out.push(self.costed(event, price));
        }
        seen
    }

    fn close(&mut self, _: &mut Vec<Bytes>) -> Result<Option<Stop>, Malformed> {
        self.reader.close(&mut self.events)?;
        Ok(self.events.iter().find_map(Event::stop))
    }

    // Figures and end have passed with the last piece.
    fn finish(&mut self, _: Price<'_>, _: &mut Vec<Bytes>) {}

    fn form(&self) -> &Form {
        &self.form
    }
}

impl Passing {
    /// The event, with the cost beside the figures of a piece that ends the answer: the last one, as far as anybody can tell before the
    /// connection closes.
    fn costed(&self, event: RawEvent, price: Price<'_>) -> Bytes {
        let cost = self.usage.as_ref().and_then(price);
        let Some(cost) = cost else { return event.into_raw() };
        let places = Places::find(event.data()).unwrap_or_default();
        let Some(slot) = places.usage.filter(|_| places.ends) else { return event.into_raw() };
        let mut splice = Splice::new(event.data());
        slot.fill(&mut splice, "cost", &cost.to_string());
        splice.into_event(&event)
    }
}

/// Where in a response AiPipe's own can stand.
#[derive(Default)]
struct Places {
    usage: Option<Slot>,
    end: Option<Slot>,
    /// Whether a candidate says why it ended.
    ends: bool,
}

impl Places {
    fn find(text: &str) -> Result<Self, Fault> {
        let mut places = Self::default();
        let mut cursor = Cursor::new(text);
        let mut members = cursor.object()?;
        let mut has_members = false;
        while let Some(key) = cursor.key(&mut members)? {
            has_members = true;
            match (key.name.raw(), cursor.kind()?) {
                ("usageMetadata", Kind::Object) => {
                    let usage = cursor.skip()?;
                    let is_empty =
                        text.get(usage.start + 1..usage.end - 1).is_some_and(|inner| inner.trim().is_empty());
                    places.usage = Some(Slot::End { at: usage.end - 1, has_members: !is_empty });
                }
                ("candidates", Kind::Array) => {
                    let mut items = cursor.array()?;
                    while cursor.element(&mut items)? {
                        places.ends |= says_why(&mut cursor)?;
                    }
                }
                _ => cursor.pass()?,
            }
        }
        places.end = Some(Slot::End { at: cursor.position() - 1, has_members });
        Ok(places)
    }
}

/// Whether the candidate that the cursor stands on has a reason to end.
fn says_why(cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
    if cursor.kind()? != Kind::Object {
        cursor.pass()?;
        return Ok(false);
    }
    let mut members = cursor.object()?;
    let mut ends = false;
    while let Some(key) = cursor.key(&mut members)? {
        ends |= key.name == *"finishReason";
        cursor.pass()?;
    }
    Ok(ends)
}

/// Tells what should be JSON in a whole answer.
pub(super) fn watch(answer: &str, form: &mut Form) {
    let Ok(read) = answer::decode(answer.as_bytes(), "", &Undo::default()) else { return };
    for event in read.into_events().into_iter().flatten() {
        form.event(&event);
    }
}

/// Looks at a whole answer.
pub(super) fn read_answer(body: &[u8]) -> Result<AnswerFacts, AnswerError> {
    let read = answer::decode(body, "", &Undo::default())?;
    let text = std::str::from_utf8(body).unwrap_or_default();
    let malformed = |_| AnswerError::Malformed(Malformed("the answer cannot be read".to_owned()));
    let places = Places::find(text).map_err(malformed)?;
    let length = |part: &Part| match part {
        Part::Text(text) | Part::Refusal(text) => text.len(),
        Part::Reasoning(thought) => thought.text.len(),
        Part::ToolCall(call) => call.name.len() + call.arguments.len(),
        Part::Image(_) | Part::Document { .. } | Part::Audio(_) | Part::ToolResult(_) => 0,
    };
    let cut = read.choices.iter().find(|choice| choice.stop == Stop::Length);
    let stop = cut.or(read.choices.first()).map(|choice| choice.stop);
    Ok(AnswerFacts {
        issued: Vec::new(),
        usage: read.usage,
        stop: stop.unwrap_or(Stop::End),
        is_whole: true,
        content_bytes: read.choices.iter().flat_map(|choice| &choice.parts).map(length).sum(),
        cost_slot: places.usage,
        explanation_slot: places.end.unwrap_or(Slot::End { at: 0, has_members: false }),
    })
}
