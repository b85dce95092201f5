//! Reading beside the writer: a few connections, used on threads that may block.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::writer;
use crate::store::error::StoreError;

/// Reads at the same time; more wait their turn.
const MAX_READS: usize = 4;

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
        let pool = Pool { source, idle: Mutex::default(), turns: Arc::new(Semaphore::new(MAX_READS)) };
        let connection = pool.connect()?;
        pool.give_back(connection);
        Ok(Self { pool: Arc::new(pool), writer })
    }

    /// Runs a query on a thread that may block, after the writer has caught up with what was appended before this call.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.pool.turns).acquire_owned().await.map_err(|_| StoreError::Closed)?;
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
