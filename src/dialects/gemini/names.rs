//! Function names that Gemini takes, and the way back to the client's own.
//!
//! Gemini wants a letter or `_` first and at most 64 of `a-z A-Z 0-9 _ . : -`; MCP servers name their tools otherwise. A name that does
//! not fit is rewritten in the request and its history alike and restored in the answer. The rewritten name depends on the name alone,
//! so that a provider's prompt cache holds from turn to turn. Source: `FunctionDeclaration.name`,
//! <https://ai.google.dev/api/caching#FunctionDeclaration>.

use std::borrow::Cow;

use crate::dialects::conversation::{Conversation, Part, ToolChoice};
use crate::dialects::translate::{Renamed, Undo};

const LONGEST: usize = 64;

/// The names of one request that had to be changed; most requests have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolNames {
    /// (the client's, the provider's).
    changed: Vec<(String, String)>,
}

impl ToolNames {
    /// Finds every name in the conversation that Gemini would refuse.
    pub fn new(conversation: &Conversation) -> Self {
        let mut names = Self::default();
        for tool in &conversation.tools {
            names.add(&tool.name);
        }
        match &conversation.tool_choice {
            ToolChoice::Named(name) => names.add(name),
            ToolChoice::Allowed { names: allowed, .. } => allowed.iter().for_each(|name| names.add(name)),
            ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => {}
        }
        for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
            match part {
                Part::ToolCall(call) => names.add(&call.name),
                Part::ToolResult(result) => names.add(&result.name),
                _ => {}
            }
        }
        names
    }

    /// The names that a request was written with, from what its answer needs undone.
    pub(super) fn from_undo(undo: Undo) -> Self {
        Self { changed: undo.renamed.into_iter().map(|name| (name.original, name.sent)).collect() }
    }

    /// What must be undone in the answer.
    pub(super) fn undo(&self) -> Undo {
        let renamed = |(own, wire): &(String, String)| Renamed { sent: wire.clone(), original: own.clone() };
        Undo { renamed: self.changed.iter().map(renamed).collect(), answer_tool: None }
    }

    /// The provider's name for the client's.
    pub(super) fn wire<'a>(&'a self, own: &'a str) -> &'a str {
        self.changed.iter().find(|(name, _)| name == own).map_or(own, |(_, wire)| wire)
    }

    /// The client's name for the provider's.
    pub(super) fn own<'a>(&'a self, wire: &'a str) -> &'a str {
        self.changed.iter().find(|(_, name)| name == wire).map_or(wire, |(own, _)| own)
    }

    fn add(&mut self, name: &str) {
        if let Cow::Owned(wire) = fitted(name)
            && !self.changed.iter().any(|(own, _)| own == name)
        {
            self.changed.push((name.to_owned(), wire));
        }
    }
}

fn fitted(name: &str) -> Cow<'_, str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let begins = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins(name) && name.len() <= LONGEST && name.chars().all(allowed) {
        return Cow::Borrowed(name);
    }
    // The checksum keeps names apart that differ only in what is replaced or cut off.
    let tail = format!("_{:08x}", crc32fast::hash(name.as_bytes()));
    let mut wire = String::with_capacity(LONGEST);
    if !begins(name) {
        wire.push('_');
    }
    wire.extend(name.chars().map(|c| if allowed(c) { c } else { '_' }).take(LONGEST - tail.len() - wire.len()));
    wire.push_str(&tail);
    Cow::Owned(wire)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::dialects::conversation::Tool;

    fn names(of: &[&str]) -> ToolNames {
        let tool = |name: &&str| Tool { name: (*name).to_owned(), description: None, schema: None, strict: None };
        ToolNames::new(&Conversation { tools: of.iter().map(tool).collect(), ..Conversation::default() })
    }

    #[test]
    fn d22_names_that_fit_stay() {
        let fits = ["get_weather", "_x", "mcp.server:tool-1"];
        assert_eq!(names(&fits), ToolNames::default());
    }

    #[test]
    fn d22_names_that_do_not_fit_come_back() {
        let long = "a".repeat(80);
        let own = ["1st", "mcp/tool", "mcp tool", "größe", long.as_str(), ""];
        let names = names(&own);
        for name in own {
            let wire = names.wire(name).to_owned();
            assert!(wire.len() <= LONGEST, "{wire}");
            assert!(matches!(fitted(&wire), Cow::Borrowed(_)), "{wire}");
            assert_eq!(names.own(&wire), name);
        }
        assert_ne!(names.wire("mcp/tool"), names.wire("mcp tool"));
    }
}
