#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::borrow::Cow;

use tempfile::TempDir;

use super::*;
use crate::store::samples;

fn journal(bounds: Bounds) -> (TempDir, Journal) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    assert!(left_segments(&path).unwrap().is_empty());
    let journal = Journal::begin(path, 0, bounds).unwrap();
    (directory, journal)
}

fn small() -> Bounds {
    Bounds { segment_bytes: 4096, queue_bytes: 1 << 20 }
}

fn open(number: u128) -> Entry<'static> {
    Entry::Open(Cow::Owned(samples::opening(number)))
}

fn close(number: u128) -> Entry<'static> {
    Entry::Close(Cow::Owned(samples::closing(number, 7)))
}

fn ids(entries: &[Entry<'_>]) -> Vec<u128> {
    entries.iter().map(|entry| u128::from_be_bytes(*entry.request_id().unwrap().as_bytes())).collect()
}

#[test]
fn the_files_hold_what_the_queue_holds() {
    let (_directory, journal) = journal(Bounds::default());
    let start = journal.end();
    for number in 0..50 {
        journal.append(open(number)).unwrap();
        journal.append(close(number)).unwrap();
    }
    let batch = journal.take();
    let read = journal.read(start, batch.until).unwrap();
    assert!(!batch.overflowed);
    assert_eq!(format!("{:?}", batch.entries), format!("{:?}", read.entries));
    assert_eq!(read.damaged, 0);
    assert!(journal.take().entries.is_empty());
}

#[test]
fn what_the_queue_cannot_hold_is_read_from_the_files() {
    let (_directory, journal) = journal(Bounds { queue_bytes: 2000, ..Bounds::default() });
    let start = journal.end();
    for number in 0..20 {
        journal.append(open(number)).unwrap();
    }
    let batch = journal.take();
    assert!(batch.overflowed);
    assert!(batch.entries.len() < 20);
    assert_eq!(ids(&journal.read(start, batch.until).unwrap().entries), (0..20).collect::<Vec<_>>());
    journal.append(open(20)).unwrap();
    let next = journal.take();
    assert!(!next.overflowed);
    assert_eq!(ids(&next.entries), [20]);
}

#[test]
fn a_batch_may_end_in_a_later_segment_than_it_began() {
    let (_directory, journal) = journal(small());
    let start = journal.end();
    for number in 0..30 {
        journal.append(open(number)).unwrap();
        journal.rotate_if_due().unwrap();
    }
    let batch = journal.take();
    assert!(batch.until.segment > start.segment + 2, "{:?}", batch.until);
    assert_eq!(ids(&batch.entries), (0..30).collect::<Vec<_>>());
    assert_eq!(ids(&journal.read(start, batch.until).unwrap().entries), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_late_writer_lets_a_segment_grow_beyond_its_space() {
    let (_directory, journal) = journal(small());
    for number in 0..50 {
        journal.append(open(number)).unwrap();
    }
    assert!(journal.end().offset > small().segment_bytes);
}

#[test]
fn without_a_next_segment_openings_are_refused_and_settlements_are_not() {
    let (_directory, journal) = journal(small());
    let mut open_requests = 0;
    while journal.end().offset < small().segment_bytes * 3 / 4 {
        journal.append(open(open_requests)).unwrap();
        open_requests += 1;
    }
    // The place for segments is gone, as on a full disk; the current one is still open.
    let elsewhere = journal.directory().with_extension("elsewhere");
    fs::rename(journal.directory(), &elsewhere).unwrap();
    assert!(journal.rotate_if_due().is_err());
    assert!(journal.append(open(1000)).is_err());
    journal.append(close(0)).unwrap();
    fs::rename(&elsewhere, journal.directory()).unwrap();
    journal.rotate_if_due().unwrap();
    journal.append(open(1000)).unwrap();
    let ids = ids(&journal.take().entries);
    assert_eq!(ids, (0..open_requests).chain([0, 1000]).collect::<Vec<_>>());
}

#[test]
fn only_the_first_append_after_sleep_finds_the_writer_asleep() {
    let (_directory, journal) = journal(Bounds::default());
    assert_eq!(journal.append(open(1)).unwrap(), Writer::Awake);
    assert!(!journal.sleep(Position { segment: 1, offset: 0 }), "something waits");
    assert!(journal.sleep(journal.take().until));
    assert_eq!(journal.append(open(2)).unwrap(), Writer::Asleep);
    assert_eq!(journal.append(open(3)).unwrap(), Writer::Awake);
}

#[test]
fn what_no_file_takes_is_kept_and_wakes_the_writer_unless_it_precedes_a_dispatch() {
    let (_directory, journal) = journal(Bounds::default());
    assert!(journal.sleep(journal.take().until));
    // No file is as long as that.
    journal.tail().end = i64::MAX as u64;
    assert_eq!(journal.append(open(1)).unwrap_err().kept, None);
    assert_eq!(journal.append(close(2)).unwrap_err().kept, Some(Writer::Asleep));
    assert_eq!(journal.append(close(3)).unwrap_err().kept, Some(Writer::Awake));
    let batch = journal.take();
    assert_eq!((ids(&batch.unwritten), batch.entries.len()), (vec![2, 3], 0));
}

#[test]
fn a_new_journal_never_appends_to_what_another_process_left() {
    let (_directory, journal) = journal(Bounds::default());
    journal.append(open(1)).unwrap();
    let path = journal.directory().to_owned();
    drop(journal);
    let next = Journal::begin(path.clone(), 0, Bounds::default()).unwrap();
    assert_eq!(next.end(), Position { segment: 2, offset: 0 });
    drop(next);
    assert_eq!(Journal::begin(path, 9, Bounds::default()).unwrap().end().segment, 10);
}

#[test]
fn appends_from_many_threads_are_all_whole() {
    let (_directory, journal) = journal(small());
    let start = journal.end();
    std::thread::scope(|scope| {
        for thread in 0..4u128 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..100 {
                    journal.append(open(thread * 100 + number)).unwrap();
                }
            });
        }
        for _ in 0..100 {
            journal.rotate_if_due().unwrap();
        }
    });
    let batch = journal.take();
    let read = journal.read(start, batch.until).unwrap();
    assert_eq!(read.damaged, 0);
    assert_eq!(ids(&read.entries), ids(&batch.entries));
    let mut all = ids(&read.entries);
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
}
