//! Where the origin of opaque things stands: in front of them, in the very string that carries them.
//!
//! Clients send one string of a thought back unchanged, and nothing else: in Anthropic Messages the `signature` of a `thinking` block and
//! the `data` of a `redacted_thinking` block, in OpenAI Responses the `encrypted_content` of a `reasoning` item. What a model of another
//! dialect made, and what was made for a translated answer, is therefore written there as `aipipe:1:<kind>:<origin>:<data>`: `kind` says
//! what the data is, `origin` is the `provider/model` that alone can read it (with `%` and `:` escaped as `%25` and `%3A`), `data` is as
//! it came. Nothing that a provider encrypts begins so, since a colon is no letter of base64: a string without the mark is the dialect's
//! own, and AiPipe does not know from it which model made it.
//!
//! A thought without anything opaque gets the kind `none`: a signature must not be empty when Anthropic reads it, and an item without
//! encrypted content would be looked for at a provider. The signature of a call has the kind `call`; it stands in a thought of its own
//! before the call.

use crate::dialects::anthropic::block::{REDACTED, SIGNATURE};
use crate::dialects::conversation::Opaque;

const MARK: &str = "aipipe:1:";
const NONE: &str = "none";
const CALL: &str = "call";
/// The kinds of the canonical form; a call's signature is always a `thought_signature`.
const THOUGHT_SIGNATURE: &str = "thought_signature";
const KINDS: [&str; 4] = [SIGNATURE, REDACTED, "encrypted", THOUGHT_SIGNATURE];

/// What a marked string holds.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dialects) enum Marked {
    /// Something that belongs to a thought.
    Thought(Opaque),
    /// The signature of the call that follows.
    Call(Opaque),
    /// Nothing: the thought stands for itself.
    Nothing,
}

impl Marked {
    /// The data, where it is a thought of the model at `origin` in Anthropic's own form.
    pub(in crate::dialects) fn own(self, origin: &str) -> Option<String> {
        match self {
            Self::Thought(opaque) if opaque.origin == origin && matches!(opaque.kind, SIGNATURE | REDACTED) => {
                Some(opaque.data)
            }
            Self::Thought(_) | Self::Call(_) | Self::Nothing => None,
        }
    }
}

/// The string for a thought with this signature or encrypted form.
pub(in crate::dialects) fn thought(opaque: Option<&Opaque>) -> String {
    opaque.map_or_else(|| format!("{MARK}{NONE}::"), |opaque| marked(opaque.kind, opaque))
}

/// The string for the signature of a call.
pub(in crate::dialects) fn call(signature: &Opaque) -> String {
    marked(CALL, signature)
}

fn marked(kind: &str, opaque: &Opaque) -> String {
    let origin = opaque.origin.replace('%', "%25").replace(':', "%3A");
    format!("{MARK}{kind}:{origin}:{}", opaque.data)
}

/// Reads a string of AiPipe's; `None` for one that a provider made. A kind that is not known holds nothing for anybody.
pub(in crate::dialects) fn read(text: &str) -> Option<Marked> {
    let mut fields = text.strip_prefix(MARK)?.splitn(3, ':');
    let (kind, origin, data) = (fields.next()?, fields.next()?, fields.next()?);
    let origin = origin.replace("%3A", ":").replace("%25", "%");
    let opaque = |kind| Opaque { origin, kind, data: data.to_owned() };
    Some(match (kind, KINDS.into_iter().find(|known| *known == kind)) {
        (CALL, _) => Marked::Call(opaque(THOUGHT_SIGNATURE)),
        (_, Some(kind)) => Marked::Thought(opaque(kind)),
        _ => Marked::Nothing,
    })
}

/// Reads what a client sent back, marked or not; what is not marked is of the kind given.
pub(in crate::dialects) fn read_any(text: &str, kind: &'static str) -> Marked {
    match read(text) {
        Some(marked) => marked,
        None if text.is_empty() => Marked::Nothing,
        None => Marked::Thought(Opaque { origin: String::new(), kind, data: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn d121_what_is_marked_reads_back() {
        for kind in KINDS {
            for origin in ["anthropic/claude-x", "openrouter/a/b:free", "x/100%3A", ""] {
                let opaque = Opaque { origin: origin.to_owned(), kind, data: "a:b/c+==%".to_owned() };
                assert_eq!(read(&thought(Some(&opaque))).unwrap(), Marked::Thought(opaque.clone()));
                let signature = Opaque { kind: THOUGHT_SIGNATURE, ..opaque };
                assert_eq!(read(&call(&signature)).unwrap(), Marked::Call(signature));
            }
        }
        assert_eq!(read(&thought(None)), Some(Marked::Nothing));
        assert_eq!(read("EooCCokBCBAYAipA"), None);
    }
}
