//! Who said what in a conversation, as far as scoring and routing need to know: the same for every client's dialect.

use super::Transcript;
use crate::dialects::json::Text;

/// The texts of one message of the user.
#[derive(Debug, Default)]
pub(in crate::dialects) struct Said<'a> {
    pub(super) first: Text<'a>,
    pub(super) more: Vec<Text<'a>>,
}

impl<'a> Said<'a> {
    /// Adds one text.
    pub(in crate::dialects) fn add(&mut self, text: Text<'a>) {
        if self.first.is_empty() {
            self.first = text;
        } else if !text.is_empty() {
            self.more.push(text);
        }
    }

    /// The texts as they stand in the body.
    pub(in crate::dialects) fn raw(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(self.first).chain(self.more.iter().copied()).map(|text| text.raw())
    }

    /// Whether nothing was said.
    pub(in crate::dialects) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// What the messages come to.
#[derive(Debug, Default)]
pub(in crate::dialects) struct Thread<'a> {
    /// Messages of every kind.
    pub(in crate::dialects) messages: u32,
    /// The user's last three messages, the latest first.
    pub(super) said: [Said<'a>; 3],
    pub(super) user_turns: u32,
    pub(super) assistant_turns: u32,
    pub(super) tool_results_since_ask: u32,
    /// Images, documents and audio in the user's last message.
    pub(super) attachments: u32,
    /// Whether the model is to continue a message of its own.
    pub(in crate::dialects) ends_with_assistant: bool,
    /// Whether it holds calls or results of functions.
    pub(in crate::dialects) has_tool_history: bool,
    /// What tells the conversation from others.
    pub(in crate::dialects) transcript: Transcript,
}

impl<'a> Thread<'a> {
    /// The user said something.
    pub(in crate::dialects) fn user(&mut self, said: Said<'a>, attachments: u32) {
        self.ends_with_assistant = false;
        self.transcript.ask(said.raw());
        self.user_turns += 1;
        self.tool_results_since_ask = 0;
        self.attachments = attachments;
        self.said.rotate_right(1);
        let [latest, ..] = &mut self.said;
        *latest = said;
    }

    /// The model answered; its calls are told by [`Transcript::call`].
    pub(in crate::dialects) fn assistant(&mut self, said: &Said<'a>) {
        self.transcript.answer(said.raw());
        self.ends_with_assistant = true;
        self.assistant_turns += 1;
    }

    /// A function gave its result; whether it failed, where the dialect has a field for that.
    pub(in crate::dialects) fn result<'b>(&mut self, texts: impl IntoIterator<Item = &'b str>, is_error: Option<bool>) {
        self.ends_with_assistant = false;
        self.has_tool_history = true;
        self.tool_results_since_ask += 1;
        self.transcript.result(texts, is_error);
    }

    /// An instruction in the conversation.
    pub(in crate::dialects) fn instruction(&mut self, said: &Said<'a>) {
        self.ends_with_assistant = false;
        self.transcript.remark(said.raw());
    }
}
