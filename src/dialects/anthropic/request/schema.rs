//! What must be known of a client's JSON schema before it goes to Anthropic. Schemas are never rewritten beyond a missing root type.

use std::borrow::Cow;
use std::collections::HashSet;

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

/// Whether Anthropic's structured output takes the schema: every object in it forbids further properties, and it is not too complex.
/// Schemas are walked by position: a property that is called `properties` is a property.
pub(super) fn is_taken_strictly(schema: &RawValue) -> bool {
    let mut complexity = Complexity::default();
    complexity.add(schema);
    let is_closed = serde_json::from_str::<Value>(schema.get()).is_ok_and(|schema| node_is_closed(&schema));
    is_closed && complexity.excess().is_none()
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

/// What Anthropic counts of the schemas that an answer must follow to the letter, all of a request together. Source:
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits>.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complexity {
    /// Properties that may be left out.
    optional: usize,
    /// Properties whose value is of one of several types.
    unions: usize,
    /// Whether a schema contains itself, or leads from reference to reference further than anybody would follow.
    is_endless: bool,
}

/// The references on the way through a schema.
#[derive(Debug, Default)]
struct References<'s> {
    /// Those that lead to where the walk is.
    open: Vec<&'s str>,
    met: HashSet<&'s str>,
}

impl Complexity {
    const MOST_OPTIONAL: usize = 24;
    const MOST_UNIONS: usize = 16;
    /// Of AiPipe's own: the walk is recursive.
    const MOST_REFERENCES: usize = 64;

    /// Counts one more schema.
    pub(super) fn add(&mut self, schema: &RawValue) {
        if let Ok(root) = serde_json::from_str::<Value>(schema.get()) {
            self.node(&root, &root, &mut References::default());
        }
    }

    /// What is beyond the limits, in words.
    pub(super) fn excess(&self) -> Option<String> {
        let beyond = |count: usize, most: usize, what: &str| {
            (count > most).then(|| format!("at most {most} {what} in strict schemas, not {count}"))
        };
        let endless = self.is_endless.then(|| "no strict schema that contains itself".to_owned());
        endless
            .or_else(|| beyond(self.optional, Self::MOST_OPTIONAL, "optional properties"))
            .or_else(|| beyond(self.unions, Self::MOST_UNIONS, "properties of several types"))
    }

    fn node<'s>(&mut self, node: &'s Value, root: &'s Value, references: &mut References<'s>) {
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let is_far = references.open.len() >= Self::MOST_REFERENCES;
            if is_far || reference == "#" || references.open.contains(&reference) {
                self.is_endless = true;
                return;
            }
            // Once each: references to references multiply.
            if references.met.insert(reference)
                && let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
            {
                references.open.push(reference);
                self.node(target, root, references);
                references.open.pop();
            }
        }
        let Some(keywords) = node.as_object() else { return };
        let required = node.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    for (name, property) in properties {
                        self.optional += usize::from(!required.iter().any(|one| one == name));
                        let is_union =
                            property.get("anyOf").is_some() || property.get("type").is_some_and(Value::is_array);
                        self.unions += usize::from(is_union);
                        self.node(property, root, references);
                    }
                }
                ("anyOf" | "allOf" | "oneOf" | "prefixItems", Value::Array(nodes)) => {
                    nodes.iter().for_each(|node| self.node(node, root, references));
                }
                ("items" | "additionalProperties", node) => self.node(node, root, references),
                _ => {}
            }
        }
    }
}
