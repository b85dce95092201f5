//! The kinds of value that a configuration holds, each with the words for what is allowed.

use std::net::SocketAddr;
use std::ops::Range;

use aipipe_actors::catalogue::{Capability, Effort, ReasoningControl};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::Rate;
use aipipe_actors::routing::preferences::OnBreak;
use jiff::civil::Date;
use toml::Spanned;
use toml::de::DeValue;
use url::Url;

use crate::providers::Dialect;
use crate::store::Synchronous;

/// A value that is not what its key wants.
pub(super) struct Mismatch {
    /// Completes the sentence "must be …".
    pub(super) allowed: String,
    /// The part of the text that is wrong; absent where it may be a secret that must not be shown.
    pub(super) span: Option<Range<usize>>,
}

/// A kind of TOML value.
pub(super) trait Readable: Sized {
    /// Reads it.
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch>;
}

/// A kind of value that is written as text, in a file as in an environment variable.
pub(super) trait Text: Sized {
    /// Whether what stands wrongly in its place may be a secret.
    const MAY_BE_SECRET: bool = false;
    /// Completes the sentence "must be …".
    fn allowed() -> String;
    /// Reads it.
    fn parse(text: &str) -> Option<Self>;
}

fn mismatch(value: &Spanned<DeValue<'_>>, allowed: impl Into<String>) -> Mismatch {
    Mismatch { allowed: allowed.into(), span: Some(value.span()) }
}

impl<T: Text> Readable for T {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let parsed = value.get_ref().as_str().and_then(T::parse);
        parsed.ok_or_else(|| Mismatch { allowed: T::allowed(), span: (!T::MAY_BE_SECRET).then(|| value.span()) })
    }
}

impl Readable for bool {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        value.get_ref().as_bool().ok_or_else(|| mismatch(value, "true or false"))
    }
}

impl Readable for u64 {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let integer = value.get_ref().as_integer();
        let parsed = integer.and_then(|digits| Self::from_str_radix(digits.as_str(), digits.radix()).ok());
        parsed.ok_or_else(|| mismatch(value, "a whole number, 0 or more"))
    }
}

impl Readable for f64 {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        decimal_text(value.get_ref()).and_then(|text| text.parse().ok()).ok_or_else(|| mismatch(value, "a number"))
    }
}

/// A price in USD per million tokens, read from its digits as they were written.
impl Readable for Rate {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let text = decimal_text(value.get_ref()).or_else(|| value.get_ref().as_str());
        let rate = text.and_then(|text| Self::parse_usd_per_million(text).ok());
        let allowed = "a price in USD per million tokens: a plain decimal from 0 with at most nine decimal places";
        rate.ok_or_else(|| mismatch(value, allowed))
    }
}

/// A day, as text (`"2027-01-14"`) or as TOML's own date.
impl Readable for Date {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let text = match value.get_ref() {
            DeValue::Datetime(day) => Some(day.to_string()),
            other => other.as_str().map(str::to_owned),
        };
        text.and_then(|text| text.parse().ok()).ok_or_else(|| mismatch(value, "a day, as \"2027-01-14\""))
    }
}

impl<T: Readable> Readable for Vec<T> {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let items = value.get_ref().as_array().ok_or_else(|| mismatch(value, "a list"))?;
        items.iter().map(T::read).collect()
    }
}

/// The digits of a decimal number, as they were written.
fn decimal_text<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    match value {
        DeValue::Integer(digits) if digits.radix() == 10 => Some(digits.as_str()),
        DeValue::Float(digits) => Some(digits.as_str()),
        _ => None,
    }
}

impl Text for String {
    fn allowed() -> Self {
        "text".into()
    }
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Text for SocketAddr {
    fn allowed() -> String {
        "an IP address and port, as 127.0.0.1:8082 or [::1]:8082".into()
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A provider's address. One with credentials or a query is refused: it would stand in logs and would not survive appending a path.
impl Text for Url {
    const MAY_BE_SECRET: bool = true;

    fn allowed() -> String {
        "an http or https address without credentials, query or fragment".into()
    }
    fn parse(text: &str) -> Option<Self> {
        let url = Self::parse(text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        let whole = url.query().is_none() && url.fragment().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && plain && whole).then_some(url)
    }
}

/// The name of an environment variable; a key that was written in its place is refused and not repeated.
#[derive(Debug, Clone)]
pub(super) struct VariableName(pub(super) String);

impl Text for VariableName {
    const MAY_BE_SECRET: bool = true;

    fn allowed() -> String {
        "the name of an environment variable: letters, digits and _, no digit first".into()
    }
    fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let begins = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        (plain && begins).then(|| Self(text.to_owned()))
    }
}

impl Text for ProviderId {
    fn allowed() -> String {
        "a provider's name: 1 to 64 of a-z 0-9 _ -".into()
    }
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl Text for ModelId {
    fn allowed() -> String {
        "a model's name: 1 to 256 bytes without white space".into()
    }
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

/// A value that is one of a few words.
pub(super) trait Word: Copy + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// Makes an enum readable from its words.
macro_rules! words {
    ($($type:ty: $($word:expr => $value:expr),+;)+) => {$(
        impl Word for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }

        impl Text for $type {
            fn allowed() -> String {
                let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("one of {}", words.join(", "))
            }
            fn parse(text: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
            }
        }
    )+};
}

/// Who a request's tenant is decided by, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TenantAuthWritten {
    /// By header where that is safe, by token elsewhere.
    Auto,
    /// By token.
    Token,
    /// By header.
    Header,
}

/// What a file's models do to the built-in catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CatalogueMode {
    /// Join and override it.
    Extend,
    /// Stand in its place.
    Replace,
}

words! {
    TenantAuthWritten: "auto" => Self::Auto, "token" => Self::Token, "header" => Self::Header;
    CatalogueMode: "extend" => Self::Extend, "replace" => Self::Replace;
    OnBreak: "error" => Self::Error, "continue" => Self::Continue;
    Synchronous: "normal" => Self::Normal, "full" => Self::Full;
    Dialect: "openai" => Self::OpenAi, "anthropic" => Self::Anthropic, "gemini" => Self::Gemini;
    ReasoningControl:
        "none" => Self::None, "level" => Self::Level, "budget" => Self::Budget, "adaptive" => Self::Adaptive;
    Effort:
        "none" => Self::None, "minimal" => Self::Minimal, "low" => Self::Low, "medium" => Self::Medium,
        "high" => Self::High, "xhigh" => Self::Xhigh, "max" => Self::Max;
}

impl Text for Capability {
    fn allowed() -> String {
        format!("one of {}", Self::ALL.map(Self::as_str).join(", "))
    }
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == text)
    }
}
