//! Reads an answer or a chunk of a stream in one pass: what it means for accounting and for the end, and where what may change stands.

use std::ops::Range;

use super::quirks::ChatQuirks;
use super::usage;
use crate::dialects::client::Slot;
use crate::dialects::conversation::Usage;
use crate::dialects::json::{Cursor, Fault, Key, Kind, Text};
use crate::dialects::splice::Cutter;

/// How the member `choices` stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choices {
    #[default]
    Missing,
    Null,
    List(u32),
}

/// A reason to end that one choice gives.
#[derive(Debug, Clone)]
pub(super) struct Finish<'a> {
    pub(super) index: u32,
    pub(super) reason: Text<'a>,
}

/// What one pass found.
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    pub(super) id: Text<'a>,
    pub(super) model: Text<'a>,
    /// The number as written.
    pub(super) created: &'a str,
    pub(super) choices: Choices,
    /// The choices met, a bit each; those beyond 127 share the last.
    pub(super) met: u128,
    pub(super) finishes: Vec<Finish<'a>>,
    pub(super) has_content: bool,
    /// Bytes of text, reasoning and arguments as written: what an estimate of the output goes by where usage never comes.
    pub(super) content_bytes: usize,
    pub(super) has_tool_calls: bool,
    pub(super) usage: Option<Usage>,
    /// Where the cost goes, beside the usage.
    pub(super) cost_slot: Option<Slot>,
    pub(super) choice_usage: Option<Usage>,
    /// The member `usage`, `null` too, with its comma.
    pub(super) usage_member: Vec<Range<usize>>,
    /// Members `role` with an empty string.
    pub(super) empty_roles: Vec<Range<usize>>,
    /// The member `error` where it is not null.
    pub(super) error: Option<&'a str>,
    /// The member `base_resp` (MiniMax).
    pub(super) base_resp: Option<&'a str>,
    /// Offset of the closing brace.
    pub(super) close: usize,
    pub(super) has_members: bool,
}

/// The bit of a choice.
pub(super) fn bit(index: u32) -> u128 {
    1 << index.min(127)
}

/// Reads a whole text.
pub(super) fn read(text: &str, quirks: ChatQuirks) -> Result<Reading<'_>, Fault> {
    let mut cursor = Cursor::new(text);
    let mut reading = Reading::default();
    let mut members = cursor.object()?;
    let mut cutter = Cutter::default();
    while let Some(key) = cursor.key(&mut members)? {
        reading.has_members = true;
        cutter.key(key.start);
        reading.member(&mut cursor, key, quirks)?;
        if key.name == *"usage" {
            cutter.cut(cursor.position());
        } else {
            cutter.keep(cursor.position());
        }
    }
    reading.usage_member = cutter.close();
    reading.close = cursor.position() - 1;
    cursor.end()?;
    Ok(reading)
}

impl<'a> Reading<'a> {
    fn member(&mut self, cursor: &mut Cursor<'a>, key: Key<'a>, quirks: ChatQuirks) -> Result<(), Fault> {
        let kind = cursor.kind()?;
        match (key.name.raw(), kind) {
            ("id", Kind::String) => self.id = cursor.string()?,
            ("model", Kind::String) => self.model = cursor.string()?,
            ("created", Kind::Number) => self.created = cursor.number()?,
            ("choices", Kind::Null) => {
                self.choices = Choices::Null;
                cursor.pass()?;
            }
            ("choices", Kind::Array) => {
                let mut items = cursor.array()?;
                let mut count = 0;
                while cursor.element(&mut items)? {
                    self.choice(cursor, count, quirks)?;
                    count += 1;
                }
                self.choices = Choices::List(count);
            }
            ("usage", Kind::Object) => {
                let (usage, slot) = usage::read(cursor, quirks)?;
                self.usage = usage;
                self.cost_slot = Some(slot);
            }
            ("error", kind) if kind != Kind::Null => {
                let value = cursor.skip()?;
                self.error = Some(cursor.slice(value));
            }
            ("base_resp", Kind::Object) => {
                let value = cursor.skip()?;
                self.base_resp = Some(cursor.slice(value));
            }
            _ => cursor.pass()?,
        }
        Ok(())
    }

    fn choice(&mut self, cursor: &mut Cursor<'a>, position: u32, quirks: ChatQuirks) -> Result<(), Fault> {
        let mut members = cursor.object()?;
        let mut index = position;
        let mut finish = None;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            match (key.name.raw(), kind) {
                ("index", Kind::Number) => index = cursor.number()?.parse().unwrap_or(position),
                ("finish_reason", Kind::String) => {
                    let reason = cursor.string()?;
                    if !reason.is_empty() {
                        finish = Some(reason);
                    }
                }
                ("delta" | "message", Kind::Object) => self.message(cursor)?,
                ("usage", Kind::Object) if quirks.usage_in_choice => {
                    self.choice_usage = usage::read(cursor, quirks)?.0;
                }
                _ => cursor.pass()?,
            }
        }
        self.met |= bit(index);
        if let Some(reason) = finish {
            self.finishes.push(Finish { index, reason });
        }
        Ok(())
    }

    fn message(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        let mut members = cursor.object()?;
        let mut cutter = Cutter::default();
        while let Some(key) = cursor.key(&mut members)? {
            cutter.key(key.start);
            match (key.name.raw(), cursor.kind()?) {
                ("role", Kind::String) => {
                    if cursor.string()?.is_empty() {
                        cutter.cut(cursor.position());
                        continue;
                    }
                }
                // Labels: MiniMax names itself in every chunk.
                ("role" | "name", _) => cursor.pass()?,
                (name @ ("tool_calls" | "function_call"), Kind::Array | Kind::Object) => {
                    let before = self.content_bytes;
                    self.texts_within(cursor)?;
                    if self.content_bytes > before || name == "function_call" {
                        self.has_tool_calls = true;
                        self.has_content = true;
                    }
                }
                // The same reasoning once more, in parts.
                ("reasoning_details", _) => {
                    let value = cursor.skip()?;
                    self.has_content |= !is_blank(cursor.slice(value));
                }
                (_, Kind::String) => {
                    let bytes = cursor.string()?.raw().len();
                    self.content_bytes += bytes;
                    self.has_content |= bytes > 0;
                }
                _ => {
                    let value = cursor.skip()?;
                    self.has_content |= !is_blank(cursor.slice(value));
                }
            }
            cutter.keep(cursor.position());
        }
        self.empty_roles.extend(cutter.close());
        Ok(())
    }

    /// Adds up the strings of tool calls: names, arguments and ids.
    fn texts_within(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        match cursor.kind()? {
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    self.texts_within(cursor)?;
                }
            }
            Kind::Object => {
                let mut members = cursor.object()?;
                while cursor.key(&mut members)?.is_some() {
                    self.texts_within(cursor)?;
                }
            }
            Kind::String => self.content_bytes += cursor.string()?.raw().len(),
            _ => cursor.pass()?,
        }
        Ok(())
    }
}

fn is_blank(value: &str) -> bool {
    matches!(value, "null" | "[]" | "{}" | "\"\"")
}
