//! The one thread that writes the database: it gathers the journal's records into batches, and makes the changes of the admin API
//! between them.
//!
//! A thread rather than an actor: it may not lose its queue, and its work blocks. While nothing is appended it sleeps; the first append
//! after that wakes it, and every other append costs its caller nothing but the write. A batch that fails stays in the journal's files
//! and is read from there when the next one is due.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::apply;
use crate::store::error::StoreError;
use crate::store::journal::{self, Entry, Journal, Position, Unwritten, Writer as WriterState};

/// How long records gather before they are written: many rows share a commit, most of them opened and settled in one insertion. Whoever
/// reads nudges the writer and waits for nothing.
const GATHER: Duration = Duration::from_millis(100);
/// How long the writer lets a failing database be before it tries again.
const RETRY: Duration = Duration::from_millis(500);
/// Changes that wait; more are refused.
const MAX_COMMANDS: usize = 256;

type Change = Box<dyn FnOnce(&mut Connection) + Send>;

enum Command {
    /// Something was appended while the writer slept.
    Wake,
    /// Somebody waits for what has been appended.
    Nudge,
    /// A change, made after all that was appended before it.
    Change(Change),
    /// Write what there is and end.
    Stop,
}

/// How far the database has followed the journal.
#[derive(Debug)]
pub(in crate::store) struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    passed: Position,
    /// Why the last batch or segment failed, until one succeeds.
    failing: Option<String>,
}

impl Progress {
    fn new(passed: Position) -> Self {
        Self { state: Mutex::new(State { passed, failing: None }), moved: Condvar::new() }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    /// Waits until the database has passed `position`, or for `limit`.
    fn wait_for(&self, position: Position, limit: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever asked gets what there is when the time is up.
        let _ = self.moved.wait_timeout_while(state, limit, |state| state.passed < position);
    }
}

/// The running writer, as the rest of the store sees it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Handle {
    commands: SyncSender<Command>,
    journal: Arc<Journal>,
    progress: Arc<Progress>,
}

impl Handle {
    /// Wakes the writer after an append that found it asleep.
    pub(in crate::store) fn wake(&self) {
        // A full queue means that it is awake.
        let _ = self.commands.try_send(Command::Wake);
    }

    /// Blocks until the database holds all that was appended before this call, a second at most.
    pub(in crate::store) fn catch_up(&self) {
        let end = self.journal.end();
        let _ = self.commands.try_send(Command::Nudge);
        self.progress.wait_for(end, Duration::from_secs(1));
    }

    /// Makes a change in a transaction of its own, and answers once it is committed.
    pub(in crate::store) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            let result = in_transaction(connection, change);
            // Whoever asked may have left; the change stands.
            let _ = answer.send(result);
        });
        match self.commands.try_send(Command::Change(change)) {
            Ok(()) => answered.await.unwrap_or(Err(StoreError::Closed)),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    /// Why the writer cannot keep up, where it cannot.
    pub(in crate::store) fn failure(&self) -> Option<String> {
        self.progress.state.lock().unwrap_or_else(PoisonError::into_inner).failing.clone()
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = change(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// The writer's thread, owned by the store.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, with the database as far as `passed`.
    pub(in crate::store) fn start(
        connection: Connection,
        journal: Arc<Journal>,
        passed: Position,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = sync_channel(MAX_COMMANDS);
        let progress = Arc::new(Progress::new(passed));
        let work = Work {
            connection,
            journal: Arc::clone(&journal),
            progress: Arc::clone(&progress),
            passed,
            oldest: passed.segment,
            reread: false,
            unwritten: Vec::new(),
            damaged: BTreeSet::new(),
        };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || work.run(&inbox))?;
        Ok(Self { handle: Handle { commands, journal, progress }, thread: Some(thread) })
    }

    pub(in crate::store) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the thread has ended, which it does by itself only when it panicked.
    pub(in crate::store) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets the thread write what there is, and waits for its end.
    pub(in crate::store) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // An error means that the thread has ended already.
        let _ = self.handle.commands.send(Command::Stop);
        if thread.join().is_err() {
            tracing::error!("the ledger's writer had panicked; the journal is applied at the next start");
        }
    }
}

/// When the writer acts next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// When it is told to.
    Asleep,
    /// At this instant.
    At(Instant),
}

