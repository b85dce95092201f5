//! The conversation as `systemInstruction` and `contents`: who said what, calls and their results in Google's order.
//!
//! Gemini knows the roles `user` and `model` only. Neighbours of one role merge; the results of one turn's calls stand together, in the
//! order of the calls, in the content right after them, and whatever else the user said follows in a content of its own.

use std::borrow::Cow;

use aipipe_actors::catalogue::Capability;
use serde::Serialize;

use super::Writing;
use crate::dialects::carry::Arguments;
use crate::dialects::carry::cannot_carry;
use crate::dialects::conversation::{Media, Opaque, Part as Spoken, Role, Thought, ToolCall, ToolResult};
use crate::dialects::gemini::{FOREIGN_SIGNATURE, THOUGHT_SIGNATURE};
use crate::dialects::translate::CannotCarry;

/// Where uploaded files live. Source: <https://ai.google.dev/api/files>.
const FILES: &str = "https://generativelanguage.googleapis.com/v1beta/";
/// Stands in a result for media that follow it in a content of their own.
const MEDIA_BELOW: &str = "(media attached below)";

#[derive(Debug, Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(flatten)]
    kind: Kind<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind<'a> {
    Text(Cow<'a, str>),
    InlineData(Blob<'a>),
    FileData(File<'a>),
    FunctionCall(Call<'a>),
    FunctionResponse(Response<'a>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'static str>,
    file_uri: Cow<'a, str>,
}

#[derive(Debug, Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    args: Arguments<'a>,
}

#[derive(Debug, Serialize)]
struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    response: Outcome<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<ResponsePart<'a>>,
}

/// The response must be an object. Its text stays a string even where it is JSON: Google's parser would refuse `$ref` and `$defs` in it
/// and round its integers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome<'a> {
    Result(Cow<'a, str>),
    Error(Cow<'a, str>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponsePart<'a> {
    inline_data: Blob<'a>,
}

impl<'a> Part<'a> {
    fn of(kind: Kind<'a>) -> Self {
        Self { kind, thought: false, thought_signature: None }
    }

    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::of(Kind::Text(text.into()))
    }
}

type Written<'a> = (Option<Content<'a>>, Vec<Content<'a>>);

pub(super) fn write<'a>(writing: &mut Writing<'a>) -> Result<Written<'a>, CannotCarry> {
    let conversation = writing.conversation;
    let instructions = conversation.instructions.iter().filter(|text| !text.is_empty());
    let instructions: Vec<Part<'_>> = instructions.map(|text| Part::text(text.as_str())).collect();
    let mut contents = Contents::default();
    for turn in &conversation.turns {
        if turn.name.is_some() {
            writing.dropped.note("name");
        }
        match turn.role {
            Role::Assistant => contents.model(&turn.parts, writing)?,
            Role::User => contents.user(&turn.parts, writing)?,
            Role::System => contents.note(&turn.parts),
        }
    }
    contents.end_user(writing)?;
    if contents.list.is_empty() && !instructions.is_empty() {
        // Gemini refuses a request without contents.
        return Ok((None, vec![Content { role: Some("user"), parts: instructions }]));
    }
    let system = (!instructions.is_empty()).then_some(Content { role: None, parts: instructions });
    Ok((system, contents.list))
}

/// The contents so far, and what the user has said since the model last spoke.
#[derive(Default)]
struct Contents<'a> {
    list: Vec<Content<'a>>,
    /// Ids of the calls in the model's last content, in order.
    calls: Vec<&'a str>,
    results: Vec<&'a ToolResult>,
    said: Vec<Part<'a>>,
}

