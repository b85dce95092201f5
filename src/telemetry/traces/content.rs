//! What is said in a request and its answer, as attributes of the request's span. It is kept only where the configuration and the tenant
//! both ask for it; nothing of it can be printed.
//!
//! The attributes are `gen_ai.input.messages` and `gen_ai.output.messages` of the conventions for generative AI, as JSON text in the shape
//! of their schemas (`gen-ai-input-messages.json`, `gen-ai-output-messages.json`). Each is bounded by [`MOST_BYTES`]: of an input the
//! newest messages are kept, of an answer its beginning, and `aipipe.input.cut_bytes` and `aipipe.output.cut_bytes` say how many bytes of
//! text are missing. Data within a request (images, documents, sound) is told by its type and size alone.

use std::fmt;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use serde_json::{Value, json};

use super::span::{finish_reason, integer, text};
use crate::dialects::conversation::{Answer, Conversation, Event, Media, Part, Role, Stop, Thought, ToolCall};

/// The most bytes of JSON text of an input or an output.
pub const MOST_BYTES: usize = 32 << 10;
/// What a message or part takes beside its text, at most: names, braces, commas.
const FRAME: usize = 96;
/// Why an answer ended that broke off, in the conventions' words.
const BROKE_OFF: &str = "error";

/// What was said in one request.
#[derive(Default)]
pub(super) struct Content {
    input: Option<Said>,
    output: Option<Said>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(..)")
    }
}

/// One side of it.
struct Said {
    json: String,
    cut: usize,
}

impl Content {
    /// What a request says; `None` where it cannot be said in any other dialect's words.
    pub(super) fn asked(conversation: Option<&Conversation>) -> Self {
        Self { input: conversation.map(input), output: None }
    }

    /// What the client was answered.
    pub(super) fn answered(&mut self, transcript: Transcript) {
        if !transcript.choices.is_empty() || transcript.only.is_some() {
            self.output = Some(output(transcript));
        }
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        [&self.input, &self.output].into_iter().flatten().map(|said| said.json.len()).sum()
    }

    /// The attributes; without what is said where there is no room for it.
    pub(super) fn into_attributes(self, has_room: bool) -> impl Iterator<Item = KeyValue> {
        let input = self.input.map(|said| ("gen_ai.input.messages", "aipipe.input.cut_bytes", said));
        let output = self.output.map(|said| ("gen_ai.output.messages", "aipipe.output.cut_bytes", said));
        [input, output]
            .into_iter()
            .flatten()
            .flat_map(move |(name, missing, Said { json, cut })| {
                let cut = if has_room { cut } else { cut + json.len() };
                [has_room.then(|| text(name, json)), (cut > 0).then(|| integer(missing, cut as u64))]
            })
            .flatten()
    }
}

fn input(conversation: &Conversation) -> Said {
    let mut room = Room::default();
    let mut messages = Vec::new();
    for turn in conversation.turns.iter().rev() {
        let is_result = |part: &Part| matches!(part, Part::ToolResult(_));
        let role = match turn.role {
            Role::User if !turn.parts.is_empty() && turn.parts.iter().all(is_result) => "tool",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        messages.extend(room.message(role, &turn.parts).map(|message| json!({"role": role, "parts": message})));
    }
    for instruction in conversation.instructions.iter().rev() {
        let parts = [Part::Text(instruction.clone())];
        messages.extend(room.message("system", &parts).map(|parts| json!({"role": "system", "parts": parts})));
    }
    messages.reverse();
    Said { json: Value::from(messages).to_string(), cut: room.cut }
}

fn output(transcript: Transcript) -> Said {
    let mut room = Room { cut: transcript.cut, ..Room::default() };
    let mut messages = Vec::new();
    for Told { parts, stop } in transcript.choices.iter().chain(&transcript.only) {
        let reason = stop.map_or(BROKE_OFF, finish_reason);
        let parts = room.message("assistant", parts).unwrap_or_default();
        messages.push(json!({"role": "assistant", "parts": parts, "finish_reason": reason}));
    }
    Said { json: Value::from(messages).to_string(), cut: room.cut }
}

/// How much may still be said.
struct Room {
    left: usize,
    cut: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: MOST_BYTES - FRAME, cut: 0 }
    }
}

impl Room {
    /// The parts of a message; `None` where there is no room for any of it.
    fn message(&mut self, role: &str, parts: &[Part]) -> Option<Vec<Value>> {
        if !self.takes(FRAME + role.len()) {
            self.cut += parts.iter().map(size).sum::<usize>();
            return None;
        }
        Some(parts.iter().filter_map(|part| self.part(part)).collect())
    }

