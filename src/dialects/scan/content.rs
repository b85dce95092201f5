//! The messages of a body: who said what, how much of it there is, and what the model must be able to read.

use std::ops::Range;

use aipipe_actors::catalogue::Capability;

use super::{DetailsSpan, Scan, invalid};
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::splice::Cutter;
use crate::dialects::translate::InvalidRequest;

/// A document of unknown length is estimated as one page for each so many bytes of its base64.
const PAGE_BYTES: usize = 16 * 1024;

/// The texts of one message of the user.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) first: Text<'a>,
    pub(super) more: Vec<Text<'a>>,
}

impl<'a> Said<'a> {
    fn add(&mut self, text: Text<'a>) {
        if self.first.is_empty() {
            self.first = text;
        } else if !text.is_empty() {
            self.more.push(text);
        }
    }
}

/// What the messages come to.
#[derive(Debug, Default)]
pub(super) struct Thread<'a> {
    pub(super) messages: u32,
    /// The user's last three messages, the latest first.
    pub(super) said: [Said<'a>; 3],
    pub(super) user_turns: u32,
    pub(super) assistant_turns: u32,
    pub(super) tool_results_since_ask: u32,
    /// Images, documents and audio in the user's last message.
    pub(super) attachments: u32,
    pub(super) ends_with_assistant: bool,
    pub(super) has_tool_history: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Instruction,
    User,
    Assistant,
    Tool,
}

/// One message while it is read: its role may stand after its content.
#[derive(Debug, Default)]
struct Draft<'a> {
    said: Said<'a>,
    attachments: u32,
    calls: bool,
}

/// One part of a message while it is read: its type may stand after what it holds.
#[derive(Debug, Default)]
struct Piece<'a> {
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    /// `image_url.url`, `file.file_data` or `input_audio.data`.
    payload: Option<Text<'a>>,
    file_id: Option<Text<'a>>,
}

impl<'a> Scan<'a> {
    pub(super) fn messages(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Array {
            return Err(invalid(Some("messages"), "`messages` must be an array of messages"));
        }
        let mut items = cursor.array()?;
        while cursor.element(&mut items)? {
            if cursor.kind()? != Kind::Object {
                return Err(self.message_error("", "must be an object"));
            }
            self.message(cursor)?;
            self.thread.messages += 1;
        }
        Ok(())
    }

    fn message_error(&self, member: &str, rule: &str) -> InvalidRequest {
        let param = format!("messages[{}]{member}", self.thread.messages);
        invalid(Some(&param), format!("`{param}` {rule}"))
    }

    fn message(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut draft = Draft::default();
        let mut role = None;
        let mut members = cursor.object()?;
        let mut cutter = Cutter::default();
        let mut origin = None;
        while let Some(key) = cursor.key(&mut members)? {
            cutter.key(key.start);
            let kind = cursor.kind()?;
            let start = cursor.position();
            match &*key.name.decode() {
                "role" => role = Some(self.role(cursor, kind, start)?),
                "content" => self.content(cursor, kind, &mut draft)?,
                "tool_calls" | "function_call" => {
                    let range = cursor.skip()?;
                    let calls = cursor.slice(range);
                    if !matches!(calls, "null" | "[]") {
                        draft.calls = true;
                        self.estimate.json(calls);
                    }
                }
                "reasoning_content" | "reasoning" | "refusal" if kind == Kind::String => {
                    self.estimate.text(cursor.string()?.raw());
                }
                "reasoning_details" => {
                    let value = cursor.skip()?;
                    let details = cursor.slice(value.clone());
                    self.estimate.json(details);
                    origin = first_origin(details)?;
                    cutter.cut(value.end);
                    continue;
                }
                "audio" if kind == Kind::Object => self.earlier_audio(cursor)?,
                _ => cursor.pass()?,
            }
            cutter.keep(cursor.position());
        }
        let details = cutter.close().into_iter().map(|range| DetailsSpan { range, origin });
        self.spans.reasoning_details.extend(details);
        let role = role.ok_or_else(|| self.message_error(".role", "is required"))?;
        self.estimate.message();
        self.count_turn(role, draft);
        Ok(())
    }

    fn role(&mut self, cursor: &mut Cursor<'a>, kind: Kind, start: usize) -> Result<Speaker, InvalidRequest> {
        let rule = "must be one of `system`, `developer`, `user`, `assistant`, `tool`, `function`";
        if kind != Kind::String {
            return Err(self.message_error(".role", rule));
        }
        let role = cursor.string()?;
        Ok(match &*role.decode() {
            "system" => Speaker::Instruction,
            "developer" => {
                self.spans.developer_roles.push(start..cursor.position());
                Speaker::Instruction
            }
            "user" => Speaker::User,
            "assistant" => Speaker::Assistant,
            "tool" | "function" => Speaker::Tool,
            _ => return Err(self.message_error(".role", rule)),
        })
    }

    fn count_turn(&mut self, role: Speaker, draft: Draft<'a>) {
        let thread = &mut self.thread;
        thread.ends_with_assistant = role == Speaker::Assistant;
        thread.has_tool_history |= draft.calls || role == Speaker::Tool;
        match role {
            Speaker::Instruction => {}
            Speaker::User => {
                thread.user_turns += 1;
                thread.tool_results_since_ask = 0;
                thread.attachments = draft.attachments;
                thread.said.rotate_right(1);
                let [latest, ..] = &mut thread.said;
                *latest = draft.said;
            }
            Speaker::Assistant => thread.assistant_turns += 1,
            Speaker::Tool => thread.tool_results_since_ask += 1,
        }
    }

