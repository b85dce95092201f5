//! Values that are read alike in every dialect.

use std::borrow::Cow;

use aipipe_actors::catalogue::Effort;
use aipipe_actors::routing::tokens::Estimator;

use crate::dialects::json::{Cursor, Fault, Kind, Text};
use crate::dialects::translate::InvalidRequest;

/// A document of unknown length is estimated as one page for each so many bytes of its base64.
const PAGE_BYTES: usize = 16 * 1024;

pub(in crate::dialects) fn invalid(param: Option<&str>, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest { param: param.map(str::to_owned), message: message.into() }
}

impl From<Fault> for InvalidRequest {
    fn from(fault: Fault) -> Self {
        invalid(None, format!("the body is not JSON: {fault}"))
    }
}

pub(in crate::dialects) fn string<'a>(
    cursor: &mut Cursor<'a>,
    kind: Kind,
    param: &str,
) -> Result<Text<'a>, InvalidRequest> {
    if kind != Kind::String {
        return Err(invalid(Some(param), format!("`{param}` must be a string")));
    }
    Ok(cursor.string()?)
}

pub(in crate::dialects) fn boolean(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<bool, InvalidRequest> {
    if kind != Kind::Bool {
        return Err(invalid(Some(param), format!("`{param}` must be true or false")));
    }
    Ok(cursor.boolean()?)
}

pub(in crate::dialects) fn number(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<f64, InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be a number"));
    if kind != Kind::Number {
        return Err(error());
    }
    cursor.number()?.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(error)
}

pub(in crate::dialects) fn whole(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<u64, InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be a whole number, 0 or more"));
    if kind != Kind::Number {
        return Err(error());
    }
    count(cursor.number()?).ok_or_else(error)
}

/// A whole number, also where it is written as `1e3` or `16.0`.
pub(in crate::dialects) fn count(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        (value >= 0.0 && value.fract() == 0.0 && value < 9e15).then_some(value as u64)
    })
}

/// Visits the objects of an array that holds nothing else.
pub(in crate::dialects) fn objects<'a>(
    cursor: &mut Cursor<'a>,
    kind: Kind,
    param: &str,
    mut visit: impl FnMut(&mut Cursor<'a>) -> Result<(), InvalidRequest>,
) -> Result<(), InvalidRequest> {
    if kind != Kind::Array {
        return Err(invalid(Some(param), format!("`{param}` must be an array")));
    }
    let mut items = cursor.array()?;
    let mut index = 0_u32;
    while cursor.element(&mut items)? {
        if cursor.kind()? != Kind::Object {
            let param = format!("{param}[{index}]");
            return Err(invalid(Some(&param), format!("`{param}` must be an object")));
        }
        visit(cursor)?;
        index += 1;
    }
    Ok(())
}

/// Visits the strings of an array that holds nothing else.
pub(in crate::dialects) fn strings<'a>(
    cursor: &mut Cursor<'a>,
    kind: Kind,
    param: &str,
    mut visit: impl FnMut(Text<'a>),
) -> Result<(), InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be an array of strings"));
    if kind != Kind::Array {
        return Err(error());
    }
    let mut items = cursor.array()?;
    while cursor.element(&mut items)? {
        if cursor.kind()? != Kind::String {
            return Err(error());
        }
        visit(cursor.string()?);
    }
    Ok(())
}

/// The `id` of the object that comes next.
pub(in crate::dialects) fn id_within<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
    let mut members = cursor.object()?;
    let mut id = None;
    while let Some(key) = cursor.key(&mut members)? {
        if key.name == *"id" && cursor.kind()? == Kind::String {
            id = Some(cursor.string()?.decode());
        } else {
            cursor.pass()?;
        }
    }
    Ok(id)
}

/// A level of reasoning by its name; `None` for one that is not known here, which the provider may know.
pub(in crate::dialects) fn effort_named(name: Text<'_>) -> Option<Effort> {
    Some(match &*name.decode() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::Xhigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

/// Counts a document of unknown length by the bytes of its base64.
pub(in crate::dialects) fn count_pages(estimate: &mut Estimator, bytes: usize) {
    for _ in 0..=bytes / PAGE_BYTES {
        estimate.attachment();
    }
}
