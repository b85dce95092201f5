//! The members beside `model` and `messages`: limits, sampling, tools, formats. Which of them change what the client gets and may be
//! refused follows OpenAI's reference and what each provider was seen to refuse.

use aipipe_actors::catalogue::{Capability, Effort};

use super::Scan;
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::scan::{boolean, count, effort_named, invalid, number, objects, string, strings, whole};
use crate::dialects::translate::InvalidRequest;

impl<'a> Scan<'a> {
    /// Reads a member that is neither null nor one of the two that make a chat request.
    pub(super) fn setting(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "stream" => self.found.stream = boolean(cursor, kind, name)?,
            "stream_options" => self.stream_options(cursor, kind)?,
            "usage" if kind == Kind::Object => {
                self.include_usage |= flag_within(cursor, "include")?;
            }
            "max_completion_tokens" => self.found.output_limit = Some(whole(cursor, kind, name)?),
            "max_tokens" => {
                let limit = whole(cursor, kind, name)?;
                if self
                    .found
                    .members
                    .get("max_completion_tokens")
                    .is_none_or(|other| is_null(self.found.text(), &other.value))
                {
                    self.found.output_limit = Some(limit);
                }
            }
            "n" => self.choices(cursor, kind)?,
            "temperature" | "top_p" => {
                number(cursor, kind, name)?;
            }
            "presence_penalty" => self.penalty(number(cursor, kind, name)?, "presence_penalty"),
            "frequency_penalty" => self.penalty(number(cursor, kind, name)?, "frequency_penalty"),
            "stop" => self.stop(cursor, kind)?,
            "logit_bias" => {
                if !is_empty_container(cursor, kind)? {
                    self.found.mean("logit_bias");
                }
            }
            "logprobs" => {
                if boolean(cursor, kind, name)? {
                    self.found.need(Capability::Logprobs);
                    self.found.mean("logprobs");
                }
            }
            "top_logprobs" => {
                if whole(cursor, kind, name)? > 0 {
                    self.found.mean("top_logprobs");
                }
            }
            "tools" => self.declare_tools(cursor, kind)?,
            "functions" => self.declare_functions(cursor, kind)?,
            "tool_choice" => self.found.tool_choice(cursor, kind, "tool_choice")?,
            "function_call" => self.found.tool_choice(cursor, kind, "function_call")?,
            "parallel_tool_calls" => {
                // Gemini has no such switch: a caller that can take only one call at a time must not be sent there.
                if !boolean(cursor, kind, name)? {
                    self.found.mean("parallel_tool_calls");
                }
            }
            "response_format" => self.response_format(cursor, kind)?,
            "modalities" => self.modalities(cursor, kind)?,
            "audio" => {
                cursor.pass()?;
                self.found.mean("audio");
            }
            "reasoning_effort" => {
                let effort = string(cursor, kind, name)?;
                self.reasoning.get_or_insert_default().effort = effort_named(effort);
            }
            "reasoning" | "thinking" if kind == Kind::Object => self.reasoning_object(cursor)?,
            _ => cursor.pass()?,
        }
        Ok(())
    }

    fn stream_options(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("stream_options"), "`stream_options` must be an object"));
        }
        let mut options = cursor.object()?;
        while let Some(key) = cursor.key(&mut options)? {
            let kind = cursor.kind()?;
            let start = cursor.position();
            if key.name == *"include_usage" {
                let asked = kind != Kind::Null && boolean(cursor, kind, "stream_options.include_usage")?;
                if kind == Kind::Null {
                    cursor.pass()?;
                }
                self.include_usage |= asked;
                self.spans.include_usage = Some(start..cursor.position());
            } else {
                cursor.pass()?;
            }
        }
        Ok(())
    }

    fn choices(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        let asked = whole(cursor, kind, "n")?;
        self.choices = u32::try_from(asked)
            .ok()
            .filter(|n| (1..=128).contains(n))
            .ok_or_else(|| invalid(Some("n"), "`n` must be a whole number from 1 to 128"))?;
        if self.choices > 1 {
            self.found.need(Capability::N);
            self.found.mean("n");
        }
        Ok(())
    }

    fn penalty(&mut self, value: f64, name: &'static str) {
        if value != 0.0 {
            self.found.mean(name);
        }
    }

    fn stop(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        let mut given = false;
        match kind {
            Kind::String => given = !cursor.string()?.is_empty(),
            Kind::Array => strings(cursor, kind, "stop", |text| given |= !text.is_empty())?,
            _ => return Err(invalid(Some("stop"), "`stop` must be a string or an array of strings")),
        }
        if given {
            self.found.mean("stop");
        }
        Ok(())
    }

    fn declare_tools(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        objects(cursor, kind, "tools", |cursor| self.declare_tool(cursor))
    }

    fn declare_tool(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut members = cursor.object()?;
        let mut tool_type: Option<Text<'a>> = None;
        let mut custom_name = None;
        while let Some(key) = cursor.key(&mut members)? {
            if key.name == *"type" && cursor.kind()? == Kind::String {
                tool_type = Some(cursor.string()?);
            } else {
                let declaration = cursor.skip()?;
                let declaration = cursor.slice(declaration);
                self.found.estimate.json(declaration);
                if key.name == *"custom" {
                    custom_name = name_within(declaration)?;
                }
            }
        }
        self.found.tools += 1;
        match tool_type.map(|name| name.decode()).as_deref() {
            None | Some("function") => {}
            Some("custom") => {
                self.found.mean("custom_tools");
                self.custom_tools.extend(custom_name);
            }
            Some(hosted) => {
                // Declared and run by the provider: not something that the model must be able to call back for.
                self.found.tools -= 1;
                self.found.hosted_tools.push(hosted.to_owned().into());
            }
        }
        Ok(())
    }

    fn declare_functions(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        objects(cursor, kind, "functions", |cursor| {
            let declaration = cursor.skip()?;
            self.found.estimate.json(cursor.slice(declaration));
            self.found.tools += 1;
            self.found.mean("functions");
            Ok(())
        })
    }

    fn response_format(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Object {
            return Err(invalid(Some("response_format"), "`response_format` must be an object"));
        }
        let mut members = cursor.object()?;
        let mut format = None;
        while let Some(key) = cursor.key(&mut members)? {
            if key.name == *"type" {
                let kind = cursor.kind()?;
                format = Some(string(cursor, kind, "response_format.type")?);
            } else {
                let schema = cursor.skip()?;
                self.found.estimate.json(cursor.slice(schema));
            }
        }
        match format.map(|name| name.decode()).as_deref() {
            None => return Err(invalid(Some("response_format.type"), "`response_format.type` is required")),
            Some("text") => {}
            Some("json_schema") => {
                self.found.need(Capability::JsonSchema);
                self.found.mean("response_format");
                self.found.structured_output = true;
            }
            Some(_) => {
                self.found.mean("response_format");
                self.found.structured_output = true;
            }
        }
        Ok(())
    }

    fn modalities(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        strings(cursor, kind, "modalities", |modality| {
            if modality == *"audio" {
                self.found.need(Capability::Audio);
            }
            if modality != *"text" {
                self.found.mean("modalities");
            }
        })
    }

    /// OpenRouter's `reasoning` and the `thinking` of Moonshot and MiniMax.
    fn reasoning_object(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut members = cursor.object()?;
        let asked = self.reasoning.get_or_insert_default();
        while let Some(key) = cursor.key(&mut members)? {
            let kind = cursor.kind()?;
            let name = key.name.decode();
            match (&*name, kind) {
                ("effort", Kind::String) => asked.effort = effort_named(cursor.string()?),
                ("type", Kind::String) => {
                    if cursor.string()? == *"disabled" {
                        asked.effort = Some(Effort::None);
                    }
                }
                ("enabled", Kind::Bool) => {
                    if !cursor.boolean()? {
                        asked.effort = Some(Effort::None);
                    }
                }
                ("max_tokens" | "budget_tokens", Kind::Number) => asked.budget_tokens = count(cursor.number()?),
                _ => cursor.pass()?,
            }
        }
        Ok(())
    }
}

