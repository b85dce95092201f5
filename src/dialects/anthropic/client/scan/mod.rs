//! One borrowed pass over a Messages body.

mod content;
mod settings;

use std::ops::Range;

use aipipe_actors::catalogue::{Capability, Effort};

use crate::dialects::conversation::Reasoning;
use crate::dialects::json::{Cursor, Kind};
use crate::dialects::scan::{BodyScan, Findings, read};
use crate::dialects::translate::InvalidRequest;

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
pub(super) struct Spans {
    /// Each message.
    pub(super) messages: Vec<Range<usize>>,
    /// The messages with thoughts that AiPipe marked.
    pub(super) marked: Vec<MarkedMessage>,
    /// The value of `output_config.effort`.
    pub(super) effort: Option<Range<usize>>,
    /// That member with the comma that goes with it.
    pub(super) effort_member: Vec<Range<usize>>,
}

/// What one pass over a body found.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    /// What is found in every dialect; the parameters by their Chat Completions names.
    pub(super) found: Findings<'a>,
    pub(super) thinks: Option<Thinks>,
    pub(super) budget_tokens: Option<u64>,
    pub(super) effort: Option<Effort>,
    /// Whether a function must be called.
    pub(super) forces_call: bool,
    /// Whether anything bears a `cache_control`.
    pub(super) marks_cache: bool,
    pub(super) spans: Spans,
    /// The position of the last message in which the user asks something.
    pub(super) last_ask: usize,
}

/// Scans a body.
pub(super) fn scan(body: &[u8]) -> Result<Scan<'_>, InvalidRequest> {
    let mut scan = Scan::default();
    read(body, &mut scan)?;
    scan.found.require_model()?;
    scan.found.conclude_thread("messages")?;
    // Here the last answer is to be continued; in the other dialects a new one begins after it, which any model can do.
    if scan.found.thread.ends_with_assistant {
        scan.found.need(Capability::Prefill);
    }
    Ok(scan)
}

impl Scan<'_> {
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
}

impl<'a> BodyScan<'a> for Scan<'a> {
    fn findings(&mut self) -> &mut Findings<'a> {
        &mut self.found
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            "messages" => self.messages(cursor, kind),
            "system" => self.system(cursor, kind),
            name => self.setting(cursor, kind, name),
        }
    }
}
