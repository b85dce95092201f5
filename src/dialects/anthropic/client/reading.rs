//! Reads an answer or an event of a stream in one pass: what it means for accounting and for the end, and where the cost can stand.

use std::ops::Range;

use serde_json::value::RawValue;

use crate::dialects::anthropic::usage::Count;
use crate::dialects::client::Slot;
use crate::dialects::json::{Cursor, Fault, Key, Kind, Text};

/// What one pass found.
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    /// `message`, `error`, or the event's name.
    pub(super) kind: Text<'a>,
    /// Whether there is a member `content`.
    pub(super) has_content_member: bool,
    /// Why the answer ended.
    pub(super) stop_reason: Option<Text<'a>>,
    /// The `usage` object, in `message` or beside the delta.
    pub(super) usage: Option<Range<usize>>,
    /// Bytes of text, thoughts and arguments as written.
    pub(super) content_bytes: usize,
    /// Whether it holds something of the answer itself.
    pub(super) has_content: bool,
    /// Whether a function of the client's is called.
    pub(super) calls: bool,
    /// The member `error` where it is not null.
    pub(super) is_error: bool,
    /// Offset of the closing brace.
    pub(super) close: usize,
    /// Whether the object has members.
    pub(super) has_members: bool,
}

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Reading<'_>, Fault> {
    let mut cursor = Cursor::new(text);
    let mut reading = Reading::default();
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        reading.has_members = true;
        reading.member(&mut cursor, key)?;
    }
    reading.close = cursor.position() - 1;
    cursor.end()?;
    Ok(reading)
}

impl<'a> Reading<'a> {
    fn member(&mut self, cursor: &mut Cursor<'a>, key: Key<'a>) -> Result<(), Fault> {
        match (&*key.name.decode(), cursor.kind()?) {
            ("type", Kind::String) => self.kind = cursor.string()?,
            ("stop_reason", Kind::String) => self.stop_reason = Some(cursor.string()?),
            ("usage", Kind::Object) => self.usage = Some(cursor.skip()?),
            ("error", kind) if kind != Kind::Null => {
                self.is_error = true;
                cursor.pass()?;
            }
            ("content", Kind::Array) => {
                self.has_content_member = true;
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    self.block(cursor)?;
                }
            }
            ("content_block", Kind::Object) => self.block(cursor)?,
            ("delta", Kind::Object) => self.delta(cursor)?,
            ("message", Kind::Object) => self.message(cursor)?,
            _ => cursor.pass()?,
        }
        Ok(())
    }

    /// The message that a stream begins with: of interest for its figures.
    fn message(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            if key.name == *"usage" && cursor.kind()? == Kind::Object {
                self.usage = Some(cursor.skip()?);
            } else {
                cursor.pass()?;
            }
        }
        Ok(())
    }

    /// A block: one with a type of its own is content even where it is empty, a text that only begins is not yet.
    fn block(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                ("type", Kind::String) => {
                    let kind = cursor.string()?;
                    self.calls |= kind == *"tool_use";
                    self.has_content |= !(kind == *"text" || kind == *"thinking");
                }
                ("text" | "thinking" | "name", Kind::String) => self.count(cursor.string()?),
                ("signature", Kind::String) => self.has_content |= !cursor.string()?.is_empty(),
                ("input", Kind::Object) => {
                    let input = cursor.skip()?;
                    // Streams begin with an empty input, and the arguments follow.
                    self.content_bytes += if cursor.slice(input.clone()) == "{}" { 0 } else { input.len() };
                }
                _ => cursor.pass()?,
            }
        }
        Ok(())
    }

    fn delta(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                ("text" | "thinking" | "partial_json", Kind::String) => self.count(cursor.string()?),
                ("signature", Kind::String) => self.has_content |= !cursor.string()?.is_empty(),
                ("stop_reason", Kind::String) => self.stop_reason = Some(cursor.string()?),
                _ => cursor.pass()?,
            }
        }
        Ok(())
    }

    fn count(&mut self, text: Text<'a>) {
        self.content_bytes += text.raw().len();
        self.has_content |= !text.is_empty();
    }

    /// Takes the figures over what was known.
    pub(super) fn take_usage(&self, text: &'a str, count: &mut Count) {
        let usage = self.usage.clone().and_then(|range| text.get(range));
        if let Some(usage) = usage.and_then(|usage| serde_json::from_str::<&RawValue>(usage).ok()) {
            count.take(usage);
        }
    }

    /// Where the cost goes, beside the figures: in the place of one that a server gave (OpenRouter).
    pub(super) fn cost_slot(&self, text: &str) -> Option<Slot> {
        let usage = self.usage.clone()?;
        let mut cursor = Cursor::new(text.get(..usage.end)?.get(usage.start..)?);
        let mut members = cursor.object().ok()?;
        let mut has_members = false;
        while let Some(key) = cursor.key(&mut members).ok()? {
            has_members = true;
            let value = cursor.skip().ok()?;
            if key.name == *"cost" {
                return Some(Slot::Value(usage.start + value.start..usage.start + value.end));
            }
        }
        Some(Slot::End { at: usage.end - 1, has_members })
    }
}
