//! What can be done to a ticket, and what becomes of it. Every state answers every input: with a new ticket, or with
//! the reason why not.

use super::open::{ask, no_answer, urgency};
use super::{
    Actor, Change, Effect, Evidence, OnHoldReason, Pause, Priority, Refused, TestResult, Ticket, TicketState,
    TimelineEntry,
};
use crate::present;
use crate::sla::{self, Calendar};
use firstline_model::{DiagnosticReport, DiagnosticRequest, Severity, TicketId, Timestamp};
use std::time::Duration;

/// A fault that returns within this time of being resolved reopens its ticket; later it is a new one.
pub const REOPEN_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// A ticket cannot be snoozed for longer.
pub const LONGEST_SNOOZE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Evidence of an incident that escalates and returns for months stays readable.
const MAX_EVIDENCE: usize = 200;

/// Something that happens to a ticket.
#[derive(Debug, Clone, PartialEq)]
pub enum TicketInput {
    /// Its finding fires (again). Reopens a resolved ticket; an open one stays as it is.
    FindingFired {
        /// How bad it is.
        severity: Severity,
        /// What was measured.
        evidence: Vec<Evidence>,
        /// What to test.
        tests: Vec<DiagnosticRequest>,
        /// What changed on the device shortly before.
        changes: Vec<Change>,
    },
    /// Its finding reached a worse level.
    FindingEscalated {
        /// The new severity.
        severity: Severity,
        /// What was measured.
        evidence: Vec<Evidence>,
    },
    /// Its finding began to recover. Changes nothing: only verified recovery does.
    FindingRecovering,
    /// Its finding stopped recovering. Changes nothing.
    FindingRelapsed,
    /// Its finding is over, verified.
    FindingCleared {
        /// What is back to normal, for a person: "used space 42 %".
        value: String,
        /// For how long it was verified.
        verified: Duration,
    },
    /// A test that the ticket asked for was answered.
    TestFinished(DiagnosticReport),
    /// A test that the ticket asked for was not answered in time.
    TestExpired {
        /// Its id.
        request_id: String,
    },
    /// Somebody, or nobody, is given the ticket.
    Assign {
        /// Who does it.
        by: Actor,
        /// To whom; `None` takes it back into the queue.
        assignee: Option<String>,
        /// To which group; `None` leaves the group as it is.
        group: Option<String>,
    },
    /// Somebody begins to work on it.
    Start {
        /// Who.
        by: Actor,
    },
    /// It has to wait.
    Hold {
        /// Who says so.
        by: Actor,
        /// For what.
        reason: OnHoldReason,
    },
    /// It has to wait until a moment, and nobody is to be told of it until then.
    Snooze {
        /// Who says so.
        by: Actor,
        /// Until when, at most [`LONGEST_SNOOZE`] from now.
        until: Timestamp,
    },
    /// The moment that it was to wait for has come.
    SnoozeOver,
    /// It does not wait any more.
    Resume {
        /// Who says so.
        by: Actor,
    },
    /// It is fixed.
    Resolve {
        /// Who says so.
        by: Actor,
        /// How.
        resolution: String,
    },
    /// It is not fixed after all.
    Reopen {
        /// Who says so.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// It is over.
    Close {
        /// Who says so.
        by: Actor,
    },
    /// It was a mistake.
    Cancel {
        /// Who says so.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// Something else that its fault does to the device, which would be a ticket if it did not explain it.
    EffectSeen(Evidence),
    /// It turned out to be an effect of another fault of the device.
    Explained {
        /// The cause's ticket ...
        by: TicketId,
        /// ... and its key, for the timeline.
        key: String,
    },
    /// It belongs to a shared cause.
    JoinParent {
        /// The shared cause's ticket ...
        parent: TicketId,
        /// ... and its key, for the timeline.
        key: String,
    },
    /// A note for the timeline.
    Note {
        /// Who writes.
        by: Actor,
        /// What.
        text: String,
    },
    /// It goes to another tier.
    Escalate {
        /// Who says so.
        by: Actor,
        /// 1 to 3.
        tier: u8,
    },
}

/// What comes of an input: the ticket, the new lines of its timeline, and what has to happen.
pub type Applied = (Ticket, Vec<TimelineEntry>, Vec<Effect>);

/// Applies one input at `now`, the collector's clock. A changed ticket has the next version; one that the input does
/// not concern comes back as it was, without a line.
pub fn apply(
    mut ticket: Ticket,
    input: TicketInput,
    calendar: Calendar,
    now: Timestamp,
) -> Result<Applied, Refused> {
    let before = ticket.clone();
    let mut timeline = Vec::new();
    let mut effects = Vec::new();
    let mut step =
        Step { ticket: &mut ticket, calendar, now, timeline: &mut timeline, effects: &mut effects };
    step.take(input)?;
    if ticket != before || !timeline.is_empty() {
        ticket.version = before.version.saturating_add(1);
        ticket.updated_at = now.max(before.updated_at);
    }
    Ok((ticket, timeline, effects))
}

struct Step<'a> {
    ticket: &'a mut Ticket,
    calendar: Calendar,
    now: Timestamp,
    timeline: &'a mut Vec<TimelineEntry>,
    effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, input: TicketInput) -> Result<(), Refused> {
        match input {
            TicketInput::FindingFired { severity, evidence, tests, changes } => {
                self.fired(severity, evidence, tests, changes)
            }
            TicketInput::FindingEscalated { severity, evidence } => {
                if self.ticket.state.is_open() && severity > self.ticket.severity {
                    self.worse(severity, evidence);
                }
                Ok(())
            }
            TicketInput::FindingRecovering | TicketInput::FindingRelapsed => Ok(()),
            TicketInput::FindingCleared { value, verified } => {
                self.cleared(&value, verified);
                Ok(())
            }
            TicketInput::TestFinished(report) => self.tested(report),
            TicketInput::TestExpired { request_id } => self.expired(&request_id),
            TicketInput::Assign { by, assignee, group } => self.assign(by, assignee, group),
            TicketInput::Start { by } => self.start(by),
            TicketInput::Hold { by, reason } => self.hold(by, reason),
            TicketInput::Snooze { by, until } => self.snooze(by, until),
            TicketInput::SnoozeOver => {
                let is_over = self.ticket.snoozed_until.is_some_and(|until| until <= self.now);
                if is_over { self.resume(Actor::Firstline) } else { Ok(()) }
            }
            TicketInput::Resume { by } => self.resume(by),
            TicketInput::Resolve { by, resolution } => self.resolve_by(by, &resolution),
            TicketInput::Reopen { by, reason } => self.reopen_by(by, &reason),
            TicketInput::Close { by } => self.close(by),
            TicketInput::Cancel { by, reason } => self.cancel(by, &reason),
            TicketInput::EffectSeen(evidence) => {
                self.effect(evidence);
                Ok(())
            }
            TicketInput::Explained { by, key } => {
                if self.ticket.state.is_open() && self.ticket.parent.is_none() && by != self.ticket.id {
                    self.ticket.parent = Some(by);
                    self.line(Actor::Firstline, "updated", format!("An effect of {key}"));
                }
                Ok(())
            }
            TicketInput::JoinParent { parent, key } => {
                if self.ticket.parent != Some(parent) && parent != self.ticket.id {
                    self.ticket.parent = Some(parent);
                    self.line(Actor::Firstline, "updated", format!("Part of a shared cause: {key}"));
                }
                Ok(())
            }
            TicketInput::Note { by, text } => {
                let text = self.text(&text, "a text for the note")?;
                self.line(by, "note", text);
                Ok(())
            }
            TicketInput::Escalate { by, tier } => self.escalate(by, tier),
        }
    }

