//! The members beside `model` and `input`: limits, sampling, tools, formats, and what goes on from something stored.

use aipipe_actors::catalogue::Capability;

use super::{Scan, disguised, is_disguised, references};
use crate::dialects::issued::StoredKind;
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::scan::{boolean, effort_named, id_within, invalid, number, objects, string, strings, whole};
use crate::dialects::translate::InvalidRequest;

impl<'a> Scan<'a> {
    /// Reads a member that is neither null nor the input.
    pub(super) fn setting(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "stream" => self.found.stream = boolean(cursor, kind, name)?,
            "max_output_tokens" => self.found.output_limit = Some(whole(cursor, kind, name)?),
            "temperature" | "top_p" => {
                number(cursor, kind, name)?;
            }
            "top_logprobs" => {
                if whole(cursor, kind, name)? > 0 {
                    self.found.mean("top_logprobs");
                }
            }
            "include" => self.include(cursor, kind)?,
            "instructions" => {
                let text = string(cursor, kind, name)?.raw();
                self.found.estimate.text(text);
                self.found.thread.transcript.instruct(text);
            }
            "tools" => objects(cursor, kind, name, |cursor| self.declare_tool(cursor))?,
            "tool_choice" => self.found.tool_choice(cursor, kind, "tool_choice")?,
            "parallel_tool_calls" => {
                // Gemini has no such switch: a caller that can take only one call at a time must not be sent there.
                if !boolean(cursor, kind, name)? {
                    self.found.mean("parallel_tool_calls");
                }
            }
            "text" => self.text(cursor, kind)?,
            "reasoning" => self.reasoning(cursor, kind)?,
            "previous_response_id" => {
                let id = string(cursor, kind, name)?.decode();
                self.store(&id, StoredKind::PreviousResponse);
            }
            "conversation" | "prompt" => {
                let id = match kind {
                    Kind::String => Some(cursor.string()?.decode()),
                    Kind::Object => id_within(cursor)?,
                    _ => None,
                };
                let id = id.ok_or_else(|| invalid(Some(name), format!("`{name}` must be an id")))?;
                self.found.stored.push(id);
            }
            "background" => {
                if boolean(cursor, kind, name)? {
                    let rule = "`background` must be false: AiPipe accounts for an answer when it is delivered, and runs none unattended";
                    return Err(invalid(Some(name), rule));
                }
            }
            "metadata" => cursor.pass()?,
            // A member that is not known here may name what a provider keeps.
            _ => {
                let range = cursor.skip()?;
                references(cursor.slice(range), &mut self.found.stored)?;
            }
        }
        Ok(())
    }

    fn include(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        strings(cursor, kind, "include", |what| {
            if what == *"message.output_text.logprobs" {
                self.found.need(Capability::Logprobs);
                self.found.mean("logprobs");
            }
        })
    }

    fn declare_tool(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let start = cursor.position();
        let mut tool_type: Option<Text<'a>> = None;
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                (name, _) if is_disguised(name) => return Err(disguised(name)),
                ("type", Kind::String) => {
                    if tool_type.replace(cursor.string()?).is_some() {
                        return Err(invalid(Some("tools"), "`tools` must hold tools with one type each"));
                    }
                }
                // A group of functions.
                ("tools", kind @ Kind::Array) => objects(cursor, kind, "tools", |cursor| self.declare_tool(cursor))?,
                _ => {
                    let declaration = cursor.skip()?;
                    self.found.estimate.json(cursor.slice(declaration));
                }
            }
        }
        match tool_type.map(|name| name.decode()).as_deref() {
            Some("function" | "custom") => self.found.tools += 1,
            Some("namespace") => {}
            Some(hosted) => {
                // Declared and run by the provider, or known to its models alone.
                self.found.hosted_tools.push(hosted.to_owned().into());
                references(cursor.slice(start..cursor.position()), &mut self.found.stored)?;
            }
            None => return Err(invalid(Some("tools"), "`tools` must hold tools with a type")),
        }
        Ok(())
    }

    fn text(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("text"), "`text` must be an object"));
        }
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            if key.name == *"format" && cursor.kind()? == Kind::Object {
                self.format(cursor)?;
            } else {
                cursor.pass()?;
            }
        }
        Ok(())
    }

    fn format(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            if key.name != *"type" {
                let schema = cursor.skip()?;
                self.found.estimate.json(cursor.slice(schema));
                continue;
            }
            let format = string(cursor, kind, "text.format.type")?;
            if format == *"json_schema" {
                self.found.need(Capability::JsonSchema);
            }
            if format != *"text" {
                self.found.mean("response_format");
                self.found.structured_output = true;
            }
        }
        Ok(())
    }

    fn reasoning(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("reasoning"), "`reasoning` must be an object"));
        }
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            let start = cursor.position();
            if key.name == *"effort" && kind == Kind::String {
                let effort = effort_named(cursor.string()?);
                self.reasoning.get_or_insert_default().effort = effort;
                self.spans.effort = Some(start..cursor.position());
            } else {
                cursor.pass()?;
            }
        }
        Ok(())
    }
}
