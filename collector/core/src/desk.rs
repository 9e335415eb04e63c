//! What the findings and test results of one device mean for its tickets.
//!
//! The shell calls [`decide`] with everything that one commit brought, and saves the whole outcome in that commit.
//! There is at most one open ticket per device, rule and component.

mod effects;
mod evidence;
mod words;

pub(crate) use words::filled;

use crate::diagnosis::diagnose;
use crate::evaluate::{Moment, Transition, TransitionKind};
use crate::finding::{DeviceState, Finding, Phase};
use crate::knowledge::{DeviceTraits, KnowledgeEntry, KnowledgeSet};
use crate::present;
use crate::quiet::BELOW_IMPACT;
use crate::sla::Calendar;
use crate::ticket::{
    self, Actor, Change, Effect, Opening, REOPEN_WITHIN, RuledOut, Ticket, TicketInput, TicketKind,
    TicketState, TimelineEntry,
};
use firstline_model::{Component, DiagnosticReport, DiagnosticRequest, RuleCode, TicketId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use words::Subject;

/// After a person resolved a ticket, the check that failed must have been seen failing for so long before the ticket
/// reopens; an entry's longer clear time counts instead.
const WATCH_THE_FIX: Duration = Duration::from_secs(300);

/// Everything that the desk looks at.
#[derive(Debug, Clone, Copy)]
pub struct DeskContext<'a> {
    /// The collector's clock.
    pub now: Timestamp,
    /// The rules in force.
    pub knowledge: &'a KnowledgeSet,
    /// The device.
    pub device: &'a DeviceTraits,
    /// What the device calls itself.
    pub hostname: &'a str,
    /// What is remembered of the device, after the observations.
    pub state: &'a DeviceState,
    /// The device's tickets: those that are open, and those resolved within [`REOPEN_WITHIN`]. Others do no harm.
    pub tickets: &'a [Ticket],
    /// What changed on the device lately, newest first.
    pub recent_changes: &'a [Change],
    /// Business hours of the device's site.
    pub calendar: Calendar,
}

/// What the desk decided. All of it belongs into one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeskOutcome {
    /// New and changed tickets, complete. A changed one has the version after that of the context's, however many
    /// things happened to it; a new one has version 1.
    pub tickets: Vec<Ticket>,
    /// New lines of their timelines, in order.
    pub timeline: Vec<TimelineEntry>,
    /// What has to be done in the world.
    pub effects: Vec<Effect>,
    /// Findings that opened nothing, and why.
    pub suppressions: Vec<Suppression>,
}

/// A finding without a ticket, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The rule.
    pub rule: RuleCode,
    /// The component.
    pub component: Component,
    /// When it would have opened one, by the device's clock.
    pub at: Timestamp,
    /// Why it did not: `hidden by net.gateway`.
    pub reason: String,
    /// When it is looked at again, where that is known.
    pub until: Option<Timestamp>,
}

/// Decides what becomes of the device's tickets.
///
/// `transitions` are those of [`crate::evaluate::observe`] and [`crate::evaluate::advance`], in order; `reports` are
/// the answers to diagnostics that tickets asked for (others are ignored); `next_id` gives a new ticket its number.
pub fn decide(
    context: &DeskContext<'_>,
    transitions: &[Transition],
    reports: &[DiagnosticReport],
    next_id: &mut dyn FnMut() -> TicketId,
) -> DeskOutcome {
    let mut desk = Desk { context, changed: BTreeMap::new(), outcome: DeskOutcome::default() };
    for transition in transitions {
        desk.transition(transition, next_id);
    }
    for report in reports {
        desk.answered(report);
    }
    desk.watch_fixes();
    desk.finish()
}

/// Gives up on tests that were not answered in time.
pub fn expire(context: &DeskContext<'_>, request_ids: &[String]) -> DeskOutcome {
    let mut desk = Desk { context, changed: BTreeMap::new(), outcome: DeskOutcome::default() };
    for request_id in request_ids {
        if let Some(ticket) = desk.ticket_that_asked(request_id) {
            desk.apply(ticket, TicketInput::TestExpired { request_id: request_id.clone() });
        }
    }
    desk.finish()
}

/// Brings tickets back whose snooze is over.
pub fn end_snoozes(context: &DeskContext<'_>) -> DeskOutcome {
    let mut desk = Desk { context, changed: BTreeMap::new(), outcome: DeskOutcome::default() };
    for ticket in context.tickets {
        if ticket.snoozed_until.is_some_and(|until| until <= context.now) {
            desk.apply(ticket.clone(), TicketInput::SnoozeOver);
        }
    }
    desk.finish()
}

