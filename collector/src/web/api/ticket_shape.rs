//! The JSON of a ticket and its timeline.

use super::shapes::{ComponentJson, DeviceRef, json};
use crate::web::context::Site;
use crate::web::failure::Failure;
use firstline_collector_core::ticket::{
    Actor, Change, Evidence, RuledOut, Tested, Ticket, TicketKind, TicketState, TimelineEntry,
};
use firstline_collector_store::record::{Page, TicketFilter};
use firstline_model::{Component, ComponentKind, DeviceId, Timestamp};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::HashMap;
use utoipa::ToSchema;

/// A ticket with everything that has been worked out. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct TicketJson {
    id: u64,
    #[schema(example = "INC-000017")]
    key: String,
    /// `incident`, `problem` or `request`.
    kind: String,
    /// `new`, `assigned`, `in_progress`, `on_hold`, `resolved`, `closed` or `cancelled`.
    state: String,
    /// What an on-hold ticket waits for.
    on_hold_reason: Option<String>,
    /// When it comes back by itself, while it is snoozed.
    snoozed_until: Option<String>,
    #[schema(example = "P2")]
    priority: String,
    /// 1 (widest) to 3.
    impact: u8,
    /// 1 (most urgent) to 3.
    urgency: u8,
    severity: String,
    title: String,
    /// The check id of the rule that opened it; null for a request.
    rule: Option<String>,
    /// Null for a shared cause.
    device: Option<DeviceRef>,
    component: Option<ComponentJson>,
    site: Option<String>,
    opened_at: String,
    first_observed_at: String,
    updated_at: String,
    responded_at: Option<String>,
    resolved_at: Option<String>,
    resolution: Option<String>,
    sla: SlaJson,
    assignee: Option<String>,
    group: Option<String>,
    tier: u8,
    /// The number of the shared cause's ticket.
    parent: Option<u64>,
    /// The numbers of the tickets that this one is the shared cause of.
    children: Vec<u64>,
    /// What this shared cause does now to devices that have no ticket of their own because of it.
    affected: Vec<AffectedJson>,
    /// What it means, for the person at the machine.
    summary: String,
    /// What it means, for a technician.
    technical: String,
    evidence: Vec<EvidenceJson>,
    tested: Vec<TestedJson>,
    ruled_out: Vec<RuledOutJson>,
    likely_cause: Option<String>,
    steps: Vec<String>,
    article: Option<ArticleJson>,
    changes: Vec<ChangeJson>,
    recurrence: u32,
    /// Copies in other systems.
    mirrors: Vec<MirrorJson>,
    /// Counts every change.
    version: u64,
}

/// A device that a shared cause affects.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct AffectedJson {
    pub(in crate::web) device: DeviceRef,
    /// The check that fails there; `agent.silent` for one that is not heard.
    pub(in crate::web) rule: String,
    pub(in crate::web) component: ComponentJson,
}

/// Until when what must have happened.
#[derive(Debug, Serialize, ToSchema)]
struct SlaJson {
    response_due: Option<String>,
    resolution_due: Option<String>,
    /// Whether a due time passed before what it asks for.
    breached: bool,
}

/// What was measured at the moment of breach.
#[derive(Debug, Serialize, ToSchema)]
struct EvidenceJson {
    label: String,
    value: String,
    metric: String,
    observed_at: String,
}

/// What was tested at breach.
#[derive(Debug, Serialize, ToSchema)]
struct TestedJson {
    request_id: String,
    diagnostic: String,
    subject: String,
    asked_at: String,
    /// `ok`, `problem` or `could_not_tell`; null while it runs.
    outcome: Option<String>,
    summary: Option<String>,
    #[schema(value_type = Object)]
    facts: Option<Json>,
    finished_at: Option<String>,
}

/// What cannot be the cause.
#[derive(Debug, Serialize, ToSchema)]
struct RuledOutJson {
    cause: String,
    because: String,
}

/// Where to read more.
#[derive(Debug, Serialize, ToSchema)]
struct ArticleJson {
    title: String,
    url: Option<String>,
}

/// What changed shortly before.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeJson {
    at: String,
    what: String,
}

