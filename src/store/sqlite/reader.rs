//! Reading beside the writer: a few connections, used on threads that may block.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::writer;
use crate::store::error::StoreError;

/// Reads at the same time; more wait their turn.
const MAX_READS: usize = 4;
/// Of them, scans for operators: however many of these wait, what a request needs finds a turn.
const MAX_SCANS: usize = MAX_READS - 1;

/// Reads of one database. Where a writer runs beside it in this process, each read first lets it catch up.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: Arc<Pool>,
    writer: Option<writer::Handle>,
}

#[derive(Debug)]
struct Pool {
    source: Source,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
    scans: Arc<Semaphore>,
}

/// What the connections lead to.
#[derive(Debug)]
pub(in crate::store) enum Source {
    /// The database in this file.
    File(PathBuf),
    /// No database yet: nothing is found.
    Nothing,
}

impl Pool {
    fn connect(&self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        match &self.source {
            Source::File(path) => super::open_reader(path),
            Source::Nothing => super::open_empty(),
        }
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

impl Reader {
    /// Reads from `source`, connecting once to find out whether that works.
    pub(in crate::store) fn new(source: Source, writer: Option<writer::Handle>) -> Result<Self, StoreError> {
        let [turns, scans] = [MAX_READS, MAX_SCANS].map(|most| Arc::new(Semaphore::new(most)));
        let pool = Pool { source, idle: Mutex::default(), turns, scans };
        let connection = pool.connect()?;
        pool.give_back(connection);
        Ok(Self { pool: Arc::new(pool), writer })
    }

    /// Runs a query on a thread that may block, after the writer has caught up with what was appended before this call.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = turn(&self.pool.turns).await?;
        self.run(turn, query).await
    }

    /// The same for an operator, who may ask for much: it leaves a turn to [`read`](Self::read).
    pub(in crate::store) async fn scan<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // In this order, since who waits for a scan must not hold a turn meanwhile.
        let scan = turn(&self.pool.scans).await?;
        let turn = turn(&self.pool.turns).await?;
        self.run((scan, turn), query).await
    }

    async fn run<T: Send + 'static>(
        &self,
        turn: impl Send + 'static,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (pool, writer) = (Arc::clone(&self.pool), self.writer.clone());
        let work = move || {
            let _turn = turn;
            if let Some(writer) = writer {
                writer.catch_up();
            }
            let connection = pool.connect()?;
            let result = query(&connection);
            // A connection whose query failed may be broken; the next read opens another.
            if result.is_ok() {
                pool.give_back(connection);
            }
            result
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
    }
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    Arc::clone(turns).acquire_owned().await.map_err(|_| StoreError::Closed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn scans_leave_a_turn_to_requests() {
        let reader = Reader::new(Source::Nothing, None).unwrap();
        let (begun, mut seen) = tokio::sync::mpsc::channel(2 * MAX_READS);
        let (releases, scans): (Vec<_>, Vec<_>) = (0..2 * MAX_READS)
            .map(|_| {
                let (release, released) = std::sync::mpsc::channel::<()>();
                let (begun, reader) = (begun.clone(), reader.clone());
                let query = move |_: &Connection| {
                    begun.blocking_send(()).unwrap();
                    // An error: the other side is gone, as it is to be.
                    let _ = released.recv();
                    Ok(())
                };
                (release, tokio::spawn(async move { reader.scan(query).await }))
            })
            .unzip();
        for _ in 0..MAX_SCANS {
            seen.recv().await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(30), reader.read(|_| Ok(()))).await.unwrap().unwrap();
        drop(releases);
        for scan in scans {
            scan.await.unwrap().unwrap();
        }
    }
}
