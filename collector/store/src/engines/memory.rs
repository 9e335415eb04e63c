//! An engine without a disk, for simulations and tests: maps under one lock. It passes the same suite as the others
//! and loses everything when it is dropped.

mod desk;
mod devices;
mod identities;
mod ingest;
mod people;
mod quiet;
mod recovery;

use crate::identity::DeviceIdentity;
use crate::plan::NewRecord;
use crate::quiet::MaintenanceWindow;
use crate::record::{
    ApiToken, AuditEntry, Device, DeviceStatus, EnrollmentToken, LatestValue, PendingDiagnostic, Recovered,
    Session, User,
};
use firstline_collector_core::desk::Suppression;
use firstline_collector_core::finding::{DeviceState, Finding};
use firstline_collector_core::fleet::{AttributeKind, SharedCause};
use firstline_collector_core::ticket::{Ticket, TimelineEntry};
use firstline_model::{
    Attributes, Component, DeviceId, Epoch, RuleCode, SequenceNumber, TicketId, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known, in this process only.
#[derive(Debug, Default)]
pub struct Memory {
    kept: Mutex<Kept>,
}

impl Memory {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on nothing can be stored, as on a full disk, or again it can. What is kept stays readable.
    pub fn refuse_commits(&self, refuse: bool) {
        self.kept().refuses = refuse;
    }

    /// Every record that is kept, for a reader that trusts no decision of this engine.
    pub fn records(&self) -> Vec<(DeviceId, Epoch, SequenceNumber, Vec<u8>)> {
        let kept = self.kept();
        let of = |(id, one): (&DeviceId, &OneDevice)| {
            let id = id.clone();
            let records = one.records.iter();
            records
                .map(|((epoch, seq), record)| (id.clone(), *epoch, *seq, record.payload.clone()))
                .collect::<Vec<_>>()
        };
        kept.devices.iter().flat_map(of).collect()
    }

    /// What a backup of it holds.
    pub fn copy(&self) -> Self {
        Self { kept: Mutex::new(self.kept().clone()) }
    }

    /// Every change is checked before it is made, so what a panic leaves behind is still whole.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Identifies an open ticket: the fault of a device, or a shared cause (no device).
type Fault = (Option<DeviceId>, RuleCode, Option<Component>);

#[derive(Debug, Default, Clone)]
struct Kept {
    refuses: bool,
    devices: BTreeMap<DeviceId, OneDevice>,
    status_changes: Vec<(DeviceId, DeviceStatus)>,
    tokens: BTreeMap<[u8; 32], EnrollmentToken>,
    tickets: BTreeMap<TicketId, Ticket>,
    causes: BTreeMap<(RuleCode, AttributeKind, String), SharedCause>,
    tickets_of: BTreeMap<DeviceId, BTreeSet<TicketId>>,
    open: BTreeMap<Fault, TicketId>,
    timelines: BTreeMap<TicketId, Vec<TimelineEntry>>,
    last_ticket: u64,
    requests: Vec<Request>,
    request_ids: BTreeMap<String, usize>,
    users: BTreeMap<String, User>,
    setup_link: Option<([u8; 32], Timestamp)>,
    sessions: BTreeMap<[u8; 32], Session>,
    api_tokens: BTreeMap<[u8; 32], ApiToken>,
    audit: Vec<AuditEntry>,
    windows: BTreeMap<u64, MaintenanceWindow>,
    last_window: u64,
    suppressions: Vec<(DeviceId, Suppression)>,
    recovered: Option<Recovered>,
}

#[derive(Debug, Clone)]
struct OneDevice {
    device: Device,
    marks: BTreeMap<Epoch, SequenceNumber>,
    records: BTreeMap<(Epoch, SequenceNumber), NewRecord>,
    state: DeviceState,
    findings: BTreeMap<(RuleCode, Component), Finding>,
    latest: BTreeMap<(Component, String, Attributes), LatestValue>,
    identity: DeviceIdentity,
}

#[derive(Debug, Clone)]
struct Request {
    asked: PendingDiagnostic,
    finished: bool,
}
