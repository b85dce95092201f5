//! A stream of chunks as canonical events.

use serde::Deserialize;

use super::Reader;
use super::answer::{refined, unsigned};
use super::message::{Function, Message};
use crate::dialects::conversation::{Event, Stop, Usage};
use crate::dialects::openai_chat::reader;
use crate::dialects::openai_chat::relay::{failure, stop};
use crate::dialects::translate::{Malformed, Step, StreamDecoder};

#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Written>>,
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    index: Option<u32>,
    /// Some servers send whole messages in their streams.
    #[serde(default, alias = "message")]
    delta: Option<Message>,
}

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    /// The provider's number of it, which need not count from 0 or be there at all.
    index: Option<u32>,
    id: String,
}

/// Reads the stream of one choice.
#[derive(Debug)]
pub(super) struct Decoder {
    whose: Reader,
    /// The model that was named last.
    model: Option<String>,
    calls: Vec<Begun>,
    /// Whether thoughts have come that are not closed by a signature.
    thinks: bool,
    has_content: bool,
    usage: Option<Usage>,
    stop: Option<Stop>,
}

impl Decoder {
    pub(super) fn new(whose: Reader) -> Self {
        Self { whose, model: None, calls: Vec::new(), thinks: false, has_content: false, usage: None, stop: None }
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if let Some(text) = message.reasoning() {
            self.thinks = true;
            out.push(Event::Reasoning(text));
        }
        for opaque in message.opaques(&self.whose) {
            self.thinks = false;
            out.push(Event::ReasoningOpaque(opaque));
        }
        if let Some(text) = message.text() {
            self.end_thoughts(out);
            out.push(Event::Text(text));
        }
        if let Some(text) = message.refused() {
            self.end_thoughts(out);
            out.push(Event::Refusal(text.to_owned()));
        }
        if message.images().next().is_some() {
            return Err(Malformed("an image came in a stream, which no other dialect can carry".to_owned()));
        }
        for call in message.tool_calls.iter().flatten() {
            self.end_thoughts(out);
            let empty = Function::default();
            self.call(call.index, call.id.as_deref(), call.function.as_ref().unwrap_or(&empty), out);
        }
        if let Some(function) = &message.function_call {
            self.end_thoughts(out);
            self.call(Some(0), None, function, out);
        }
        Ok(())
    }

    /// Thoughts that the provider wants back are marked as its own.
    fn end_thoughts(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.thinks) && self.whose.wants_thoughts_back {
            out.push(Event::ReasoningOpaque(unsigned(&self.whose)));
        }
    }

    fn call(&mut self, index: Option<u32>, id: Option<&str>, function: &Function, out: &mut Vec<Event>) {
        let id = id.filter(|id| !id.is_empty());
        let place = match (index, id) {
            (Some(index), _) => self.calls.iter().position(|call| call.index == Some(index)),
            (None, Some(id)) => self.calls.iter().position(|call| call.id == id),
            (None, None) => self.calls.len().checked_sub(1),
        };
        // A second id under a number that is taken is another call: some servers count all calls as the first.
        let place = place.filter(|&place| {
            let same = |id: &str| self.calls.get(place).is_some_and(|call| call.id == id);
            let names_anew = function.name.as_deref().is_some_and(|name| !name.is_empty());
            !names_anew || id.is_none_or(same)
        });
        let number = match place {
            Some(place) => place,
            None => {
                let number = self.calls.len();
                let id = id.map_or_else(|| format!("call_{number}"), str::to_owned);
                let name = function.name.clone().unwrap_or_default();
                out.push(Event::ToolCallStart { index: count(number), id: id.clone(), name, signature: None });
                self.calls.push(Begun { index, id });
                number
            }
        };
        let delta = function.arguments();
        if !delta.is_empty() {
            out.push(Event::ToolArguments { index: count(number), delta });
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
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
        if let Some(message) = first.and_then(|choice| choice.delta) {
            let before = out.len();
            self.message(&message, out)?;
            self.has_content |= out.len() > before;
        }
        if let Some(finish) = reading.finishes.iter().find(|finish| finish.index == 0) {
            self.stop = Some(refined(stop(finish, !self.calls.is_empty()), !self.calls.is_empty()));
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
        self.end_thoughts(out);
        out.push(Event::Stop { reason, sequence: None });
        Ok(())
    }
}
