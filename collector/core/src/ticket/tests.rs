//! What can be done to a ticket in which state, and what becomes of it.

use super::*;
use crate::fixture::{at, code, component, secs};
use crate::sla::Calendar;
use firstline_model::{DiagnosticReport, Value};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn opening() -> Opening {
    Opening {
        id: TicketId(17),
        kind: TicketKind::Incident,
        by: Actor::Firstline,
        device: Some(DeviceId::new("pc-1").unwrap()),
        rule: Some(code("fs.space")),
        component: Some(component("filesystem/C:")),
        site: None,
        impact: 3,
        severity: Severity::Warning,
        title: "Drive C: is full".to_owned(),
        summary: String::new(),
        technical: String::new(),
        first_observed_at: at(-900),
        evidence: Vec::new(),
        tests: vec![DiagnosticRequest::LargestDirectories { mount_point: "C:".to_owned() }],
        steps: Vec::new(),
        article: None,
        changes: Vec::new(),
    }
}

fn fresh() -> Ticket {
    open(opening(), Calendar::default(), at(0)).0
}

fn eve() -> Actor {
    Actor::Person("eve".to_owned())
}

fn fired(severity: Severity) -> TicketInput {
    TicketInput::FindingFired {
        severity,
        evidence: vec![evidence()],
        tests: vec![DiagnosticRequest::Link],
        changes: Vec::new(),
    }
}

fn evidence() -> Evidence {
    Evidence {
        label: "used space".to_owned(),
        value: "99 %".to_owned(),
        metric: String::new(),
        observed_at: at(0),
    }
}

fn cleared() -> TicketInput {
    TicketInput::FindingCleared { value: "used space 42 %".to_owned(), verified: secs(900) }
}

fn resolve() -> TicketInput {
    TicketInput::Resolve { by: eve(), resolution: "Emptied the bin".to_owned() }
}

fn hold() -> TicketInput {
    TicketInput::Hold { by: eve(), reason: OnHoldReason::AwaitingVendor }
}

fn assign(name: Option<&str>) -> TicketInput {
    TicketInput::Assign { by: eve(), assignee: name.map(str::to_owned), group: None }
}

fn report(request_id: &str) -> DiagnosticReport {
    DiagnosticReport {
        request_id: request_id.to_owned(),
        name: "largest_directories".to_owned(),
        subject: "C:".to_owned(),
        outcome: DiagnosticOutcome::Problem,
        summary: "Downloads\u{7} grew".to_owned(),
        facts: Value::map::<&'static str>([]),
        finished_at: at(5),
        took_ms: 10,
    }
}

/// Applies one input after another, a minute apart.
fn after(inputs: &[TicketInput]) -> Result<Ticket, Refused> {
    inputs.iter().zip(1..).try_fold(fresh(), |ticket, (input, minute)| {
        apply(ticket, input.clone(), Calendar::default(), at(minute * 60)).map(|(ticket, _, _)| ticket)
    })
}

#[test]
fn a_new_ticket_has_its_tests_and_its_due_times() {
    let (ticket, timeline, effects) = open(opening(), Calendar::default(), at(0));
    assert_eq!((ticket.priority, ticket.urgency, ticket.version), (Priority(4), 2, 1));
    assert_eq!(
        (ticket.response_due, ticket.resolution_due),
        (Some(at(4 * 3600)), Some(at(3 * DAY + 36_000)))
    );
    assert_eq!(timeline.iter().map(|line| line.kind).collect::<Vec<_>>(), ["opened", "testing"]);
    let Effect::RunDiagnostic { request_id, .. } = &effects[0];
    assert_eq!(request_id, "17-1");
}

