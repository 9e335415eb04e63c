//! What is kept besides tickets and findings: devices, tokens, users, sessions, audit, latest values.

use crate::{StoreError, cursor};
use firstline_collector_core::finding::{DeviceState, Finding};
use firstline_collector_core::ticket::{Ticket, TicketState};
use firstline_model::{
    Attributes, Component, DeviceId, DiagnosticRequest, Epoch, Presence, RuleCode, SequenceNumber, TicketId,
    Timestamp, UnavailableReason, Value,
};
use serde::Serialize;
use std::time::Duration;

/// Whether a device may talk to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// It may.
    Active,
    /// Its identity was withdrawn.
    Revoked,
    /// It was taken out of service.
    Retired,
    /// Two machines seem to use its identity.
    Quarantined,
}

/// A managed machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its name for ever.
    pub id: DeviceId,
    /// What it calls itself; not unique, not trusted.
    pub hostname: String,
    /// Where it belongs.
    pub site: Option<String>,
    /// Whether it may talk to us.
    pub status: DeviceStatus,
    /// Free tags, set by administrators.
    pub tags: Vec<String>,
    /// What it says of itself: os, os_version, model, manufacturer, serial, addresses. A map.
    pub facts: Value,
    /// Version of its agent.
    pub agent_version: String,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// When it was heard last, by the collector's clock.
    pub last_seen_at: Option<Timestamp>,
    /// Whether it is there.
    pub presence: Option<Presence>,
    /// Fingerprint (SHA-256, hex) of its current certificate.
    pub certificate_fingerprint: String,
    /// When that certificate ends.
    pub certificate_not_after: Timestamp,
}

/// An enrollment token as it is kept: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// How many devices it may still enrol.
    pub uses_left: u32,
    /// Until when.
    pub expires_at: Timestamp,
    /// Which site its devices belong to.
    pub site: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How an enrollment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrollOutcome {
    /// The token was good and is consumed; the device exists.
    Enrolled,
    /// The token is unknown, used or expired. Which of these is for the audit log, not for the caller.
    Refused {
        /// `unknown`, `used` or `expired`.
        reason: &'static str,
    },
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Works on tickets.
    Technician,
    /// Reads everything and reports.
    Manager,
    /// Everything, including users and tokens.
    Admin,
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The sign-in name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The only site they see, if they are limited to one.
    pub site: Option<String>,
    /// argon2id in PHC form.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Whether it may sign in.
    pub disabled: bool,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Who.
    pub user: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Last use.
    pub used_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

/// A bearer token for the REST interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// The only site it sees.
    pub site: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: a user, `token:...`, `device:...` or `firstline`.
    pub actor: String,
    /// What: `token.create`, `device.revoke`, `enroll.refused`, `sign_in.failed`, ...
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, for a person.
    pub detail: String,
}

/// The newest thing known of one series or document of a device, for its page.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestValue {
    /// The component.
    pub component: Component,
    /// The metric's or document's name.
    pub name: String,
    /// The attributes that name the series (state attributes left out).
    pub series: Attributes,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// What.
    pub content: LatestContent,
    /// The device's clock was off by more than five minutes when it was sent; the time is a corrected one.
    pub clock_suspect: bool,
}

/// See [`LatestValue`].
#[derive(Debug, Clone, PartialEq)]
pub enum LatestContent {
    /// A number with all its attributes.
    Sample {
        /// The number.
        value: f64,
        /// All attributes.
        attributes: Attributes,
    },
    /// A document.
    State(Value),
    /// No value, and why.
    Unavailable {
        /// Why.
        reason: UnavailableReason,
        /// More.
        detail: String,
    },
}

/// Between which two moments a store that was restored knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// When the backup was taken.
    pub taken_at: Timestamp,
    /// When it was restored.
    pub restored_at: Timestamp,
}

/// What was settled after a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Sessions that were ended.
    pub sessions: u64,
    /// Enrollment tokens that were withdrawn.
    pub tokens: u64,
    /// The number that the next ticket gets.
    pub next_ticket: u64,
}

/// Everything that is needed to judge a device's next batch.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSnapshot {
    /// The device.
    pub device: Device,
    /// The highest committed sequence number of each epoch.
    pub marks: Vec<(Epoch, SequenceNumber)>,
    /// What the engine remembers.
    pub state: DeviceState,
    /// Its open tickets, and those resolved recently enough to be reopened.
    pub tickets: Vec<Ticket>,
}

/// A test that was asked for and has not been answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDiagnostic {
    /// For which ticket; `None` when a person asked.
    pub ticket: Option<TicketId>,
    /// Which device.
    pub device: DeviceId,
    /// Its id.
    pub request_id: String,
    /// What to run.
    pub request: DiagnosticRequest,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// Which tickets to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TicketFilter {
    /// Only these states; empty: all.
    pub states: Vec<TicketState>,
    /// Only this device.
    pub device: Option<DeviceId>,
    /// Only this rule.
    pub rule: Option<RuleCode>,
    /// Only this site.
    pub site: Option<String>,
    /// Only children of this ticket.
    pub parent: Option<TicketId>,
    /// Only tickets whose title, summary or hostname contain this text.
    pub text: Option<String>,
}

/// Which devices to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFilter {
    /// Only this site.
    pub site: Option<String>,
    /// Only devices whose hostname or id contain this text.
    pub text: Option<String>,
    /// Only this status.
    pub status: Option<DeviceStatus>,
}