fn is_null(text: &str, range: &std::ops::Range<usize>) -> bool {
    text.get(range.clone()) == Some("null")
}

/// Whether an object has a member of this name that is true.
fn flag_within(cursor: &mut Cursor<'_>, name: &str) -> Result<bool, InvalidRequest> {
    let mut members = cursor.object()?;
    let mut flag = false;
    while let Some(key) = cursor.key(&mut members)? {
        if key.name == *name && cursor.kind()? == Kind::Bool {
            flag = cursor.boolean()?;
        } else {
            cursor.pass()?;
        }
    }
    Ok(flag)
}

/// The member `name` of an object, where it is a text.
fn name_within(object: &str) -> Result<Option<Text<'_>>, InvalidRequest> {
    let mut cursor = Cursor::new(object);
    if cursor.kind()? != Kind::Object {
        return Ok(None);
    }
    let mut members = cursor.object()?;
    let mut name = None;
    while let Some(key) = cursor.key(&mut members)? {
        if key.name == *"name" && cursor.kind()? == Kind::String {
            name = Some(cursor.string()?);
        } else {
            cursor.pass()?;
        }
    }
    Ok(name)
}

fn is_empty_container(cursor: &mut Cursor<'_>, kind: Kind) -> Result<bool, InvalidRequest> {
    let mut empty = true;
    match kind {
        Kind::Object => {
            let mut members = cursor.object()?;
            while cursor.key(&mut members)?.is_some() {
                cursor.pass()?;
                empty = false;
            }
        }
        _ => {
            cursor.pass()?;
            empty = false;
        }
    }
    Ok(empty)
}
