//! What the scorer is shown: the user's last words, unescaped and bounded.

use std::borrow::Cow;
use std::ops::Range;

use aipipe_actors::routing::ask::AskView;

use super::thread::{Said, Thread};
use crate::dialects::json::Text;

/// Of a longer text only its head and its tail are shown, so much of each: what is asked stands at one of its ends.
const SHOWN_BYTES: usize = 16 * 1024;

/// The texts that an [`AskView`] borrows from.
#[derive(Debug)]
pub struct Ask<'a> {
    current: Cow<'a, str>,
    earlier: [Cow<'a, str>; 2],
    counts: AskView<'static>,
}

impl Ask<'_> {
    /// The view for the scorer.
    pub fn view(&self) -> AskView<'_> {
        let [nearer, farther] = &self.earlier;
        AskView { current: &self.current, earlier: [nearer, farther], ..self.counts }
    }
}

impl<'a> Ask<'a> {
    /// What the scorer is shown of a conversation in which so many functions are declared.
    pub(in crate::dialects) fn of(thread: &Thread<'a>, tools: u32, structured_output: bool) -> Self {
        let [current, nearer, farther] = &thread.said;
        Self {
            current: shown(current),
            earlier: [shown(nearer), shown(farther)],
            counts: AskView {
                user_turns: thread.user_turns,
                assistant_turns: thread.assistant_turns,
                tool_results_since_ask: thread.tool_results_since_ask,
                tools,
                structured_output,
                attachments: thread.attachments,
                ..AskView::default()
            },
        }
    }
}

/// One message's texts as one: borrowed where there is a single short one without escapes.
fn shown<'a>(said: &Said<'a>) -> Cow<'a, str> {
    if said.more.is_empty() && said.first.raw().len() <= 2 * SHOWN_BYTES {
        return said.first.decode();
    }
    let mut parts: Vec<Text<'a>> = std::iter::once(said.first).chain(said.more.iter().copied()).collect();
    let total: usize = parts.iter().map(|part| part.raw().len()).sum();
    let mut out = String::with_capacity(total.min(2 * SHOWN_BYTES) + parts.len());
    if total <= 2 * SHOWN_BYTES {
        append(&mut out, &parts);
        return Cow::Owned(out);
    }
    let head = take(&parts, SHOWN_BYTES, |part, bytes| uncut(part, 0..bytes));
    append(&mut out, &head);
    parts.reverse();
    let mut tail = take(&parts, SHOWN_BYTES, |part, bytes| {
        let length = part.raw().len();
        uncut(part, length - bytes..length)
    });
    tail.reverse();
    append(&mut out, &tail);
    Cow::Owned(out)
}

/// Parts from the front that together hold so many bytes, the last of them cut to fit.
fn take<'a>(parts: &[Text<'a>], bytes: usize, cut: impl Fn(Text<'a>, usize) -> Text<'a>) -> Vec<Text<'a>> {
    let mut left = bytes;
    let mut taken = Vec::new();
    for &part in parts {
        let length = part.raw().len().min(left);
        if length == 0 {
            break;
        }
        taken.push(if length < part.raw().len() { cut(part, length) } else { part });
        left -= length;
    }
    taken
}

fn append(out: &mut String, parts: &[Text<'_>]) {
    for part in parts {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&part.decode());
    }
}

/// The part of a text that lies between two offsets, moved so that neither a character nor an escape is cut.
fn uncut<'a>(text: Text<'a>, range: Range<usize>) -> Text<'a> {
    let raw = text.raw();
    let safe = |mut at: usize| {
        while at < raw.len() && !raw.is_char_boundary(at) {
            at += 1;
        }
        let backslashes =
            raw.as_bytes().get(..at).unwrap_or_default().iter().rev().take_while(|&&b| b == b'\\').count();
        if backslashes % 2 == 1 { at.saturating_sub(1) } else { at }
    };
    text.part(safe(range.start)..safe(range.end))
}
