//! Counts what stands in the pieces of a message, letter by letter, in one pass. Nothing is allocated but the bag of its words.

use super::Features;
use super::bag::Filling;
use super::lexicon::{Hash, LONGEST_UNSPACED, Lexicon, SHORTEST_BEGINNING, fold, is_unspaced, lexicon};
use super::measures::Measure;
use super::passage::Kind;
use super::wording::Wording;

/// Letters of a long word.
const LONG: u32 = 8;
/// Letters of a very long one.
const VERY_LONG: u32 = 12;
/// Letters from which on a word that no list knows is rare.
const RARE: u32 = 4;
/// Letters of a long rare one.
const RARE_LONG: u32 = 10;
/// Bytes of an average word with its space: turns text that is not read into a number of words.
const WORD_BYTES: usize = 6;
/// Longest quotation that is looked for.
const QUOTATION: usize = 2_000;
/// Within so many words of the ask a word of reworking makes what follows a colon material.
const REWORK_REACH: u32 = 14;

/// Labels at the beginning of a line after which stands what an instruction before it is about.
const MATERIAL_LABELS: [&str; 16] = [
    "input",
    "text",
    "sentence",
    "passage",
    "article",
    "story",
    "context",
    "document",
    "review",
    "email",
    "dialogue",
    "conversation",
    "paragraph",
    "transcript",
    "eingabe",
    "texte",
];
/// Labels after which the ask goes on.
const ASK_LABELS: [&str; 5] = ["question", "task", "q", "instruction", "frage"];

/// The word that is being read.
#[derive(Clone, Copy)]
struct Word {
    hash: Hash,
    /// From where on a stem is looked for: after an Arabic article.
    stem: Hash,
    found: Option<Measure>,
    letters: u32,
    digits: u32,
    capital: bool,
    /// Has an underscore, a capital inside or a call's bracket: a name in a program.
    identifier: bool,
}

impl Word {
    const NONE: Self = Self {
        hash: Hash::EMPTY,
        stem: Hash::EMPTY,
        found: None,
        letters: 0,
        digits: 0,
        capital: false,
        identifier: false,
    };
}

/// Reads the pieces of one message or of several, one after the other.
pub(super) struct Reader<'f> {
    features: &'f mut Features,
    lexicon: &'static Lexicon,
    letters: u32,
    other_script: u32,
    unspaced: u32,
    sentence: u32,
    /// One bit for each different word, by hash.
    different: [u64; 16],
    filling: Filling,
    /// What follows is brought along to be reworked.
    reworks: bool,
}

impl<'f> Reader<'f> {
    pub(super) fn new(features: &'f mut Features) -> Self {
        Self {
            filling: Filling::of(&features.bag),
            features,
            lexicon: lexicon(),
            letters: 0,
            other_script: 0,
            unspaced: 0,
            sentence: 0,
            different: [0; 16],
            reworks: false,
        }
    }

    /// Reads one piece.
    pub(super) fn piece(&mut self, kind: Kind, text: &str) {
        if kind == Kind::Ask && self.reworks && labelled(text, &ASK_LABELS) {
            self.reworks = false;
        }
        match kind {
            Kind::Ask if self.reworks => self.features.add(Measure::Material, words_in(text)),
            Kind::Ask => {
                self.ask(text);
                if !self.reworks {
                    Wording::of(text)
                        .counts()
                        .into_iter()
                        .for_each(|(measure, count)| self.features.add(measure, count));
                }
            }
            Kind::Material => {
                self.marker(text);
                self.features.add(Measure::Material, words_in(text));
            }
            Kind::Code => self.code(text),
            Kind::Log => self.features.add(Measure::LogLines, 1),
        }
    }

    /// Ends one message: another may follow.
    pub(super) fn end_message(&mut self) {
        self.end_sentence();
        self.filling.end_message();
        self.reworks = false;
    }

    /// Writes down what is known only at the end.
    pub(super) fn finish(mut self) {
        self.end_message();
        let words = self.features.get(Measure::Words);
        let per_mille = |part: u32, whole: u32| (part * 1_000).checked_div(whole).unwrap_or(0);
        let bits: u32 = self.different.iter().map(|bits| bits.count_ones()).sum();
        self.features.set(Measure::Distinct, per_mille(bits.min(words), words));
        self.features.set(Measure::OtherScript, per_mille(self.other_script, self.letters));
        let spaced = words.saturating_sub(self.unspaced / 2);
        self.features.set(Measure::WordLength, ((self.letters - self.unspaced) * 100).checked_div(spaced).unwrap_or(0));
    }

