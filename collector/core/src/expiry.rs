//! The collector's own certificates: one ticket each that grows as the end comes near, by a knowledge entry and through the
//! engine that judges devices.
//!
//! The collector is no device, so nothing of this is remembered between two looks: what an open ticket says is where the
//! next look goes on. Tickets have no device, and nobody is asked for a test.

use crate::desk::DeskOutcome;
use crate::device::{KnownDevice, News};
use crate::finding::{DeviceState, Finding, Phase, Standing};
use crate::knowledge::{DeviceTraits, KnowledgeEntry, KnowledgeSet};
use crate::peers::Peers;
use crate::ticket::Ticket;
use firstline_model::{
    Attributes, Body, Component, DeviceId, Invalid, Observation, RuleCode, TicketId, Timestamp, Value,
    semconv,
};
use std::time::Duration;

/// The entry that says when and how.
pub const RULE: &str = "collector.certificate";
/// How the engine names the collector; never stored.
const COLLECTOR: &str = "collector";

/// A certificate of the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `endpoint/authority-1a2b3c4d`.
    pub component: Component,
    /// When it ends.
    pub not_after: Timestamp,
}

/// What becomes of the tickets at `now`. `open` are the tickets of [`RULE`] that are open; one whose certificate is no
/// longer in use is over.
pub fn judge(
    knowledge: &KnowledgeSet,
    in_use: &[Certificate],
    open: &[Ticket],
    now: Timestamp,
    next_id: &mut dyn FnMut() -> TicketId,
) -> Result<DeskOutcome, Invalid> {
    let (rule, device) = (RuleCode::new(RULE)?, DeviceId::new(COLLECTOR)?);
    let traits = DeviceTraits { device: device.clone(), site: None, tags: Vec::new(), device_class: None };
    let Some(entry) = knowledge.entry_for(&rule, &traits).filter(|entry| entry.enabled) else {
        return Ok(DeskOutcome::default());
    };
    let mut entry = entry.clone();
    entry.tests.clear();
    let mut state = DeviceState::default();
    for ticket in open {
        if let Some(finding) = remembered(&entry, ticket) {
            state.findings.insert((rule.clone(), finding.component.clone()), Box::new(finding));
        }
    }
    let tickets = open.iter().map(|ticket| Ticket { device: Some(device.clone()), ..ticket.clone() });
    let facts = Value::map::<&'static str>([]);
    let mut known = KnownDevice::new(traits, "the collector".to_owned(), facts, state, tickets.collect());
    let only = KnowledgeSet::new([entry], Vec::new());
    let mut news = News::default();
    let longest = in_use.iter().map(|certificate| certificate.not_after).max();
    let replaced = open.iter().filter_map(|ticket| ticket.component.as_ref()).filter_map(|component| {
        let is_used = in_use.iter().any(|certificate| certificate.component == *component);
        Some((component, longest.filter(|_| !is_used)?))
    });
    let used = in_use.iter().map(|certificate| (&certificate.component, certificate.not_after));
    for (component, not_after) in used.chain(replaced) {
        known.observe(&only, &mut Peers::default(), &left(component, not_after.since(now), now), &mut news);
    }
    let mut outcome = known.decide(&only, now, &news, next_id).outcome;
    outcome.tickets.iter_mut().for_each(|ticket| ticket.device = None);
    outcome.effects.clear();
    Ok(outcome)
}

fn left(component: &Component, left: Duration, now: Timestamp) -> Observation {
    let metric = semconv::COLLECTOR_CERTIFICATE_TIME_TO_EXPIRY.into();
    let value = left.as_secs_f64().round();
    let body = Body::Sample { metric, attributes: Attributes::none(), value };
    Observation { component: component.clone(), observed_at: now, body }
}

/// The finding that an open ticket stands for.
fn remembered(entry: &KnowledgeEntry, ticket: &Ticket) -> Option<Finding> {
    let since = ticket.first_observed_at;
    let reached = |severity| (severity <= ticket.severity).then_some(since);
    Some(Finding {
        rule: entry.code.clone(),
        component: ticket.component.clone()?,
        phase: Phase::Firing,
        severity: ticket.severity,
        since,
        fired_at: Some(since),
        level_since: entry.detection.levels.iter().map(|level| reached(level.severity)).collect(),
        clear_since: None,
        cleared_at: None,
        value: None,
        threshold: None,
        metric: semconv::COLLECTOR_CERTIFICATE_TIME_TO_EXPIRY.to_owned(),
        suppressed: None,
        held_until: None,
        episodes: 1,
        standing: Standing::Own,
        recent_fires: Vec::new(),
    })
}
