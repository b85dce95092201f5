//! What the form of the words tells, whatever they mean: learned endings, formal notation, how a sentence opens.

use std::sync::LazyLock;

use super::measures::Measure;

/// Bytes from which on a word is looked at for a learned ending.
const LEARNED_BYTES: usize = 8;
/// Endings of abstract nouns and learned adjectives in European languages.
const LEARNED_ENDINGS: [&str; 59] = [
    "tion",
    "tions",
    "sion",
    "ity",
    "ities",
    "ism",
    "isms",
    "osis",
    "itis",
    "emia",
    "oma",
    "ology",
    "ometry",
    "ography",
    "morphism",
    "ase",
    "ible",
    "ization",
    "isation",
    "ance",
    "ence",
    "ency",
    "ancy",
    "ative",
    "istic",
    "ical",
    "ular",
    "ivity",
    "itive",
    "ción",
    "ciones",
    "sión",
    "dad",
    "ismo",
    "ção",
    "ções",
    "dade",
    "ung",
    "ungen",
    "heit",
    "keit",
    "tät",
    "zione",
    "zioni",
    "ità",
    "ité",
    "ités",
    "isme",
    "teit",
    "atie",
    "cja",
    "cji",
    "ość",
    "ości",
    "ция",
    "ции",
    "ность",
    "ности",
    "ения",
];
/// Words that open a question whether something holds.
const WHETHER: [&str; 34] = [
    "is",
    "are",
    "was",
    "were",
    "does",
    "do",
    "did",
    "can",
    "could",
    "should",
    "would",
    "will",
    "has",
    "have",
    "may",
    "must",
    "if",
    "est-ce",
    "peut-on",
    "ist",
    "kann",
    "darf",
    "muss",
    "puede",
    "existe",
    "può",
    "kan",
    "mag",
    "czy",
    "apakah",
    "чи",
    "может",
    "هل",
    "är",
];
/// Auxiliaries that after `how` or `what` open a question for a mechanism or a consequence, not for a fact.
const MECHANISM: [&str; 14] = [
    "do",
    "does",
    "did",
    "can",
    "could",
    "would",
    "should",
    "might",
    "must",
    "happens",
    "makes",
    "if",
    "prevents",
    "determines",
];

/// The learned endings by their last byte, which tells most of them off before they are compared.
static LEARNED: LazyLock<[Vec<&str>; 256]> = LazyLock::new(|| {
    let mut by_last = [const { Vec::new() }; 256];
    for ending in LEARNED_ENDINGS {
        let last = ending.bytes().last().and_then(|last| by_last.get_mut(usize::from(last)));
        last.into_iter().for_each(|endings| endings.push(ending));
    }
    by_last
});

fn is_learned(word: &str) -> bool {
    let last = word.bytes().last().and_then(|last| LEARNED.get(usize::from(last)));
    last.is_some_and(|endings| endings.iter().any(|ending| word.ends_with(ending)))
}

/// What a byte is to the form of a word; of a word, what all its bytes are.
type Class = u8;
const LOWER: Class = 1;
const UPPER: Class = 2;
const DIGIT: Class = 4;
const OPERATOR: Class = 8;
/// Makes of a word a label, an address or a time.
const COLON: Class = 16;
const OTHER: Class = 32;
/// Part of a letter that is not of ASCII.
const FOREIGN: Class = 64;
const SPACE: Class = 128;

#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
static CLASSES: [Class; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'0'..=b'9' => DIGIT,
            b'(' | b'[' | b'^' | b'_' | b'=' | b'<' | b'>' | b'{' | b'|' => OPERATOR,
            b':' | b'@' => COLON,
            b' ' | b'\t' | b'\n' | b'\x0c' | b'\r' => SPACE,
            0x80.. => FOREIGN,
            _ => OTHER,
        };
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// The words of a text between spaces, each with the classes of its bytes.
fn tokens(text: &str) -> impl Iterator<Item = (&str, Class)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        let spaces = bytes.get(at..)?.iter().take_while(|&&byte| class(byte) == SPACE).count();
        let start = at + spaces;
        let (mut seen, mut end) = (0, start);
        for &byte in bytes.get(start..)? {
            let class = class(byte);
            if class == SPACE {
                break;
            }
            seen |= class;
            end += 1;
        }
        at = end;
        text.get(start..end).filter(|token| !token.is_empty()).map(|token| (token, seen))
    })
}