    fn fired(
        &mut self,
        severity: Severity,
        evidence: Vec<Evidence>,
        tests: Vec<DiagnosticRequest>,
        changes: Vec<Change>,
    ) -> Result<(), Refused> {
        match self.ticket.state {
            TicketState::New | TicketState::Assigned | TicketState::InProgress | TicketState::OnHold => {
                if severity > self.ticket.severity {
                    self.worse(severity, evidence);
                }
                Ok(())
            }
            TicketState::Resolved | TicketState::Closed => {
                self.may_reopen()?;
                self.reopen();
                self.ticket.recurrence = self.ticket.recurrence.saturating_add(1);
                self.ticket.changes = changes;
                self.add_evidence(evidence);
                self.grade(severity);
                let count = self.ticket.recurrence;
                self.line(Actor::Firstline, "reopened", format!("The fault came back (recurrence {count})"));
                let asked = ask(self.ticket, tests, self.now, self.timeline);
                self.effects.extend(asked);
                Ok(())
            }
            TicketState::Cancelled => Err(self.refuse("a cancelled ticket stays cancelled, open a new one")),
        }
    }

    /// Each effect stands in the ticket once, however often it comes and goes.
    fn effect(&mut self, evidence: Evidence) {
        let is_known = self.ticket.evidence.iter().any(|line| line.label == evidence.label);
        if self.ticket.state.is_open() && !is_known && self.ticket.evidence.len() < MAX_EVIDENCE {
            let text = format!("{}: {}", evidence.label, evidence.value);
            self.line(Actor::Firstline, "updated", text);
            self.ticket.evidence.push(evidence);
        }
    }

