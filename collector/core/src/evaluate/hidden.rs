//! Which finding explains which: the order of causes that entries state with `depends_on`.

use crate::finding::{DeviceState, Finding, Phase};
use crate::knowledge::{DeviceTraits, KnowledgeEntry, KnowledgeSet};
use firstline_model::Timestamp;
use std::time::Duration;

/// A cause whose hold time ends this soon already hides its symptoms, so that a fault that shows in several checks
/// at the same moment opens the cause's ticket only ...
const CAUSE_IMMINENT: Duration = Duration::from_secs(30);
/// ... but not for longer than this after it should have fired: then it was no cause.
const CAUSE_OVERDUE: Duration = Duration::from_secs(180);

/// Why a finding opens nothing: another rule's finding explains it.
pub(super) fn hidden_by(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    entry: &KnowledgeEntry,
    state: &DeviceState,
    finding: &Finding,
    at: Timestamp,
) -> Option<String> {
    let powered = state.powered(at);
    let cause = entry.detection.depends_on.iter().find(|dependency| {
        let Some(cause) = knowledge.entry_for(&dependency.rule, device).filter(|cause| cause.enabled) else {
            return false;
        };
        // Two rules that name each other would hide each other for ever.
        let mutual = cause.detection.depends_on.iter().any(|back| back.rule == entry.code);
        state.findings.values().any(|other| {
            other.rule == dependency.rule
                && (!dependency.same_component || other.component == finding.component)
                && !(mutual && other.suppressed.is_some())
                && explains(cause, other, powered)
        })
    })?;
    Some(Finding::hidden_text(&cause.rule))
}

fn explains(cause: &KnowledgeEntry, other: &Finding, powered: Timestamp) -> bool {
    match other.phase {
        Phase::Firing | Phase::Clearing => true,
        Phase::Cleared => false,
        Phase::Pending => cause.detection.levels.iter().zip(&other.level_since).any(|(level, since)| {
            since.is_some_and(|since| {
                let due = since.plus(level.hold);
                powered >= due.minus(CAUSE_IMMINENT) && powered < due.plus(CAUSE_OVERDUE)
            })
        }),
    }
}