    fn code(&mut self, line: &str) {
        self.features.add(Measure::CodeLines, 1);
        self.filling.code(&mut self.features.bag, line);
        let indent =
            line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).map(|byte| if byte == b'\t' { 2 } else { 1 });
        let depth = indent.sum::<u32>() / 2;
        self.features.set(Measure::Nesting, self.features.get(Measure::Nesting).max(depth));
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        let branches = words.filter(|word| {
            matches!(*word, "for" | "if" | "while" | "elif" | "else" | "match" | "case" | "catch" | "except" | "in")
        });
        self.features.add(Measure::Branches, branches.count() as u32);
    }

    fn ask(&mut self, text: &str) {
        if self.features.get(Measure::Words) > 0 && labelled(text, &MATERIAL_LABELS) {
            self.features.add(Measure::Material, words_in(text));
            self.reworks = true;
            return;
        }
        self.marker(text);
        let (mut word, mut before, mut at, mut unquoted_until) = (Word::NONE, ' ', 0, 0);
        while let Some(bytes) = text.as_bytes().get(at..)
            && let Some(&byte) = bytes.first()
        {
            // Nearly all text goes one of these two ways, which need no decoding.
            if byte.is_ascii_alphanumeric() {
                let length = self.ascii_letters(&mut word, bytes, before);
                at += length;
                before = bytes.get(length - 1).map_or(' ', |&last| char::from(last));
                continue;
            }
            if byte == b' ' {
                self.end_word(&mut word, b"");
                at += 1;
                before = ' ';
                continue;
            }
            let Some((rest, c)) = text.get(at..).and_then(|rest| Some((rest, rest.chars().next()?))) else { break };
            let next = at + c.len_utf8();
            if is_unspaced(c) {
                self.end_word(&mut word, bytes);
                at += self.unspaced_word(rest).max(c.len_utf8());
            } else if is_word(c) {
                self.letter(&mut word, c, before);
                at = next;
            } else {
                self.end_word(&mut word, bytes);
                if self.brings_along(c) {
                    self.features.add(Measure::Material, words_in(text.get(next..).unwrap_or_default()));
                    self.reworks = true;
                    break;
                }
                at = match closing(c, before) {
                    Some(close) if at >= unquoted_until => match quotation(text, at, close) {
                        Some(end) => {
                            let words = words_in(text.get(at..end).unwrap_or_default());
                            self.features.add(Measure::Material, words.max(1));
                            end
                        }
                        None => {
                            unquoted_until = at + QUOTATION;
                            next
                        }
                    },
                    _ => next,
                };
                self.mark(c, text.get(next..).unwrap_or_default());
            }
            before = c;
        }
        self.end_word(&mut word, b"");
        self.end_sentence();
    }

    /// What stands at the beginning of a line: the letter of an option, the mark or number of a list's item.
    fn marker(&mut self, line: &str) {
        let bare = line.trim_start();
        let bracketed = bare.strip_prefix('(').unwrap_or(bare);
        let digits = bracketed.bytes().take_while(u8::is_ascii_digit).count();
        let lettered = bracketed.bytes().next().is_some_and(|first| first.is_ascii_uppercase());
        let name = if digits > 0 { digits } else { usize::from(lettered) };
        let marked = bracketed.get(name..).is_some_and(|rest| rest.starts_with(". ") || rest.starts_with(") "));
        if lettered && marked {
            self.features.add(Measure::Options, 1);
        } else if (digits > 0 && digits < 3 && marked)
            || ["- ", "* ", "• ", "– "].iter().any(|mark| bare.starts_with(mark))
        {
            self.features.add(Measure::Items, 1);
        }
    }

    /// Whether the ask ends here, at the colon after which stands the text to be reworked.
    fn brings_along(&self, c: char) -> bool {
        matches!(c, ':' | '：')
            && self.features.get(Measure::Rework) > 0
            && self.features.get(Measure::Words) <= REWORK_REACH
    }

    /// Takes in the letters and digits of ASCII at the beginning of `text`; how many they are. The same as [`letter`](Self::letter) for
    /// each of them.
    fn ascii_letters(&self, word: &mut Word, text: &[u8], before: char) -> usize {
        let Word { mut hash, mut stem, mut found, mut letters, mut digits, mut capital, mut identifier } = *word;
        let mut lower_before = before.is_ascii_lowercase();
        let mut length = text.len();
        for (at, &byte) in text.iter().enumerate() {
            // The bit that tells the cases of a letter apart.
            let folded = byte | 0x20;
            if folded.is_ascii_lowercase() {
                if folded == byte {
                    lower_before = true;
                } else {
                    capital |= letters == 0;
                    identifier |= letters > 0 && lower_before;
                    lower_before = false;
                }
                letters += 1;
                hash = hash.with_ascii(folded);
                stem = stem.with_ascii(folded);
                if letters >= SHORTEST_BEGINNING {
                    found = self.lexicon.beginning(stem).or(found);
                }
            } else if byte.is_ascii_digit() {
                lower_before = false;
                digits += 1;
            } else {
                length = at;
                break;
            }
        }
        *word = Word { hash, stem, found, letters, digits, capital, identifier };
        length
    }

    /// Takes in one letter or digit of a word.
    fn letter(&mut self, word: &mut Word, c: char, before: char) {
        if c == '_' {
            word.identifier |= word.letters > 0;
            return;
        }
        if c.is_ascii_digit() || c.is_numeric() {
            word.digits += 1;
            return;
        }
        word.capital |= word.letters == 0 && c.is_uppercase();
        word.identifier |= word.letters > 0 && c.is_ascii_uppercase() && before.is_ascii_lowercase();
        let folded = fold(c);
        word.letters += 1;
        word.hash = word.hash.with(folded);
        word.stem = word.stem.with(folded);
        self.other_script += u32::from(c as u32 >= 0x250 && !matches!(c as u32, 0x1e00..=0x1eff));
        if word.letters <= 3 && before == 'ا' && c == 'ل' {
            word.stem = Hash::EMPTY;
        } else if let Some(measure) = self.lexicon.beginning(word.stem) {
            word.found = Some(measure);
        }
    }

    /// Counts a word that ends before `rest`.
    fn end_word(&mut self, word: &mut Word, rest: &[u8]) {
        if word.letters == 0 && word.digits == 0 {
            *word = Word::NONE;
            return;
        }
        let Word { hash, stem, found, letters, digits, capital, identifier } = std::mem::replace(word, Word::NONE);
        if letters == 0 {
            self.features.add(Measure::Numbers, u32::from(digits > 0));
            if digits > 0 {
                self.sentence += 1;
                self.features.add(Measure::Words, 1);
                self.filling.number(&mut self.features.bag);
            }
            return;
        }
        self.word(hash, letters);
        let identifier = identifier || rest.starts_with(b"()");
        self.features.add(Measure::Identifiers, u32::from(identifier));
        self.features.add(Measure::Names, u32::from(capital && self.sentence > 1));
        if letters >= LONG {
            self.features.add(Measure::LongWords, 1);
            self.features.add(Measure::VeryLongWords, u32::from(letters >= VERY_LONG));
        }
        let whole = self.lexicon.whole(hash).or_else(|| (stem != hash).then(|| self.lexicon.whole(stem)).flatten());
        // `non-compact` is no refusal.
        let prefix = rest.starts_with(b"-") && whole == Some(Measure::Greeting);
        match whole.or(found) {
            Some(measure) if !prefix => self.features.add(measure, 1),
            None if letters >= RARE && !identifier => self.rare(letters, capital && self.sentence > 1),
            _ => {}
        }
    }

    /// Counts a word that no list knows; a short one with a capital within a sentence is a name.
    fn rare(&mut self, letters: u32, capital: bool) {
        self.features.add(Measure::Rare, u32::from(!capital || letters >= RARE_LONG));
        self.features.add(Measure::RareLong, u32::from(letters >= RARE_LONG));
    }

    fn word(&mut self, hash: Hash, letters: u32) {
        self.letters += letters;
        self.sentence += 1;
        self.features.add(Measure::Words, 1);
        self.filling.word(&mut self.features.bag, hash);
        let bit = hash.get().wrapping_mul(0x9e37_79b9) >> 22;
        if let Some(bits) = self.different.get_mut(bit as usize / 64) {
            *bits |= 1 << (bit % 64);
        }
    }

    /// Takes the longest known word, else one character, from the front of text without spaces; how many bytes that is.
    fn unspaced_word(&mut self, text: &str) -> usize {
        let (mut hash, mut taken, mut length, mut found) = (Hash::EMPTY, 0, 0, None);
        let mut word = None;
        let (mut characters, mut known) = (0, 1);
        for letter in text.chars().take(LONGEST_UNSPACED).take_while(|&c| is_unspaced(c)) {
            hash = hash.with(letter);
            length += letter.len_utf8();
            characters += 1;
            word = word.or(Some(hash));
            if let Some(measure) = self.lexicon.whole(hash) {
                word = Some(hash);
                (found, taken, known) = (Some(measure), length, characters);
            }
        }
        self.letters += known;
        self.other_script += known;
        let before = self.unspaced / 2;
        self.unspaced += known;
        let words = self.unspaced / 2 - before;
        self.sentence += words;
        self.features.add(Measure::Words, words.max(u32::from(self.unspaced == known)));
        if let Some(measure) = found {
            self.features.add(measure, 1);
        }
        if let Some(word) = word {
            self.filling.word(&mut self.features.bag, word);
        }
        let bit = text.chars().next().map_or(0, |first| (first as u32).wrapping_mul(0x9e37_79b9) >> 22);
        if let Some(bits) = self.different.get_mut(bit as usize / 64) {
            *bits |= 1 << (bit % 64);
        }
        taken
    }

    /// Counts a character between words.
    fn mark(&mut self, c: char, rest: &str) {
        match c {
            '?' | '？' | '؟' => {
                self.features.add(Measure::Questions, 1);
                self.end_sentence();
            }
            '.' | '!' if rest.is_empty() || rest.starts_with(char::is_whitespace) => self.end_sentence(),
            '。' | '！' | '।' | '\n' => self.end_sentence(),
            ',' | ';' | ':' | '(' | '，' | '、' | '；' | '：' | '（' | '،' => {
                self.features.add(Measure::Clauses, 1)
            }
            '+'
            | '='
            | '^'
            | '$'
            | '\\'
            | '<'
            | '>'
            | '*'
            | '/'
            | '|'
            | '{'
            | '±'
            | '×'
            | '÷'
            | '°'
            | '\u{2190}'..='\u{23ff}' => {
                self.features.add(Measure::Symbols, 1);
            }
            _ => {}
        }
        if c == '_' && rest.starts_with("__") {
            self.features.add(Measure::Blanks, 1);
        }
    }

    fn end_sentence(&mut self) {
        if self.sentence > 0 {
            self.features.add(Measure::Sentences, 1);
            let longest = self.features.get(Measure::LongestSentence).max(self.sentence);
            self.features.set(Measure::LongestSentence, longest);
            self.sentence = 0;
        }
    }
}

