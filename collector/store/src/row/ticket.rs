//! Tickets as they are stored.

use super::value::StoredValue;
use super::{Shape, known, millis, time};
use firstline_collector_core::ticket::{
    Change, Evidence, OnHoldReason, Pause, Priority, RuledOut, TestResult, Tested, Ticket, TicketKind,
    TicketState,
};
use firstline_model::{DeviceId, DiagnosticOutcome, Invalid, RuleCode, TicketId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// See [`Ticket`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredTicket {
    id: u64,
    kind: String,
    state: String,
    on_hold: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snoozed_until: Option<i64>,
    device: Option<String>,
    rule: Option<String>,
    component: Option<String>,
    site: Option<String>,
    impact: u8,
    urgency: u8,
    priority: u8,
    severity: String,
    title: String,
    summary: String,
    technical: String,
    opened_at: i64,
    first_observed_at: i64,
    updated_at: i64,
    resolved_at: Option<i64>,
    resolution: Option<String>,
    responded_at: Option<i64>,
    pauses: Vec<(i64, Option<i64>)>,
    response_due: Option<i64>,
    resolution_due: Option<i64>,
    assignee: Option<String>,
    group: Option<String>,
    tier: u8,
    parent: Option<u64>,
    evidence: Vec<StoredEvidence>,
    tested: Vec<StoredTested>,
    ruled_out: Vec<StoredRuledOut>,
    likely_cause: Option<String>,
    steps: Vec<String>,
    article: Option<(String, Option<String>)>,
    changes: Vec<StoredChange>,
    recurrence: u32,
    version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredEvidence {
    label: String,
    value: String,
    metric: String,
    observed_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredTested {
    request_id: String,
    diagnostic: String,
    subject: String,
    asked_at: i64,
    result: Option<StoredResult>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredResult {
    outcome: String,
    summary: String,
    facts: StoredValue,
    finished_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRuledOut {
    cause: String,
    because: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredChange {
    at: i64,
    what: String,
}

impl Shape for StoredTicket {
    type Model = Ticket;

    fn of(model: &Ticket) -> Self {
        Self {
            id: model.id.0,
            kind: model.kind.as_str().to_owned(),
            state: model.state.as_str().to_owned(),
            on_hold: model.on_hold.map(|reason| reason.as_str().to_owned()),
            snoozed_until: millis(model.snoozed_until),
            device: model.device.as_ref().map(ToString::to_string),
            rule: model.rule.as_ref().map(ToString::to_string),
            component: model.component.as_ref().map(ToString::to_string),
            site: model.site.clone(),
            impact: model.impact,
            urgency: model.urgency,
            priority: model.priority.0,
            severity: model.severity.to_string(),
            title: model.title.clone(),
            summary: model.summary.clone(),
            technical: model.technical.clone(),
            opened_at: model.opened_at.as_millis(),
            first_observed_at: model.first_observed_at.as_millis(),
            updated_at: model.updated_at.as_millis(),
            resolved_at: millis(model.resolved_at),
            resolution: model.resolution.clone(),
            responded_at: millis(model.responded_at),
            pauses: model.pauses.iter().map(|pause| (pause.from.as_millis(), millis(pause.until))).collect(),
            response_due: millis(model.response_due),
            resolution_due: millis(model.resolution_due),
            assignee: model.assignee.clone(),
            group: model.group.clone(),
            tier: model.tier,
            parent: model.parent.map(|id| id.0),
            evidence: model.evidence.iter().map(StoredEvidence::of).collect(),
            tested: model.tested.iter().map(StoredTested::of).collect(),
            ruled_out: model.ruled_out.iter().map(StoredRuledOut::of).collect(),
            likely_cause: model.likely_cause.clone(),
            steps: model.steps.clone(),
            article: model.article.clone(),
            changes: model.changes.iter().map(StoredChange::of).collect(),
            recurrence: model.recurrence,
            version: model.version,
        }
    }

    fn into_model(self) -> Result<Ticket, Invalid> {
        Ok(Ticket {
            id: TicketId(self.id),
            kind: known("ticket kind", &self.kind, TicketKind::from_text(&self.kind))?,
            state: known("ticket state", &self.state, TicketState::from_text(&self.state))?,
            snoozed_until: time(self.snoozed_until),
            on_hold: self
                .on_hold
                .map(|text| known("on hold reason", &text, OnHoldReason::from_text(&text)))
                .transpose()?,
            device: self.device.map(DeviceId::new).transpose()?,
            rule: self.rule.map(RuleCode::new).transpose()?,
            component: self.component.map(|text| text.parse()).transpose()?,
            site: self.site,
            impact: self.impact,
            urgency: self.urgency,
            priority: Priority(self.priority),
            severity: self.severity.parse()?,
            title: self.title,
            summary: self.summary,
            technical: self.technical,
            opened_at: Timestamp::from_millis(self.opened_at),
            first_observed_at: Timestamp::from_millis(self.first_observed_at),
            updated_at: Timestamp::from_millis(self.updated_at),
            resolved_at: time(self.resolved_at),
            resolution: self.resolution,
            responded_at: time(self.responded_at),
            pauses: self
                .pauses
                .into_iter()
                .map(|(from, until)| Pause { from: Timestamp::from_millis(from), until: time(until) })
                .collect(),
            response_due: time(self.response_due),
            resolution_due: time(self.resolution_due),
            assignee: self.assignee,
            group: self.group,
            tier: self.tier,
            parent: self.parent.map(TicketId),
            evidence: self.evidence.into_iter().map(StoredEvidence::into_model).collect(),
            tested: self.tested.into_iter().map(StoredTested::into_model).collect::<Result<_, _>>()?,
            ruled_out: self.ruled_out.into_iter().map(StoredRuledOut::into_model).collect(),
            likely_cause: self.likely_cause,
            steps: self.steps,
            article: self.article,
            changes: self.changes.into_iter().map(StoredChange::into_model).collect(),
            recurrence: self.recurrence,
            version: self.version,
        })
    }
}

impl StoredEvidence {
    fn of(model: &Evidence) -> Self {
        Self {
            label: model.label.clone(),
            value: model.value.clone(),
            metric: model.metric.clone(),
            observed_at: model.observed_at.as_millis(),
        }
    }

    fn into_model(self) -> Evidence {
        Evidence {
            label: self.label,
            value: self.value,
            metric: self.metric,
            observed_at: Timestamp::from_millis(self.observed_at),
        }
    }
}

impl StoredTested {
    fn of(model: &Tested) -> Self {
        Self {
            request_id: model.request_id.clone(),
            diagnostic: model.diagnostic.clone(),
            subject: model.subject.clone(),
            asked_at: model.asked_at.as_millis(),
            result: model.result.as_ref().map(|result| StoredResult {
                outcome: result.outcome.as_str().to_owned(),
                summary: result.summary.clone(),
                facts: StoredValue::of(&result.facts),
                finished_at: result.finished_at.as_millis(),
            }),
        }
    }

    fn into_model(self) -> Result<Tested, Invalid> {
        Ok(Tested {
            request_id: self.request_id,
            diagnostic: self.diagnostic,
            subject: self.subject,
            asked_at: Timestamp::from_millis(self.asked_at),
            result: self.result.map(StoredResult::into_model).transpose()?,
        })
    }
}

impl StoredResult {
    fn into_model(self) -> Result<TestResult, Invalid> {
        let outcomes = [DiagnosticOutcome::Ok, DiagnosticOutcome::Problem, DiagnosticOutcome::CouldNotTell];
        let outcome = outcomes.into_iter().find(|outcome| outcome.as_str() == self.outcome);
        Ok(TestResult {
            outcome: known("outcome", &self.outcome, outcome)?,
            summary: self.summary,
            facts: self.facts.into_model()?,
            finished_at: Timestamp::from_millis(self.finished_at),
        })
    }
}

impl StoredRuledOut {
    fn of(model: &RuledOut) -> Self {
        Self { cause: model.cause.clone(), because: model.because.clone() }
    }

    fn into_model(self) -> RuledOut {
        RuledOut { cause: self.cause, because: self.because }
    }
}

impl StoredChange {
    fn of(model: &Change) -> Self {
        Self { at: model.at.as_millis(), what: model.what.clone() }
    }

    fn into_model(self) -> Change {
        Change { at: Timestamp::from_millis(self.at), what: self.what }
    }
}

/// The kind of a timeline line as the static text that the model wants. Kinds are words of our own code; one that
/// only an older or newer version knows is kept once for the life of the process, and there can be only so many.
pub(crate) fn timeline_kind(text: &str) -> Result<&'static str, Invalid> {
    const MOST: usize = 256;
    static KINDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kind) = kinds.get(text) {
        return Ok(kind);
    }
    if kinds.len() >= MOST || text.len() > 64 {
        return Err(Invalid::new(
            "timeline kind",
            format!("{:?} is not one of ours", text.get(..64).unwrap_or(text)),
        ));
    }
    let kind: &'static str = Box::leak(text.to_owned().into_boxed_str());
    kinds.insert(kind);
    Ok(kind)
}
