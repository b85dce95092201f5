//! Whether an answer has the form that its request asked for: JSON where it must follow a schema, and JSON in the arguments of calls.
//!
//! Only answers to requests that ask for either are watched. What is watched is kept until the answer's end, up to a bound; nothing here
//! is ever written down.

use aipipe_actors::routing::signals::Measure;

use super::client::Facts;
use super::conversation::Event;
use super::json::Cursor;

/// Bytes that are kept of one answer; of a longer one nothing is said.
const MOST_BYTES: usize = 256 << 10;

/// One piece of an answer that should be JSON as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// The text of this choice.
    Text(u64),
    /// The arguments of this call of this choice.
    Arguments(u64, u64),
}

/// What should be JSON in one answer.
#[derive(Debug, Default)]
pub struct Form {
    /// Whether the text must be JSON.
    structured: bool,
    /// Whether functions may be called.
    calls: bool,
    pieces: Vec<(Piece, String)>,
    bytes: usize,
    refused: bool,
}

impl Form {
    /// What a request asks for.
    pub fn of(facts: &Facts) -> Self {
        let any = |measure| facts.demand.features.get(measure) > 0;
        Self { structured: any(Measure::Structured), calls: any(Measure::Tools), ..Self::default() }
    }

    /// Whether there is anything to watch.
    pub fn is_watching(&self) -> bool {
        (self.structured || self.calls) && self.bytes <= MOST_BYTES
    }

    /// More of a piece.
    pub(super) fn add(&mut self, piece: Piece, text: &str) {
        let wanted = match piece {
            Piece::Text(_) => self.structured,
            Piece::Arguments(..) => self.calls,
        };
        if !wanted || !self.is_watching() {
            return;
        }
        self.bytes += text.len();
        match self.pieces.iter_mut().find(|(known, _)| *known == piece) {
            Some((_, known)) => known.push_str(text),
            None => {
                self.bytes += size_of::<(Piece, String)>();
                self.pieces.push((piece, text.to_owned()));
            }
        }
    }

    /// The model says that it will not: that is no matter of form.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// A step of a canonical stream.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Text(text) => self.add(Piece::Text(0), text),
            Event::ToolArguments { index, delta } => self.add(Piece::Arguments(0, u64::from(*index)), delta),
            Event::Refusal(_) => self.refuse(),
            _ => {}
        }
    }

    /// Whether the model refused in words.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether something that should be JSON is not.
    pub fn is_malformed(&self) -> bool {
        if !self.is_watching() || self.refused {
            return false;
        }
        let is_missing = self.structured && self.pieces.iter().all(|(_, text)| text.trim().is_empty());
        // A call without arguments may have none at all.
        let broken = |(piece, text): &(Piece, String)| match piece {
            Piece::Text(_) => !is_json(text) && !self.has_calls(),
            Piece::Arguments(..) => !text.trim().is_empty() && !is_json(text),
        };
        (is_missing && !self.has_calls()) || self.pieces.iter().any(broken)
    }

    /// A model that calls functions may say whatever it likes beside them.
    fn has_calls(&self) -> bool {
        self.pieces.iter().any(|(piece, _)| matches!(piece, Piece::Arguments(..)))
    }
}

fn is_json(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.pass().and_then(|()| cursor.end()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(structured: bool, calls: bool, pieces: &[(Piece, &str)]) -> Form {
        let mut form = Form { structured, calls, ..Form::default() };
        pieces.iter().for_each(|(piece, text)| form.add(*piece, text));
        form
    }

    #[test]
    fn what_should_be_json_is_judged_as_a_whole() {
        let (text, first, second) = (Piece::Text(0), Piece::Arguments(0, 0), Piece::Arguments(0, 1));
        for (structured, calls, pieces, malformed) in [
            (true, false, &[(text, "{\"a\""), (text, ": 1}")][..], false),
            (true, false, &[(text, "```json\n{}\n```")], true),
            (true, false, &[(text, "{\"a\": ")], true),
            (true, false, &[], true),
            (false, false, &[(text, "prose")], false),
            (false, true, &[(text, "prose"), (first, "{\"a\":"), (second, "{}"), (first, "1}")], false),
            (false, true, &[(first, "{}"), (second, "{a: 1}")], true),
            (false, true, &[(first, "")], false),
            (true, true, &[(text, "I shall look."), (first, "{}")], false),
        ] {
            assert_eq!(form(structured, calls, pieces).is_malformed(), malformed, "{structured} {calls} {pieces:?}");
        }
    }

    #[test]
    fn of_what_is_refused_or_too_long_nothing_is_said() {
        let mut refused = form(true, false, &[(Piece::Text(0), "no")]);
        refused.refuse();
        assert!(refused.is_refused() && !refused.is_malformed());
        let long = "x".repeat(MOST_BYTES + 1);
        let long = form(true, false, &[(Piece::Text(0), &long), (Piece::Text(0), "x")]);
        assert!(!long.is_malformed() && long.pieces[0].1.len() == MOST_BYTES + 1);
    }
}
