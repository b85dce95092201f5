//! A JSON schema as Google's `Schema`, a subset of OpenAPI 3.0, for models that take nothing else.
//!
//! Google's parser refuses the whole request at the first keyword that it does not know and at a node without a type; so a node is built
//! anew from the keywords that exist. Schemas are walked by position: a property that is called `type` or `$ref` is data, not a keyword.
//! References are inlined and bounded. Source: <https://ai.google.dev/api/caching#Schema>.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Every type that JSON schema has.
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];

/// Whether the answer must follow the schema to the letter: a schema that recurs can then not be cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fidelity {
    /// To the letter.
    Strict,
    /// As well as can be said.
    Loose,
}

/// A schema that cannot be said in Google's subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the schema is not a JSON object")]
    NoSchema,
    #[error("a `$ref` of the schema leads nowhere")]
    Unresolved,
    #[error("the schema refers to itself, which this model cannot follow to the letter")]
    Recursive,
    #[error("the schema is too large once its references are written out")]
    TooLarge,
}

/// Most nodes once references are written out: nested references multiply.
const MOST_NODES: usize = 10_000;
/// Most bytes that references add: what they lead to may be large, and be led to by each node.
const MOST_REFERENCED: usize = 4 * 1024 * 1024;
/// Deepest nesting; Google refuses deeper messages too.
const DEEPEST: usize = 64;

/// Converts a schema; `None` where it describes an object without properties, which Google wants left out.
pub(super) fn convert(schema: &RawValue, fidelity: Fidelity) -> Result<Option<Value>, Unfit> {
    let root: Value = serde_json::from_str(schema.get()).map_err(|_| Unfit::NoSchema)?;
    let object = root.as_object().ok_or(Unfit::NoSchema)?;
    let has_more = ["$ref", "anyOf", "oneOf", "allOf", "enum", "items"].iter().any(|key| object.contains_key(*key));
    let properties = object.get("properties").and_then(Value::as_object).is_some_and(|known| !known.is_empty());
    let object_like = object.get("type").is_none_or(|kind| kind == "object");
    if object_like && !has_more && !properties {
        return Ok(None);
    }
    let mut walk = Walk { root: &root, fidelity, nodes: 0, depth: 0, room: MOST_REFERENCED, references: Vec::new() };
    walk.node(&root).map(Some)
}

struct Walk<'a> {
    root: &'a Value,
    fidelity: Fidelity,
    nodes: usize,
    depth: usize,
    /// Bytes that references may still add.
    room: usize,
    /// The references that led to the node at hand.
    references: Vec<String>,
}

type Keywords = Map<String, Value>;

