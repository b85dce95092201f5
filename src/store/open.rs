//! Opening a store: lock, format, master key, journal, and only then the writer.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use secrecy::ExposeSecret;

use super::journal::{self, Bounds, Journal, Position};
use super::lock::Lock;
use super::seal::{Bound, Sealer};
use super::sqlite::reader::Source;
use super::sqlite::{self, apply, writer::Writer};
use super::{MasterKeySource, Reader, Recovered, Settings, Store, StoreError, beside, rekey};

impl Store {
    /// Opens the database for this process alone, making it where there is none, and recovers what a former process left. It blocks.
    ///
    /// # Errors
    /// Where another process serves the database, the master key is not the one that keys were sealed with, the format is a newer
    /// program's, or a file cannot be used.
    pub fn open(settings: Settings) -> Result<(Self, Recovered), StoreError> {
        Self::open_bounded(settings, Bounds::default())
    }

    pub(super) fn open_bounded(settings: Settings, bounds: Bounds) -> Result<(Self, Recovered), StoreError> {
        let Settings { path, master_key, synchronous } = settings;
        make_private(&path)?;
        let lock = Lock::acquire(&path)?;
        let mut connection = sqlite::open_writer(&path, synchronous)?;
        let sealer = sealer(&connection, &path, &master_key)?;

        let directory = journal_of(&path);
        let mut recovered = replay(&mut connection, &directory)?;
        recovered.unsettled = apply::mark_unsettled(&mut connection)?;
        report(&recovered);
        let unsettled = apply::unsettled(&connection)?;

        let last = apply::position(&connection)?.segment;
        let journal = Arc::new(Journal::begin(directory.clone(), last, bounds).map_err(StoreError::file(&directory))?);
        let writer = Writer::start(connection, Arc::clone(&journal), journal.end()).map_err(StoreError::file(&path))?;
        let reader = Reader::new(Source::File(path), Some(writer.handle().clone()))?;
        Ok((Self { reader, writer, sealer: Arc::new(sealer), unsettled, _lock: lock }, recovered))
    }
}

impl Reader {
    /// Opens a database for reading beside whoever serves it. Where there is none yet, nothing is found.
    ///
    /// # Errors
    /// Where the file is no database of this format.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let exists = path.try_exists().map_err(StoreError::file(path))?;
        Self::new(if exists { Source::File(path.to_owned()) } else { Source::Nothing }, None)
    }
}

fn journal_of(database: &Path) -> PathBuf {
    beside(database, ".ledger")
}

/// Makes the database's directory and file for their owner only, where they do not exist: rows tell who asked whom for what.
fn make_private(path: &Path) -> Result<(), StoreError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(StoreError::file(directory))?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(StoreError::file(path)(error)),
        _ => Ok(()),
    }
}

/// The known text whose seal tells whether the master key is the right one.
pub(super) const CHECK: &str = "aipipe";

/// The file of the master key, where none is given.
pub(super) fn key_file(database: &Path) -> PathBuf {
    beside(database, ".key")
}

/// Whether a master key is the one that the known text was sealed with.
pub(super) fn opens_check(sealer: &Sealer, check: &[u8]) -> bool {
    sealer.open(check, Bound::Check).is_some_and(|text| text.expose_secret() == CHECK)
}

/// What the stored provider keys open with.
pub(super) fn sealer(
    connection: &Connection,
    database: &Path,
    master_key: &MasterKeySource,
) -> Result<Sealer, StoreError> {
    let check: Option<Vec<u8>> = sqlite::meta(connection, "master_key_check")?;
    let file = key_file(database);
    let sealer = match master_key {
        MasterKeySource::Given(key) => Sealer::new(key.clone()),
        MasterKeySource::FileBesideDatabase => match Sealer::from_file(&file)? {
            Some(sealer) => sealer,
            None if check.is_some() => {
                return Err(StoreError::MasterKey(format!(
                    "{} is missing, and the stored provider keys open with no other key",
                    file.display()
                )));
            }
            None => Sealer::generate_file(&file)?,
        },
    };
    match check {
        None => sqlite::set_meta(connection, "master_key_check", sealer.seal(CHECK, Bound::Check)?)?,
        Some(sealed) if !opens_check(&sealer, &sealed) => {
            let taken = match master_key {
                MasterKeySource::Given(_) => None,
                MasterKeySource::FileBesideDatabase => rekey::take_over(database, &sealed)?,
            };
            return taken.ok_or_else(|| {
                StoreError::MasterKey(
                    "this is not the master key that the stored provider keys were sealed with".into(),
                )
            });
        }
        Some(_) => {}
    }
    Ok(sealer)
}

/// Applies what the database lacks, a segment a transaction, and removes each segment that it then has.
fn replay(connection: &mut Connection, directory: &Path) -> Result<Recovered, StoreError> {
    let failed = || StoreError::file(directory);
    let mut recovered = Recovered::default();
    let passed = apply::position(connection)?;
    for number in journal::left_segments(directory).map_err(failed())? {
        let mut damaged = BTreeSet::new();
        if number >= passed.segment {
            let offset = if number == passed.segment { passed.offset } else { 0 };
            let read = journal::read_segment(directory, number, offset..u64::MAX).map_err(failed())?;
            let applied = apply::apply(connection, &read.entries, Position { segment: number + 1, offset: 0 })?;
            recovered.replayed += read.entries.len() as u64;
            recovered.damaged += read.damaged + applied.refused;
            damaged = read.damaged_segments;
        }
        journal::retire_segments(directory, [number], &damaged).map_err(failed())?;
    }
    Ok(recovered)
}

fn report(recovered: &Recovered) {
    let Recovered { replayed, damaged, unsettled } = *recovered;
    if damaged > 0 {
        tracing::warn!(
            damaged,
            replayed,
            "journal records were damaged and are lost; the damaged segments are kept beside the journal"
        );
    }
    if replayed > 0 || unsettled > 0 {
        tracing::info!(replayed, unsettled, "recovered what the last process had not finished");
    }
}
