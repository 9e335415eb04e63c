//! From observations to tickets.

use super::{DeskContext, DeskOutcome, decide, expire};
use crate::fixture::*;
use crate::knowledge::{
    Article, Cause, Clue, Compare, FactMatch, FactTest, KnowledgeEntry, RuleOut, TestToRun,
};
use crate::sla::Calendar;
use crate::ticket::{Actor, Change, Effect, Ticket, TicketInput, TicketState, TimelineEntry, apply};
use firstline_model::{
    ComponentKind, DiagnosticOutcome, DiagnosticReport, Observation, Presence, Severity, TicketId, Value,
};
use proptest::prelude::*;

/// A desk with one device, saved the way that the shell saves it.
struct Office {
    bench: Bench,
    tickets: Vec<Ticket>,
    timeline: Vec<TimelineEntry>,
    last: DeskOutcome,
    next: u64,
}

impl Office {
    fn new(entries: impl IntoIterator<Item = KnowledgeEntry>) -> Self {
        Self {
            bench: Bench::new(entries),
            tickets: Vec::new(),
            timeline: Vec::new(),
            last: DeskOutcome::default(),
            next: 1,
        }
    }

    fn play(&mut self, now: i64, observations: &[Observation]) -> &mut Self {
        self.step(now, observations, &[])
    }

    fn step(&mut self, now: i64, observations: &[Observation], reports: &[DiagnosticReport]) -> &mut Self {
        self.bench.seen.clear();
        self.bench.play(observations).wait(now);
        let changes = [Change { at: at(-60), what: "Update installed".to_owned() }];
        let context = DeskContext {
            now: at(now),
            knowledge: &self.bench.knowledge,
            device: &self.bench.device,
            hostname: "PC-1\u{202e}",
            state: &self.bench.state,
            tickets: &self.tickets,
            recent_changes: &changes,
            calendar: Calendar::default(),
        };
        let next = &mut self.next;
        let outcome = decide(&context, &self.bench.seen, reports, &mut || {
            *next += 1;
            TicketId(*next - 1)
        });
        self.save(outcome);
        self
    }

    fn save(&mut self, outcome: DeskOutcome) {
        for ticket in &outcome.tickets {
            match self.tickets.iter_mut().find(|known| known.id == ticket.id) {
                Some(known) => {
                    assert_eq!(
                        ticket.version,
                        known.version + 1,
                        "the version of {} counts commits",
                        ticket.key()
                    );
                    *known = ticket.clone();
                }
                None => {
                    assert_eq!(ticket.version, 1);
                    self.tickets.push(ticket.clone());
                }
            }
        }
        self.timeline.extend(outcome.timeline.iter().cloned());
        self.last = outcome;
    }

    fn person(&mut self, ticket: usize, input: TicketInput, now: i64) {
        let changed = apply(self.tickets[ticket].clone(), input, Calendar::default(), at(now));
        if let Ok((changed, timeline, _)) = changed {
            self.tickets[ticket] = changed;
            self.timeline.extend(timeline);
        }
    }

    fn kinds(&self) -> Vec<&str> {
        self.timeline.iter().map(|line| line.kind).collect()
    }
}

fn eve() -> Actor {
    Actor::Person("eve".to_owned())
}

/// Used space with words, a test and causes.
fn worked() -> KnowledgeEntry {
    let mut rule = space(60, 120);
    rule.title = "Drive {component.id} of {hostname} is {value} full".to_owned();
    rule.explanation.person =
        "Over {threshold.percent} since {since}, {nonsense} type {attr.system.filesystem.type}.".to_owned();
    rule.explanation.technician =
        "Label {doc.label} ({doc.missing}). Largest: {fact.largest_directories.path}".to_owned();
    rule.steps = vec!["Empty the bin of {component.id} at {site}".to_owned()];
    rule.tests = vec![TestToRun { diagnostic: "largest_directories".to_owned(), subject_is_component: true }];
    rule.article = Some(Article { title: "Full drives".to_owned(), url: None, body: None });
    let grew = |is: bool| {
        Clue::Tested(FactTest {
            diagnostic: "largest_directories".to_owned(),
            path: vec!["grew".to_owned()],
            is: FactMatch::Bool(is),
        })
    };
    rule.causes = vec![
        Cause {
            id: "growth".to_owned(),
            text: "{fact.largest_directories.path} grew".to_owned(),
            supported_by: vec![vec![grew(true)]],
            ruled_out_by: vec![RuleOut { facts: vec![grew(false)], because: "Nothing grew".to_owned() }],
        },
        Cause {
            id: "small".to_owned(),
            text: "The drive is too small".to_owned(),
            supported_by: vec![],
            ruled_out_by: vec![],
        },
    ];
    rule
}

