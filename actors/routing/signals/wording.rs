//! What the form of the words tells, whatever they mean: learned endings, formal notation, how a sentence opens.

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

fn is_learned(word: &str) -> bool {
    // The last byte tells most endings off before they are compared.
    let last = word.as_bytes().last();
    LEARNED_ENDINGS.iter().any(|ending| ending.as_bytes().last() == last && word.ends_with(ending))
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
        for token in text.split_ascii_whitespace() {
            let word = token.trim_matches(|c: char| !c.is_alphanumeric());
            if !opener.is_empty() {
                wording.opened(opener, word);
                opener = "";
            }
            if opens && !word.is_empty() {
                opener = word;
            }
            opens = token.ends_with(['.', '?', '!', '।']) || (opens && word.is_empty());
            match form(word) {
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
    // Most words are; the rest are looked at more closely.
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Form::Plain;
    }
    let (mut upper, mut lower, mut digits, mut operators, mut other) = (0, 0, 0, 0, false);
    for byte in word.bytes() {
        match byte {
            b'A'..=b'Z' => upper += 1,
            b'a'..=b'z' => lower += 1,
            b'0'..=b'9' => digits += 1,
            b'(' | b'[' | b'^' | b'_' | b'=' | b'<' | b'>' | b'{' | b'|' => operators += 1,
            b':' | b'@' => other = true,
            _ => {}
        }
    }
    let letters = upper + lower;
    let starts_with_letter = word.starts_with(|c: char| c.is_ascii_alphabetic());
    if other {
        Form::Plain
    } else if (operators > 0 && letters + digits > 0) || (digits > 0 && letters > 0 && starts_with_letter) {
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
