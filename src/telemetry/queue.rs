//! A bounded queue of lines before a thread that writes them: whoever logs never waits for whoever reads.
//!
//! Lines beyond the bound are dropped and counted, and the thread reports their number as soon as it can write again. What the queue
//! holds when it is closed is still written.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;

/// Lines that wait at most: a burst of some milliseconds at full load, a few megabytes.
const MAX_LINES: usize = 8192;
/// Bytes written at once, at least one line.
const BATCH_BYTES: usize = 64 * 1024;
/// How long closing waits for a sink that does not take lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// Words the report of dropped lines as a line of the log's format.
pub(super) type LossReport = fn(u64) -> String;

/// The end that takes lines. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    sender: Arc<ArcSwapOption<SyncSender<Vec<u8>>>>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Takes a line, or counts it as dropped where the queue is full. After the queue was closed it goes to stderr directly.
    fn take(&self, line: &[u8]) {
        match &*self.sender.load() {
            Some(sender) => {
                if sender.try_send(line.to_vec()).is_err() {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            // The process is about to end and nothing is left to be delayed. There is nowhere to report a failure to.
            None => drop(io::stderr().write_all(line)),
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
        // The last sender is gone once calls in progress have returned; the thread then ends, and drops its end of `finished`.
        drop(self.lines.sender.swap(None));
        // Either the thread has ended or patience has; the lines are lost only in the second case.
        let _ = self.finished.recv_timeout(PATIENCE);
    }
}

/// Starts the thread that writes to `sink`.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn start(sink: impl Write + Send + 'static, report: LossReport) -> io::Result<(Lines, Closer)> {
    start_bounded(MAX_LINES, sink, report)
}

fn start_bounded(bound: usize, sink: impl Write + Send + 'static, report: LossReport) -> io::Result<(Lines, Closer)> {
    let (sender, queue) = mpsc::sync_channel(bound);
    let (running, finished) = mpsc::channel();
    let dropped = Arc::new(AtomicU64::new(0));
    let lines = Lines { sender: Arc::new(ArcSwapOption::from_pointee(sender)), dropped: dropped.clone() };
    thread::Builder::new().name("log".into()).spawn(move || {
        write_lines(&queue, sink, || match dropped.swap(0, Ordering::Relaxed) {
            0 => None,
            count => Some(report(count)),
        });
        drop(running);
    })?;
    Ok((lines.clone(), Closer { lines, finished }))
}

fn write_lines(queue: &Receiver<Vec<u8>>, mut sink: impl Write, loss: impl Fn() -> Option<String>) {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    while let Ok(line) = queue.recv() {
        batch.extend_from_slice(&line);
        while batch.len() < BATCH_BYTES
            && let Ok(line) = queue.try_recv()
        {
            batch.extend_from_slice(&line);
        }
        write_batch(&mut sink, &mut batch, &loss);
    }
    // Lines may have been dropped while the last batch was written.
    write_batch(&mut sink, &mut batch, &loss);
}

fn write_batch(sink: &mut impl Write, batch: &mut Vec<u8>, loss: &impl Fn() -> Option<String>) {
    if let Some(report) = loss() {
        batch.extend_from_slice(report.as_bytes());
    }
    // A log that cannot be written has nowhere to say so; the gateway goes on.
    let _ = sink.write_all(batch).and_then(|()| sink.flush());
    batch.clear();
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

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
        let (mut lines, closer) = start_bounded(3, sink, |count| format!("lost {count}\n")).unwrap();

        lines.write_all(b"first\n").unwrap();
        // The thread holds `first` and is stuck in the sink; the queue has room for three.
        enters.recv().unwrap();
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        drop(let_go);
        drop(closer);
        assert_eq!(String::from_utf8(written.lock().unwrap().clone()).unwrap(), "first\na\nb\nc\nlost 2\n");
    }
}
