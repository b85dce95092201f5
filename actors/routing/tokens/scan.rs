//! Cuts text into the pieces of a tokenizer and counts them by kind.

use super::cost::{COST, KINDS, Kind};

/// What a character is to the cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    /// A Latin letter beyond ASCII: part of a word, dearer than its neighbours.
    Accented,
    Digit,
    Space,
    Tab,
    Newline,
    Punctuation,
    Apostrophe,
    /// A letter of a script with words of many letters.
    Script(Kind),
    /// A character that is priced alone.
    Single(Kind),
    /// A backslash: what it stands for depends on what follows.
    Escape,
    /// A byte of a character beyond ASCII.
    Wide,
    End,
}

/// What stood before a word; a space is part of the word's first token, other characters are not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Space,
    Other,
}

/// Tokens of `text` in units of `1 / SCALE`.
pub(super) fn scaled_tokens(text: &[u8]) -> u64 {
    let mut counts = [0_u64; KINDS];
    count(text, &mut counts);
    counts.iter().zip(COST).map(|(count, cost)| count.saturating_mul(cost)).fold(0, u64::saturating_add)
}

/// Counts the pieces of `text` by kind.
pub(super) fn count(text: &[u8], counts: &mut [u64; KINDS]) {
    let mut tally = Tally(counts);
    let mut at = 0;
    let mut before = Before::Other;
    loop {
        let (class, width) = class_at(text, at);
        match class {
            Class::End | Class::Escape | Class::Wide => return,
            Class::Lower | Class::Upper | Class::Accented => {
                at = word(text, at, before, &mut tally);
                // Prose is words with one space between them: it need not come by here for each of the two.
                while let Some([b' ', b'a'..=b'z' | b'A'..=b'Z']) = text.get(at..at + 2) {
                    at = word(text, at + 1, Before::Space, &mut tally);
                }
                before = Before::Other;
            }
            Class::Space => {
                let (end, spaces) = run(text, at, Class::Space);
                before = Before::Space;
                match class_at(text, end).0 {
                    // The last space joins the word or the punctuation after it.
                    Class::Digit => tally.add(if spaces > 1 { Kind::Indent } else { Kind::SpaceBeforeDigit }, 1),
                    Class::Newline => {}
                    _ if spaces > 1 => tally.add(Kind::Indent, 1),
                    _ => {}
                }
                tally.add(Kind::WideSpace, (spaces.saturating_sub(1) / 16) as u64);
                at = end;
            }
            Class::Tab => {
                at = run(text, at, Class::Tab).0;
                tally.add(Kind::Tabs, 1);
                before = Before::Other;
            }
            Class::Newline => {
                at = newlines(text, at);
                tally.add(Kind::Newlines, 1);
                before = Before::Other;
            }
            Class::Digit => {
                let (end, digits) = run(text, at, Class::Digit);
                at = end;
                tally.add(Kind::Digits, digits.div_ceil(3) as u64);
                before = Before::Other;
            }
            Class::Punctuation | Class::Apostrophe => {
                at = punctuation(text, at, before, &mut tally);
                before = Before::Other;
            }
            Class::Script(kind) => {
                let (end, letters) = run(text, at, class);
                at = end;
                tally.add(kind, letters as u64);
                tally.add(Kind::ScriptWord, 1);
                before = Before::Other;
            }
            Class::Single(kind) => {
                at += width;
                tally.add(kind, 1);
                before = Before::Other;
            }
        }
    }
}

struct Tally<'a>(&'a mut [u64; KINDS]);

impl Tally<'_> {
    fn add(&mut self, kind: Kind, count: u64) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot += count;
        }
    }

    /// Adds a word to the bucket of its length, counted from `first`, and its letters beyond the last bucket to the bucket after it.
    fn word(&mut self, first: Kind, letters: usize) {
        let bucket = letters.clamp(1, Kind::WORD_BUCKETS) - 1;
        if let Some(slot) = self.0.get_mut(first as usize + bucket) {
            *slot += 1;
        }
        self.add(Kind::LongWordLetter, letters.saturating_sub(Kind::WORD_BUCKETS) as u64);
    }
}

