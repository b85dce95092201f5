//! What a process holds of the machine, as `/proc` tells it.

use std::fmt;
use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::{Instant, sleep};

use crate::process::HANGS;

/// How often `/proc`, which tells of no change by itself, is read again.
const POLL: Duration = Duration::from_millis(50);

/// The database is read through up to four connections, each opened when it is first needed and kept: three more than at the start, of two
/// files each.
const LATER_FILES: usize = 6;
/// Each of these reads is on a thread of its own, which stays for some seconds.
const LATER_THREADS: u64 = 4;

/// Memory, files and threads of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub(super) resident_kib: u64,
    files: usize,
    threads: u64,
}

impl Footprint {
    pub(super) fn of(process: Pid) -> Self {
        let place = format!("/proc/{}", process.as_raw_nonzero());
        let status = fs::read_to_string(format!("{place}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let files = fs::read_dir(format!("{place}/fd")).unwrap().count();
        Self { resident_kib: field("VmRSS:"), files, threads: field("Threads:") }
    }

    /// Whether it holds no more files and threads than at the start.
    pub(super) fn is_within(self, start: Self) -> bool {
        self.files <= start.files + LATER_FILES && self.threads <= start.threads + LATER_THREADS
    }

    /// Waits until it is back to what it was, or for as long as that can take.
    pub(super) async fn back_to(start: Self, process: Pid) -> Self {
        let until = Instant::now() + HANGS;
        loop {
            let now = Self::of(process);
            if now.is_within(start) || Instant::now() >= until {
                return now;
            }
            sleep(POLL).await;
        }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident_kib, files, threads } = self;
        write!(f, "{:.1} MiB resident, {files} files, {threads} threads", *resident_kib as f64 / 1024.0)
    }
}
