//! From journal entries to rows, so that applying an entry twice changes nothing.
//!
//! An opening is inserted unless its row exists; a settlement changes only a row that is still reserved; a tenant's spend moves only
//! where a row has changed. A batch, its spend and the journal position after it are one transaction.

use std::collections::HashMap;

use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{CacheUse, Closing, Opening, Raise};
use aipipe_actors::money::{NanoUsd, Rates};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, named_params};

use super::value::{count, day, nanos};
use crate::store::issued;
use crate::store::journal::{Entry, Position};

/// What a batch did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Applied {
    /// Entries that the database refused as impossible; they are reported and left out, so that they hold up nothing else.
    pub(in crate::store) refused: u64,
}

/// Applies a batch of entries, and notes that the journal has been read up to `until`.
pub(in crate::store) fn apply<'a>(
    connection: &mut Connection,
    entries: impl IntoIterator<Item = &'a Entry<'static>>,
    until: Position,
) -> rusqlite::Result<Applied> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rows = Rows { transaction: &transaction, spent: HashMap::new() };
    let mut applied = Applied::default();
    for entry in entries {
        match rows.apply(entry) {
            Err(error) if is_about_the_entry(&error) => {
                tracing::error!(%error, ?entry, "the ledger refuses an entry");
                applied.refused += 1;
            }
            other => other?,
        }
    }
    rows.save_spend()?;
    set_position(&transaction, until)?;
    transaction.commit()?;
    Ok(applied)
}

/// Marks every row that is still reserved as unsettled, at its reservation. Only at start-up, when no request can be open.
pub(in crate::store) fn mark_unsettled(connection: &mut Connection) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rows = Rows { transaction: &transaction, spent: HashMap::new() };
    let mut marked = 0;
    {
        let mut statement = transaction.prepare(
            "UPDATE requests SET outcome = 'unsettled', cost = reserved WHERE outcome = 'reserved' RETURNING tenant, at, cost",
        )?;
        let mut unsettled = statement.query([])?;
        while let Some(row) = unsettled.next()? {
            rows.spend(row.get_ref(0)?.as_str()?, row.get(1)?, NanoUsd(row.get(2)?));
            marked += 1;
        }
    }
    rows.save_spend()?;
    transaction.commit()?;
    Ok(marked)
}

/// How many rows are unsettled.
pub(in crate::store) fn unsettled(connection: &Connection) -> rusqlite::Result<u64> {
    let rows: i64 =
        connection.query_row("SELECT count(*) FROM requests WHERE outcome = 'unsettled'", [], |row| row.get(0))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// The place up to which the journal has been applied.
pub(in crate::store) fn position(connection: &Connection) -> rusqlite::Result<Position> {
    let segment = super::meta::<i64>(connection, "journal_segment")?.unwrap_or(0);
    let offset = super::meta::<i64>(connection, "journal_offset")?.unwrap_or(0);
    Ok(Position { segment: u64::try_from(segment).unwrap_or(0), offset: u64::try_from(offset).unwrap_or(0) })
}

fn set_position(connection: &Connection, position: Position) -> rusqlite::Result<()> {
    super::set_meta(connection, "journal_segment", count(position.segment))?;
    super::set_meta(connection, "journal_offset", count(position.offset))
}

/// Whether the entry itself is at fault, so that trying again would never help.
fn is_about_the_entry(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
    ) || matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
}

/// The rows of one transaction.
struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    /// What rows have come to cost, by tenant and day.
    spent: HashMap<(String, i64), NanoUsd>,
}