    fn worse(&mut self, severity: Severity, evidence: Vec<Evidence>) {
        let from = self.ticket.severity;
        self.add_evidence(evidence);
        self.grade(severity);
        let text = format!("Severity rose from {from} to {severity}; now P{}", self.ticket.priority.0);
        self.line(Actor::Firstline, "updated", text);
    }

    fn cleared(&mut self, value: &str, verified: Duration) {
        let verified = present::duration(verified);
        let value = present::clean(value, 200);
        match self.ticket.state {
            TicketState::New | TicketState::Assigned | TicketState::InProgress | TicketState::OnHold => {
                let resolution = format!("Recovered: {value}, verified for {verified}");
                self.resolve(resolution.clone());
                self.line(Actor::Firstline, "resolved", resolution);
            }
            TicketState::Resolved => {
                self.line(Actor::Firstline, "verified", format!("Fix verified: {value}, for {verified}"));
            }
            TicketState::Closed | TicketState::Cancelled => {}
        }
    }

    fn tested(&mut self, report: DiagnosticReport) -> Result<(), Refused> {
        let Some(test) = self.ticket.tested.iter_mut().find(|test| test.request_id == report.request_id)
        else {
            return Err(Refused::UnknownTest { key: self.ticket.key(), request_id: report.request_id });
        };
        // The first answer counts; a second delivery of the same report is no news. A late answer replaces the note
        // that none came.
        if test.result.as_ref().is_some_and(|known| *known != no_answer(known.finished_at)) {
            return Ok(());
        }
        let summary = present::clean(&report.summary, 500);
        let text = format!("{}: {summary}", test.diagnostic);
        test.result = Some(TestResult {
            outcome: report.outcome,
            summary,
            facts: report.facts,
            finished_at: report.finished_at,
        });
        self.line(Actor::Firstline, "tested", text);
        Ok(())
    }

    fn expired(&mut self, request_id: &str) -> Result<(), Refused> {
        let now = self.now;
        let Some(test) = self.ticket.tested.iter_mut().find(|test| test.request_id == request_id) else {
            return Err(Refused::UnknownTest { key: self.ticket.key(), request_id: request_id.to_owned() });
        };
        if test.result.is_none() {
            test.result = Some(no_answer(now));
            let text = format!("{}: the device did not answer in time", test.diagnostic);
            self.line(Actor::Firstline, "tested", text);
        }
        Ok(())
    }

    fn assign(&mut self, by: Actor, assignee: Option<String>, group: Option<String>) -> Result<(), Refused> {
        if !self.ticket.state.is_open() {
            return Err(self.refuse("reopen it before assigning it"));
        }
        let assignee = assignee.map(|name| present::clean(&name, 200)).filter(|name| !name.is_empty());
        if let Some(group) = group {
            self.ticket.group = Some(present::clean(&group, 200)).filter(|name| !name.is_empty());
        }
        match (self.ticket.state, assignee.is_some()) {
            (TicketState::New, true) => self.ticket.state = TicketState::Assigned,
            (TicketState::Assigned | TicketState::InProgress, false) => self.ticket.state = TicketState::New,
            (TicketState::New, false)
            | (TicketState::Assigned | TicketState::InProgress, true)
            | (
                TicketState::OnHold | TicketState::Resolved | TicketState::Closed | TicketState::Cancelled,
                _,
            ) => {}
        }
        let text = match (&assignee, &self.ticket.group) {
            (Some(name), Some(group)) => format!("Assigned to {name} ({group})"),
            (Some(name), None) => format!("Assigned to {name}"),
            (None, Some(group)) => format!("Assigned to nobody, in the queue of {group}"),
            (None, None) => "Assigned to nobody".to_owned(),
        };
        if assignee.is_some() {
            self.responded();
        }
        self.ticket.assignee = assignee;
        self.line(by, "assigned", text);
        Ok(())
    }

