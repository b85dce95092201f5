//! What must be known of a client's JSON schema before it goes to Anthropic. Schemas are never rewritten beyond a missing root type.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The schema of a function's arguments: Anthropic wants an object at the root and says so when `type` is missing there.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum InputSchema<'a> {
    /// As the client wrote it, or with the missing root type.
    Given(Cow<'a, RawValue>),
    /// No arguments are declared.
    Undeclared {
        /// Always `object`.
        r#type: &'static str,
    },
    /// No arguments are declared and, the function being strict, none are allowed.
    Empty {
        /// Always `object`.
        r#type: &'static str,
        /// None.
        properties: NoProperties,
        /// Never.
        #[serde(rename = "additionalProperties")]
        additional_properties: bool,
    },
}

/// `{}`
#[derive(Debug, Serialize)]
pub(super) struct NoProperties {}

impl<'a> InputSchema<'a> {
    /// The schema as Anthropic takes it.
    pub(super) fn new(schema: Option<&'a RawValue>, strict: Option<bool>) -> Self {
        let Some(schema) = schema.filter(|schema| declares_something(schema.get())) else {
            return Self::none(strict);
        };
        match with_root_type(schema) {
            Some(completed) => Self::Given(Cow::Owned(completed)),
            None => Self::Given(Cow::Borrowed(schema)),
        }
    }

    fn none(strict: Option<bool>) -> Self {
        if strict == Some(true) {
            Self::Empty { r#type: "object", properties: NoProperties {}, additional_properties: false }
        } else {
            Self::Undeclared { r#type: "object" }
        }
    }
}

/// Whether it is more than `null`, `true` or `{}`.
fn declares_something(schema: &str) -> bool {
    let inner = schema.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.map_or(!matches!(schema.trim(), "null" | "true"), |fields| !fields.trim().is_empty())
}

/// The type at the root of a schema.
#[derive(Deserialize)]
struct Root<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
}

/// The schema with `"type":"object"` at its root, where it is an object without a type.
fn with_root_type(schema: &RawValue) -> Option<Box<RawValue>> {
    let root: Root<'_> = serde_json::from_str(schema.get()).ok()?;
    let fields = schema.get().trim_start().strip_prefix('{')?;
    if root.kind.is_some() {
        return None;
    }
    RawValue::from_string(format!("{{\"type\":\"object\",{fields}")).ok()
}

/// Whether the arguments of a function can follow this schema: they are always an object.
pub(super) fn describes_object(schema: &RawValue) -> bool {
    match serde_json::from_str::<Root<'_>>(schema.get()) {
        Ok(Root { kind: Some(kind) }) => kind.get() == "\"object\"",
        Ok(Root { kind: None }) => true,
        Err(_) => false,
    }
}

/// Whether every object in the schema forbids further properties, without which Anthropic's structured output refuses it. Schemas are
/// walked by position: a property that is called `properties` is a property.
pub(super) fn is_closed(schema: &RawValue) -> bool {
    serde_json::from_str::<Value>(schema.get()).is_ok_and(|schema| node_is_closed(&schema))
}

fn node_is_closed(node: &Value) -> bool {
    let Some(fields) = node.as_object() else { return true };
    let is_object = fields.contains_key("properties")
        || match fields.get("type") {
            Some(Value::String(kind)) => kind == "object",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
            _ => false,
        };
    if is_object && fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        return false;
    }
    fields.iter().all(|(keyword, value)| match (keyword.as_str(), value) {
        ("properties" | "$defs" | "definitions", Value::Object(named)) => named.values().all(node_is_closed),
        ("anyOf" | "allOf" | "oneOf" | "prefixItems", Value::Array(nodes)) => nodes.iter().all(node_is_closed),
        ("items", Value::Array(nodes)) => nodes.iter().all(node_is_closed),
        ("items" | "not", node) => node_is_closed(node),
        _ => true,
    })
}
