//! The worked ticket on one screen.

use super::recording::{Recorded, is_recording, recorded};
use super::ticket_action::Actions;
use super::{Frame, PageResult, SlaView, TicketRow, render, safe_link, sla};
use crate::web::api;
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::input::Segment;
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use firstline_collector_core::ticket::{Tested, Ticket, TimelineEntry};
use firstline_model::{DiagnosticOutcome, Timestamp};

#[derive(Template)]
#[template(path = "ticket.html")]
struct TicketPage {
    frame: Frame,
    row: TicketRow,
    on_hold: Option<String>,
    summary: Shown,
    technical: Shown,
    rule: Option<String>,
    impact: u8,
    urgency: u8,
    severity: &'static str,
    tier: u8,
    group: Option<Shown>,
    opened: String,
    first_observed: String,
    updated: String,
    resolved: Option<String>,
    resolution: Option<Shown>,
    sla: SlaView,
    response_due: Option<String>,
    resolution_due: Option<String>,
    evidence: Vec<EvidenceRow>,
    tested: Vec<TestedRow>,
    recorded: Vec<Recorded>,
    ruled_out: Vec<(Shown, Shown)>,
    likely_cause: Option<Shown>,
    steps: Vec<Shown>,
    article: Option<(Shown, Option<Shown>)>,
    changes: Vec<(String, Shown)>,
    children: Vec<TicketRow>,
    affected: Vec<AffectedRow>,
    timeline: Vec<TimelineRow>,
    actions: Option<Actions>,
}

/// A device without a ticket of its own.
struct AffectedRow {
    id: String,
    hostname: Shown,
    rule: String,
    component: Shown,
}

struct EvidenceRow {
    label: Shown,
    value: Shown,
    metric: Shown,
    at: String,
}

struct TestedRow {
    diagnostic: String,
    subject: Shown,
    outcome: &'static str,
    class: &'static str,
    summary: Shown,
    facts: Vec<(Shown, Shown)>,
    at: String,
}

struct TimelineRow {
    at: String,
    actor: Shown,
    kind: String,
    text: Shown,
}

/// `GET /tickets/{id}`
pub(in crate::web) async fn show(State(web): State<Web>, caller: Caller, Segment(id): Segment) -> PageResult {
    let ticket = api::seen_ticket(&web, &caller, &id).await?;
    let now = web.now();
    let mut names = api::Hostnames::default();
    let hostname = match &ticket.device {
        Some(id) => Some(names.of(&web, id).await?),
        None => None,
    };
    let mut children = Vec::new();
    for child in api::children(&web, &ticket).await? {
        let hostname = match &child.device {
            Some(id) => Some(names.of(&web, id).await?),
            None => None,
        };
        children.push(TicketRow::of(&child, hostname.as_deref(), now));
    }
    let affected = api::affected(&web, &mut names, &ticket).await?;
    let affected = affected.iter().map(|one| AffectedRow {
        id: one.device.id.clone(),
        hostname: Shown::line(&one.device.hostname),
        rule: one.rule.clone(),
        component: Shown::line(&format!("{}/{}", one.component.kind, one.component.id)),
    });
    let affected = affected.collect();
    let timeline = web.store().timeline(ticket.id).await?;
    let recorded = recorded(&ticket.tested);
    let page = TicketPage {
        frame: Frame::of(&caller, "board", &format!("{} {}", ticket.key(), ticket.title)),
        row: TicketRow::of(&ticket, hostname.as_deref(), now),
        on_hold: ticket.on_hold.map(|reason| match ticket.snoozed_until {
            Some(until) => format!("snoozed until {} UTC", units::moment(until)),
            None => units::words(reason.as_str()),
        }),
        summary: Shown::lines(&ticket.summary),
        technical: Shown::lines(&ticket.technical),
        rule: ticket.rule.as_ref().map(ToString::to_string),
        impact: ticket.impact,
        urgency: ticket.urgency,
        severity: ticket.severity.as_str(),
        tier: ticket.tier,
        group: ticket.group.as_deref().map(Shown::line),
        opened: units::moment(ticket.opened_at),
        first_observed: units::moment(ticket.first_observed_at),
        updated: units::ago(ticket.updated_at, now),
        resolved: ticket.resolved_at.map(units::moment),
        resolution: ticket.resolution.as_deref().map(Shown::lines),
        sla: sla(&ticket, now),
        response_due: ticket.response_due.map(units::moment),
        resolution_due: ticket.resolution_due.map(units::moment),
        evidence: evidence(&ticket),
        tested: ticket
            .tested
            .iter()
            .filter(|tested| !is_recording(tested) || recorded.is_empty())
            .map(|tested| TestedRow::of(tested, now))
            .collect(),
        recorded,
        ruled_out: ticket
            .ruled_out
            .iter()
            .map(|out| (Shown::line(&out.cause), Shown::line(&out.because)))
            .collect(),
        likely_cause: ticket.likely_cause.as_deref().map(Shown::lines),
        steps: ticket.steps.iter().map(|step| Shown::lines(step)).collect(),
        article: ticket.article.as_ref().map(|(title, url)| (Shown::line(title), safe_link(url.as_deref()))),
        changes: ticket.changes.iter().map(|c| (units::moment(c.at), Shown::line(&c.what))).collect(),
        children,
        affected,
        timeline: timeline.iter().rev().map(TimelineRow::of).collect(),
        actions: Actions::of(&ticket, &caller),
    };
    render(StatusCode::OK, &page)
}

fn evidence(ticket: &Ticket) -> Vec<EvidenceRow> {
    let rows = ticket.evidence.iter().map(|evidence| EvidenceRow {
        label: Shown::line(&evidence.label),
        value: Shown::line(&evidence.value),
        metric: Shown::line(&evidence.metric),
        at: units::moment(evidence.observed_at),
    });
    rows.collect()
}

impl TestedRow {
    fn of(tested: &Tested, now: Timestamp) -> Self {
        let base = Self {
            diagnostic: units::words(&tested.diagnostic),
            subject: Shown::line(&tested.subject),
            outcome: "running",
            class: "none",
            summary: Shown::line(&format!("Asked for {}.", units::ago(tested.asked_at, now))),
            facts: Vec::new(),
            at: units::moment(tested.asked_at),
        };
        let Some(result) = &tested.result else { return base };
        let (outcome, class) = match result.outcome {
            DiagnosticOutcome::Ok => ("ok", "ok"),
            DiagnosticOutcome::Problem => ("problem", "bad"),
            DiagnosticOutcome::CouldNotTell => ("could not tell", "none"),
        };
        Self {
            outcome,
            class,
            summary: Shown::line(&result.summary),
            facts: units::document_lines(&result.facts),
            at: units::moment(result.finished_at),
            ..base
        }
    }
}

impl TimelineRow {
    fn of(entry: &TimelineEntry) -> Self {
        Self {
            at: units::moment(entry.at),
            actor: Shown::line(api::actor(&entry.actor)),
            kind: units::words(entry.kind),
            text: Shown::lines(&entry.text),
        }
    }
}
