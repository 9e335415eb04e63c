//! The desk's record of a fault or a wish: kinds, states, contents, what can be done to it, what follows from that.

mod apply;
mod open;
mod refused;

pub use apply::{Applied, LONGEST_SNOOZE, REOPEN_WITHIN, TicketInput, apply};
pub use open::{Opening, open};
pub use refused::Refused;

use firstline_model::{
    Component, DeviceId, DiagnosticOutcome, DiagnosticRequest, RuleCode, Severity, TicketId, Timestamp,
};

/// ITIL's kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TicketKind {
    /// Something is broken for somebody.
    Incident,
    /// The shared cause behind several incidents.
    Problem,
    /// Opened by a person.
    Request,
}

/// ITIL's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TicketState {
    /// Nobody has it yet.
    New,
    /// Somebody has it.
    Assigned,
    /// Somebody works on it.
    InProgress,
    /// It waits; the SLA clock too.
    OnHold,
    /// It is fixed, as far as is known.
    Resolved,
    /// It is over.
    Closed,
    /// It was a mistake.
    Cancelled,
}

/// What an on-hold ticket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnHoldReason {
    /// The person who has the problem.
    AwaitingCaller,
    /// A planned change.
    AwaitingChange,
    /// A problem ticket.
    AwaitingProblem,
    /// A supplier.
    AwaitingVendor,
    /// A moment: see [`Ticket::snoozed_until`].
    Snoozed,
}

/// P1 (highest) to P5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(pub u8);

/// A ticket with everything that has been worked out.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticket {
    /// Its number.
    pub id: TicketId,
    /// What it is.
    pub kind: TicketKind,
    /// Where it is.
    pub state: TicketState,
    /// What it waits for, when on hold.
    pub on_hold: Option<OnHoldReason>,
    /// When it comes back by itself, when it waits for a moment.
    pub snoozed_until: Option<Timestamp>,
    /// The device; none for a shared cause.
    pub device: Option<DeviceId>,
    /// The rule that opened it; none for a request.
    pub rule: Option<RuleCode>,
    /// The component that it is about.
    pub component: Option<Component>,
    /// Where the device belongs.
    pub site: Option<String>,
    /// 1 (widest) to 3.
    pub impact: u8,
    /// 1 (most urgent) to 3, from the finding's severity.
    pub urgency: u8,
    /// From impact and urgency.
    pub priority: Priority,
    /// The worst severity that the finding reached.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What it means, in words for the person at the machine.
    pub summary: String,
    /// What it means for a technician.
    pub technical: String,
    /// When the ticket was opened.
    pub opened_at: Timestamp,
    /// When the fault was first observed, by the device's clock.
    pub first_observed_at: Timestamp,
    /// When anything changed last.
    pub updated_at: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// How it was resolved.
    pub resolution: Option<String>,
    /// When the first person took it.
    pub responded_at: Option<Timestamp>,
    /// Until when a person must have taken it.
    pub response_due: Option<Timestamp>,
    /// Until when it must be resolved.
    pub resolution_due: Option<Timestamp>,
    /// When the SLA clock stood still: on hold, and resolved until it was reopened. The last one may be running.
    pub pauses: Vec<Pause>,
    /// Who has it.
    pub assignee: Option<String>,
    /// Which group has it.
    pub group: Option<String>,
    /// Tier 1 to 3.
    pub tier: u8,
    /// The shared cause's ticket.
    pub parent: Option<TicketId>,
    /// What was measured at the moment of breach; frozen.
    pub evidence: Vec<Evidence>,
    /// What was tested at breach.
    pub tested: Vec<Tested>,
    /// What cannot be the cause.
    pub ruled_out: Vec<RuledOut>,
    /// What most likely is.
    pub likely_cause: Option<String>,
    /// What to do, in order.
    pub steps: Vec<String>,
    /// Title and address of the article.
    pub article: Option<(String, Option<String>)>,
    /// What changed on the device shortly before.
    pub changes: Vec<Change>,
    /// How often the same fault came back.
    pub recurrence: u32,
    /// Counts every change, for optimistic concurrency and ETags.
    pub version: u64,
}

/// A time in which the SLA clock stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// From when.
    pub from: Timestamp,
    /// Until when; `None` while it lasts.
    pub until: Option<Timestamp>,
}

/// One measured value, frozen at breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What: "used space".
    pub label: String,
    /// How much, with its unit, for a person: "97.3 %".
    pub value: String,
    /// The metric behind it.
    pub metric: String,
    /// When it was so.
    pub observed_at: Timestamp,
}

/// One test that the agent made for this ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// Under which id it was asked for.
    pub request_id: String,
    /// The diagnostic's name.
    pub diagnostic: String,
    /// Its parameter.
    pub subject: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// The answer; `None` while it runs.
    pub result: Option<TestResult>,
}

/// The answer of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// How it ended.
    pub outcome: DiagnosticOutcome,
    /// One sentence.
    pub summary: String,
    /// The facts, for a technician; a map.
    pub facts: firstline_model::Value,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// A cause that is excluded, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledOut {
    /// The cause's text.
    pub cause: String,
    /// What excludes it.
    pub because: String,
}

/// Something that changed on the device shortly before the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was noticed.
    pub at: Timestamp,
    /// What, in one line.
    pub what: String,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The collector itself.
    Firstline,
    /// A person, by user name.
    Person(String),
}

/// One line of a ticket's history. Never changed, never removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The ticket.
    pub ticket: TicketId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What sort: `opened`, `updated`, `tested`, `resolved`, `reopened`, `note`, `state`, ...
    pub kind: &'static str,
    /// What, in one sentence.
    pub text: String,
}

/// What has to happen in the world because of a decision. Saved with it, done afterwards, at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the device for a test; its report comes back with the same id.
    RunDiagnostic {
        /// For which ticket.
        ticket: TicketId,
        /// Which device.
        device: DeviceId,
        /// Unique: ticket number and a count.
        request_id: String,
        /// What to run.
        request: DiagnosticRequest,
    },
}

macro_rules! texts {
    ($type:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $type {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text in JSON and storage.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The variant that `text` names.
            pub fn from_text(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text)
            }
        }
    };
}

texts!(TicketKind { Incident = "incident", Problem = "problem", Request = "request" });
texts!(TicketState {
    New = "new",
    Assigned = "assigned",
    InProgress = "in_progress",
    OnHold = "on_hold",
    Resolved = "resolved",
    Closed = "closed",
    Cancelled = "cancelled",
});
texts!(OnHoldReason {
    AwaitingCaller = "awaiting_caller",
    AwaitingChange = "awaiting_change",
    AwaitingProblem = "awaiting_problem",
    AwaitingVendor = "awaiting_vendor",
    Snoozed = "snoozed",
});

impl TicketState {
    /// Whether work remains.
    pub const fn is_open(self) -> bool {
        match self {
            Self::New | Self::Assigned | Self::InProgress | Self::OnHold => true,
            Self::Resolved | Self::Closed | Self::Cancelled => false,
        }
    }
}

impl Ticket {
    /// The key that people say: `INC-000017`, `PRB-000002`, `REQ-000005`.
    pub fn key(&self) -> String {
        let prefix = match self.kind {
            TicketKind::Incident => "INC",
            TicketKind::Problem => "PRB",
            TicketKind::Request => "REQ",
        };
        format!("{prefix}-{:06}", self.id.0)
    }
}

#[cfg(test)]
mod tests;
