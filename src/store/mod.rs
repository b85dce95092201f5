//! What outlives the process: the ledger of requests, tenants, their provider keys and client tokens.
//!
//! The way of a record: a request's own task appends it to the [`journal`] with one write, and may dispatch; the writer thread
//! ([`sqlite::writer`]) takes what has gathered for a moment and applies it to the database in one transaction, with the journal position
//! that it has reached. A segment of the journal is deleted once the database has all of it.
//!
//! After a crash [`Store::open`] applies what the journal has beyond that position, which changes nothing that was applied before, and
//! marks the rows that nobody will settle any more as `unsettled`, at their reservation. So `kill -9` at any moment loses no settlement
//! and leaves no dispatched request without a row.
//!
//! - Every read names a tenant or shows an [`AdminScope`]: there is no third way.
//! - Nothing outside this room knows SQL, and nothing in it blocks a worker of the runtime: reads have threads of their own, and changes
//!   go through the writer, after all that was appended before them.
//! - A read first lets the writer catch up with the journal as of that moment, so that what was just answered is there.
//! - Amounts are integers of nano-dollars throughout.
//!
//! Beside `aipipe.db` lie `aipipe.db.lock` (who serves it), `aipipe.db.key` (the master key, unless one was given) and
//! `aipipe.db.ledger/` (the journal).

mod activity;
mod error;
mod issued;
mod journal;
mod learning;
mod ledger;
mod lineups;
mod lock;
mod master_key;
mod open;
mod rekey;
mod repricing;
mod requests;
#[cfg(test)]
mod samples;
mod seal;
mod shadow;
mod spend;
mod sqlite;
mod stats;
mod tenants;
#[cfg(test)]
mod tests;
mod tokens;
mod usage;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aipipe_actors::ledger::Ledger;

pub use activity::{Flow, RequestLine, Series, SeriesBy, SeriesQuery, SeriesSet};
pub use error::StoreError;
pub use issued::Issuer;
pub use master_key::MasterKey;
pub use rekey::{NewMasterKey, Rekeyed};
pub use repricing::{Difference, Repricing};
pub use requests::{AttemptRow, Feedback, Judged, RequestFilter, RequestPage, RequestRow};
pub use seal::MasterKeySource;
pub(crate) use seal::random;
pub use spend::Spent;
pub use sqlite::Synchronous;
pub use sqlite::reader::Reader;
pub use stats::{Percentiles, TenantStats, TokenTotals, Totals};
pub use tenants::{KeyInfo, LedgerRows, TenantRecord};
pub use tokens::TokenRecord;
pub use usage::DayUsage;

/// How a store is opened.
#[derive(Debug)]
pub struct Settings {
    /// The database file; the others lie beside it.
    pub path: PathBuf,
    /// What provider keys are sealed with.
    pub master_key: MasterKeySource,
    /// When a commit must be on the disk itself.
    pub synchronous: Synchronous,
}

/// What was found at start-up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Journal entries that the database did not have yet.
    pub replayed: u64,
    /// Journal records that were lost to damage.
    pub damaged: u64,
    /// Rows that were left reserved, now unsettled at their reservation.
    pub unsettled: u64,
}

/// Proof that the caller acts for the operator, and may see every tenant's rows.
#[derive(Debug, Clone, Copy)]
pub struct AdminScope(());

impl AdminScope {
    /// For what runs with the operator's authority: a call whose admin secret was checked, the check of a client's token, a command on
    /// the operator's own machine. Never for what a client asks.
    pub fn granted() -> Self {
        Self(())
    }
}

/// The store of a running gateway. It reads as its [`Reader`] does.
///
/// Dropping it writes what the journal holds, and blocks until that is done.
#[derive(Debug)]
pub struct Store {
    reader: Reader,
    writer: sqlite::writer::Writer,
    sealer: Arc<seal::Sealer>,
    unsettled: u64,
    /// Released last, when the writer has ended.
    _lock: lock::Lock,
}

impl Store {
    /// Where requests are written down. Appends fail once the store is closed.
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(ledger::JournalLedger(self.writer.handle().clone()))
    }

    /// Rows whose cost is only bounded, since the process died while they were open. It changes at start-up only.
    pub fn unsettled_count(&self) -> u64 {
        self.unsettled
    }

    /// Whether records and changes reach the database.
    ///
    /// # Errors
    /// Says why they do not.
    pub fn health(&self) -> Result<(), String> {
        if self.writer.has_ended() {
            return Err("the ledger's writer has died".to_owned());
        }
        self.writer.handle().failure().map_or(Ok(()), Err)
    }

    /// Writes what the journal holds and ends the writer. It blocks: call it where that is allowed.
    pub fn close(mut self) {
        self.writer.stop();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// Where the master key lies that nobody gave.
pub fn master_key_file(database: &Path) -> PathBuf {
    open::key_file(database)
}

/// A file beside another, with its name extended.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