impl<'a> Contents<'a> {
    fn model(&mut self, parts: &'a [Spoken], writing: &mut Writing<'a>) -> Result<(), CannotCarry> {
        self.end_user(writing)?;
        let mut content = match self.list.pop() {
            Some(last) if last.role == Some("model") => last,
            before => {
                self.list.extend(before);
                self.calls.clear();
                Content { role: Some("model"), parts: Vec::new() }
            }
        };
        for part in parts {
            match part {
                Spoken::Text(text) | Spoken::Refusal(text) if text.is_empty() => {}
                Spoken::Text(text) | Spoken::Refusal(text) => content.parts.push(Part::text(text.as_str())),
                Spoken::Reasoning(thought) => write_thought(thought, &mut content.parts, writing),
                Spoken::ToolCall(call) => {
                    let part = self.call(call, writing);
                    content.parts.push(part);
                }
                Spoken::ToolResult(_) => return cannot_carry("messages", "a function's result in the model's turn"),
                Spoken::Image(media) | Spoken::Audio(media) => content.parts.push(media_part(media, writing)?),
                Spoken::Document { media, name } => {
                    note_file_name(name.as_deref(), writing);
                    content.parts.push(media_part(media, writing)?);
                }
            }
        }
        if !content.parts.is_empty() {
            self.list.push(content);
        }
        Ok(())
    }

    fn call(&mut self, call: &'a ToolCall, writing: &mut Writing<'a>) -> Part<'a> {
        let mut thought_signature = call.signature.as_ref().and_then(|signature| own_signature(signature, writing));
        let three = writing.generation.is_three_or_later();
        // Of several calls in one turn only the first is signed.
        if three && thought_signature.is_none() && self.calls.is_empty() {
            thought_signature = Some(FOREIGN_SIGNATURE);
            writing.dropped.note(THOUGHT_SIGNATURE);
        }
        self.calls.push(&call.id);
        let id = three.then_some(call.id.as_str()).filter(|id| !id.is_empty());
        let call = Call { id, name: writing.names.sent(&call.name), args: Arguments::of(&call.arguments) };
        Part { kind: Kind::FunctionCall(call), thought: false, thought_signature }
    }

    fn user(&mut self, parts: &'a [Spoken], writing: &mut Writing<'a>) -> Result<(), CannotCarry> {
        for part in parts {
            match part {
                Spoken::Text(text) | Spoken::Refusal(text) if text.is_empty() => {}
                Spoken::Text(text) | Spoken::Refusal(text) => self.said.push(Part::text(text.as_str())),
                Spoken::ToolResult(result) => self.results.push(result),
                Spoken::Image(media) | Spoken::Audio(media) => self.said.push(media_part(media, writing)?),
                Spoken::Document { media, name } => {
                    note_file_name(name.as_deref(), writing);
                    self.said.push(media_part(media, writing)?);
                }
                Spoken::Reasoning(_) | Spoken::ToolCall(_) => {
                    return cannot_carry("messages", "reasoning or a function call in the user's turn");
                }
            }
        }
        Ok(())
    }

    /// An instruction in the middle keeps its place, marked as what it is.
    fn note(&mut self, parts: &'a [Spoken]) {
        for part in parts {
            if let Spoken::Text(text) = part
                && !text.is_empty()
            {
                self.said.push(Part::text(format!("System note: {text}")));
            }
        }
    }

    fn end_user(&mut self, writing: &mut Writing<'a>) -> Result<(), CannotCarry> {
        let mut results = std::mem::take(&mut self.results);
        results
            .sort_by_key(|result| self.calls.iter().position(|&id| id == result.call_id).unwrap_or(self.calls.len()));
        let mut responses = Vec::with_capacity(results.len());
        let mut said = Vec::new();
        for result in results {
            responses.push(response(result, &mut said, writing)?);
        }
        if !responses.is_empty() {
            self.list.push(Content { role: Some("user"), parts: responses });
        }
        said.append(&mut self.said);
        if !said.is_empty() {
            self.list.push(Content { role: Some("user"), parts: said });
        }
        Ok(())
    }
}

