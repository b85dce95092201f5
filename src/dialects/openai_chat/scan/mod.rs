//! One borrowed pass over a chat-completions body.

mod content;
mod settings;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::dialects::conversation::Reasoning;
use crate::dialects::json::{Cursor, Kind, Text};
use crate::dialects::scan::{BodyScan, Findings, read};
use crate::dialects::translate::InvalidRequest;

/// The `reasoning_details` of a message: thoughts of an earlier answer that a client sends back.
#[derive(Debug, Clone)]
pub struct DetailsSpan<'a> {
    /// The member with the comma that goes with it.
    pub range: Range<usize>,
    /// The `provider/model` that AiPipe wrote into them; `None` where they came from a provider as they are.
    pub origin: Option<Text<'a>>,
}

/// Where in the body the things stand that may have to change on the way to a provider, the members apart.
#[derive(Debug, Default)]
pub struct Spans<'a> {
    /// The value of `stream_options.include_usage`.
    pub include_usage: Option<Range<usize>>,
    /// Each value of `role` that is `"developer"`.
    pub developer_roles: Vec<Range<usize>>,
    /// Each `reasoning_details` of a message.
    pub reasoning_details: Vec<DetailsSpan<'a>>,
    /// The `name` of each earlier answer that has letters which OpenAI refuses, its quotes included.
    pub odd_names: Vec<Range<usize>>,
}

/// Letters that OpenAI refuses in the name of who speaks (`^[^\s<|\\/>]+$`).
pub(super) fn is_odd(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '<' | '|' | '\\' | '/' | '>')
}

/// What one pass over a body found.
#[derive(Debug, Default)]
pub struct Scan<'a> {
    /// What is found in every dialect; the output limit is `max_completion_tokens`, which wins, or `max_tokens`.
    pub found: Findings<'a>,
    /// Whether the client asked for usage within the stream (`stream_options.include_usage`, or OpenRouter's `usage.include`).
    pub include_usage: bool,
    /// Choices asked for.
    pub choices: u32,
    /// Names of the tools that take a text: their calls have a shape of their own.
    pub custom_tools: Vec<Text<'a>>,
    /// The reasoning asked for.
    pub reasoning: Option<Reasoning>,
    /// Positions for splicing.
    pub spans: Spans<'a>,
}

/// Scans a body.
///
/// # Errors
/// [`InvalidRequest`] where the body is not JSON in UTF-8 or breaks a rule that AiPipe relies on; `param` names the field.
pub fn scan(body: &[u8]) -> Result<Scan<'_>, InvalidRequest> {
    let mut scan = Scan { choices: 1, ..Scan::default() };
    read(body, &mut scan)?;
    scan.found.require_model()?;
    scan.found.conclude_thread("messages")?;
    Ok(scan)
}

impl<'a> BodyScan<'a> for Scan<'a> {
    fn findings(&mut self) -> &mut Findings<'a> {
        &mut self.found
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "messages" => self.messages(cursor, kind),
            name => self.setting(cursor, kind, name),
        }
    }
}