fn typed(t: i64, value: f64) -> Observation {
    sample(t, "filesystem/C:", USED, &[("system.filesystem.type", "ntfs")], value)
}

fn answer(request_id: &str, grew: bool) -> DiagnosticReport {
    DiagnosticReport {
        request_id: request_id.to_owned(),
        name: "largest_directories".to_owned(),
        subject: "C:".to_owned(),
        outcome: DiagnosticOutcome::Problem,
        summary: "C:/Temp grew".to_owned(),
        facts: Value::map([("grew", Value::from(grew)), ("path", Value::from("C:/Temp\n"))]),
        finished_at: at(100),
        took_ms: 5,
    }
}

fn breach() -> Vec<Observation> {
    let label = Value::map([("label", Value::from("SYSTEM")), ("device", Value::from("sda1"))]);
    vec![document(0, "filesystem/C:", "filesystem", label), typed(0, 0.95), typed(60, 0.96)]
}

#[test]
fn a_ticket_arrives_worked() {
    let mut office = Office::new([worked()]);
    office.play(60, &breach());
    let ticket = &office.tickets[0];
    assert_eq!(ticket.title, "Drive C: of PC-1 is 96 % full");
    assert_eq!(ticket.summary, "Over 90 % since 2026-01-05 08:00 UTC, type ntfs.");
    assert_eq!(ticket.technical, "Label SYSTEM.");
    assert_eq!(ticket.steps, ["Empty the bin of C: at oslo"]);
    assert_eq!((ticket.first_observed_at, ticket.opened_at), (at(0), at(60)));
    let evidence: Vec<_> = ticket.evidence.iter().map(|e| (e.label.as_str(), e.value.as_str())).collect();
    let expected = [
        ("used space (system filesystem type ntfs)", "96 % (limit 90 %)"),
        ("device", "sda1"),
        ("label", "SYSTEM"),
    ];
    assert_eq!(evidence, expected);
    assert_eq!(ticket.changes[0].what, "Update installed");
    assert_eq!((ticket.likely_cause.as_deref(), ticket.tested.len()), (None, 2));
    assert_eq!(ticket.tested[1].diagnostic, "recorder");
    let Effect::RunDiagnostic { request_id, request, .. } = &office.last.effects[0];
    assert_eq!((request_id.as_str(), request.subject()), ("1-1", "C:"));
}

#[test]
fn test_results_find_the_cause_and_fill_the_texts() {
    let mut office = Office::new([worked()]);
    office.play(60, &breach()).step(90, &[], &[answer("1-1", true), answer("9-9", true), answer("", true)]);
    let ticket = &office.tickets[0];
    assert_eq!(ticket.likely_cause.as_deref(), Some("C:/Temp grew"));
    assert_eq!(ticket.technical, "Label SYSTEM. Largest: C:/Temp");
    assert_eq!(office.kinds(), ["opened", "testing", "tested", "diagnosed"]);

    let mut office = Office::new([worked()]);
    office.play(60, &breach()).step(90, &[], &[answer("1-1", false)]);
    let ticket = &office.tickets[0];
    assert_eq!(ticket.likely_cause.as_deref(), Some("The drive is too small"));
    assert_eq!(ticket.ruled_out[0].because, "Nothing grew");
}

