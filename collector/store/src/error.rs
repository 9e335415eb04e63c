//! Failures of storage, named by what the caller must do next.

use thiserror::Error;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Somebody else changed it first: load again and decide again.
    #[error("{what} was changed meanwhile")]
    Conflict {
        /// What was changed.
        what: String,
    },
    /// It cannot be written or read now (full, read-only, locked, gone): tell nobody that it is saved, try again later.
    #[error("the store is not available: {detail}")]
    Unavailable {
        /// What the engine said.
        detail: String,
    },
    /// What is stored cannot be understood: do not overwrite it, tell a person.
    #[error("stored data is damaged: {detail}")]
    Corrupt {
        /// Where and how.
        detail: String,
    },
    /// The question itself makes no sense (a made-up page cursor, a number out of range): do not repeat it.
    #[error("the request to the store is invalid: {detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
}
