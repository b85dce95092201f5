//! From journal entries to rows, so that applying an entry twice changes nothing.
//!
//! An opening is inserted unless its row exists; a settlement changes only a row that is still reserved; a tenant's spend moves only
//! where a row has changed. A batch, its spend and the journal position after it are one transaction. An opening waits for the end of its
//! batch: where its settlement comes within the batch, one insertion writes the whole row.

use std::collections::HashMap;

use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{CacheUse, Closing, Opening, Raise};
use aipipe_actors::money::{NanoUsd, Rates};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, named_params};
use serde_json::value::RawValue;

use super::columns;
use super::value::{count, day, nanos};
use crate::store::journal::{Entry, Position};
use crate::store::{issued, lineups};

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
    let mut rows = Rows::of(&transaction);
    for entry in entries {
        let result = rows.apply(entry);
        rows.unless_refused(result, entry.request_id())?;
    }
    for opened in rows.take_opened() {
        let result = rows.insert_opened(&opened);
        rows.unless_refused(result, Some(opened.opening.request_id))?;
    }
    let applied = Applied { refused: rows.refused };
    rows.save_spend()?;
    set_position(&transaction, until)?;
    transaction.commit()?;
    Ok(applied)
}

/// Marks every row that is still reserved as unsettled, at its reservation. Only at start-up, when no request can be open.
pub(in crate::store) fn mark_unsettled(connection: &mut Connection) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rows = Rows::of(&transaction);
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
    /// Openings of this batch whose rows are not written yet.
    opened: HashMap<RequestId, Opened<'a>>,
    /// What rows have come to cost, by tenant and day.
    spent: HashMap<(String, i64), NanoUsd>,
    refused: u64,
}

/// An opening with the raises that followed it.
struct Opened<'a> {
    opening: &'a Opening,
    /// The highest reservation.
    reserved: NanoUsd,
    /// The last attempt that was raised for.
    last: Option<&'a Raise>,
}

impl<'a> Opened<'a> {
    fn of(opening: &'a Opening) -> Self {
        Self { opening, reserved: opening.reserved, last: None }
    }
}

impl<'a> Rows<'a> {
    fn of(transaction: &'a Transaction<'a>) -> Self {
        Self { transaction, opened: HashMap::new(), spent: HashMap::new(), refused: 0 }
    }

    fn apply(&mut self, entry: &'a Entry<'_>) -> rusqlite::Result<()> {
        match entry {
            Entry::Open(opening) => {
                self.opened.entry(opening.request_id).or_insert(Opened::of(opening));
                Ok(())
            }
            Entry::Raise(raise) => match self.opened.get_mut(&raise.request_id) {
                Some(opened) => {
                    opened.reserved = opened.reserved.max(raise.reserved);
                    opened.last = Some(raise);
                    Ok(())
                }
                None => self.raise(raise),
            },
            Entry::Close(closing) => match self.opened.remove(&closing.request_id) {
                Some(opened) => self.complete_or_close(&opened, closing),
                None => self.close(closing),
            },
            Entry::OpenClose(opening, closing) => self.complete_or_close(&Opened::of(opening), closing),
            Entry::Issue(issued) => issued::keep(self.transaction, issued),
            Entry::Lineup { id, text } => lineups::keep(self.transaction, *id, text),
        }
    }

    /// The openings that no settlement has taken, in the order of their ids, which is that of time.
    fn take_opened(&mut self) -> Vec<Opened<'a>> {
        let mut opened: Vec<Opened<'a>> = self.opened.drain().map(|(_, opened)| opened).collect();
        opened.sort_unstable_by_key(|opened| opened.opening.request_id);
        opened
    }

    /// Writes the row of a request that is still open.
    fn insert_opened(&mut self, opened: &Opened<'_>) -> rusqlite::Result<()> {
        self.open(opened.opening)?;
        match opened.last {
            Some(last) => self.raise(&Raise { reserved: opened.reserved, ..last.clone() }),
            None => Ok(()),
        }
    }

    /// Writes the whole row; where its opening is impossible, the row that its settlement makes alone, so that its cost is not lost.
    fn complete_or_close(&mut self, opened: &Opened<'_>, closing: &Closing) -> rusqlite::Result<()> {
        match self.complete(opened, closing) {
            Err(error) if is_about_the_entry(&error) => {
                self.refuse(&error, Some(closing.request_id));
                self.close(closing)
            }
            other => other,
        }
    }

    /// Reports an entry that the database takes for impossible.
    fn refuse(&mut self, error: &rusqlite::Error, id: Option<RequestId>) {
        tracing::error!(%error, request_id = id.map(tracing::field::display), "the ledger refuses an entry");
        self.refused += 1;
    }

    /// Lets a batch go on where the entry itself is at fault.
    fn unless_refused(&mut self, result: rusqlite::Result<()>, id: Option<RequestId>) -> rusqlite::Result<()> {
        match result {
            Err(error) if is_about_the_entry(&error) => {
                self.refuse(&error, id);
                Ok(())
            }
            other => other,
        }
    }

    /// Writes the whole row of a request that was opened and settled within the batch.
    fn complete(&mut self, opened: &Opened<'_>, closing: &Closing) -> rusqlite::Result<()> {
        let Opened { opening, reserved, .. } = opened;
        let mut statement = self.transaction.prepare_cached(&columns::INSERT_WHOLE)?;
        columns::bind_whole(&mut statement, opening, *reserved, closing)?;
        let written = statement.raw_execute()?;
        if written == 0 {
            // The row is there from an earlier reading of the journal.
            return self.close(closing);
        }
        self.spend(closing.tenant.as_str(), nanos(opening.at), closing.cost);
        Ok(())
    }

    fn open(&mut self, opening: &Opening) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached(&columns::INSERT_OPEN)?;
        columns::bind_open(&mut statement, opening)?;
        statement.raw_execute()?;
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
        // Looked for by itself, for an update that returns a value builds a table of its own.
        let reserved: Option<(i64, i64)> = self
            .transaction
            .prepare_cached("SELECT seq, at FROM requests WHERE id = ?1 AND outcome = 'reserved'")?
            .query_row([closing.request_id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((seq, at)) = reserved else { return Ok(None) };
        let mut statement = self.transaction.prepare_cached(&columns::SETTLE)?;
        columns::bind_settlement(&mut statement, closing, seq)?;
        statement.raw_execute()?;
        Ok(Some(at))
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
            decision: RawValue::NULL.to_owned().into(),
            shadow_of: None,
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
            add_spend(self.transaction, &tenant, day, cost)?;
        }
        Ok(())
    }
}

/// Adds to what a tenant's day has cost.
pub(in crate::store) fn add_spend(
    connection: &Connection,
    tenant: &str,
    day: i64,
    cost: NanoUsd,
) -> rusqlite::Result<()> {
    let before = connection
        .prepare_cached("SELECT cost FROM spend WHERE tenant = ?1 AND day = ?2")?
        .query_row((tenant, day), |row| row.get(0))
        .optional()?
        .map_or(NanoUsd::ZERO, NanoUsd);
    connection.prepare_cached("INSERT OR REPLACE INTO spend (tenant, day, cost) VALUES (?1, ?2, ?3)")?.execute((
        tenant,
        day,
        (before + cost).0,
    ))?;
    Ok(())
}
