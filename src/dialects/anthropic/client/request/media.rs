//! Images and documents: what the source holds, with plain text as text.

use super::history::blocks;
use super::wire::{BlockIn, SourceIn};
use super::{invalid, parse};
use crate::dialects::conversation::{Media, Part};
use crate::dialects::translate::InvalidRequest;

/// An image, or a document as the parts that say what it says.
pub(super) fn parts(block: BlockIn, param: &str, nesting: u8) -> Result<Vec<Part>, InvalidRequest> {
    let error = |rule: &str| invalid(Some(param), format!("`{param}` {rule}"));
    let source = block.source.ok_or_else(|| error("must have a `source`"))?;
    let source: SourceIn = parse(source.get(), param)?;
    let media = match (source.kind.as_str(), source.data, source.url, source.file_id) {
        ("base64", Some(data), ..) => {
            let media_type = source.media_type.unwrap_or_default().to_ascii_lowercase();
            Media::Inline { media_type, base64: standard(data) }
        }
        ("url", _, Some(url), _) => Media::Url(url),
        ("file", _, _, Some(id)) => Media::FileId(id),
        // No other dialect has documents of plain text.
        ("text", Some(text), ..) => return Ok(vec![Part::Text(titled(&text, block.title, block.context))]),
        ("content", ..) => {
            let content = source.content.ok_or_else(|| error("must have its `content`"))?;
            let mut parts = blocks(&content, param, nesting)?;
            if block.title.is_some() || block.context.is_some() {
                parts.insert(0, Part::Text(titled("", block.title, block.context)));
            }
            return Ok(parts);
        }
        _ => return Err(error("must have a source of base64 data, a URL, a file, text or content")),
    };
    Ok(vec![match block.kind.as_str() {
        "image" => Part::Image(media),
        _ => Part::Document { media, name: block.title },
    }])
}

/// A text under what its client says about it.
pub(super) fn titled(text: &str, title: Option<String>, context: Option<String>) -> String {
    let head = [title, context].into_iter().flatten().filter(|line| !line.is_empty());
    head.chain((!text.is_empty()).then(|| text.to_owned())).collect::<Vec<_>>().join("\n\n")
}

/// Base64 without white space: some clients break lines.
fn standard(mut base64: String) -> String {
    base64.retain(|letter| !letter.is_ascii_whitespace());
    base64
}
