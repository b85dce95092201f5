//! The journal: what happened to requests, appended by the tasks that carry them, until the database has it.
//!
//! - An append is one plain `write` from the caller's own thread. Once it has returned, the record is in the page cache and survives
//!   `kill -9`; nothing is handed to another thread before a request may be dispatched.
//! - The files are the truth. Beside them the appended entries are queued in memory, within a bound, so that the writer need not parse
//!   what it has just seen; where the queue overflowed, or a batch failed, the writer reads the files.
//! - Space is set aside before it is needed. The writer brings the next segment when the current one is three quarters full; where the
//!   disk refuses one, openings are refused at once, while what is open can still be settled in the space that is left.
//! - A segment is swapped under the lock under which records are written, so that a sealed segment has no appender.

mod record;
mod segment;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{Closing, Issued, Opening, Raise};
use aipipe_actors::routing::lineup::LineupId;
use serde::{Deserialize, Serialize};

use record::{Found, Scan};
use segment::Segment;

/// A record of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry<'a> {
    /// A request is about to be dispatched.
    Open(Cow<'a, Opening>),
    /// A further attempt is about to be dispatched.
    Raise(Cow<'a, Raise>),
    /// A request has ended.
    Close(Cow<'a, Closing>),
    /// A request needed no dispatch.
    OpenClose(Cow<'a, Opening>, Box<Cow<'a, Closing>>),
    /// A provider issued something to a tenant.
    Issue(Cow<'a, Issued>),
    /// What decisions from here on refer to.
    Lineup {
        /// Its name.
        id: LineupId,
        /// What it says.
        text: Cow<'a, str>,
    },
}

impl Entry<'_> {
    fn into_owned(self) -> Entry<'static> {
        fn own<T: Clone>(value: Cow<'_, T>) -> Cow<'static, T> {
            Cow::Owned(value.into_owned())
        }
        match self {
            Self::Open(opening) => Entry::Open(own(opening)),
            Self::Raise(raise) => Entry::Raise(own(raise)),
            Self::Close(closing) => Entry::Close(own(closing)),
            Self::OpenClose(opening, closing) => Entry::OpenClose(own(opening), Box::new(own(*closing))),
            Self::Issue(issued) => Entry::Issue(own(issued)),
            Self::Lineup { id, text } => Entry::Lineup { id, text: Cow::Owned(text.into_owned()) },
        }
    }

    /// The request that it tells of, if it tells of one.
    pub(super) fn request_id(&self) -> Option<RequestId> {
        Some(match self {
            Self::Open(opening) | Self::OpenClose(opening, _) => opening.request_id,
            Self::Raise(raise) => raise.request_id,
            Self::Close(closing) => closing.request_id,
            Self::Issue(issued) => issued.request_id,
            Self::Lineup { .. } => return None,
        })
    }

    /// About how long its record is, so that it is written into one allocation.
    fn size_hint(&self) -> usize {
        match self {
            Self::Open(opening) => 768 + opening.decision.get().len(),
            Self::Raise(_) => 256,
            Self::Close(closing) => 640 + 512 * closing.attempts.len(),
            Self::OpenClose(opening, _) => 1408 + opening.decision.get().len(),
            Self::Issue(issued) => 256 + 36 * issued.hashes.len(),
            // The quotes in it are escaped.
            Self::Lineup { text, .. } => 128 + 2 * text.len(),
        }
    }

    /// Whether a full disk must stop it: it comes before something that costs money. What comes after is kept in memory meanwhile.
    fn precedes_dispatch(&self) -> bool {
        !matches!(self, Self::Close(_) | Self::Issue(_) | Self::Lineup { .. })
    }
}

/// A place in the journal. All records before it are in the database, or none after it are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// How much the journal may take up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Space set aside for a segment, in bytes. A writer that is late lets it grow beyond.
    pub(super) segment_bytes: u64,
    /// Length of the records whose entries are kept in memory for the writer, in bytes.
    pub(super) queue_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, queue_bytes: 16 << 20 }
    }
}