#[test]
fn every_state_answers_every_input() {
    use TicketState::{Assigned, Cancelled, Closed, InProgress, New, OnHold, Resolved};
    let start = TicketInput::Start { by: eve() };
    let resume = TicketInput::Resume { by: eve() };
    let reopen = TicketInput::Reopen { by: eve(), reason: "still full".to_owned() };
    let close = TicketInput::Close { by: eve() };
    let cancel = TicketInput::Cancel { by: eve(), reason: "a test".to_owned() };
    let way_to = |state| match state {
        New => vec![],
        Assigned => vec![assign(Some("bob"))],
        InProgress => vec![start.clone()],
        OnHold => vec![hold()],
        Resolved => vec![resolve()],
        Closed => vec![resolve(), close.clone()],
        Cancelled => vec![cancel.clone()],
    };
    // The state after each input, in the order of `TicketState::ALL`; `None` is refused.
    let table: [(&str, TicketInput, [Option<TicketState>; 7]); 13] = [
        (
            "assign",
            assign(Some("bob")),
            [Some(Assigned), Some(Assigned), Some(InProgress), Some(OnHold), None, None, None],
        ),
        ("unassign", assign(None), [Some(New), Some(New), Some(New), Some(OnHold), None, None, None]),
        ("start", start.clone(), [Some(InProgress), Some(InProgress), None, None, None, None, None]),
        ("hold", hold(), [Some(OnHold), Some(OnHold), Some(OnHold), None, None, None, None]),
        ("resume", resume, [None, None, None, Some(New), None, None, None]),
        (
            "resolve",
            resolve(),
            [Some(Resolved), Some(Resolved), Some(Resolved), Some(Resolved), None, None, None],
        ),
        ("reopen", reopen, [None, None, None, None, Some(New), Some(New), None]),
        ("close", close.clone(), [None, None, None, None, Some(Closed), None, None]),
        (
            "cancel",
            cancel.clone(),
            [Some(Cancelled), Some(Cancelled), Some(Cancelled), Some(Cancelled), None, None, None],
        ),
        (
            "fired",
            fired(Severity::Warning),
            [Some(New), Some(Assigned), Some(InProgress), Some(OnHold), Some(New), Some(New), None],
        ),
        (
            "cleared",
            cleared(),
            [
                Some(Resolved),
                Some(Resolved),
                Some(Resolved),
                Some(Resolved),
                Some(Resolved),
                Some(Closed),
                Some(Cancelled),
            ],
        ),
        (
            "relapsed",
            TicketInput::FindingRelapsed,
            [
                Some(New),
                Some(Assigned),
                Some(InProgress),
                Some(OnHold),
                Some(Resolved),
                Some(Closed),
                Some(Cancelled),
            ],
        ),
        (
            "note",
            TicketInput::Note { by: eve(), text: "x".to_owned() },
            [
                Some(New),
                Some(Assigned),
                Some(InProgress),
                Some(OnHold),
                Some(Resolved),
                Some(Closed),
                Some(Cancelled),
            ],
        ),
    ];
    for (name, input, expected) in table {
        for (state, expected) in TicketState::ALL.iter().zip(expected) {
            let mut ticket = after(&way_to(*state)).unwrap();
            assert_eq!(ticket.state, *state);
            if *state == Assigned || *state == InProgress {
                assert!(ticket.assignee.is_some());
            } else {
                ticket.assignee = None;
            }
            let outcome =
                apply(ticket, input.clone(), Calendar::default(), at(600)).map(|(ticket, _, _)| ticket.state);
            assert_eq!(outcome.ok(), expected, "{name} in {}", state.as_str());
        }
    }
}

#[test]
fn recovery_resolves_with_what_was_verified() {
    let ticket = after(&[hold(), cleared()]).unwrap();
    assert_eq!(ticket.resolution.as_deref(), Some("Recovered: used space 42 %, verified for 15 min"));
    assert_eq!((ticket.resolved_at, ticket.on_hold), (Some(at(120)), None));
    assert_eq!(ticket.pauses, [Pause { from: at(60), until: Some(at(120)) }]);
}

#[test]
fn a_fault_that_returns_reopens_the_same_ticket_for_seven_days() {
    let resolved = after(&[assign(Some("bob")), cleared()]).unwrap();
    let at_last = at(120 + 7 * DAY);
    let (ticket, timeline, effects) =
        apply(resolved.clone(), fired(Severity::Warning), Calendar::default(), at_last).unwrap();
    assert_eq!((ticket.state, ticket.recurrence, ticket.resolved_at), (TicketState::Assigned, 1, None));
    assert_eq!(timeline[0].kind, "reopened");
    let Effect::RunDiagnostic { request_id, .. } = &effects[0];
    assert_eq!(request_id, "17-2", "tests are asked for again, under a new id");
    assert!(ticket.resolution_due > resolved.resolution_due, "the clock stood still while it was resolved");
    let later = apply(resolved, fired(Severity::Warning), Calendar::default(), at_last.plus(secs(1)));
    assert!(matches!(later, Err(Refused::TooOld { .. })));
}

#[test]
fn a_worse_severity_raises_the_priority_from_the_original_start() {
    let input = TicketInput::FindingEscalated { severity: Severity::Critical, evidence: vec![evidence()] };
    let (ticket, timeline, _) = apply(fresh(), input.clone(), Calendar::default(), at(3600)).unwrap();
    assert_eq!((ticket.priority, ticket.severity), (Priority(3), Severity::Critical));
    assert_eq!(ticket.response_due, Some(at(2 * 3600)));
    assert_eq!((timeline.len(), ticket.evidence.len()), (1, 1));
    let (again, timeline, _) = apply(ticket.clone(), input, Calendar::default(), at(7200)).unwrap();
    assert_eq!((again, timeline.len()), (ticket, 0), "the same severity again is no news");
}