#[test]
fn a_test_without_an_answer_expires_and_says_nothing() {
    let mut office = Office::new([worked()]);
    office.play(60, &breach());
    let context = DeskContext {
        now: at(600),
        knowledge: &office.bench.knowledge,
        device: &office.bench.device,
        hostname: "pc-1",
        state: &office.bench.state,
        tickets: &office.tickets,
        recent_changes: &[],
        calendar: Calendar::default(),
    };
    let outcome = expire(&context, &["1-1".to_owned(), "7-1".to_owned()]);
    assert_eq!(outcome.tickets[0].likely_cause, None);
    assert!(outcome.tickets[0].tested[0].result.is_some());
}

#[test]
fn one_ticket_follows_the_fault_from_breach_to_recovery_and_back() {
    let mut office = Office::new([worked()]);
    office.play(60, &breach());
    office.play(120, &[typed(120, 0.99)]);
    office.play(180, &[typed(180, 0.99)]);
    assert_eq!(
        (office.tickets[0].priority.0, office.tickets[0].title.as_str()),
        (3, "Drive C: of PC-1 is 99 % full")
    );
    for minute in 4..=9 {
        office.play(minute * 60, &[typed(minute * 60, 0.421)]);
    }
    assert_eq!(
        office.tickets[0].resolution.as_deref(),
        Some("Recovered: used space 42.1 %, verified for 2 min")
    );
    office.play(700, &[typed(640, 0.95), typed(700, 0.95)]);
    assert_eq!(office.tickets.len(), 1);
    assert_eq!((office.tickets[0].state, office.tickets[0].recurrence), (TicketState::New, 1));
    assert_eq!(office.tickets[0].tested.len(), 4, "a return is tested again");
    assert_eq!(office.kinds(), ["opened", "testing", "updated", "resolved", "reopened", "testing"]);
}

#[test]
fn a_return_after_seven_days_is_a_new_ticket() {
    let mut office = Office::new([space(0, 0)]);
    office.play(0, &[used(0, 0.95)]).play(60, &[used(60, 0.1)]);
    let late = 61 + 7 * 86_400;
    office.play(late, &[used(late, 0.95)]);
    assert_eq!(
        office.tickets.iter().map(|t| t.state).collect::<Vec<_>>(),
        [TicketState::Resolved, TicketState::New]
    );
}

#[test]
fn a_fix_that_does_not_hold_reopens_the_ticket() {
    let mut office = Office::new([space(0, 60)]);
    office.play(0, &[used(0, 0.95)]);
    office.person(0, TicketInput::Resolve { by: eve(), resolution: "Cleaned up".to_owned() }, 60);
    office.play(300, &[used(300, 0.95)]);
    assert_eq!(office.tickets[0].state, TicketState::Resolved, "the fix gets a while to work");
    office.play(400, &[used(400, 0.95)]);
    assert_eq!((office.tickets[0].state, office.tickets[0].recurrence), (TicketState::New, 1));
}

#[test]
fn a_fix_that_holds_is_verified() {
    let mut office = Office::new([space(0, 60)]);
    office.play(0, &[used(0, 0.95)]);
    office.person(0, TicketInput::Resolve { by: eve(), resolution: "Cleaned up".to_owned() }, 60);
    office.play(120, &[used(61, 0.1), used(121, 0.1)]);
    assert_eq!((office.tickets[0].state, office.kinds().last()), (TicketState::Resolved, Some(&"verified")));
}

#[test]
fn an_entry_for_context_opens_nothing_and_says_so() {
    let mut rule = space(0, 0);
    rule.opens_ticket = false;
    let mut office = Office::new([rule]);
    office.play(0, &[used(0, 0.95)]);
    assert!(office.tickets.is_empty() && office.bench.state.findings.len() == 1);
    assert_eq!(office.last.suppressions[0].reason, crate::quiet::BELOW_IMPACT);
}

#[test]
fn a_breach_on_its_way_when_the_device_goes_to_sleep_is_recorded_with_its_reason() {
    let mut office = Office::new([space(900, 900)]);
    office.play(60, &[used(0, 0.95), used(60, 0.95)]);
    assert!(office.last.suppressions.is_empty(), "awake, it is only not long enough yet");
    office.play(90, &[presence(90, Presence::Asleep)]);
    let reasons: Vec<&str> = office.last.suppressions.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons, ["asleep: the hold time stands still until the device is awake"]);
    office.play(95, &[presence(95, Presence::Asleep)]);
    assert!(office.last.suppressions.is_empty(), "said twice, it is recorded once");
    assert!(office.tickets.is_empty());
}

