//! Names of things, parsed once at the edge and never plain strings after.
//!
//! All are cheap to clone (a reference count or sixteen bytes) and ordered by their text, which breaks ties in the ranking.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that breaks the rules of its kind; the text says which and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(String);

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// Whose request it is: keys, budget, limits, cache and health of own keys are a tenant's alone.
    TenantId
}
name! {
    /// A configured upstream: one of the seven built-in names or one declared in the configuration.
    ProviderId
}
name! {
    /// A model as its provider names it. The same text may be served by several providers.
    ModelId
}

impl TenantId {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 64;

    /// The tenant of requests that name none; it always exists.
    pub fn default_tenant() -> Self {
        Self(Arc::from("default"))
    }

    /// Accepts 1 to 64 of `A-Z a-z 0-9 . _ -`, except `.` and `..`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) || text == "." || text == ".." {
            return Err(InvalidName("a tenant is named by 1 to 64 of A-Z a-z 0-9 . _ - (and not by . or ..)".into()));
        }
        Ok(Self(Arc::from(text)))
    }
}

impl ProviderId {
    /// Accepts 1 to 64 of `a-z 0-9 _ -`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(InvalidName(format!("a provider is named by 1 to 64 of a-z 0-9 _ -, not {text:?}")));
        }
        Ok(Self(Arc::from(text)))
    }
}

impl ModelId {
    /// Accepts 1 to 256 bytes without white space or control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || text.len() > 256 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidName("a model is named by 1 to 256 bytes without white space".into()));
        }
        Ok(Self(Arc::from(text)))
    }
}

/// What a number is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salt {
    /// Whether the runner-up is tried.
    Exploration,
    /// Whether a second policy is asked.
    Shadow,
}

/// Identifies one client request everywhere: answer header, log line, ledger row. Ordered by time (UUID version 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A fresh id, later than all that this process made before.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads an id from its hyphenated text.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidName(format!("{text:?} is not a request id")))
    }

    /// The sixteen bytes, which sort as the time does.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// A number in 0..1 that the id's random part decides: the same for each `salt`, and of different ones unrelated.
    pub fn draw(&self, salt: Salt) -> f64 {
        let [.., a, b, c, d] = *self.0.as_bytes();
        let half = match salt {
            Salt::Exploration => [a, b],
            Salt::Shadow => [c, d],
        };
        f64::from(u16::from_be_bytes(half)) / 65_536.0
    }

    /// The id with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_names_follow_the_contract() {
        for good in ["default", "a", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(TenantId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_survive_text_and_sort_by_time() {
        let first = RequestId::generate();
        let second = RequestId::generate();
        assert!(first < second);
        assert_eq!(RequestId::parse(&first.to_string()).unwrap(), first);
    }
}
