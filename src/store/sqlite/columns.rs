//! The columns of a request's row: which its opening fills and which its settlement, and the statements that write them.
//!
//! Values are bound by place, in the order of the names: there are too many of them in each request for a search by name.

use std::sync::LazyLock;

use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{Closing, Opening};
use aipipe_actors::money::NanoUsd;
use rusqlite::{Statement, ToSql};

use super::value::{count, nanos};

/// Filled by the opening.
const OPENED: [&str; 12] = [
    "id",
    "tenant",
    "at",
    "dialect",
    "requested",
    "complexity",
    "cache",
    "reserved",
    "rates",
    "tags",
    "decision",
    "shadow_of",
];
/// Filled by the settlement; the first two say whom a request is open with until then.
const SETTLED: [&str; 17] = [
    "provider",
    "model",
    "ended_at",
    "outcome",
    "cost",
    "saved",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "estimated",
    "latency_ms",
    "ttft_ms",
    "attempts",
];

/// Inserts the row of a request that is settled already, unless there is one; see [`bind_whole`].
pub(super) static INSERT_WHOLE: LazyLock<String> = LazyLock::new(|| {
    let columns = [&OPENED[..], &SETTLED].concat().join(", ");
    let places = vec!["?"; OPENED.len() + SETTLED.len()].join(", ");
    format!("INSERT INTO requests ({columns}) VALUES ({places}) ON CONFLICT (id) DO NOTHING")
});

/// Inserts the row of a request that is open, unless there is one; see [`bind_open`].
pub(super) static INSERT_OPEN: LazyLock<String> = LazyLock::new(|| {
    let columns = OPENED.join(", ");
    let places = vec!["?"; OPENED.len()].join(", ");
    format!(
        "INSERT INTO requests ({columns}, provider, model, outcome) VALUES ({places}, ?, ?, 'reserved') ON CONFLICT (id) DO NOTHING"
    )
});

/// Settles the row of a `seq`; see [`bind_settlement`].
pub(super) static SETTLE: LazyLock<String> =
    LazyLock::new(|| format!("UPDATE requests SET {} = ? WHERE seq = ?", SETTLED.join(" = ?, ")));

/// Gives the parameters of a statement their values, one after the other.
struct Places<'s, 'c> {
    statement: &'s mut Statement<'c>,
    bound: usize,
}

impl<'s, 'c> Places<'s, 'c> {
    fn of(statement: &'s mut Statement<'c>) -> Self {
        Self { statement, bound: 0 }
    }

    fn bind(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }

    /// In the order of [`OPENED`].
    fn bind_opening(&mut self, opening: &Opening, reserved: NanoUsd) -> rusqlite::Result<()> {
        self.bind(opening.request_id.as_bytes())?;
        self.bind(opening.tenant.as_str())?;
        self.bind(nanos(opening.at))?;
        self.bind(&opening.dialect)?;
        self.bind(&opening.requested)?;
        self.bind(opening.complexity)?;
        self.bind(opening.cache.as_str())?;
        self.bind(reserved.0)?;
        self.bind(json(&opening.rates)?)?;
        self.bind(json(&opening.tags)?)?;
        self.bind(opening.decision.get())?;
        self.bind(opening.shadow_of.as_ref().map(RequestId::as_bytes))
    }

    /// In the order of [`SETTLED`].
    fn bind_closing(&mut self, closing: &Closing) -> rusqlite::Result<()> {
        self.bind(closing.provider.as_str())?;
        self.bind(closing.model.as_str())?;
        self.bind(nanos(closing.at))?;
        self.bind(closing.outcome.as_str())?;
        self.bind(closing.cost.0)?;
        self.bind(closing.saved.0)?;
        self.bind(count(closing.tokens.input))?;
        self.bind(count(closing.tokens.cached_input))?;
        self.bind(count(closing.tokens.cache_write))?;
        self.bind(count(closing.tokens.output))?;
        self.bind(count(closing.tokens.reasoning))?;
        self.bind(count(closing.tokens.audio_input))?;
        self.bind(count(closing.tokens.audio_output))?;
        self.bind(closing.estimated)?;
        self.bind(count(closing.latency_ms))?;
        self.bind(closing.ttft_ms.map(count))?;
        self.bind(json(&closing.attempts)?)
    }
}

/// The values of [`INSERT_WHOLE`].
pub(super) fn bind_whole(
    statement: &mut Statement<'_>,
    opening: &Opening,
    reserved: NanoUsd,
    closing: &Closing,
) -> rusqlite::Result<()> {
    let mut places = Places::of(statement);
    places.bind_opening(opening, reserved)?;
    places.bind_closing(closing)
}

/// The values of [`INSERT_OPEN`].
pub(super) fn bind_open(statement: &mut Statement<'_>, opening: &Opening) -> rusqlite::Result<()> {
    let mut places = Places::of(statement);
    places.bind_opening(opening, opening.reserved)?;
    places.bind(opening.provider.as_str())?;
    places.bind(opening.model.as_str())
}

/// The values of [`SETTLE`].
pub(super) fn bind_settlement(statement: &mut Statement<'_>, closing: &Closing, seq: i64) -> rusqlite::Result<()> {
    let mut places = Places::of(statement);
    places.bind_closing(closing)?;
    places.bind(seq)
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
