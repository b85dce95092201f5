//! Ids of things that a provider keeps, wherever they stand within a tool or an item.

use std::borrow::Cow;

use crate::dialects::json::{Cursor, Fault, Kind};

/// Members whose value is such an id, or a list of them.
const NAMES: [&str; 13] = [
    "collection_id",
    "collection_ids",
    "container",
    "container_id",
    "conversation_id",
    "file_id",
    "file_ids",
    "prompt_id",
    "response_id",
    "skill_id",
    "vector_store_id",
    "vector_store_ids",
    "video_id",
];

/// Members that name what a provider keeps, or that say what an item is.
const TELLING: [&str; 11] = [
    "approval_request_id",
    "container_id",
    "conversation",
    "encrypted_content",
    "file_id",
    "id",
    "input",
    "previous_response_id",
    "prompt",
    "tools",
    "type",
];

/// Whether a name is one of those in other letters: some servers read it all the same.
pub(super) fn is_disguised(name: &str) -> bool {
    TELLING.iter().any(|known| *known != name && known.eq_ignore_ascii_case(name))
}

/// Gathers the ids that a JSON value names.
///
/// # Errors
/// Where it is no JSON.
pub(in crate::dialects::responses) fn references<'a>(json: &'a str, out: &mut Vec<Cow<'a, str>>) -> Result<(), Fault> {
    within(&mut Cursor::new(json), false, out)
}

/// The cursor bounds the depth.
fn within<'a>(cursor: &mut Cursor<'a>, named: bool, out: &mut Vec<Cow<'a, str>>) -> Result<(), Fault> {
    match cursor.kind()? {
        Kind::String => {
            let text = cursor.string()?;
            if named && !text.is_empty() {
                out.push(text.decode());
            }
        }
        Kind::Array => {
            let mut items = cursor.array()?;
            while cursor.element(&mut items)? {
                within(cursor, named, out)?;
            }
        }
        Kind::Object => {
            let mut members = cursor.object()?;
            while let Some(key) = cursor.key(&mut members)? {
                let name = key.name.decode();
                within(cursor, NAMES.iter().any(|known| known.eq_ignore_ascii_case(&name)), out)?;
            }
        }
        _ => cursor.pass()?,
    }
    Ok(())
}
