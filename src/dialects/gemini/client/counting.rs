//! `countTokens`: the contents alone, or a whole request as `generateContentRequest`.

use aipipe_actors::catalogue::Model;
use bytes::Bytes;
use serde::Deserialize;

use crate::dialects::client::Counting;
use crate::dialects::json::{Cursor, Fault, Kind};

/// Google's count of tokens.
pub(super) struct CountTokens;

/// Source: <https://ai.google.dev/api/tokens>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    total_tokens: u64,
}

impl Counting for CountTokens {
    fn request<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        // What is no JSON is refused when it is scanned.
        let text = std::str::from_utf8(body).unwrap_or_default();
        wrapped(text).ok().flatten().map_or(body, str::as_bytes)
    }

    /// Always as a whole request: the short form has no place for instructions and functions.
    fn call(&self, request: Bytes, model: &Model) -> Bytes {
        let name = serde_json::Value::from(format!("models/{}", model.id)).to_string();
        // What stands before the brace means nothing.
        let members = request.trim_ascii_start().get(1..).unwrap_or_default();
        let mut call = Vec::with_capacity(request.len() + name.len() + 48);
        call.extend_from_slice(b"{\"generateContentRequest\":{\"model\":");
        call.extend_from_slice(name.as_bytes());
        // A request has contents at least.
        call.push(b',');
        call.extend_from_slice(members);
        call.push(b'}');
        Bytes::from(call)
    }

    fn read(&self, answer: &[u8]) -> Option<u64> {
        serde_json::from_slice::<Answer>(answer).ok().map(|answer| answer.total_tokens)
    }

    fn write(&self, tokens: u64) -> Bytes {
        Bytes::from(format!("{{\"totalTokens\":{tokens}}}"))
    }
}

/// The request within, where the body wraps one.
fn wrapped(text: &str) -> Result<Option<&str>, Fault> {
    let mut cursor = Cursor::new(text);
    if cursor.kind()? != Kind::Object {
        return Ok(None);
    }
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        let name = key.name.decode();
        let value = cursor.skip()?;
        if matches!(&*name, "generateContentRequest" | "generate_content_request") {
            return Ok(Some(cursor.slice(value)));
        }
    }
    Ok(None)
}
