//! A pull reader of JSON that knows where it stands: the one place that decides what is a string, a value and its end.
//!
//! Scanning a request, splicing into it and watching a stream all need byte positions and none needs a tree; serde offers values but
//! no positions. The reader checks the whole grammar (RFC 8259), never recurses, allocates nothing, and accepts what serde_json accepts
//! as a raw value: a property test holds the two together. Lone surrogates pass as bytes and decode to U+FFFD.

use std::borrow::Cow;
use std::ops::Range;

/// Containers within containers: serde_json's own limit, so that whatever passes here can be decoded by it too.
const MAX_DEPTH: u32 = 127;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Fault {
    /// What stands there, or what is missing.
    pub what: &'static str,
    /// Offset in the text.
    pub at: usize,
}

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`, which means absent in every dialect.
    Null,
}

/// The inside of a JSON string, its escapes still in it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The text between the quotes as it was written.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Whether nothing stands between the quotes.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The same text cut to a part of what was written.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self { raw: self.raw.get(range).unwrap_or_default(), escaped: self.escaped }
    }

    /// The text meant: borrowed where it holds no escape.
    pub fn decode(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        if self.escaped { unescape(self.raw) == other } else { self.raw == other }
    }
}

/// The first byte of eight that ends a plain run of a string: a quote, a backslash or a control character.
///
/// Each test leaves the high bit of a byte set where the byte passes it (Mycroft's test for a byte below a bound). A borrow can set the bit
/// of a later byte falsely, never of an earlier one, so the first is right.
fn first_special(chunk: [u8; 8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH << 7;
    let word = u64::from_le_bytes(chunk);
    let below = |word: u64, bound: u64| word.wrapping_sub(EACH * bound) & !word;
    let equal = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    let found = (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at).unwrap_or_default());
        let escape = rest.get(at + 1..).unwrap_or_default();
        let (character, used) = match escape.bytes().next() {
            Some(b'n') => ('\n', 1),
            Some(b't') => ('\t', 1),
            Some(b'r') => ('\r', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'u') => unescape_unicode(escape),
            Some(other) if other.is_ascii() => (char::from(other), 1),
            _ => (char::REPLACEMENT_CHARACTER, 0),
        };
        out.push(character);
        rest = escape.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The character that `uXXXX` stands for, a surrogate pair taken together, and how many bytes of `escape` it takes.
fn unescape_unicode(escape: &str) -> (char, usize) {
    let unit = |at: usize| u32::from_str_radix(escape.get(at..at + 4)?, 16).ok();
    let Some(high) = unit(1) else { return (char::REPLACEMENT_CHARACTER, 1) };
    if let Some(character) = char::from_u32(high) {
        return (character, 5);
    }
    let low = unit(7).filter(|low| escape.get(5..7) == Some("\\u") && (0xDC00..0xE000).contains(low));
    if let (0xD800..0xDC00, Some(low)) = (high, low) {
        let combined = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return (char::from_u32(combined).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::REPLACEMENT_CHARACTER, 5)
}

/// The name of an object's member.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The name.
    pub name: Text<'a>,
    /// Offset of its opening quote.
    pub start: usize,
}

/// How far the reading of one object or array has come.
#[derive(Debug)]
pub struct Items {
    first: bool,
}

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// Stands before the first byte.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The offset of the next byte to be read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// A piece of the text.
    pub fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { what, at: self.at })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips white space and shows the next byte.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// What kind of value comes next; the cursor then stands on its first byte.
    pub fn kind(&mut self) -> Result<Kind, Fault> {
        Ok(match self.next_byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(_) => return self.fault("unexpected character"),
            None => return self.fault("unexpected end"),
        })
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => self.fault("text after the end of the JSON value"),
        }
    }

    fn enter(&mut self, bracket: u8) -> Result<(), Fault> {
        if self.next_byte() != Some(bracket) {
            return self.fault("unexpected value");
        }
        if self.depth == MAX_DEPTH {
            return self.fault("too deeply nested");
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Enters an object.
    pub fn object(&mut self) -> Result<Items, Fault> {
        self.enter(b'{')?;
        Ok(Items { first: true })
    }

    /// The next member of the object, whose value must then be read; at the object's end leaves it and returns `None`.
    pub fn key(&mut self, items: &mut Items) -> Result<Option<Key<'a>>, Fault> {
        if !self.more(items, b'}')? {
            return Ok(None);
        }
        self.member_name().map(Some)
    }

    fn member_name(&mut self) -> Result<Key<'a>, Fault> {
        if self.next_byte() != Some(b'"') {
            return self.fault("expected the name of a member");
        }
        let start = self.at;
        let name = self.string()?;
        if self.next_byte() != Some(b':') {
            return self.fault("expected `:`");
        }
        self.at += 1;
        Ok(Key { name, start })
    }

    /// Enters an array.
    pub fn array(&mut self) -> Result<Items, Fault> {
        self.enter(b'[')?;
        Ok(Items { first: true })
    }

    /// Whether another element follows, which must then be read; at the array's end leaves it.
    pub fn element(&mut self, items: &mut Items) -> Result<bool, Fault> {
        self.more(items, b']')
    }

    fn more(&mut self, items: &mut Items, close: u8) -> Result<bool, Fault> {
        let first = std::mem::replace(&mut items.first, false);
        match self.next_byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => self.fault("expected `,` or the end of the container"),
            None => self.fault("unexpected end"),
        }
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<Text<'a>, Fault> {
        if self.next_byte() != Some(b'"') {
            return self.fault("expected a string");
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.plain_run()?;
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fault("unterminated string"),
            }
        }
        let raw = self.slice(start..self.at);
        self.at += 1;
        Ok(Text { raw, escaped })
    }

    /// Moves on to the next quote or backslash: eight bytes at a time, which suits names and escaped text, and once a run proves long by a
    /// vectorised search.
    fn plain_run(&mut self) -> Result<(), Fault> {
        const LONG: usize = 64;
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let mut offset = 0;
        while let Some(chunk) = rest.get(offset..).and_then(<[u8]>::first_chunk) {
            if let Some(found) = first_special(*chunk) {
                return self.run_ends(offset + found);
            }
            offset += chunk.len();
            if offset == LONG {
                let far = rest.get(LONG..).unwrap_or_default();
                let length = memchr::memchr2(b'"', b'\\', far).unwrap_or(far.len());
                let run = far.get(..length).unwrap_or_default();
                // Without a branch in the loop the compiler compares many bytes at once.
                if run.iter().fold(false, |found, &byte| found | (byte < 0x20)) {
                    return self.fault("control character in a string");
                }
                return self.run_ends(LONG + length);
            }
        }
        let tail = rest.get(offset..).unwrap_or_default();
        let special = |&byte: &u8| byte < 0x20 || matches!(byte, b'"' | b'\\');
        self.run_ends(offset + tail.iter().position(special).unwrap_or(tail.len()))
    }

    fn run_ends(&mut self, length: usize) -> Result<(), Fault> {
        self.at += length;
        match self.byte() {
            Some(byte) if byte < 0x20 => self.fault("control character in a string"),
            _ => Ok(()),
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => self.at += 6,
            _ => return self.fault("invalid escape"),
        }
        Ok(())
    }

    /// Reads a number as it is written.
    pub fn number(&mut self) -> Result<&'a str, Fault> {
        self.next_byte();
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.slice(start..self.at))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fault("invalid number") } else { Ok(()) }
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, Fault> {
        let value = self.next_byte() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        if self.text.get(self.at..self.at + word.len()) != Some(word) {
            return self.fault("invalid literal");
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a value of any kind that means nothing here.
    pub fn pass(&mut self) -> Result<(), Fault> {
        self.skip().map(drop)
    }

    /// Reads a value of any kind and says where it stands.
    pub fn skip(&mut self) -> Result<Range<usize>, Fault> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Object | Kind::Array => self.skip_container()?,
            _ => self.skip_scalar(kind)?,
        }
        Ok(start..self.at)
    }

    fn skip_scalar(&mut self, kind: Kind) -> Result<(), Fault> {
        match kind {
            Kind::String => self.string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Bool => self.boolean().map(drop),
            Kind::Null => self.literal("null"),
            Kind::Object | Kind::Array => self.fault("unexpected container"),
        }
    }

    /// Keeps one bit a level: set for an object, clear for an array.
    fn skip_container(&mut self) -> Result<(), Fault> {
        let outside = self.depth;
        let mut objects: u128 = 0;
        let mut items = Items { first: true };
        loop {
            let inside = self.depth > outside;
            let in_object = objects & 1 == 1;
            if inside {
                if !self.more(&mut items, if in_object { b'}' } else { b']' })? {
                    if self.depth == outside {
                        return Ok(());
                    }
                    objects >>= 1;
                    continue;
                }
                if in_object {
                    self.member_name()?;
                }
            }
            match self.kind()? {
                Kind::Object => {
                    self.enter(b'{')?;
                    objects = objects << 1 | 1;
                    items.first = true;
                }
                Kind::Array => {
                    self.enter(b'[')?;
                    objects <<= 1;
                    items.first = true;
                }
                scalar => self.skip_scalar(scalar)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn accepts(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.skip().and_then(|_| cursor.end()).is_ok()
    }

    fn serde_accepts(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }

    #[test]
    fn the_grammar_is_serdes() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "{}",
            "[]",
            "[,]",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":1}x",
            "01",
            "-",
            "-0",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1E-3",
            "1.0e10",
            "+1",
            "tru",
            "true",
            "nul",
            "null ",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\ud83d\"",
            "\"a\u{7f}\u{0}\"",
            "\"a\nb\"",
            "\"012345678901234567890123456789\n\"",
            "\"é😀\"",
            "[[[]]]",
            "[{]}",
            "{\"a\":[1,{\"b\":null}]}",
            "NaN",
            "\u{feff}{}",
        ] {
            assert_eq!(accepts(text), serde_accepts(text), "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded_as_serdes() {
        for depth in [126, 127, 128, 200, 100_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(accepts(&text), serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{depth}");
        }
    }

    #[test]
    fn strings_decode() {
        let text = r#""a\"b\\c\/\n\u00e9\ud83d\ude00\ud83dx""#;
        let read = Cursor::new(text).string().unwrap();
        assert_eq!(read.decode(), "a\"b\\c/\né😀\u{fffd}x");
        assert!(matches!(Cursor::new("\"plain\"").string().unwrap().decode(), Cow::Borrowed("plain")));
        assert!(Cursor::new(r#""mod\u0065l""#).string().unwrap() == *"model");
    }

    fn json_like() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\\"", "\\u00e9", "\\ud83d", "\"a\"", "\"a\":", "1", "-2.5e3",
            "true", "null", " ", "\n", "é", "x", "\u{1}",
        ]);
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn a_run_ends_at_its_first_special_byte_wherever_that_stands() {
        for length in 0..160 {
            for end in
                ["\"", "\\n\"", "\u{1f}\"", "\u{0}\"", "\u{1}\"", "\u{20}\"", "!#[]\u{7f}\"", "\u{80}\u{20ac}\"", ""]
            {
                for filler in ["a", "\u{e9}", "!"] {
                    let text = format!("\"{}{end}", filler.repeat(length));
                    assert_eq!(accepts(&text), serde_accepts(&text), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_serde_accepts_is_accepted_and_nothing_else(text in json_like()) {
            prop_assert_eq!(accepts(&text), serde_accepts(&text));
        }

        #[test]
        fn any_string_survives(text in ".{0,80}") {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Cursor::new(&written).string().unwrap().decode(), text);
        }
    }
}
