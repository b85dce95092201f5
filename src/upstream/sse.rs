//! Server-sent events: bytes in, whole events out, each with the bytes it came in.
//!
//! Framing follows the WHATWG HTML standard, section 9.2: lines end with LF, CRLF or CR, an empty line ends an event. Two things differ,
//! since a gateway passes on what it reads: comments come out too (a sign of life), and the last event counts even where the connection
//! closed before its empty line, which many servers leave out. An event that lies within one chunk is not copied; memory is bounded by
//! the largest event allowed.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Largest event by default: above the largest answer that a provider sends in one piece (images in base64).
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event is larger than allowed.
    #[error("an event of the stream is larger than {0} bytes")]
    TooLarge(usize),
    /// An event is not UTF-8.
    #[error("an event of the stream is not UTF-8")]
    NotUtf8,
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    raw: Bytes,
    name: Range<usize>,
    data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    /// None: a comment, or fields without meaning here.
    Absent,
    /// One line of the raw bytes.
    Line(Range<usize>),
    /// Several lines, joined by LF as the standard has it.
    Joined(String),
}

impl RawEvent {
    /// Every byte of it, the empty line at its end included.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The bytes, to be passed on.
    pub fn into_raw(self) -> Bytes {
        self.raw
    }

    /// The field `event`; empty where it has none.
    pub fn name(&self) -> &str {
        self.text(self.name.clone())
    }

    /// The field `data`; empty where it has none.
    pub fn data(&self) -> &str {
        match &self.data {
            Data::Absent => "",
            Data::Line(range) => self.text(range.clone()),
            Data::Joined(text) => text,
        }
    }

    /// Where in the raw bytes the data stands, where that is in one piece.
    pub fn data_range(&self) -> Option<Range<usize>> {
        match &self.data {
            Data::Line(range) => Some(range.clone()),
            Data::Absent | Data::Joined(_) => None,
        }
    }

    /// Whether it has no data: a comment or an empty event, which means nothing but that the other side is alive.
    pub fn is_comment(&self) -> bool {
        self.data == Data::Absent
    }

    /// The bytes were found to be UTF-8 when the event was read.
    fn text(&self, range: Range<usize>) -> &str {
        std::str::from_utf8(self.raw.get(range).unwrap_or_default()).unwrap_or_default()
    }

    fn read(raw: Bytes) -> Result<Self, SseError> {
        std::str::from_utf8(&raw).map_err(|_| SseError::NotUtf8)?;
        let mut name = 0..0;
        let mut data = Data::Absent;
        let mut at = if raw.starts_with(BOM) { BOM.len() } else { 0 };
        while at < raw.len() {
            let rest = raw.get(at..).unwrap_or_default();
            let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            let value = |field: &[u8]| -> Option<Range<usize>> {
                let after = line.strip_prefix(field)?;
                let value = match after.strip_prefix(b":") {
                    Some(value) => value.strip_prefix(b" ").unwrap_or(value),
                    // A field's name alone is the field with an empty value.
                    None if after.is_empty() => after,
                    None => return None,
                };
                Some(at + length - value.len()..at + length)
            };
            if let Some(range) = value(b"data") {
                data.add(&raw, range);
            } else if let Some(range) = value(b"event") {
                name = range;
            }
            at += length + 1;
        }
        Ok(Self { raw, name, data })
    }
}

impl Data {
    fn add(&mut self, raw: &Bytes, line: Range<usize>) {
        let text =
            |range: &Range<usize>| String::from_utf8_lossy(raw.get(range.clone()).unwrap_or_default()).into_owned();
        *self = match std::mem::replace(self, Self::Absent) {
            Self::Absent => Self::Line(line),
            Self::Line(first) => Self::Joined(text(&first) + "\n" + &text(&line)),
            Self::Joined(before) => Self::Joined(before + "\n" + &text(&line)),
        };
    }
}

/// What a carriage return just ended: a line feed after it belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterReturn {
    Line,
    Event,
}

/// Cuts a stream into events.
#[derive(Debug)]
pub struct SseDecoder {
    limit: usize,
    /// The beginning of an event whose end has not come.
    partial: BytesMut,
    in_line: bool,
    after_return: Option<AfterReturn>,
}

impl Default for SseDecoder {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl SseDecoder {
    /// Stands before the first byte; no event may be larger than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: BytesMut::new(), in_line: false, after_return: None }
    }

    /// Takes a chunk and appends the events that end in it.
    ///
    /// # Errors
    /// [`SseError`]: the stream cannot be read on.
    pub fn feed(&mut self, mut chunk: Bytes, out: &mut Vec<RawEvent>) -> Result<(), SseError> {
        while let Some(end) = self.find_end(&chunk) {
            let last = chunk.split_to(end);
            if self.partial.len() + last.len() > self.limit {
                return Err(SseError::TooLarge(self.limit));
            }
            let raw = if self.partial.is_empty() {
                last
            } else {
                self.partial.extend_from_slice(&last);
                self.partial.split().freeze()
            };
            out.push(RawEvent::read(raw)?);
        }
        if self.partial.len() + chunk.len() > self.limit {
            return Err(SseError::TooLarge(self.limit));
        }
        self.partial.extend_from_slice(&chunk);
        Ok(())
    }