    fn content(&mut self, cursor: &mut Cursor<'a>, kind: Kind, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        match kind {
            Kind::Null => cursor.pass()?,
            Kind::String => {
                let text = cursor.string()?;
                self.estimate.text(text.raw());
                draft.said.add(text);
            }
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    if cursor.kind()? != Kind::Object {
                        return Err(self.message_error(".content", "must hold objects"));
                    }
                    let piece = self.piece(cursor)?;
                    self.count_piece(piece, draft)?;
                }
            }
            _ => return Err(self.message_error(".content", "must be a string, an array of parts or null")),
        }
        Ok(())
    }

    fn piece(&mut self, cursor: &mut Cursor<'a>) -> Result<Piece<'a>, InvalidRequest> {
        let mut piece = Piece::default();
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            match (&*key.name.decode(), kind) {
                ("type", Kind::String) => piece.kind = Some(cursor.string()?),
                ("text" | "refusal", Kind::String) => piece.text = Some(cursor.string()?),
                ("text", _) => return Err(self.message_error(".content", "must hold its text as a string")),
                ("image_url", Kind::String) => piece.payload = Some(cursor.string()?),
                ("image_url" | "file" | "input_audio", Kind::Object) => holder(cursor, &mut piece)?,
                _ => cursor.pass()?,
            }
        }
        Ok(piece)
    }

    fn count_piece(&mut self, piece: Piece<'a>, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        if let Some(id) = piece.file_id {
            self.stored.push(id.decode());
        }
        match piece.kind.map(|kind| kind.decode()).as_deref() {
            Some("text" | "refusal") | None => {
                let text = piece.text.ok_or_else(|| self.message_error(".content", "must hold parts with a type"))?;
                self.estimate.text(text.raw());
                draft.said.add(text);
                return Ok(());
            }
            Some("image_url") => self.image(piece.payload),
            Some("input_audio") => {
                self.need(Capability::Audio);
                self.pages(piece.payload);
            }
            Some("file") => {
                self.need(Capability::Documents);
                self.pages(piece.payload);
            }
            // A part that only some provider knows (`video_url`): it can pass there and nowhere else.
            Some(_) => {
                self.mean("messages.content.type");
                self.estimate.attachment();
            }
        }
        draft.attachments += 1;
        Ok(())
    }

    fn image(&mut self, url: Option<Text<'a>>) {
        self.estimate.attachment();
        let Some(url) = url else { return };
        if starts_with(url, "data:") {
            self.need(Capability::Images);
        } else if starts_with(url, "http:") || starts_with(url, "https:") {
            self.need(Capability::ImageUrl);
        } else {
            // `ms://…`, `mm_file://…`: a file stored at a provider.
            self.need(Capability::Images);
            self.stored.push(url.decode());
        }
    }

    fn pages(&mut self, base64: Option<Text<'a>>) {
        let bytes = base64.map_or(0, |data| data.raw().len());
        for _ in 0..=bytes / PAGE_BYTES {
            self.estimate.attachment();
        }
    }

    /// An answer's sound that the provider keeps, named by its id.
    fn earlier_audio(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            if key.name == *"id" && cursor.kind()? == Kind::String {
                self.stored.push(cursor.string()?.decode());
            } else {
                cursor.pass()?;
            }
        }
        self.mean("messages.audio");
        Ok(())
    }
}

/// The object that holds a part's payload.
fn holder<'a>(cursor: &mut Cursor<'a>, piece: &mut Piece<'a>) -> Result<(), InvalidRequest> {
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        let kind = cursor.kind()?;
        match (&*key.name.decode(), kind) {
            ("url" | "file_data" | "data", Kind::String) => piece.payload = Some(cursor.string()?),
            ("file_id", Kind::String) => piece.file_id = Some(cursor.string()?),
            _ => cursor.pass()?,
        }
    }
    Ok(())
}

/// The origin in the first of some `reasoning_details`; all of one message have the same.
fn first_origin(details: &str) -> Result<Option<Text<'_>>, InvalidRequest> {
    let mut cursor = Cursor::new(details);
    if cursor.kind()? != Kind::Array {
        return Ok(None);
    }
    let mut items = cursor.array()?;
    if !cursor.element(&mut items)? || cursor.kind()? != Kind::Object {
        return Ok(None);
    }
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        if key.name == *"origin" && cursor.kind()? == Kind::String {
            return Ok(Some(cursor.string()?));
        }
        cursor.pass()?;
    }
    Ok(None)
}

/// Schemes are compared without regard to case (RFC 3986, 3.1).
fn starts_with(text: Text<'_>, scheme: &str) -> bool {
    let head = 0..scheme.len();
    text.raw().get(head).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// The part of a text that lies between two offsets, moved so that neither a character nor an escape is cut.
pub(super) fn uncut<'a>(text: Text<'a>, range: Range<usize>) -> Text<'a> {
    let raw = text.raw();
    let safe = |mut at: usize| {
        while at < raw.len() && !raw.is_char_boundary(at) {
            at += 1;
        }
        let backslashes =
            raw.as_bytes().get(..at).unwrap_or_default().iter().rev().take_while(|&&b| b == b'\\').count();
        if backslashes % 2 == 1 { at.saturating_sub(1) } else { at }
    };
    text.part(safe(range.start)..safe(range.end))
}
