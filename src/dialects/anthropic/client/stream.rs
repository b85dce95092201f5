//! Writes a translated stream as this dialect has it: one block after another, each begun, filled and ended before the next.
//!
//! Other dialects interleave: a second call may begin before the first has all its arguments, text may come between. Here a block cannot
//! be opened again, so what belongs to a later block waits until the open one is complete: a text or a thought when anything else
//! begins, a call when its arguments are whole JSON, everything at the end.

use std::collections::VecDeque;

use aipipe_actors::identity::RequestId;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::answer::{Figures, Holds, Thoughts, stop_reason};
use super::error;
use super::following;
use crate::dialects::anthropic::block::{REDACTED, SIGNATURE};
use crate::dialects::anthropic::id::valid_id;
use crate::dialects::conversation::{Event, Opaque, Stop, Usage};
use crate::dialects::mark;
use crate::dialects::progress::Progress;
use crate::dialects::translate::{ClientError, StreamEncoder};

/// Encodes the events of one answer.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    id: String,
    request_id: RequestId,
    thoughts: Thoughts,
    pub(super) model: String,
    pub(super) begun: bool,
    /// The position of the next block, or of the open one.
    pub(super) next: u32,
    pub(super) open: Option<Block>,
    waiting: VecDeque<Block>,
    holds: Holds,
    usage: Option<Usage>,
    /// The reason to end and the stop sequence, held back for the end.
    stop: Option<(Stop, Option<String>)>,
    /// What `message_delta` has as `aipipe`.
    aipipe: Option<String>,
}

/// A block that is open or waits.
#[derive(Debug, Clone)]
pub(super) struct Block {
    kind: Kind,
    /// Of an open call all its arguments, of a block that waits what it will open with.
    text: String,
    /// What signs a thought, which then is complete.
    signature: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text,
    Thinking,
    /// A thought that is all opaque, or the signature of the call that follows.
    Redacted(String),
    Call {
        /// Its number among the calls.
        number: u32,
        id: String,
        name: String,
    },
}

impl Block {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, text: String::new(), signature: None }
    }

    /// Whether nothing more can come of an open block once something else has begun.
    fn is_complete(&self) -> bool {
        match self.kind {
            Kind::Call { .. } => {
                self.text.trim_end().ends_with('}') && serde_json::from_str::<IgnoredAny>(&self.text).is_ok()
            }
            Kind::Text | Kind::Thinking | Kind::Redacted(_) => true,
        }
    }
}

impl Encoder {
    /// Stands before the first event.
    pub(super) fn new(id: String, request_id: RequestId, thoughts: Thoughts) -> Self {
        Self {
            id,
            request_id,
            thoughts,
            model: String::new(),
            begun: false,
            next: 0,
            open: None,
            waiting: VecDeque::new(),
            holds: Holds::default(),
            usage: None,
            stop: None,
            aipipe: None,
        }
    }

