//! The `aipipe` object of a body.

use std::time::Duration;

use aipipe_actors::routing::preferences::{CacheMode, OnBreak, Preferences};

use super::{invalid, string};
use crate::dialects::decimal;
use crate::dialects::json::{Cursor, Kind};
use crate::dialects::translate::InvalidRequest;

const KNOWN: &str =
    "models, providers, exclude, min_quality, max_cost_usd, complexity, cache, on_break, timeout_ms, tags, explain";

/// Reads the `aipipe` object.
///
/// # Errors
/// [`InvalidRequest`] naming the member that is unknown or has a value that is not allowed.
pub(super) fn preferences(raw: &str) -> Result<Preferences, InvalidRequest> {
    let mut cursor = Cursor::new(raw);
    if cursor.kind()? != Kind::Object {
        return Err(invalid(Some("aipipe"), "`aipipe` must be an object"));
    }
    let mut wishes = Preferences::default();
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        let kind = cursor.kind()?;
        let name = key.name.decode();
        if kind == Kind::Null {
            cursor.pass()?;
            continue;
        }
        match &*name {
            "models" => wishes.models = names(&mut cursor, kind, "aipipe.models")?,
            "providers" => wishes.providers = names(&mut cursor, kind, "aipipe.providers")?,
            "exclude" => wishes.exclude = names(&mut cursor, kind, "aipipe.exclude")?,
            "min_quality" => wishes.min_quality = Some(share(&mut cursor, kind, "aipipe.min_quality")?),
            "complexity" => wishes.complexity = Some(share(&mut cursor, kind, "aipipe.complexity")?),
            "max_cost_usd" => wishes.max_cost = Some(amount(&mut cursor, kind)?),
            "cache" => wishes.cache = Some(cache(&mut cursor, kind)?),
            "on_break" => wishes.on_break = Some(on_break(&mut cursor, kind)?),
            "timeout_ms" => wishes.timeout = Some(timeout(&mut cursor, kind)?),
            "tags" => wishes.tags = tags(&mut cursor, kind)?,
            "explain" if kind == Kind::Bool => wishes.explain = cursor.boolean()?,
            "explain" => return Err(invalid(Some("aipipe.explain"), "`aipipe.explain` must be true or false")),
            _ => {
                let param = format!("aipipe.{name}");
                return Err(invalid(Some(&param), format!("`{param}` is unknown; `aipipe` takes {KNOWN}")));
            }
        }
    }
    cursor.end()?;
    Ok(wishes)
}

fn strings(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<Vec<String>, InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be an array of strings that are not empty"));
    if kind != Kind::Array {
        return Err(error());
    }
    let mut list = Vec::new();
    let mut items = cursor.array()?;
    while cursor.element(&mut items)? {
        if cursor.kind()? != Kind::String {
            return Err(error());
        }
        let text = cursor.string()?.decode().into_owned();
        if text.is_empty() {
            return Err(error());
        }
        list.push(text);
    }
    Ok(list)
}

