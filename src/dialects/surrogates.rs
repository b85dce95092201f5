//! Characters that a stream splits: JSON writes those beyond the basic plane as a pair of escapes, and some servers send the first half
//! at the end of one event and the second at the beginning of the next. No JSON reader takes half a pair.

use std::borrow::Cow;

/// What JSON writes for a half that has no other.
const REPLACEMENT: &str = "\\ufffd";
/// Bytes of `\uXXXX`.
const ESCAPE: usize = 6;

/// Joins the halves within the events of one stream.
#[derive(Debug, Default)]
pub struct Surrogates {
    /// A first half that ended a string, as written.
    held: Option<String>,
}

impl Surrogates {
    /// The data of the next event with whole characters only: a first half at the end of a string waits for the event whose strings
    /// begin with a second one, where it is put in front. A half that is alone anywhere else becomes U+FFFD.
    pub fn join<'d>(&mut self, data: &'d str) -> Cow<'d, str> {
        if !data.contains("\\ud") && !data.contains("\\uD") {
            return Cow::Borrowed(data);
        }
        let mut joined = String::with_capacity(data.len() + ESCAPE);
        let before = self.held.take();
        let mut is_used = false;
        let mut rest = data;
        while let Some(at) = rest.find('\\') {
            let (plain, escape) = rest.split_at(at);
            joined.push_str(plain);
            let taken = match half(escape) {
                // `\\` and `\"` are taken together, or the second would be read by itself.
                None => escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end),
                Some(Half::First) if escape.get(ESCAPE..).and_then(half) == Some(Half::Second) => 2 * ESCAPE,
                Some(_) => ESCAPE,
            };
            let (text, after) = escape.split_at(taken);
            rest = after;
            match half(text) {
                Some(Half::First) if taken == ESCAPE && after.starts_with('"') => self.held = Some(text.to_owned()),
                Some(Half::Second) if joined.ends_with('"') && before.is_some() => {
                    is_used = true;
                    joined.push_str(before.as_deref().unwrap_or_default());
                    joined.push_str(text);
                }
                Some(_) if taken == ESCAPE => joined.push_str(REPLACEMENT),
                _ => joined.push_str(text),
            }
        }
        joined.push_str(rest);
        if !is_used && self.held.is_none() {
            self.held = before;
        }
        Cow::Owned(joined)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

/// Which half of a pair an escape at the beginning of a text is.
fn half(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::First),
        0xDC00..=0xDFFF => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn joined(events: &[&str]) -> Vec<String> {
        let mut surrogates = Surrogates::default();
        events.iter().map(|event| surrogates.join(event).into_owned()).collect()
    }

    #[test]
    fn d160_halves_of_a_pair_are_joined() {
        for (events, expected) in [
            (vec![r#"{"a":"x\ud83d"}"#, r#"{"a":"\ude00y"}"#], vec![r#"{"a":"x"}"#, r#"{"a":"\ud83d\ude00y"}"#]),
            // The same text under two names, and an event between.
            (
                vec![r#"{"a":"\uD83D","b":"\uD83D"}"#, r#"{"a":"\\ud83d"}"#, r#"{"a":"\uDE00","b":"\uDE00"}"#],
                vec![r#"{"a":"","b":""}"#, r#"{"a":"\\ud83d"}"#, r#"{"a":"\uD83D\uDE00","b":"\uD83D\uDE00"}"#],
            ),
            (vec![r#"["\ud83d\ude00","\\\ud83d"]"#], vec![r#"["\ud83d\ude00","\\"]"#]),
            (vec![r#"["\ud83dx","x\ude00","\ude00"]"#], vec![r#"["\ufffdx","x\ufffd","\ufffd"]"#]),
            (vec![r#"["\ud83d\ud83d\ude00"]"#], vec![r#"["\ufffd\ud83d\ude00"]"#]),
            (vec![r#"["\udbff\u00e9\"\ud", "#], vec![r#"["\ufffd\u00e9\"\ud", "#]),
        ] {
            assert_eq!(joined(&events), expected);
        }
    }

    proptest! {
        /// A text cut anywhere between its UTF-16 units reads as the same text.
        #[test]
        fn d160_any_cut_between_units_gives_the_same_text(text in "[a\"\\\\é😀𝄞]{0,12}", cuts in prop::collection::vec(0usize..24, 0..4)) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(units.len())).chain([units.len()]).collect();
            ends.sort_unstable();
            let mut start = 0;
            let mut surrogates = Surrogates::default();
            let mut read = String::new();
            for end in ends {
                let escaped: String = units[start..end].iter().map(|unit| format!("\\u{unit:04x}")).collect();
                let event = json!({"t": "?"}).to_string().replace('?', &escaped);
                let value: Value = serde_json::from_str(&surrogates.join(&event)).unwrap();
                read.push_str(value["t"].as_str().unwrap());
                start = end;
            }
            prop_assert_eq!(read, text);
        }
    }
}