    /// The connection has closed: the event that was not ended by an empty line, completed by one.
    ///
    /// # Errors
    /// [`SseError::NotUtf8`].
    pub fn finish(&mut self) -> Result<Option<RawEvent>, SseError> {
        let mut rest = self.partial.split();
        let missing: &[u8] = match (rest.is_empty(), self.after_return.take(), self.in_line) {
            (true, _, _) => return Ok(None),
            (_, Some(AfterReturn::Event), _) => b"",
            // The first belongs to the return before it.
            (_, Some(AfterReturn::Line), _) => b"\n\n",
            (_, None, false) => b"\n",
            (_, None, true) => b"\n\n",
        };
        self.in_line = false;
        rest.extend_from_slice(missing);
        RawEvent::read(rest.freeze()).map(Some)
    }

    /// The length of the piece of `chunk` that ends the current event; `None`, with the state moved on, where it does not end here.
    fn find_end(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            if let (Some(ended), Some(next)) = (self.after_return, rest.first()) {
                self.after_return = None;
                let feed = usize::from(*next == b'\n');
                if ended == AfterReturn::Event {
                    return Some(at + feed);
                }
                at += feed;
                continue;
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.in_line |= !rest.is_empty();
                return None;
            };
            let empty = length == 0 && !self.in_line;
            let is_return = rest.get(length) == Some(&b'\r');
            self.in_line = false;
            at += length + 1;
            match (empty, is_return) {
                (true, false) => return Some(at),
                (true, true) => self.after_return = Some(AfterReturn::Event),
                (false, true) => self.after_return = Some(AfterReturn::Line),
                (false, false) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> Vec<RawEvent> {
        let mut decoder = SseDecoder::default();
        let mut out = Vec::new();
        for chunk in chunks {
            decoder.feed(Bytes::copy_from_slice(chunk), &mut out).unwrap();
        }
        out.extend(decoder.finish().unwrap());
        out
    }

    fn read(stream: &str) -> Vec<(String, String)> {
        events(&[stream.as_bytes()]).iter().map(|event| (event.name().to_owned(), event.data().to_owned())).collect()
    }

    #[test]
    fn d158_lines_may_end_in_three_ways() {
        for stream in ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
            assert_eq!(read(stream), [(String::new(), "a".to_owned()), (String::new(), "b".to_owned())], "{stream:?}");
        }
    }

    #[test]
    fn d158_fields_are_read_as_the_standard_has_them() {
        let stream =
            "\u{feff}event: x\ndata:1\nid: 7\nretry: 5\ndata:  2 \ndata\n\n: note\n\ndatax: 3\nevent: y\n\ndata: end";
        assert_eq!(
            read(stream),
            [("x", "1\n 2 \n"), ("", ""), ("y", ""), ("", "end")]
                .map(|(name, data)| (name.to_owned(), data.to_owned()))
        );
        let comments: Vec<bool> = events(&[stream.as_bytes()]).iter().map(RawEvent::is_comment).collect();
        assert_eq!(comments, [false, true, true, false]);
    }

    #[test]
    fn d158_an_unended_event_is_completed() {
        for (stream, raw) in [
            ("data: a\r", "data: a\r\n\n"),
            ("data: a", "data: a\n\n"),
            ("data: a\n", "data: a\n\n"),
            ("data: a\r\n\r", "data: a\r\n\r"),
        ] {
            assert_eq!(events(&[stream.as_bytes()])[0].raw(), raw);
        }
    }

    #[test]
    fn an_event_within_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        let mut out = Vec::new();
        SseDecoder::default().feed(chunk.clone(), &mut out).unwrap();
        assert_eq!(out[1].raw().as_ptr(), chunk[9..].as_ptr());
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = SseDecoder::new(16);
        let mut out = Vec::new();
        assert_eq!(decoder.feed(Bytes::from_static(b"data: 0123456789\n\n"), &mut out), Err(SseError::TooLarge(16)));
        let mut decoder = SseDecoder::new(16);
        assert_eq!(decoder.feed(Bytes::from_static(b"data: 0123"), &mut out), Ok(()));
        assert_eq!(decoder.feed(Bytes::from_static(b"4567890"), &mut out), Err(SseError::TooLarge(16)));
        assert_eq!(SseDecoder::default().feed(Bytes::from_static(b"data: \xff\n\n"), &mut out), Err(SseError::NotUtf8));
    }

    fn stream() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "data: ", "data:", "event: e", ": c", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "é", "{}", " ", "😀",
        ]);
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn d159_every_split_gives_the_same_events(stream in stream(), cuts in prop::collection::vec(0usize..80, 0..6)) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(events(&chunks), events(&[bytes]));
        }

        #[test]
        fn no_byte_is_lost(stream in stream()) {
            let joined: Vec<u8> = events(&[stream.as_bytes()]).iter().flat_map(|event| event.raw().to_vec()).collect();
            prop_assert!(joined.starts_with(stream.as_bytes()));
            prop_assert!(joined.len() <= stream.len() + 2);
            // What is passed on reads as the same events again.
            let again = events(&[&joined]);
            prop_assert_eq!(again, events(&[stream.as_bytes()]));
        }
    }
}