struct Desk<'a> {
    context: &'a DeskContext<'a>,
    /// Tickets that are new or changed.
    changed: BTreeMap<TicketId, Ticket>,
    outcome: DeskOutcome,
}

impl Desk<'_> {
    fn transition(&mut self, transition: &Transition, next_id: &mut dyn FnMut() -> TicketId) {
        let context = self.context;
        let ticket = self.ticket_of(&transition.rule, &transition.component);
        let entry = context.knowledge.entry_for(&transition.rule, context.device);
        match &transition.kind {
            TransitionKind::Suppressed { reason } => {
                if entry.is_some_and(|entry| entry.opens_ticket) {
                    let finding = (transition.rule.clone(), transition.component.clone());
                    let until = context.state.findings.get(&finding).and_then(|finding| finding.held_until);
                    self.outcome.suppressions.push(Suppression {
                        rule: finding.0,
                        component: finding.1,
                        at: transition.at,
                        reason: reason.clone(),
                        until,
                    });
                    self.join_cause(&transition.rule, &transition.component);
                }
            }
            TransitionKind::Fired => {
                let Some(entry) = entry else { return };
                if !entry.opens_ticket {
                    self.outcome.suppressions.push(Suppression {
                        rule: transition.rule.clone(),
                        component: transition.component.clone(),
                        at: transition.at,
                        reason: BELOW_IMPACT.to_owned(),
                        until: None,
                    });
                    return;
                }
                match ticket {
                    Some(ticket) => {
                        self.note_snoozed(&ticket, transition);
                        self.fired_again(ticket, entry, &Subject::of_transition(context, transition))
                    }
                    None => self.open(entry, &Subject::of_transition(context, transition), next_id()),
                }
            }
            TransitionKind::Escalated => {
                let (Some(ticket), Some(entry)) = (ticket, entry) else { return };
                self.note_snoozed(&ticket, transition);
                let subject = Subject::of_transition(context, transition);
                if ticket.state.is_open() {
                    let evidence = evidence::at_breach(context, entry, &subject);
                    let input = TicketInput::FindingEscalated { severity: transition.severity, evidence };
                    if let Some(mut ticket) = self.apply(ticket, input) {
                        words::fill(&mut ticket, entry, &subject);
                        self.changed.insert(ticket.id, ticket);
                    }
                } else {
                    // It was called fixed and got worse.
                    self.fired_again(ticket, entry, &subject);
                }
            }
            TransitionKind::Relapsed => {
                let (Some(ticket), Some(entry)) = (ticket, entry) else { return };
                self.note_snoozed(&ticket, transition);
                if ticket.state.is_open() {
                    self.apply(ticket, TicketInput::FindingRelapsed);
                } else {
                    self.fired_again(ticket, entry, &Subject::of_transition(context, transition));
                }
            }
            TransitionKind::Recovering => {
                if let Some(ticket) = ticket {
                    self.apply(ticket, TicketInput::FindingRecovering);
                }
            }
            TransitionKind::Cleared => {
                let Some(ticket) = ticket else { return };
                let value = match transition.value {
                    Some(value) => {
                        let state = present::state(&transition.attributes).filter(|_| value == 1.0);
                        let shown =
                            state.map_or_else(|| present::value(&transition.metric, value), str::to_owned);
                        format!("{} {shown}", present::label(&transition.metric))
                    }
                    None => "the check passes again".to_owned(),
                };
                let verified = entry.map_or(Duration::ZERO, |entry| clear_hold(entry, transition));
                self.apply(ticket, TicketInput::FindingCleared { value, verified });
            }
            TransitionKind::Pending | TransitionKind::Lapsed | TransitionKind::Unsuppressed => {}
        }
    }

    /// A breach whose ticket sleeps wakes nobody.
    fn note_snoozed(&mut self, ticket: &Ticket, transition: &Transition) {
        if let Some(until) = ticket.snoozed_until {
            self.outcome.suppressions.push(Suppression {
                rule: transition.rule.clone(),
                component: transition.component.clone(),
                at: transition.at,
                reason: format!("snoozed: {}", ticket.key()),
                until: Some(until),
            });
        }
    }

    fn open(&mut self, entry: &KnowledgeEntry, subject: &Subject<'_>, id: TicketId) {
        let context = self.context;
        let opening = Opening {
            id,
            kind: TicketKind::Incident,
            by: Actor::Firstline,
            device: Some(context.device.device.clone()),
            rule: Some(entry.code.clone()),
            component: Some(subject.component.clone()),
            site: context.device.site.clone(),
            impact: entry.impact,
            severity: subject.severity,
            title: words::title(entry, subject),
            summary: String::new(),
            technical: String::new(),
            first_observed_at: subject.since,
            evidence: evidence::at_breach(context, entry, subject),
            tests: tests(entry, subject.component),
            steps: Vec::new(),
            article: entry.article.as_ref().map(|article| (article.title.clone(), article.url.clone())),
            changes: context.recent_changes.to_vec(),
        };
        let (mut ticket, timeline, effects) = ticket::open(opening, context.calendar, context.now);
        words::fill(&mut ticket, entry, subject);
        self.outcome.timeline.extend(timeline);
        self.outcome.effects.extend(effects);
        self.weigh(&mut ticket, entry);
        self.changed.insert(ticket.id, ticket.clone());
        self.gather_effects(&ticket, entry);
    }

    fn fired_again(&mut self, ticket: Ticket, entry: &KnowledgeEntry, subject: &Subject<'_>) {
        let input = TicketInput::FindingFired {
            severity: subject.severity,
            evidence: evidence::at_breach(self.context, entry, subject),
            tests: tests(entry, subject.component),
            changes: self.context.recent_changes.to_vec(),
        };
        let version = ticket.version;
        if let Some(mut ticket) = self.apply(ticket, input)
            && ticket.version != version
        {
            words::fill(&mut ticket, entry, subject);
            self.weigh(&mut ticket, entry);
            self.changed.insert(ticket.id, ticket.clone());
            self.gather_effects(&ticket, entry);
        }
    }

    fn answered(&mut self, report: &DiagnosticReport) {
        if let Some(ticket) = self.ticket_that_asked(&report.request_id) {
            self.apply(ticket, TicketInput::TestFinished(report.clone()));
        }
    }

    /// A ticket that a person called fixed reopens when its check is still seen failing a while later.
    fn watch_fixes(&mut self) {
        let context = self.context;
        let resolved: Vec<Ticket> = context
            .tickets
            .iter()
            .filter(|t| t.state == TicketState::Resolved && t.device.is_some())
            .cloned()
            .collect();
        for ticket in resolved {
            if self.changed.contains_key(&ticket.id) {
                continue;
            }
            let (Some(rule), Some(component), Some(resolved_at)) =
                (&ticket.rule, &ticket.component, ticket.resolved_at)
            else {
                continue;
            };
            let Some(finding) = context.state.findings.get(&(rule.clone(), component.clone())) else {
                continue;
            };
            let Some(entry) = context.knowledge.entry_for(rule, context.device) else { continue };
            let due = resolved_at.plus(WATCH_THE_FIX.max(clear_hold_of(entry, finding)));
            let seen = evidence::newest_look(context, entry, component).is_some_and(|at| at >= due);
            let newest = self.ticket_of(rule, component).is_some_and(|newest| newest.id == ticket.id);
            if finding.phase == Phase::Firing
                && finding.suppressed.is_none()
                && !finding.standing.is_silent()
                && seen
                && newest
                && entry.opens_ticket
            {
                self.fired_again(ticket.clone(), entry, &Subject::of_finding(context, finding));
            }
        }
    }

    /// Applies an input and keeps what comes of it; `None` when it was refused or changed nothing.
    fn apply(&mut self, ticket: Ticket, input: TicketInput) -> Option<Ticket> {
        let (key, version) = (ticket.key(), ticket.version);
        let is_test = matches!(input, TicketInput::TestFinished(_) | TicketInput::TestExpired { .. });
        match ticket::apply(ticket, input, self.context.calendar, self.context.now) {
            Ok((mut ticket, timeline, effects)) => {
                if ticket.version == version {
                    return None;
                }
                self.outcome.timeline.extend(timeline);
                self.outcome.effects.extend(effects);
                if is_test {
                    self.learn(&mut ticket);
                }
                self.changed.insert(ticket.id, ticket.clone());
                Some(ticket)
            }
            Err(refused) => {
                tracing::warn!(ticket = key, error = %refused, "a finding's change does not apply to its ticket");
                None
            }
        }
    }

    /// Takes a new test result into the causes and the texts.
    fn learn(&mut self, ticket: &mut Ticket) {
        let context = self.context;
        let (Some(rule), Some(component)) = (ticket.rule.clone(), ticket.component.clone()) else { return };
        let Some(entry) = context.knowledge.entry_for(&rule, context.device) else { return };
        self.weigh(ticket, entry);
        if let Some(finding) = context.state.findings.get(&(rule, component)) {
            words::fill_facts(ticket, entry, &Subject::of_finding(context, finding));
        }
    }

    /// Weighs the causes anew and says so when the likely one changed.
    fn weigh(&mut self, ticket: &mut Ticket, entry: &KnowledgeEntry) {
        let context = self.context;
        let finding = ticket
            .component
            .as_ref()
            .and_then(|component| context.state.findings.get(&(entry.code.clone(), component.clone())));
        let Some(finding) = finding else { return };
        let subject = Subject::of_finding(context, finding);
        let moment = Moment { state: context.state, component: subject.component, at: subject.at };
        let diagnosis = diagnose(entry, &ticket.tested, moment);
        let tested = ticket.tested.clone();
        let fill = |text: &str| words::render(text, &subject, &tested);
        ticket.ruled_out = diagnosis
            .ruled_out
            .iter()
            .map(|out| RuledOut { cause: fill(&out.cause), because: fill(&out.because) })
            .collect();
        let likely = diagnosis.likely_cause.as_deref().map(fill);
        if likely != ticket.likely_cause {
            if let Some(likely) = &likely {
                self.outcome.timeline.push(TimelineEntry {
                    ticket: ticket.id,
                    at: context.now,
                    actor: Actor::Firstline,
                    kind: "diagnosed",
                    text: format!("Likely cause: {likely}"),
                });
            }
            ticket.likely_cause = likely;
        }
    }

    /// The ticket that a finding belongs to: the open one, else the newest that may still be reopened.
    fn ticket_of(&self, rule: &RuleCode, component: &Component) -> Option<Ticket> {
        let own = self.tickets_of_device().filter(|ticket| {
            ticket.rule.as_ref() == Some(rule) && ticket.component.as_ref() == Some(component)
        });
        let usable = own.filter(|ticket| match ticket.state {
            TicketState::New | TicketState::Assigned | TicketState::InProgress | TicketState::OnHold => true,
            TicketState::Resolved | TicketState::Closed => {
                ticket.resolved_at.is_some_and(|at| self.context.now.since(at) <= REOPEN_WITHIN)
            }
            TicketState::Cancelled => false,
        });
        usable.max_by_key(|ticket| (ticket.state.is_open(), ticket.resolved_at, ticket.id)).cloned()
    }

    /// The device's tickets as they are by now.
    fn tickets_of_device(&self) -> impl Iterator<Item = &Ticket> {
        let unchanged = self.context.tickets.iter().filter(|ticket| !self.changed.contains_key(&ticket.id));
        let all = unchanged.chain(self.changed.values());
        all.filter(|ticket| ticket.device.as_ref() == Some(&self.context.device.device))
    }

    fn ticket_that_asked(&self, request_id: &str) -> Option<Ticket> {
        if request_id.is_empty() {
            return None;
        }
        self.tickets_of_device()
            .find(|ticket| ticket.tested.iter().any(|test| test.request_id == request_id))
            .cloned()
    }

    fn finish(mut self) -> DeskOutcome {
        for (id, mut ticket) in self.changed {
            let before = self.context.tickets.iter().find(|ticket| ticket.id == id);
            ticket.version = before.map_or(1, |before| before.version.saturating_add(1));
            self.outcome.tickets.push(ticket);
        }
        self.outcome
    }
}

fn tests(entry: &KnowledgeEntry, component: &Component) -> Vec<DiagnosticRequest> {
    let subject = |is_component: bool| if is_component { component.id() } else { "" };
    entry
        .tests
        .iter()
        .filter_map(|test| DiagnosticRequest::from_name(&test.diagnostic, subject(test.subject_is_component)))
        // What came before the breach, at full resolution, belongs to every worked ticket.
        .chain(
            (!entry.tests.is_empty())
                .then(|| DiagnosticRequest::Recorder { component: component.to_string() }),
        )
        .collect()
}

fn clear_hold(entry: &KnowledgeEntry, transition: &Transition) -> Duration {
    let levels = &entry.detection.levels;
    let level = levels.iter().rfind(|level| level.severity == transition.severity).or_else(|| levels.last());
    level.map_or(Duration::ZERO, |level| level.clear_hold)
}

fn clear_hold_of(entry: &KnowledgeEntry, finding: &Finding) -> Duration {
    let levels = &entry.detection.levels;
    let level = levels.iter().rfind(|level| level.severity == finding.severity).or_else(|| levels.last());
    level.map_or(Duration::ZERO, |level| level.clear_hold)
}

#[cfg(test)]
mod tests;
