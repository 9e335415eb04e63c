//! Turns observations into findings: what the rules assert of each component, and when that changes.
//!
//! The shell gives every observation of a device to [`observe`], in the order in which they arrived, and calls
//! [`advance`] when [`next_deadline`] has come. Both change the [`DeviceState`] and report [`Transition`]s. The
//! outcome depends on the observations and their times only, never on how often or how late `advance` is called:
//! deadlines that passed before an observation are settled before it is looked at.
//!
//! Rules of evaluation (the catalogue's, made exact):
//! - Conditions have three values. What was never observed or could not be read is unknown; unknown neither raises
//!   nor clears, so missing data keeps a firing finding firing.
//! - All conditions of an entry look at the same component of the same device.
//! - Hold and clear times run in powered-on time. A gap in the samples that is longer than
//!   [`crate::finding::Rhythm::tolerance`] starts them anew, and a timer only counts while the newest sample that
//!   supports it is not older than that.
//! - A severity only rises within one episode. A finding clears when no level's condition holds and the clear
//!   condition of the worst level that it reached (or, without one, the falsity of all levels) held for that level's
//!   clear time.
//! - A finding that another rule hides is tracked like any other but reported as suppressed; when the cause is over
//!   and the symptom still holds, it fires.
//! - What is expected is missed only when the device is heard after it was due. After a start of the collector a series
//!   is expected from its next sample on.
//! - A latched finding ends when its part was replaced (see [`crate::knowledge::Detection::latched`]).
//! - Samples older than the newest of their series change nothing; at equal times the one that arrived last counts.
//!
//! Times are the device's own. A clock far ahead would make everything after it look old, so the shell bounds
//! observed times by the time of receipt before they come here.

mod condition;
mod expected;
mod hidden;
mod hide;
mod ingest;
mod judge;
mod overdue;
mod relative;

pub(crate) use condition::{Moment, holds_now, matching, value_matches};

use crate::finding::{DeviceState, Finding};
use crate::knowledge::{DeviceTraits, KnowledgeSet};
use crate::peers::Beside;
use firstline_model::{Attributes, Body, Component, Observation, RuleCode, Severity, Timestamp};
use judge::Judge;

/// How a finding changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransitionKind {
    /// The condition began to hold; the hold time runs.
    Pending,
    /// The condition of a pending finding ended before the hold time.
    Lapsed,
    /// It is a finding now.
    Fired,
    /// A worse level holds.
    Escalated,
    /// Recovery began; the clear time runs.
    Recovering,
    /// The fault came back before the clear time was over.
    Relapsed,
    /// It is over.
    Cleared,
    /// It would be a finding, but opens nothing.
    Suppressed {
        /// Why not: `hidden by net.gateway`.
        reason: String,
    },
    /// What hid it is over; [`TransitionKind::Fired`] follows.
    Unsuppressed,
}

impl TransitionKind {
    /// The kind as examples and logs write it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Lapsed => "lapsed",
            Self::Fired => "fired",
            Self::Escalated => "escalated",
            Self::Recovering => "recovering",
            Self::Relapsed => "relapsed",
            Self::Cleared => "cleared",
            Self::Suppressed { .. } => "suppressed",
            Self::Unsuppressed => "unsuppressed",
        }
    }
}

/// One change of one finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The rule.
    pub rule: RuleCode,
    /// The component.
    pub component: Component,
    /// What changed.
    pub kind: TransitionKind,
    /// The finding's severity afterwards.
    pub severity: Severity,
    /// When, by the device's clock.
    pub at: Timestamp,
    /// When the condition of this episode was first observed, by the device's clock.
    pub since: Timestamp,
    /// The metric, event or document that decided.
    pub metric: String,
    /// The value that decided, where the condition compares a number.
    pub value: Option<f64>,
    /// What it was compared with.
    pub threshold: Option<f64>,
    /// All attributes of the sample that decided.
    pub attributes: Attributes,
}

/// Takes one observation of the device into account, with what its peers say of the same ([`crate::peers`]).
///
/// Diagnostic reports, facts and gaps are not judged here; the shell passes reports to [`crate::desk::decide`].
pub fn observe(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &mut DeviceState,
    observation: &Observation,
    beside: Vec<Beside>,
    out: &mut Vec<Transition>,
) {
    let at = observation.observed_at;
    state.heard = state.heard.max(Some(at));
    take(knowledge, device, state, observation, beside, out);
    if state.overdue_at.is_some_and(|overdue| overdue <= at) {
        Judge { knowledge, device, out }.look_for_absence(state, at);
    }
}

