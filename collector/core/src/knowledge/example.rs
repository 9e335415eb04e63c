//! Plays the worked examples of a knowledge entry: observations in, transitions out.

use super::{DeviceTraits, Example, ExpectedTransition, KnowledgeEntry, KnowledgeSet, Sameness};
use crate::evaluate::{Transition, TransitionKind, advance, next_deadline, observe};
use crate::finding::DeviceState;
use crate::peers::Peers;
use firstline_model::{DeviceId, Timestamp, Value};
use std::fmt::Write as _;

/// Plays one example and compares.
///
/// Only the entry itself is in force, so its `depends_on` hides nothing. Time passes between the observations as it
/// would on a live collector: hold times that end between two observations fire there. Of the transitions, those that
/// the example may name (`fired`, `escalated`, `cleared`) are compared, in order; an expectation without severity or
/// component accepts any. The error says, for a person, what was expected and what happened when.
pub fn run_example(entry: &KnowledgeEntry, example: &Example) -> Result<(), String> {
    let mut entry = entry.clone();
    entry.enabled = true;
    let knowledge = KnowledgeSet::new([entry], Vec::new());
    let device = match DeviceId::new("example") {
        Ok(device) => DeviceTraits {
            device,
            site: Some("example".to_owned()),
            tags: Vec::new(),
            device_class: Some("example".to_owned()),
        },
        Err(invalid) => return Err(invalid.to_string()),
    };
    let mut state = DeviceState::default();
    let mut seen = Vec::new();
    let facts = Value::map(Sameness::ALL.iter().map(|one| (one.as_str(), Value::from("example"))));
    let mut peers = Peers::default();
    let mut of_peers = example.peers.iter().peekable();
    for observation in &example.observations {
        while let Some((number, said)) =
            of_peers.next_if(|(_, said)| said.observed_at <= observation.observed_at)
        {
            if let Ok(id) = DeviceId::new(format!("peer-{number}")) {
                peers.observe(&knowledge, &DeviceTraits { device: id, ..device.clone() }, &facts, said);
            }
        }
        pass_time(&knowledge, &device, &mut state, observation.observed_at.minus(MILLISECOND), &mut seen);
        let beside = peers.observe(&knowledge, &device, &facts, observation);
        observe(&knowledge, &device, &mut state, observation, beside, &mut seen);
    }
    let last = example.observations.last().map(|observation| observation.observed_at);
    if let Some(until) = example.until.max(last) {
        pass_time(&knowledge, &device, &mut state, until, &mut seen);
    }
    seen.retain(is_compared);
    compare(&example.name, &example.expect, &seen, example.observations.first().map(|o| o.observed_at))
}

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);

fn pass_time(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &mut DeviceState,
    until: Timestamp,
    seen: &mut Vec<Transition>,
) {
    if next_deadline(knowledge, device, state).is_some_and(|deadline| deadline <= until) {
        advance(knowledge, device, state, until, seen);
    }
}

fn is_compared(transition: &Transition) -> bool {
    match transition.kind {
        TransitionKind::Fired | TransitionKind::Escalated | TransitionKind::Cleared => true,
        TransitionKind::Pending
        | TransitionKind::Lapsed
        | TransitionKind::Recovering
        | TransitionKind::Relapsed
        | TransitionKind::Suppressed { .. }
        | TransitionKind::Unsuppressed => false,
    }
}

fn compare(
    name: &str,
    expected: &[ExpectedTransition],
    seen: &[Transition],
    start: Option<Timestamp>,
) -> Result<(), String> {
    let same = expected.len() == seen.len()
        && expected.iter().zip(seen).all(|(expected, seen)| accepts(expected, seen));
    if same {
        return Ok(());
    }
    let mut text = format!("example {name:?}: expected ");
    list(&mut text, expected.iter().map(describe_expected));
    text.push_str(", but saw ");
    list(&mut text, seen.iter().map(|transition| describe_seen(transition, start)));
    Err(text)
}

fn accepts(expected: &ExpectedTransition, seen: &Transition) -> bool {
    expected.transition == seen.kind.as_str()
        && expected.severity.is_none_or(|severity| severity == seen.severity)
        && expected.component.as_ref().is_none_or(|component| *component == seen.component)
}

fn describe_expected(expected: &ExpectedTransition) -> String {
    let mut text = expected.transition.clone();
    if let Some(severity) = expected.severity {
        // Writing to a string cannot fail.
        let _ = write!(text, " {severity}");
    }
    if let Some(component) = &expected.component {
        let _ = write!(text, " {component}");
    }
    text
}

fn describe_seen(seen: &Transition, start: Option<Timestamp>) -> String {
    let after = crate::present::duration(seen.at.since(start.unwrap_or(seen.at)));
    format!("{} {} {} after {after}", seen.kind.as_str(), seen.severity, seen.component)
}

fn list(text: &mut String, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    text.push_str(if items.is_empty() { "nothing" } else { "" });
    text.push_str(&items.join(", "));
}

#[cfg(test)]
mod tests;