/// How often each form occurs in a piece of an ask.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wording {
    learned: u32,
    notation: u32,
    whether: u32,
    mechanism: u32,
}

impl Wording {
    /// Counts the forms of one line in one pass.
    pub(super) fn of(text: &str) -> Self {
        let mut wording = Self::default();
        let (mut capitals, mut small) = (0, 0);
        let (mut opens, mut opener) = (true, "");
        for (token, classes) in tokens(text) {
            let is_plain = classes == LOWER;
            let word = if is_plain { token } else { token.trim_matches(|c: char| !c.is_alphanumeric()) };
            if !opener.is_empty() {
                wording.opened(opener, word);
                opener = "";
            }
            if opens && !word.is_empty() {
                opener = word;
            }
            opens = !is_plain && (token.ends_with(['.', '?', '!', '।']) || (opens && word.is_empty()));
            match if is_plain { Form::Plain } else { form(word) } {
                Form::Capitals => capitals += 1,
                Form::Formal => wording.notation += 1,
                Form::Plain => {
                    small += 1;
                    wording.learned += u32::from(word.len() >= LEARNED_BYTES && is_learned(word));
                }
            }
        }
        // Where most words are in capitals, somebody shouts.
        if capitals <= small {
            wording.notation += capitals;
        }
        wording
    }

    /// What was counted, by name.
    pub(super) fn counts(self) -> [(Measure, u32); 4] {
        [
            (Measure::Learned, self.learned),
            (Measure::Notation, self.notation),
            (Measure::Whether, self.whether),
            (Measure::Mechanism, self.mechanism),
        ]
    }

    /// Takes in the first two words of a sentence.
    fn opened(&mut self, first: &str, second: &str) {
        let is_any = |word: &str, known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(word));
        if is_any(first, &["how", "what"]) && is_any(second, &MECHANISM) || is_any(first, &["under", "why"]) {
            self.mechanism += 1;
        } else if !second.eq_ignore_ascii_case("you") && (is_any(first, &WHETHER) || first == "Может") {
            self.whether += 1;
        }
    }
}

enum Form {
    /// An abbreviation: `HMAC`, `eGFR` is one too.
    Capitals,
    /// Letters and digits or operators in one: `f(x)`, `x^2`, `p53`.
    Formal,
    Plain,
}

fn form(word: &str) -> Form {
    let (mut classes, mut upper, mut lower) = (0, 0, 0);
    for byte in word.bytes() {
        let class = class(byte);
        classes |= class;
        upper += usize::from(class == UPPER);
        lower += usize::from(class == LOWER);
    }
    let has = |class: Class| classes & class != 0;
    let starts_with_letter = word.starts_with(|c: char| c.is_ascii_alphabetic());
    if has(COLON) {
        Form::Plain
    } else if (has(OPERATOR) && has(LOWER | UPPER | DIGIT)) || (has(DIGIT) && has(LOWER | UPPER) && starts_with_letter)
    {
        Form::Formal
    } else if upper >= 2 && upper >= lower {
        Form::Capitals
    } else {
        Form::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_counted_whatever_the_words_mean() {
        for (text, measure, count) in [
            ("Is flumph associativity quantization?", Measure::Learned, 2),
            ("does HMAC of f(x) hold for p53", Measure::Notation, 3),
            ("WRITE ME A POEM", Measure::Notation, 0),
            ("at 7pm on the 2nd", Measure::Notation, 0),
            ("Is it so? Can you say?", Measure::Whether, 1),
            ("How does it rise? How old is it?", Measure::Mechanism, 1),
        ] {
            let counts = Wording::of(text).counts();
            assert!(counts.contains(&(measure, count)), "{text}: {counts:?}");
        }
    }
}
