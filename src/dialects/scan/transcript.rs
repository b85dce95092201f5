//! What tells a conversation from others and its turns apart, without its texts: running hashes of what was said, and what the model's
//! latest calls came to. The same for every client's dialect.

use std::hash::Hasher;
use std::mem;

use aipipe_actors::routing::conversation::Stuck;
use siphasher::sip128::{Hasher128, SipHasher13};

/// What a conversation is known by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Of all that was said before the model spoke first.
    pub opening: u128,
    /// Of all that was said before the model spoke last: of all that the request before this one held. `None`: it has not spoken.
    pub before_answer: Option<u128>,
    /// Of all that was said.
    pub whole: u128,
    /// Whether the history ends in the results of calls.
    pub in_tool_loop: bool,
    /// Whether the agent makes no headway.
    pub stuck: Option<Stuck>,
}

/// Follows a history from its first message to its last.
#[derive(Debug, Default)]
pub(in crate::dialects) struct Transcript {
    /// Instructions that stand outside the history, before or behind it in the body.
    instructions: SipHasher13,
    said: SipHasher13,
    before_first: Option<u128>,
    before_last: Option<u128>,
    /// Whether the latest message is the model's: what follows from it belongs to the same turn.
    answering: bool,
    in_tool_loop: bool,
    /// Of the calls in the model's latest turn.
    calls: SipHasher13,
    has_called: bool,
    /// Of the calls in the turn before, and how many turns in a row had the same.
    called: Option<u64>,
    repeats: u32,
    /// Results in a row that are errors.
    failures: u32,
}

/// Who speaks: hashed with what is said, so that words of one are not taken for another's.
#[derive(Debug, Clone, Copy)]
enum Speaker {
    Client = 1,
    Model,
    Tool,
}

impl Transcript {
    /// An instruction outside the history.
    pub(in crate::dialects) fn instruct(&mut self, text: &str) {
        feed(&mut self.instructions, Speaker::Client, text);
    }

    /// An instruction in the history: it closes no tool loop.
    pub(in crate::dialects) fn remark<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        self.listen();
        self.say(Speaker::Client, texts);
    }

    /// The user's words.
    pub(in crate::dialects) fn ask<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        self.listen();
        (self.in_tool_loop, self.called, self.repeats, self.failures) = (false, None, 0, 0);
        self.say(Speaker::Client, texts);
    }

    /// The model's words.
    pub(in crate::dialects) fn answer<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        if !mem::replace(&mut self.answering, true) {
            let before = self.said.finish128().as_u128();
            self.before_first.get_or_insert(before);
            self.before_last = Some(before);
            self.calls = SipHasher13::default();
            self.has_called = false;
        }
        self.in_tool_loop = false;
        self.say(Speaker::Model, texts);
    }

    /// A call of the model's: the function's name and its arguments, without anything that differs from call to call.
    pub(in crate::dialects) fn call<'a>(&mut self, call: impl IntoIterator<Item = &'a str>) {
        self.answer([]);
        for part in call {
            feed(&mut self.calls, Speaker::Model, part);
        }
        self.has_called = true;
    }

    /// A call's result; whether it is an error, where the dialect has a field for that.
    pub(in crate::dialects) fn result<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>, is_error: Option<bool>) {
        self.listen();
        self.in_tool_loop = true;
        let mut texts = texts.into_iter().peekable();
        let fails = is_error.unwrap_or_else(|| texts.peek().is_some_and(|text| tells_error(text)));
        self.failures = if fails { self.failures + 1 } else { 0 };
        self.say(Speaker::Tool, texts);
    }

    /// The user's latest words came together with results: the model still works on what it called for.
    pub(in crate::dialects) fn reopen_tool_loop(&mut self) {
        self.in_tool_loop = true;
    }

    /// What came of it.
    pub(in crate::dialects) fn trace(&self) -> Trace {
        let mut instructions = self.instructions;
        instructions.write_u8(0);
        let with_instructions = |said: u128| {
            let mut both = instructions;
            both.write_u128(said);
            both.finish128().as_u128()
        };
        let whole = self.said.finish128().as_u128();
        let stuck = match self {
            _ if !self.in_tool_loop => None,
            Self { repeats, .. } if *repeats >= Stuck::TIMES => Some(Stuck::RepeatedCalls),
            Self { failures, .. } if *failures >= Stuck::TIMES => Some(Stuck::FailedCalls),
            _ => None,
        };
        Trace {
            opening: with_instructions(self.before_first.unwrap_or(whole)),
            before_answer: self.before_last.map(with_instructions),
            whole: with_instructions(whole),
            in_tool_loop: self.in_tool_loop,
            stuck,
        }
    }

    /// The model's turn is over: its calls are compared with those of the turn before.
    fn listen(&mut self) {
        if !mem::replace(&mut self.answering, false) || !self.has_called {
            return;
        }
        let calls = self.calls.finish();
        self.repeats = if self.called == Some(calls) { self.repeats + 1 } else { 1 };
        self.called = Some(calls);
    }

    fn say<'a>(&mut self, speaker: Speaker, texts: impl IntoIterator<Item = &'a str>) {
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            feed(&mut self.said, speaker, text);
        }
    }
}

