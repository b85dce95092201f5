//! The input: who said what, how much of it there is, what the model must be able to read, and what stands there for something else.

use std::ops::Range;

use aipipe_actors::catalogue::Capability;

use super::{Encrypted, ItemSpan, Scan, disguised, is_disguised, references};
use crate::dialects::issued::{StoredKind, hash};
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::mark;
use crate::dialects::scan::{Said, count_pages, invalid};
use crate::dialects::splice::Cutter;
use crate::dialects::translate::InvalidRequest;

/// One item while it is read: its type may stand after what it holds.
#[derive(Debug, Default)]
struct Draft<'a> {
    kind: Option<Text<'a>>,
    role: Option<Text<'a>>,
    id: Option<Text<'a>>,
    call_id: Option<Text<'a>>,
    encrypted: Option<Text<'a>>,
    said: Said<'a>,
    attachments: u32,
    /// Whether it holds anything beside what names it.
    has_content: bool,
}

/// One part of a message or result while it is read.
#[derive(Debug, Default)]
struct Piece<'a> {
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    url: Option<Text<'a>>,
    data: Option<Text<'a>>,
    file_id: Option<Text<'a>>,
}

impl<'a> Scan<'a> {
    pub(super) fn input(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        match kind {
            Kind::String => {
                let text = cursor.string()?;
                self.found.estimate.text(text.raw());
                self.found.estimate.message();
                let mut said = Said::default();
                said.add(text);
                self.found.thread.user(said, 0);
                self.found.thread.messages += 1;
            }
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    if cursor.kind()? != Kind::Object {
                        return Err(self.item_error("", "must be an object"));
                    }
                    self.item(cursor)?;
                    self.found.thread.messages += 1;
                }
            }
            _ => return Err(invalid(Some("input"), "`input` must be a text or an array of items")),
        }
        Ok(())
    }

    fn item_error(&self, member: &str, rule: &str) -> InvalidRequest {
        let param = format!("input[{}]{member}", self.found.thread.messages);
        invalid(Some(&param), format!("`{param}` {rule}"))
    }

    fn item(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let start = cursor.position();
        let mut draft = Draft::default();
        let mut cutter = Cutter::default();
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            cutter.key(key.start);
            let kind = cursor.kind()?;
            match (&*key.name.decode(), kind) {
                (name, _) if is_disguised(name) => return Err(disguised(name)),
                (_, Kind::Null) => cursor.pass()?,
                ("type", Kind::String) => {
                    if draft.kind.is_some() {
                        return Err(self.item_error(".type", "is given twice"));
                    }
                    draft.kind = Some(cursor.string()?);
                }
                ("role", Kind::String) => draft.role = Some(cursor.string()?),
                ("id", Kind::String) => {
                    if draft.id.is_some() {
                        return Err(self.item_error(".id", "is given twice"));
                    }
                    draft.id = Some(cursor.string()?);
                    cutter.cut(cursor.position());
                    continue;
                }
                ("call_id", Kind::String) => draft.call_id = Some(cursor.string()?),
                ("approval_request_id", Kind::String) => {
                    let id = cursor.string()?.decode();
                    self.store(&id, StoredKind::Item);
                }
                ("encrypted_content", Kind::String) => {
                    if draft.encrypted.is_some() {
                        return Err(self.item_error(".encrypted_content", "is given twice"));
                    }
                    draft.encrypted = Some(cursor.string()?);
                }
                ("status", _) => cursor.pass()?,
                ("content" | "output", Kind::String) => {
                    let text = cursor.string()?;
                    self.found.estimate.text(text.raw());
                    draft.said.add(text);
                    draft.has_content = true;
                }
                ("content" | "output", Kind::Array) => self.parts(cursor, &mut draft)?,
                (name, _) => self.other(cursor, name, &mut draft)?,
            }
            cutter.keep(cursor.position());
        }
        self.conclude_item(draft, start..cursor.position(), cutter)
    }

    /// A member that this scan has no special reading of; it may name what a provider keeps.
    fn other(&mut self, cursor: &mut Cursor<'a>, name: &str, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        let range = cursor.skip()?;
        let json = cursor.slice(range);
        self.found.estimate.json(json);
        draft.has_content |= !matches!(json, "[]" | "\"\"");
        // What a model wrote for a function names nothing.
        if !matches!(name, "arguments" | "input" | "summary" | "name") {
            let mut ids = Vec::new();
            let named = matches!(name, "container_id" | "file_id" | "container");
            references(json, &mut ids)?;
            if named && json.starts_with('"') {
                ids.push(Cursor::new(json).string()?.decode());
            }
            self.found.stored.extend(ids);
        }
        Ok(())
    }

    fn conclude_item(&mut self, draft: Draft<'a>, range: Range<usize>, cutter: Cutter) -> Result<(), InvalidRequest> {
        let kind = draft.kind.map(|kind| kind.decode());
        let kind = match (kind.as_deref(), draft.role) {
            (Some(kind), _) => kind,
            (None, Some(_)) => "message",
            (None, None) => "item_reference",
        };
        let encrypted = draft.encrypted.filter(|text| !text.is_empty()).map(|text| {
            let text = text.decode();
            if mark::read(&text).is_some() { Encrypted::Marked } else { Encrypted::Raw(hash(&text)) }
        });
        let id = draft.id.filter(|id| !id.is_empty()).map(|id| id.decode());
        let mut is_kept_thought = false;
        match kind {
            "message" => self.message(draft)?,
            "item_reference" => {
                let id = id.as_ref().ok_or_else(|| self.item_error(".id", "is required"))?;
                self.store(id, StoredKind::Item);
            }
            "reasoning" => {
                if let (None, Some(id)) = (encrypted, &id) {
                    is_kept_thought = true;
                    self.store(id, StoredKind::Thought);
                }
            }
            "function_call_output" | "custom_tool_call_output" => self.found.thread.results(1),
            kind => {
                if let Some(id) = id.as_ref().filter(|_| draft.call_id.is_none() && !draft.has_content) {
                    self.store(id, StoredKind::Item);
                }
                if kind.ends_with("_output") {
                    self.found.thread.results(1);
                } else {
                    self.found.thread.has_tool_history |= matches!(kind, "function_call" | "custom_tool_call");
                }
            }
        }
        let id = id.map(|id| (hash(&id), cutter.close()));
        self.spans.items.push(ItemSpan { range, id, encrypted, is_kept_thought });
        Ok(())
    }

    fn message(&mut self, draft: Draft<'a>) -> Result<(), InvalidRequest> {
        self.found.estimate.message();
        let thread = &mut self.found.thread;
        match draft.role.map(|role| role.decode()).as_deref() {
            Some("user") => thread.user(draft.said, draft.attachments),
            Some("assistant") => thread.assistant(),
            Some("system" | "developer") => thread.instruction(),
            _ => {
                return Err(self.item_error(".role", "must be one of `user`, `assistant`, `system`, `developer`"));
            }
        }
        Ok(())
    }

    fn parts(&mut self, cursor: &mut Cursor<'a>, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        let mut items = cursor.array()?;
        while cursor.element(&mut items)? {
            draft.has_content = true;
            if cursor.kind()? != Kind::Object {
                let range = cursor.skip()?;
                self.found.estimate.json(cursor.slice(range));
                continue;
            }
            let piece = self.piece(cursor)?;
            self.count_piece(&piece, draft);
        }
        Ok(())
    }

    fn piece(&mut self, cursor: &mut Cursor<'a>) -> Result<Piece<'a>, InvalidRequest> {
        let mut piece = Piece::default();
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                (name, _) if is_disguised(name) => return Err(disguised(name)),
                ("type", Kind::String) => piece.kind = Some(cursor.string()?),
                ("text" | "refusal", Kind::String) => piece.text = Some(cursor.string()?),
                ("image_url" | "file_url", Kind::String) => piece.url = Some(cursor.string()?),
                ("file_data" | "data", Kind::String) => piece.data = Some(cursor.string()?),
                ("file_id", Kind::String) => {
                    if piece.file_id.replace(cursor.string()?).is_some() {
                        return Err(self.item_error(".content", "names two files in one part"));
                    }
                }
                // Where an answer points at its sources; they are read by nobody.
                ("annotations" | "logprobs", _) => cursor.pass()?,
                (_, Kind::Object | Kind::Array) => {
                    let range = cursor.skip()?;
                    let json = cursor.slice(range);
                    self.found.estimate.json(json);
                    references(json, &mut self.found.stored)?;
                }
                _ => cursor.pass()?,
            }
        }
        Ok(piece)
    }

    fn count_piece(&mut self, piece: &Piece<'a>, draft: &mut Draft<'a>) {
        if let Some(id) = piece.file_id.filter(|id| !id.is_empty()) {
            self.found.stored.push(id.decode());
        }
        match piece.kind.unwrap_or_default().decode().as_ref() {
            "input_text" | "output_text" | "text" | "refusal" | "summary_text" | "reasoning_text" => {
                let text = piece.text.unwrap_or_default();
                self.found.estimate.text(text.raw());
                draft.said.add(text);
                return;
            }
            "input_image" => {
                self.found.estimate.attachment();
                let is_data = piece.url.is_none_or(|url| is_data(url));
                self.found.need(if is_data { Capability::Images } else { Capability::ImageUrl });
            }
            "input_file" => {
                self.found.need(Capability::Documents);
                count_pages(&mut self.found.estimate, piece.data.map_or(0, |data| data.raw().len()));
            }
            "input_audio" => {
                self.found.need(Capability::Audio);
                count_pages(&mut self.found.estimate, piece.data.map_or(0, |data| data.raw().len()));
            }
            // What only some provider knows: it passes there, and is refused where it would have to be translated.
            _ => self.found.estimate.attachment(),
        }
        draft.attachments += 1;
    }
}

/// Schemes are compared without regard to case (RFC 3986, 3.1).
fn is_data(url: Text<'_>) -> bool {
    url.raw().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}
