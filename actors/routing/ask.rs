//! What the scorer is shown of a conversation: slices of its text and counts, borrowed from the request's body.

/// A view of a conversation for scoring. Text is the human's own: system prompts, tool schemas and tool results are only counted.
#[derive(Debug, Default, Clone, Copy)]
pub struct AskView<'a> {
    /// The last thing that the user said.
    pub current: &'a str,
    /// The user's two turns before that, the nearer one first; empty where there are none.
    pub earlier: [&'a str; 2],
    /// User turns in the whole conversation.
    pub user_turns: u32,
    /// Assistant turns in the whole conversation.
    pub assistant_turns: u32,
    /// Tool results after the last user turn: how deep the current tool loop is.
    pub tool_results_since_ask: u32,
    /// Tools declared.
    pub tools: u32,
    /// Whether the answer must follow a schema.
    pub structured_output: bool,
    /// Images, documents and audio beside the current text.
    pub attachments: u32,
}