    fn start(&mut self, by: Actor) -> Result<(), Refused> {
        match self.ticket.state {
            TicketState::New | TicketState::Assigned => {}
            TicketState::InProgress => return Err(self.refuse("work on it has begun already")),
            TicketState::OnHold => return Err(self.refuse("resume it instead")),
            TicketState::Resolved | TicketState::Closed | TicketState::Cancelled => {
                return Err(self.refuse("reopen it before working on it"));
            }
        }
        if let (None, Actor::Person(name)) = (&self.ticket.assignee, &by) {
            self.ticket.assignee = Some(name.clone());
        }
        self.ticket.state = TicketState::InProgress;
        self.responded();
        self.line(by, "state", "Work began".to_owned());
        Ok(())
    }

    fn hold(&mut self, by: Actor, reason: OnHoldReason) -> Result<(), Refused> {
        if reason == OnHoldReason::Snoozed {
            return Err(self.refuse("say until when it is snoozed"));
        }
        match self.ticket.state {
            TicketState::New | TicketState::Assigned | TicketState::InProgress => {
                self.ticket.pauses.push(Pause { from: self.now, until: None });
            }
            TicketState::OnHold if self.ticket.on_hold == Some(reason) => {
                return Err(self.refuse("it waits for that already"));
            }
            TicketState::OnHold => {}
            TicketState::Resolved | TicketState::Closed | TicketState::Cancelled => {
                return Err(self.refuse("only open tickets can wait"));
            }
        }
        self.ticket.state = TicketState::OnHold;
        self.ticket.on_hold = Some(reason);
        self.ticket.snoozed_until = None;
        self.line(by, "state", format!("On hold: {}", reason.as_str().replace('_', " ")));
        Ok(())
    }

    fn snooze(&mut self, by: Actor, until: Timestamp) -> Result<(), Refused> {
        if until <= self.now || until.since(self.now) > LONGEST_SNOOZE {
            return Err(self.refuse("snooze it until a moment within the next 90 days"));
        }
        match self.ticket.state {
            TicketState::New | TicketState::Assigned | TicketState::InProgress => {
                self.ticket.pauses.push(Pause { from: self.now, until: None });
            }
            TicketState::OnHold => {}
            TicketState::Resolved | TicketState::Closed | TicketState::Cancelled => {
                return Err(self.refuse("only open tickets can be snoozed"));
            }
        }
        self.ticket.state = TicketState::OnHold;
        self.ticket.on_hold = Some(OnHoldReason::Snoozed);
        self.ticket.snoozed_until = Some(until);
        self.line(by, "state", format!("Snoozed until {until}"));
        Ok(())
    }

    fn resume(&mut self, by: Actor) -> Result<(), Refused> {
        match self.ticket.state {
            TicketState::OnHold => {}
            TicketState::New
            | TicketState::Assigned
            | TicketState::InProgress
            | TicketState::Resolved
            | TicketState::Closed
            | TicketState::Cancelled => return Err(self.refuse("only a ticket on hold can be resumed")),
        }
        self.end_pause();
        self.ticket.state =
            if self.ticket.assignee.is_some() { TicketState::InProgress } else { TicketState::New };
        self.recompute();
        self.line(by, "state", "Resumed".to_owned());
        Ok(())
    }

    fn resolve_by(&mut self, by: Actor, resolution: &str) -> Result<(), Refused> {
        if !self.ticket.state.is_open() {
            return Err(self.refuse("only open tickets can be resolved"));
        }
        let resolution = self.text(resolution, "a resolution")?;
        self.responded();
        self.resolve(resolution.clone());
        self.line(by, "resolved", resolution);
        Ok(())
    }

    fn reopen_by(&mut self, by: Actor, reason: &str) -> Result<(), Refused> {
        match self.ticket.state {
            TicketState::Resolved | TicketState::Closed => {}
            TicketState::New | TicketState::Assigned | TicketState::InProgress | TicketState::OnHold => {
                return Err(self.refuse("it is open already"));
            }
            TicketState::Cancelled => {
                return Err(self.refuse("a cancelled ticket stays cancelled, open a new one"));
            }
        }
        self.may_reopen()?;
        let reason = self.text(reason, "a reason")?;
        self.reopen();
        self.line(by, "reopened", reason);
        Ok(())
    }