/// One result; media that cannot stand in it are appended to `after`.
fn response<'a>(
    result: &'a ToolResult,
    after: &mut Vec<Part<'a>>,
    writing: &mut Writing<'a>,
) -> Result<Part<'a>, CannotCarry> {
    if result.name.is_empty() {
        return cannot_carry("messages", format!("no function call with the id `{}` in the history", result.call_id));
    }
    let three = writing.generation.is_three_or_later();
    let mut text = Cow::Borrowed("");
    let mut say = |more: &'a str| match text.is_empty() {
        true => text = Cow::Borrowed(more),
        false => text.to_mut().extend(["\n", more]),
    };
    let mut parts = Vec::new();
    for part in &result.parts {
        let media = match part {
            Spoken::Text(text) | Spoken::Refusal(text) => {
                say(text);
                continue;
            }
            Spoken::Image(media) | Spoken::Audio(media) => media,
            Spoken::Document { media, name } => {
                note_file_name(name.as_deref(), writing);
                media
            }
            Spoken::Reasoning(_) | Spoken::ToolCall(_) | Spoken::ToolResult(_) => {
                return cannot_carry("messages", "a function's result holds text and media only");
            }
        };
        match media {
            Media::Inline { media_type, base64 } if three => {
                parts.push(ResponsePart { inline_data: blob(media_type, base64) });
            }
            Media::Inline { .. } | Media::Url(_) | Media::FileId(_) => {
                say(MEDIA_BELOW);
                after.push(media_part(media, writing)?);
            }
        }
    }
    let response = if result.is_error { Outcome::Error(text) } else { Outcome::Result(text) };
    let id = three.then_some(result.call_id.as_str()).filter(|id| !id.is_empty());
    let name = writing.names.sent(&result.name);
    Ok(Part::of(Kind::FunctionResponse(Response { id, name, response, parts })))
}

/// Thoughts go back only with the signature by which their own model knows them; without it they are nothing to any model.
fn write_thought<'a>(thought: &'a Thought, parts: &mut Vec<Part<'a>>, writing: &mut Writing<'a>) {
    let Some(signature) = thought.opaque.as_ref().and_then(|opaque| own_signature(opaque, writing)) else {
        if !thought.text.is_empty() || thought.opaque.is_some() {
            writing.dropped.note("reasoning");
        }
        return;
    };
    match parts.last_mut() {
        // The signature of an answer's text: it goes back on the part that it came on.
        Some(Part { kind: Kind::Text(_), thought: false, thought_signature: bare @ None })
            if thought.text.is_empty() =>
        {
            *bare = Some(signature);
        }
        _ => parts.push(Part {
            kind: Kind::Text(Cow::Borrowed(&thought.text)),
            thought: !thought.text.is_empty(),
            thought_signature: Some(signature),
        }),
    }
}

fn own_signature<'a>(opaque: &'a Opaque, writing: &Writing<'_>) -> Option<&'a str> {
    (opaque.kind == THOUGHT_SIGNATURE && opaque.origin == writing.origin).then_some(opaque.data.as_str())
}

fn note_file_name(name: Option<&str>, writing: &mut Writing<'_>) {
    if name.is_some() {
        writing.dropped.note("filename");
    }
}

fn blob<'a>(media_type: &'a str, data: &'a str) -> Blob<'a> {
    let mime_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
    Blob { mime_type, data }
}

fn media_part<'a>(media: &'a Media, writing: &Writing<'_>) -> Result<Part<'a>, CannotCarry> {
    let kind = match media {
        Media::Inline { media_type, base64 } => Kind::InlineData(blob(media_type, base64)),
        Media::Url(url) if url.starts_with(FILES) || is_fetched(url, writing) => {
            Kind::FileData(File { mime_type: media_type_of(url), file_uri: Cow::Borrowed(url) })
        }
        Media::Url(_) => {
            return cannot_carry("messages", "this model does not fetch that address; send the data itself");
        }
        Media::FileId(id) if id.starts_with("files/") => {
            Kind::FileData(File { mime_type: None, file_uri: Cow::Owned(format!("{FILES}{id}")) })
        }
        Media::FileId(_) => return cannot_carry("messages", "the file is stored at another provider"),
    };
    Ok(Part::of(kind))
}

/// Gemini fetches videos of YouTube and, from some models on, public https addresses.
/// Source: <https://ai.google.dev/gemini-api/docs/file-input-methods>.
fn is_fetched(url: &str, writing: &Writing<'_>) -> bool {
    let youtube = ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"];
    let https = url.starts_with("https://");
    youtube.iter().any(|host| url.starts_with(host))
        || (https && writing.model.capabilities.contains(Capability::ImageUrl))
}

/// Told from the end of the address's path, since nobody looks at what is there.
fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => return None,
    })
}
