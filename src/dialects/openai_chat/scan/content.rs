//! The messages of a body: who said what, how much of it there is, and what the model must be able to read.

use aipipe_actors::catalogue::Capability;

use super::{DetailsSpan, Scan, is_odd};
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::scan::{Said, count_pages, id_within, invalid, objects};
use crate::dialects::splice::Cutter;
use crate::dialects::translate::InvalidRequest;

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
        objects(cursor, kind, "messages", |cursor| {
            self.message(cursor)?;
            self.found.thread.messages += 1;
            Ok(())
        })
    }

    fn message_error(&self, member: &str, rule: &str) -> InvalidRequest {
        let param = format!("messages[{}]{member}", self.found.thread.messages);
        invalid(Some(&param), format!("`{param}` {rule}"))
    }

    fn message(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut draft = Draft::default();
        let mut role = None;
        let mut members = cursor.object()?;
        let mut cutter = Cutter::default();
        let mut origin = None;
        let mut odd_name = None;
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
                        self.found.estimate.json(calls);
                    }
                }
                "reasoning_content" | "reasoning" | "refusal" if kind == Kind::String => {
                    self.found.estimate.text(cursor.string()?.raw());
                }
                "reasoning_details" => {
                    let value = cursor.skip()?;
                    let details = cursor.slice(value.clone());
                    self.found.estimate.json(details);
                    origin = first_origin(details)?;
                    cutter.cut(value.end);
                    continue;
                }
                "name" if kind == Kind::String => {
                    let is_taken = !cursor.string()?.raw().contains(is_odd);
                    odd_name = (!is_taken).then(|| start..cursor.position());
                }
                "audio" if kind == Kind::Object => self.earlier_audio(cursor)?,
                _ => cursor.pass()?,
            }
            cutter.keep(cursor.position());
        }
        let details = cutter.close().into_iter().map(|range| DetailsSpan { range, origin });
        self.spans.reasoning_details.extend(details);
        let role = role.ok_or_else(|| self.message_error(".role", "is required"))?;
        if role == Speaker::Assistant {
            self.spans.odd_names.extend(odd_name);
        }
        self.found.estimate.message();
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
        let thread = &mut self.found.thread;
        thread.has_tool_history |= draft.calls;
        match role {
            Speaker::Instruction => thread.instruction(),
            Speaker::User => thread.user(draft.said, draft.attachments),
            Speaker::Assistant => thread.assistant(),
            Speaker::Tool => thread.results(1),
        }
    }

    fn content(&mut self, cursor: &mut Cursor<'a>, kind: Kind, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        match kind {
            Kind::Null => cursor.pass()?,
            Kind::String => {
                let text = cursor.string()?;
                self.found.estimate.text(text.raw());
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
            self.found.stored.push(id.decode());
        }
        match piece.kind.map(|kind| kind.decode()).as_deref() {
            Some("text" | "refusal") | None => {
                let text = piece.text.ok_or_else(|| self.message_error(".content", "must hold parts with a type"))?;
                self.found.estimate.text(text.raw());
                draft.said.add(text);
                return Ok(());
            }
            Some("image_url") => self.image(piece.payload),
            Some("input_audio") => {
                self.found.need(Capability::Audio);
                self.pages(piece.payload);
            }
            Some("file") => {
                self.found.need(Capability::Documents);
                self.pages(piece.payload);
            }
            // A part that only some provider knows (`video_url`): it can pass there and nowhere else.
            Some(_) => {
                self.found.mean("messages.content.type");
                self.found.estimate.attachment();
            }
        }
        draft.attachments += 1;
        Ok(())
    }

    fn image(&mut self, url: Option<Text<'a>>) {
        self.found.estimate.attachment();
        let Some(url) = url else { return };
        if starts_with(url, "data:") {
            self.found.need(Capability::Images);
        } else if starts_with(url, "http:") || starts_with(url, "https:") {
            self.found.need(Capability::ImageUrl);
        } else {
            // `ms://…`, `mm_file://…`: a file stored at a provider.
            self.found.need(Capability::Images);
            self.found.stored.push(url.decode());
        }
    }

    fn pages(&mut self, base64: Option<Text<'a>>) {
        count_pages(&mut self.found.estimate, base64.map_or(0, |data| data.raw().len()));
    }

    /// An answer's sound that the provider keeps, named by its id.
    fn earlier_audio(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        self.found.stored.extend(id_within(cursor)?);
        self.found.mean("messages.audio");
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
