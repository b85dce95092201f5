//! A key for the answer cache: the same for bodies that ask the same, whatever their white space and the order of their members.
//!
//! A keyed SipHash of the body makes 128 bits. The key is random for each process and a cache key is always the tenant's own, so that
//! a tenant who found a collision would harm nobody but itself.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use aipipe_actors::routing::digest::PromptKey;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Members;

/// Members that change what is done with the answer and not what it is.
const IGNORED: [&str; 6] = ["model", "aipipe", "stream", "stream_options", "user", "metadata"];

/// The secret that keys are made with: one for each process.
#[derive(Debug, Clone, Default)]
pub struct PromptHasher(RandomState, RandomState);

/// Feeds the hash with pieces whose borders do not depend on white space.
struct Feed {
    hasher: SipHasher13,
    /// Bytes outside strings, gathered so that they are hashed together.
    gathered: [u8; 64],
    length: usize,
}

impl Feed {
    fn string(&mut self, raw: &[u8]) {
        self.flush();
        self.hasher.write_u8(b'"');
        self.hasher.write_usize(raw.len());
        self.hasher.write(raw);
    }

    fn byte(&mut self, byte: u8) {
        if self.length == self.gathered.len() {
            self.flush();
        }
        if let Some(slot) = self.gathered.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn flush(&mut self) {
        let gathered = self.gathered.get(..self.length).unwrap_or_default();
        self.hasher.write_usize(gathered.len());
        self.hasher.write(gathered);
        self.length = 0;
    }

    /// A value that the scan has found to be JSON.
    fn value(&mut self, json: &[u8]) {
        let mut rest = json;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                b'"' => {
                    let length = string_length(after);
                    self.string(after.get(..length).unwrap_or_default());
                    rest = after.get(length + 1..).unwrap_or_default();
                }
                other => self.byte(other),
            }
        }
        self.flush();
    }
}

/// The bytes up to the closing quote.
fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(offset) if rest.get(offset) == Some(&b'\\') => at += offset + 2,
            Some(offset) => return at + offset,
            None => return text.len(),
        }
    }
}

impl PromptHasher {
    /// What starts every key: the process's secret, and the surface.
    fn feed(&self, surface: &[&str]) -> Feed {
        let secret = |state: &RandomState| state.build_hasher().finish();
        let hasher = SipHasher13::new_with_keys(secret(&self.0), secret(&self.1));
        let mut feed = Feed { hasher, gathered: [0; 64], length: 0 };
        for part in surface {
            feed.string(part.as_bytes());
        }
        feed
    }

    /// The key of JSON that decides the answer, in a dialect whose members are not told apart here.
    pub fn key_of(&self, surface: &[&str], json: &[u8]) -> PromptKey {
        let mut feed = self.feed(surface);
        feed.value(json);
        PromptKey(feed.hasher.finish128().as_u128())
    }

    /// The key of a body with these members.
    pub(in crate::dialects) fn key(&self, text: &str, members: &Members<'_>, surface: &[&str]) -> PromptKey {
        let mut members: Vec<(Cow<'_, str>, &str)> = members
            .iter()
            .map(|member| (member.name.decode(), text.get(member.value.clone()).unwrap_or_default()))
            .filter(|(name, value)| *value != "null" && !IGNORED.contains(&&**name))
            .collect();
        members.sort_unstable();
        let mut feed = self.feed(surface);
        for (name, value) in members {
            feed.string(name.as_bytes());
            feed.value(value.as_bytes());
        }
        PromptKey(feed.hasher.finish128().as_u128())
    }
}