/// Whether the writer must be told of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// It looks by itself within its gathering time.
    Awake,
    /// It sleeps until somebody wakes it: the caller must.
    Asleep,
}

/// A record that no file took.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// Why.
    pub(super) error: io::Error,
    /// Where memory has it until the database does: whether the writer must be told.
    pub(super) kept: Option<Writer>,
}

/// What has been appended since the last batch was taken.
#[derive(Debug)]
pub(super) struct Batch {
    /// Its entries, in order.
    pub(super) entries: Vec<Entry<'static>>,
    /// Whether `entries` lacks some that only the files have.
    pub(super) overflowed: bool,
    /// Records that no file took, and that only memory has.
    pub(super) unwritten: Vec<Entry<'static>>,
    /// Where it ends, and the next begins.
    pub(super) until: Position,
}

/// What was read from the files.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    /// The undamaged entries, in order.
    pub(super) entries: Vec<Entry<'static>>,
    /// Records that were lost to damage.
    pub(super) damaged: u64,
    /// The segments in which they were.
    pub(super) damaged_segments: BTreeSet<u64>,
}

#[derive(Debug)]
struct Tail {
    segment: Segment,
    end: u64,
    queue: Vec<Entry<'static>>,
    queued_bytes: usize,
    overflowed: bool,
    unwritten: Vec<Entry<'static>>,
    /// Why records that precede a dispatch are refused, while they are.
    refusing: Option<String>,
    writer: Writer,
}

impl Tail {
    fn position(&self) -> Position {
        Position { segment: self.segment.number, offset: self.end }
    }
}

/// The open journal of one database.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    bounds: Bounds,
    tail: Mutex<Tail>,
}

/// The segments that former processes left, in order.
pub(super) fn left_segments(directory: &Path) -> io::Result<Vec<u64>> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    segment::numbers(directory)
}

/// Reads what one segment holds in a range of offsets.
pub(super) fn read_segment(directory: &Path, number: u64, range: Range<u64>) -> io::Result<ReadBack> {
    let bytes = segment::read(directory, number, range)?;
    let mut read = ReadBack::default();
    for found in Scan::new(&bytes) {
        match found {
            Found::Record(payload) => match serde_json::from_slice(payload) {
                Ok(entry) => read.entries.push(entry),
                Err(error) => {
                    tracing::warn!(segment = number, %error, "a journal record is whole but says nothing known");
                    read.damaged += 1;
                }
            },
            Found::Damage { records } => read.damaged += records,
        }
    }
    if read.damaged > 0 {
        read.damaged_segments.insert(number);
    }
    Ok(read)
}

