//! Which schemas OpenAI takes as strict: an object at the root, and every object closed, with all of its properties required. It refuses a
//! whole request for another one, though other providers promise the same of it.
//! Source: <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>.

use serde_json::Value;
use serde_json::value::RawValue;

/// Whether the schema may be sent as strict.
pub(super) fn is_closed(schema: &RawValue) -> bool {
    serde_json::from_str::<Value>(schema.get())
        .is_ok_and(|root| root.get("type") == Some(&"object".into()) && walk(&root))
}

/// Walks by position, since a property may be called like a keyword.
fn walk(node: &Value) -> bool {
    let Some(keywords) = node.as_object() else { return true };
    let properties = keywords.get("properties").and_then(Value::as_object);
    let is_object = properties.is_some() || keywords.get("type").is_some_and(|kind| names(kind, "object"));
    if is_object {
        let required = keywords.get("required").and_then(Value::as_array);
        let needs = |name: &String| required.is_some_and(|required| required.iter().any(|other| other == name));
        let is_complete = properties.is_none_or(|properties| properties.keys().all(needs));
        if keywords.get("additionalProperties") != Some(&Value::Bool(false)) || !is_complete {
            return false;
        }
    }
    let within = |name: &str| keywords.get(name).and_then(Value::as_object).into_iter().flat_map(|held| held.values());
    let listed = keywords.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let nested = ["properties", "$defs", "definitions"].into_iter().flat_map(within);
    nested.chain(keywords.get("items")).chain(listed).all(walk)
}

/// Whether a `type`, one or a list of them, names this one.
fn names(kind: &Value, wanted: &str) -> bool {
    kind == wanted || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d50_only_closed_schemas_are_strict() {
        for (schema, closed) in [
            (
                r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
                true,
            ),
            (r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#, false),
            (r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#, false),
            (r#"{"type":"object","additionalProperties":false}"#, true),
            (r#"{"type":"object"}"#, false),
            (r#"{"anyOf":[{"type":"object","additionalProperties":false}]}"#, false),
            (
                r#"{"type":"object","properties":{"a":{"type":["object","null"]}},"required":["a"],"additionalProperties":false}"#,
                false,
            ),
            (
                r##"{"type":"object","properties":{"type":{"$ref":"#/$defs/d"}},"required":["type"],"additionalProperties":false,
                   "$defs":{"d":{"type":"array","items":{"anyOf":[{"type":"null"},{"type":"object","properties":{"x":{}}}]}}}}"##,
                false,
            ),
        ] {
            assert_eq!(is_closed(&RawValue::from_string(schema.to_owned()).unwrap()), closed, "{schema}");
        }
    }
}