    fn part(&mut self, part: &Part) -> Option<Value> {
        if !self.takes(FRAME) {
            self.cut += size(part);
            return None;
        }
        Some(match part {
            Part::Text(text) => json!({"type": "text", "content": self.text(text)}),
            // The conventions have no word of their own for it.
            Part::Refusal(text) => json!({"type": "refusal", "content": self.text(text)}),
            Part::Reasoning(thought) => json!({"type": "reasoning", "content": self.text(&thought.text)}),
            Part::Image(media) => self.media("image", media),
            Part::Audio(media) => self.media("audio", media),
            Part::Document { media, .. } => self.media("document", media),
            Part::ToolCall(call) => json!({
                "type": "tool_call", "id": self.text(&call.id), "name": self.text(&call.name),
                "arguments": self.arguments(&call.arguments),
            }),
            Part::ToolResult(result) => {
                let id = self.text(&result.call_id);
                let parts: Vec<Value> = result.parts.iter().filter_map(|part| self.part(part)).collect();
                json!({"type": "tool_call_response", "id": id, "response": parts})
            }
        })
    }

    /// Addresses are told, data is not.
    fn media(&mut self, modality: &str, media: &Media) -> Value {
        match media {
            Media::Url(url) => json!({"type": "uri", "modality": modality, "uri": self.text(url)}),
            Media::FileId(id) => json!({"type": "file", "modality": modality, "file_id": self.text(id)}),
            Media::Inline { media_type, base64 } => json!({
                "type": "blob_left_out", "modality": modality, "mime_type": self.text(media_type), "base64_bytes": base64.len(),
            }),
        }
    }

    /// JSON where all of it is there and it is JSON; text otherwise.
    fn arguments(&mut self, arguments: &str) -> Value {
        let text = self.text(arguments);
        let parsed = (text == arguments).then(|| serde_json::from_str(arguments).ok()).flatten();
        parsed.unwrap_or(Value::String(text))
    }

    /// As much of a text as there is room for; its escapes count.
    fn text(&mut self, text: &str) -> String {
        let mut end = 0;
        for letter in text.chars() {
            let bytes = match letter {
                '"' | '\\' | '\n' | '\r' | '\t' => 2,
                letter if letter < ' ' => 6,
                letter => letter.len_utf8(),
            };
            if !self.takes(bytes) {
                // What comes after a cut is not said either.
                self.left = 0;
                break;
            }
            end += letter.len_utf8();
        }
        self.cut += text.len() - end;
        text.get(..end).unwrap_or_default().to_owned()
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// Bytes of text in a part.
fn size(part: &Part) -> usize {
    match part {
        Part::Text(text) | Part::Refusal(text) => text.len(),
        Part::Reasoning(Thought { text, .. }) => text.len(),
        Part::ToolCall(call) => call.name.len() + call.arguments.len(),
        Part::ToolResult(result) => result.parts.iter().map(size).sum(),
        Part::Image(_) | Part::Document { .. } | Part::Audio(_) => 0,
    }
}

/// An answer as it comes to the client. It keeps as much as can be told.
#[derive(Default)]
pub struct Transcript {
    /// Of an answer that came whole.
    choices: Vec<Told>,
    /// Of one that came in pieces.
    only: Option<Told>,
    bytes: usize,
    cut: usize,
}

/// One choice of it.
#[derive(Default)]
struct Told {
    parts: Vec<Part>,
    /// `None`: it has not come to its end.
    stop: Option<Stop>,
}

impl From<Answer> for Transcript {
    fn from(answer: Answer) -> Self {
        let told =
            |choice: crate::dialects::conversation::Choice| Told { parts: choice.parts, stop: Some(choice.stop) };
        Self { choices: answer.choices.into_iter().map(told).collect(), ..Self::default() }
    }
}

impl Transcript {
    /// A whole part of an answer of one choice.
    pub fn part(&mut self, part: Part) {
        let bytes = size(&part);
        if self.fits(bytes) {
            self.only().parts.push(part);
        }
    }

    /// Why it ended.
    pub fn stopped(&mut self, stop: Stop) {
        self.only().stop = Some(stop);
    }

    /// A step of a stream, which has one choice.
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Text(more) if self.fits(more.len()) => match self.only().parts.last_mut() {
                Some(Part::Text(text)) => text.push_str(&more),
                _ => self.only().parts.push(Part::Text(more)),
            },
            Event::Refusal(more) if self.fits(more.len()) => match self.only().parts.last_mut() {
                Some(Part::Refusal(text)) => text.push_str(&more),
                _ => self.only().parts.push(Part::Refusal(more)),
            },
            Event::Reasoning(more) if self.fits(more.len()) => match self.only().parts.last_mut() {
                Some(Part::Reasoning(thought)) => thought.text.push_str(&more),
                _ => self.only().parts.push(Part::Reasoning(Thought { text: more, opaque: None })),
            },
            Event::ToolCallStart { id, name, .. } if self.fits(name.len()) => {
                let call = ToolCall { id, name, arguments: String::new(), signature: None };
                self.only().parts.push(Part::ToolCall(call));
            }
            Event::ToolArguments { index, delta } if self.fits(delta.len()) => {
                let calls = self.only().parts.iter_mut().filter_map(|part| match part {
                    Part::ToolCall(call) => Some(call),
                    _ => None,
                });
                if let Some(call) = calls.into_iter().nth(index as usize) {
                    call.arguments.push_str(&delta);
                }
            }
            Event::Stop { reason, .. } => self.stopped(reason),
            _ => {}
        }
    }

