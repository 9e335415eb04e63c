//! Opening connections: flags, pragmas and the checks that must hold before anything is trusted to the file.

use super::failure::Failure;
use crate::StoreError;
use crate::sabotage::{SYNCHRONOUS_NORMAL, is};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The first version without the WAL-reset corruption and the FTS5 memory fault of early 2026.
const OLDEST_SQLITE: i32 = 3_053_002;

/// How long to wait for a writer of another process.
const BUSY: Duration = Duration::from_secs(5);

/// Opens connections to one file.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    path: PathBuf,
    /// The most pages that the file may have; 0: no bound. The tests fill the disk with it.
    page_limit: Arc<AtomicU32>,
}

impl Opener {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), page_limit: Arc::new(AtomicU32::new(0)) }
    }

    /// The handle by which a test moves the bound of the file.
    #[cfg(test)]
    pub(super) fn page_limit(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.page_limit)
    }

    /// The one connection that writes. Creates the file.
    pub(super) fn writer(&self) -> Result<Connection, StoreError> {
        let version = rusqlite::version_number();
        if version < OLDEST_SQLITE {
            return Err(StoreError::Unavailable {
                detail: format!(
                    "SQLite {version} has known corruption faults; {OLDEST_SQLITE} or newer is needed"
                ),
            });
        }
        create_private(&self.path)?;
        let connection = self.open(-8192)?;
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| self.explain(error))?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::Unavailable {
                detail: format!(
                    "{} does not allow a write-ahead log (journal mode {mode})",
                    self.path.display()
                ),
            });
        }
        Ok(connection)
    }

    /// A connection that only reads.
    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let connection = self.open(-2048)?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.explain(error))?;
        Ok(connection)
    }

    fn open(&self, cache_size: i32) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&self.path, flags)
            .and_then(|connection| self.prepare(&connection, cache_size).map(|()| connection));
        opened.map_err(|error| self.explain(error))
    }

    fn prepare(&self, connection: &Connection, cache_size: i32) -> Result<(), rusqlite::Error> {
        connection.busy_timeout(BUSY)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_prepared_statement_cache_capacity(64);
        let synchronous = if is(SYNCHRONOUS_NORMAL) { "NORMAL" } else { "FULL" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "cache_size", cache_size)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        self.bound(connection)
    }

    /// Applies the bound of the file's size as it is now.
    pub(super) fn bound(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        match self.page_limit.load(Ordering::Relaxed) {
            0 => Ok(()),
            pages => connection.pragma_update(None, "max_page_count", pages),
        }
    }

    fn explain(&self, error: rusqlite::Error) -> StoreError {
        let place = self.path.display();
        match StoreError::from(Failure::Sqlite(error)) {
            StoreError::Unavailable { detail } => {
                StoreError::Unavailable { detail: format!("{place}: {detail}") }
            }
            StoreError::Corrupt { detail } => StoreError::Corrupt { detail: format!("{place}: {detail}") },
            other @ (StoreError::Conflict { .. } | StoreError::Invalid { .. }) => other,
        }
    }
}

/// Creates the file for its owner only; SQLite gives its companions (-wal, -shm) the same mode. A temporary file is
/// made that way on every system, and takes its name only if nobody took it meanwhile.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    let failed = |error: &std::io::Error| StoreError::Unavailable {
        detail: format!("{} cannot be created: {error}", path.display()),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file =
        tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(|error| failed(&error))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(refused) if refused.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(refused) => Err(failed(&refused.error)),
    }
}
