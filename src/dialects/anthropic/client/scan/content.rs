//! The messages of a body: who said what, how much of it there is, what the model must be able to read, and where marked thoughts stand.

use std::ops::Range;

use aipipe_actors::catalogue::Capability;

use super::{BlockSpan, MarkedMessage, Scan};
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::mark;
use crate::dialects::scan::{Said, count_pages, invalid, objects};
use crate::dialects::translate::InvalidRequest;

/// What opens the texts that harnesses put beside what the user said.
const HARNESS_TEXT: &str = "<system-reminder>";

/// Contents within a block that are looked into: a result holds a document, which holds blocks.
const MAX_NESTING: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Instruction,
    User,
    Assistant,
}

/// One message while it is read: its role may stand after its content.
#[derive(Debug, Default)]
struct Draft<'a> {
    said: Said<'a>,
    /// What a harness put beside it.
    aside: Said<'a>,
    attachments: u32,
    results: u32,
    calls: bool,
    /// Calls of tools that the provider runs, or their results.
    hosted: bool,
    blocks: Vec<BlockSpan>,
}

impl<'a> Draft<'a> {
    fn say(&mut self, text: Text<'a>) {
        if text.raw().starts_with(HARNESS_TEXT) {
            self.aside.add(text);
        } else {
            self.said.add(text);
        }
    }
}

/// One block while it is read: its type may stand after what it holds.
#[derive(Debug, Default)]
struct Piece<'a> {
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    name: Option<Text<'a>>,
    input: Option<&'a str>,
    /// The content of a result.
    content: Option<&'a str>,
    source: Option<Source<'a>>,
    file_id: Option<Text<'a>>,
    /// A signature, or the data of a thought, and where its value stands.
    opaque: Option<(Text<'a>, Range<usize>)>,
}

/// The source of an image or document.
#[derive(Debug, Default)]
struct Source<'a> {
    kind: Option<Text<'a>>,
    data: Option<Text<'a>>,
    content: Option<&'a str>,
    file_id: Option<Text<'a>>,
}

impl<'a> Scan<'a> {
    pub(super) fn messages(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        objects(cursor, kind, "messages", |cursor| {
            let start = cursor.position();
            self.message(cursor)?;
            self.spans.messages.push(start..cursor.position());
            self.found.thread.messages += 1;
            Ok(())
        })
    }

