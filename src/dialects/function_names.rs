//! Function names that a provider takes, and the way back to the client's own.
//!
//! Providers differ in the length and the letters of names, and MCP servers name their tools as they like. A name that does not fit is
//! rewritten in the request and its history alike and restored in the answer. The rewritten name depends on the name alone, so that a
//! provider's prompt cache holds from turn to turn.

use std::borrow::Cow;

use super::conversation::{Conversation, Part, ToolChoice};
use super::translate::{Renamed, Undo};

/// What a provider asks of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameRule {
    /// Most letters.
    pub(super) longest: usize,
    /// Letters allowed beside those of ASCII and its digits.
    pub(super) punctuation: &'static [char],
    /// Whether it must begin with a letter or `_`.
    pub(super) letter_first: bool,
}

impl NameRule {
    fn allows(&self, letter: char) -> bool {
        letter.is_ascii_alphanumeric() || self.punctuation.contains(&letter)
    }

    fn may_begin(&self, name: &str) -> bool {
        !self.letter_first || name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
    }

    /// The name, rewritten where the rule asks for it.
    fn fitted<'n>(&self, name: &'n str) -> Cow<'n, str> {
        let fits = !name.is_empty() && name.len() <= self.longest && name.chars().all(|letter| self.allows(letter));
        if fits && self.may_begin(name) {
            return Cow::Borrowed(name);
        }
        // The checksum keeps names apart that differ only in what is replaced or cut off.
        let tail = format!("_{:08x}", crc32fast::hash(name.as_bytes()));
        let mut sent = String::with_capacity(self.longest);
        if !self.may_begin(name) {
            sent.push('_');
        }
        let room = self.longest.saturating_sub(tail.len() + sent.len());
        sent.extend(name.chars().map(|letter| if self.allows(letter) { letter } else { '_' }).take(room));
        sent.push_str(&tail);
        Cow::Owned(sent)
    }
}

/// The names of one request that had to be changed; most requests have none.
#[derive(Debug, Default)]
pub(super) struct FunctionNames(Vec<Renamed>);

impl FunctionNames {
    /// Finds every name in the conversation that the rule refuses.
    pub(super) fn of(conversation: &Conversation, rule: &NameRule) -> Self {
        let mut names = Self::default();
        for name in all(conversation) {
            if let Cow::Owned(sent) = rule.fitted(name)
                && !names.0.iter().any(|known| known.original == name)
            {
                names.0.push(Renamed { sent, original: name.to_owned() });
            }
        }
        names
    }

    /// The provider's name for the client's.
    pub(super) fn sent<'a>(&'a self, own: &'a str) -> &'a str {
        self.0.iter().find(|name| name.original == own).map_or(own, |name| &name.sent)
    }

    /// What must be undone in the answer.
    pub(super) fn into_undo(self) -> Undo {
        Undo { renamed: self.0, answer_tool: None }
    }
}

/// Every name of a function in a conversation.
pub(super) fn all(conversation: &Conversation) -> impl Iterator<Item = &str> {
    let declared = conversation.tools.iter().map(|tool| tool.name.as_str());
    let chosen: &[String] = match &conversation.tool_choice {
        ToolChoice::Named(name) => std::slice::from_ref(name),
        ToolChoice::Allowed { names, .. } => names,
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => &[],
    };
    let results = parts(conversation).filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.name.as_str()),
        _ => None,
    });
    declared.chain(chosen.iter().map(String::as_str)).chain(called(conversation)).chain(results)
}

/// The names of the functions that were called.
pub(super) fn called(conversation: &Conversation) -> impl Iterator<Item = &str> {
    parts(conversation).filter_map(|part| match part {
        Part::ToolCall(call) => Some(call.name.as_str()),
        _ => None,
    })
}

fn parts(conversation: &Conversation) -> impl Iterator<Item = &Part> {
    conversation.turns.iter().flat_map(|turn| &turn.parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::dialects::conversation::Tool;

    const RULES: [NameRule; 2] = [
        NameRule { longest: 64, punctuation: &['_', '-'], letter_first: false },
        NameRule { longest: 64, punctuation: &['_', '.', ':', '-'], letter_first: true },
    ];

    fn conversation(names: &[&str]) -> Conversation {
        let tool = |name: &&str| Tool { name: (*name).to_owned(), description: None, schema: None, strict: None };
        Conversation { tools: names.iter().map(tool).collect(), ..Conversation::default() }
    }

    #[test]
    fn d22_names_that_fit_stay() {
        for (rule, fits) in RULES.iter().zip([["get_weather", "1-x"], ["_x", "mcp.server:tool-1"]]) {
            assert!(FunctionNames::of(&conversation(&fits), rule).0.is_empty(), "{rule:?}");
        }
    }

    #[test]
    fn d22_names_that_do_not_fit_come_back() {
        let long = "a".repeat(80);
        let own = ["1 st", "mcp/tool", "mcp tool", "größe", long.as_str(), ""];
        for rule in RULES {
            let names = FunctionNames::of(&conversation(&own), &rule);
            let sent = own.map(|name| names.sent(name).to_owned());
            assert_ne!(sent[1], sent[2]);
            let undo = names.into_undo();
            for (sent, own) in sent.iter().zip(own) {
                assert!(sent.len() <= rule.longest && matches!(rule.fitted(sent), Cow::Borrowed(_)), "{sent}");
                assert_eq!(undo.original_name(sent), own);
            }
        }
    }
}
