#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

fn converted(schema: Value) -> Value {
    let raw = serde_json::value::to_raw_value(&schema).unwrap();
    convert(&raw, Fidelity::Loose).unwrap().unwrap()
}

/// The schema of the property `x` of an object.
fn property(schema: Value) -> Value {
    converted(json!({"type": "object", "properties": {"x": schema}}))["properties"]["x"].clone()
}

fn unfit(schema: Value, fidelity: Fidelity) -> Unfit {
    let raw = serde_json::value::to_raw_value(&schema).unwrap();
    convert(&raw, fidelity).unwrap_err()
}

#[test]
fn d44_keywords_that_google_does_not_know_are_left_out() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
        "properties": {"n": {"type": "integer", "default": 1, "exclusiveMinimum": 0, "multipleOf": 2, "minimum": 1},
                       "s": {"type": "string", "format": "uri", "pattern": "^h"}},
        "patternProperties": {"^x": {}}, "required": ["n"]
    });
    assert_eq!(
        converted(schema),
        json!({"type": "OBJECT",
               "properties": {"n": {"type": "INTEGER", "minimum": 1}, "s": {"type": "STRING", "pattern": "^h"}},
               "required": ["n"], "propertyOrdering": ["n", "s"]})
    );
}

#[test]
fn d45_references_are_written_out() {
    let schema = json!({
        "type": "object", "properties": {"a": {"$ref": "#/$defs/A", "description": "mine"}, "b": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "string", "description": "theirs"}}
    });
    let properties = &converted(schema)["properties"];
    assert_eq!(properties["a"], json!({"type": "STRING", "description": "mine"}));
    assert_eq!(properties["b"], json!({"type": "STRING", "description": "theirs"}));
}

#[test]
fn d45_const_one_of_all_of_and_null_are_said_otherwise() {
    assert_eq!(property(json!({"const": "a"})), json!({"type": "STRING", "enum": ["a"]}));
    assert_eq!(property(json!({"type": ["string", "null"]})), json!({"type": "STRING", "nullable": true}));
    assert_eq!(
        property(json!({"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "d"})),
        json!({"type": "INTEGER", "description": "d", "nullable": true})
    );
    assert_eq!(
        property(json!({"oneOf": [{"type": "string"}, {"type": "boolean"}]})),
        json!({"anyOf": [{"type": "STRING"}, {"type": "BOOLEAN"}]})
    );
    assert_eq!(
        property(json!({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
                                  {"properties": {"b": {"type": "number"}}, "required": ["b"]}]})),
        json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "NUMBER"}},
               "required": ["a", "b"], "propertyOrdering": ["a", "b"]})
    );
    assert_eq!(
        property(json!({"type": ["string", "integer"], "minimum": 3})),
        json!({"anyOf": [{"type": "STRING"}, {"type": "INTEGER", "minimum": 3}]})
    );
}

#[test]
fn d46_every_node_has_a_type() {
    let any = json!({"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}, {"type": "BOOLEAN"}]});
    assert_eq!(property(json!({})), any);
    assert_eq!(property(json!(true)), any);
    assert_eq!(property(json!({"type": "array"})), json!({"type": "ARRAY", "items": any}));
    assert_eq!(
        property(json!({"type": "object", "oneOf": [{"properties": {"a": {"type": "string"}}}, {"required": ["b"]}]})),
        json!({"anyOf": [
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "propertyOrdering": ["a"]}, {"type": "OBJECT"}]})
    );
}

#[test]
fn d47_properties_named_like_keywords_are_data() {
    let schema = json!({"type": "object", "required": ["type", "$ref"], "properties": {
        "type": {"type": "string"}, "properties": {"type": "object", "properties": {"default": {"type": "integer"}}},
        "$ref": {"type": "string"}, "anyOf": {"type": "boolean"}}});
    let object = converted(schema);
    assert_eq!(object["properties"]["type"], json!({"type": "STRING"}));
    assert_eq!(object["properties"]["properties"]["properties"]["default"], json!({"type": "INTEGER"}));
    assert_eq!(object["properties"]["$ref"], json!({"type": "STRING"}));
    assert_eq!(object["properties"]["anyOf"], json!({"type": "BOOLEAN"}));
    assert_eq!(object["required"], json!(["type", "$ref"]));
}

#[test]
fn d48_recursion_is_cut_short_only_where_the_letter_does_not_count() {
    let tree = json!({"type": "object", "properties": {"name": {"type": "string"}, "child": {"$ref": "#"}}});
    assert_eq!(unfit(tree.clone(), Fidelity::Strict), Unfit::Recursive);
    let node = converted(tree);
    assert_eq!(node["properties"]["child"]["properties"]["child"]["type"], "OBJECT");
}

#[test]
fn references_that_multiply_are_refused() {
    let mut defs = serde_json::Map::new();
    for level in 0..20 {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        defs.insert(format!("l{level}"), json!({"type": "object", "properties": {"a": next, "b": next}}));
    }
    defs.insert("l20".to_owned(), json!({"type": "string"}));
    assert_eq!(unfit(json!({"$ref": "#/$defs/l0", "$defs": defs}), Fidelity::Loose), Unfit::TooLarge);
    assert_eq!(unfit(json!({"$ref": "#/$defs/none"}), Fidelity::Loose), Unfit::Unresolved);
    assert_eq!(unfit(json!("x"), Fidelity::Loose), Unfit::NoSchema);
}

#[test]
fn what_references_lead_to_does_not_multiply_without_bound() {
    let long = "x".repeat(100_000);
    let schema = |uses: usize| {
        let properties: serde_json::Map<_, _> =
            (0..uses).map(|number| (number.to_string(), json!({"$ref": "#/$defs/a"}))).collect();
        json!({"type": "object", "properties": properties, "$defs": {"a": {"type": "string", "description": long}}})
    };
    assert_eq!(converted(schema(40))["properties"]["39"]["description"], *long);
    assert_eq!(unfit(schema(1_000), Fidelity::Loose), Unfit::TooLarge);
    // The same of a type that is said again and again.
    let node =
        converted(json!({"type": "object", "properties": {"a": {"type": vec!["string"; 1_000], "description": long}}}));
    assert_eq!(node["properties"]["a"], json!({"type": "STRING", "description": long}));
}

#[test]
fn d49_an_enum_of_numbers_is_told_in_words() {
    assert_eq!(
        property(json!({"type": "integer", "enum": [1, 2], "description": "Level."})),
        json!({"type": "INTEGER", "description": "Level. One of: 1, 2"})
    );
}

#[test]
fn d51_properties_keep_the_clients_order() {
    let object = converted(json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}));
    assert_eq!(object["propertyOrdering"], json!(["z", "a"]));
    let keys: Vec<_> = object["properties"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["z", "a"]);
}

#[test]
fn d20_an_object_without_properties_is_left_out() {
    for schema in [json!({}), json!({"type": "object"}), json!({"type": "object", "properties": {}})] {
        let raw = serde_json::value::to_raw_value(&schema).unwrap();
        assert_eq!(convert(&raw, Fidelity::Strict), Ok(None));
    }
}
