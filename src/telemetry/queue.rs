//! A bounded queue of lines before a thread that writes them: whoever logs never waits for whoever reads.
//!
//! Lines gather for some milliseconds, so that under load one write and one wake-up of the thread serve many of them. Lines beyond the
//! bound are dropped and counted, and the thread reports their number as soon as it can write again. What the queue holds when it is
//! closed is still written.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that wait at most: a burst of some milliseconds at full load.
const MAX_BYTES: usize = 4 << 20;
/// Bytes of room that are kept for the next lines after a burst.
const KEPT_BYTES: usize = 256 * 1024;
/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(25);
/// How long closing waits for a sink that does not take lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// Words the report of dropped lines as a line of the log's format.
pub(super) type LossReport = fn(u64) -> String;

/// The end that takes lines. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// Something came while the thread slept, or the queue was closed.
    changed: Condvar,
    bound: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, one after the other.
    lines: Vec<u8>,
    /// Lines that found no room since the last report.
    dropped: u64,
    is_asleep: bool,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write, lets more gather, and takes it; `false` where the queue is closed and empty.
    fn take(&self, batch: &mut Vec<u8>, dropped: &mut u64) -> bool {
        let mut state = self.lock();
        while state.lines.is_empty() && state.dropped == 0 && !state.is_closed {
            state.is_asleep = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let gathering = self.changed.wait_timeout_while(state, GATHER, |state| !state.is_closed);
        let mut state = gathering.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut state.lines, batch);
        *dropped = std::mem::take(&mut state.dropped);
        !(state.is_closed && batch.is_empty() && *dropped == 0)
    }
}

impl Lines {
    /// Takes a line, or counts it as dropped where the queue is full. After the queue was closed it goes to stderr directly.
    fn take(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.is_closed {
            drop(state);
            // The process is about to end and nothing is left to be delayed. There is nowhere to report a failure to.
            return drop(io::stderr().write_all(line));
        }
        if state.lines.len() + line.len() > self.0.bound && !state.lines.is_empty() {
            state.dropped += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        if std::mem::take(&mut state.is_asleep) {
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

/// One call is one line: the log's formatter hands over whole events.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Closes the queue when dropped: what it holds is written, unless the sink takes nothing for two seconds.
#[derive(Debug)]
pub(super) struct Closer {
    lines: Lines,
    finished: Receiver<()>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.lines.0.lock().is_closed = true;
        self.lines.0.changed.notify_all();
        // Either the thread has ended or patience has; the lines are lost only in the second case.
        let _ = self.finished.recv_timeout(PATIENCE);
    }
}

/// Starts the thread that writes to `sink`.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn start(sink: impl Write + Send + 'static, report: LossReport) -> io::Result<(Lines, Closer)> {
    start_bounded(MAX_BYTES, sink, report)
}

fn start_bounded(
    bound: usize,
    mut sink: impl Write + Send + 'static,
    report: LossReport,
) -> io::Result<(Lines, Closer)> {
    let lines = Lines(Arc::new(Queue { state: Mutex::default(), changed: Condvar::new(), bound }));
    let (running, finished) = mpsc::channel();
    let queue = lines.0.clone();
    thread::Builder::new().name("log".into()).spawn(move || {
        let (mut batch, mut dropped) = (Vec::new(), 0);
        while queue.take(&mut batch, &mut dropped) {
            if dropped > 0 {
                batch.extend_from_slice(report(dropped).as_bytes());
            }
            // A log that cannot be written has nowhere to say so; the gateway goes on.
            let _ = sink.write_all(&batch).and_then(|()| sink.flush());
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
        drop(running);
    })?;
    Ok((lines.clone(), Closer { lines, finished }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that stands still until it is let go, and keeps what it was given.
    struct Sluggish {
        entered: mpsc::Sender<()>,
        go: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Sluggish {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            // An error means that the test has let go for good.
            let _ = self.go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_and_the_rest_is_written_at_the_end() {
        let (entered, enters) = mpsc::channel();
        let (let_go, go) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sluggish { entered, go, written: written.clone() };
        let (mut lines, closer) = start_bounded(6, sink, |count| format!("lost {count}\n")).unwrap();

        lines.write_all(b"first\n").unwrap();
        // The thread holds `first` and is stuck in the sink; the queue has room for three short lines.
        enters.recv().unwrap();
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        drop(let_go);
        drop(closer);
        assert_eq!(String::from_utf8(written.lock().unwrap().clone()).unwrap(), "first\na\nb\nc\nlost 2\n");
    }
}
