//! One borrowed pass over a chat-completions body: everything that routing, accounting and splicing need to know of it.
//!
//! Nothing is copied and no tree is built; texts stay as they stand in the body and are unescaped only when somebody asks for them.
//! Only what AiPipe itself relies on is checked: a field that it does not know passes to the provider untouched. `null` means absent.
//! A member that is written twice is refused: providers differ in which of the two counts, and a limit or a model must not be read in
//! two ways.

mod ask;
mod content;
mod preferences;
mod prompt_key;
mod settings;
#[cfg(test)]
mod tests;
mod thread;

use std::borrow::Cow;
use std::ops::Range;

use aipipe_actors::catalogue::{Capabilities, Capability};
use aipipe_actors::routing::tokens::Estimator;

pub use ask::Ask;
pub(in crate::dialects) use content::count_pages;
pub use preferences::preferences;
pub use prompt_key::PromptHasher;
pub(in crate::dialects) use settings::{boolean, number, whole};
pub(in crate::dialects) use thread::{Said, Thread};

use super::conversation::Reasoning;
use super::json::{Cursor, Fault, Key, Kind, Text};
use super::translate::InvalidRequest;

/// Most members of the body's object: real requests have some thirty.
pub(in crate::dialects) const MAX_MEMBERS: usize = 256;

/// One member of the body's object.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Offset of the opening quote of its name.
    pub start: usize,
    /// Where its value stands.
    pub value: Range<usize>,
}

/// The `reasoning_details` of a message: thoughts of an earlier answer that a client sends back.
#[derive(Debug, Clone)]
pub struct DetailsSpan<'a> {
    /// The member with the comma that goes with it.
    pub range: Range<usize>,
    /// The `provider/model` that AiPipe wrote into them; `None` where they came from a provider as they are.
    pub origin: Option<Text<'a>>,
}

/// Where in the body the things stand that may have to change on the way to a provider.
#[derive(Debug, Default)]
pub struct Spans<'a> {
    /// The offset after the opening brace.
    pub body_open: usize,
    /// All members, in the client's order.
    pub members: Vec<Member<'a>>,
    /// The value of `stream_options.include_usage`.
    pub include_usage: Option<Range<usize>>,
    /// Each value of `role` that is `"developer"`.
    pub developer_roles: Vec<Range<usize>>,
    /// Each `reasoning_details` of a message.
    pub reasoning_details: Vec<DetailsSpan<'a>>,
}

impl<'a> Spans<'a> {
    /// The position of a member by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == *name)
    }

    /// A member by its name.
    pub fn member(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.name == *name)
    }
}

/// What one pass over a body found.
#[derive(Debug, Default)]
pub struct Scan<'a> {
    /// The model that the client asked for.
    pub model: Cow<'a, str>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client asked for usage within the stream (`stream_options.include_usage`, or OpenRouter's `usage.include`).
    pub include_usage: bool,
    /// Most output tokens: `max_completion_tokens`, which wins, or `max_tokens`.
    pub output_limit: Option<u64>,
    /// Choices asked for.
    pub choices: u32,
    /// What the model must be able to do.
    pub needs: Capabilities,
    /// Names of parameters with a value that changes what the client gets and that some model or dialect refuses: a model that refuses one
    /// of them is no candidate.
    pub meaningful: Vec<&'static str>,
    /// The `aipipe` object as written; read it with [`preferences`].
    pub preferences: Option<&'a str>,
    /// The reasoning asked for.
    pub reasoning: Option<Reasoning>,
    /// Whether the answer must follow a schema or be JSON.
    pub structured_output: bool,
    /// Tools declared.
    pub tools: u32,
    /// Types of tools that a provider would run itself (`web_search`, …).
    pub hosted_tools: Vec<Cow<'a, str>>,
    /// Ids of things stored at a provider (files, earlier audio): accepted only from the tenant to which they were issued.
    pub stored: Vec<Cow<'a, str>>,
    /// What the request's size comes to.
    pub estimate: Estimator,
    /// Positions for splicing.
    pub spans: Spans<'a>,
    text: &'a str,
    thread: Thread<'a>,
}

