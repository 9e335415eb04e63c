//! One device as it is known between two commits, and what its observations mean: the path that live traffic and
//! replay share.
//!
//! A shell owns one [`KnownDevice`] per device, gives it every observation in order of arrival, lets time pass, and
//! asks it to [`KnownDevice::decide`]. Where the observations come from (a stream, a file) and where the outcome goes
//! (a transaction, a line of output) is the shell's business; nothing else differs between the two.

use crate::desk::{self, DeskContext, DeskOutcome};
use crate::evaluate::{self, Transition};
use crate::finding::{DeviceState, Standing};
use crate::knowledge::{DeviceTraits, KnowledgeSet};
use crate::peers::Peers;
use crate::quiet::{Cause, settle};
use crate::sla::Calendar;
use crate::ticket::{self, Change, REOPEN_WITHIN, Ticket, TicketInput, TimelineEntry};
use firstline_model::{Body, Component, DiagnosticReport, Observation, RuleCode, TicketId, Timestamp, Value};
use std::collections::VecDeque;
use std::time::Duration;

/// Changes of a device that are remembered for its next ticket.
const MOST_CHANGES: usize = 50;
/// How long changes matter.
const CHANGES_MATTER: Duration = Duration::from_secs(72 * 3600);
/// A test that is not answered within this time is given up.
pub const TEST_LIMIT: Duration = Duration::from_secs(600);

/// What is known of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownDevice {
    /// Who it is, for scopes.
    pub traits: DeviceTraits,
    /// What it calls itself.
    pub hostname: String,
    /// Its facts; a map.
    pub facts: Value,
    /// What the engine remembers.
    pub state: DeviceState,
    /// Its open tickets, and those that may still be reopened.
    pub tickets: Vec<Ticket>,
    /// What changed on it lately, newest first.
    changes: VecDeque<Change>,
}

/// What observations and time brought since the last decision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct News {
    /// How findings changed, in order.
    pub transitions: Vec<Transition>,
    /// Answers of tests.
    pub reports: Vec<DiagnosticReport>,
}

impl News {
    /// Whether there is nothing to decide about.
    pub fn is_empty(&self) -> bool {
        self.transitions.is_empty() && self.reports.is_empty()
    }
}

/// What a decision changed. All of it belongs into one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decided {
    /// Tickets, timeline, effects and suppressions.
    pub outcome: DeskOutcome,
    /// Tests that were given up: nobody needs to ask for them any more.
    pub expired_requests: Vec<String>,
}

impl KnownDevice {
    /// A device of which `state` and `tickets` are remembered.
    pub fn new(
        traits: DeviceTraits,
        hostname: String,
        facts: Value,
        state: DeviceState,
        tickets: Vec<Ticket>,
    ) -> Self {
        let mut known = Self { traits, hostname, facts, state, tickets, changes: VecDeque::new() };
        known.follow_facts();
        known
    }

    /// Takes one observation in. `true` when the facts changed.
    pub fn observe(
        &mut self,
        knowledge: &KnowledgeSet,
        peers: &mut Peers,
        observation: &Observation,
        news: &mut News,
    ) -> bool {
        let beside = peers.observe(knowledge, &self.traits, &self.facts, observation);
        let (traits, state) = (&self.traits, &mut self.state);
        evaluate::observe(knowledge, traits, state, observation, beside, &mut news.transitions);
        match &observation.body {
            Body::Facts(facts) => {
                let changed = self.take_facts(facts, observation.observed_at);
                if changed {
                    peers.describes_itself(&self.traits, &self.facts);
                }
                changed
            }
            Body::Diagnostic(report) => {
                news.reports.push(report.clone());
                false
            }
            Body::Gap { .. }
            | Body::Sample { .. }
            | Body::State { .. }
            | Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Presence(_) => false,
        }
    }

    /// Lets time pass until `now`, the device's own time.
    pub fn pass_time(&mut self, knowledge: &KnowledgeSet, now: Timestamp, news: &mut News) {
        evaluate::advance(knowledge, &self.traits, &mut self.state, now, &mut news.transitions);
    }

