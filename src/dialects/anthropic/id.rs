//! Ids of calls. Anthropic takes `^[a-zA-Z0-9_-]+$`, other providers give what they like (`functions.name:0`).

use std::borrow::Cow;
use std::fmt::Write as _;

/// What opens an id that had to be rewritten.
const REWRITTEN: &str = "id_";

/// The id as Anthropic takes it (`^[a-zA-Z0-9_-]+$`): other bytes become `_` and two hexadecimal digits. No two ids become one, so that
/// calls and their results still find each other.
pub(super) fn valid_id(id: &str) -> Cow<'_, str> {
    let is_valid = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_valid && !id.starts_with(REWRITTEN) {
        return Cow::Borrowed(id);
    }
    let mut rewritten = String::with_capacity(REWRITTEN.len() + id.len() + 8);
    rewritten.push_str(REWRITTEN);
    for b in id.bytes() {
        if b.is_ascii_alphanumeric() || b == b'-' {
            rewritten.push(char::from(b));
        } else {
            // Writing to a String does not fail.
            let _ = write!(rewritten, "_{b:02x}");
        }
    }
    Cow::Owned(rewritten)
}

/// The id that [`valid_id`] rewrote; any other as it is.
pub(super) fn original_id(id: &str) -> Cow<'_, str> {
    id.strip_prefix(REWRITTEN).and_then(restored).map_or(Cow::Borrowed(id), Cow::Owned)
}

fn restored(rewritten: &str) -> Option<String> {
    let mut pieces = rewritten.split('_');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d30_ids_are_rewritten_and_restored() {
        for id in ["toolu_01A-b", "functions.get_weather:0", "", "id_x", "id_", "ümläut", "a b"] {
            let sent = valid_id(id);
            assert!(!sent.is_empty() && sent.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
            assert_eq!(original_id(&sent), id);
        }
        // What only looks rewritten is left alone.
        for id in ["id_zz_9", "id_x_", "toolu_1"] {
            assert_eq!(original_id(id), id);
        }
    }
}
