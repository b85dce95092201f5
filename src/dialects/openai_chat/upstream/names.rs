//! Function names that Chat Completions takes, and the way back to the client's own.
//!
//! OpenAI wants 1 to 64 of `a-z A-Z 0-9 _ -`; clients of other dialects name theirs with dots, colons or at greater length, above all
//! those of MCP servers. A name that does not fit is rewritten in the request and its history alike and restored in the answer. The
//! rewritten name depends on the name alone, so that a provider's prompt cache holds from turn to turn. Source: `FunctionObject.name`,
//! <https://platform.openai.com/docs/api-reference/chat/create>.

use crate::dialects::conversation::{Conversation, Part, ToolChoice};
use crate::dialects::translate::{Renamed, Undo};

const LONGEST: usize = 64;

/// The names of one request that had to be changed; most requests have none.
#[derive(Debug, Default)]
pub(super) struct Names {
    changed: Vec<Renamed>,
}

impl Names {
    /// Finds every name in the conversation that would be refused.
    pub(super) fn of(conversation: &Conversation) -> Self {
        let mut names = Self::default();
        for tool in &conversation.tools {
            names.add(&tool.name);
        }
        if let ToolChoice::Named(name) = &conversation.tool_choice {
            names.add(name);
        }
        for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
            if let Part::ToolCall(call) = part {
                names.add(&call.name);
            }
        }
        names
    }

    /// The provider's name for the client's.
    pub(super) fn sent<'a>(&'a self, own: &'a str) -> &'a str {
        self.changed.iter().find(|name| name.original == own).map_or(own, |name| &name.sent)
    }

    /// What must be undone in the answer.
    pub(super) fn undo(self) -> Undo {
        Undo { renamed: self.changed, answer_tool: None }
    }

    fn add(&mut self, own: &str) {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let fits = !own.is_empty() && own.len() <= LONGEST && own.chars().all(allowed);
        if fits || self.changed.iter().any(|name| name.original == own) {
            return;
        }
        // The checksum keeps names apart that differ only in what is replaced or cut off.
        let tail = format!("_{:08x}", crc32fast::hash(own.as_bytes()));
        let kept = own.chars().take(LONGEST - tail.len());
        let sent: String = kept.map(|letter| if allowed(letter) { letter } else { '_' }).chain(tail.chars()).collect();
        self.changed.push(Renamed { sent, original: own.to_owned() });
    }
}
