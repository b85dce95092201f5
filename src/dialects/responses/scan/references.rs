//! Ids of things that a provider keeps, wherever they stand within a tool or an item.

use std::borrow::Cow;

use crate::dialects::json::{Cursor, Fault, Kind};

/// Members whose value is such an id, or a list of them.
const NAMES: [&str; 11] = [
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
                within(cursor, NAMES.contains(&&*key.name.decode()), out)?;
            }
        }
        _ => cursor.pass()?,
    }
    Ok(())
}