fn feed(hasher: &mut SipHasher13, speaker: Speaker, text: &str) {
    hasher.write_u8(speaker as u8);
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}

/// Whether a result, as it stands in the body, says that the call failed, in a dialect that has no field for it: it begins with `error`,
/// or is an object that begins with an `error` other than null and false.
fn tells_error(text: &str) -> bool {
    const MARKS: [char; 6] = ['{', '"', '\\', ' ', ':', '['];
    let text = text.trim_start_matches(MARKS);
    let Some((head, rest)) = text.split_at_checked(5) else { return false };
    let rest_of_word = |next: char| next.is_alphanumeric() || next == '_';
    if !head.eq_ignore_ascii_case("error") || rest.starts_with(rest_of_word) {
        return false;
    }
    let value = rest.trim_start_matches(MARKS);
    !value.starts_with("null") && !value.starts_with("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tool loop with these calls and results after the same ask.
    fn looped(steps: &[(&str, &str)]) -> Transcript {
        let mut transcript = Transcript::default();
        transcript.instruct("system");
        transcript.ask(["Mend it."]);
        for (call, result) in steps {
            transcript.answer(["I see."]);
            transcript.call([*call, "{}"]);
            transcript.result([*result], None);
        }
        transcript
    }

    #[test]
    fn each_turn_names_the_turn_before() {
        let (first, second) = (looped(&[]).trace(), looped(&[("read", "text")]).trace());
        let third = looped(&[("read", "text"), ("write", "done")]).trace();
        assert_eq!((first.opening, first.before_answer, first.in_tool_loop), (first.whole, None, false));
        assert_eq!((second.opening, second.before_answer, second.in_tool_loop), (first.whole, Some(first.whole), true));
        assert_eq!((third.opening, third.before_answer), (first.whole, Some(second.whole)));
        let mut other = looped(&[]);
        other.instruct("more");
        assert_ne!(other.trace().whole, first.whole);
    }

    #[test]
    fn instructions_count_wherever_they_stand() {
        let (mut before, mut behind) = (Transcript::default(), Transcript::default());
        before.instruct("system");
        before.ask(["Hi"]);
        behind.ask(["Hi"]);
        behind.instruct("system");
        assert_eq!(before.trace(), behind.trace());
    }

    #[test]
    fn the_same_calls_three_times_in_a_row_or_three_errors_are_no_headway() {
        let stuck = |steps: &[(&str, &str)]| looped(steps).trace().stuck;
        assert_eq!(stuck(&[("a", "1"), ("a", "2")]), None);
        assert_eq!(stuck(&[("a", "1"), ("a", "2"), ("a", "3")]), Some(Stuck::RepeatedCalls));
        assert_eq!(stuck(&[("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]), None);
        let failing = [("a", "Error: no"), ("b", "{\\\"error\\\": \\\"no\\\"}"), ("c", "error")];
        assert_eq!(stuck(&failing), Some(Stuck::FailedCalls));
        assert_eq!(stuck(&[("a", "Error: no"), ("b", "fine"), ("c", "error")]), None);
        let mut asked_again = looped(&failing);
        asked_again.ask(["Try something else."]);
        assert_eq!(asked_again.trace().stuck, None);
    }

    #[test]
    fn an_error_is_told_by_its_first_word() {
        for (text, expected) in [
            ("Error: no such file", true),
            ("ERROR no such file", true),
            (r#"{"error": {"code": 4}}"#, true),
            (r#"{\"error\": \"no\"}"#, true),
            (r#"{"error": null, "value": 4}"#, false),
            (r#"{\"error\":false}"#, false),
            ("errors: 0", false),
            ("error_count = 0", false),
            ("The error was mine.", false),
            ("err", false),
            ("", false),
        ] {
            assert_eq!(tells_error(text), expected, "{text}");
        }
    }
}