/// A page to read: at most `limit` rows after `after` (an opaque cursor from the page before).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows, 1 to 500.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<String>,
}

/// Rows of a page and where the next one begins.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOf<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next page, when there is one.
    pub next: Option<String>,
}

/// A finding with its device, for lists.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFinding {
    /// The device.
    pub device: DeviceId,
    /// Its hostname.
    pub hostname: String,
    /// The finding.
    pub finding: Finding,
}

/// Figures for `/metrics` and the head of the board.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Devices by status.
    pub devices: Vec<(DeviceStatus, u64)>,
    /// Tickets by state.
    pub tickets: Vec<(TicketState, u64)>,
    /// Records stored.
    pub records: u64,
    /// Findings that fire.
    pub firing: u64,
}

impl DeviceStatus {
    /// Every status.
    pub const ALL: &'static [Self] = &[Self::Active, Self::Revoked, Self::Retired, Self::Quarantined];

    /// The status as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
            Self::Quarantined => "quarantined",
        }
    }

    /// The status that `text` names.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] = &[Self::Viewer, Self::Technician, Self::Manager, Self::Admin];

    /// The role as it is stored and typed on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Technician => "technician",
            Self::Manager => "manager",
            Self::Admin => "admin",
        }
    }

    /// The role that `text` names.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }
}

impl Session {
    /// A session that nobody uses ends after this time.
    pub const IDLE: Duration = Duration::from_hours(8);

    /// Uses within this time of the last one are not written down: a page with many parts costs one write.
    pub const USE_STEP: Duration = Duration::from_secs(60);

    /// Whether it has neither reached its end nor been idle for too long.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at && now.since(self.used_at) < Self::IDLE
    }

    /// Whether this use has to be written down.
    pub fn use_is_news(&self, now: Timestamp) -> bool {
        now.since(self.used_at) >= Self::USE_STEP
    }
}

impl Page {
    /// The most rows of one page.
    pub const MAX_LIMIT: u32 = 500;

    /// The first rows.
    pub const fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    /// How many rows to read: what was asked for, within the bounds.
    pub fn rows(&self) -> usize {
        usize::try_from(self.limit.clamp(1, Self::MAX_LIMIT)).unwrap_or(1)
    }
}

/// Searched texts are short; longer ones are refused before an engine has to match them.
pub(crate) const MAX_SEARCH_BYTES: usize = 256;

fn bounded(text: Option<&String>) -> Result<Option<&str>, StoreError> {
    match text {
        Some(text) if text.len() > MAX_SEARCH_BYTES => Err(StoreError::Invalid {
            detail: format!(
                "the text searched for has {} bytes, at most {MAX_SEARCH_BYTES} are allowed",
                text.len()
            ),
        }),
        // An engine may take it for the end of the text and find everything.
        Some(text) if text.contains('\0') => {
            Err(StoreError::Invalid { detail: "the text searched for holds a NUL".to_owned() })
        }
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Ok(Some(text)),
        None => Ok(None),
    }
}

impl DeviceFilter {
    /// The text to search for, when there is one.
    pub(crate) fn search(&self) -> Result<Option<&str>, StoreError> {
        bounded(self.text.as_ref())
    }
}

impl TicketFilter {
    /// The text to search for, when there is one.
    pub(crate) fn search(&self) -> Result<Option<&str>, StoreError> {
        bounded(self.text.as_ref())
    }
}

impl<T> PageOf<T> {
    /// Cuts rows that were read with one more than the page wants; the one more shows that there is a next page.
    pub(crate) fn cut<K: Serialize>(
        mut rows: Vec<T>,
        page: &Page,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, StoreError> {
        let more = rows.len() > page.rows();
        rows.truncate(page.rows());
        let next = match rows.last() {
            Some(last) if more => Some(cursor::encode(&key(last))?),
            Some(_) | None => None,
        };
        Ok(Self { rows, next })
    }
}

/// A ticket's place in the queue: priority, then due time (none comes last), then number.
pub(crate) fn queue_place(ticket: &Ticket) -> (u8, i64, u64) {
    (ticket.priority.0, ticket.resolution_due.map_or(i64::MAX, Timestamp::as_millis), ticket.id.0)
}

impl AuditEntry {
    /// A token was good and made a device.
    pub(crate) fn enrolled(device: &Device, now: Timestamp) -> Self {
        Self {
            at: now,
            actor: format!("device:{}", device.id),
            action: "enroll.accepted".to_owned(),
            subject: device.id.to_string(),
            detail: device.hostname.clone(),
        }
    }

    /// A token was refused. The device does not exist; what it calls itself is all that is known.
    pub(crate) fn enroll_refused(device: &Device, reason: &str, now: Timestamp) -> Self {
        Self {
            at: now,
            actor: "firstline".to_owned(),
            action: "enroll.refused".to_owned(),
            subject: device.hostname.clone(),
            detail: reason.to_owned(),
        }
    }
}

impl DeviceFinding {
    /// The order of lists: newest first, then by device, rule and component.
    pub(crate) fn sort_newest_first(findings: &mut [Self]) {
        findings.sort_by(|a, b| {
            let place = |f: &Self| (f.device.clone(), f.finding.rule.clone(), f.finding.component.clone());
            b.finding.since.cmp(&a.finding.since).then_with(|| place(a).cmp(&place(b)))
        });
    }
}
