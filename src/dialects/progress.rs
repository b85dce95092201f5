//! How far a streamed answer has come, and whether another model could go on with it.

use super::conversation::Event;

/// The longest text that is kept to be continued, in bytes: about 250,000 tokens, more than any model writes in one answer.
const LONGEST: usize = 1 << 20;

/// What has passed of an answer. Only plain text can be continued: thoughts belong to their model, and half a call is nobody's.
#[derive(Debug, Default, Clone)]
pub struct Progress {
    text: String,
    place: Place,
}

/// Where the answer stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In its text, or before it.
    #[default]
    Text,
    /// In a thought; text may follow.
    Thought,
    /// Behind something that cannot be continued: a call, a refusal, media, its own end.
    Closed,
}

impl Progress {
    /// More text.
    pub fn text(&mut self, more: &str) {
        if self.place == Place::Closed {
            return;
        }
        if self.text.len().saturating_add(more.len()) > LONGEST {
            return self.close();
        }
        self.place = Place::Text;
        self.text.push_str(more);
    }

    /// A piece of a thought.
    pub fn thought(&mut self) {
        if self.place != Place::Closed {
            self.place = Place::Thought;
        }
    }

    /// Something that nobody else can go on from.
    pub fn close(&mut self) {
        self.place = Place::Closed;
        self.text = String::new();
    }

    /// An event of the canonical stream.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Text(text) => self.text(text),
            Event::Reasoning(_) | Event::ReasoningOpaque(_) => self.thought(),
            Event::Refusal(_) | Event::ToolCallStart { .. } | Event::ToolArguments { .. } | Event::Stop { .. } => {
                self.close();
            }
            Event::Start { .. } | Event::Usage(_) | Event::Ping => {}
        }
    }

    /// The text to go on from; `None` where another model cannot go on.
    pub fn text_to_continue(&self) -> Option<&str> {
        (self.place == Place::Text && !self.text.trim().is_empty()).then_some(&*self.text)
    }
}

/// The place where a continuation meets what the client has already.
///
/// A beginning goes to the next model without the white space at its end, which Anthropic refuses there; the model may write that white
/// space again.
#[derive(Debug, Clone)]
pub struct Seam(String);

impl Seam {
    /// Cuts a text: what the next model is given, and the seam.
    pub fn cut(text: &str) -> (&str, Self) {
        let given = text.trim_end();
        (given, Self(text.get(given.len()..).unwrap_or_default().to_owned()))
    }

    /// The part of a further piece of the continuation that the client does not have yet.
    pub fn fit<'t>(&mut self, piece: &'t str) -> &'t str {
        let had = std::mem::take(&mut self.0);
        let same =
            had.chars().zip(piece.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8());
        let same = same.sum::<usize>();
        if same == piece.len() {
            // All of it is there; what is left of the white space may come with the next piece.
            self.0 = had.get(same..).unwrap_or_default().to_owned();
        }
        piece.get(same..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn after(events: &[Event]) -> Option<String> {
        let mut progress = Progress::default();
        events.iter().for_each(|event| progress.event(event));
        progress.text_to_continue().map(str::to_owned)
    }

    #[test]
    fn only_a_text_that_is_under_way_can_be_continued() {
        let text = || Event::Text("So far".into());
        let thought = || Event::Reasoning("hm".into());
        let call = || Event::ToolCallStart { index: 0, id: "1".into(), name: "f".into(), signature: None };
        let stop = || Event::Stop { reason: crate::dialects::conversation::Stop::End, sequence: None };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[Event::Text("  \n".into())]), None);
        assert_eq!(after(&[thought()]), None);
        assert_eq!(after(&[thought(), text(), Event::Ping]), Some("So far".into()));
        assert_eq!(after(&[text(), thought()]), None);
        assert_eq!(after(&[text(), thought(), text()]), Some("So farSo far".into()));
        assert_eq!(after(&[text(), call()]), None);
        assert_eq!(after(&[text(), call(), text()]), None);
        assert_eq!(after(&[text(), Event::Refusal("no".into())]), None);
        assert_eq!(after(&[text(), stop()]), None);
    }

    #[test]
    fn white_space_at_the_seam_comes_once() {
        for (had, pieces, joined) in [
            ("The sea", vec![" is", " wide"], "The sea is wide"),
            ("The sea ", vec![" is", " wide"], "The sea is wide"),
            ("The sea ", vec!["is"], "The sea is"),
            ("The sea\n\n", vec!["\n", "\n", "is"], "The sea\n\nis"),
            ("The sea\n\n", vec!["\n", "is"], "The sea\n\nis"),
            ("The sea ", vec!["\nis"], "The sea \nis"),
            ("The sea", vec!["", " is"], "The sea is"),
        ] {
            let (given, mut seam) = Seam::cut(had);
            assert_eq!(given, "The sea");
            let rest: String = pieces.iter().map(|piece| seam.fit(piece)).collect();
            assert_eq!(format!("{had}{rest}"), joined);
        }
    }
}
