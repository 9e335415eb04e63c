//! Opens tickets.

use super::{
    Actor, Change, Effect, Evidence, Priority, Tested, Ticket, TicketKind, TicketState, TimelineEntry,
};
use crate::sla::{self, Calendar};
use firstline_model::{
    Component, DeviceId, DiagnosticRequest, RuleCode, Severity, TicketId, Timestamp, Value,
};

/// What a ticket is opened with.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// Its number.
    pub id: TicketId,
    /// What it is.
    pub kind: TicketKind,
    /// Who opens it.
    pub by: Actor,
    /// The device, when it is about one.
    pub device: Option<DeviceId>,
    /// The rule, when a finding opens it.
    pub rule: Option<RuleCode>,
    /// The component, when it is about one.
    pub component: Option<Component>,
    /// The site.
    pub site: Option<String>,
    /// 1 (widest) to 3.
    pub impact: u8,
    /// How bad it is; urgency follows from it.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// For the person at the machine.
    pub summary: String,
    /// For a technician.
    pub technical: String,
    /// When the fault was first observed, by the device's clock.
    pub first_observed_at: Timestamp,
    /// What was measured.
    pub evidence: Vec<Evidence>,
    /// What to test at once.
    pub tests: Vec<DiagnosticRequest>,
    /// What to do.
    pub steps: Vec<String>,
    /// Where to read more: title and address.
    pub article: Option<(String, Option<String>)>,
    /// What changed on the device shortly before.
    pub changes: Vec<Change>,
}

/// Opens a ticket at `now`: the ticket (version 1), the first lines of its timeline, and the tests to run.
pub fn open(
    opening: Opening,
    calendar: Calendar,
    now: Timestamp,
) -> (Ticket, Vec<TimelineEntry>, Vec<Effect>) {
    let urgency = urgency(opening.severity);
    let impact = opening.impact.clamp(1, 3);
    let priority = Priority::of(impact, urgency);
    let due = sla::due(now, priority, &[], calendar);
    let mut ticket = Ticket {
        id: opening.id,
        kind: opening.kind,
        state: TicketState::New,
        on_hold: None,
        snoozed_until: None,
        device: opening.device,
        rule: opening.rule,
        component: opening.component,
        site: opening.site,
        impact,
        urgency,
        priority,
        severity: opening.severity,
        title: opening.title,
        summary: opening.summary,
        technical: opening.technical,
        opened_at: now,
        first_observed_at: opening.first_observed_at,
        updated_at: now,
        resolved_at: None,
        resolution: None,
        responded_at: None,
        response_due: Some(due.response),
        resolution_due: Some(due.resolution),
        pauses: Vec::new(),
        assignee: None,
        group: None,
        tier: 1,
        parent: None,
        evidence: opening.evidence,
        tested: Vec::new(),
        ruled_out: Vec::new(),
        likely_cause: None,
        steps: opening.steps,
        article: opening.article,
        changes: opening.changes,
        recurrence: 0,
        version: 1,
    };
    let mut timeline = vec![TimelineEntry {
        ticket: ticket.id,
        at: now,
        actor: opening.by,
        kind: "opened",
        text: format!("Opened as P{}: {}", priority.0, ticket.title),
    }];
    let effects = ask(&mut ticket, opening.tests, now, &mut timeline);
    (ticket, timeline, effects)
}

/// 1 (most urgent) to 3.
pub(super) fn urgency(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 1,
        Severity::Warning => 2,
        Severity::Info => 3,
    }
}

/// Asks the ticket's device for tests. Ids count on from the tests that were asked for before.
pub(super) fn ask(
    ticket: &mut Ticket,
    tests: Vec<DiagnosticRequest>,
    now: Timestamp,
    timeline: &mut Vec<TimelineEntry>,
) -> Vec<Effect> {
    let Some(device) = ticket.device.clone() else { return Vec::new() };
    let names: Vec<&str> = tests.iter().map(DiagnosticRequest::name).collect();
    if !names.is_empty() {
        timeline.push(TimelineEntry {
            ticket: ticket.id,
            at: now,
            actor: Actor::Firstline,
            kind: "testing",
            text: format!("Asked the device to test: {}", names.join(", ")),
        });
    }
    let mut effects = Vec::new();
    for request in tests {
        let request_id = format!("{}-{}", ticket.id, ticket.tested.len() + 1);
        ticket.tested.push(Tested {
            request_id: request_id.clone(),
            diagnostic: request.name().to_owned(),
            subject: request.subject().to_owned(),
            asked_at: now,
            result: None,
        });
        effects.push(Effect::RunDiagnostic {
            ticket: ticket.id,
            device: device.clone(),
            request_id,
            request,
        });
    }
    effects
}

/// The result of a test that was never answered.
pub(super) fn no_answer(now: Timestamp) -> super::TestResult {
    super::TestResult {
        outcome: firstline_model::DiagnosticOutcome::CouldNotTell,
        summary: "The device did not answer in time.".to_owned(),
        facts: Value::map::<&'static str>([]),
        finished_at: now,
    }
}
