//! The members beside `model`, `system` and `messages`: limits, sampling, tools, thinking, the form of the answer.

use aipipe_actors::catalogue::Capability;

use super::{Scan, Thinks};
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::scan::{boolean, effort_named, id_within, invalid, number, objects, string, strings, whole};
use crate::dialects::splice::Cutter;
use crate::dialects::translate::InvalidRequest;

impl<'a> Scan<'a> {
    /// Reads a member that is not null.
    pub(super) fn setting(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "stream" => self.found.stream = boolean(cursor, kind, name)?,
            "max_tokens" => self.found.output_limit = Some(whole(cursor, kind, name)?),
            "temperature" | "top_p" => {
                number(cursor, kind, name)?;
            }
            "top_k" => {
                whole(cursor, kind, name)?;
            }
            "stop_sequences" => self.stop_sequences(cursor, kind)?,
            "tools" => self.declare_tools(cursor, kind)?,
            "tool_choice" => self.tool_choice(cursor, kind)?,
            "thinking" => self.thinking(cursor, kind)?,
            "output_config" => self.output_config(cursor, kind)?,
            "output_format" => self.output_format(cursor, kind, name)?,
            "container" => self.container(cursor, kind)?,
            "cache_control" => {
                self.marks_cache = true;
                cursor.pass()?;
            }
            _ => cursor.pass()?,
        }
        Ok(())
    }

    fn stop_sequences(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        strings(cursor, kind, "stop_sequences", |text| {
            if !text.is_empty() {
                self.found.mean("stop");
            }
        })
    }

    fn declare_tools(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        objects(cursor, kind, "tools", |cursor| self.declare_tool(cursor))
    }

    fn declare_tool(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut members = cursor.object()?;
        let mut tool_type: Option<Text<'a>> = None;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                ("type", Kind::String) => tool_type = Some(cursor.string()?),
                ("cache_control", Kind::Object) => {
                    self.marks_cache = true;
                    cursor.pass()?;
                }
                _ => {
                    let declaration = cursor.skip()?;
                    self.found.estimate.json(cursor.slice(declaration));
                }
            }
        }
        match tool_type.filter(|name| *name != *"custom") {
            None => self.found.tools += 1,
            Some(hosted) => self.found.hosted_tools.push(hosted.decode()),
        }
        Ok(())
    }

    /// Forcing a call is refused by some models while they think; a caller that takes one call at a time must not be sent where several
    /// may come.
    fn tool_choice(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("tool_choice"), "`tool_choice` must be an object"));
        }
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                ("type", Kind::String) => {
                    let choice = cursor.string()?;
                    if choice == *"any" || choice == *"tool" {
                        self.forces_call = true;
                        self.found.mean("tool_choice");
                    }
                }
                ("disable_parallel_tool_use", Kind::Bool) => {
                    if cursor.boolean()? {
                        self.found.mean("parallel_tool_calls");
                    }
                }
                _ => cursor.pass()?,
            }
        }
        Ok(())
    }

    fn thinking(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("thinking"), "`thinking` must be an object"));
        }
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            match (&*key.name.decode(), cursor.kind()?) {
                ("type", Kind::String) => {
                    self.thinks = match &*cursor.string()?.decode() {
                        "enabled" => Some(Thinks::Enabled),
                        "adaptive" => Some(Thinks::Adaptive),
                        "disabled" => Some(Thinks::Disabled),
                        "between_tools" => Some(Thinks::BetweenTools),
                        // A way that is not known here; the provider may know it.
                        _ => None,
                    }
                }
                ("budget_tokens", kind @ Kind::Number) => {
                    self.budget_tokens = Some(whole(cursor, kind, "thinking.budget_tokens")?);
                }
                _ => cursor.pass()?,
            }
        }
        Ok(())
    }

    fn output_config(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("output_config"), "`output_config` must be an object"));
        }
        let mut members = cursor.object()?;
        let mut cutter = Cutter::default();
        while let Some(key) = cursor.key(&mut members)? {
            cutter.key(key.start);
            let kind = cursor.kind()?;
            let start = cursor.position();
            match (&*key.name.decode(), kind) {
                ("effort", Kind::String) => {
                    self.effort = effort_named(cursor.string()?);
                    self.spans.effort = Some(start..cursor.position());
                    cutter.cut(cursor.position());
                    continue;
                }
                ("format", Kind::Object) => self.output_format(cursor, kind, "output_config.format")?,
                _ => cursor.pass()?,
            }
            cutter.keep(cursor.position());
        }
        self.spans.effort_member = cutter.close();
        Ok(())
    }

    fn output_format(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some(name), format!("`{name}` must be an object")));
        }
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            if key.name == *"type" {
                if string(cursor, kind, &format!("{name}.type"))? == *"json_schema" {
                    self.found.need(Capability::JsonSchema);
                    self.found.mean("response_format");
                    self.found.structured_output = true;
                }
            } else {
                let schema = cursor.skip()?;
                self.found.estimate.json(cursor.slice(schema));
            }
        }
        Ok(())
    }

    /// A container of the code execution tool: its id, or an object with the id.
    fn container(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        match kind {
            Kind::String => self.found.stored.push(cursor.string()?.decode()),
            Kind::Object => self.found.stored.extend(id_within(cursor)?),
            _ => cursor.pass()?,
        }
        Ok(())
    }
}