impl Walk<'_> {
    fn node(&mut self, schema: &Value) -> Result<Value, Unfit> {
        self.nodes += 1;
        if self.nodes > MOST_NODES || self.depth >= DEEPEST {
            return Err(Unfit::TooLarge);
        }
        self.depth += 1;
        let known_references = self.references.len();
        let mut flat = Keywords::new();
        let node = match self.flatten(schema, &mut flat) {
            Ok(()) => self.build(&flat),
            Err(Unfit::Recursive) if self.fidelity == Fidelity::Loose => {
                Ok(json!({"type": "OBJECT", "description": "nested further in the same way"}))
            }
            Err(unfit) => Err(unfit),
        };
        self.references.truncate(known_references);
        self.depth -= 1;
        node
    }

    /// Gathers a node's keywords, those of its reference and of all of `allOf` included; nearer ones win.
    fn flatten(&mut self, schema: &Value, into: &mut Keywords) -> Result<(), Unfit> {
        let Some(keywords) = schema.as_object() else {
            return Ok(());
        };
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" | "allOf" => {}
                "properties" => merge_properties(value, into),
                "required" => merge_required(value, into),
                _ => {
                    into.entry(keyword).or_insert_with(|| value.clone());
                }
            }
        }
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            if self.references.contains(reference) {
                return Err(Unfit::Recursive);
            }
            self.references.push(reference.clone());
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let target = target.ok_or(Unfit::Unresolved)?;
            self.take(target)?;
            self.flatten(target, into)?;
        }
        if let Some(Value::Array(all)) = keywords.get("allOf") {
            for schema in all {
                self.flatten(schema, into)?;
            }
        }
        Ok(())
    }

    /// Takes what a value comes to from the room for references; a large one is not looked at beyond it.
    fn take(&mut self, value: &Value) -> Result<(), Unfit> {
        match value {
            Value::String(text) => self.spend(text.len()),
            Value::Array(items) => items.iter().try_for_each(|item| self.take(item)),
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                self.spend(name.len())?;
                self.take(member)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.spend(0),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.room = self.room.checked_sub(bytes + 1).ok_or(Unfit::TooLarge)?;
        Ok(())
    }

    fn build(&mut self, flat: &Keywords) -> Result<Value, Unfit> {
        let mut types: Vec<&str> = match flat.get("type") {
            Some(Value::String(kind)) => vec![kind],
            // Each makes a branch with all that describes the node: those that exist, once each.
            Some(Value::Array(kinds)) => TYPES.into_iter().filter(|kind| kinds.iter().any(|own| own == kind)).collect(),
            _ => Vec::new(),
        };
        let nullable = types.contains(&"null") || flat.get("nullable") == Some(&Value::Bool(true));
        types.retain(|&kind| kind != "null");
        let shaped = ["properties", "items", "enum", "const"].iter().any(|key| flat.contains_key(*key));
        let alternatives = flat.get("anyOf").or_else(|| flat.get("oneOf")).and_then(Value::as_array);
        let node = match (alternatives, types.as_slice()) {
            (Some(alternatives), _) if !shaped => return self.any_of(alternatives, flat, nullable),
            (_, [kind]) => self.typed(kind, flat)?,
            (_, []) => match inferred_type(flat) {
                Some(kind) => self.typed(kind, flat)?,
                None => described(any_scalar(), flat),
            },
            (_, several) => {
                let mut branches = Vec::with_capacity(several.len());
                for kind in several {
                    branches.push(Value::Object(self.typed(kind, flat)?));
                }
                described(Keywords::from_iter([("anyOf".to_owned(), Value::Array(branches))]), flat)
            }
        };
        Ok(Value::Object(nullable_if(nullable, node)))
    }

    fn any_of(&mut self, alternatives: &[Value], flat: &Keywords, nullable: bool) -> Result<Value, Unfit> {
        let is_null = |schema: &&Value| schema.get("type").is_some_and(|kind| kind == "null");
        let nullable = nullable || alternatives.iter().any(|schema| is_null(&schema));
        let mut branches = Vec::with_capacity(alternatives.len());
        for schema in alternatives.iter().filter(|schema| !is_null(schema)) {
            // A type beside the alternatives holds for each of them.
            let untyped =
                schema.as_object().is_some_and(|own| !["type", "$ref"].iter().any(|key| own.contains_key(*key)));
            let branch = match flat.get("type") {
                Some(kind) if untyped => {
                    let mut typed = schema.as_object().cloned().unwrap_or_default();
                    typed.insert("type".to_owned(), kind.clone());
                    self.node(&Value::Object(typed))?
                }
                _ => self.node(schema)?,
            };
            branches.push(branch);
        }
        let node = match branches.pop() {
            None => any_scalar(),
            Some(Value::Object(only)) if branches.is_empty() => only,
            Some(last) => {
                branches.push(last);
                Keywords::from_iter([("anyOf".to_owned(), Value::Array(branches))])
            }
        };
        Ok(Value::Object(nullable_if(nullable, described(node, flat))))
    }

    /// A node of one type, with the keywords that Google knows for it.
    fn typed(&mut self, kind: &str, flat: &Keywords) -> Result<Keywords, Unfit> {
        let mut node = Keywords::new();
        node.insert("type".to_owned(), Value::String(kind.to_ascii_uppercase()));
        let mut keep = |keywords: &[&str]| {
            for &keyword in keywords {
                if let Some(value) = flat.get(keyword) {
                    node.insert(keyword.to_owned(), value.clone());
                }
            }
        };
        match kind {
            "string" => {
                keep(&["minLength", "maxLength", "pattern"]);
                keep_format(&["enum", "date-time"], flat, &mut node);
                keep_enum(flat, &mut node);
            }
            "number" | "integer" => {
                keep(&["minimum", "maximum"]);
                let formats: &[&str] = if kind == "number" { &["float", "double"] } else { &["int32", "int64"] };
                keep_format(formats, flat, &mut node);
            }
            "array" => {
                keep(&["minItems", "maxItems"]);
                node.insert("items".to_owned(), self.items(flat)?);
            }
            "object" => {
                keep(&["minProperties", "maxProperties"]);
                self.keep_properties(flat, &mut node)?;
            }
            _ => {}
        }
        Ok(described(node, flat))
    }

    /// One schema for all items: Google knows no tuples.
    fn items(&mut self, flat: &Keywords) -> Result<Value, Unfit> {
        match (flat.get("items"), flat.get("prefixItems")) {
            (Some(Value::Array(each)), _) | (_, Some(Value::Array(each))) => self.any_of(each, &Keywords::new(), false),
            (Some(items), _) => self.node(items),
            (None, _) => Ok(Value::Object(any_scalar())),
        }
    }

    /// Properties in the client's order, which Google would sort otherwise; only known names may be required.
    fn keep_properties(&mut self, flat: &Keywords, node: &mut Keywords) -> Result<(), Unfit> {
        let Some(Value::Object(own)) = flat.get("properties") else {
            return Ok(());
        };
        let mut properties = Keywords::with_capacity(own.len());
        for (name, schema) in own {
            properties.insert(name.clone(), self.node(schema)?);
        }
        let order: Vec<Value> = own.keys().cloned().map(Value::String).collect();
        let required = flat.get("required").and_then(Value::as_array).into_iter().flatten();
        let mut names: Vec<Value> = Vec::new();
        for name in required {
            if order.contains(name) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        node.insert("properties".to_owned(), Value::Object(properties));
        if !names.is_empty() {
            node.insert("required".to_owned(), Value::Array(names));
        }
        node.insert("propertyOrdering".to_owned(), Value::Array(order));
        Ok(())
    }
}

fn merge_properties(own: &Value, into: &mut Keywords) {
    let merged = into.entry("properties").or_insert_with(|| Value::Object(Keywords::new()));
    if let (Value::Object(merged), Value::Object(own)) = (merged, own) {
        for (name, schema) in own {
            merged.entry(name).or_insert_with(|| schema.clone());
        }
    }
}

fn merge_required(own: &Value, into: &mut Keywords) {
    let merged = into.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    if let (Value::Array(merged), Value::Array(own)) = (merged, own) {
        merged.extend(own.iter().cloned());
    }
}

/// The values that are allowed, of `enum` or `const`.
fn allowed_values(flat: &Keywords) -> Option<&[Value]> {
    match (flat.get("enum"), flat.get("const")) {
        (Some(Value::Array(values)), _) => Some(values),
        (_, Some(value)) => Some(std::slice::from_ref(value)),
        _ => None,
    }
}

fn inferred_type(flat: &Keywords) -> Option<&'static str> {
    if flat.contains_key("properties") {
        return Some("object");
    }
    if flat.contains_key("items") || flat.contains_key("prefixItems") {
        return Some("array");
    }
    let values = allowed_values(flat)?;
    let all = |is: fn(&Value) -> bool| values.iter().all(is);
    if all(Value::is_string) {
        Some("string")
    } else if all(Value::is_boolean) {
        Some("boolean")
    } else if all(|value| value.is_i64() || value.is_u64()) {
        Some("integer")
    } else if all(Value::is_number) {
        Some("number")
    } else {
        None
    }
}

