//! The database: one file, one thread that writes, readers on connections of their own.

pub(super) mod apply;
mod columns;
pub(super) mod reader;
pub(super) mod value;
pub(super) mod writer;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::error::StoreError;

/// The formats of the database in order; the n-th leads from format n − 1 to n. A released one is never changed.
const MIGRATIONS: [&str; 7] = [
    include_str!("migrations/0001_ledger.sql"),
    include_str!("migrations/0002_issued.sql"),
    include_str!("migrations/0003_token_use_and_repricing.sql"),
    include_str!("migrations/0004_learning.sql"),
    include_str!("migrations/0005_audio_tokens.sql"),
    include_str!("migrations/0006_lineups.sql"),
    include_str!("migrations/0007_shadow.sql"),
];

/// How long a connection waits for another's lock; they hold it for milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a page of a new database. A row takes about one kilobyte and a batch fills many pages: larger ones take fewer writes, while a
/// batch of one row stays small.
const PAGE_BYTES: u32 = 8_192;

/// When a commit must be on the disk itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// At checkpoints: nothing is lost when the process dies, the last commits may be when the power goes.
    #[default]
    Normal,
    /// At every commit: what a committed batch holds survives a power failure too.
    Full,
}

fn supported() -> u32 {
    MIGRATIONS.len() as u32
}

/// Opens the database for its one writer, and brings it to the newest format.
pub(super) fn open_writer(path: &Path, synchronous: Synchronous) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let level = match synchronous {
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
    };
    connection.pragma_update(None, "synchronous", level)?;
    // What is deleted (a sealed key, a purged row) does not linger in free pages, as far as that costs no further writes.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the database for reading only.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let found = format_of(&connection)?;
    if found != supported() {
        let advice = if found < supported() { "start the gateway once to bring it up to date" } else { NEWER };
        return Err(StoreError::Format { found, supported: supported(), advice });
    }
    Ok(connection)
}

/// A database with nothing in it, which reads like one that does not exist yet.
pub(super) fn open_empty() -> Result<Connection, StoreError> {
    let mut connection = Connection::open_in_memory()?;
    migrate(&mut connection)?;
    Ok(connection)
}

const NEWER: &str = "a newer program wrote it: use that one";

fn format_of(connection: &Connection) -> Result<u32, rusqlite::Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found = format_of(connection)?;
    if found > supported() {
        return Err(StoreError::Format { found, supported: supported(), advice: NEWER });
    }
    for (format, script) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", format)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Reads a value of the table of single values.
pub(super) fn meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    name: &str,
) -> Result<Option<T>, rusqlite::Error> {
    connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}

/// Sets a value of the table of single values.
pub(super) fn set_meta(
    connection: &Connection,
    name: &str,
    value: impl rusqlite::ToSql,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(rusqlite::params![name, value])?;
    Ok(())
}
