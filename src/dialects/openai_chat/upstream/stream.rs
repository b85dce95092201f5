//! A stream of chunks as canonical events.

use serde::Deserialize;

use super::Reader;
use super::answer::{Held, refined, unsigned};
use super::calls::Calls;
use super::message::Message;
use crate::dialects::conversation::{Event, Stop, Usage};
use crate::dialects::openai_chat::reader;
use crate::dialects::openai_chat::relay::{failure, stop};
use crate::dialects::translate::{Malformed, Step, StreamDecoder, Undo};

#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Written>>,
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    delta: Option<Message>,
    /// The whole answer: some servers send it in place of deltas, others once more at the end.
    #[serde(default)]
    message: Option<Message>,
}

/// Reads the stream of one choice.
#[derive(Debug)]
pub(super) struct Decoder {
    whose: Reader,
    /// The model that was named last.
    model: Option<String>,
    calls: Calls,
    /// Whether thoughts have come that are not closed by a signature.
    thinks: bool,
    refuses: bool,
    has_content: bool,
    usage: Option<Usage>,
    stop: Option<Stop>,
}

impl Decoder {
    pub(super) fn new(whose: Reader, undo: Undo) -> Self {
        Self {
            whose,
            model: None,
            calls: Calls::new(undo),
            thinks: false,
            refuses: false,
            has_content: false,
            usage: None,
            stop: None,
        }
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if message.is_tools() {
            return Ok(());
        }
        for thought in message.thoughts(&self.whose) {
            if !thought.text.is_empty() {
                self.thinks = true;
                out.push(Event::Reasoning(thought.text));
            }
            if let Some(opaque) = thought.opaque {
                self.thinks = false;
                out.push(Event::ReasoningOpaque(opaque));
            }
        }
        if let Some(text) = message.text() {
            self.end_thoughts(out);
            out.push(Event::Text(text));
        }
        if let Some(text) = message.refused() {
            self.end_thoughts(out);
            self.refuses = true;
            out.push(Event::Refusal(text.to_owned()));
        }
        if message.images().next().is_some() {
            return Err(Malformed("an image came in a stream, which no other dialect can carry".to_owned()));
        }
        for call in message.tool_calls.iter().flatten() {
            self.end_thoughts(out);
            self.calls.take(call, &self.whose, out);
        }
        if let Some(function) = &message.function_call {
            self.end_thoughts(out);
            self.calls.take_legacy(function, out);
        }
        Ok(())
    }

    /// Thoughts that the provider wants back are marked as its own.
    fn end_thoughts(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.thinks) && self.whose.wants_thoughts_back {
            out.push(Event::ReasoningOpaque(unsigned(&self.whose)));
        }
    }
}

impl StreamDecoder for Decoder {
    fn event(&mut self, _: &str, data: &str, out: &mut Vec<Event>) -> Result<Step, Malformed> {
        if data.trim() == "[DONE]" {
            self.close(out)?;
            return Ok(Step::End);
        }
        let reading = reader::read(data, self.whose.quirks)
            .map_err(|fault| Malformed(format!("an event of the stream is not a chunk: {fault}")))?;
        if let Some(error) = failure(&reading) {
            return Ok(Step::Error(error));
        }
        let model = reading.model.decode();
        if !model.is_empty() && !self.has_content && self.model.as_deref() != Some(&*model) {
            self.model = Some(model.clone().into_owned());
            out.push(Event::Start { id: reading.id.decode().into_owned(), model: model.into_owned() });
        }
        // serde's own message may quote the answer.
        let chunk: Chunk =
            serde_json::from_str(data).map_err(|_| Malformed("a field of a chunk has a wrong type".to_owned()))?;
        let first = chunk.choices.unwrap_or_default().into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        let said = first.and_then(|choice| choice.delta.or(choice.message.filter(|_| !self.has_content)));
        if let Some(message) = said {
            let before = out.len();
            self.message(&message, out)?;
            let has_content = out.len() > before;
            if has_content && self.model.is_none() {
                let model = self.whose.model().to_owned();
                self.model = Some(model.clone());
                out.insert(before, Event::Start { id: reading.id.decode().into_owned(), model });
            }
            self.has_content |= has_content;
        }
        if let Some(finish) = reading.finishes.iter().find(|finish| finish.index == 0) {
            let held = Held { calls: !self.calls.is_empty(), refuses: self.refuses };
            self.stop = Some(refined(stop(finish, held.calls), held));
        }
        if let Some(usage) = reading.usage.or(reading.choice_usage).filter(|usage| self.usage != Some(*usage)) {
            self.usage = Some(usage);
            out.push(Event::Usage(usage));
        }
        Ok(Step::Continue)
    }

    fn close(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some(reason) = self.stop.take() else {
            return Err(Malformed("the stream ended without a finish_reason".to_owned()));
        };
        // The limit may cut a call off before its name.
        if reason != Stop::Length {
            self.calls.close()?;
        }
        self.end_thoughts(out);
        out.push(Event::Stop { reason, sequence: None });
        Ok(())
    }
}
