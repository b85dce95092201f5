//! Which words tell something of a request: a table of word beginnings in some twenty languages, looked up letter by letter.

use std::sync::LazyLock;

use super::measures::Measure;

/// The words, with a line on their form at the head of the file.
const WORDS: &str = include_str!("lexicon.txt");
/// Words that are only known to be no rare ones.
const EVERYDAY: &str = include_str!("everyday.txt");
/// Places of the table: a power of two, more than twice as many as there are words, so that a search ends soon.
const PLACES: usize = 1 << 15;
/// Words of 64 bits of the filter before it.
const BEGINNING_WORDS: usize = 512;
/// Letters of the shortest beginning of a word that means something.
pub(super) const SHORTEST_BEGINNING: u32 = 3;
/// Longest entry of a script without spaces, in characters.
pub(super) const LONGEST_UNSPACED: usize = 7;

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::read(WORDS, EVERYDAY));

/// The shipped lexicon.
pub(super) fn lexicon() -> &'static Lexicon {
    &LEXICON
}

/// A running hash of a word's letters (FNV-1a over folded characters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(u32);

impl Hash {
    /// Of no letter.
    pub(super) const EMPTY: Self = Self(0x811c_9dc5);

    /// With one more letter.
    pub(super) fn with(self, letter: char) -> Self {
        let mut hash = self.0;
        let mut code = letter as u32;
        while code > 0 {
            hash = (hash ^ (code & 0xff)).wrapping_mul(0x0100_0193);
            code >>= 8;
        }
        Self(hash)
    }

    /// The same for a letter of ASCII, which is one byte and not 0.
    pub(super) const fn with_ascii(self, letter: u8) -> Self {
        Self((self.0 ^ letter as u32).wrapping_mul(0x0100_0193))
    }

    /// The hash as a number.
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

/// How much of a word an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    Beginning,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: Hash,
    measure: Measure,
    extent: Extent,
}

/// Words by hash.
pub(super) struct Lexicon {
    places: Box<[Option<Entry>]>,
    /// One bit for each beginning, by hash: most letters end a search here, in a cache line that is near.
    beginnings: Box<[u64; BEGINNING_WORDS]>,
}

impl Lexicon {
    /// From its words and from others, which count only where they have no meaning yet.
    fn read(words: &str, others: &str) -> Self {
        let mut lexicon =
            Self { places: vec![None; PLACES].into_boxed_slice(), beginnings: Box::new([0; BEGINNING_WORDS]) };
        lexicon.take(words, |_, _, _| true);
        lexicon.take(others, |lexicon, word, measure| match lexicon.meaning(word) {
            Some(known) => known == Measure::Common && measure == Measure::Factual,
            None => true,
        });
        lexicon
    }

    fn take(&mut self, words: &str, wanted: impl Fn(&Self, &str, Measure) -> bool) {
        let mut measure = None;
        for line in words.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(heading) => measure = Measure::named(heading),
                None => {
                    for word in line.split_whitespace() {
                        if let Some(measure) = measure.filter(|&measure| wanted(self, word, measure)) {
                            self.insert(word, measure);
                        }
                    }
                }
            }
        }
    }

    /// What a word means that is spelt out.
    fn meaning(&self, word: &str) -> Option<Measure> {
        let (mut hash, mut found) = (Hash::EMPTY, None);
        for letter in word.chars() {
            hash = hash.with(fold(letter));
            found = self.beginning(hash).or(found);
        }
        self.whole(hash).or(found)
    }

    fn insert(&mut self, word: &str, measure: Measure) {
        let stem = word.trim_end_matches('*');
        // Endings are written onto the word in these scripts, so that every entry is a stem.
        let inflected = stem.chars().next().is_some_and(is_hangul)
            || (stem.chars().count() > 3
                && stem.chars().all(|c| matches!(c, '\u{590}'..='\u{6ff}' | '\u{900}'..='\u{d7f}')));
        let extent = if stem.len() < word.len() || inflected { Extent::Beginning } else { Extent::Whole };
        let hash = stem.chars().fold(Hash::EMPTY, |hash, letter| hash.with(fold(letter)));
        if extent == Extent::Beginning {
            let (at, bit) = filter_bit(hash);
            if let Some(bits) = self.beginnings.get_mut(at) {
                *bits |= bit;
            }
        }
        let mut at = place(hash);
        for _ in 0..PLACES {
            let Some(slot) = self.places.get_mut(at) else { return };
            match slot {
                Some(entry) if entry.hash != hash || entry.extent != extent => at = (at + 1) % PLACES,
                _ => {
                    *slot = Some(Entry { hash, measure, extent });
                    return;
                }
            }
        }
    }

    /// What a whole word means.
    pub(super) fn whole(&self, hash: Hash) -> Option<Measure> {
        self.find(hash, Extent::Whole)
    }

    /// What all words mean that begin so.
    pub(super) fn beginning(&self, hash: Hash) -> Option<Measure> {
        let (at, bit) = filter_bit(hash);
        let possible = self.beginnings.get(at).is_some_and(|bits| bits & bit != 0);
        if possible { self.find(hash, Extent::Beginning) } else { None }
    }

    fn find(&self, hash: Hash, extent: Extent) -> Option<Measure> {
        let mut at = place(hash);
        while let Some(Some(entry)) = self.places.get(at) {
            if entry.hash == hash && entry.extent == extent {
                return Some(entry.measure);
            }
            at = (at + 1) % PLACES;
        }
        None
    }
}

fn place(hash: Hash) -> usize {
    (hash.0.wrapping_mul(0x9e37_79b9) >> 17) as usize % PLACES
}

fn filter_bit(hash: Hash) -> (usize, u64) {
    let at = hash.0.wrapping_mul(0x9e37_79b9) >> 17;
    (at as usize / 64 % BEGINNING_WORDS, 1 << (at % 64))
}

/// A letter in lower case and, where it is Latin or Greek, without its diacritic.
pub(super) fn fold(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    let lower = letter.to_lowercase().next().unwrap_or(letter);
    match lower {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' | 'ß' => 's',
        'ť' | 'ţ' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ά' => 'α',
        'έ' => 'ε',
        'ή' => 'η',
        'ί' | 'ϊ' | 'ΐ' => 'ι',
        'ό' => 'ο',
        'ύ' | 'ϋ' | 'ΰ' => 'υ',
        'ώ' => 'ω',
        'ς' => 'σ',
        other => other,
    }
}

/// Whether a character belongs to a script that puts no spaces between words.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}')
}