/// Whether a character is part of a word: every letter, digit and combining sign.
fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    match c {
        '\u{80}'..='\u{bf}' => matches!(c, 'ª' | 'µ' | 'º' | '²' | '³' | '¹'),
        '×' | '÷' | '،' | '؛' | '؟' | '।' | '॥' => false,
        '\u{2000}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' | '\u{fe00}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' => false,
        '\u{ff3b}'..='\u{ff40}' | '\u{ff5b}'..='\u{ff65}' | '\u{ffe0}'..='\u{ffff}' | '\u{1f000}'..='\u{1faff}' => {
            false
        }
        '\u{e000}'..='\u{f8ff}' | '\u{e0000}'.. => false,
        _ => true,
    }
}

/// What would close a quotation that opens with `c` after `before`.
fn closing(c: char, before: char) -> Option<char> {
    match c {
        '"' if !is_word(before) => Some('"'),
        '\'' if !is_word(before) => Some('\''),
        '“' | '„' => Some('”'),
        '‘' => Some('’'),
        '«' => Some('»'),
        '「' => Some('」'),
        '『' => Some('』'),
        _ => None,
    }
}

/// Where the quotation ends that opens at `open`, if it does and is not the whole text.
fn quotation(text: &str, open: usize, close: char) -> Option<usize> {
    let from = open + text.get(open..)?.chars().next()?.len_utf8();
    let mut before = ' ';
    for (at, c) in text.get(from..)?.char_indices() {
        if at > QUOTATION {
            return None;
        }
        let end = from + at + c.len_utf8();
        let ends = c == close || (close == '”' && c == '“');
        let after = text.get(end..).and_then(|rest| rest.chars().next());
        if ends && (close != '\'' || (before != ' ' && !after.is_some_and(is_word))) {
            let all = text.get(..open)?.trim().is_empty() && text.get(end..)?.trim().is_empty();
            return (!all).then_some(end);
        }
        before = c;
    }
    None
}

/// Whether a line begins with one of these labels and a colon.
fn labelled(line: &str, labels: &[&str]) -> bool {
    let bare = line.trim_start_matches([' ', '\t', '#', '*', '[']);
    let name = bare.bytes().take_while(u8::is_ascii_alphabetic).count();
    let Some((label, rest)) = bare.split_at_checked(name) else { return false };
    let label_ends =
        rest.starts_with(':') || rest.starts_with("]") || rest.starts_with("**:") || rest.starts_with(" :");
    label_ends && labels.iter().any(|known| known.eq_ignore_ascii_case(label))
}

/// About how many words a text has that is not read.
fn words_in(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(WORD_BYTES)).unwrap_or(u32::MAX)
}
