//! What is written down of a request: before it is dispatched and when it has ended.
//!
//! The types are the gateway's; how they are kept is the affair of whoever implements [`Ledger`].

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::identity::{ModelId, ProviderId, RequestId, TenantId};
use crate::money::{NanoUsd, Rates, Tokens};
use crate::routing::lineup::Lineup;

/// How a request, or one attempt of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Dispatched, not yet ended.
    Reserved,
    /// A whole answer was delivered.
    Ok,
    /// The client left before the end.
    Cancelled,
    /// The answer broke off after its first content had been delivered.
    Truncated,
    /// No answer could be delivered.
    Failed,
    /// Open when the process died: its reservation is the upper bound of its cost.
    Unsettled,
}

impl Outcome {
    /// The name used in the ledger and in every interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Truncated => "truncated",
            Self::Failed => "failed",
            Self::Unsettled => "unsettled",
        }
    }
}

/// What the cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheUse {
    /// Answered from the cache, or by another request's upstream call; costs nothing.
    Hit,
    /// Looked up and not found.
    Miss,
    /// Neither read nor kept.
    Off,
}

impl CacheUse {
    /// The name used in headers, metrics and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Off => "off",
        }
    }
}

/// The first record of a request, durable before the first byte goes upstream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opening {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub tenant: TenantId,
    /// When it was admitted: the budget period that it counts in.
    pub at: Timestamp,
    /// The client's dialect: `chat`, `responses`, `messages`, `gemini`, `embeddings`.
    pub dialect: String,
    /// The model that the client asked for, as it wrote it.
    pub requested: String,
    /// The complexity that the choice was made with, in 0..=1.
    pub complexity: f64,
    /// Provider of the first attempt.
    pub provider: ProviderId,
    /// Model of the first attempt.
    pub model: ModelId,
    /// Prices of the first attempt's model.
    pub rates: Rates,
    /// Upper bound of the cost so far; it rises with further attempts (see [`Raise`]).
    pub reserved: NanoUsd,
    /// What the cache had to do with it.
    pub cache: CacheUse,
    /// The client's tags.
    pub tags: Vec<String>,
    /// The decision, as the JSON that [`Decision::encode`](crate::routing::decision::Decision::encode) writes; never a prompt.
    pub decision: Arc<RawValue>,
    /// The client's request that this call of a second policy's model repeats, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_of: Option<RequestId>,
}

/// A further attempt: the reservation grows before it is dispatched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Raise {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub tenant: TenantId,
    /// Provider of the attempt.
    pub provider: ProviderId,
    /// Model of the attempt.
    pub model: ModelId,
    /// The whole reservation after the raise.
    pub reserved: NanoUsd,
}

/// One upstream call, as the ledger keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Who was called.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// How the call ended.
    pub outcome: Outcome,
    /// The provider's HTTP status, where it gave one.
    pub status: Option<u16>,
    /// From dispatch to the end of the call, in milliseconds.
    pub latency_ms: u64,
    /// What it used.
    pub tokens: Tokens,
    /// Whether `tokens` was counted here because the provider gave no figures.
    pub estimated: bool,
    /// Prices that the cost was computed with.
    pub rates: Rates,
    /// What it cost.
    pub cost: NanoUsd,
    /// Name of the fault, where it failed (see [`crate::fault::Fault::name`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why it was made beside or after others, where that was not to answer in their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What a call was for, beside giving the answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It was to go on with an answer that had broken off.
    Rescue,
    /// It was started beside one that was slow to begin.
    Hedge,
    /// It was made for a second policy, and its answer thrown away.
    Shadow,
}

/// The last record of a request: it settles the opening, once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closing {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub tenant: TenantId,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Provider that answered, or of the last attempt.
    pub provider: ProviderId,
    /// Model that answered, or of the last attempt.
    pub model: ModelId,
    /// Every upstream call, in order.
    pub attempts: Vec<Attempt>,
    /// All attempts' tokens together.
    pub tokens: Tokens,
    /// Whether any attempt's tokens were estimated.
    pub estimated: bool,
    /// All attempts' cost together.
    pub cost: NanoUsd,
    /// What the baseline model would have cost for the same tokens, minus `cost`; negative where it would have been cheaper.
    pub saved: NanoUsd,
    /// From the request's arrival to its end, in milliseconds.
    pub latency_ms: u64,
    /// From the request's arrival to the first content of the answer, in milliseconds.
    pub ttft_ms: Option<u64>,
}

/// The hash of an id of something that a provider keeps, or of something that it encrypted: what is kept of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuedHash(pub u128);

impl Serialize for IssuedHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for IssuedHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a provider issued to a tenant with one answer: nobody else may name it, and nobody but that provider, with that key, has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The request that was answered.
    pub request_id: RequestId,
    /// To whom.
    pub tenant: TenantId,
    /// By whom.
    pub provider: ProviderId,
    /// The hash of the provider's key that the call was made with.
    pub key: IssuedHash,
    /// When.
    pub at: Timestamp,
    /// What.
    pub hashes: Vec<IssuedHash>,
}

/// The ledger cannot take a record: the request must not be dispatched.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger cannot be written: {0}")]
pub struct LedgerUnavailable(pub String);

/// Where requests are written down.
///
/// Appends are synchronous and survive `kill -9` once they have returned, since a guard's `drop` cannot await. Settling twice changes
/// nothing.
pub trait Ledger: Send + Sync + 'static {
    /// Records what the decisions of a catalogue have in common, before the first of them. Failure is the implementation's to report.
    fn introduce(&self, lineup: &Lineup);

    /// Records a request before its first dispatch.
    ///
    /// # Errors
    /// When the record could not be made durable.
    fn open(&self, opening: &Opening) -> Result<(), LedgerUnavailable>;

    /// Records a further attempt before its dispatch.
    ///
    /// # Errors
    /// When the record could not be made durable.
    fn raise(&self, raise: &Raise) -> Result<(), LedgerUnavailable>;

    /// Settles a request. Failure is the implementation's to report: the caller may be a `drop`.
    fn close(&self, closing: &Closing);

    /// Records a request that needed no dispatch (an answer from the cache): opened and settled at once.
    ///
    /// # Errors
    /// When the record could not be made durable.
    fn open_and_close(&self, opening: &Opening, closing: &Closing) -> Result<(), LedgerUnavailable>;

    /// Records what a provider issued. What cannot be recorded is forgotten: then nobody may name it.
    fn issue(&self, issued: &Issued);
}