    /// Instructions: a text, or blocks of text.
    pub(super) fn system(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        match kind {
            Kind::String => self.found.estimate.text(cursor.string()?.raw()),
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    if cursor.kind()? != Kind::Object {
                        return Err(invalid(Some("system"), "`system` must hold objects"));
                    }
                    if let Some(text) = self.piece(cursor)?.text {
                        self.found.estimate.text(text.raw());
                    }
                }
            }
            _ => return Err(invalid(Some("system"), "`system` must be a string or an array of text blocks")),
        }
        Ok(())
    }

    fn message_error(&self, member: &str, rule: &str) -> InvalidRequest {
        let param = format!("messages[{}]{member}", self.found.thread.messages);
        invalid(Some(&param), format!("`{param}` {rule}"))
    }

    fn message(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut draft = Draft::default();
        let mut role = None;
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            match &*key.name.decode() {
                "role" => role = Some(self.role(cursor, kind)?),
                "content" => self.content(cursor, kind, &mut draft)?,
                _ => cursor.pass()?,
            }
        }
        let role = role.ok_or_else(|| self.message_error(".role", "is required"))?;
        self.found.estimate.message();
        if draft.blocks.iter().any(|block| block.mark.is_some()) {
            let index = self.spans.messages.len();
            self.spans.marked.push(MarkedMessage { index, blocks: std::mem::take(&mut draft.blocks) });
        }
        self.count_turn(role, draft);
        Ok(())
    }

    fn role(&self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<Speaker, InvalidRequest> {
        let rule = "must be one of `user`, `assistant`, `system`";
        if kind != Kind::String {
            return Err(self.message_error(".role", rule));
        }
        match &*cursor.string()?.decode() {
            "user" => Ok(Speaker::User),
            "assistant" => Ok(Speaker::Assistant),
            "system" => Ok(Speaker::Instruction),
            _ => Err(self.message_error(".role", rule)),
        }
    }

    /// A user's message may hold the results of calls, the user's own words, or both; what a harness adds to results is no ask.
    fn count_turn(&mut self, role: Speaker, draft: Draft<'a>) {
        self.found.thread.has_tool_history |= draft.calls;
        match role {
            Speaker::Instruction => self.found.thread.instruction(),
            Speaker::Assistant => {
                self.found.thread.assistant();
                // A turn that paused in a tool of the provider's is resumed, not prefilled.
                self.found.thread.ends_with_assistant = !draft.hosted;
            }
            Speaker::User => {
                if draft.results > 0 {
                    self.found.thread.results(draft.results);
                    if draft.said.is_empty() && draft.attachments == 0 {
                        return;
                    }
                }
                self.last_ask = self.spans.messages.len();
                let said = if draft.said.is_empty() { draft.aside } else { draft.said };
                self.found.thread.user(said, draft.attachments);
            }
        }
    }

    fn content(&mut self, cursor: &mut Cursor<'a>, kind: Kind, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        match kind {
            Kind::Null => cursor.pass()?,
            Kind::String => {
                let text = cursor.string()?;
                self.found.estimate.text(text.raw());
                draft.say(text);
            }
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    if cursor.kind()? != Kind::Object {
                        return Err(self.message_error(".content", "must hold objects"));
                    }
                    let start = cursor.position();
                    let piece = self.piece(cursor)?;
                    let range = start..cursor.position();
                    let marked = piece.opaque.as_ref().filter(|(text, _)| mark::read(&text.decode()).is_some());
                    let mark = marked.map(|(_, value)| value.clone());
                    draft.blocks.push(BlockSpan { range: range.clone(), mark });
                    self.count_piece(piece, cursor.slice(range), draft)?;
                }
            }
            _ => return Err(self.message_error(".content", "must be a string or an array of blocks")),
        }
        Ok(())
    }

    fn piece(&mut self, cursor: &mut Cursor<'a>) -> Result<Piece<'a>, InvalidRequest> {
        let mut piece = Piece::default();
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            let start = cursor.position();
            match (&*key.name.decode(), kind) {
                ("type", Kind::String) => piece.kind = Some(cursor.string()?),
                ("text" | "thinking", Kind::String) => piece.text = Some(cursor.string()?),
                ("text", _) => return Err(self.message_error(".content", "must hold its text as a string")),
                ("signature" | "data", Kind::String) => {
                    let text = cursor.string()?;
                    piece.opaque = Some((text, start..cursor.position()));
                }
                ("name", Kind::String) => piece.name = Some(cursor.string()?),
                ("file_id", Kind::String) => piece.file_id = Some(cursor.string()?),
                ("input", _) => piece.input = Some(skipped(cursor)?),
                ("content", _) => piece.content = Some(skipped(cursor)?),
                ("source", Kind::Object) => piece.source = Some(source(cursor)?),
                ("cache_control", Kind::Object) => {
                    self.marks_cache = true;
                    cursor.pass()?;
                }
                _ => cursor.pass()?,
            }
        }
        Ok(piece)
    }

    fn count_piece(&mut self, piece: Piece<'a>, whole: &'a str, draft: &mut Draft<'a>) -> Result<(), InvalidRequest> {
        let missing = |scan: &Self| scan.message_error(".content", "must hold blocks with a type and what it names");
        let kind = piece.kind.ok_or_else(|| missing(self))?;
        match &*kind.decode() {
            "text" => {
                let text = piece.text.ok_or_else(|| missing(self))?;
                self.found.estimate.text(text.raw());
                draft.say(text);
            }
            "image" | "document" => {
                self.medium(&kind.decode(), piece.source, MAX_NESTING)?;
                draft.attachments += 1;
            }
            "tool_use" => {
                draft.calls = true;
                self.found.estimate.text(piece.name.unwrap_or_default().raw());
                self.found.estimate.json(piece.input.unwrap_or_default());
            }
            "tool_result" => {
                draft.results += 1;
                self.within(piece.content, MAX_NESTING)?;
            }
            "thinking" => self.found.estimate.text(piece.text.unwrap_or_default().raw()),
            "redacted_thinking" => {}
            "search_result" => self.found.estimate.json(piece.content.unwrap_or_default()),
            "container_upload" => self.found.stored.extend(piece.file_id.map(|id| id.decode())),
            _ => {
                draft.hosted = true;
                self.found.estimate.json(whole);
            }
        }
        Ok(())
    }

    /// The content of a result or of a document: a text, or blocks.
    fn within(&mut self, content: Option<&'a str>, nesting: u8) -> Result<(), InvalidRequest> {
        let Some(content) = content else { return Ok(()) };
        let Some(nesting) = nesting.checked_sub(1) else {
            self.found.estimate.json(content);
            return Ok(());
        };
        let mut cursor = Cursor::new(content);
        match cursor.kind()? {
            Kind::String => self.found.estimate.text(cursor.string()?.raw()),
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    if cursor.kind()? != Kind::Object {
                        return Err(self.message_error(".content", "must hold objects"));
                    }
                    let piece = self.piece(&mut cursor)?;
                    match piece.kind.unwrap_or_default().decode().as_ref() {
                        kind @ ("image" | "document") => self.medium(kind, piece.source, nesting)?,
                        _ => self
                            .found
                            .estimate
                            .json(piece.text.map_or(piece.content.unwrap_or_default(), |text| text.raw())),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn medium(&mut self, kind: &str, source: Option<Source<'a>>, nesting: u8) -> Result<(), InvalidRequest> {
        let missing = || "must hold images and documents with a source";
        let source = source.ok_or_else(|| self.message_error(".content", missing()))?;
        let data = source.data.unwrap_or_default();
        let capability = if kind == "image" { Capability::Images } else { Capability::Documents };
        match &*source.kind.unwrap_or_default().decode() {
            // Plain text, which every model reads.
            "text" => {
                self.found.estimate.text(data.raw());
                return Ok(());
            }
            "content" => return self.within(source.content, nesting),
            "url" => self.found.need(Capability::ImageUrl),
            _ => {}
        }
        if kind == "document" || source.data.is_some() || source.file_id.is_some() {
            self.found.need(capability);
        }
        self.found.stored.extend(source.file_id.map(|id| id.decode()));
        if kind == "image" {
            self.found.estimate.attachment();
        } else {
            count_pages(&mut self.found.estimate, data.raw().len());
        }
        Ok(())
    }
}

fn skipped<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, InvalidRequest> {
    let range = cursor.skip()?;
    Ok(cursor.slice(range))
}

fn source<'a>(cursor: &mut Cursor<'a>) -> Result<Source<'a>, InvalidRequest> {
    let mut source = Source::default();
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        match (&*key.name.decode(), cursor.kind()?) {
            ("type", Kind::String) => source.kind = Some(cursor.string()?),
            ("data", Kind::String) => source.data = Some(cursor.string()?),
            ("file_id", Kind::String) => source.file_id = Some(cursor.string()?),
            ("content", _) => source.content = Some(skipped(cursor)?),
            _ => cursor.pass()?,
        }
    }
    Ok(source)
}
