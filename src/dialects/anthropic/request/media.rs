//! Images and documents as Anthropic takes them: its four kinds of image, PDF, plain text, each as data or by address.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::dialects::carry::cannot;
use crate::dialects::conversation::Media;
use crate::dialects::translate::CannotCarry;

/// The `source` of an image or document block.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    /// Bytes.
    Base64 {
        /// What they are.
        media_type: &'a str,
        /// Standard base64.
        data: &'a str,
    },
    /// An address that Anthropic fetches.
    Url {
        /// The address.
        url: &'a str,
    },
    /// Plain text.
    Text {
        /// Always `text/plain`.
        media_type: &'static str,
        /// The text.
        data: Cow<'a, str>,
    },
}

/// The source of an image.
pub(super) fn image(media: &Media) -> Result<Source<'_>, CannotCarry> {
    match media {
        Media::Inline { media_type, base64 } => match image_type(media_type, base64) {
            Some(media_type) => Ok(Source::Base64 { media_type, data: base64 }),
            None => Err(cannot("messages", format!("this provider takes no images of the type {media_type:?}"))),
        },
        Media::Url(url) => Ok(Source::Url { url }),
        Media::FileId(_) => Err(foreign_file()),
    }
}

/// The source of a document.
pub(super) fn document(media: &Media) -> Result<Source<'_>, CannotCarry> {
    match media {
        Media::Inline { media_type, base64 } if media_type == "application/pdf" || base64.starts_with("JVBERi0") => {
            Ok(Source::Base64 { media_type: "application/pdf", data: base64 })
        }
        Media::Inline { media_type, base64 } if is_text(media_type) => {
            let bytes = STANDARD.decode(base64).map_err(|_| cannot("messages", "a document is not valid base64"))?;
            let text = String::from_utf8(bytes).map_err(|_| cannot("messages", "a text document is not UTF-8"))?;
            Ok(Source::Text { media_type: "text/plain", data: Cow::Owned(text) })
        }
        Media::Inline { media_type, .. } => {
            Err(cannot("messages", format!("this provider takes no documents of the type {media_type:?}")))
        }
        Media::Url(url) => Ok(Source::Url { url }),
        Media::FileId(_) => Err(foreign_file()),
    }
}

fn foreign_file() -> CannotCarry {
    cannot("messages", "a file stored at one provider cannot be read by another")
}

fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/") || matches!(essence, "application/json" | "application/xml")
}

/// The type of an image. Anthropic compares the bytes with the type and refuses a wrong one, so the bytes decide where they can be told.
fn image_type<'a>(stated: &'a str, base64: &str) -> Option<&'a str> {
    sniff(base64).or(match stated {
        "image/jpeg" | "image/jpg" => Some("image/jpeg"),
        "image/png" | "image/gif" | "image/webp" => Some(stated),
        _ => None,
    })
}

/// The type by the first bytes.
fn sniff(base64: &str) -> Option<&'static str> {
    let head = STANDARD.decode(base64.get(..16)?).ok()?;
    match head.as_slice() {
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some("image/webp"),
        _ => None,
    }
}