struct Work {
    connection: Connection,
    journal: Arc<Journal>,
    progress: Arc<Progress>,
    /// The journal up to here is in the database.
    passed: Position,
    /// The oldest segment that may still exist.
    oldest: u64,
    /// Whether entries since `passed` are to be read from the files.
    reread: bool,
    /// Records that only memory has, until a batch holds them.
    unwritten: Vec<Entry<'static>>,
    /// Segments that still exist and in which damage was found.
    damaged: BTreeSet<u64>,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Command>) {
        let mut next = Next::At(Instant::now());
        loop {
            match Self::receive(inbox, next) {
                Ok(Command::Wake) => next = Next::At(Instant::now() + GATHER),
                Ok(Command::Nudge) | Err(RecvTimeoutError::Timeout) => next = self.follow(),
                Ok(Command::Change(change)) => {
                    next = self.follow();
                    change(&mut self.connection);
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    fn receive(inbox: &Receiver<Command>, next: Next) -> Result<Command, RecvTimeoutError> {
        match next {
            Next::Asleep => inbox.recv().map_err(RecvTimeoutError::from),
            Next::At(instant) => inbox.recv_timeout(instant.saturating_duration_since(Instant::now())),
        }
    }

    /// Brings the database up to the journal's end, and says when to do so again.
    fn follow(&mut self) -> Next {
        let before = self.passed;
        let rotated = self.journal.rotate_if_due().map_err(|error| format!("no space for the journal: {error}"));
        let written = self.write_batch();
        let failing = written.and(rotated).err();
        let passed = self.passed;
        let failed = failing.is_some();
        self.progress.set(|state| {
            state.passed = passed;
            state.failing = failing;
        });
        if failed {
            Next::At(Instant::now() + RETRY)
        } else if passed == before && self.journal.sleep(passed) {
            Next::Asleep
        } else {
            Next::At(Instant::now() + GATHER)
        }
    }

    fn write_batch(&mut self) -> Result<(), String> {
        let mut batch = self.journal.take();
        self.unwritten.append(&mut batch.unwritten);
        if batch.until == self.passed && self.unwritten.is_empty() {
            return Ok(());
        }
        self.reread |= batch.overflowed;
        let result = self.commit(batch.entries, batch.until);
        self.reread = result.is_err();
        result.inspect_err(|error| {
            tracing::error!(error, "the ledger's database cannot be written; the journal keeps what it lacks")
        })
    }

    fn commit(&mut self, queued: Vec<Entry<'static>>, until: Position) -> Result<(), String> {
        let entries = if self.reread {
            let read = self
                .journal
                .read(self.passed, until)
                .map_err(|error| format!("the journal cannot be read: {error}"))?;
            if read.damaged > 0 {
                tracing::error!(
                    records = read.damaged,
                    "the journal is damaged; these records are lost, and the damaged segments are kept beside it"
                );
                self.damaged.extend(read.damaged_segments);
            }
            read.entries
        } else {
            queued
        };
        let all = entries.iter().chain(&self.unwritten);
        apply::apply(&mut self.connection, all, until).map_err(|error| error.to_string())?;
        self.unwritten.clear();
        self.passed = until;
        if self.oldest < until.segment {
            match journal::retire_segments(self.journal.directory(), self.oldest..until.segment, &self.damaged) {
                Ok(()) => {
                    self.oldest = until.segment;
                    self.damaged.retain(|number| *number >= until.segment);
                }
                // It is tried again with the next batch.
                Err(error) => tracing::warn!(%error, "a journal segment that is no longer needed cannot be removed"),
            }
        }
        Ok(())
    }

    /// Writes the rest. What the database does not take stays in the journal for the next start.
    fn finish(mut self) {
        self.journal.refuse("the store is closed");
        let written = self.write_batch();
        let passed = self.passed;
        self.progress.set(|state| state.passed = passed);
        if written.is_ok() && self.journal.end() == passed {
            let _ = journal::retire_segments(self.journal.directory(), [passed.segment], &self.damaged);
            journal::remove_directory_if_empty(self.journal.directory());
        }
    }
}

impl Handle {
    /// Appends to the journal, waking the writer where it sleeps and there is something for it, be it in memory only.
    pub(in crate::store) fn append(&self, entry: Entry<'_>) -> Result<(), Unwritten> {
        let appended = self.journal.append(entry);
        let writer = appended.as_ref().map_or_else(|unwritten| unwritten.kept, |writer| Some(*writer));
        if writer == Some(WriterState::Asleep) {
            self.wake();
        }
        appended.map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::borrow::Cow;
    use std::fs;

    use super::*;
    use crate::store::journal::Bounds;
    use crate::store::samples::opening;
    use crate::store::sqlite::{Synchronous, open_writer};

    #[test]
    fn damaged_segments_are_set_aside_and_others_removed() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("ledger");
        assert!(journal::left_segments(&directory).unwrap().is_empty());
        // What the queue cannot hold is read from the files.
        let bounds = Bounds { segment_bytes: 4096, queue_bytes: 0 };
        let journal = Arc::new(Journal::begin(directory.clone(), 0, bounds).unwrap());
        let passed = journal.end();
        for number in 0..40 {
            journal.rotate_if_due().unwrap();
            journal.append(Entry::Open(Cow::Owned(opening(number)))).unwrap();
        }
        let last = journal.end().segment;
        assert!(last > 3, "{last}");
        for number in [2, last] {
            let file = directory.join(format!("{number:016}.journal"));
            let mut bytes = fs::read(&file).unwrap();
            bytes[20] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
        let connection = open_writer(&place.path().join("aipipe.db"), Synchronous::Normal).unwrap();
        Writer::start(connection, journal, passed).unwrap().stop();
        let mut left: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [2, last].map(|number| format!("{number:016}.damaged")));
    }
}
