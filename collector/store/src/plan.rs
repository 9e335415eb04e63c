//! What becomes true in one transaction, as data.

use crate::StoreError;
use crate::record::{AuditEntry, LatestValue};
use firstline_collector_core::desk::Suppression;
use firstline_collector_core::finding::{DeviceState, Finding};
use firstline_collector_core::fleet::SharedCause;
use firstline_collector_core::ticket::{Effect, Ticket, TimelineEntry};
use firstline_model::{DeviceId, Epoch, Presence, SequenceNumber, TicketId, Timestamp, Value};
use std::collections::BTreeMap;

/// Everything that one group commit makes true, for any number of devices. All of it or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommitPlan {
    /// One part per device; a device stands here once.
    pub devices: Vec<DevicePlan>,
    /// What is of no single device.
    pub shared: SharedPlan,
}

impl CommitPlan {
    /// A plan for devices alone.
    pub fn of(devices: Vec<DevicePlan>) -> Self {
        Self { devices, shared: SharedPlan::default() }
    }

    /// All tickets that are new or changed.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.devices.iter().flat_map(|part| &part.tickets).chain(&self.shared.tickets)
    }
}

/// What becomes true of what devices share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SharedPlan {
    /// Shared causes that are new or changed.
    pub causes: Vec<SharedCause>,
    /// Their Problems, as [`DevicePlan::tickets`].
    pub tickets: Vec<Ticket>,
    /// New lines of their timelines.
    pub timeline: Vec<TimelineEntry>,
}

/// What becomes true of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// The device.
    pub device: DeviceId,
    /// New records, in order. A record that is already stored under its key is left as it is. A plan with records or
    /// marks of a device that is not active is a conflict.
    pub records: Vec<NewRecord>,
    /// The new high-water marks. The stored mark must be `before`, else the commit is a conflict.
    pub marks: Vec<NewMark>,
    /// What the engine remembers from now on, apart from its findings; `None`: unchanged.
    pub state: Option<DeviceState>,
    /// Findings that changed.
    pub findings: Vec<Finding>,
    /// Breaches that made no ticket.
    pub suppressions: Vec<Suppression>,
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
    /// The device's clock was off by more than five minutes when it was sent.
    pub clock_suspect: bool,
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
            suppressions: Vec::new(),
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

    /// Whether only an active device may have this: nothing that a stream brought is stored once its device's
    /// identity was withdrawn, whichever process withdrew it and whatever the one that commits has in memory.
    pub(crate) fn needs_standing(&self) -> bool {
        !self.records.is_empty() || !self.marks.is_empty()
    }

    /// The collector's time of the decision, as far as the plan tells it: for rows that have no time of their own.
    pub(crate) fn decided_at(&self) -> Timestamp {
        let tickets = self.tickets.iter().map(|ticket| ticket.updated_at).max();
        let records = self.records.iter().map(|record| record.received_at).max();
        self.seen_at.or(records).or(tickets).unwrap_or_default()
    }
}

/// A ticket as a plan leaves it, with the version that must be stored before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TicketChange<'a> {
    /// The ticket from now on.
    pub(crate) ticket: &'a Ticket,
    /// The version that must be stored now; 0: none.
    pub(crate) before: u64,
}

/// What a list of tickets changes. A ticket that stands several times is written once, as it is last; its versions
/// must follow each other. Tickets that end come first, so that one may end and its successor open in one plan.
pub(crate) fn ticket_changes<'a>(
    tickets: impl IntoIterator<Item = &'a Ticket>,
) -> Result<Vec<TicketChange<'a>>, StoreError> {
    let mut changes: BTreeMap<TicketId, TicketChange<'a>> = BTreeMap::new();
    for ticket in tickets {
        let conflict = || StoreError::Conflict { what: format!("ticket {}", ticket.key()) };
        let Some(before) = ticket.version.checked_sub(1) else { return Err(conflict()) };
        match changes.get_mut(&ticket.id) {
            Some(earlier) if earlier.ticket.version == before => earlier.ticket = ticket,
            Some(_) => return Err(conflict()),
            None => {
                changes.insert(ticket.id, TicketChange { ticket, before });
            }
        }
    }
    let mut changes: Vec<_> = changes.into_values().collect();
    changes.sort_by_key(|change| change.ticket.state.is_open());
    Ok(changes)
}
