//! A new master key: every stored provider key is opened with the old one and sealed with the new one, in one transaction.
//!
//! A key file cannot change in the same instant as the database. The new one is therefore written beside the old one first, and takes its
//! place when the database has it; a start that finds both takes over whichever opens what is stored (see [`take_over`]).

use std::io;
use std::path::{Path, PathBuf};

use aipipe_actors::identity::{ProviderId, TenantId};
use rusqlite::{Connection, TransactionBehavior, params};
use secrecy::ExposeSecret;

use super::lock::Lock;
use super::open::{CHECK, key_file, opens_check, sealer};
use super::seal::{Bound, Sealer};
use super::sqlite::value::RowExt;
use super::sqlite::{self, Synchronous};
use super::{MasterKey, Settings, Store, StoreError, beside};

/// Where the new master key comes from.
#[derive(Debug)]
pub enum NewMasterKey {
    /// Given by the operator.
    Given(MasterKey),
    /// Made, and kept in the file beside the database.
    Generated,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// Provider keys that were sealed anew.
    pub keys: u64,
    /// The file that has the new key, where it was made.
    pub file: Option<PathBuf>,
}

impl Store {
    /// Seals everything that is stored with a new master key. It blocks.
    ///
    /// # Errors
    /// Where there is no database, a process serves it, the old master key is not the right one, or a file cannot be written; then the
    /// old key holds as before.
    pub fn rekey(settings: Settings, new: NewMasterKey) -> Result<Rekeyed, StoreError> {
        let Settings { path, master_key, .. } = settings;
        if !path.try_exists().map_err(StoreError::file(&path))? {
            return Err(StoreError::file(&path)(io::ErrorKind::NotFound.into()));
        }
        let _lock = Lock::acquire(&path)?;
        let mut connection = sqlite::open_writer(&path, Synchronous::Full)?;
        let old = sealer(&connection, &path, &master_key)?;
        let next = next_file(&path);
        let new = match new {
            NewMasterKey::Given(key) => (Sealer::new(key), None),
            NewMasterKey::Generated => {
                remove_if_there(&next)?;
                (Sealer::generate_file(&next)?, Some(key_file(&path)))
            }
        };
        let keys = seal_anew(&mut connection, &old, &new.0)?;
        if let Some(file) = &new.1 {
            std::fs::rename(&next, file).map_err(StoreError::file(file))?;
        }
        // What the old key opens leaves the write-ahead log too; where a reader holds it, the next checkpoint does that.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(Rekeyed { keys, file: new.1 })
    }
}

fn seal_anew(connection: &mut Connection, old: &Sealer, new: &Sealer) -> Result<u64, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut sealed_anew = Vec::new();
    {
        let mut statement = transaction.prepare("SELECT tenant, provider, sealed FROM provider_keys")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let tenant = row.name("tenant", TenantId::parse)?;
            let provider = row.name("provider", ProviderId::parse)?;
            let sealed = row.get_ref("sealed")?.as_blob().map_err(rusqlite::Error::from)?;
            let bound = Bound::ProviderKey(&tenant, &provider);
            let key = old
                .open(sealed, bound)
                .ok_or_else(|| StoreError::Unsealable { tenant: tenant.to_string(), provider: provider.to_string() })?;
            let sealed = new.seal(key.expose_secret(), bound)?;
            sealed_anew.push((tenant, provider, sealed));
        }
    }
    for (tenant, provider, sealed) in &sealed_anew {
        transaction
            .prepare_cached("UPDATE provider_keys SET sealed = ?3 WHERE tenant = ?1 AND provider = ?2")?
            .execute(params![tenant.as_str(), provider.as_str(), sealed])?;
    }
    sqlite::set_meta(&transaction, "master_key_check", new.seal(CHECK, Bound::Check)?)?;
    transaction.commit()?;
    Ok(sealed_anew.len() as u64)
}

/// Where a new key waits for its place.
fn next_file(database: &Path) -> PathBuf {
    beside(database, ".key.next")
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::file(path)(error)),
        _ => Ok(()),
    }
}

/// Ends a change of the key file that a process did not live to end: the new key takes its place where it opens what is stored.
pub(super) fn take_over(database: &Path, check: &[u8]) -> Result<Option<Sealer>, StoreError> {
    let next = next_file(database);
    let Some(sealer) = Sealer::from_file(&next)?.filter(|sealer| opens_check(sealer, check)) else { return Ok(None) };
    let file = key_file(database);
    std::fs::rename(&next, &file).map_err(StoreError::file(&file))?;
    tracing::warn!(file = %file.display(), "a change of the master key had not ended; the new key has taken its place");
    Ok(Some(sealer))
}
