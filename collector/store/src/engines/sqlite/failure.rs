//! What SQLite's errors mean to the caller of the store.

use crate::StoreError;
use firstline_model::Invalid;
use rusqlite::ErrorCode;

/// Why a piece of work did not happen: SQLite failed, or the work itself refused.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite (or the conversion of a column) failed.
    Sqlite(rusqlite::Error),
    /// The work refused.
    Store(StoreError),
}

impl Failure {
    /// A version or key that is not what the caller thought.
    pub(super) fn conflict(what: impl Into<String>) -> Self {
        Self::Store(StoreError::Conflict { what: what.into() })
    }

    /// The same failure; a broken constraint becomes a conflict over `what`.
    pub(super) fn about(self, what: impl FnOnce() -> String) -> Self {
        match self {
            Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Self::conflict(what())
            }
            other @ (Self::Sqlite(_) | Self::Store(_)) => other,
        }
    }

    /// Whether the file or the disk is in trouble, so that the transaction as a whole cannot go on and the
    /// connection is not to be trusted.
    pub(super) fn is_trouble(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        let trouble = [
            ErrorCode::DiskFull,
            ErrorCode::SystemIoFailure,
            ErrorCode::ReadOnly,
            ErrorCode::OutOfMemory,
            ErrorCode::CannotOpen,
            ErrorCode::FileLockingProtocolFailed,
            ErrorCode::PermissionDenied,
            ErrorCode::NotADatabase,
            ErrorCode::DatabaseCorrupt,
        ];
        error.sqlite_error_code().is_some_and(|code| trouble.contains(&code))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Store(StoreError::Corrupt { detail: invalid.to_string() })
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error,
            Failure::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => Self::Conflict { what: format!("a row ({error})") },
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                    detail: format!("SQLite says: {error}; stop the collector and restore the newest backup"),
                },
                Some(_) => Self::Unavailable { detail: format!("SQLite says: {error}") },
                None => Self::Corrupt { detail: format!("a column is not what it must be: {error}") },
            },
        }
    }
}

/// A count of the model as SQLite's integer.
pub(super) fn integer(what: &str, count: u64) -> Result<i64, Failure> {
    i64::try_from(count).map_err(|_| {
        Failure::Store(StoreError::Invalid { detail: format!("{what} {count} is out of range") })
    })
}

/// SQLite's integer as a count of the model.
pub(super) fn count(table: &str, stored: i64) -> Result<u64, Failure> {
    u64::try_from(stored).map_err(|_| {
        Failure::Store(StoreError::Corrupt { detail: format!("table {table}: {stored} is negative") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: std::ffi::c_int) -> Failure {
        Failure::Sqlite(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    }

    #[test]
    fn r23_a_damaged_or_failing_file_is_trouble_and_a_refused_row_is_not() {
        use rusqlite::ffi;
        let troubles = [
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_READONLY,
        ];
        for code in troubles {
            assert!(sqlite(code).is_trouble(), "{code}");
        }
        assert!(!sqlite(ffi::SQLITE_CONSTRAINT_UNIQUE).is_trouble());
        assert!(!Failure::conflict("x").is_trouble());
        let said = StoreError::from(sqlite(ffi::SQLITE_CORRUPT));
        assert!(matches!(&said, StoreError::Corrupt { detail } if detail.contains("backup")), "{said:?}");
    }
}
