//! The traits, one per aggregate. Everything is keyed by what shards it: the device, or the site.

use crate::StoreError;
use crate::history::{KeptRecord, RecordPlace};
use crate::identity::{DeviceIdentity, NextCertificate};
use crate::plan::CommitPlan;
use crate::quiet::{MaintenanceWindow, SuppressedBreach, SuppressionFilter};
use crate::record::{
    ApiToken, AuditEntry, Device, DeviceFilter, DeviceFinding, DeviceSnapshot, DeviceStatus, EnrollOutcome,
    EnrollmentToken, LatestValue, Page, PageOf, PendingDiagnostic, Recovered, Session, Settled, TicketFilter,
    Totals, User,
};
use async_trait::async_trait;
use firstline_collector_core::fleet::SharedCause;
use firstline_collector_core::lineage::Lineage;
use firstline_collector_core::ticket::{Ticket, TimelineEntry};
use firstline_model::{Component, ComponentKind, DeviceId, Epoch, SequenceNumber, TicketId, Timestamp};

/// Devices and their standing.
#[async_trait]
pub trait Devices: Send + Sync {
    /// One device.
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, StoreError>;
    /// Devices, by hostname.
    async fn devices(&self, filter: &DeviceFilter, page: &Page) -> Result<PageOf<Device>, StoreError>;
    /// Changes a device's status; `false` when there is no such device. Writes the audit line in the same transaction.
    async fn set_device_status(
        &self,
        id: &DeviceId,
        status: DeviceStatus,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError>;
    /// Status changes after `since` (a counter that only grows; 0 for all), made by any process, oldest first.
    async fn status_changes(&self, since: u64) -> Result<Vec<(u64, DeviceId, DeviceStatus)>, StoreError>;
    /// The newest values of a device, ordered by component and name.
    async fn latest(&self, id: &DeviceId) -> Result<Vec<LatestValue>, StoreError>;
}

/// How devices come in.
#[async_trait]
pub trait Enrollment: Send + Sync {
    /// Keeps a new token.
    async fn create_token(&self, token: &EnrollmentToken, audit: &AuditEntry) -> Result<(), StoreError>;
    /// Consumes one use of the token and creates the device, in ONE write; whatever races, a token with one use
    /// makes one device. The device's site becomes the token's. A refusal is audited too.
    async fn enroll(
        &self,
        hash: &[u8; 32],
        device: &Device,
        now: Timestamp,
    ) -> Result<EnrollOutcome, StoreError>;
}

/// Certificates that were renewed, and chains of streams.
#[async_trait]
pub trait Identities: Send + Sync {
    /// What is kept beside the device's present certificate; empty when nothing was noted, also of an unknown device.
    async fn identity(&self, id: &DeviceId) -> Result<DeviceIdentity, StoreError>;
    /// Notes which authority issued the present certificate.
    async fn note_issuer(&self, id: &DeviceId, issuer: &str) -> Result<(), StoreError>;
    /// Keeps a renewed certificate until the device shows it, replacing an earlier one that was never shown.
    async fn offer_certificate(
        &self,
        id: &DeviceId,
        next: &NextCertificate,
        audit: &AuditEntry,
    ) -> Result<(), StoreError>;
    /// The device shows the certificate with this fingerprint: it takes the present one's place if it is the one that
    /// was kept. `false` when it is not.
    async fn adopt_certificate(&self, id: &DeviceId, fingerprint: &str) -> Result<bool, StoreError>;
    /// Moves the device's lineage if it stands at `before`; `false` when it does not.
    async fn move_lineage(
        &self,
        id: &DeviceId,
        before: Option<&Lineage>,
        after: Option<&Lineage>,
    ) -> Result<bool, StoreError>;
    /// How many devices (active or quarantined) hold certificates of which authority; `None`: it was never noted.
    async fn issuers(&self) -> Result<Vec<(Option<String>, u64)>, StoreError>;
}

/// What streams bring in.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// All that is needed to judge the device's next batch.
    async fn snapshot(
        &self,
        id: &DeviceId,
        reopen_since: Timestamp,
    ) -> Result<Option<DeviceSnapshot>, StoreError>;
    /// Makes the plan true: durable when this returns `Ok`, untouched when it returns an error.
    async fn commit(&self, plan: CommitPlan) -> Result<(), StoreError>;
    /// Reserves `count` ticket numbers that no other process will get; returns the first.
    async fn reserve_tickets(&self, count: u64) -> Result<TicketId, StoreError>;
    /// Devices that have findings in motion (pending, clearing, or held back until a moment), so that their timers run after a restart.
    async fn devices_in_motion(&self) -> Result<Vec<DeviceId>, StoreError>;
    /// Tests asked of a device that are not finished, oldest first.
    async fn pending_diagnostics(&self, id: &DeviceId) -> Result<Vec<PendingDiagnostic>, StoreError>;
    /// Keeps a request that a person made.
    async fn request_diagnostic(
        &self,
        request: &PendingDiagnostic,
        audit: &AuditEntry,
    ) -> Result<(), StoreError>;
    /// Shared causes that are open or ended after `since`.
    async fn shared_causes(&self, since: Timestamp) -> Result<Vec<SharedCause>, StoreError>;
    /// Which devices reported on which components of these kinds after `since`: what they use together.
    async fn parts(
        &self,
        kinds: &[ComponentKind],
        since: Timestamp,
    ) -> Result<Vec<(DeviceId, Component)>, StoreError>;
    /// The newest values of these names, of every device, in no order.
    async fn newest_of(&self, names: &[&str]) -> Result<Vec<(DeviceId, LatestValue)>, StoreError>;
    /// Makes something of no meaning durable, to see whether the store takes writes.
    async fn check_writable(&self) -> Result<(), StoreError>;
    /// These records of a device, as they came, as far as they are still kept.
    async fn records(
        &self,
        id: &DeviceId,
        wanted: &[(Epoch, SequenceNumber)],
    ) -> Result<Vec<((Epoch, SequenceNumber), Vec<u8>)>, StoreError>;
    /// When the oldest record that is still kept was received.
    async fn oldest_record(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Records received before `until`, in order of receipt, from behind `after` on; at most `limit`. What a batch of many
    /// devices brought at the same moment is in order of device, epoch and number.
    async fn kept_records(
        &self,
        after: &RecordPlace,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<KeptRecord>, StoreError>;
    /// Deletes records received before `before`; at most `limit` at once; returns how many.
    async fn prune_records(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// Tickets and findings to read.
#[async_trait]
pub trait Desk: Send + Sync {
    /// One ticket.
    async fn ticket(&self, id: TicketId) -> Result<Option<Ticket>, StoreError>;
    /// Tickets, most urgent first (priority, then due time, then number).
    async fn tickets(&self, filter: &TicketFilter, page: &Page) -> Result<PageOf<Ticket>, StoreError>;
    /// A ticket's history, oldest first.
    async fn timeline(&self, id: TicketId) -> Result<Vec<TimelineEntry>, StoreError>;
    /// Findings that are records of this shared cause's ticket, newest first.
    async fn members(&self, parent: TicketId) -> Result<Vec<DeviceFinding>, StoreError>;
    /// The shared cause that this ticket is the Problem of.
    async fn shared_cause(&self, parent: TicketId) -> Result<Option<SharedCause>, StoreError>;
    /// Saves a ticket that a person changed, with its new lines and an audit line; conflict when the stored version
    /// is not one less.
    async fn save_ticket(
        &self,
        ticket: &Ticket,
        timeline: &[TimelineEntry],
        audit: &AuditEntry,
    ) -> Result<(), StoreError>;
    /// Findings that are not cleared, newest first, of one device or of all within a site.
    async fn findings(
        &self,
        device: Option<&DeviceId>,
        site: Option<&str>,
    ) -> Result<Vec<DeviceFinding>, StoreError>;
    /// Figures.
    async fn totals(&self) -> Result<Totals, StoreError>;
}

/// What keeps breaches from becoming tickets.
#[async_trait]
pub trait Quiet: Send + Sync {
    /// Keeps a window and an audit line about it; returns its number. Numbers are not used again.
    async fn add_window(&self, window: &MaintenanceWindow, audit: &AuditEntry) -> Result<u64, StoreError>;
    /// All windows, oldest first.
    async fn windows(&self) -> Result<Vec<MaintenanceWindow>, StoreError>;
    /// Removes a window, with an audit line; `false` when there is none.
    async fn remove_window(&self, id: u64, audit: &AuditEntry) -> Result<bool, StoreError>;
    /// Breaches that made no ticket, newest first.
    async fn suppressions(
        &self,
        filter: &SuppressionFilter,
        page: &Page,
    ) -> Result<PageOf<SuppressedBreach>, StoreError>;
    /// Forgets breaches before `before`; at most `limit` at once; returns how many.
    async fn prune_suppressions(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// People and what they carry.
#[async_trait]
pub trait People: Send + Sync {
    /// Whether any user exists.
    async fn any_user(&self) -> Result<bool, StoreError>;
    /// Keeps the hash of the one sign-in link for the first administrator, replacing an earlier one; does nothing
    /// once a user exists.
    async fn set_setup_link(&self, hash: &[u8; 32], expires_at: Timestamp) -> Result<(), StoreError>;
    /// Whether this link would be accepted now.
    async fn setup_link_valid(&self, hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError>;
    /// Creates the first administrator if the link is right and no user exists, and forgets the link, in one write.
    async fn create_first_admin(
        &self,
        hash: &[u8; 32],
        user: &User,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Adds a user; `false` when the name is taken.
    async fn add_user(&self, user: &User, audit: &AuditEntry) -> Result<bool, StoreError>;
    /// One user.
    async fn user(&self, name: &str) -> Result<Option<User>, StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
    /// Keeps a session.
    async fn create_session(&self, session: &Session, audit: &AuditEntry) -> Result<(), StoreError>;
    /// The session with its user, if neither has ended; marks it as used.
    async fn session(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<(Session, User)>, StoreError>;
    /// Ends a session.
    async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError>;
    /// Keeps a bearer token.
    async fn create_api_token(&self, token: &ApiToken, audit: &AuditEntry) -> Result<(), StoreError>;
    /// One bearer token.
    async fn api_token(&self, hash: &[u8; 32]) -> Result<Option<ApiToken>, StoreError>;
    /// Appends to the audit log.
    async fn append_audit(&self, entry: &AuditEntry) -> Result<(), StoreError>;
    /// The audit log, newest first.
    async fn audit(&self, page: &Page) -> Result<PageOf<AuditEntry>, StoreError>;
}

/// What becomes of a store that was restored from a backup.
#[async_trait]
pub trait Recovery: Send + Sync {
    /// Ends what may have been used up after the backup was taken (sessions, enrollment tokens, the first sign-in link),
    /// leaves out `skipped` ticket numbers, and notes when the backup was taken and restored, in one write.
    async fn settle(
        &self,
        recovered: Recovered,
        skipped: u64,
        audit: &AuditEntry,
    ) -> Result<Settled, StoreError>;
    /// The last time that this store was restored.
    async fn recovered(&self) -> Result<Option<Recovered>, StoreError>;
}

/// An engine that keeps everything.
pub trait Store: Devices + Enrollment + Identities + Ingest + Desk + Quiet + People + Recovery {}

impl<T: Devices + Enrollment + Identities + Ingest + Desk + Quiet + People + Recovery> Store for T {}
