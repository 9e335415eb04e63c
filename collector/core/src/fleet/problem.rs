//! The Problem ticket of a shared cause.

use super::{Attribute, AttributeKind};
use crate::desk::filled;
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
        title: present::clean(&title(entry, shared.attribute, failing), 300),
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
            // Devices are counted, nothing is measured.
            metric: String::new(),
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

fn title(entry: &KnowledgeEntry, shared: &Attribute, failing: usize) -> String {
    let what = shared.words();
    if entry.code.as_str() == "net.site_outage" {
        return format!("{failing} computers at {what} lost their network at the same time");
    }
    // What is shared is the part that the entry speaks of, such as a printer: its own title says it best.
    if shared.kind == AttributeKind::Part
        && let Some(part) = shared.component()
    {
        let own = filled(&entry.title, |name| (name == "component.id").then(|| part.id().to_owned()));
        return format!("{own}, for {failing} computers");
    }
    match &entry.article {
        Some(article) => format!("{failing} computers with {what}: {}", article.title),
        None => format!("{failing} computers with {what} have the same fault ({})", entry.code),
    }
}

/// A text of the entry for the shared part. Sentences about one device's values are left out.
fn without_placeholders(text: &str, shared: &Attribute) -> String {
    let named = text.replace("{component.id}", shared.component().as_ref().map_or(&shared.value, |c| c.id()));
    let sentences = named.split_inclusive(". ").filter(|sentence| !sentence.contains('{'));
    sentences.collect::<String>().trim().to_owned()
}