fn take(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &mut DeviceState,
    observation: &Observation,
    beside: Vec<Beside>,
    out: &mut Vec<Transition>,
) {
    let at = observation.observed_at;
    let component = &observation.component;
    let mut judge = Judge { knowledge, device, out };
    match &observation.body {
        Body::Sample { metric, attributes, value } => {
            let Some(used) = knowledge.index().metric(metric) else { return };
            if !used.is_remembered(component.kind) || value.is_nan() {
                return;
            }
            ingest_awake(&mut judge, state, at);
            judge.settle_before(state, used.rules_for(component.kind), component, at);
            if ingest::sample(state, used, component, metric, attributes, *value, at) {
                if used.compared {
                    ingest::stands_beside(state, component, metric, attributes, beside);
                }
                judge.look(state, used.rules_for(component.kind), component, at);
            }
        }
        Body::Event { name, attributes } => {
            let Some(used) = knowledge.index().metric(name) else { return };
            if !used.is_remembered(component.kind) {
                return;
            }
            judge.settle_before(state, used.rules_for(component.kind), component, at);
            if ingest::event(state, used, component, name, attributes, at) {
                judge.look(state, used.rules_for(component.kind), component, at);
            }
        }
        Body::State { name, document } => {
            if !knowledge.index().has_kind(component.kind) {
                return;
            }
            let rules = || knowledge.index().document_rules(name, component.kind);
            judge.settle_before(state, rules(), component, at);
            let used = rules().next().is_some();
            if ingest::document(state, component, name, document, knowledge.index(), used, at) {
                judge.look(state, rules(), component, at);
            }
        }
        Body::Unavailable { what, reason, .. } => {
            let Some(used) = knowledge.index().metric(what) else { return };
            judge.settle_before(state, used.rules_for(component.kind), component, at);
            if ingest::unavailable(state, component, what, reason.as_str(), at) {
                judge.look(state, used.rules_for(component.kind), component, at);
            }
        }
        Body::Presence(presence) => {
            judge.settle_all(state, at, judge::Until::Before);
            if ingest::presence(state, *presence, at) {
                judge.note_away(state, *presence, at);
            }
        }
        Body::Diagnostic(_) | Body::Facts(_) | Body::Gap { .. } => {}
    }
}

/// Lets time pass: fires and clears what is due at `now`, the device's own time.
pub fn advance(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &mut DeviceState,
    now: Timestamp,
    out: &mut Vec<Transition>,
) {
    let mut judge = Judge { knowledge, device, out };
    judge.retire_unknown(state, now);
    judge.settle_all(state, now, judge::Until::At);
}

/// When [`advance`] has something to do if nothing is observed until then, by the device's clock.
pub fn next_deadline(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &DeviceState,
) -> Option<Timestamp> {
    state.findings.values().filter_map(|finding| judge::deadline(knowledge, device, state, finding)).min()
}

/// A finding that fires, told once more as if it had fired just now: because it had waited for something. When another
/// rule hides it by now, that is told instead.
pub(crate) fn again(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &mut DeviceState,
    rule: &RuleCode,
    component: &Component,
    now: Timestamp,
) -> Option<Transition> {
    let mut out = Vec::new();
    Judge { knowledge, device, out: &mut out }.tell_again(state, rule, component, now);
    out.pop()
}

fn ingest_awake(judge: &mut Judge<'_>, state: &mut DeviceState, at: Timestamp) {
    let away = state.presence.is_some_and(|presence| !presence.is_powered_on());
    if away {
        judge.settle_all(state, at, judge::Until::Before);
        ingest::wake(state, at);
    }
}

fn transition(finding: &Finding, kind: TransitionKind, at: Timestamp, attributes: &Attributes) -> Transition {
    Transition {
        rule: finding.rule.clone(),
        component: finding.component.clone(),
        kind,
        severity: finding.severity,
        at,
        since: finding.since,
        metric: finding.metric.clone(),
        value: finding.value,
        threshold: finding.threshold,
        attributes: attributes.clone(),
    }
}

#[cfg(test)]
mod tests;
