//! The Problem ticket of a shared cause.

use super::{Attribute, AttributeKind};
use crate::desk::filled;
use crate::knowledge::KnowledgeEntry;
use crate::present;
use crate::sla::Calendar;
use crate::ticket::{self, Actor, Evidence, Opening, Ticket, TicketKind, TimelineEntry};
use firstline_model::{Component, Severity, TicketId, Timestamp};

/// What was found to be shared.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// The attribute.
    pub attribute: &'a Attribute,
    /// How many devices fail, of how many that have the attribute.
    pub failing: (usize, usize),
    /// Since when.
    pub since: Timestamp,
    /// What the devices call it when it is a part, the most common name first.
    pub called: &'a [Component],
}

impl Shared<'_> {
    /// The component that the Problem is about, by the name that most devices have for it.
    fn component(&self) -> Option<Component> {
        self.called.first().cloned().or_else(|| self.attribute.component())
    }

    /// What is shared, for a person.
    fn words(&self) -> String {
        match self.called.first() {
            Some(part) => present::clean(&part.to_string(), 120),
            None => self.attribute.words(),
        }
    }

    /// The other names, where there are any: a sentence that follows another one.
    fn other_names(&self) -> String {
        let others: Vec<String> =
            self.called.iter().skip(1).map(|part| present::clean(part.id(), 60)).collect();
        match others.as_slice() {
            [] => String::new(),
            names => format!(
                " Some computers call it {}: it is the same device ({}).",
                names.join(", "),
                present::clean(self.attribute.component().as_ref().map_or("", |part| part.id()), 120)
            ),
        }
    }
}

/// Opens the Problem of a shared cause. `entry` is that of the Problem's rule.
pub fn open_problem(
    entry: &KnowledgeEntry,
    shared: Shared<'_>,
    id: TicketId,
    now: Timestamp,
) -> (Ticket, Vec<TimelineEntry>) {
    let (failing, having) = shared.failing;
    let what = shared.words();
    let severity = entry.detection.levels.iter().map(|level| level.severity).max();
    let site = (shared.attribute.kind == AttributeKind::Site).then(|| shared.attribute.value.clone());
    let opening = Opening {
        id,
        kind: TicketKind::Problem,
        by: Actor::Firstline,
        device: None,
        rule: Some(entry.code.clone()),
        component: shared.component(),
        site,
        impact: entry.impact.min(2),
        severity: severity.unwrap_or(Severity::Warning),
        title: present::clean(&title(entry, &shared, failing), 300),
        summary: without_placeholders(&entry.explanation.person, &shared),
        technical: format!(
            "{failing} of {having} devices that share {what} have the same fault ({}); devices without it do not. \
             The tickets of the single devices are children of this one.{}",
            entry.code,
            shared.other_names()
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
        steps: entry.steps.iter().map(|step| without_placeholders(step, &shared)).collect(),
        article: entry.article.as_ref().map(|article| (article.title.clone(), article.url.clone())),
        changes: Vec::new(),
    };
    let (mut ticket, timeline, _) = ticket::open(opening, Calendar::default(), now);
    ticket.likely_cause =
        Some(format!("{what} is what the {failing} affected devices have in common and the others do not"));
    (ticket, timeline)
}

fn title(entry: &KnowledgeEntry, shared: &Shared<'_>, failing: usize) -> String {
    let what = shared.words();
    if entry.code.as_str() == "net.site_outage" {
        return format!("{failing} computers at {what} lost their network at the same time");
    }
    // What is shared is the part that the entry speaks of, such as a printer: its own title says it best.
    if shared.attribute.kind == AttributeKind::Part
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
fn without_placeholders(text: &str, shared: &Shared<'_>) -> String {
    let component = shared.component();
    let named =
        text.replace("{component.id}", component.as_ref().map_or(&shared.attribute.value, |c| c.id()));
    let sentences = named.split_inclusive(". ").filter(|sentence| !sentence.contains('{'));
    sentences.collect::<String>().trim().to_owned()
}
