//! What cannot wait for the next steady record: a value that crosses a level of an active rule in either direction, a
//! counter of such a rule that moved, and every event.

use crate::policy::Trigger;
use firstline_model::{Attributes, Body, Component, Observation, order, semconv};
use std::collections::BTreeMap;

/// The levels in force and on which side of them each series was last seen.
#[derive(Debug, Default)]
pub struct Triggers {
    levels: Vec<Trigger>,
    seen: BTreeMap<(Component, String, Attributes), Seen>,
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    value: f64,
    state: Vec<String>,
    sides: Vec<bool>,
}

impl Triggers {
    /// Most series that are remembered; a device with more is broken or hostile, and its further ones wait for the
    /// steady record.
    const MOST_SERIES: usize = 4096;

    /// Replaces the levels. Sides are learned anew: the next run reports what is beyond a level.
    pub fn set_levels(&mut self, levels: Vec<Trigger>) {
        self.levels = levels;
        // Every observation of every look asks for the levels of its metric.
        order::sort_by(&mut self.levels, |one, other| one.metric.cmp(&other.metric));
        self.seen.clear();
    }

    /// Whether this observation has to be sent at once. Remembers it in any case.
    pub fn is_urgent(&mut self, observation: &Observation) -> bool {
        match &observation.body {
            Body::Sample { metric, attributes, value } => {
                self.sample_is_urgent(&observation.component, metric, attributes, *value)
            }
            Body::Event { .. } | Body::Presence(_) | Body::Diagnostic(_) | Body::Gap { .. } => true,
            Body::State { .. } | Body::Unavailable { .. } | Body::Facts(_) => false,
        }
    }

    fn sample_is_urgent(
        &mut self,
        component: &Component,
        metric: &str,
        attributes: &Attributes,
        value: f64,
    ) -> bool {
        let is_state = |name: &str| semconv::STATE_ATTRIBUTES.contains(&name);
        let first = self.levels.partition_point(|trigger| trigger.metric.as_str() < metric);
        let levels: Vec<&Trigger> = self
            .levels
            .iter()
            .skip(first)
            .take_while(|trigger| trigger.metric == metric)
            .filter(|trigger| trigger.component == component.kind)
            .filter(|trigger| {
                trigger
                    .attributes
                    .iter()
                    .all(|(name, wanted)| is_state(name) || attributes.get(name) == Some(wanted))
            })
            .collect();
        if levels.is_empty() {
            return false;
        }
        let series: Attributes = attributes
            .iter()
            .filter(|(name, _)| !is_state(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let now = Seen {
            value,
            state: attributes
                .iter()
                .filter(|(name, _)| is_state(name))
                .map(|(_, value)| value.to_owned())
                .collect(),
            sides: levels.iter().map(|trigger| value > trigger.level).collect(),
        };
        let counts = semconv::metric(metric).is_some_and(|metric| metric.cumulative);
        let key = (component.clone(), metric.to_owned(), series);
        let urgent = match self.seen.get(&key) {
            Some(before) => {
                before.state != now.state
                    || if counts { before.value != value } else { before.sides != now.sides }
            }
            // First sight: beyond a level is news, a counter's first value is not.
            None => !counts && now.sides.contains(&true),
        };
        if self.seen.contains_key(&key) || self.seen.len() < Self::MOST_SERIES {
            self.seen.insert(key, now);
        }
        urgent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{ComponentKind, Timestamp};

    fn sample(metric: &'static str, component: &str, attributes: Attributes, value: f64) -> Observation {
        Observation {
            component: component.parse().unwrap(),
            observed_at: Timestamp::from_millis(0),
            body: Body::Sample { metric: metric.into(), attributes, value },
        }
    }

    fn triggers(metric: &str, component: ComponentKind, levels: &[f64]) -> Triggers {
        let mut triggers = Triggers::default();
        triggers.set_levels(
            levels
                .iter()
                .map(|&level| Trigger { metric: metric.to_owned(), component, level, attributes: vec![] })
                .collect(),
        );
        triggers
    }

    #[test]
    fn crossing_a_level_in_either_direction_is_urgent_and_staying_is_not() {
        let metric = semconv::FILESYSTEM_UTILIZATION;
        let mut triggers = triggers(metric, ComponentKind::Filesystem, &[0.8, 0.9]);
        let urgent: Vec<bool> = [0.5, 0.95, 0.96, 0.85, 0.5, 0.5]
            .iter()
            .map(|&value| triggers.is_urgent(&sample(metric, "filesystem//", Attributes::none(), value)))
            .collect();
        assert_eq!(urgent, [false, true, false, true, true, false]);
    }

    #[test]
    fn components_are_told_apart() {
        let metric = semconv::FILESYSTEM_UTILIZATION;
        let mut triggers = triggers(metric, ComponentKind::Filesystem, &[0.9]);
        assert!(triggers.is_urgent(&sample(metric, "filesystem//", Attributes::none(), 0.95)));
        assert!(triggers.is_urgent(&sample(metric, "filesystem//home", Attributes::none(), 0.95)));
        assert!(!triggers.is_urgent(&sample(metric, "filesystem//", Attributes::none(), 0.95)));
    }

    #[test]
    fn a_counter_is_urgent_when_it_moves_but_not_at_first_sight() {
        let metric = semconv::OOM_KILLS;
        let mut triggers = triggers(metric, ComponentKind::Memory, &[0.0]);
        let urgent: Vec<bool> = [7.0, 7.0, 8.0]
            .iter()
            .map(|&value| triggers.is_urgent(&sample(metric, "memory/0", Attributes::none(), value)))
            .collect();
        assert_eq!(urgent, [false, false, true]);
    }

    #[test]
    fn a_state_that_changes_is_urgent() {
        let metric = semconv::SERVICE_STATE;
        let mut triggers = triggers(metric, ComponentKind::Service, &[0.5]);
        let with = |state: &str| Attributes::none().with("name", "cups").with("state", state);
        let urgent: Vec<bool> = ["active", "active", "failed", "active"]
            .iter()
            .map(|state| triggers.is_urgent(&sample(metric, "service/cups", with(state), 1.0)))
            .collect();
        assert_eq!(urgent, [true, false, true, true]);
    }
}
