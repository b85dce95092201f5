//! Changes to JSON text that leave every other byte as it was.
//!
//! Where an edit goes is known from a [`super::json::Cursor`], which cannot be fooled by braces and names inside strings; here the edits
//! are put together, in one allocation. Key order, spacing and number spellings survive.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::upstream::sse::RawEvent;

/// Finds the bytes of an object's members that are to go, each with the comma that goes with it.
///
/// It is told of every member in order: [`key`](Self::key) when its name is met, then [`keep`](Self::keep) or [`cut`](Self::cut) when its
/// value has been read.
#[derive(Debug, Default)]
pub struct Cutter {
    start: usize,
    /// Where what stays ends; `None` while nothing has been kept.
    kept_to: Option<usize>,
    /// A cut before anything was kept: it reaches to the next member's name, or to its own end where it is the last.
    head: Option<Range<usize>>,
    cuts: Vec<Range<usize>>,
}

impl Cutter {
    /// A member begins here.
    pub fn key(&mut self, start: usize) {
        if let Some(head) = self.head.take() {
            self.cuts.push(head.start..start);
        }
        self.start = start;
    }

    /// The member stays; its value ends here.
    pub fn keep(&mut self, end: usize) {
        self.kept_to = Some(end);
    }

    /// The member goes; its value ends here.
    pub fn cut(&mut self, end: usize) {
        match self.kept_to {
            Some(kept) => {
                self.cuts.push(kept..end);
                self.kept_to = Some(end);
            }
            None => self.head = Some(self.start..end),
        }
    }

    /// The object has ended: the bytes to remove.
    pub fn close(mut self) -> Vec<Range<usize>> {
        self.cuts.extend(self.head);
        self.cuts
    }
}

/// Edits to one text, in any order.
#[derive(Debug)]
pub struct Splice<'a> {
    text: &'a str,
    edits: Vec<(Range<usize>, Cow<'a, str>)>,
}

impl<'a> Splice<'a> {
    /// No edits yet.
    pub fn new(text: &'a str) -> Self {
        Self { text, edits: Vec::new() }
    }

    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts a text in the place of a range. Of two edits that overlap the one that begins later loses what the other covers.
    pub fn replace(&mut self, range: Range<usize>, with: impl Into<Cow<'a, str>>) {
        self.edits.push((range, with.into()));
    }

    /// Removes a range.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range, "");
    }

    /// Inserts a text.
    pub fn insert(&mut self, at: usize, text: impl Into<Cow<'a, str>>) {
        self.replace(at..at, text);
    }

    /// Appends the edited text.
    pub fn write(mut self, out: &mut Vec<u8>) {
        self.edits.sort_by_key(|(range, _)| range.start);
        let added: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        out.reserve(self.text.len() + added);
        let mut at = 0;
        for (range, with) in &self.edits {
            out.extend_from_slice(self.text.get(at..range.start).unwrap_or_default().as_bytes());
            out.extend_from_slice(with.as_bytes());
            at = at.max(range.end);
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default().as_bytes());
    }

    /// The event whose data is the edited text, its other fields kept where the data stood in one line.
    pub fn into_event(self, event: &RawEvent) -> Bytes {
        let mut out = Vec::with_capacity(event.raw().len() + 32);
        match event.data_range() {
            Some(range) => {
                out.extend_from_slice(event.raw().get(..range.start).unwrap_or_default());
                self.write(&mut out);
                out.extend_from_slice(event.raw().get(range.end..).unwrap_or_default());
            }
            None => {
                if !event.name().is_empty() {
                    out.extend_from_slice(format!("event: {}\n", event.name()).as_bytes());
                }
                let mut data = Vec::new();
                self.write(&mut data);
                out.extend_from_slice(b"data: ");
                // Line breaks between members would end the field.
                out.extend(data.into_iter().filter(|byte| *byte != b'\n'));
                out.extend_from_slice(b"\n\n");
            }
        }
        Bytes::from(out)
    }

    /// The edited text.
    pub fn finish(self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out);
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::dialects::json::Cursor;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// Removes the members named, through [`Cutter`].
    fn without(text: &str, gone: &[String]) -> String {
        let mut cursor = Cursor::new(text);
        let mut cutter = Cutter::default();
        let mut members = cursor.object().unwrap();
        while let Some(key) = cursor.key(&mut members).unwrap() {
            cutter.key(key.start);
            cursor.skip().unwrap();
            if gone.iter().any(|name| *name == *key.name.decode()) {
                cutter.cut(cursor.position());
            } else {
                cutter.keep(cursor.position());
            }
        }
        let mut splice = Splice::new(text);
        for range in cutter.close() {
            splice.remove(range);
        }
        String::from_utf8(splice.finish().to_vec()).unwrap()
    }

    #[test]
    fn edits_apply_in_order_of_place() {
        let mut splice = Splice::new("0123456789");
        splice.replace(7..8, "seven");
        splice.insert(0, ">");
        splice.remove(2..5);
        splice.insert(10, "<");
        assert_eq!(splice.finish(), ">0156seven89<");
    }

    #[test]
    fn a_name_inside_a_string_is_no_member() {
        let text = r#"{ "a" : "\",\"b\":1,", "b": {"b": 2}, "c": [ "b" ] }"#;
        assert_eq!(without(text, &["b".into()]), r#"{ "a" : "\",\"b\":1,", "c": [ "b" ] }"#);
    }

    proptest! {
        #[test]
        fn any_members_can_go(
            members in prop::collection::vec(("[abc\"\\\\é]{1,3}", ".{0,6}"), 0..7),
            gone in prop::collection::vec(any::<bool>(), 7),
            spaced in any::<bool>(),
        ) {
            let object: Map<String, Value> = members.into_iter().map(|(name, value)| (name, json!([value]))).collect();
            let text = if spaced { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
            let names: Vec<String> = object.keys().zip(gone).filter(|(_, gone)| *gone).map(|(name, _)| name.clone()).collect();
            let left: Map<String, Value> = object.into_iter().filter(|(name, _)| !names.contains(name)).collect();
            let spliced: Map<String, Value> = serde_json::from_str(&without(&text, &names)).unwrap();
            prop_assert_eq!(spliced, left);
        }
    }
}