    fn only(&mut self) -> &mut Told {
        self.only.get_or_insert_default()
    }

    /// Whether so much more is worth keeping; once something was not, nothing is.
    fn fits(&mut self, bytes: usize) -> bool {
        let fits = self.cut == 0 && self.bytes + bytes <= 2 * MOST_BYTES;
        if fits {
            self.bytes += bytes;
        } else {
            self.cut += bytes;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::conversation::Turn;

    fn turn(role: Role, text: &str) -> Turn {
        Turn { role, parts: vec![Part::Text(text.to_owned())], name: None }
    }

    fn told(said: &Said) -> Value {
        serde_json::from_str(&said.json).unwrap()
    }

    #[test]
    fn of_a_long_conversation_the_newest_messages_are_kept_and_the_rest_is_counted() {
        let old = "o\n".repeat(MOST_BYTES);
        let conversation = Conversation {
            instructions: vec!["Be brief.".to_owned()],
            turns: vec![turn(Role::User, &old), turn(Role::Assistant, "Yes."), turn(Role::User, "And now?")],
            ..Conversation::default()
        };
        let said = input(&conversation);
        assert!(said.json.len() <= MOST_BYTES, "{}", said.json.len());
        let messages = told(&said);
        assert_eq!(messages[2], json!({"role": "user", "parts": [{"type": "text", "content": "And now?"}]}));
        let kept = messages[0]["parts"][0]["content"].as_str().unwrap();
        assert!(old.starts_with(kept) && kept.len() > MOST_BYTES / 2);
        assert_eq!(said.cut, old.len() - kept.len() + "Be brief.".len());
    }

    #[test]
    fn an_answer_is_cut_at_a_letter_and_never_longer_than_the_bound() {
        for letter in ["é", "\u{1}", "\"", "x"] {
            let mut transcript = Transcript::default();
            for _ in 0..MOST_BYTES {
                transcript.event(Event::Text(letter.to_owned()));
            }
            transcript.event(Event::Stop { reason: Stop::End, sequence: None });
            let said = output(transcript);
            assert!(said.json.len() <= MOST_BYTES, "{letter:?} {}", said.json.len());
            let kept = told(&said)[0]["parts"][0]["content"].as_str().unwrap().len();
            assert_eq!(kept + said.cut, MOST_BYTES * letter.len(), "{letter:?}");
            assert_eq!(told(&said)[0]["finish_reason"], "stop");
        }
    }

    #[test]
    fn calls_are_told_as_json_and_an_answer_that_broke_off_as_an_error() {
        let mut transcript = Transcript::default();
        transcript.event(Event::Text("I look.".into()));
        transcript.event(Event::ToolCallStart { index: 0, id: "c1".into(), name: "look".into(), signature: None });
        transcript.event(Event::ToolArguments { index: 0, delta: "{\"at\":".into() });
        transcript.event(Event::ToolArguments { index: 0, delta: "1}".into() });
        let call = json!({"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": 1}});
        let parts = json!([{"type": "text", "content": "I look."}, call]);
        assert_eq!(told(&output(transcript)), json!([{"role": "assistant", "parts": parts, "finish_reason": "error"}]));
    }

    #[test]
    fn nothing_of_it_can_be_printed() {
        let conversation = Conversation { instructions: vec!["secret".to_owned()], ..Conversation::default() };
        assert_eq!(format!("{:?}", Content::asked(Some(&conversation))), "Content(..)");
    }
}