    /// When time passing means something for the findings, by the device's clock.
    pub fn next_deadline(&self, knowledge: &KnowledgeSet) -> Option<Timestamp> {
        evaluate::next_deadline(knowledge, &self.traits, &self.state)
    }

    /// When the first unanswered test is given up or the first snoozed ticket comes back, by the collector's clock.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let tests = self.waiting_tests().map(|(_, asked_at)| asked_at.plus(TEST_LIMIT));
        tests.chain(self.tickets.iter().filter_map(|ticket| ticket.snoozed_until)).min()
    }

    /// Turns news into tickets at `now`, the collector's clock, and gives up tests that nobody answered. A ticket's
    /// version moves by one, however often it was decided about.
    pub fn decide(
        &mut self,
        knowledge: &KnowledgeSet,
        now: Timestamp,
        news: &News,
        next_id: &mut dyn FnMut() -> TicketId,
    ) -> Decided {
        self.changes.retain(|change| now.since(change.at) < CHANGES_MATTER);
        let expired: Vec<String> = self
            .waiting_tests()
            .filter(|(_, asked_at)| now.since(*asked_at) >= TEST_LIMIT)
            .map(|(id, _)| id.to_owned())
            .collect();
        let changes: Vec<Change> = self.changes.iter().cloned().collect();
        let mut decided = Decided::default();
        let outcome =
            desk::decide(&self.context(knowledge, now, &changes), &news.transitions, &news.reports, next_id);
        self.accept(outcome, &mut decided.outcome);
        let awake = desk::end_snoozes(&self.context(knowledge, now, &[]));
        self.accept(awake, &mut decided.outcome);
        if !expired.is_empty() {
            let outcome = desk::expire(&self.context(knowledge, now, &[]), &expired);
            self.accept(outcome, &mut decided.outcome);
            decided.expired_requests = expired;
        }
        decided
    }

    /// Makes one of the device's tickets a child of a shared cause's; `None` when that changes nothing.
    pub fn join_parent(
        &mut self,
        ticket: &Ticket,
        parent: TicketId,
        key: &str,
        now: Timestamp,
    ) -> Option<(Ticket, Vec<TimelineEntry>)> {
        let input = TicketInput::JoinParent { parent, key: key.to_owned() };
        let calendar = Calendar { utc_offset_minutes: 0 };
        let (after, timeline, _) = ticket::apply(ticket.clone(), input, calendar, now).ok()?;
        if after.version == ticket.version {
            return None;
        }
        self.replace(after.clone());
        Some((after, timeline))
    }

    /// The device's open ticket about this fault.
    pub fn open_ticket_of(&self, rule: &RuleCode, component: &Component) -> Option<&Ticket> {
        self.tickets.iter().find(|ticket| {
            ticket.state.is_open()
                && ticket.rule.as_ref() == Some(rule)
                && ticket.component.as_ref() == Some(component)
        })
    }

    /// How a finding stands to the same fault on other devices.
    pub fn standing(&self, rule: &RuleCode, component: &Component) -> Standing {
        let finding = self.state.findings.get(&(rule.clone(), component.clone()));
        finding.map(|finding| finding.standing).unwrap_or_default()
    }

    /// Changes how a finding that fires stands to the same fault on other devices.
    pub fn stand(&mut self, rule: &RuleCode, component: &Component, standing: Standing) {
        let finding = self.state.findings.get_mut(&(rule.clone(), component.clone()));
        if let Some(finding) = finding.filter(|finding| finding.fires()) {
            finding.standing = standing;
        }
    }

    /// A finding that was compared with other devices has nothing in common with them: what is to be decided about
    /// it now. `None` when it does not wait (any more).
    pub fn speak_for_itself(
        &mut self,
        knowledge: &KnowledgeSet,
        rule: &RuleCode,
        component: &Component,
        now: Timestamp,
    ) -> Option<Transition> {
        let finding = self.state.findings.get_mut(&(rule.clone(), component.clone()))?;
        match finding.standing {
            Standing::Waiting(_) => finding.standing = Standing::Own,
            Standing::Own | Standing::Child(_) | Standing::Member(_) => return None,
        }
        evaluate::again(knowledge, &self.traits, &mut self.state, rule, component, now)
    }

    /// Forgets tickets that can no longer change by themselves.
    pub fn forget_old_tickets(&mut self, now: Timestamp) {
        self.tickets.retain(|ticket| {
            ticket.state.is_open() || ticket.resolved_at.is_some_and(|at| now.since(at) <= REOPEN_WITHIN)
        });
    }

    fn context<'a>(
        &'a self,
        knowledge: &'a KnowledgeSet,
        now: Timestamp,
        changes: &'a [Change],
    ) -> DeskContext<'a> {
        DeskContext {
            now,
            knowledge,
            device: &self.traits,
            hostname: &self.hostname,
            state: &self.state,
            tickets: &self.tickets,
            recent_changes: changes,
            calendar: Calendar { utc_offset_minutes: 0 },
        }
    }

    /// The outcome becomes part of what is known here, and of the whole decision.
    fn accept(&mut self, outcome: DeskOutcome, into: &mut DeskOutcome) {
        let DeskOutcome { tickets, timeline, effects, suppressions } = outcome;
        for mut ticket in tickets {
            match into.tickets.iter_mut().find(|known| known.id == ticket.id) {
                Some(known) => {
                    ticket.version = known.version;
                    *known = ticket.clone();
                }
                None => into.tickets.push(ticket.clone()),
            }
            self.replace(ticket);
        }
        into.timeline.extend(timeline);
        into.effects.extend(effects);
        into.suppressions.extend(suppressions);
    }

    fn replace(&mut self, ticket: Ticket) {
        match self.tickets.iter_mut().find(|known| known.id == ticket.id) {
            Some(known) => *known = ticket,
            None => self.tickets.push(ticket),
        }
    }

    fn waiting_tests(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let tickets = self.tickets.iter().filter(|ticket| ticket.state.is_open());
        tickets
            .flat_map(|ticket| &ticket.tested)
            .filter(|tested| tested.result.is_none())
            .map(|tested| (tested.request_id.as_str(), tested.asked_at))
    }

    /// New facts are laid over the known ones; what differs is a change worth a line in the next ticket.
    fn take_facts(&mut self, facts: &Value, at: Timestamp) -> bool {
        let Value::Map(new) = facts else { return false };
        let Value::Map(known) = &mut self.facts else { return false };
        let mut changes = Vec::new();
        for (name, value) in new {
            match (known.get_mut(name), value) {
                // Drivers and programs are told apart by name; those that are not mentioned stay.
                (Some(Value::Map(parts)), Value::Map(newer)) => {
                    for (part, version) in newer {
                        // That more is known of a printer is no change of it.
                        if name != "printers" {
                            note_change(part, parts.get(part), version, &mut changes);
                        }
                        parts.insert(part.clone(), version.clone());
                    }
                }
                (before, value) => {
                    note_change(name, before.as_deref(), value, &mut changes);
                    let is_other = before.is_some_and(|before| before != value);
                    if let Some(cause) = Cause::of_fact(name).filter(|_| is_other) {
                        settle::begin(&mut self.state, cause, at);
                    }
                    known.insert(name.clone(), value.clone());
                }
            }
        }
        for what in changes {
            self.changes.push_front(Change { at, what });
        }
        self.changes.truncate(MOST_CHANGES);
        self.follow_facts();
        true
    }

    /// What follows from the facts. The site does not: in live traffic it comes from enrollment, not from the device.
    fn follow_facts(&mut self) {
        if let Some(hostname) = self.facts.get("hostname").and_then(Value::as_text) {
            self.hostname = hostname.to_owned();
        }
        if let Some(class) = self.facts.get("device_class").and_then(Value::as_text) {
            self.traits.device_class = Some(class.to_owned());
        }
    }
}