    /// The beginning is held back until there is something to begin: until then a provider may still name another model.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let usage = serde_json::to_value(Figures::of(self.usage.as_ref())).unwrap_or_default();
        let message = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        });
        write(out, "message_start", &json!({"type": "message_start", "message": message}));
        ping(out);
    }

    /// The block that came last.
    fn last(&mut self) -> Option<&mut Block> {
        self.waiting.back_mut().or(self.open.as_mut())
    }

    fn push(&mut self, block: Block, out: &mut Vec<u8>) {
        self.begin(out);
        self.waiting.push_back(block);
        self.advance(out);
    }

    /// Ends the open block where it is complete and others wait, and opens the next, as far as that goes.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while !self.waiting.is_empty() && self.open.as_ref().is_none_or(Block::is_complete) {
            self.close(out);
            self.open_next(out);
        }
    }

    fn open_next(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.waiting.pop_front() else { return };
        let content = match &block.kind {
            Kind::Text => json!({"type": "text", "text": ""}),
            Kind::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Kind::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
            Kind::Call { id, name, .. } => json!({"type": "tool_use", "id": valid_id(id), "name": name, "input": {}}),
        };
        let start = json!({"type": "content_block_start", "index": self.next, "content_block": content});
        write(out, "content_block_start", &start);
        self.delta(&block.kind, &block.text, out);
        self.open = Some(block);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.open.take() else { return };
        if matches!(block.kind, Kind::Thinking) {
            // Clients expect every thought to be signed before it ends.
            let signature = block.signature.unwrap_or_else(|| mark::thought(None));
            delta(out, self.next, ("signature_delta", "signature"), &signature);
        }
        write(out, "content_block_stop", &json!({"type": "content_block_stop", "index": self.next}));
        self.next += 1;
    }

    fn delta(&self, kind: &Kind, text: &str, out: &mut Vec<u8>) {
        let names = match kind {
            Kind::Text => ("text_delta", "text"),
            Kind::Thinking => ("thinking_delta", "thinking"),
            Kind::Call { .. } => ("input_json_delta", "partial_json"),
            Kind::Redacted(_) => return,
        };
        if !text.is_empty() {
            delta(out, self.next, names, text);
        }
    }

    /// More of a text or a thought: it joins the block that came last where that is of its kind.
    fn extend(&mut self, kind: Kind, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let is_open = self.waiting.is_empty();
        let same = |block: &&mut Block| {
            block.signature.is_none() && std::mem::discriminant(&block.kind) == std::mem::discriminant(&kind)
        };
        match self.last().filter(same) {
            Some(_) if is_open => self.delta(&kind, text, out),
            Some(block) => block.text.push_str(text),
            None => self.push(Block { text: text.to_owned(), ..Block::new(kind) }, out),
        }
    }

    /// A thought's signature ends it; what is opaque without a thought before it stands alone.
    fn sign(&mut self, opaque: &Opaque, out: &mut Vec<u8>) {
        let marked = mark::thought(Some(opaque));
        let thought = self.last().filter(|block| matches!(block.kind, Kind::Thinking) && block.signature.is_none());
        match (thought, opaque.kind) {
            (Some(thought), kind) if kind != REDACTED => thought.signature = Some(marked),
            (_, SIGNATURE) => self.push(Block { signature: Some(marked), ..Block::new(Kind::Thinking) }, out),
            _ => self.push(Block::new(Kind::Redacted(marked)), out),
        }
    }

    fn arguments(&mut self, number: u32, text: &str, out: &mut Vec<u8>) {
        let is_this = |block: &&mut Block| matches!(block.kind, Kind::Call { number: own, .. } if own == number);
        if let Some(block) = self.waiting.iter_mut().find(is_this) {
            return block.text.push_str(text);
        }
        if let Some(block) = self.open.as_mut().filter(is_this).filter(|_| !text.is_empty()) {
            block.text.push_str(text);
            delta(out, self.next, ("input_json_delta", "partial_json"), text);
            self.advance(out);
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => self.model.clone_from(model),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop { reason, sequence } => self.stop = Some((*reason, sequence.clone())),
            Event::Ping if !self.begun => {}
            Event::Ping => ping(out),
            Event::Text(text) => self.extend(Kind::Text, text, out),
            Event::Refusal(text) => {
                self.holds.refusal = true;
                self.extend(Kind::Text, text, out);
            }
            Event::Reasoning(_) | Event::ReasoningOpaque(_) if self.thoughts == Thoughts::Hidden => {
                // A sign of life: thinking can take minutes.
                self.begin(out);
                ping(out);
            }
            Event::Reasoning(text) => self.extend(Kind::Thinking, text, out),
            Event::ReasoningOpaque(opaque) => self.sign(opaque, out),
            Event::ToolCallStart { index, id, name, signature } => {
                self.holds.calls = true;
                if let Some(signature) = signature {
                    self.push(Block::new(Kind::Redacted(mark::call(signature))), out);
                }
                self.push(Block::new(Kind::Call { number: *index, id: id.clone(), name: name.clone() }), out);
            }
            Event::ToolArguments { index, delta } => self.arguments(*index, delta, out),
        }
    }

    fn finish(&mut self, cost_usd: Option<&str>, out: &mut Vec<u8>) {
        self.begin(out);
        loop {
            self.close(out);
            if self.waiting.is_empty() {
                break;
            }
            self.open_next(out);
        }
        let (stop, sequence) = self.stop.take().unwrap_or((Stop::End, None));
        let delta = json!({
            "stop_reason": stop_reason(stop, sequence.as_deref(), self.holds), "stop_sequence": sequence,
        });
        let mut usage = serde_json::to_string(&Figures::of(self.usage.as_ref())).unwrap_or_default();
        if let Some(cost) = cost_usd {
            usage.pop();
            usage.push_str(&format!(",\"cost\":{cost}}}"));
        }
        let aipipe = self.aipipe.as_ref().map(|aipipe| format!(",\"aipipe\":{aipipe}")).unwrap_or_default();
        let data = format!("{{\"type\":\"message_delta\",\"delta\":{delta},\"usage\":{usage}{aipipe}}}");
        out.extend_from_slice(format!("event: message_delta\ndata: {data}\n\n").as_bytes());
        write(out, "message_stop", &json!({"type": "message_stop"}));
    }

    fn error(&mut self, error: &ClientError<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&error::event(error, self.request_id));
    }

    fn follow(&mut self, data: &str, progress: &mut Progress) {
        following::follow(self, data, progress);
    }

    fn tell(&mut self, aipipe: String) {
        self.aipipe = Some(aipipe);
    }

    fn copy(&self) -> Box<dyn StreamEncoder> {
        Box::new(self.clone())
    }
}

fn write(out: &mut Vec<u8>, name: &str, data: &Value) {
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

/// More of the block at `index`: the delta's type and the name of its text.
fn delta(out: &mut Vec<u8>, index: u32, (kind, member): (&str, &str), text: &str) {
    let head =
        format!("\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{member}\":");
    out.extend_from_slice(b"event: content_block_delta\ndata: {");
    out.extend_from_slice(head.as_bytes());
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    out.extend_from_slice(b"}}\n\n");
}