    fn close(&mut self, by: Actor) -> Result<(), Refused> {
        match self.ticket.state {
            TicketState::Resolved => {
                self.ticket.state = TicketState::Closed;
                self.line(by, "closed", "Closed".to_owned());
                Ok(())
            }
            TicketState::New
            | TicketState::Assigned
            | TicketState::InProgress
            | TicketState::OnHold
            | TicketState::Closed
            | TicketState::Cancelled => Err(self.refuse("only resolved tickets can be closed")),
        }
    }

    fn cancel(&mut self, by: Actor, reason: &str) -> Result<(), Refused> {
        if !self.ticket.state.is_open() {
            return Err(self.refuse("only open tickets can be cancelled"));
        }
        let reason = self.text(reason, "a reason")?;
        self.end_pause();
        self.ticket.state = TicketState::Cancelled;
        self.line(by, "cancelled", reason);
        Ok(())
    }

    fn escalate(&mut self, by: Actor, tier: u8) -> Result<(), Refused> {
        if !self.ticket.state.is_open() {
            return Err(self.refuse("only open tickets can be escalated"));
        }
        if !(1..=3).contains(&tier) || tier == self.ticket.tier {
            return Err(Refused::Tier { key: self.ticket.key(), tier });
        }
        let from = std::mem::replace(&mut self.ticket.tier, tier);
        self.line(by, "escalated", format!("From tier {from} to tier {tier}"));
        Ok(())
    }

    fn resolve(&mut self, resolution: String) {
        self.end_pause();
        self.recompute();
        self.ticket.state = TicketState::Resolved;
        self.ticket.resolved_at = Some(self.now);
        self.ticket.resolution = Some(resolution);
    }

    fn may_reopen(&self) -> Result<(), Refused> {
        match self.ticket.resolved_at {
            Some(at) if self.now.since(at) <= REOPEN_WITHIN => Ok(()),
            Some(_) | None => Err(Refused::TooOld { key: self.ticket.key() }),
        }
    }

    fn reopen(&mut self) {
        if let Some(from) = self.ticket.resolved_at.take() {
            self.ticket.pauses.push(Pause { from, until: Some(self.now) });
        }
        self.ticket.resolution = None;
        self.ticket.state =
            if self.ticket.assignee.is_some() { TicketState::Assigned } else { TicketState::New };
        self.recompute();
    }

    /// A worse severity raises the priority; a milder one never lowers it silently.
    fn grade(&mut self, severity: Severity) {
        self.ticket.severity = self.ticket.severity.max(severity);
        self.ticket.urgency = urgency(self.ticket.severity);
        self.ticket.priority = Priority::of(self.ticket.impact, self.ticket.urgency);
        self.recompute();
    }

    fn recompute(&mut self) {
        let ticket = &mut *self.ticket;
        let due = sla::due(ticket.opened_at, ticket.priority, &ticket.pauses, self.calendar);
        // What was promised while somebody responded in time stays as it was.
        if ticket.responded_at.is_none() {
            ticket.response_due = Some(due.response);
        }
        ticket.resolution_due = Some(due.resolution);
    }

    fn end_pause(&mut self) {
        self.ticket.on_hold = None;
        self.ticket.snoozed_until = None;
        if let Some(pause) = self.ticket.pauses.last_mut()
            && pause.until.is_none()
        {
            pause.until = Some(self.now);
        }
    }

    fn responded(&mut self) {
        self.ticket.responded_at = self.ticket.responded_at.or(Some(self.now));
    }

    fn add_evidence(&mut self, evidence: Vec<Evidence>) {
        self.ticket.evidence.extend(evidence);
        self.ticket.evidence.truncate(MAX_EVIDENCE);
    }

    fn text(&self, text: &str, what: &'static str) -> Result<String, Refused> {
        let text = present::clean_lines(text, 4000);
        if text.is_empty() { Err(Refused::Empty { key: self.ticket.key(), what }) } else { Ok(text) }
    }

    fn refuse(&self, advice: &'static str) -> Refused {
        Refused::State { key: self.ticket.key(), state: self.ticket.state, advice }
    }

    fn line(&mut self, actor: Actor, kind: &'static str, text: String) {
        self.timeline.push(TimelineEntry { ticket: self.ticket.id, at: self.now, actor, kind, text });
    }
}
