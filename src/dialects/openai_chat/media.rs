//! Images, documents and audio: data URLs taken apart, media types made regular, base64 made standard.

use crate::dialects::conversation::{Media, Part};
use crate::dialects::scan::invalid;
use crate::dialects::translate::InvalidRequest;

/// An image by its URL.
pub(in crate::dialects) fn image(url: String, param: &str) -> Result<Part, InvalidRequest> {
    Ok(Part::Image(address(url, param)?))
}

/// A document, or whatever else a file holds; `data` may be an address too.
pub(in crate::dialects) fn file(
    id: Option<String>,
    data: Option<String>,
    name: Option<String>,
    param: &str,
) -> Result<Part, InvalidRequest> {
    let media = match (id, data) {
        (Some(id), _) => Media::FileId(id),
        (None, Some(data)) if is_address(&data) => address(data, param)?,
        (None, Some(base64)) => inline(None, base64),
        (None, None) => return Err(invalid(Some(param), format!("`{param}` must hold `file_data` or `file_id`"))),
    };
    let is_image = matches!(&media, Media::Inline { media_type, .. } if media_type.starts_with("image/"));
    Ok(if is_image { Part::Image(media) } else { Part::Document { media, name } })
}

/// Audio data; the dialect knows `wav` and `mp3`.
pub(super) fn audio(data: String, format: Option<&str>) -> Part {
    let media_type = match format {
        Some("mp3") => "audio/mpeg".to_owned(),
        Some(other) => format!("audio/{other}"),
        None => "audio/wav".to_owned(),
    };
    Part::Audio(Media::Inline { media_type, base64: standard(data) })
}

fn is_address(text: &str) -> bool {
    let scheme = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    ["data:", "http://", "https://"].iter().any(|known| scheme.starts_with(known))
}

fn address(url: String, param: &str) -> Result<Media, InvalidRequest> {
    if !is_address(&url) {
        return Ok(Media::FileId(url));
    }
    if !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return Ok(Media::Url(url));
    }
    let error = || invalid(Some(param), format!("`{param}` must be an http(s) URL or a data URL in base64"));
    let (head, data) = url.get(5..).and_then(|rest| rest.split_once(',')).ok_or_else(error)?;
    let media_type = head.strip_suffix(";base64").ok_or_else(error)?;
    // Parameters of the type (`;charset=…`) mean nothing for binary data.
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(inline(Some(media_type), data.to_owned()))
}

fn inline(declared: Option<String>, base64: String) -> Media {
    let base64 = standard(base64);
    let media_type = match declared.as_deref() {
        Some("image/jpg") => "image/jpeg".to_owned(),
        None | Some("" | "application/octet-stream") => sniffed(&base64).to_owned(),
        Some(declared) => declared.to_owned(),
    };
    Media::Inline { media_type, base64 }
}

/// The type by the first bytes, as base64 shows them.
fn sniffed(base64: &str) -> &'static str {
    match base64 {
        _ if base64.starts_with("iVBORw0KGgo") => "image/png",
        _ if base64.starts_with("/9j/") => "image/jpeg",
        _ if base64.starts_with("R0lGOD") => "image/gif",
        _ if base64.starts_with("UklGR") => "image/webp",
        _ if base64.starts_with("JVBERi0") => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// Standard base64 without white space: some clients break lines or use the URL-safe letters.
fn standard(base64: String) -> String {
    if !base64.bytes().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'-' | b'_')) {
        return base64;
    }
    let letter = |letter| match letter {
        '-' => '+',
        '_' => '/',
        other => other,
    };
    base64.chars().filter(|letter| !letter.is_ascii_whitespace()).map(letter).collect()
}
