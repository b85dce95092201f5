//! Which words and pairs of neighbouring words an ask has, whatever they mean: a set of buckets that their hashes fall into.

use super::lexicon::Hash;

/// Bits of a bucket's number.
const BUCKET_BITS: u32 = 14;
/// Stands for every number of an ask.
const NUMBER: Hash = Hash::EMPTY;
/// Bytes of a word with its space where words are many: each has a bucket for itself and one for its pair.
const WORD_BYTES: usize = 3;
/// Longer asks are rare: their bag grows as it has to.
const MOST_BYTES: usize = 1_000;
/// Bytes of code that are read at most: what kind of code it is shows soon.
const CODE_BYTES: usize = 1_000;

/// The buckets that the words of an ask and their pairs fall into, each once, as they came.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Bag(Vec<u16>);

impl Bag {
    /// How many buckets there are.
    pub const BUCKETS: usize = 1 << BUCKET_BITS;

    /// With room for the words of a text of so many bytes.
    pub(super) fn for_text(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes.min(MOST_BYTES) / WORD_BYTES))
    }

    /// The buckets in use.
    pub fn buckets(&self) -> &[u16] {
        &self.0
    }

    /// Whether it has all that another one has.
    pub fn holds(&self, other: &Self) -> bool {
        other.0.iter().all(|bucket| self.0.contains(bucket))
    }

    /// Takes over what another bag holds.
    pub(super) fn join(&mut self, other: &Self) {
        let mut filling = Filling::of(self);
        for &bucket in &other.0 {
            filling.put(self, bucket);
        }
    }
}

/// The state of a bag that is being filled: what it holds already, and the word before.
pub(super) struct Filling {
    /// One bit for each bucket.
    held: [u64; Bag::BUCKETS / 64],
    before: Option<Hash>,
    /// Bytes of code that may still be read.
    code_bytes: usize,
}

impl Filling {
    pub(super) fn of(bag: &Bag) -> Self {
        let mut filling = Self { held: [0; Bag::BUCKETS / 64], before: None, code_bytes: CODE_BYTES };
        for &bucket in bag.buckets() {
            filling.take(bucket);
        }
        filling
    }

    /// Puts in a word, and the pair that it makes with the one before.
    pub(super) fn word(&mut self, bag: &mut Bag, hash: Hash) {
        self.put(bag, bucket(hash.get()));
        if let Some(before) = self.before.replace(hash) {
            self.put(bag, bucket(before.get().wrapping_mul(0x85eb_ca6b) ^ hash.get()));
        }
    }

    /// Puts in a number: which one it is does not matter.
    pub(super) fn number(&mut self, bag: &mut Bag) {
        self.word(bag, NUMBER);
    }

    /// Puts in the names and numbers of a line of code, apart from the same words in prose.
    pub(super) fn code(&mut self, bag: &mut Bag, line: &str) {
        let Some(rest) = self.code_bytes.checked_sub(line.len()) else { return };
        self.code_bytes = rest;
        for name in
            line.as_bytes().split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').filter(|name| !name.is_empty())
        {
            let letters = name.iter().filter(|byte| byte.is_ascii_alphabetic());
            self.word(bag, letters.fold(Hash::EMPTY, |hash, letter| hash.with_ascii(letter.to_ascii_lowercase())));
        }
    }

    /// Ends a message: its last word and the first of the next are no pair.
    pub(super) fn end_message(&mut self) {
        self.before = None;
    }

    fn put(&mut self, bag: &mut Bag, bucket: u16) {
        if self.take(bucket) {
            bag.0.push(bucket);
        }
    }

    /// Whether a bucket was empty until now.
    fn take(&mut self, bucket: u16) -> bool {
        let bit = 1 << (bucket % 64);
        let Some(bits) = self.held.get_mut(usize::from(bucket / 64)) else { return false };
        let empty = *bits & bit == 0;
        *bits |= bit;
        empty
    }
}

fn bucket(hash: u32) -> u16 {
    // Fibonacci hashing: the upper bits of the product depend on all of the hash.
    (hash.wrapping_mul(0x9e37_79b9) >> (u32::BITS - BUCKET_BITS)) as u16
}
