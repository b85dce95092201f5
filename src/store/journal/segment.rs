//! The files of the journal: numbered upwards, preallocated, written at explicit offsets, never reopened for writing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// One file of the journal, open for appending.
#[derive(Debug)]
pub(super) struct Segment {
    /// Where it stands in the order of segments.
    pub(super) number: u64,
    file: File,
}

impl Segment {
    /// Creates the segment and has the file system set space for it aside, so that a full disk shows here and not inside a record.
    pub(super) fn create(directory: &Path, number: u64, preallocate: u64) -> io::Result<Self> {
        let path = path(directory, number);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // The size stays what was written, so that a reader sees no unwritten space.
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, preallocate) {
            // A file system that cannot preallocate takes records as they come.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Self { number, file }),
            Err(error) => {
                fs::remove_file(&path)?;
                Err(error.into())
            }
        }
    }

    /// Writes a record: one system call, unless the kernel takes it in pieces.
    pub(super) fn write(&self, record: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(record, offset)
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016}.journal"))
}

/// The numbers of the segments that exist, ascending.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".journal"));
        numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The bytes that a segment holds in a range of offsets; the range may end beyond the file.
pub(super) fn read(directory: &Path, number: u64, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path(directory, number))?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes a segment whose records are all in the database.
pub(super) fn remove(directory: &Path, number: u64) -> io::Result<()> {
    unless_gone(fs::remove_file(path(directory, number)))
}

/// Keeps a damaged segment for a person to look at, out of the journal's way.
pub(super) fn set_aside(directory: &Path, number: u64) -> io::Result<()> {
    let path = path(directory, number);
    unless_gone(fs::rename(&path, path.with_extension("damaged")))
}

/// What is tried again finds some segments out of the way already.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