/// A copy in another system.
#[derive(Debug, Serialize, ToSchema)]
struct MirrorJson {
    system: String,
    key: String,
    url: Option<String>,
}

/// One line of a ticket's history.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct TimelineJson {
    at: String,
    /// A user name, or `firstline`.
    actor: String,
    /// `opened`, `updated`, `tested`, `resolved`, `reopened`, `note`, `state`, ...
    kind: String,
    text: String,
}

impl From<&TimelineEntry> for TimelineJson {
    fn from(entry: &TimelineEntry) -> Self {
        Self {
            at: entry.at.to_string(),
            actor: actor(&entry.actor).to_owned(),
            kind: entry.kind.to_owned(),
            text: entry.text.clone(),
        }
    }
}

/// Who did something, as text.
pub(in crate::web) fn actor(actor: &Actor) -> &str {
    match actor {
        Actor::Firstline => "firstline",
        Actor::Person(name) => name,
    }
}

/// Whether a due time passed before what it asks for happened. On hold the clock stands: what was not late when the
/// ticket was put on hold is not late now. What was cancelled is over.
pub(in crate::web) fn is_breached(ticket: &Ticket, now: Timestamp) -> bool {
    let clock = match ticket.state {
        TicketState::OnHold => ticket.pauses.last().map_or(now, |pause| pause.from),
        TicketState::Cancelled => ticket.updated_at,
        TicketState::New
        | TicketState::Assigned
        | TicketState::InProgress
        | TicketState::Resolved
        | TicketState::Closed => now,
    };
    let late =
        |due: Option<Timestamp>, done: Option<Timestamp>| due.is_some_and(|due| done.unwrap_or(clock) > due);
    late(ticket.response_due, ticket.responded_at.or(ticket.resolved_at))
        || late(ticket.resolution_due, ticket.resolved_at)
}

/// Hostnames of devices, each looked up once.
#[derive(Default)]
pub(in crate::web) struct Hostnames(HashMap<DeviceId, String>);

impl Hostnames {
    /// The device's hostname, or its id when it is gone.
    pub(in crate::web) async fn of(&mut self, web: &Site, id: &DeviceId) -> Result<String, Failure> {
        if let Some(known) = self.0.get(id) {
            return Ok(known.clone());
        }
        let hostname = web.store().device(id).await?.map_or_else(|| id.to_string(), |device| device.hostname);
        self.0.insert(id.clone(), hostname.clone());
        Ok(hostname)
    }
}

/// The tickets of a shared cause, the most urgent ones first. There are never more than fit on a page.
pub(in crate::web) async fn children(web: &Site, ticket: &Ticket) -> Result<Vec<Ticket>, Failure> {
    if ticket.kind != TicketKind::Problem {
        return Ok(Vec::new());
    }
    let filter = TicketFilter { parent: Some(ticket.id), ..TicketFilter::default() };
    Ok(web.store().tickets(&filter, &Page::first(Page::MAX_LIMIT)).await?.rows)
}

