//! What becomes true in one transaction, as data.

use crate::record::{AuditEntry, LatestValue};
use firstline_collector_core::finding::{DeviceState, Finding};
use firstline_collector_core::ticket::{Effect, Ticket, TimelineEntry};
use firstline_model::{DeviceId, Epoch, Presence, SequenceNumber, Timestamp, Value};

/// Everything that one group commit makes true, for any number of devices. All of it or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommitPlan {
    /// One part per device; a device stands here once.
    pub devices: Vec<DevicePlan>,
}

/// What becomes true of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// The device.
    pub device: DeviceId,
    /// New records, in order. A record that is already stored under its key is left as it is.
    pub records: Vec<NewRecord>,
    /// The new high-water marks. The stored mark must be `before`, else the commit is a conflict.
    pub marks: Vec<NewMark>,
    /// What the engine remembers from now on, apart from its findings; `None`: unchanged.
    pub state: Option<DeviceState>,
    /// Findings that changed.
    pub findings: Vec<Finding>,
    /// Newest values for the device's page.
    pub latest: Vec<LatestValue>,
    /// Tickets that are new (version 1) or changed (the stored version must be one less, else a conflict).
    pub tickets: Vec<Ticket>,
    /// New lines of their timelines.
    pub timeline: Vec<TimelineEntry>,
    /// What has to be done in the world.
    pub effects: Vec<Effect>,
    /// Ids of diagnostics that were answered or given up.
    pub finished_requests: Vec<String>,
    /// Audit lines.
    pub audit: Vec<AuditEntry>,
    /// When the device was heard, by the collector's clock.
    pub seen_at: Option<Timestamp>,
    /// New presence.
    pub presence: Option<Presence>,
    /// New facts: a map that replaces the stored one; `hostname` inside it replaces the hostname.
    pub facts: Option<Value>,
    /// New agent version.
    pub agent_version: Option<String>,
}

/// A record as it came from a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Epoch of the spool.
    pub epoch: Epoch,
    /// Its number there.
    pub seq: SequenceNumber,
    /// When the collector received it.
    pub received_at: Timestamp,
    /// The encoded record, as it was on the wire.
    pub payload: Vec<u8>,
}

/// A high-water mark that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMark {
    /// The epoch.
    pub epoch: Epoch,
    /// The mark that must be stored now; `None`: the epoch must be unknown.
    pub before: Option<SequenceNumber>,
    /// The mark from now on.
    pub through: SequenceNumber,
}

impl DevicePlan {
    /// A plan that changes nothing.
    pub fn unchanged(device: DeviceId) -> Self {
        Self {
            device,
            records: Vec::new(),
            marks: Vec::new(),
            state: None,
            findings: Vec::new(),
            latest: Vec::new(),
            tickets: Vec::new(),
            timeline: Vec::new(),
            effects: Vec::new(),
            finished_requests: Vec::new(),
            audit: Vec::new(),
            seen_at: None,
            presence: None,
            facts: None,
            agent_version: None,
        }
    }
}