fn note_change(name: &str, before: Option<&Value>, after: &Value, changes: &mut Vec<String>) {
    if let (Some(Value::Text(before)), Value::Text(after)) = (before, after)
        && before != after
    {
        changes.push(format!("{name} changed from {before} to {after}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, device, observed_facts, space, used};
    use crate::ticket::TicketState;

    fn known() -> KnownDevice {
        let facts = Value::map::<&'static str>([]);
        KnownDevice::new(device(), "pc-1".to_owned(), facts, DeviceState::default(), Vec::new())
    }

    #[test]
    fn a_driver_that_changed_stands_in_the_next_ticket() {
        let knowledge = KnowledgeSet::new([space(0, 60)], Vec::new());
        let mut known = known();
        let mut news = News::default();
        let drivers = |version: &str| {
            Value::map([("drivers", Value::map([("e1000e", Value::from(version)), ("nvme", "1".into())]))])
        };
        known.observe(&knowledge, &mut Peers::default(), &observed_facts(0, drivers("3.1")), &mut news);
        known.observe(&knowledge, &mut Peers::default(), &observed_facts(10, drivers("3.2")), &mut news);
        known.observe(&knowledge, &mut Peers::default(), &used(20, 0.95), &mut news);
        let decided = known.decide(&knowledge, at(20), &news, &mut || TicketId(1));
        let changes: Vec<&str> =
            decided.outcome.tickets[0].changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(changes, ["e1000e changed from 3.1 to 3.2"]);
    }

    #[test]
    fn a_snoozed_ticket_wakes_nobody_until_its_moment_and_comes_back_by_itself() {
        let knowledge = KnowledgeSet::new([space(0, 60)], Vec::new());
        let mut known = known();
        let play = |known: &mut KnownDevice, t: i64, value: f64| {
            let mut news = News::default();
            known.observe(&knowledge, &mut Peers::default(), &used(t, value), &mut news);
            known.decide(&knowledge, at(t), &news, &mut || TicketId(1)).outcome
        };
        play(&mut known, 0, 0.95);
        let by = ticket::Actor::Person("eve".to_owned());
        let input = TicketInput::Snooze { by, until: at(3600) };
        let calendar = Calendar { utc_offset_minutes: 0 };
        known.tickets[0] = ticket::apply(known.tickets[0].clone(), input, calendar, at(60)).unwrap().0;
        assert_eq!((known.tickets[0].state, known.next_expiry()), (TicketState::OnHold, Some(at(3600))));
        // It gets worse: recorded with its reason, and the ticket sleeps on.
        let worse = play(&mut known, 120, 0.99);
        assert_eq!(worse.suppressions[0].reason, "snoozed: INC-000001");
        assert_eq!(worse.suppressions[0].until, Some(at(3600)));
        assert_eq!(known.tickets[0].state, TicketState::OnHold);
        play(&mut known, 3599, 0.99);
        assert_eq!(known.tickets[0].state, TicketState::OnHold);
        let woken = known.decide(&knowledge, at(3600), &News::default(), &mut || TicketId(2)).outcome;
        assert_eq!(woken.tickets.len(), 1);
        assert_eq!((known.tickets[0].state, known.tickets[0].snoozed_until), (TicketState::New, None));
        assert_eq!(known.next_expiry(), None);
    }

    #[test]
    fn a_snoozed_ticket_whose_fault_is_over_is_resolved_in_its_sleep() {
        let knowledge = KnowledgeSet::new([space(0, 0)], Vec::new());
        let mut known = known();
        for (t, value) in [(0, 0.95), (60, 0.1)] {
            let mut news = News::default();
            known.observe(&knowledge, &mut Peers::default(), &used(t, value), &mut news);
            known.decide(&knowledge, at(t), &news, &mut || TicketId(1));
            if t == 0 {
                let by = ticket::Actor::Person("eve".to_owned());
                let input = TicketInput::Snooze { by, until: at(3600) };
                let calendar = Calendar { utc_offset_minutes: 0 };
                known.tickets[0] =
                    ticket::apply(known.tickets[0].clone(), input, calendar, at(30)).unwrap().0;
            }
        }
        assert_eq!((known.tickets[0].state, known.tickets[0].snoozed_until), (TicketState::Resolved, None));
    }

    #[test]
    fn a_device_cannot_move_itself_to_another_site() {
        let mut known = known();
        let facts = Value::map([("site", Value::from("bergen")), ("device_class", Value::from("laptop"))]);
        known.observe(
            &KnowledgeSet::default(),
            &mut Peers::default(),
            &observed_facts(0, facts),
            &mut News::default(),
        );
        assert_eq!(known.traits.site.as_deref(), Some("oslo"));
        assert_eq!(known.traits.device_class.as_deref(), Some("laptop"));
    }
}