impl Journal {
    /// Begins a journal with a fresh segment, after `last`. What former processes left is never appended to.
    pub(super) fn begin(directory: PathBuf, last: u64, bounds: Bounds) -> io::Result<Self> {
        let newest = segment::numbers(&directory)?.last().copied().unwrap_or(0);
        let segment = Segment::create(&directory, newest.max(last) + 1, bounds.segment_bytes)?;
        let tail = Tail {
            segment,
            end: 0,
            queue: Vec::new(),
            queued_bytes: 0,
            overflowed: false,
            unwritten: Vec::new(),
            refusing: None,
            writer: Writer::Awake,
        };
        Ok(Self { directory, bounds, tail: Mutex::new(tail) })
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Each change of the tail is complete before anything can panic.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record; it survives the process once this has returned. One that follows a dispatch and cannot be written is kept in
    /// memory.
    pub(super) fn append(&self, entry: Entry<'_>) -> Result<Writer, Unwritten> {
        let lost = |error| Unwritten { error, kept: None };
        let record = record::encode(&entry, entry.size_hint()).map_err(|error| lost(io::Error::other(error)))?;
        let precedes_dispatch = entry.precedes_dispatch();
        let entry = entry.into_owned();
        let mut tail = self.tail();
        if precedes_dispatch && let Some(reason) = &tail.refusing {
            return Err(lost(io::Error::other(reason.clone())));
        }
        // Where a write fails halfway, the next record overwrites what it left.
        if let Err(error) = tail.segment.write(&record, tail.end) {
            if precedes_dispatch || tail.unwritten.len() >= MAX_UNWRITTEN {
                return Err(lost(error));
            }
            tail.unwritten.push(entry);
            let writer = std::mem::replace(&mut tail.writer, Writer::Awake);
            return Err(Unwritten { error, kept: Some(writer) });
        }
        tail.end += record.len() as u64;
        if tail.overflowed || tail.queued_bytes + record.len() > self.bounds.queue_bytes {
            tail.overflowed = true;
        } else {
            tail.queued_bytes += record.len();
            tail.queue.push(entry);
        }
        Ok(std::mem::replace(&mut tail.writer, Writer::Awake))
    }

    /// The end of what has been appended.
    pub(super) fn end(&self) -> Position {
        self.tail().position()
    }

    /// Takes what was appended since the last call.
    pub(super) fn take(&self) -> Batch {
        let mut tail = self.tail();
        tail.queued_bytes = 0;
        Batch {
            entries: std::mem::take(&mut tail.queue),
            overflowed: std::mem::take(&mut tail.overflowed),
            unwritten: std::mem::take(&mut tail.unwritten),
            until: tail.position(),
        }
    }

    /// Notes that the writer is going to sleep, unless something waits for it: then `false`.
    pub(super) fn sleep(&self, passed: Position) -> bool {
        let mut tail = self.tail();
        let nothing_waits = tail.position() == passed && tail.unwritten.is_empty() && tail.refusing.is_none();
        if nothing_waits {
            tail.writer = Writer::Asleep;
        }
        nothing_waits
    }

    /// Brings the next segment where the current one is three quarters full. Where the disk refuses it, openings are refused from
    /// then on, until a later call succeeds.
    pub(super) fn rotate_if_due(&self) -> io::Result<()> {
        let end = self.end();
        if end.offset < self.bounds.segment_bytes / 4 * 3 {
            return Ok(());
        }
        match Segment::create(&self.directory, end.segment + 1, self.bounds.segment_bytes) {
            Ok(segment) => {
                let mut tail = self.tail();
                tail.segment = segment;
                tail.end = 0;
                if tail.refusing.take().is_some() {
                    tracing::info!("the journal has space again; requests are accepted");
                }
                Ok(())
            }
            Err(error) => {
                let mut tail = self.tail();
                if tail.refusing.is_none() {
                    tracing::error!(%error, "no space for the journal; requests are refused until there is");
                    tail.refusing = Some(format!("no space for the journal: {error}"));
                }
                Err(error)
            }
        }
    }

    /// Refuses every further record that precedes a dispatch.
    pub(super) fn refuse(&self, reason: &str) {
        self.tail().refusing = Some(reason.to_owned());
    }

    /// Reads from the files what lies between two places.
    pub(super) fn read(&self, from: Position, until: Position) -> io::Result<ReadBack> {
        let mut all = ReadBack::default();
        for number in from.segment..=until.segment {
            let start = if number == from.segment { from.offset } else { 0 };
            // Beyond `until` a record may be half written at this moment.
            let end = if number == until.segment { until.offset } else { u64::MAX };
            let mut read = read_segment(&self.directory, number, start..end)?;
            all.entries.append(&mut read.entries);
            all.damaged += read.damaged;
            all.damaged_segments.append(&mut read.damaged_segments);
        }
        Ok(all)
    }

    /// Where the segments are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Records kept in memory while no file takes them.
const MAX_UNWRITTEN: usize = 65_536;

/// Removes segments whose records the database has; the damaged ones among them are kept for a person to look at.
pub(super) fn retire_segments(
    directory: &Path,
    numbers: impl IntoIterator<Item = u64>,
    damaged: &BTreeSet<u64>,
) -> io::Result<()> {
    numbers.into_iter().try_for_each(|number| match damaged.contains(&number) {
        true => segment::set_aside(directory, number),
        false => segment::remove(directory, number),
    })
}

/// Removes the journal's directory where nothing is left in it.
pub(super) fn remove_directory_if_empty(directory: &Path) {
    // What is left, a damaged segment, stays.
    let _ = fs::remove_dir(directory);
}
