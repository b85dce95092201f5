//! One borrowed pass over a Messages body: everything that routing, accounting and splicing need to know of it.
//!
//! As for Chat Completions ([`crate::dialects::scan`], whose thread, ask and prompt key are shared): nothing is copied, only what AiPipe
//! relies on is checked, `null` means absent, and a member that is written twice is refused.

mod content;
mod settings;

use std::borrow::Cow;
use std::ops::Range;

use aipipe_actors::catalogue::{Capabilities, Capability, Effort};
use aipipe_actors::routing::digest::PromptKey;
use aipipe_actors::routing::tokens::Estimator;

use crate::dialects::conversation::Reasoning;
use crate::dialects::json::{Cursor, Key, Kind};
use crate::dialects::scan::{Ask, MAX_MEMBERS, Member, PromptHasher, Thread, invalid, string};
use crate::dialects::translate::InvalidRequest;

/// What a cache key begins with.
const SURFACE: &[&str] = &["messages"];

/// How the client wants the model to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinks {
    /// With a budget of tokens.
    Enabled,
    /// As much as the model sees fit.
    Adaptive,
    /// Not at all.
    Disabled,
    /// Not at all, what it says between calls being told as thoughts; only some models know it.
    BetweenTools,
}

/// A block of a message, as far as thoughts may have to go from among its blocks.
#[derive(Debug, Clone)]
pub(super) struct BlockSpan {
    pub(super) range: Range<usize>,
    /// The value of the signature or data, where AiPipe wrote it.
    pub(super) mark: Option<Range<usize>>,
}

/// The blocks of a message that holds thoughts which AiPipe marked.
#[derive(Debug, Clone)]
pub(super) struct MarkedMessage {
    /// The message's position.
    pub(super) index: usize,
    /// Its blocks, in order.
    pub(super) blocks: Vec<BlockSpan>,
}

/// Where in the body the things stand that may have to change on the way to a provider.
#[derive(Debug, Default)]
pub(super) struct Spans<'a> {
    /// All members, in the client's order.
    pub(super) members: Vec<Member<'a>>,
    /// Each message.
    pub(super) messages: Vec<Range<usize>>,
    /// The messages with thoughts that AiPipe marked.
    pub(super) marked: Vec<MarkedMessage>,
    /// The value of `output_config.effort`.
    pub(super) effort: Option<Range<usize>>,
    /// That member with the comma that goes with it.
    pub(super) effort_member: Vec<Range<usize>>,
}

impl<'a> Spans<'a> {
    /// The position of a member by its name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == *name)
    }

    /// A member by its name.
    pub(super) fn member(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.name == *name)
    }
}

/// What one pass over a body found.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) model: Cow<'a, str>,
    pub(super) stream: bool,
    pub(super) output_limit: Option<u64>,
    pub(super) needs: Capabilities,
    /// Parameters that change what the client gets and that some model refuses, by their Chat Completions names.
    pub(super) meaningful: Vec<&'static str>,
    /// The `aipipe` object as written.
    pub(super) preferences: Option<&'a str>,
    pub(super) thinks: Option<Thinks>,
    pub(super) budget_tokens: Option<u64>,
    pub(super) effort: Option<Effort>,
    pub(super) structured_output: bool,
    /// Functions declared, those without which the provider runs its own tools.
    pub(super) tools: u32,
    /// Whether a function must be called.
    pub(super) forces_call: bool,
    /// Types of the tools that Anthropic defines (`web_search_20250305`, `bash_20250124`).
    pub(super) hosted_tools: Vec<Cow<'a, str>>,
    /// Whether anything bears a `cache_control`.
    pub(super) marks_cache: bool,
    /// Ids of things stored at a provider.
    pub(super) stored: Vec<Cow<'a, str>>,
    pub(super) estimate: Estimator,
    pub(super) spans: Spans<'a>,
    pub(super) thread: Thread<'a>,
    /// The position of the last message in which the user asks something.
    pub(super) last_ask: usize,
    text: &'a str,
}

/// Scans a body.
pub(super) fn scan(body: &[u8]) -> Result<Scan<'_>, InvalidRequest> {
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(None, format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut cursor = Cursor::new(text);
    if cursor.kind()? != Kind::Object {
        return Err(invalid(None, "the body must be a JSON object"));
    }
    let mut scan = Scan { text, ..Scan::default() };
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        scan.member(&mut cursor, key)?;
    }
    cursor.end()?;
    scan.conclude()?;
    Ok(scan)
}

impl<'a> Scan<'a> {
    /// The body.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// What the scorer is shown of it.
    pub(super) fn ask(&self) -> Ask<'a> {
        Ask::of(&self.thread, self.tools, self.structured_output)
    }

    /// The key of all that decides the answer, the model apart.
    pub(super) fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        hasher.key(self.text, &self.spans.members, SURFACE)
    }

    /// The reasoning asked for.
    pub(super) fn reasoning(&self) -> Option<Reasoning> {
        match self.thinks {
            Some(Thinks::Disabled | Thinks::BetweenTools) => {
                Some(Reasoning { effort: Some(Effort::None), budget_tokens: None })
            }
            Some(Thinks::Enabled) => Some(Reasoning { effort: self.effort, budget_tokens: self.budget_tokens }),
            Some(Thinks::Adaptive) => Some(Reasoning { effort: self.effort, budget_tokens: None }),
            None => self.effort.map(|effort| Reasoning { effort: Some(effort), budget_tokens: None }),
        }
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
            _ if kind == Kind::Null => cursor.pass()?,
            "system" => self.system(cursor, kind)?,
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