#[test]
fn the_clock_stands_still_on_hold() {
    let before = fresh().resolution_due;
    let on_hold = after(&[hold()]).unwrap();
    assert_eq!(on_hold.resolution_due, before);
    let (resumed, _, _) =
        apply(on_hold, TicketInput::Resume { by: eve() }, Calendar::default(), at(60 + 3600)).unwrap();
    assert_eq!(resumed.resolution_due, Some(at(4 * DAY + 3600)));
}

#[test]
fn the_first_person_to_take_it_has_responded() {
    let ticket = after(&[TicketInput::Start { by: eve() }]).unwrap();
    assert_eq!((ticket.assignee.as_deref(), ticket.responded_at), (Some("eve"), Some(at(60))));
    let ticket = after(&[assign(Some("bob")), assign(Some("carol"))]).unwrap();
    assert_eq!((ticket.assignee.as_deref(), ticket.responded_at), (Some("carol"), Some(at(60))));
    assert_eq!(after(&[cleared()]).unwrap().responded_at, None, "recovery is not a response");
}

#[test]
fn a_test_is_answered_once() {
    let answered = TicketInput::TestFinished(report("17-1"));
    let ticket = after(std::slice::from_ref(&answered)).unwrap();
    let result = ticket.tested[0].result.clone().unwrap();
    assert_eq!((result.outcome, result.summary.as_str()), (DiagnosticOutcome::Problem, "Downloads  grew"));
    let (again, timeline, _) = apply(ticket.clone(), answered.clone(), Calendar::default(), at(999)).unwrap();
    assert_eq!((again, timeline.len()), (ticket, 0));
    let late = after(&[TicketInput::TestExpired { request_id: "17-1".to_owned() }, answered]).unwrap();
    assert_eq!(late.tested[0].result.as_ref().map(|r| r.outcome), Some(DiagnosticOutcome::Problem));
    assert!(matches!(after(&[TicketInput::TestFinished(report("18-1"))]), Err(Refused::UnknownTest { .. })));
}

#[test]
fn refusals_say_what_to_do() {
    let closed = after(&[resolve(), TicketInput::Close { by: eve() }, hold()]).unwrap_err();
    assert_eq!(closed.to_string(), "ticket INC-000017 is closed; only open tickets can wait");
    let empty = after(&[TicketInput::Note { by: eve(), text: " \u{0} ".to_owned() }]).unwrap_err();
    assert_eq!(empty.to_string(), "ticket INC-000017 needs a text for the note; write one sentence");
    for tier in [0, 1, 4] {
        assert!(after(&[TicketInput::Escalate { by: eve(), tier }]).is_err(), "tier {tier}");
    }
    assert_eq!(after(&[TicketInput::Escalate { by: eve(), tier: 3 }]).unwrap().tier, 3);
}

fn inputs() -> impl Strategy<Value = TicketInput> {
    prop::sample::select(vec![
        fired(Severity::Info),
        fired(Severity::Critical),
        cleared(),
        assign(Some("bob")),
        assign(None),
        TicketInput::Start { by: eve() },
        hold(),
        TicketInput::Hold { by: eve(), reason: OnHoldReason::AwaitingCaller },
        TicketInput::Resume { by: eve() },
        resolve(),
        TicketInput::Reopen { by: eve(), reason: "again".to_owned() },
        TicketInput::Close { by: eve() },
        TicketInput::Cancel { by: eve(), reason: "no".to_owned() },
        TicketInput::TestFinished(report("17-1")),
    ])
}

proptest! {
    #[test]
    fn whatever_happens_a_ticket_stays_consistent(inputs in prop::collection::vec((inputs(), 0..200_000i64), 0..40)) {
        let mut ticket = fresh();
        let mut now = 0;
        for (input, pause) in inputs {
            now += pause;
            let before = ticket.clone();
            let Ok((next, timeline, _)) = apply(ticket.clone(), input, Calendar::default(), at(now)) else { continue };
            ticket = next;
            prop_assert_eq!(ticket.version - before.version, u64::from(ticket != before || !timeline.is_empty()));
            prop_assert_eq!(ticket.on_hold.is_some(), ticket.state == TicketState::OnHold);
            let pausing = ticket.pauses.iter().filter(|pause| pause.until.is_none()).count();
            prop_assert_eq!(pausing, usize::from(ticket.state == TicketState::OnHold));
            let resolved = matches!(ticket.state, TicketState::Resolved | TicketState::Closed);
            prop_assert_eq!(ticket.resolved_at.is_some(), resolved);
            prop_assert_eq!(ticket.resolution.is_some(), resolved);
            prop_assert!(ticket.state != TicketState::Assigned || ticket.assignee.is_some());
            prop_assert!(ticket.severity >= before.severity && ticket.priority <= before.priority);
            prop_assert!(ticket.resolution_due >= before.resolution_due || ticket.priority < before.priority);
        }
    }
}
