//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use aipipe_actors::identity::TenantId;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process serves this database.
    #[error("{path} is served by another aipipe, process {holder}")]
    Locked {
        /// The database.
        path: PathBuf,
        /// Its process id, or what is known instead of it.
        holder: String,
    },
    /// A file beside the database failed.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database was written by another version of the program.
    #[error("the database has format {found}, this program knows {supported}; {advice}")]
    Format {
        /// The format of the database.
        found: u32,
        /// The newest format that this program knows.
        supported: u32,
        /// What to do about it.
        advice: &'static str,
    },
    /// The master key is missing, malformed or not the one that the provider keys were sealed with.
    #[error("{0}")]
    MasterKey(String),
    /// The system gives no random numbers for a secret.
    #[error("the system gives no random numbers: {0}")]
    NoRandomness(#[from] getrandom::Error),
    /// A sealed provider key does not open: it was changed, or moved from another tenant or provider.
    #[error("the stored {provider} key of tenant {tenant} cannot be opened: it was not sealed for them")]
    Unsealable {
        /// Whose key.
        tenant: String,
        /// Of which provider.
        provider: String,
    },
    /// A page was asked for after a place that no page named.
    #[error("the cursor is none that a page before has given")]
    UnknownCursor,
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    UnknownTenant(TenantId),
    /// Too many changes wait to be written.
    #[error("the store has too many changes waiting; try again")]
    Busy,
    /// The store is closing, or its writer has died.
    #[error("the store is closed")]
    Closed,
    /// What the database holds is not what this program writes.
    #[error("the database holds what cannot be read: {0}")]
    Unreadable(String),
}

impl StoreError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }
}