/// One word: a capital and the small letters after it, or capitals alone. A change from small to capital letters starts another.
fn word(text: &[u8], start: usize, before: Before, tally: &mut Tally<'_>) -> usize {
    let (mut at, mut capitals, mut small, mut accented) = (start, 0, 0, 0);
    loop {
        let letters = small_letters(text, at);
        small += letters;
        at += letters;
        let (class, width) = class_at(text, at);
        match class {
            Class::Lower => small += 1,
            Class::Upper if small == 0 => capitals += 1,
            Class::Accented => {
                small += 1;
                accented += 1;
            }
            // A clitic stays with its word: `don't`, `it's`.
            Class::Apostrophe if small > 0 && clitic(text, at + width) > 0 => {
                tally.add(Kind::Clitic, 1);
                at += width + clitic(text, at + width);
                break;
            }
            _ => break,
        }
        at += width;
    }
    tally.add(Kind::AccentedLetter, accented);
    if capitals > 1 {
        tally.add(Kind::CapitalsWord, 1);
        tally.add(Kind::CapitalsLetter, capitals as u64);
        if small == 0 {
            return at;
        }
    }
    let first = match (before, capitals) {
        (Before::Space, 0) => Kind::SpacedWord,
        (Before::Space, _) => Kind::SpacedCapitalised,
        (Before::Other, 0) => Kind::JoinedWord,
        (Before::Other, _) => Kind::JoinedCapitalised,
    };
    tally.word(first, small + usize::from(capitals == 1));
    at
}

/// How many of the up to eight characters at `at` are small ASCII letters, up to the first other one; 0 near the end of the text.
///
/// Eight are compared in one register, as the lengths of words are what a processor cannot predict.
#[inline(always)]
fn small_letters(text: &[u8], at: usize) -> usize {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    const TOP: u64 = EACH << 7;
    let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) else { return 0 };
    let word = u64::from_le_bytes(*eight);
    let low = word & !TOP;
    let from_a = low + EACH * (0x80 - b'a' as u64);
    let beyond_z = low + EACH * (0x7f - b'z' as u64);
    let small = from_a & !beyond_z & !word & TOP;
    ((small ^ TOP).trailing_zeros() / 8) as usize
}

/// Letters of a clitic at `at` that ends there; 0 if none.
fn clitic(text: &[u8], at: usize) -> usize {
    let (first, second, third) = (byte_at(text, at), byte_at(text, at + 1), byte_at(text, at + 2));
    match (first, second) {
        (b's' | b't' | b'm' | b'd', next) if !next.is_ascii_alphabetic() => 1,
        (b'r' | b'v', b'e') | (b'l', b'l') if !third.is_ascii_alphabetic() => 2,
        _ => 0,
    }
}

/// A run of punctuation with the line breaks that cling to it.
fn punctuation(text: &[u8], start: usize, before: Before, tally: &mut Tally<'_>) -> usize {
    let (mut at, mut signs, mut repeats, mut last) = (start, 0_usize, 0_usize, 0);
    loop {
        let (class, width) = class_at(text, at);
        if !matches!(class, Class::Punctuation | Class::Apostrophe) {
            break;
        }
        let sign = byte_at(text, at + width - 1);
        repeats += usize::from(sign == last);
        last = sign;
        signs += 1;
        at += width;
    }
    let varied = signs - repeats;
    match (varied, class_at(text, at).0) {
        (0, _) => {}
        (1, Class::Lower | Class::Upper | Class::Accented) if before == Before::Other => {
            tally.add(Kind::SignBeforeWord, 1)
        }
        (1, Class::Newline) => tally.add(Kind::SignBeforeNewline, 1),
        (1, _) => tally.add(Kind::Sign, 1),
        (2, _) => tally.add(Kind::TwoSigns, 1),
        (3, _) => tally.add(Kind::ThreeSigns, 1),
        (more, _) => {
            tally.add(Kind::ThreeSigns, 1);
            tally.add(Kind::MoreSigns, (more - 3) as u64);
        }
    }
    tally.add(Kind::RepeatedSign, (repeats / 8) as u64);
    // The pattern takes line breaks after punctuation into the same piece.
    if class_at(text, at).0 == Class::Newline {
        at = newlines(text, at);
    }
    at
}

/// The end of a run of line breaks, and of blank lines between them.
fn newlines(text: &[u8], mut at: usize) -> usize {
    loop {
        let (end, _) = run(text, at, Class::Newline);
        let (next, _) = run(text, end, Class::Space);
        if class_at(text, next).0 != Class::Newline {
            return end;
        }
        at = next;
    }
}

/// The end of the run of `class` at `at`, and how many characters it has.
#[inline]
fn run(text: &[u8], mut at: usize, class: Class) -> (usize, usize) {
    let mut length = 0;
    loop {
        let (next, width) = class_at(text, at);
        if next != class {
            return (at, length);
        }
        length += 1;
        at += width;
    }
}