#[test]
fn a_hidden_finding_is_recorded_with_its_reason() {
    let low = |rule: &str, kind, metric: &str| {
        entry(rule, kind, vec![level(Severity::Critical, compare(metric, Compare::Below, 1.0), 0, None, 0)])
    };
    let gateway = low("net.gateway", ComponentKind::Gateway, "gw");
    let dns = depends(low("net.dns", ComponentKind::DnsServer, "dns"), &["net.gateway"]);
    let mut office = Office::new([gateway, dns]);
    let down =
        [sample(0, "gateway/192.0.2.1", "gw", &[], 0.0), sample(1, "dns_server/192.0.2.53", "dns", &[], 0.0)];
    office.play(1, &down);
    assert_eq!(office.tickets.len(), 1);
    assert_eq!(office.last.suppressions[0].reason, "hidden by net.gateway");
}

#[test]
fn hostile_texts_cannot_forge_placeholders_or_lines() {
    let mut rule = space(0, 0);
    rule.title = "{component.id}: {attr.system.filesystem.type} {".to_owned();
    let mut office = Office::new([rule]);
    let hostile = format!("{{hostname}}\r\n{}", "x".repeat(5000));
    office.play(0, &[sample(0, "filesystem/{site}", USED, &[("system.filesystem.type", &hostile)], 0.95)]);
    let title = &office.tickets[0].title;
    assert!(title.starts_with("{site}: {hostname}  xxx"), "{title}");
    assert!(title.chars().count() <= 300 && !title.contains(['\r', '\n']));
}

#[derive(Debug, Clone)]
enum Act {
    Sample(usize, f64),
    Person(usize, u8),
    Wait(i64),
}

fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let value = prop::sample::select(vec![0.5, 0.85, 0.95, 0.99]);
    let act = prop_oneof![
        8 => (0..3usize, value).prop_map(|(drive, value)| Act::Sample(drive, value)),
        2 => (0..4usize, 0..6u8).prop_map(|(ticket, what)| Act::Person(ticket, what)),
        1 => (0..8i64).prop_map(|days| Act::Wait(days * 86_400)),
    ];
    prop::collection::vec((1..200i64, act), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_is_at_most_one_open_ticket_for_a_fault(acts in acts()) {
        let run = || {
            let mut office = Office::new([space(120, 120), KnowledgeEntry { code: code("fs.other"), ..space(0, 60) }]);
            let mut now = 0;
            for (after, act) in &acts {
                now += after;
                match act {
                    Act::Sample(drive, value) => {
                        let on = ["filesystem/C:", "filesystem/D:", "filesystem//home"][*drive];
                        office.play(now, &[sample(now, on, USED, &[], *value)]);
                    }
                    Act::Person(ticket, what) => {
                        let input = match what {
                            0 => TicketInput::Start { by: eve() },
                            1 | 2 => TicketInput::Resolve { by: eve(), resolution: "done".to_owned() },
                            3 => TicketInput::Close { by: eve() },
                            4 => TicketInput::Reopen { by: eve(), reason: "no".to_owned() },
                            _ => TicketInput::Cancel { by: eve(), reason: "no".to_owned() },
                        };
                        // A person cannot reopen beside an open ticket: the store's unique index refuses that.
                        let open = office.tickets.iter().any(|t| t.state.is_open());
                        if *ticket < office.tickets.len() && !(*what == 4 && open) {
                            office.person(*ticket, input, now);
                        }
                    }
                    Act::Wait(long) => {
                        now += long;
                        office.play(now, &[]);
                    }
                }
                for (n, one) in office.tickets.iter().enumerate() {
                    let twin = office.tickets[..n].iter().find(|other| {
                        other.state.is_open() && one.state.is_open() && other.rule == one.rule && other.component == one.component
                    });
                    assert!(twin.is_none(), "{} and {:?} are open for one fault", one.key(), twin.map(Ticket::key));
                }
            }
            (office.tickets, office.timeline)
        };
        // The same input gives the same output.
        prop_assert_eq!(run(), run());
    }
}
