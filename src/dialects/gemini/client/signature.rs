//! What only the model that made it can read, in the one place that Gemini's clients send back: `thoughtSignature`.
//!
//! That field is base64 in this dialect, and SDKs decode and encode it on the way. A signature of Gemini's own stands there as it came;
//! one of another model's is wrapped with its origin and kind, so that it goes back to that model and to no other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::dialects::conversation::Opaque;
use crate::dialects::gemini::THOUGHT_SIGNATURE;

/// Opens a wrapped signature; no signature of Google's begins so.
const MARK: &str = "aipipe\0";

/// Writes a signature for a client.
pub(super) fn wrap(opaque: &Opaque) -> String {
    STANDARD.encode(format!("{MARK}{}\0{}\0{}", opaque.origin, opaque.kind, opaque.data))
}

/// Reads what a client sent back; Gemini's own has no origin.
pub(super) fn unwrap(text: &str) -> Opaque {
    let wrapped = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let opened = wrapped.as_deref().and_then(|text| text.strip_prefix(MARK)).and_then(|rest| {
        let mut pieces = rest.splitn(3, '\0');
        let (origin, kind, data) = (pieces.next()?, pieces.next()?, pieces.next()?);
        Some(Opaque { origin: origin.to_owned(), kind: known(kind)?, data: data.to_owned() })
    });
    opened.unwrap_or_else(|| Opaque { origin: String::new(), kind: THOUGHT_SIGNATURE, data: text.to_owned() })
}

fn known(kind: &str) -> Option<&'static str> {
    ["signature", "redacted", "encrypted", THOUGHT_SIGNATURE].into_iter().find(|known| *known == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_comes_back_with_its_origin() {
        let claude = Opaque { origin: "anthropic/claude".into(), kind: "signature", data: "sig+/=\u{0}x".into() };
        assert_eq!(unwrap(&wrap(&claude)), claude);
        let google = Opaque { origin: "gemini/gemini-3".into(), kind: THOUGHT_SIGNATURE, data: "AbC=".into() };
        assert_eq!(unwrap(&wrap(&google)), google);
        for raw in ["EqQBCqEBAX==", "skip_thought_signature_validator", "", "YWlwaXBlAA=="] {
            assert_eq!(unwrap(raw).data, raw);
        }
    }
}
