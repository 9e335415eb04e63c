//! What one device's batch, or time passing, means: pure judgement by the core, gathered into a plan for the store.

use firstline_collector_core::desk::{self, DeskContext, DeskOutcome};
use firstline_collector_core::evaluate::{self, Transition};
use firstline_collector_core::finding::Finding;
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::sla::Calendar;
use firstline_collector_core::ticket::{Change, Ticket};
use firstline_collector_store::plan::{DevicePlan, NewMark, NewRecord};
use firstline_collector_store::record::{AuditEntry, DeviceSnapshot, LatestContent, LatestValue};
use firstline_model::{
    Attributes, Body, Component, DeviceId, DiagnosticReport, Epoch, Observation, RuleCode, SequenceNumber,
    TicketId, Timestamp, Value, semconv,
};
use firstline_proto::convert::decode_record;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Changes of a device that are remembered for its next ticket.
const MOST_CHANGES: usize = 50;
/// How long changes matter.
const CHANGES_MATTER: Duration = Duration::from_secs(72 * 3600);
/// A test that is not answered within this time is given up.
pub(crate) const TEST_LIMIT: Duration = Duration::from_secs(600);

/// A device in memory: what the store holds of it, and what is only worth knowing while the process lives.
pub(crate) struct Live {
    pub snapshot: DeviceSnapshot,
    traits: DeviceTraits,
    /// How far the device's clock is ahead of the collector's, in milliseconds.
    ahead_ms: i64,
    changes: VecDeque<Change>,
}

/// A batch as the worker has it.
pub(crate) struct Incoming {
    pub epoch: Epoch,
    pub first: SequenceNumber,
    pub through: SequenceNumber,
    pub records: Vec<Vec<u8>>,
    pub received_at: Timestamp,
    pub sent_at: Timestamp,
}

/// A plan in the making.
pub(crate) struct Draft {
    pub plan: DevicePlan,
    latest: BTreeMap<(Component, String, Attributes), LatestValue>,
    findings_before: BTreeMap<(RuleCode, Component), Finding>,
    transitions: Vec<Transition>,
    reports: Vec<DiagnosticReport>,
    state_changed: bool,
    /// How many observations were taken in.
    pub observations: u64,
}

impl Live {
    /// Takes over what the store holds.
    pub(crate) fn new(snapshot: DeviceSnapshot) -> Self {
        let traits = DeviceTraits {
            device: snapshot.device.id.clone(),
            site: snapshot.device.site.clone(),
            tags: snapshot.device.tags.clone(),
            device_class: None,
        };
        Self { snapshot, traits, ahead_ms: 0, changes: VecDeque::new() }
    }

    /// The device's name.
    pub(crate) fn id(&self) -> &DeviceId {
        &self.snapshot.device.id
    }

    /// Begins a plan.
    pub(crate) fn draft(&self) -> Draft {
        Draft {
            plan: DevicePlan::unchanged(self.id().clone()),
            latest: BTreeMap::new(),
            findings_before: self.snapshot.state.findings.clone(),
            transitions: Vec::new(),
            reports: Vec::new(),
            state_changed: false,
            observations: 0,
        }
    }