fn byte_at(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The class of the character at `at` and its width in bytes.
#[inline(always)]
fn class_at(text: &[u8], at: usize) -> (Class, usize) {
    let Some(&byte) = text.get(at) else { return (Class::End, 0) };
    match BYTES.get(usize::from(byte)) {
        Some(Class::Escape) => escape(text, at),
        Some(Class::Wide) | None => beyond_ascii(text, at, byte),
        Some(class) => (*class, 1),
    }
}

/// The class of each byte that is a character of its own.
static BYTES: [Class; 256] = {
    let mut classes = [Class::Wide; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of range")]
        {
            classes[byte as usize] = match byte {
                b'a'..=b'z' => Class::Lower,
                b'A'..=b'Z' => Class::Upper,
                b'0'..=b'9' => Class::Digit,
                b' ' => Class::Space,
                b'\n' | b'\r' => Class::Newline,
                b'\t' => Class::Tab,
                b'\'' => Class::Apostrophe,
                b'\\' => Class::Escape,
                _ => Class::Punctuation,
            };
        }
        byte += 1;
    }
    classes
};

#[inline(never)]
fn beyond_ascii(text: &[u8], at: usize, lead: u8) -> (Class, usize) {
    let (code, width) = decode(text, at, lead);
    (wide(code), width)
}

/// A backslash and what it stands for.
#[inline(never)]
fn escape(text: &[u8], at: usize) -> (Class, usize) {
    match byte_at(text, at + 1) {
        b'n' | b'r' => (Class::Newline, 2),
        b't' => (Class::Tab, 2),
        b'"' | b'\\' | b'/' => (Class::Punctuation, 2),
        b'u' => match hex4(text, at + 2) {
            Some(high @ 0xd800..=0xdbff) if byte_at(text, at + 6) == b'\\' && byte_at(text, at + 7) == b'u' => {
                match hex4(text, at + 8) {
                    Some(low @ 0xdc00..=0xdfff) => (wide(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 12),
                    _ => (Class::Single(Kind::OtherCharacter), 6),
                }
            }
            Some(code) if code < 0x80 => match BYTES.get(code as usize) {
                Some(Class::Escape) | None => (Class::Punctuation, 6),
                Some(class) => (*class, 6),
            },
            Some(code) => (wide(code), 6),
            None => (Class::Punctuation, 1),
        },
        _ => (Class::Punctuation, 1),
    }
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |code, &digit| Some(code * 16 + char::from(digit).to_digit(16)?))
}

/// Decodes the UTF-8 sequence at `at`; the text is valid, so no error is looked for.
fn decode(text: &[u8], at: usize, lead: u8) -> (u32, usize) {
    let tail = |offset: usize| u32::from(byte_at(text, at + offset) & 0x3f);
    let lead = u32::from(lead);
    match lead {
        0xf0.. => ((lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
        0xe0.. => ((lead & 0x0f) << 12 | tail(1) << 6 | tail(2), 3),
        _ => ((lead & 0x1f) << 6 | tail(1), 2),
    }
}

/// The class of a character beyond ASCII.
fn wide(code: u32) -> Class {
    match code {
        0xa0 | 0x2000..=0x200b | 0x3000 => Class::Space,
        0xa1..=0xbf | 0xd7 | 0xf7 => Class::Single(Kind::WideSign),
        0xc0..=0x24f | 0x1e00..=0x1eff => Class::Accented,
        0x370..=0x3ff | 0x1f00..=0x1fff => Class::Script(Kind::GreekLetter),
        0x400..=0x52f => Class::Script(Kind::CyrillicLetter),
        0x590..=0x5ff => Class::Script(Kind::HebrewLetter),
        0x600..=0x77f | 0xfb50..=0xfdff | 0xfe70..=0xfefc => Class::Script(Kind::ArabicLetter),
        0x900..=0xdff => Class::Script(Kind::IndicLetter),
        0xe00..=0xeff => Class::Script(Kind::ThaiLetter),
        0x1100..=0x11ff | 0xac00..=0xd7af => Class::Script(Kind::HangulSyllable),
        0x2010..=0x2027 => Class::Single(Kind::Dash),
        0x2028..=0x2bff => Class::Single(Kind::WideSign),
        0x3001..=0x303f | 0xff00..=0xff65 => Class::Single(Kind::CjkSign),
        0x3040..=0x30ff | 0x31f0..=0x31ff => Class::Script(Kind::KanaLetter),
        0x3400..=0x9fff | 0xf900..=0xfaff => Class::Script(Kind::HanCharacter),
        0x1f000..=0x1faff => Class::Single(Kind::Emoji),
        0xfe0f | 0x200c..=0x200f => Class::Single(Kind::Dash),
        _ => Class::Single(Kind::OtherCharacter),
    }
}
