//! How one record lies in a segment, and how the records of a damaged segment are found again.
//!
//! A record is `FF 41 4A 01` · length of the payload · CRC-32 of length and payload (both little-endian `u32`) · payload. The payload
//! is JSON, so the mark's first byte, which no UTF-8 text holds, cannot occur in it: whatever a client sends, it cannot plant a record
//! for the search after damage to find.

use memchr::memmem;
use serde::Serialize;

const MARK: [u8; 4] = [0xFF, b'A', b'J', 1];
const HEADER_LEN: usize = 12;
/// Beyond any record: a length above it is damage.
const MAX_PAYLOAD: usize = 64 << 20;

fn header(payload: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD)?.to_le_bytes();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    let [m0, m1, m2, m3] = MARK;
    let [l0, l1, l2, l3] = length;
    let [c0, c1, c2, c3] = hasher.finalize().to_le_bytes();
    Some([m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3])
}

/// The bytes of a record, ready for one write.
pub(super) fn encode(entry: &impl Serialize, size_hint: usize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + size_hint);
    bytes.resize(HEADER_LEN, 0);
    serde_json::to_writer(&mut bytes, entry)?;
    let header = bytes.get(HEADER_LEN..).and_then(header);
    match (header, bytes.first_chunk_mut()) {
        (Some(header), Some(place)) => *place = header,
        _ => return Err(serde::ser::Error::custom("the record is too long")),
    }
    Ok(bytes)
}

/// What stands in a segment, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// The payload of an undamaged record.
    Record(&'a [u8]),
    /// Bytes that are no record: how many records began in them, as far as can be told, and at least one.
    Damage {
        /// Records that were lost.
        records: u64,
    },
}

/// Reads a segment's bytes from the start to the end.
pub(super) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        if let Some((payload, rest)) = split_record(self.rest) {
            self.rest = rest;
            return Some(Found::Record(payload));
        }
        let (gap, rest) = split_gap(self.rest);
        self.rest = rest;
        // Zeros up to the end were never written: the file was longer than its records.
        if rest.is_empty() && gap.iter().all(|byte| *byte == 0) {
            return None;
        }
        Some(Found::Damage { records: (memmem::find_iter(gap, &MARK).count() as u64).max(1) })
    }
}

/// The payload of the record at the start of `bytes`, and what follows it; `None` where none starts there undamaged.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, body) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let [m0, m1, m2, m3, l0, l1, l2, l3, ..] = *found;
    if [m0, m1, m2, m3] != MARK {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
    let (payload, rest) = body.split_at_checked(length)?;
    (header(payload)? == *found).then_some((payload, rest))
}

/// The bytes before the next undamaged record, and those from it on.
fn split_gap(bytes: &[u8]) -> (&[u8], &[u8]) {
    memmem::find_iter(bytes, &MARK)
        .filter_map(|at| bytes.split_at_checked(at))
        .find(|(_, rest)| split_record(rest).is_some())
        .unwrap_or((bytes, &[]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use proptest::prelude::*;

    fn records(bytes: &[u8]) -> (Vec<String>, u64) {
        let mut payloads = Vec::new();
        let mut damaged = 0;
        for found in Scan::new(bytes) {
            match found {
                Found::Record(payload) => payloads.push(serde_json::from_slice(payload).unwrap()),
                Found::Damage { records } => damaged += records,
            }
        }
        (payloads, damaged)
    }

    #[test]
    fn an_empty_segment_and_a_preallocated_one_hold_nothing() {
        assert_eq!(records(&[]), (vec![], 0));
        assert_eq!(records(&[0; 4096]), (vec![], 0));
    }

    #[test]
    fn a_torn_record_is_damage_and_hides_nothing_before_it() {
        let whole = encode(&"whole", 0).unwrap();
        for cut in 1..whole.len() {
            let bytes = [&whole[..], &whole[..cut]].concat();
            assert_eq!(records(&bytes), (vec!["whole".to_owned()], 1), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn records_come_back_in_order(texts in prop::collection::vec(".{0,60}", 0..20), tail in 0usize..50) {
            let mut bytes: Vec<u8> = texts.iter().flat_map(|text| encode(text, 8).unwrap()).collect();
            bytes.resize(bytes.len() + tail, 0);
            prop_assert_eq!(records(&bytes), (texts, 0));
        }

        #[test]
        fn damage_costs_only_the_records_it_touches(
            texts in prop::collection::vec(".{0,60}", 1..20),
            from in any::<prop::sample::Index>(),
            garbage in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut bytes = Vec::new();
            let mut spans = Vec::new();
            for text in &texts {
                let start = bytes.len();
                bytes.extend(encode(text, 8).unwrap());
                spans.push(start..bytes.len());
            }
            let start = from.index(bytes.len());
            let end = (start + garbage.len()).min(bytes.len());
            let before = bytes.clone();
            bytes[start..end].copy_from_slice(&garbage[..end - start]);
            let untouched: Vec<String> = texts.iter().zip(&spans)
                .filter(|(_, span)| bytes[span.start..span.end] == before[span.start..span.end])
                .map(|(text, _)| text.clone())
                .collect();
            let lost = texts.len() - untouched.len();
            let (found, damaged) = records(&bytes);
            prop_assert_eq!(found, untouched);
            // Zeros from a lost record to the end look like space that was never written.
            let first_lost = spans.iter().find(|span| bytes[span.start..span.end] != before[span.start..span.end]);
            let seen = first_lost.is_some_and(|span| bytes[span.start..].iter().any(|byte| *byte != 0));
            prop_assert_eq!(damaged > 0, seen);
            prop_assert!(damaged <= (lost + garbage.len()) as u64);
        }
    }
}