fn names(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<Vec<String>, InvalidRequest> {
    let list = strings(cursor, kind, param)?;
    if list.len() > Preferences::MAX_NAMES {
        return Err(invalid(Some(param), format!("`{param}` may hold up to {} names", Preferences::MAX_NAMES)));
    }
    Ok(list)
}

fn tags(cursor: &mut Cursor<'_>, kind: Kind) -> Result<Vec<String>, InvalidRequest> {
    let list = strings(cursor, kind, "aipipe.tags")?;
    if list.len() > Preferences::MAX_TAGS || list.iter().any(|tag| tag.len() > Preferences::MAX_TAG_BYTES) {
        let (count, bytes) = (Preferences::MAX_TAGS, Preferences::MAX_TAG_BYTES);
        return Err(invalid(
            Some("aipipe.tags"),
            format!("`aipipe.tags` may hold up to {count} tags of up to {bytes} bytes"),
        ));
    }
    Ok(list)
}

fn share(cursor: &mut Cursor<'_>, kind: Kind, param: &str) -> Result<f64, InvalidRequest> {
    let error = || invalid(Some(param), format!("`{param}` must be a number from 0 to 1"));
    if kind != Kind::Number {
        return Err(error());
    }
    cursor.number()?.parse().ok().filter(|value| (0.0..=1.0).contains(value)).ok_or_else(error)
}

fn amount(cursor: &mut Cursor<'_>, kind: Kind) -> Result<aipipe_actors::money::NanoUsd, InvalidRequest> {
    let param = "aipipe.max_cost_usd";
    let error =
        || invalid(Some(param), format!("`{param}` must be USD as a decimal with at most nine places, 0 or more"));
    let text = match kind {
        Kind::Number => cursor.number()?.into(),
        Kind::String => cursor.string()?.decode(),
        _ => return Err(error()),
    };
    // A string is held to the rules of a JSON number, so that the two spellings take the same amounts.
    let mut number = Cursor::new(&text);
    let read = number.kind().ok().filter(|&kind| kind == Kind::Number).and_then(|_| number.number().ok());
    let read = read.filter(|read| read.len() == text.len()).ok_or_else(error)?;
    decimal::usd(read).filter(|amount| amount.exact).map(|amount| amount.nanos).ok_or_else(error)
}

fn cache(cursor: &mut Cursor<'_>, kind: Kind) -> Result<CacheMode, InvalidRequest> {
    let mode = string(cursor, kind, "aipipe.cache")?;
    match &*mode.decode() {
        "use" => Ok(CacheMode::Use),
        "refresh" => Ok(CacheMode::Refresh),
        "off" => Ok(CacheMode::Off),
        _ => Err(invalid(Some("aipipe.cache"), "`aipipe.cache` must be `use`, `refresh` or `off`")),
    }
}

fn on_break(cursor: &mut Cursor<'_>, kind: Kind) -> Result<OnBreak, InvalidRequest> {
    let word = string(cursor, kind, "aipipe.on_break")?;
    let error = || invalid(Some("aipipe.on_break"), "`aipipe.on_break` must be `error` or `continue`");
    OnBreak::parse(&word.decode()).ok_or_else(error)
}

fn timeout(cursor: &mut Cursor<'_>, kind: Kind) -> Result<Duration, InvalidRequest> {
    let param = "aipipe.timeout_ms";
    let error = || invalid(Some(param), format!("`{param}` must be a whole number of milliseconds, 1 or more"));
    if kind != Kind::Number {
        return Err(error());
    }
    let milliseconds: u64 = cursor.number()?.parse().map_err(|_| error())?;
    if milliseconds == 0 { Err(error()) } else { Ok(Duration::from_millis(milliseconds)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use aipipe_actors::money::NanoUsd;

    use super::*;

    #[test]
    fn preferences_are_read() {
        let read = preferences(
            r#"{"models":["a","b/c"],"providers":["p"],"exclude":["x"],"min_quality":0.5,"max_cost_usd":"0.01","complexity":1,"cache":"refresh",
                "on_break":"continue","timeout_ms":1500,"tags":["t"],"explain":true}"#,
        )
        .unwrap();
        assert_eq!(
            (read.models.len(), &*read.providers, &*read.exclude),
            (2, &["p".to_owned()][..], &["x".to_owned()][..])
        );
        assert_eq!((read.min_quality, read.complexity, read.explain), (Some(0.5), Some(1.0), true));
        assert_eq!(
            (read.max_cost, read.cache, read.timeout),
            (Some(NanoUsd(10_000_000)), Some(CacheMode::Refresh), Some(Duration::from_millis(1500)))
        );
        assert_eq!(read.on_break, Some(OnBreak::Continue));
        assert_eq!(preferences(r#"{"max_cost_usd":2.5e-2,"cache":null}"#).unwrap().max_cost, Some(NanoUsd(25_000_000)));
        assert_eq!(preferences("{}").unwrap(), Default::default());
    }

    #[test]
    fn wrong_preferences_are_named() {
        for (text, param) in [
            ("[]", "aipipe"),
            (r#"{"model":"x"}"#, "aipipe.model"),
            (r#"{"models":"x"}"#, "aipipe.models"),
            (r#"{"models":[""]}"#, "aipipe.models"),
            (r#"{"min_quality":1.1}"#, "aipipe.min_quality"),
            (r#"{"complexity":"high"}"#, "aipipe.complexity"),
            (r#"{"max_cost_usd":-1}"#, "aipipe.max_cost_usd"),
            (r#"{"max_cost_usd":1e-10}"#, "aipipe.max_cost_usd"),
            (r#"{"max_cost_usd":"1 "}"#, "aipipe.max_cost_usd"),
            (r#"{"cache":"on"}"#, "aipipe.cache"),
            (r#"{"on_break":true}"#, "aipipe.on_break"),
            (r#"{"on_break":"mend"}"#, "aipipe.on_break"),
            (r#"{"timeout_ms":0}"#, "aipipe.timeout_ms"),
            (r#"{"timeout_ms":1.5}"#, "aipipe.timeout_ms"),
            (r#"{"tags":["1","2","3","4","5","6","7","8","9"]}"#, "aipipe.tags"),
            (r#"{"explain":1}"#, "aipipe.explain"),
        ] {
            assert_eq!(preferences(text).unwrap_err().param.as_deref(), Some(param), "{text}");
        }
    }
}