/// The devices that a shared cause affects now without tickets of their own, in the order of their names.
pub(in crate::web) async fn affected(
    web: &Site,
    names: &mut Hostnames,
    ticket: &Ticket,
) -> Result<Vec<AffectedJson>, Failure> {
    if ticket.kind != TicketKind::Problem {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for one in web.store().members(ticket.id).await? {
        found.push(AffectedJson {
            device: DeviceRef { id: one.device.to_string(), hostname: one.hostname },
            rule: one.finding.rule.to_string(),
            component: ComponentJson::from(&one.finding.component),
        });
    }
    for device in web.store().shared_cause(ticket.id).await?.map(|cause| cause.silent).unwrap_or_default() {
        let hostname = names.of(web, &device).await?;
        found.push(AffectedJson {
            device: DeviceRef { id: device.to_string(), hostname },
            rule: "agent.silent".to_owned(),
            component: ComponentJson::from(&Component::only(ComponentKind::Agent)),
        });
    }
    found.sort_by(|a, b| {
        let place =
            |one: &AffectedJson| (one.device.hostname.clone(), one.device.id.clone(), one.rule.clone());
        place(a).cmp(&place(b))
    });
    Ok(found)
}

impl TicketJson {
    /// Builds the shape, with what stands beside the ticket in the store.
    pub(in crate::web) async fn load(
        web: &Site,
        names: &mut Hostnames,
        ticket: &Ticket,
    ) -> Result<Self, Failure> {
        let device = match &ticket.device {
            Some(id) => Some(DeviceRef { id: id.to_string(), hostname: names.of(web, id).await? }),
            None => None,
        };
        let children = children(web, ticket).await?.iter().map(|child| child.id.0).collect();
        let affected = affected(web, names, ticket).await?;
        Ok(Self { affected, ..Self::of(ticket, device, children, web.now()) })
    }

    fn of(ticket: &Ticket, device: Option<DeviceRef>, children: Vec<u64>, now: Timestamp) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: ticket.id.0,
            key: ticket.key(),
            kind: ticket.kind.as_str().to_owned(),
            state: ticket.state.as_str().to_owned(),
            on_hold_reason: ticket.on_hold.map(|reason| reason.as_str().to_owned()),
            snoozed_until: ticket.snoozed_until.map(|until| until.to_string()),
            priority: format!("P{}", ticket.priority.0),
            impact: ticket.impact,
            urgency: ticket.urgency,
            severity: ticket.severity.to_string(),
            title: ticket.title.clone(),
            rule: ticket.rule.as_ref().map(ToString::to_string),
            device,
            component: ticket.component.as_ref().map(ComponentJson::from),
            site: ticket.site.clone(),
            opened_at: ticket.opened_at.to_string(),
            first_observed_at: ticket.first_observed_at.to_string(),
            updated_at: ticket.updated_at.to_string(),
            responded_at: time(ticket.responded_at),
            resolved_at: time(ticket.resolved_at),
            resolution: ticket.resolution.clone(),
            sla: SlaJson {
                response_due: time(ticket.response_due),
                resolution_due: time(ticket.resolution_due),
                breached: is_breached(ticket, now),
            },
            assignee: ticket.assignee.clone(),
            group: ticket.group.clone(),
            tier: ticket.tier,
            parent: ticket.parent.map(|parent| parent.0),
            children,
            affected: Vec::new(),
            summary: ticket.summary.clone(),
            technical: ticket.technical.clone(),
            evidence: ticket.evidence.iter().map(EvidenceJson::from).collect(),
            tested: ticket.tested.iter().map(TestedJson::from).collect(),
            ruled_out: ticket.ruled_out.iter().map(RuledOutJson::from).collect(),
            likely_cause: ticket.likely_cause.clone(),
            steps: ticket.steps.clone(),
            article: ticket
                .article
                .as_ref()
                .map(|(title, url)| ArticleJson { title: title.clone(), url: url.clone() }),
            changes: ticket.changes.iter().map(ChangeJson::from).collect(),
            recurrence: ticket.recurrence,
            mirrors: Vec::new(),
            version: ticket.version,
        }
    }
}

impl From<&Evidence> for EvidenceJson {
    fn from(evidence: &Evidence) -> Self {
        Self {
            label: evidence.label.clone(),
            value: evidence.value.clone(),
            metric: evidence.metric.clone(),
            observed_at: evidence.observed_at.to_string(),
        }
    }
}

impl From<&Tested> for TestedJson {
    fn from(tested: &Tested) -> Self {
        let result = tested.result.as_ref();
        Self {
            request_id: tested.request_id.clone(),
            diagnostic: tested.diagnostic.clone(),
            subject: tested.subject.clone(),
            asked_at: tested.asked_at.to_string(),
            outcome: result.map(|result| result.outcome.as_str().to_owned()),
            summary: result.map(|result| result.summary.clone()),
            facts: result.map(|result| json(&result.facts)),
            finished_at: result.map(|result| result.finished_at.to_string()),
        }
    }
}

impl From<&RuledOut> for RuledOutJson {
    fn from(ruled_out: &RuledOut) -> Self {
        Self { cause: ruled_out.cause.clone(), because: ruled_out.because.clone() }
    }
}

impl From<&Change> for ChangeJson {
    fn from(change: &Change) -> Self {
        Self { at: change.at.to_string(), what: change.what.clone() }
    }
}
