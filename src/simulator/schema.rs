//! Values that satisfy a JSON Schema: arguments of tool calls and structured answers.
//!
//! Covers what clients send in practice: types (Gemini's capitals too), enums, constants, required properties, references, unions and bounds.
//! A pattern is not solved.

use serde_json::{Map, Value, json};

/// Deeper than this a schema repeats itself, and a value ends with null.
const DEPTH: usize = 12;

/// A value that the schema accepts, with words taken from `text` where a place is asked for.
pub(crate) fn value_for(schema: &Value, text: &str) -> Value {
    Filler { root: schema, text }.fill(schema, "value", DEPTH)
}

struct Filler<'a> {
    root: &'a Value,
    text: &'a str,
}

impl Filler<'_> {
    fn fill(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth == 0 {
            return Value::Null;
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.fill(target, name, depth - 1));
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        for union in ["anyOf", "oneOf"] {
            if let Some(branches) = schema[union].as_array() {
                let branch = branches.iter().find(|branch| branch["type"] != "null").or(branches.first());
                return branch.map_or(Value::Null, |branch| self.fill(branch, name, depth - 1));
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.merged(parts, name, depth);
        }
        match type_of(schema).as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => json!(number(schema).ceil() as i64),
            "number" => json!(number(schema)),
            "boolean" => json!(true),
            "null" => Value::Null,
            _ => json!(self.string(schema, name)),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let mut object = Map::new();
        let Some(properties) = schema["properties"].as_object() else { return Value::Object(object) };
        let required: Option<Vec<&str>> =
            schema["required"].as_array().map(|names| names.iter().filter_map(Value::as_str).collect());
        for (name, property) in properties {
            if required.as_ref().is_none_or(|required| required.contains(&name.as_str())) {
                object.insert(name.clone(), self.fill(property, name, depth - 1));
            }
        }
        Value::Object(object)
    }

    fn array(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().map_or(1, |least| least.clamp(1, 64));
        (0..least).map(|_| self.fill(&schema["items"], name, depth - 1)).collect()
    }

    fn merged(&self, parts: &[Value], name: &str, depth: usize) -> Value {
        let mut merged = Map::new();
        let mut last = Value::Null;
        for part in parts {
            match self.fill(part, name, depth - 1) {
                Value::Object(fields) => merged.extend(fields),
                other => last = other,
            }
        }
        if merged.is_empty() { last } else { Value::Object(merged) }
    }

    fn string(&self, schema: &Value, name: &str) -> String {
        let mut string = match (schema["format"].as_str(), name) {
            (Some("date"), _) => "2026-03-14".to_owned(),
            (Some("date-time"), _) => "2026-03-14T09:26:53Z".to_owned(),
            (Some("email"), _) => "ada@example.com".to_owned(),
            (Some("uri" | "url"), _) => "https://example.com/".to_owned(),
            (Some("uuid"), _) => "6f1c1a52-0b7e-4c0e-9d36-2f1f5a3b7c11".to_owned(),
            (_, "location" | "city" | "place") => self.place(),
            _ => format!("a {}", name.replace(['_', '-'], " ")),
        };
        let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
        while string.chars().count() < least.min(4096) {
            string.push('x');
        }
        match schema["maxLength"].as_u64() {
            Some(most) => string.chars().take(most as usize).collect(),
            None => string,
        }
    }

    /// The capitalised words after the text's last "in", else Paris.
    fn place(&self) -> String {
        let after = self.text.rsplit(" in ").next().filter(|rest| rest.len() < self.text.len()).unwrap_or_default();
        let words = after.split_whitespace().take_while(|word| word.starts_with(char::is_uppercase));
        let place = words.collect::<Vec<_>>().join(" ");
        let place = place.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        if place.is_empty() { "Paris".to_owned() } else { place.to_owned() }
    }
}

/// The type of a schema's values in small letters; a union's first that is not null; told by the keywords where it is absent.
fn type_of(schema: &Value) -> String {
    let named = match &schema["type"] {
        Value::String(name) => Some(name.as_str()),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    };
    let told = if schema.get("properties").is_some() { "object" } else { "string" };
    named.unwrap_or(told).to_ascii_lowercase()
}

/// A number within the schema's bounds.
fn number(schema: &Value) -> f64 {
    let above = schema["exclusiveMinimum"].as_f64().map(|bound| bound + 1.0);
    let least = schema["minimum"].as_f64().or(above).unwrap_or(f64::MIN);
    let below = schema["exclusiveMaximum"].as_f64().map(|bound| bound - 1.0);
    let most = schema["maximum"].as_f64().or(below).unwrap_or(f64::MAX);
    42.0_f64.min(most).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_are_filled_and_others_left_out() {
        let schema = json!({"type": "object", "required": ["location", "unit", "days"], "properties": {
            "location": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "note": {"type": "string"},
        }});
        let value = value_for(&schema, "What is the weather in New York?");
        assert_eq!(value, json!({"location": "New York", "unit": "celsius", "days": 7}));
    }

    #[test]
    fn references_unions_and_capital_types_are_followed() {
        let schema = json!({"$defs": {"point": {"type": "OBJECT", "properties": {"x": {"type": "NUMBER"}}, "required": ["x"]}},
            "type": "object", "properties": {
                "points": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/point"}},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
                "either": {"type": ["null", "integer"]},
            }, "required": ["points", "maybe", "either"]});
        assert_eq!(value_for(&schema, ""), json!({"points": [{"x": 42.0}, {"x": 42.0}], "maybe": true, "either": 42}));
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert!(value_for(&schema, "").is_object());
    }
}
