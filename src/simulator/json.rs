//! Reading and building JSON values without a chance to panic.

use serde_json::Value;

/// Steps into a value.
pub(crate) trait Json {
    /// The value at a JSON pointer (RFC 6901), null where there is none.
    fn at(&self, pointer: &str) -> &Value;
    /// Sets a field of an object; anything else stays as it is.
    fn set(&mut self, name: &str, value: Value);
}

impl Json for Value {
    fn at(&self, pointer: &str) -> &Value {
        self.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn set(&mut self, name: &str, value: Value) {
        if let Some(fields) = self.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    }
}