    /// Takes a batch in. What is known already (a stream that was lost brings it again) is left out.
    pub(crate) fn take_batch(&mut self, knowledge: &KnowledgeSet, batch: &Incoming, draft: &mut Draft) {
        let mark = self.snapshot.marks.iter().find(|(epoch, _)| *epoch == batch.epoch).map(|(_, mark)| *mark);
        let known = mark.unwrap_or(SequenceNumber(0));
        draft.plan.seen_at = draft.plan.seen_at.max(Some(batch.received_at));
        if batch.through <= known {
            return;
        }
        self.ahead_ms = batch.sent_at.as_millis() - batch.received_at.as_millis();
        let mut seq = batch.first;
        for payload in &batch.records {
            if seq > known && !payload.is_empty() {
                match decode_record(payload) {
                    Ok(observations) => {
                        for mut observation in observations {
                            // Nothing is seen after it was sent; a clock that says so would make what follows look old.
                            observation.observed_at = observation.observed_at.min(batch.sent_at);
                            self.take(knowledge, observation, batch.received_at, draft);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(device = %self.id(), %seq, error = %error, "a record cannot be read; it is kept as it came");
                        draft.plan.audit.push(AuditEntry {
                            at: batch.received_at,
                            actor: format!("device:{}", self.id()),
                            action: "record.unreadable".to_owned(),
                            subject: format!("{}/{seq}", batch.epoch),
                            detail: error.to_string(),
                        });
                    }
                }
                draft.plan.records.push(NewRecord {
                    epoch: batch.epoch,
                    seq,
                    received_at: batch.received_at,
                    payload: payload.clone(),
                });
            }
            seq = seq.next();
        }
        self.move_mark(batch.epoch, mark, batch.through, draft);
    }

    fn move_mark(
        &mut self,
        epoch: Epoch,
        before: Option<SequenceNumber>,
        through: SequenceNumber,
        draft: &mut Draft,
    ) {
        match draft.plan.marks.iter_mut().find(|mark| mark.epoch == epoch) {
            Some(mark) => mark.through = through,
            None => draft.plan.marks.push(NewMark { epoch, before, through }),
        }
        match self.snapshot.marks.iter_mut().find(|(known, _)| *known == epoch) {
            Some((_, mark)) => *mark = through,
            None => self.snapshot.marks.push((epoch, through)),
        }
    }

    fn take(
        &mut self,
        knowledge: &KnowledgeSet,
        observation: Observation,
        received_at: Timestamp,
        draft: &mut Draft,
    ) {
        draft.observations += 1;
        let state = &mut self.snapshot.state;
        evaluate::observe(knowledge, &self.traits, state, &observation, &mut draft.transitions);
        draft.state_changed = true;
        if let Some(latest) = latest_of(&observation) {
            let key = (latest.component.clone(), latest.name.clone(), latest.series.clone());
            draft.latest.insert(key, latest);
        }
        match observation.body {
            Body::Facts(facts) => self.take_facts(facts, observation.observed_at, draft),
            Body::Diagnostic(report) => {
                draft.plan.finished_requests.push(report.request_id.clone());
                draft.reports.push(report);
            }
            Body::Gap { epoch, first, last, reason } => draft.plan.audit.push(AuditEntry {
                at: received_at,
                actor: format!("device:{}", self.id()),
                action: "record.gap".to_owned(),
                subject: format!("{epoch}/{first}-{last}"),
                detail: format!("{} records were given up: {reason}", last.saturating_sub(first) + 1),
            }),
            Body::Sample { .. }
            | Body::State { .. }
            | Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Presence(_) => {}
        }
    }

    /// New facts are laid over the known ones; what differs is a change worth a line in the next ticket.
    fn take_facts(&mut self, facts: Value, at: Timestamp, draft: &mut Draft) {
        let Value::Map(new) = facts else { return };
        let Value::Map(known) = &mut self.snapshot.device.facts else { return };
        for (name, value) in new {
            if let Some(before) = known.get(&name)
                && *before != value
                && let (Some(before), Some(after)) = (before.as_text(), value.as_text())
            {
                self.changes
                    .push_front(Change { at, what: format!("{name} changed from {before} to {after}") });
                self.changes.truncate(MOST_CHANGES);
            }
            known.insert(name, value);
        }
        if let Some(hostname) = known.get("hostname").and_then(Value::as_text) {
            self.snapshot.device.hostname = hostname.to_owned();
        }
        draft.plan.facts = Some(self.snapshot.device.facts.clone());
    }

    /// Lets time pass.
    pub(crate) fn pass_time(&mut self, knowledge: &KnowledgeSet, now: Timestamp, draft: &mut Draft) {
        let device_now = Timestamp::from_millis(now.as_millis() + self.ahead_ms);
        let before = draft.transitions.len();
        evaluate::advance(
            knowledge,
            &self.traits,
            &mut self.snapshot.state,
            device_now,
            &mut draft.transitions,
        );
        draft.state_changed |= draft.transitions.len() > before;
    }

    /// When time passing means something next, by the collector's clock.
    pub(crate) fn deadline(&self, knowledge: &KnowledgeSet) -> Option<Timestamp> {
        let findings = evaluate::next_deadline(knowledge, &self.traits, &self.snapshot.state)
            .map(|at| Timestamp::from_millis(at.as_millis() - self.ahead_ms));
        let tests = self.waiting_tests().map(|(_, asked_at)| asked_at.plus(TEST_LIMIT)).min();
        [findings, tests].into_iter().flatten().min()
    }

    fn waiting_tests(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let tickets = self.snapshot.tickets.iter().filter(|ticket| ticket.state.is_open());
        tickets
            .flat_map(|ticket| &ticket.tested)
            .filter(|tested| tested.result.is_none())
            .map(|tested| (tested.request_id.as_str(), tested.asked_at))
    }

    /// Turns transitions and reports into tickets, and gives tests up that nobody answered.
    pub(crate) fn decide(
        &mut self,
        knowledge: &KnowledgeSet,
        now: Timestamp,
        next_id: &mut dyn FnMut() -> TicketId,
        draft: &mut Draft,
    ) {
        self.changes.retain(|change| now.since(change.at) < CHANGES_MATTER);
        let expired: Vec<String> = self
            .waiting_tests()
            .filter(|(_, asked_at)| now.since(*asked_at) >= TEST_LIMIT)
            .map(|(id, _)| id.to_owned())
            .collect();
        let outcome = {
            let changes: Vec<Change> = self.changes.iter().cloned().collect();
            let context = self.context(knowledge, now, &changes);
            desk::decide(&context, &draft.transitions, &draft.reports, next_id)
        };
        self.accept(outcome, draft);
        if !expired.is_empty() {
            let outcome = {
                let context = self.context(knowledge, now, &[]);
                desk::expire(&context, &expired)
            };
            self.accept(outcome, draft);
            draft.plan.finished_requests.extend(expired);
        }
        for (key, finding) in &self.snapshot.state.findings {
            if draft.findings_before.get(key) != Some(finding) {
                draft.plan.findings.push(finding.clone());
            }
        }
        draft.transitions.clear();
        draft.reports.clear();
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
            hostname: &self.snapshot.device.hostname,
            state: &self.snapshot.state,
            tickets: &self.snapshot.tickets,
            recent_changes: changes,
            calendar: Calendar { utc_offset_minutes: 0 },
        }
    }

