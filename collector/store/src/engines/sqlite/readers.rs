//! A few connections that only read, used on the runtime's blocking threads.

use super::connection::Opener;
use super::failure::Failure;
use crate::StoreError;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// How many reads run at once; SQLite serves them from one page cache of the system anyway.
const READERS: usize = 4;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    opener: Opener,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(opener: Opener) -> Self {
        Self { opener, idle: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(READERS)) }
    }

    /// Does `work` on one snapshot of the data.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = |_| StoreError::Unavailable { detail: "the store is being closed".to_owned() };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(ended)?;
        let pool = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.read_now(work)
        });
        match reading.await {
            Ok(result) => result,
            Err(stopped) => Err(StoreError::Unavailable { detail: format!("a read was stopped: {stopped}") }),
        }
    }

    fn read_now<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.opener.reader()?,
        };
        let result = in_snapshot(&connection, work);
        // A connection that met trouble may hold on to a file that was replaced meanwhile; the next read opens anew.
        if !result.as_ref().is_err_and(Failure::is_trouble) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        result.map_err(StoreError::from)
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = connection.unchecked_transaction()?;
    let result = work(&transaction)?;
    transaction.finish()?;
    Ok(result)
}
