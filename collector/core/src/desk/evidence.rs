//! Freezes what was measured at the moment of breach: the value that decided, everything else the rule looks at, and
//! what the component said of itself.

use super::DeskContext;
use super::words::Subject;
use crate::evaluate::{Moment, matching};
use crate::knowledge::{Condition, KnowledgeEntry, SeriesMatch, Watched};
use crate::present::{self, MAX_VALUE};
use crate::ticket::Evidence;
use firstline_model::{Attributes, Component, Timestamp, Value, semconv};

/// Lines from documents.
const MAX_DOCUMENT_LINES: usize = 20;
/// Lines from samples.
const MAX_SAMPLE_LINES: usize = 30;

/// The evidence for a finding, from what is known of the device now.
pub(super) fn at_breach(
    context: &DeskContext<'_>,
    entry: &KnowledgeEntry,
    subject: &Subject<'_>,
) -> Vec<Evidence> {
    let mut lines = Vec::new();
    if let Some(value) = subject.value {
        let shown = present::value(subject.metric, value);
        let value = match subject.threshold {
            // The limit of what is a word (yes, stopped) would say nothing.
            Some(_) if present::word(subject.metric, value).is_some() => shown,
            Some(threshold) => format!("{shown} (limit {})", present::value(subject.metric, threshold)),
            None => shown,
        };
        lines.push(Evidence {
            label: label(subject.metric, &subject.attributes),
            value,
            metric: subject.metric.to_owned(),
            observed_at: subject.at,
        });
    }
    let moment = Moment { state: context.state, component: subject.component, at: subject.at };
    for level in &entry.detection.levels {
        samples(&level.when, moment, &mut lines);
    }
    lines.truncate(MAX_SAMPLE_LINES);
    let documents = context.state.states.iter().filter(|((component, _), _)| component == subject.component);
    let keys = documents.flat_map(|((_, name), latest)| {
        let map = match &latest.document {
            Value::Map(map) => Some(map),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        };
        map.into_iter().flatten().map(move |(key, value)| Evidence {
            label: present::clean(&key.replace('_', " "), MAX_VALUE),
            value: present::document(value, MAX_VALUE),
            metric: name.clone(),
            observed_at: latest.observed_at,
        })
    });
    lines.extend(keys.take(MAX_DOCUMENT_LINES));
    lines
}

/// When anything that the entry's levels look at was observed last, readable.
pub(super) fn newest_look(
    context: &DeskContext<'_>,
    entry: &KnowledgeEntry,
    component: &Component,
) -> Option<Timestamp> {
    let moment = Moment { state: context.state, component, at: context.now };
    entry.detection.levels.iter().filter_map(|level| look(&level.when, moment)).max()
}

fn look(condition: &Condition, moment: Moment<'_>) -> Option<Timestamp> {
    match condition {
        Condition::Sample { series, .. }
        | Condition::Relative { series, .. }
        | Condition::Increase { series, .. }
        | Condition::Absent { series, .. }
        | Condition::Changed { what: Watched::Series(series), .. }
        | Condition::Event { series, .. } => {
            matching(moment, series).map(|(_, sample)| sample.observed_at).max()
        }
        Condition::State { name, .. } | Condition::Changed { what: Watched::Document { name, .. }, .. } => {
            let key = (moment.component.clone(), name.clone());
            moment.state.states.get(&key).map(|latest| latest.observed_at)
        }
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().filter_map(|part| look(part, moment)).max()
        }
        Condition::Not(part) | Condition::Known(part) | Condition::EveryComponent(part) => look(part, moment),
        Condition::AnyComponent { .. } | Condition::On(_) => None,
    }
}

/// The newest samples that a condition looks at, each once.
fn samples(condition: &Condition, moment: Moment<'_>, lines: &mut Vec<Evidence>) {
    match condition {
        Condition::Sample { series, .. }
        | Condition::Relative { series, .. }
        | Condition::Increase { series, .. }
        | Condition::Absent { series, .. }
        | Condition::Changed { what: Watched::Series(series), .. }
        | Condition::Event { series, .. } => {
            newest(series, moment, lines);
        }
        Condition::State { .. }
        | Condition::Changed { what: Watched::Document { .. }, .. }
        | Condition::AnyComponent { .. }
        | Condition::On(_) => {}
        Condition::All(parts) | Condition::Any(parts) => {
            for part in parts {
                samples(part, moment, lines);
            }
        }
        Condition::Not(part) | Condition::Known(part) | Condition::EveryComponent(part) => {
            samples(part, moment, lines);
        }
    }
}

fn newest(series: &SeriesMatch, moment: Moment<'_>, lines: &mut Vec<Evidence>) {
    for (key, sample) in matching(moment, series) {
        let label = label(&key.metric, &sample.attributes);
        if lines.iter().any(|line| line.label == label && line.metric == *key.metric) {
            continue;
        }
        let value = match &sample.history().unavailable {
            Some((_, why)) => format!("could not be read: {}", present::clean(why, MAX_VALUE)),
            None => present::value(&key.metric, sample.value),
        };
        lines.push(Evidence {
            label,
            value,
            metric: key.metric.to_string(),
            observed_at: sample.observed_at,
        });
        if lines.len() >= MAX_SAMPLE_LINES {
            return;
        }
    }
}

/// What was measured, with the attributes that tell it apart: "printer supply level (supply black)". The state of a
/// series comes first.
fn label(metric: &str, attributes: &Attributes) -> String {
    let is_state = |name: &str| semconv::STATE_ATTRIBUTES.contains(&name);
    let states = attributes.iter().filter(|(name, _)| is_state(name));
    let others = attributes.iter().filter(|(name, _)| !is_state(name));
    let shown: Vec<String> = states
        .chain(others)
        .take(4)
        .map(|(name, value)| format!("{} {value}", name.replace(['.', '_'], " ")))
        .collect();
    let words = present::label(metric);
    if shown.is_empty() {
        words
    } else {
        present::clean(&format!("{words} ({})", shown.join(", ")), MAX_VALUE)
    }
}
