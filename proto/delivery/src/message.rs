//! What agent and collector say to each other, as plain values: the wire crate converts them, nothing else does.

use std::time::Duration;

use firstline_model::{Epoch, SequenceNumber};

/// The most records that one [`Batch`] may carry.
pub const MAX_BATCH_RECORDS: u32 = 1_000;

/// The most payload bytes that one [`Batch`] may carry, and so the size limit of one record.
pub const MAX_BATCH_BYTES: u32 = 1024 * 1024;

/// The most epochs that one [`Hello`] may offer.
pub const MAX_EPOCHS: usize = 64;

/// The highest sequence number that may be used: databases hold it in a signed 64-bit column.
pub const MAX_SEQUENCE: SequenceNumber = SequenceNumber(i64::MAX as u64);

/// One epoch that the agent still has records of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochOffer {
    /// Which epoch.
    pub epoch: Epoch,
    /// The lowest number that the agent can still send: all before it were acked and trimmed, or given up with a
    /// gap record. It may lie below the last ack when the agent keeps a tail of acked records. At least 1.
    pub first_unacked: SequenceNumber,
    /// The number that the agent will give to its next record of this epoch. Not below `first_unacked`.
    pub next: SequenceNumber,
}

/// Agent to collector, the first message of a stream: what there is to deliver. At most [`MAX_EPOCHS`] offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The epochs that this stream will carry, newest first.
    pub epochs: Vec<EpochOffer>,
}

/// Up to where the collector has one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochMark {
    /// Which epoch.
    pub epoch: Epoch,
    /// The last number that the agent need not send: committed, or below the agent's own offer. 0 means none.
    pub through: SequenceNumber,
}

/// Collector to agent, the answer to [`Hello`]: where each offered epoch continues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Welcome {
    /// One mark for each offered epoch.
    pub marks: Vec<EpochMark>,
    /// How many records the agent may have in flight: sent on this stream and not acked, over all epochs.
    pub credit: u32,
}

/// Agent to collector: consecutive records of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Which epoch.
    pub epoch: Epoch,
    /// The number of `records[0]`; each next record has the next number.
    pub first: SequenceNumber,
    /// The payloads: 1 to [`MAX_BATCH_RECORDS`] of them, together at most [`MAX_BATCH_BYTES`]. An empty payload
    /// stands for a record that the spool gave up after it was numbered; a gap record elsewhere says why.
    pub records: Vec<Vec<u8>>,
}

impl Batch {
    /// The number of the last record; of the one before `first` when there are none. Saturates.
    pub fn through(&self) -> SequenceNumber {
        let count = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        SequenceNumber(self.first.0.saturating_sub(1).saturating_add(count))
    }
}

/// Collector to agent: everything of `epoch` up to and including `through` is committed. Cumulative, never taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ack {
    /// Which epoch.
    pub epoch: Epoch,
    /// The last committed number.
    pub through: SequenceNumber,
    /// How many records the agent may have in flight once this ack is counted, over all epochs.
    pub credit: u32,
}

/// Collector to agent, the last message of a stream: why it ends here. The agent reconnects after its backoff.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A batch came before a hello was accepted, or after a refusal.
    #[error("a batch came where a hello was due; start a new stream with a hello")]
    HelloExpected,
    /// The hello offered more epochs than [`MAX_EPOCHS`].
    #[error("{offered} epochs were offered, at most {MAX_EPOCHS} are taken at once; offer fewer")]
    TooManyEpochs {
        /// How many were offered.
        offered: usize,
    },
    /// An offer's numbers contradict each other, or its epoch was offered twice.
    #[error("the offer of epoch {epoch} cannot be true; its numbers are out of range or it came twice")]
    InvalidOffer {
        /// The epoch of the bad offer.
        epoch: Epoch,
    },
    /// A batch of an epoch that this stream's hello did not offer.
    #[error("epoch {epoch} was not offered on this stream; start a new stream that offers it")]
    UnknownEpoch {
        /// The epoch of the batch.
        epoch: Epoch,
    },
    /// A batch that does not follow on the last one: taking it would lose what lies between.
    #[error("epoch {epoch} continues at {expected}, but a batch began later; start a new stream")]
    SequenceGap {
        /// The epoch of the batch.
        epoch: Epoch,
        /// The number that was due.
        expected: SequenceNumber,
    },
    /// A batch that is empty, or whose numbers are out of range.
    #[error("a batch of epoch {epoch} is empty or numbered out of range")]
    InvalidBatch {
        /// The epoch of the batch.
        epoch: Epoch,
    },
    /// A batch above [`MAX_BATCH_RECORDS`] or [`MAX_BATCH_BYTES`].
    #[error(
        "a batch has {records} records and {bytes} bytes, at most {MAX_BATCH_RECORDS} and {MAX_BATCH_BYTES} are taken"
    )]
    BatchTooLarge {
        /// How many records it had.
        records: usize,
        /// How many payload bytes it had.
        bytes: usize,
    },
    /// More records were in flight than granted.
    #[error("more than the granted {credit} records were in flight")]
    CreditExceeded {
        /// What was granted.
        credit: u32,
    },
    /// A newer stream of the same device took this one's place.
    #[error("a newer stream of this device took over")]
    Superseded,
    /// The collector is draining or overloaded.
    #[error("the collector is busy; come back after {} s", retry_after.as_secs())]
    Busy {
        /// The least time to wait before the next connection.
        retry_after: Duration,
    },
}
