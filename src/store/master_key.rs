//! The key that seals provider keys at rest.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

/// 32 bytes that are wiped from memory with the last copy and never shown.
#[derive(Clone)]
pub struct MasterKey(Arc<SecretBox<[u8; 32]>>);

impl MasterKey {
    /// Reads 32 bytes from hex or base64 (either alphabet, padded or not).
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(match text.len() {
            64 => from_hex(text)?,
            _ => from_base64(text)?,
        });
        bytes.as_slice().try_into().ok().map(Self::from_bytes)
    }

    /// The key of these bytes, which the caller wipes.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(*bytes))))
    }

    /// The bytes, for the cipher.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64_give_the_same_bytes() {
        let hex = "00ff".repeat(16);
        let standard = "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8=";
        let url_safe = standard.replace('/', "_");
        for text in [&hex, &hex.to_uppercase(), standard, standard.trim_end_matches('='), url_safe.as_str()] {
            let key = MasterKey::parse(text).unwrap();
            assert_eq!(key.expose()[..4], [0, 255, 0, 255], "{text}");
        }
    }

    #[test]
    fn anything_but_32_bytes_is_refused() {
        for text in ["", "secret", &"00".repeat(31), &"0g".repeat(32), &"é".repeat(32), "AP8A", &"A".repeat(44)] {
            assert!(MasterKey::parse(text).is_none(), "{text}");
        }
    }
}
