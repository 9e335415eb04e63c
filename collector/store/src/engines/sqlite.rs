//! The embedded engine: one SQLite file, one writer thread, a few readers.
//!
//! WAL with synchronous=FULL. All writes of this process queue at one thread, which puts whatever waits into one
//! transaction (group commit) and answers strictly after COMMIT returned. Other processes may open the same file
//! (administration while the service runs); SQLite's own lock keeps their writers apart.

pub mod backup;
mod connection;
mod desk;
mod devices;
mod enrollment;
mod failure;
mod history;
mod identities;
mod ingest;
mod migrations;
mod people;
mod quiet;
mod readers;
mod recovery;
mod rows;
mod sabotage;
mod shared;
mod writer;

#[cfg(test)]
mod tests;

use crate::StoreError;
use connection::Opener;
use failure::Failure;
use readers::Readers;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use writer::Writer;

/// The file's name inside the data folder.
pub const FILE_NAME: &str = "collector.db";

/// Whether any device was ever enrolled, read from a file that may be in use.
pub fn has_devices(path: &Path) -> Result<bool, StoreError> {
    let work = |connection: &Connection| {
        let has_table: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'device')",
            [],
            |row| row.get(0),
        )?;
        if !has_table {
            return Ok(false);
        }
        connection.query_row("SELECT EXISTS (SELECT 1 FROM device)", [], |row| row.get(0))
    };
    let connection = Opener::new(path).reader()?;
    work(&connection).map_err(|error| StoreError::from(Failure::Sqlite(error)))
}

/// What is known, in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
}

impl Sqlite {
    /// Opens the file, creates it (readable by its owner only) where it is not there yet, and brings its schema up
    /// to date. Refuses a file that is not ours, is damaged, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with_opener(Opener::new(path))
    }

    fn with_opener(opener: Opener) -> Result<Self, StoreError> {
        let mut connection = opener.writer()?;
        migrations::run(&mut connection)?;
        sabotage::weaken(&connection)?;
        let readers = Arc::new(Readers::new(opener.clone()));
        Ok(Self { writer: Writer::start(opener, connection)?, readers })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(work).await
    }
}
