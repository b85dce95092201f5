//! One borrowed pass over a Responses body.

mod input;
mod references;
mod settings;

use std::ops::Range;

use aipipe_actors::ledger::IssuedHash;

use crate::dialects::conversation::Reasoning;
use crate::dialects::issued::{Stored, StoredKind};
use crate::dialects::json::{Cursor, Kind};
use crate::dialects::scan::{BodyScan, Findings, invalid, read};
use crate::dialects::translate::InvalidRequest;

use references::{is_disguised, references};

/// What is encrypted in an item, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encrypted {
    /// By AiPipe's mark: for a model that is not reached by this dialect.
    Marked,
    /// As a provider of this dialect wrote it.
    Raw(IssuedHash),
}

/// An item of the input, as far as it may have to change on its way to a provider.
#[derive(Debug, Clone)]
pub(super) struct ItemSpan {
    /// All of it.
    pub(super) range: Range<usize>,
    /// Its id, and the bytes of that member with the comma that goes with it.
    pub(super) id: Option<(IssuedHash, Vec<Range<usize>>)>,
    /// What is encrypted in it.
    pub(super) encrypted: Option<Encrypted>,
    /// Whether it is a thought that its id alone stands for.
    pub(super) is_kept_thought: bool,
}

/// Where in the body the things stand that may have to change on the way to a provider, the members apart.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// The items of the input, where it is a list.
    pub(super) items: Vec<ItemSpan>,
    /// The value of `reasoning.effort`.
    pub(super) effort: Option<Range<usize>>,
}

/// What one pass over a body found.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) found: Findings<'a>,
    pub(super) reasoning: Option<Reasoning>,
    /// What a provider keeps and the request cannot do without, files and the like apart.
    pub(super) stored: Vec<Stored>,
    pub(super) spans: Spans,
}

/// Scans a body.
///
/// # Errors
/// [`InvalidRequest`] where the body is not JSON in UTF-8 or breaks a rule that AiPipe relies on; `param` names the field.
pub(super) fn scan(body: &[u8]) -> Result<Scan<'_>, InvalidRequest> {
    let mut scan = Scan::default();
    read(body, &mut scan)?;
    scan.found.require_model()?;
    // A model begins anew after a message of its own: this dialect has no prefill.
    scan.found.thread.ends_with_assistant = false;
    if scan.found.thread.messages == 0 && !scan.goes_on() {
        return Err(invalid(Some("input"), "`input` is required: a text, or an array of at least one item"));
    }
    if scan.found.tools > 0 || scan.found.thread.has_tool_history {
        scan.found.need(aipipe_actors::catalogue::Capability::Tools);
    }
    Ok(scan)
}

impl Scan<'_> {
    /// Whether the request goes on from something that a provider keeps.
    fn goes_on(&self) -> bool {
        ["previous_response_id", "conversation", "prompt"].iter().any(|name| self.found.members.get(name).is_some())
    }

    /// What is encrypted and what ids items have, for the providers that issued them.
    pub(super) fn mentioned(&self) -> Vec<IssuedHash> {
        /// The last of so many are looked up: no real conversation has more, and each costs a read.
        const MOST: usize = 4_096;
        let all = self.spans.items.iter().rev().flat_map(|item| {
            let encrypted = match item.encrypted {
                Some(Encrypted::Raw(hash)) => Some(hash),
                Some(Encrypted::Marked) | None => None,
            };
            encrypted.into_iter().chain(item.id.as_ref().map(|(hash, _)| *hash))
        });
        all.take(MOST).collect()
    }

    fn store(&mut self, id: &str, kind: StoredKind) {
        self.stored.push(Stored { id: id.to_owned(), kind });
    }
}

fn disguised(name: &str) -> InvalidRequest {
    invalid(Some(name), format!("`{name}` must be written in small letters"))
}

impl<'a> BodyScan<'a> for Scan<'a> {
    fn findings(&mut self) -> &mut Findings<'a> {
        &mut self.found
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest> {
        match name {
            name if is_disguised(name) => Err(disguised(name)),
            "input" => self.input(cursor, kind),
            name => self.setting(cursor, kind, name),
        }
    }
}
