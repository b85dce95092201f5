//! The exclusive lock beside the database: one process serves it, and a second learns which.
//!
//! The lock is the kernel's, not the file's existence: it goes with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Held as long as this process serves the database.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a database.
    ///
    /// # Errors
    /// [`StoreError::Locked`] names the process that holds it.
    pub(super) fn acquire(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database);
        let failed = |error| StoreError::File { path: path.clone(), source: error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(database, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn locked(database: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let holder = match file.read_to_string(&mut text).map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(process)) => process.to_string(),
        _ => "unknown (it is just starting)".to_owned(),
    };
    StoreError::Locked { path: database.to_owned(), holder }
}

fn beside(database: &Path) -> PathBuf {
    super::beside(database, ".lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first_and_comes_in_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        let first = Lock::acquire(&database).unwrap();
        match Lock::acquire(&database) {
            Err(StoreError::Locked { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(first);
        Lock::acquire(&database).unwrap();
    }
}
