//! Stored records in the order in which they came: what a back-test reads, page by page.

use firstline_model::{DeviceId, Epoch, SequenceNumber, Timestamp};

/// A place between two records of the whole store, in order of receipt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPlace {
    /// When the record before it was received.
    pub received_at: Timestamp,
    /// Whose it was; `None` is before those of every device.
    pub device: Option<DeviceId>,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number there.
    pub seq: SequenceNumber,
}

impl RecordPlace {
    /// Before everything that was received at or after `at`.
    pub fn before(at: Timestamp) -> Self {
        Self { received_at: at, device: None, epoch: Epoch([0; 16]), seq: SequenceNumber(0) }
    }
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// Whose it is.
    pub device: DeviceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number there.
    pub seq: SequenceNumber,
    /// When the collector received it.
    pub received_at: Timestamp,
    /// As it was on the wire.
    pub payload: Vec<u8>,
    /// The device's clock was off when it was sent.
    pub clock_suspect: bool,
}

impl KeptRecord {
    /// The place behind it.
    pub fn place(&self) -> RecordPlace {
        RecordPlace {
            received_at: self.received_at,
            device: Some(self.device.clone()),
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}
