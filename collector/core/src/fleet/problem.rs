//! The Problem ticket of a shared cause.

use super::{Attribute, AttributeKind};
use crate::knowledge::KnowledgeEntry;
use crate::present;
use crate::sla::Calendar;
use crate::ticket::{self, Actor, Evidence, Opening, Ticket, TicketKind, TimelineEntry};
use firstline_model::{Severity, TicketId, Timestamp};

/// What was found to be shared.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// The attribute.
    pub attribute: &'a Attribute,
    /// How many devices fail, of how many that have the attribute.
    pub failing: (usize, usize),
    /// Since when.
    pub since: Timestamp,
}

/// Opens the Problem of a shared cause. `entry` is that of the Problem's rule.
pub fn open_problem(
    entry: &KnowledgeEntry,
    shared: Shared<'_>,
    id: TicketId,
    now: Timestamp,
) -> (Ticket, Vec<TimelineEntry>) {
    let (failing, having) = shared.failing;
    let what = shared.attribute.words();
    let severity = entry.detection.levels.iter().map(|level| level.severity).max();
    let site = (shared.attribute.kind == AttributeKind::Site).then(|| shared.attribute.value.clone());
    let opening = Opening {
        id,
        kind: TicketKind::Problem,
        by: Actor::Firstline,
        device: None,
        rule: Some(entry.code.clone()),
        component: shared.attribute.component(),
        site,
        impact: entry.impact.min(2),
        severity: severity.unwrap_or(Severity::Warning),
        title: present::clean(&title(entry, &what, failing), 300),
        summary: without_placeholders(&entry.explanation.person, shared.attribute),
        technical: format!(
            "{failing} of {having} devices that share {what} have the same fault ({}); devices without it do not. \
             The tickets of the single devices are children of this one.",
            entry.code
        ),
        first_observed_at: shared.since,
        evidence: vec![Evidence {
            label: "devices affected".to_owned(),
            value: format!("{failing} of {having}"),
            metric: "endpoint.agent.heartbeat.age".to_owned(),
            observed_at: now,
        }],
        tests: Vec::new(),
        steps: entry.steps.iter().map(|step| without_placeholders(step, shared.attribute)).collect(),
        article: entry.article.as_ref().map(|article| (article.title.clone(), article.url.clone())),
        changes: Vec::new(),
    };
    let (mut ticket, timeline, _) = ticket::open(opening, Calendar::default(), now);
    ticket.likely_cause =
        Some(format!("{what} is what the {failing} affected devices have in common and the others do not"));
    (ticket, timeline)
}

fn title(entry: &KnowledgeEntry, what: &str, failing: usize) -> String {
    match entry.code.as_str() {
        "net.site_outage" => format!("{failing} computers at {what} lost their network at the same time"),
        code => format!("{failing} computers have the same fault with {what} ({code})"),
    }
}

/// A text of the entry for the shared part. Sentences about one device's values are left out.
fn without_placeholders(text: &str, shared: &Attribute) -> String {
    let named = text.replace("{component.id}", shared.component().as_ref().map_or(&shared.value, |c| c.id()));
    let sentences = named.split_inclusive(". ").filter(|sentence| !sentence.contains('{'));
    sentences.collect::<String>().trim().to_owned()
}
