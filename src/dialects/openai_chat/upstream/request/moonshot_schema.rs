//! Schemas as Moonshot takes them: its own flavour of JSON schema, which refuses some of what the others read.
//!
//! An object stands at the root, a tuple is `prefixItems`, `type` stands in the branches of `anyOf` and not beside them, nothing that only
//! describes stands beside a reference, and every nested schema says its type. Source: Moonshot's validator,
//! <https://github.com/MoonshotAI/walle>, and what its API was seen to refuse.

use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// Every type that JSON has.
const TYPES: [&str; 6] = ["string", "number", "boolean", "object", "array", "null"];
/// Keywords that only describe.
const ANNOTATIONS: [&str; 4] = ["title", "description", "default", "examples"];
/// Keywords that say what a value may be without a `type` of their own.
const TYPED_ELSEWHERE: [&str; 5] = ["type", "anyOf", "oneOf", "allOf", "$ref"];

/// The schema as Moonshot takes it; as it came, to the letter, where it does already.
pub(super) fn fitted(schema: &RawValue) -> Cow<'_, RawValue> {
    let Ok(given) = serde_json::from_str::<Value>(schema.get()) else { return Cow::Borrowed(schema) };
    let mut fitted = given.clone();
    root(&mut fitted);
    match to_raw_value(&fitted) {
        Ok(written) if fitted != given => Cow::Owned(written),
        Ok(_) | Err(_) => Cow::Borrowed(schema),
    }
}

fn root(node: &mut Value) {
    if let Some(keywords) = node.as_object_mut()
        && !keywords.contains_key("type")
    {
        keywords.insert("type".into(), json!("object"));
    }
    // An object at the root is wanted more than no type beside `anyOf`.
    let kind = node.get("type").cloned();
    walk(node);
    if let (Some(keywords), Some(kind)) = (node.as_object_mut(), kind) {
        keywords.insert("type".into(), kind);
    }
}

/// A schema that is not the root.
fn nested(node: &mut Value) {
    // `true` is a schema too, and means the same.
    if *node == Value::Bool(true) {
        *node = json!({});
    }
    walk(node);
    let Some(keywords) = node.as_object_mut() else { return };
    if TYPED_ELSEWHERE.iter().any(|keyword| keywords.contains_key(*keyword)) {
        return;
    }
    match implied(keywords) {
        Some(kind) => keywords.insert("type".into(), kind.into()),
        None => keywords.insert("anyOf".into(), TYPES.map(|kind| json!({"type": kind})).to_vec().into()),
    };
}

/// The type that the other keywords leave open for no other.
fn implied(keywords: &Map<String, Value>) -> Option<&'static str> {
    let has = |names: &[&str]| names.iter().any(|name| keywords.contains_key(*name));
    if has(&["properties", "required", "additionalProperties"]) {
        return Some("object");
    }
    if has(&["items", "prefixItems", "minItems", "maxItems"]) {
        return Some("array");
    }
    let values = keywords.get("const").map(std::slice::from_ref);
    let values = values.or_else(|| keywords.get("enum").and_then(Value::as_array).map(Vec::as_slice))?;
    let kind = |value: &Value| match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::Null => "null",
    };
    let first = kind(values.first()?);
    values.iter().all(|value| kind(value) == first).then_some(first)
}

/// What stands below a schema, by position: a property that is called `items` is a property.
fn walk(node: &mut Value) {
    let Some(keywords) = node.as_object_mut() else { return };
    if keywords.contains_key("$ref") {
        keywords.retain(|keyword, _| !ANNOTATIONS.contains(&keyword.as_str()));
    }
    if keywords.get("items").is_some_and(Value::is_array)
        && let Some(tuple) = keywords.shift_remove("items")
    {
        keywords.entry("prefixItems").or_insert(tuple);
    }
    if keywords.contains_key("anyOf")
        && let Some(kind) = keywords.shift_remove("type")
    {
        for branch in keywords.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(branch) = branch.as_object_mut() {
                branch.entry("type").or_insert_with(|| kind.clone());
            }
        }
    }
    for (keyword, value) in keywords.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => named.values_mut().for_each(nested),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(nodes)) => nodes.iter_mut().for_each(nested),
            ("items", node) => nested(node),
            ("additionalProperties", node @ Value::Object(_)) => nested(node),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn d52_schemas_are_moonshots_own() {
        let any = TYPES.map(|kind| json!({"type": kind}));
        for (given, expected) in [
            (json!({"properties": {}}), json!({"properties": {}, "type": "object"})),
            (
                json!({"type": "object", "properties": {"t": {"type": "array", "items": [{"type": "string"}, {"const": 1}]}}}),
                json!({"type": "object", "properties": {"t": {"type": "array", "prefixItems": [{"type": "string"}, {"const": 1, "type": "number"}]}}}),
            ),
            (
                json!({"type": "object", "properties": {"u": {"type": "string", "anyOf": [{"minLength": 1}, {"type": "null"}]}}}),
                json!({"type": "object", "properties": {"u": {"anyOf": [{"minLength": 1, "type": "string"}, {"type": "null"}]}}}),
            ),
            (
                json!({"type": "object", "properties": {"items": {}, "e": {"enum": ["a"]}, "o": {"properties": {"x": true}}}}),
                json!({"type": "object", "properties": {
                    "items": {"anyOf": any}, "e": {"enum": ["a"], "type": "string"},
                    "o": {"properties": {"x": {"anyOf": any}}, "type": "object"}}}),
            ),
            (
                json!({"type": "object", "properties": {"r": {"description": "d", "$ref": "#/$defs/r"}}, "$defs": {"r": {"type": "null"}}}),
                json!({"type": "object", "properties": {"r": {"$ref": "#/$defs/r"}}, "$defs": {"r": {"type": "null"}}}),
            ),
            (
                json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"anyOf": [{"required": ["a"], "type": "object"}, {"required": ["b"], "type": "object"}], "type": "object"}),
            ),
        ] {
            let written = fitted(&to_raw_value(&given).unwrap()).into_owned();
            assert_eq!(serde_json::from_str::<Value>(written.get()).unwrap(), expected, "{given}");
        }
        let fits =
            RawValue::from_string(r#"{"type":"object", "properties":{"n":{"type":"number","maximum":1.00}}}"#.into());
        let fits = fits.unwrap();
        assert!(matches!(fitted(&fits), Cow::Borrowed(same) if same.get() == fits.get()));
    }
}