impl Rows<'_> {
    fn apply(&mut self, entry: &Entry<'_>) -> rusqlite::Result<()> {
        match entry {
            Entry::Open(opening) => self.open(opening),
            Entry::Raise(raise) => self.raise(raise),
            Entry::Close(closing) => self.close(closing),
            Entry::Issue(issued) => issued::keep(self.transaction, issued),
            Entry::OpenClose(opening, closing) => {
                self.open(opening)?;
                self.close(closing)
            }
        }
    }

    fn open(&mut self, opening: &Opening) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT INTO requests (id, tenant, at, dialect, requested, complexity, provider, model, outcome, cache, reserved, \
                 rates, tags, decision) \
                 VALUES (:id, :tenant, :at, :dialect, :requested, :complexity, :provider, :model, 'reserved', :cache, :reserved, \
                 :rates, :tags, :decision) ON CONFLICT (id) DO NOTHING",
            )?
            .execute(named_params! {
                ":id": opening.request_id.as_bytes(),
                ":tenant": opening.tenant.as_str(),
                ":at": nanos(opening.at),
                ":dialect": opening.dialect,
                ":requested": opening.requested,
                ":complexity": opening.complexity,
                ":provider": opening.provider.as_str(),
                ":model": opening.model.as_str(),
                ":cache": opening.cache.as_str(),
                ":reserved": opening.reserved.0,
                ":rates": json(&opening.rates)?,
                ":tags": json(&opening.tags)?,
                ":decision": &*opening.decision,
            })?;
        Ok(())
    }

    fn raise(&mut self, raise: &Raise) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE requests SET reserved = max(reserved, :reserved), provider = :provider, model = :model \
                 WHERE id = :id AND outcome = 'reserved'",
            )?
            .execute(named_params! {
                ":id": raise.request_id.as_bytes(),
                ":reserved": raise.reserved.0,
                ":provider": raise.provider.as_str(),
                ":model": raise.model.as_str(),
            })?;
        Ok(())
    }

    fn close(&mut self, closing: &Closing) -> rusqlite::Result<()> {
        let admitted = match self.settle(closing)? {
            Some(at) => Some(at),
            // Settled before, or its opening was lost to damage: then the row begins here, so that its cost is not lost too.
            None if self.open_lost(closing)? => self.settle(closing)?,
            None => None,
        };
        if let Some(at) = admitted {
            self.spend(closing.tenant.as_str(), at, closing.cost);
        }
        Ok(())
    }

    /// Settles a reserved row, and gives the instant at which it was admitted; `None` where there is no such row.
    fn settle(&mut self, closing: &Closing) -> rusqlite::Result<Option<i64>> {
        let tokens = &closing.tokens;
        self.transaction
            .prepare_cached(
                "UPDATE requests SET ended_at = :ended_at, provider = :provider, model = :model, outcome = :outcome, cost = :cost, \
                 saved = :saved, input_tokens = :input, cached_input_tokens = :cached_input, cache_write_tokens = :cache_write, \
                 output_tokens = :output, reasoning_tokens = :reasoning, estimated = :estimated, latency_ms = :latency, \
                 ttft_ms = :ttft, attempts = :attempts \
                 WHERE id = :id AND outcome = 'reserved' RETURNING at",
            )?
            .query_row(
                named_params! {
                    ":id": closing.request_id.as_bytes(),
                    ":ended_at": nanos(closing.at),
                    ":provider": closing.provider.as_str(),
                    ":model": closing.model.as_str(),
                    ":outcome": closing.outcome.as_str(),
                    ":cost": closing.cost.0,
                    ":saved": closing.saved.0,
                    ":input": count(tokens.input),
                    ":cached_input": count(tokens.cached_input),
                    ":cache_write": count(tokens.cache_write),
                    ":output": count(tokens.output),
                    ":reasoning": count(tokens.reasoning),
                    ":estimated": closing.estimated,
                    ":latency": count(closing.latency_ms),
                    ":ttft": closing.ttft_ms.map(count),
                    ":attempts": json(&closing.attempts)?,
                },
                |row| row.get(0),
            )
            .optional()
    }

    /// Opens a row for a settlement that has none, with what the settlement tells; `false` where there is one.
    fn open_lost(&mut self, closing: &Closing) -> rusqlite::Result<bool> {
        if self.exists(closing.request_id)? {
            return Ok(false);
        }
        tracing::warn!(request_id = %closing.request_id, "a settlement without an opening: its row begins here");
        self.open(&Opening {
            request_id: closing.request_id,
            tenant: closing.tenant.clone(),
            at: closing.at,
            dialect: String::new(),
            requested: closing.model.to_string(),
            complexity: 0.0,
            provider: closing.provider.clone(),
            model: closing.model.clone(),
            rates: closing.attempts.first().map_or_else(Rates::default, |attempt| attempt.rates),
            reserved: closing.cost,
            cache: CacheUse::Off,
            tags: Vec::new(),
            decision: "null".into(),
        })?;
        Ok(true)
    }

    fn exists(&self, id: RequestId) -> rusqlite::Result<bool> {
        self.transaction.prepare_cached("SELECT 1 FROM requests WHERE id = ?1")?.exists([id.as_bytes()])
    }

    fn spend(&mut self, tenant: &str, at: i64, cost: NanoUsd) {
        *self.spent.entry((tenant.to_owned(), day(at))).or_default() += cost;
    }

    /// Adds what was spent to the days' totals, saturating: an absurd cost must not stop the ledger.
    fn save_spend(self) -> rusqlite::Result<()> {
        for ((tenant, day), cost) in self.spent {
            let before = self
                .transaction
                .prepare_cached("SELECT cost FROM spend WHERE tenant = ?1 AND day = ?2")?
                .query_row((&tenant, day), |row| row.get(0))
                .optional()?
                .map_or(NanoUsd::ZERO, NanoUsd);
            self.transaction
                .prepare_cached("INSERT OR REPLACE INTO spend (tenant, day, cost) VALUES (?1, ?2, ?3)")?
                .execute((&tenant, day, (before + cost).0))?;
        }
        Ok(())
    }
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