/// What stands for "anything": a node needs a type.
fn any_scalar() -> Keywords {
    let branches = ["STRING", "NUMBER", "BOOLEAN"].map(|kind| json!({ "type": kind }));
    Keywords::from_iter([("anyOf".to_owned(), Value::Array(branches.to_vec()))])
}

fn keep_format(known: &[&str], flat: &Keywords, node: &mut Keywords) {
    if let Some(Value::String(format)) = flat.get("format")
        && known.contains(&format.as_str())
    {
        node.insert("format".to_owned(), Value::String(format.clone()));
    }
}

/// Google's `enum` holds strings that are not empty.
fn keep_enum(flat: &Keywords, node: &mut Keywords) {
    if let Some(values) = allowed_values(flat).filter(|values| says_enum(values)) {
        node.insert("enum".to_owned(), Value::Array(values.to_vec()));
    }
}

fn says_enum(values: &[Value]) -> bool {
    values.iter().all(|value| value.as_str().is_some_and(|text| !text.is_empty()))
}

/// Adds title and description; values that no `enum` can hold are told there.
fn described(mut node: Keywords, flat: &Keywords) -> Keywords {
    for keyword in ["title", "description"] {
        if let Some(Value::String(text)) = flat.get(keyword) {
            node.insert(keyword.to_owned(), Value::String(text.clone()));
        }
    }
    if let Some(values) = allowed_values(flat).filter(|values| !says_enum(values)) {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        let told = format!("One of: {}", values.join(", "));
        let text = match node.get("description").and_then(Value::as_str) {
            Some(description) => format!("{description} {told}"),
            None => told,
        };
        node.insert("description".to_owned(), Value::String(text));
    }
    node
}

fn nullable_if(nullable: bool, mut node: Keywords) -> Keywords {
    if nullable {
        node.insert("nullable".to_owned(), Value::Bool(true));
    }
    node
}

#[cfg(test)]
mod tests;
