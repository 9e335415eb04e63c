//! What is not there any more: observations that are missed, and parts that were replaced.

use super::ingest::SERIAL;
use super::judge::{Judge, end};
use super::{TransitionKind, transition};
use crate::finding::{DeviceState, Finding};
use crate::knowledge::KnowledgeEntry;
use firstline_model::{Attributes, Component, RuleCode, Timestamp};

impl Judge<'_> {
    /// Judges the rules that miss what has not come by now.
    pub(crate) fn look_for_absence(&mut self, state: &mut DeviceState, at: Timestamp) {
        let first = self.out.len();
        let knowledge = self.knowledge;
        let mut next = None;
        for (rule, kind, metric, after) in knowledge.index().expected() {
            let missing = state
                .samples
                .iter()
                .filter(|(key, _)| *key.metric == **metric && key.component.kind == *kind);
            let due: Vec<(Component, Option<Timestamp>)> = missing
                .map(|(key, sample)| {
                    (key.component.clone(), state.wall(sample.rhythm.powered_at.plus(*after)))
                })
                .collect();
            for (component, due) in due {
                match due {
                    Some(due) if due <= at => self.judge(state, rule, &component, at),
                    Some(due) => next = Some(next.map_or(due, |next: Timestamp| next.min(due))),
                    None => {}
                }
            }
        }
        state.overdue_at = next;
        self.uncover(state, first, at);
    }

    /// Ends what is latched on other parts that were replaced, when one of their kind is observed.
    pub(super) fn end_replaced(
        &mut self,
        state: &mut DeviceState,
        rule: &RuleCode,
        component: &Component,
        at: Timestamp,
    ) {
        let is_latched = |entry: &&KnowledgeEntry| entry.detection.latched && entry.enabled;
        if state.findings.is_empty()
            || self.knowledge.entry_for(rule, self.device).filter(is_latched).is_none()
        {
            return;
        }
        let replaced: Vec<_> = state
            .findings
            .iter()
            .filter(|((of, _), finding)| of == rule && finding.fires())
            .filter(|(_, finding)| is_replaced(state, finding, component, at))
            .map(|(key, _)| key.clone())
            .collect();
        for key in replaced {
            if let Some(finding) = state.findings.get_mut(&key) {
                end(finding, at);
                self.out.push(transition(finding, TransitionKind::Cleared, at, &Attributes::none()));
            }
        }
    }
}

/// Whether the part that a finding is about is not there any more, seen from an observation of `component`.
fn is_replaced(state: &DeviceState, finding: &Finding, component: &Component, at: Timestamp) -> bool {
    let since = finding.fired_at.unwrap_or(finding.since);
    if finding.component == *component {
        let documents = state.states.iter().filter(|((of, _), _)| of == component);
        return documents
            .filter_map(|(_, document)| document.changed.get(SERIAL))
            .any(|changed| *changed > since);
    }
    let samples = |of: &Component| state.samples.of(of, &finding.metric);
    let powered = state.powered(at);
    let is_new = samples(component).any(|(_, sample)| sample.first_at > since)
        && !samples(component).any(|(_, sample)| sample.first_at <= since);
    let is_gone = samples(&finding.component).all(|(_, sample)| sample.rhythm.fresh_until() < powered);
    component.kind == finding.component.kind && is_new && is_gone
}
