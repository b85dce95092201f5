//! Spoils JSON: values in each other's places, wrong types everywhere, deep and huge ones, doubled and missing members, bytes that are none.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// What is done to a text, in this order.
#[derive(Debug, Clone)]
pub(crate) struct Spoiling {
    /// Values put in the place of others: where, and which of all that the document and its donor have.
    grafts: Vec<(Index, Index)>,
    /// A text that nobody expects, at a place.
    odd: Option<(Index, Act, String)>,
    /// A fault of the bytes, at a place.
    bytes: Option<(Index, Fault)>,
}

/// What becomes of the value at a place.
#[derive(Debug, Clone, Copy)]
enum Act {
    Replace,
    Remove,
    Double,
    Rename,
}

/// What becomes of the text at a place.
#[derive(Debug, Clone)]
enum Fault {
    CutOff,
    Change(u8),
    Insert(&'static str),
}

impl Spoiling {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let act = prop_oneof![Just(Act::Replace), Just(Act::Remove), Just(Act::Double), Just(Act::Rename)];
        let fault = prop_oneof![
            Just(Fault::CutOff),
            any::<u8>().prop_map(Fault::Change),
            prop::sample::select(vec![" ", "\n", "\\", "\"", "{", "]", ",", "\\u0000", "\u{feff}", "null"])
                .prop_map(Fault::Insert),
        ];
        let grafts = prop::collection::vec(any::<(Index, Index)>(), 0..3);
        let odd = prop::option::weighted(0.7, (any::<Index>(), act, odd()));
        let bytes = prop::option::weighted(0.2, (any::<Index>(), fault));
        (grafts, odd, bytes).prop_map(|(grafts, odd, bytes)| Self { grafts, odd, bytes })
    }

    /// The document with its faults; values of the donor may take the place of its own.
    pub(crate) fn spoil(&self, document: &Value, donor: &Value) -> Vec<u8> {
        let mut grafted = document.clone();
        for (place, from) in &self.grafts {
            let from = from.index(places(document) + places(donor));
            let (source, from) =
                if from < places(document) { (document, from) } else { (donor, from - places(document)) };
            let scion = at(source, &mut from.clone()).cloned().unwrap_or_default();
            let place = place.index(places(&grafted));
            graft(&mut grafted, &mut place.clone(), &scion);
        }
        let text = match &self.odd {
            Some((place, act, odd)) => written(&grafted, &mut place.index(places(&grafted)), *act, odd),
            None => grafted.to_string(),
        };
        let mut bytes = text.into_bytes();
        if let Some((place, fault)) = &self.bytes {
            let at = place.index(bytes.len());
            match fault {
                Fault::CutOff => bytes.truncate(at),
                Fault::Change(byte) => bytes[at] = *byte,
                Fault::Insert(text) => drop(bytes.splice(at..at, text.bytes())),
            }
        }
        bytes
    }
}

/// JSON texts that nobody expects where they stand.
fn odd() -> impl Strategy<Value = String> {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    prop::sample::select(vec![
        "null".to_owned(),
        "true".into(),
        "0".into(),
        "-1".into(),
        "1e999".into(),
        "-1e999".into(),
        "1e-999".into(),
        "18446744073709551616".into(),
        "9223372036854775808".into(),
        "0.1".into(),
        "-0".into(),
        "1E400".into(),
        "1".repeat(5_000),
        "\"\"".into(),
        "\"\\u0000\"".into(),
        "\"\\ud800\"".into(),
        "\"\\udc00\\ud800\"".into(),
        "\"\\r\\nset-cookie: a\"".into(),
        "\"auto\"".into(),
        "[]".into(),
        "{}".into(),
        "[null]".into(),
        "[[]]".into(),
        "[{}]".into(),
        "{\"\":{}}".into(),
        "{\"type\":\"\"}".into(),
        "{\"type\":5}".into(),
        "{\"$ref\":\"#\"}".into(),
        "\"\u{10ffff}\"".into(),
        format!("\"{}\"", "x".repeat(100_000)),
        deep,
        deep_object,
        "nul".into(),
        "01".into(),
        "+1".into(),
        "'a'".into(),
        "NaN".into(),
    ])
}

/// Values within a value, itself included.
fn places(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(places).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(places).sum::<usize>(),
        _ => 1,
    }
}

/// The value at a place, counted in the order of the text.
fn at<'v>(value: &'v Value, place: &mut usize) -> Option<&'v Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter().find_map(|item| at(item, place)),
        Value::Object(fields) => fields.values().find_map(|field| at(field, place)),
        _ => None,
    }
}

/// Puts a value at a place; whether it was found.
fn graft(value: &mut Value, place: &mut usize, scion: &Value) -> bool {
    if *place == 0 {
        *value = scion.clone();
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| graft(item, place, scion)),
        Value::Object(fields) => fields.values_mut().any(|field| graft(field, place, scion)),
        _ => false,
    }
}

/// The text of a value, with the value at a place replaced, doubled, removed or renamed.
fn written(value: &Value, place: &mut usize, act: Act, odd: &str) -> String {
    let here = *place == 0;
    *place = place.wrapping_sub(1);
    if here {
        return odd.to_owned();
    }
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item, place, act, odd)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let mut parts = Vec::new();
            for (name, value) in fields {
                let is_struck = *place == 0;
                let text = written(value, place, act, odd);
                let name = Value::from(name.as_str());
                match act {
                    Act::Remove if is_struck => {}
                    Act::Double if is_struck => parts.extend([format!("{name}:{value}"), format!("{name}:{text}")]),
                    Act::Rename if is_struck => {
                        parts.push(format!("\"{}\\u0000\":{value}", name.as_str().unwrap_or_default()))
                    }
                    _ => parts.push(format!("{name}:{text}")),
                }
            }
            format!("{{{}}}", parts.join(","))
        }
        other => other.to_string(),
    }
}
