//! What can happen in the reference world, and how often.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The agent spools records.
    Spool { count: u8, urgent: bool },
    /// Time passes.
    Advance { millis: u16 },
    /// The network carries messages, in order in each direction.
    Deliver { up: u8, down: u8 },
    /// The next message to the collector arrives twice.
    Duplicate,
    /// A batch of an earlier stream arrives again on this one.
    Replay { which: u8 },
    /// The connection breaks and both sides notice; what was on its way is lost.
    Cut,
    /// From now on nothing gets through and nobody notices.
    BlackHole,
    /// The store commits batches.
    Commit { count: u8 },
    /// The store fails: what was not committed is gone, and so is the stream.
    FailCommit,
    /// The agent persists the watermarks that it was given, then trims.
    Persist,
    /// The agent process dies and starts again from its spool.
    CrashAgent { new_epoch: bool },
    /// The collector process dies and starts again from its store.
    CrashCollector,
    /// The spool begins a new epoch in the middle of a process's life.
    NewEpoch,
    /// The spool is full: it gives its oldest records up.
    Evict { count: u8 },
    /// The collector changes how much may be in flight.
    Budget { records: u8 },
    /// The collector's operator makes a backup.
    Backup,
    /// The collector's disk dies; the last backup takes its place.
    Restore,
}

fn common() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (1..8_u8, any::<bool>()).prop_map(|(count, urgent)| Step::Spool { count, urgent }),
        20 => (1..4_000_u16).prop_map(|millis| Step::Advance { millis }),
        40 => (0..6_u8, 0..6_u8).prop_map(|(up, down)| Step::Deliver { up, down }),
        20 => (1..5_u8).prop_map(|count| Step::Commit { count }),
        10 => Just(Step::Persist),
        4 => Just(Step::Duplicate),
        4 => any::<u8>().prop_map(|which| Step::Replay { which }),
        5 => Just(Step::Cut),
        1 => Just(Step::BlackHole),
        2 => Just(Step::FailCommit),
        4 => any::<bool>().prop_map(|new_epoch| Step::CrashAgent { new_epoch }),
        4 => Just(Step::CrashCollector),
        1 => Just(Step::NewEpoch),
        3 => (0..12_u8).prop_map(|records| Step::Budget { records }),
    ]
}

/// Histories in which spools may overflow.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let evict = (1..6_u8).prop_map(|count| Step::Evict { count });
    vec(prop_oneof![70 => common(), 1 => evict], 0..200)
}

/// Histories in which no record is ever given up.
pub(crate) fn histories_without_loss() -> impl Strategy<Value = Vec<Step>> {
    vec(common(), 0..200)
}

/// Histories in which the collector is restored from backups.
pub(crate) fn histories_with_restores() -> impl Strategy<Value = Vec<Step>> {
    let restore = prop_oneof![Just(Step::Backup), Just(Step::Restore)];
    vec(prop_oneof![20 => common(), 1 => restore], 0..200)
}
