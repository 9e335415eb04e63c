//! Ways to break the agent on purpose, so that the tests can be tested: `cargo xtask sabotage` builds with the feature
//! `sabotage`, chooses one fault at a time by `FIRSTLINE_SABOTAGE`, and expects a test to fail.
//!
//! Without the feature, which no release artefact has, [`is`] is a constant `false` and every fault is compiled away.

/// The spool reports records as durable without syncing them.
pub(crate) const FSYNC_SKIPPED: &str = "fsync-skipped";
/// Acked records are deleted before the watermark that covers them is durable.
pub(crate) const UNLINK_BEFORE_WATERMARK: &str = "unlink-before-watermark";
/// One damaged record costs the whole spool.
pub(crate) const SPOOL_RESET_ON_BAD_RECORD: &str = "spool-reset-on-bad-record";

/// Whether this fault was chosen.
#[cfg(feature = "sabotage")]
pub(crate) fn is(fault: &str) -> bool {
    std::env::var("FIRSTLINE_SABOTAGE").is_ok_and(|chosen| chosen == fault)
}

/// Whether this fault was chosen: never, in a build without the feature.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn is(_fault: &str) -> bool {
    false
}
