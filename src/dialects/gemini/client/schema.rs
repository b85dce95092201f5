//! Google's subset of OpenAPI schemas as JSON schema, for providers that take that.

use serde_json::{Map, Value};

/// Converts a schema: types in lower case, `nullable` as a second type, what only orders left out.
pub(super) fn to_json_schema(schema: Value) -> Value {
    match schema {
        Value::Object(members) => Value::Object(object(members)),
        Value::Array(items) => items.into_iter().map(to_json_schema).collect(),
        other => other,
    }
}

fn object(members: Map<String, Value>) -> Map<String, Value> {
    let nullable = members.get("nullable") == Some(&Value::Bool(true));
    let mut out = Map::with_capacity(members.len());
    for (name, value) in members {
        match (name.as_str(), value) {
            ("nullable" | "propertyOrdering" | "property_ordering", _) => {}
            ("type", Value::String(kind)) => {
                let kind = Value::from(kind.to_ascii_lowercase());
                let kinds = if nullable { Value::from(vec![kind, "null".into()]) } else { kind };
                out.insert(name, kinds);
            }
            // Names of properties are the client's own.
            ("properties", Value::Object(properties)) => {
                let converted = properties.into_iter().map(|(name, schema)| (name, to_json_schema(schema)));
                out.insert(name, Value::Object(converted.collect()));
            }
            // Values, not schemas.
            ("enum" | "default" | "example" | "required" | "const", value) => {
                out.insert(name, value);
            }
            // Numbers as text, as protobuf writes 64 bits.
            (
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties",
                Value::String(text),
            ) => {
                let number = text.parse::<u64>().map_or(Value::String(text), Value::from);
                out.insert(name, number);
            }
            (_, value) => {
                out.insert(name, to_json_schema(value));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_lower_case_and_null_is_a_type() {
        let google = json!({"type": "OBJECT", "propertyOrdering": ["b", "type"], "required": ["b"], "properties": {
            "b": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["OBJECT"]}, "minItems": "1"},
            "type": {"type": "INTEGER", "nullable": true},
        }});
        let expected = json!({"type": "object", "required": ["b"], "properties": {
            "b": {"type": "array", "items": {"type": "string", "enum": ["OBJECT"]}, "minItems": 1},
            "type": {"type": ["integer", "null"]},
        }});
        assert_eq!(to_json_schema(google), expected);
    }
}
