//! The members beside `model` and `messages`: limits, sampling, tools, formats. Which of them change what the client gets and may be
//! refused follows OpenAI's reference and what each provider was seen to refuse.

use aipipe_actors::catalogue::{Capability, Effort};

use super::{Scan, invalid, string};
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::translate::InvalidRequest;

impl<'a> Scan<'a> {
    /// Reads a member that is neither null nor one of the two that make a chat request.
    pub(super) fn setting(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "stream" => self.stream = boolean(cursor, kind, name)?,
            "stream_options" => self.stream_options(cursor, kind)?,
            "usage" if kind == Kind::Object => {
                self.include_usage |= flag_within(cursor, "include")?;
            }
            "max_completion_tokens" => self.output_limit = Some(whole(cursor, kind, name)?),
            "max_tokens" => {
                let limit = whole(cursor, kind, name)?;
                if self.spans.member("max_completion_tokens").is_none_or(|other| is_null(self.text, &other.value)) {
                    self.output_limit = Some(limit);
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
                    self.mean("logit_bias");
                }
            }
            "logprobs" => {
                if boolean(cursor, kind, name)? {
                    self.need(Capability::Logprobs);
                    self.mean("logprobs");
                }
            }
            "top_logprobs" => {
                if whole(cursor, kind, name)? > 0 {
                    self.mean("top_logprobs");
                }
            }
            "tools" => self.declare_tools(cursor, kind)?,
            "functions" => self.declare_functions(cursor, kind)?,
            "tool_choice" => self.tool_choice(cursor, kind, "tool_choice")?,
            "function_call" => self.tool_choice(cursor, kind, "function_call")?,
            "parallel_tool_calls" => {
                // Gemini has no such switch: a caller that can take only one call at a time must not be sent there.
                if !boolean(cursor, kind, name)? {
                    self.mean("parallel_tool_calls");
                }
            }
            "response_format" => self.response_format(cursor, kind)?,
            "modalities" => self.modalities(cursor, kind)?,
            "audio" => {
                cursor.pass()?;
                self.mean("audio");
            }
            "web_search_options" => {
                cursor.pass()?;
                self.mean("web_search_options");
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
            self.need(Capability::N);
            self.mean("n");
        }
        Ok(())
    }

    fn penalty(&mut self, value: f64, name: &'static str) {
        if value != 0.0 {
            self.mean(name);
        }
    }

    fn stop(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        let error = || invalid(Some("stop"), "`stop` must be a string or an array of strings");
        let mut given = false;
        match kind {
            Kind::String => given = !cursor.string()?.is_empty(),
            Kind::Array => {
                let mut items = cursor.array()?;
                while cursor.element(&mut items)? {
                    if cursor.kind()? != Kind::String {
                        return Err(error());
                    }
                    given |= !cursor.string()?.is_empty();
                }
            }
            _ => return Err(error()),
        }
        if given {
            self.mean("stop");
        }
        Ok(())
    }

    fn declare_tools(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Array {
            return Err(invalid(Some("tools"), "`tools` must be an array"));
        }
        let mut items = cursor.array()?;
        let mut index = 0_u32;
        while cursor.element(&mut items)? {
            if cursor.kind()? != Kind::Object {
                let param = format!("tools[{index}]");
                return Err(invalid(Some(&param), format!("`{param}` must be an object")));
            }
            self.declare_tool(cursor)?;
            index += 1;
        }
        Ok(())
    }

    fn declare_tool(&mut self, cursor: &mut Cursor<'a>) -> Result<(), InvalidRequest> {
        let mut members = cursor.object()?;
        let mut tool_type: Option<Text<'a>> = None;
        while let Some(key) = cursor.key(&mut members)? {
            if key.name == *"type" && cursor.kind()? == Kind::String {
                tool_type = Some(cursor.string()?);
            } else {
                let declaration = cursor.skip()?;
                self.estimate.json(cursor.slice(declaration));
            }
        }
        self.tools += 1;
        match tool_type.map(|name| name.decode()).as_deref() {
            None | Some("function") => {}
            Some("custom") => self.mean("custom_tools"),
            Some(hosted) => {
                // Declared and run by the provider: not something that the model must be able to call back for.
                self.tools -= 1;
                self.hosted_tools.push(hosted.to_owned().into());
            }
        }
        Ok(())
    }

    fn declare_functions(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        if kind != Kind::Array {
            return Err(invalid(Some("functions"), "`functions` must be an array"));
        }
        let mut items = cursor.array()?;
        while cursor.element(&mut items)? {
            let declaration = cursor.skip()?;
            self.estimate.json(cursor.slice(declaration));
            self.tools += 1;
            self.mean("functions");
        }
        Ok(())
    }

    /// `auto` and `none` hold anywhere; forcing a call is refused by some models while they think.
    fn tool_choice(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &'static str) -> Result<(), InvalidRequest> {
        let forced = match kind {
            Kind::String => {
                let choice = cursor.string()?;
                !(choice == *"auto" || choice == *"none")
            }
            Kind::Object => {
                cursor.pass()?;
                true
            }
            _ => return Err(invalid(Some(name), format!("`{name}` must be a string or an object"))),
        };
        if forced {
            self.mean(name);
        }
        Ok(())
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
                self.estimate.json(cursor.slice(schema));
            }
        }
        match format.map(|name| name.decode()).as_deref() {
            None => return Err(invalid(Some("response_format.type"), "`response_format.type` is required")),
            Some("text") => {}
            Some("json_schema") => {
                self.need(Capability::JsonSchema);
                self.mean("response_format");
                self.structured_output = true;
            }
            Some(_) => {
                self.mean("response_format");
                self.structured_output = true;
            }
        }
        Ok(())
    }

    fn modalities(&mut self, cursor: &mut Cursor<'a>, kind: Kind) -> Result<(), InvalidRequest> {
        let error = || invalid(Some("modalities"), "`modalities` must be an array of strings");
        if kind != Kind::Array {
            return Err(error());
        }
        let mut items = cursor.array()?;
        while cursor.element(&mut items)? {
            if cursor.kind()? != Kind::String {
                return Err(error());
            }
            let modality = cursor.string()?;
            if modality == *"audio" {
                self.need(Capability::Audio);
            }
            if modality != *"text" {
                self.mean("modalities");
            }
        }
        Ok(())
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

/// A level by its name in Chat Completions; `None` for one that is not known here, which the provider may know.
fn effort_named(name: Text<'_>) -> Option<Effort> {
    Some(match &*name.decode() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::Xhigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

pub(super) fn is_null(text: &str, range: &std::ops::Range<usize>) -> bool {
    text.get(range.clone()) == Some("null")
}

pub(in crate::dialects) fn boolean(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<bool, InvalidRequest> {
    if kind != Kind::Bool {
        return Err(invalid(Some(param), format!("`{param}` must be true or false")));
    }
    Ok(cursor.boolean()?)
}

pub(in crate::dialects) fn number(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<f64, InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be a number"));
    if kind != Kind::Number {
        return Err(error());
    }
    cursor.number()?.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(error)
}

pub(in crate::dialects) fn whole(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<u64, InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be a whole number, 0 or more"));
    if kind != Kind::Number {
        return Err(error());
    }
    count(cursor.number()?).ok_or_else(error)
}

/// A whole number, also where it is written as `1e3` or `16.0`.
fn count(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        (value >= 0.0 && value.fract() == 0.0 && value < 9e15).then_some(value as u64)
    })
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