    /// The outcome becomes part of the plan, and of what is known here.
    fn accept(&mut self, outcome: DeskOutcome, draft: &mut Draft) {
        let DeskOutcome { tickets, timeline, effects, suppressions: _ } = outcome;
        for ticket in tickets {
            replace(&mut self.snapshot.tickets, &ticket);
            // One transaction moves a ticket's version by one, however often it was decided about.
            match draft.plan.tickets.iter_mut().find(|known| known.id == ticket.id) {
                Some(known) => {
                    let version = known.version;
                    *known = Ticket { version, ..ticket };
                    replace(&mut self.snapshot.tickets, known);
                }
                None => draft.plan.tickets.push(ticket),
            }
        }
        draft.plan.timeline.extend(timeline);
        draft.plan.effects.extend(effects);
    }

    /// Finishes the plan.
    pub(crate) fn finish(&mut self, now: Timestamp, mut draft: Draft) -> DevicePlan {
        if draft.state_changed {
            draft.plan.state = Some(self.snapshot.state.clone());
        }
        draft.plan.latest = draft.latest.into_values().collect();
        let reopenable = |ticket: &Ticket| {
            ticket.state.is_open()
                || ticket
                    .resolved_at
                    .is_some_and(|at| now.since(at) <= firstline_collector_core::ticket::REOPEN_WITHIN)
        };
        self.snapshot.tickets.retain(reopenable);
        draft.plan
    }
}

fn replace(tickets: &mut Vec<Ticket>, ticket: &Ticket) {
    match tickets.iter_mut().find(|known| known.id == ticket.id) {
        Some(known) => *known = ticket.clone(),
        None => tickets.push(ticket.clone()),
    }
}

fn latest_of(observation: &Observation) -> Option<LatestValue> {
    let (name, series, content) = match &observation.body {
        Body::Sample { metric, attributes, value } => (
            metric.to_string(),
            attributes
                .iter()
                .filter(|(name, _)| !semconv::STATE_ATTRIBUTES.contains(name))
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            LatestContent::Sample { value: *value, attributes: attributes.clone() },
        ),
        Body::State { name, document } => {
            (name.to_string(), Attributes::none(), LatestContent::State(document.clone()))
        }
        Body::Unavailable { what, reason, detail } => (
            what.to_string(),
            Attributes::none(),
            LatestContent::Unavailable { reason: *reason, detail: detail.clone() },
        ),
        // The newest answer of each test stands on the device's page, also when no ticket asked for it.
        Body::Diagnostic(report) => (
            format!("diagnostic {}", report.name),
            Attributes::none().with("subject", report.subject.as_str()),
            LatestContent::State(Value::map([
                ("request_id", Value::from(report.request_id.as_str())),
                ("outcome", Value::from(report.outcome.as_str())),
                ("summary", Value::from(report.summary.as_str())),
                ("facts", report.facts.clone()),
            ])),
        ),
        Body::Event { .. } | Body::Presence(_) | Body::Facts(_) | Body::Gap { .. } => return None,
    };
    Some(LatestValue {
        component: observation.component.clone(),
        name,
        series,
        observed_at: observation.observed_at,
        content,
    })
}
