//! What the sender tells its driver: why to wake, what to do, what to report.

use firstline_model::{Epoch, SequenceNumber};

use crate::Refusal;

/// Records to read from the spool and put on the stream as one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transmit {
    /// Which epoch.
    pub epoch: Epoch,
    /// The number of the first record.
    pub first: SequenceNumber,
    /// How many consecutive records, at least 1. A number that the spool no longer has travels as an empty payload.
    pub count: u32,
}

/// Why the sender wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WakeReason {
    /// The backoff is over: connect.
    Reconnect,
    /// No welcome came in time: give this attempt up.
    ConnectTimeout,
    /// Records waited long enough for company: send them.
    Linger,
    /// No ack came in time: the connection is dead.
    AckTimeout,
}

/// What the driver should do or report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Open a stream, send [`super::Sender::hello`] on it, and report back with
    /// [`super::Sender::handle_connected`] or [`super::Sender::handle_disconnected`].
    Connect,
    /// Close the stream and report back with [`super::Sender::handle_disconnected`].
    Disconnect(DisconnectReason),
    /// The collector has less than it once acked: it was restored from a backup. What the spool still keeps of it
    /// is sent again; what it does not keep is lost with the collector's disk.
    CollectorBehind {
        /// Which epoch.
        epoch: Epoch,
        /// What had been acked.
        acked: SequenceNumber,
        /// Where the collector continues.
        through: SequenceNumber,
    },
    /// The collector has numbers that this spool has not given out yet: the spool was restored from an old copy.
    /// Nothing more of this epoch is sent. Begin a new epoch, move to it the records spooled since the restore, and
    /// call [`super::Sender::handle_epoch_removed`] for this one.
    RolledBack {
        /// Which epoch.
        epoch: Epoch,
        /// The number that the spool would have given out next.
        next: SequenceNumber,
        /// What the collector has.
        through: SequenceNumber,
    },
}

/// Why a connection has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// No welcome came in time.
    #[error("the collector did not answer the hello in time")]
    ConnectTimeout,
    /// Records are in flight and no ack came in time.
    #[error("no ack came in time for the records in flight")]
    AckTimeout,
    /// Another epoch has records and this stream did not offer it.
    #[error("epoch {epoch} has to be offered, which needs a new stream")]
    EpochWaiting {
        /// The epoch that waits.
        epoch: Epoch,
    },
    /// The collector said something that cannot be true of this epoch.
    #[error("the collector claims epoch {epoch} through {through}, which was never offered to it")]
    Violation {
        /// Which epoch.
        epoch: Epoch,
        /// The impossible number.
        through: SequenceNumber,
    },
    /// The collector left an offered epoch without an answer.
    #[error("the collector's welcome has no mark for epoch {epoch}")]
    MarkMissing {
        /// Which epoch.
        epoch: Epoch,
    },
    /// The collector refused the stream.
    #[error("the collector refused the stream")]
    Refused(#[source] Refusal),
}

/// Why a record that was reported as spooled cannot be delivered under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFault {
    /// 0 or above [`crate::MAX_SEQUENCE`].
    #[error("record {number} is numbered out of range; begin a new epoch")]
    OutOfRange {
        /// Its number.
        number: SequenceNumber,
    },
    /// Empty payloads mean "given up" on the wire.
    #[error("record {number} is empty; spool a gap record in its place")]
    Empty {
        /// Its number.
        number: SequenceNumber,
    },
    /// Larger than a batch may be.
    #[error("record {number} has {len} bytes, more than a batch may carry; spool a gap record in its place")]
    TooLarge {
        /// Its number.
        number: SequenceNumber,
        /// Its payload size.
        len: usize,
    },
    /// A number that was given out before.
    #[error("record {number} came where {expected} was due; begin a new epoch")]
    NotAscending {
        /// Its number.
        number: SequenceNumber,
        /// The number that was due.
        expected: SequenceNumber,
    },
    /// A hole in the numbering too wide to be a few damaged records.
    #[error("record {number} came where {expected} was due, too far ahead; begin a new epoch")]
    Hole {
        /// Its number.
        number: SequenceNumber,
        /// The number that was due.
        expected: SequenceNumber,
    },
}
