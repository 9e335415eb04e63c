//! Ways to break the collector on purpose, so that the tests can be tested: `cargo xtask sabotage` builds with the
//! feature `sabotage`, chooses one fault at a time by `FIRSTLINE_SABOTAGE`, and expects a test to fail.
//!
//! Without the feature, which no release artefact has, [`is`] is a constant `false` and every fault is compiled away.

/// An ack leaves before its transaction is committed.
pub const ACK_BEFORE_COMMIT: &str = "ack-before-commit";
/// A commit returns before it is on disk: `synchronous=NORMAL`.
pub const SYNCHRONOUS_NORMAL: &str = "synchronous-normal";
/// A transaction that could not be synced is reported as saved.
pub const FSYNC_ERROR_IGNORED: &str = "fsync-error-ignored";
/// Records have no key, and nobody looks whether a batch is known.
pub const NO_DEDUPE_KEY: &str = "no-dedupe-key";
/// Marks are stored in a transaction after that of the records.
pub const MARK_IN_SECOND_TRANSACTION: &str = "mark-in-second-transaction";
/// Nothing in the file keeps a fault from having two open tickets.
pub const TICKET_WITHOUT_UNIQUE_INDEX: &str = "ticket-without-unique-index";
/// Nothing in the file keeps a request from standing in the outbox twice.
pub const OUTBOX_WITHOUT_KEY: &str = "outbox-without-key";
/// Whether a token may be used is read in one transaction, and its use is written in another.
pub const TOKEN_CHECK_IN_READ_TRANSACTION: &str = "token-check-in-read-transaction";
/// A device whose identity was withdrawn keeps its stream.
pub const REVOKE_NOT_BROADCAST: &str = "revoke-not-broadcast";

/// Whether this fault was chosen.
#[cfg(feature = "sabotage")]
pub fn is(fault: &str) -> bool {
    std::env::var("FIRSTLINE_SABOTAGE").is_ok_and(|chosen| chosen == fault)
}

/// Whether this fault was chosen: never, in a build without the feature.
#[cfg(not(feature = "sabotage"))]
pub const fn is(_fault: &str) -> bool {
    false
}