/// Scans a body.
///
/// # Errors
/// [`InvalidRequest`] where the body is not JSON in UTF-8 or breaks a rule that AiPipe relies on; `param` names the field.
pub fn scan(body: &[u8]) -> Result<Scan<'_>, InvalidRequest> {
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(None, format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut cursor = Cursor::new(text);
    if cursor.kind()? != Kind::Object {
        return Err(invalid(None, "the body must be a JSON object"));
    }
    let mut scan = Scan { choices: 1, text, ..Scan::default() };
    scan.spans.members.reserve(16);
    let mut members = cursor.object()?;
    scan.spans.body_open = cursor.position();
    while let Some(key) = cursor.key(&mut members)? {
        scan.member(&mut cursor, key)?;
    }
    cursor.end()?;
    scan.conclude()?;
    Ok(scan)
}

impl<'a> Scan<'a> {
    /// The body.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Whether this is one of `meaningful`.
    pub fn means(&self, parameter: &str) -> bool {
        self.meaningful.contains(&parameter)
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, key: Key<'a>) -> Result<(), InvalidRequest> {
        let name = key.name.decode();
        if self.spans.members.len() == MAX_MEMBERS {
            return Err(invalid(None, format!("the body has more than {MAX_MEMBERS} members")));
        }
        if self.spans.member(&name).is_some() {
            return Err(invalid(Some(&name), format!("`{name}` is given twice")));
        }
        let kind = cursor.kind()?;
        let start = cursor.position();
        match &*name {
            "model" => self.model = string(cursor, kind, "model")?.decode(),
            "messages" => self.messages(cursor, kind)?,
            "aipipe" => {
                let range = cursor.skip()?;
                self.preferences = (kind != Kind::Null).then(|| cursor.slice(range));
            }
            // A null is an absent member, whatever its name.
            _ if kind == Kind::Null => cursor.pass()?,
            name => self.setting(cursor, kind, name)?,
        }
        let value = start..cursor.position();
        self.spans.members.push(Member { name: key.name, start: key.start, value });
        Ok(())
    }

    /// What only the whole request tells.
    fn conclude(&mut self) -> Result<(), InvalidRequest> {
        if self.model.is_empty() {
            return Err(invalid(
                Some("model"),
                "`model` is required: the name of a model, `provider/model`, or `auto`",
            ));
        }
        if self.thread.messages == 0 {
            return Err(invalid(Some("messages"), "`messages` is required: an array of at least one message"));
        }
        if self.thread.ends_with_assistant {
            self.need(Capability::Prefill);
        }
        // A history with calls needs a model that knows tools, also where none is declared any more.
        if self.tools > 0 || self.thread.has_tool_history {
            self.need(Capability::Tools);
        }
        Ok(())
    }

    fn need(&mut self, capability: Capability) {
        self.needs = self.needs.with(capability);
    }

    fn mean(&mut self, parameter: &'static str) {
        if !self.meaningful.contains(&parameter) {
            self.meaningful.push(parameter);
        }
    }
}

pub(in crate::dialects) fn invalid(param: Option<&str>, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest { param: param.map(str::to_owned), message: message.into() }
}

impl From<Fault> for InvalidRequest {
    fn from(fault: Fault) -> Self {
        invalid(None, format!("the body is not JSON: {fault}"))
    }
}

pub(in crate::dialects) fn string<'a>(
    cursor: &mut Cursor<'a>,
    kind: Kind,
    param: &str,
) -> Result<Text<'a>, InvalidRequest> {
    if kind != Kind::String {
        return Err(invalid(Some(param), format!("`{param}` must be a string")));
    }
    Ok(cursor.string()?)
}
