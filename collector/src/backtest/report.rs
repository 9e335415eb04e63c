//! What a back-test says, as the REST interface and the command line give it out and the page shows it.

use serde::Serialize;
use utoipa::ToSchema;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Report {
    /// In one line: `fs.space over the last 30 days: 212 -> 14 tickets`.
    #[schema(example = "fs.space over the last 30 days: 212 -> 14 tickets; 200 lost, 2 gained")]
    pub(crate) summary: String,
    /// The entry.
    pub(crate) rule: String,
    /// What was looked at.
    pub(crate) history: History,
    /// With the rules in force.
    pub(crate) before: Outcome,
    /// With the change.
    pub(crate) after: Outcome,
    /// Tickets that really were opened for this rule in that time and are stored, by whatever rules were in force then.
    pub(crate) stored: u64,
    /// Tickets of the rules in force that are about the same fault as one of the changed rules.
    pub(crate) kept: u64,
    /// By how many seconds the middle one of those opens later (negative: sooner).
    pub(crate) later_by_s: Option<f64>,
    /// How many tickets only the rules in force open.
    pub(crate) lost_total: u64,
    /// Those, in order of time; at most 500.
    pub(crate) lost: Vec<Difference>,
    /// How many tickets only the changed rules open.
    pub(crate) gained_total: u64,
    /// Those, in order of time; at most 500.
    pub(crate) gained: Vec<Difference>,
    /// The parts with the most tickets; at most 100.
    pub(crate) components: Vec<Part>,
    /// Other entries whose tickets become more or fewer: this one hides them, or is hidden by them.
    pub(crate) others: Vec<OtherRule>,
    /// What to bear in mind.
    pub(crate) notes: Vec<String>,
}

/// The history that was played.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct History {
    /// How many days were asked for.
    pub(crate) days: u32,
    /// Where they begin. RFC 3339, UTC.
    pub(crate) asked_from: String,
    /// Where what is stored begins; null when nothing is.
    pub(crate) from: Option<String>,
    /// Until when it was played.
    pub(crate) until: String,
    /// Whether the whole time that was asked for was played.
    pub(crate) complete: bool,
    /// What is missing of it, and why; one sentence each.
    pub(crate) missing: Vec<String>,
    /// Devices that said something.
    pub(crate) devices: u64,
    /// Records.
    pub(crate) records: u64,
    /// Observations in them.
    pub(crate) observations: u64,
}

/// What one set of rules made of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// Tickets opened, Problems of shared causes included.
    pub(crate) tickets: u64,
    /// ... of which are Problems.
    pub(crate) problems: u64,
    /// ... of which belong to a Problem.
    pub(crate) children: u64,
    /// Devices with tickets.
    pub(crate) devices: u64,
    /// Why breaches made no ticket.
    pub(crate) suppressed: Vec<Reason>,
}

/// Why breaches made no ticket.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Reason {
    /// The reason.
    pub(crate) reason: String,
    /// How often.
    pub(crate) count: u64,
}

/// A ticket that only one of the two sets of rules opens.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Difference {
    /// The device; null for the Problem of a shared cause.
    pub(crate) device: Option<Named>,
    /// Its site.
    pub(crate) site: Option<String>,
    /// `kind/id`.
    pub(crate) component: String,
    /// The ticket's line.
    pub(crate) title: String,
    /// The worst that it became.
    pub(crate) severity: String,
    /// When it would have been opened.
    pub(crate) opened_at: String,
    /// When it would have been resolved; null: it would be open.
    pub(crate) resolved_at: Option<String>,
    /// The stored ticket about the same fault, if there is one.
    pub(crate) ticket: Option<StoredTicket>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) id: String,
    /// What it calls itself.
    pub(crate) hostname: String,
}

/// A ticket that is stored.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StoredTicket {
    /// Its number.
    pub(crate) id: u64,
    /// Its key.
    pub(crate) key: String,
}

/// A part and its tickets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Part {
    /// `kind/id`.
    pub(crate) component: String,
    /// With the rules in force.
    pub(crate) before: u64,
    /// With the change.
    pub(crate) after: u64,
}

/// Another entry and its tickets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct OtherRule {
    /// The entry.
    pub(crate) rule: String,
    /// With the rules in force.
    pub(crate) before: u64,
    /// With the change.
    pub(crate) after: u64,
}
