//! What a `response` object says, and an event of a stream, read without a tree.

use aipipe_actors::ledger::IssuedHash;

use crate::dialects::client::Slot;
use crate::dialects::conversation::{Stop, Usage};
use crate::dialects::issued::hash;
use crate::dialects::json::{Cursor, Fault, Kind, Text};
use crate::dialects::openai_chat::ChatQuirks;
use crate::dialects::openai_chat::usage;

/// A `response` object.
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    /// Where it stands.
    pub(super) json: &'a str,
    pub(super) status: Text<'a>,
    /// Why it is incomplete.
    pub(super) incomplete: Option<Text<'a>>,
    /// The error as written.
    pub(super) error: Option<&'a str>,
    pub(super) usage: Option<Usage>,
    /// Where the cost stands or can stand.
    pub(super) cost_slot: Option<Slot>,
    /// The offset of the closing brace.
    pub(super) end: usize,
    /// Bytes of the output as written.
    pub(super) content_bytes: usize,
    /// Whether it calls the client's tools.
    pub(super) calls: bool,
    /// Whether it has an output at all.
    pub(super) has_output: bool,
    pub(super) issued: Vec<IssuedHash>,
}

impl Reading<'_> {
    /// Why it ended; `None` while it has not, or where it failed.
    pub(super) fn stop(&self) -> Option<Stop> {
        match self.status.raw() {
            "completed" if self.calls => Some(Stop::ToolUse),
            "completed" => Some(Stop::End),
            "incomplete" if self.incomplete.is_some_and(|reason| reason == *"content_filter") => Some(Stop::Filtered),
            "incomplete" => Some(Stop::Length),
            _ => None,
        }
    }
}

/// An event of a stream.
#[derive(Debug, Default)]
pub(super) struct EventReading<'a> {
    pub(super) kind: Text<'a>,
    pub(super) sequence: Option<u64>,
    /// Bytes of a delta.
    pub(super) delta: Option<usize>,
    pub(super) response: Option<Reading<'a>>,
    /// The error as written.
    pub(super) error: Option<&'a str>,
}

/// Reads a whole answer.
pub(super) fn whole(text: &str) -> Result<Reading<'_>, Fault> {
    let mut cursor = Cursor::new(text);
    cursor.kind()?;
    let reading = response(&mut cursor)?;
    cursor.end()?;
    Ok(reading)
}

/// Reads the data of an event.
pub(super) fn event(data: &str) -> Result<EventReading<'_>, Fault> {
    let mut event = EventReading::default();
    let mut cursor = Cursor::new(data);
    cursor.kind()?;
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        match (key.name.raw(), cursor.kind()?) {
            ("type", Kind::String) => event.kind = cursor.string()?,
            ("sequence_number", Kind::Number) => event.sequence = cursor.number()?.parse().ok(),
            ("delta", Kind::String) => event.delta = Some(cursor.string()?.raw().len()),
            ("response", Kind::Object) => event.response = Some(response(&mut cursor)?),
            ("error", Kind::Object | Kind::String) => {
                let range = cursor.skip()?;
                event.error = Some(cursor.slice(range));
            }
            _ => cursor.pass()?,
        }
    }
    cursor.end()?;
    Ok(event)
}

fn response<'a>(cursor: &mut Cursor<'a>) -> Result<Reading<'a>, Fault> {
    let mut reading = Reading::default();
    let (mut id, mut is_kept) = (None, true);
    let start = cursor.position();
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        match (key.name.raw(), cursor.kind()?) {
            ("id", Kind::String) => id = Some(cursor.string()?),
            ("store", Kind::Bool) => is_kept = cursor.boolean()?,
            ("status", Kind::String) => reading.status = cursor.string()?,
            ("error", Kind::Object | Kind::String) => {
                let range = cursor.skip()?;
                reading.error = Some(cursor.slice(range));
            }
            ("incomplete_details", Kind::Object) => reading.incomplete = reason(cursor)?,
            ("output", Kind::Array) => output(cursor, &mut reading)?,
            ("usage", Kind::Object) => {
                let (figures, slot) = usage::read(cursor, ChatQuirks::default())?;
                reading.usage = figures;
                reading.cost_slot = Some(slot);
            }
            _ => cursor.pass()?,
        }
    }
    // Of an answer that is not kept only the items can be named again.
    reading.issued.extend(id.filter(|_| is_kept).map(|id| hash(&id.decode())));
    reading.end = cursor.position() - 1;
    reading.json = cursor.slice(start..cursor.position());
    Ok(reading)
}

fn reason<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Text<'a>>, Fault> {
    let mut reason = None;
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        if key.name == *"reason" && cursor.kind()? == Kind::String {
            reason = Some(cursor.string()?);
        } else {
            cursor.pass()?;
        }
    }
    Ok(reason)
}

fn output<'a>(cursor: &mut Cursor<'a>, reading: &mut Reading<'a>) -> Result<(), Fault> {
    reading.has_output = true;
    let mut items = cursor.array()?;
    while cursor.element(&mut items)? {
        if cursor.kind()? == Kind::Object { item(cursor, reading)? } else { cursor.pass()? }
    }
    Ok(())
}

/// An item of the output. Only ids that the provider itself gives are issued: a schema that a client's own server answers with, or a text,
/// may hold any.
fn item<'a>(cursor: &mut Cursor<'a>, reading: &mut Reading<'a>) -> Result<(), Fault> {
    let mut kind = None;
    let mut container = None;
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        let from = cursor.position();
        match (key.name.raw(), cursor.kind()?) {
            ("type", Kind::String) => kind = Some(cursor.string()?),
            ("id" | "encrypted_content", Kind::String) => {
                reading.issued.push(hash(&cursor.string()?.decode()));
            }
            ("container_id", Kind::String) => container = Some(cursor.string()?),
            ("content", Kind::Array) => {
                content(cursor, reading)?;
                reading.content_bytes += cursor.position() - from;
            }
            ("summary" | "arguments" | "input", _) => {
                cursor.pass()?;
                reading.content_bytes += cursor.position() - from;
            }
            _ => cursor.pass()?,
        }
    }
    let kind = kind.unwrap_or_default();
    reading.calls |= kind == *"function_call" || kind == *"custom_tool_call";
    if let Some(container) = container.filter(|_| kind == *"code_interpreter_call") {
        reading.issued.push(hash(&container.decode()));
    }
    Ok(())
}

/// The parts of a message: files that the model made are named where the text points at them.
fn content(cursor: &mut Cursor<'_>, reading: &mut Reading<'_>) -> Result<(), Fault> {
    members_of_each(cursor, &mut |cursor, name, kind| {
        if name != "annotations" || kind != Kind::Array {
            return cursor.pass();
        }
        members_of_each(cursor, &mut |cursor, name, kind| {
            if !matches!(name, "file_id" | "container_id") || kind != Kind::String {
                return cursor.pass();
            }
            reading.issued.push(hash(&cursor.string()?.decode()));
            Ok(())
        })
    })
}

/// Visits the members of each object of an array, by name and kind; what is no object is passed over.
fn members_of_each<'a>(
    cursor: &mut Cursor<'a>,
    visit: &mut dyn FnMut(&mut Cursor<'a>, &str, Kind) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut items = cursor.array()?;
    while cursor.element(&mut items)? {
        if cursor.kind()? != Kind::Object {
            cursor.pass()?;
            continue;
        }
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            visit(cursor, key.name.raw(), kind)?;
        }
    }
    Ok(())
}
