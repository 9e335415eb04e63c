//! What the tests of this crate share: short ways to write entries and observations, and a bench that plays them.

use crate::evaluate::{Transition, TransitionKind, advance, next_deadline, observe};
use crate::finding::{DeviceState, Finding, Phase, Standing};
use crate::knowledge::{
    Compare, Condition, Dependency, Detection, DeviceTraits, Explanation, KnowledgeEntry, KnowledgeSet,
    Level, SeriesMatch, TextMatch,
};
use firstline_model::{
    Attributes, Body, Component, ComponentKind, DeviceId, Observation, Presence, RuleCode, Severity,
    Timestamp, UnavailableReason, Value,
};
use std::time::Duration;

pub(crate) const USED: &str = "system.filesystem.utilization";

/// Seconds after 2026-01-05T08:00:00Z, a Monday.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_767_600_000 + seconds) * 1000)
}

pub(crate) fn seconds(at: Timestamp) -> i64 {
    at.as_millis() / 1000 - 1_767_600_000
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn component(text: &str) -> Component {
    text.parse().unwrap()
}

pub(crate) fn code(text: &str) -> RuleCode {
    RuleCode::new(text).unwrap()
}

pub(crate) fn device() -> DeviceTraits {
    DeviceTraits {
        device: DeviceId::new("pc-1").unwrap(),
        site: Some("oslo".to_owned()),
        tags: Vec::new(),
        device_class: None,
    }
}

pub(crate) fn series(metric: &str, attributes: &[(&str, &str)]) -> SeriesMatch {
    SeriesMatch {
        metric: metric.to_owned(),
        attributes: attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), TextMatch::OneOf(vec![(*value).to_owned()])))
            .collect(),
    }
}

pub(crate) fn compare(metric: &str, compare: Compare, level: f64) -> Condition {
    Condition::Sample { series: series(metric, &[]), compare, level, at_least: 1, of: 1 }
}

pub(crate) fn level(
    severity: Severity,
    when: Condition,
    hold: u64,
    clear: Option<Condition>,
    clear_hold: u64,
) -> Level {
    Level { severity, when, hold: secs(hold), clear, clear_hold: secs(clear_hold) }
}

pub(crate) fn entry(text: &str, kind: ComponentKind, levels: Vec<Level>) -> KnowledgeEntry {
    KnowledgeEntry {
        code: code(text),
        title: "{component.id} is at {value}".to_owned(),
        category: "test".to_owned(),
        impact: 3,
        enabled: true,
        opens_ticket: true,
        detection: Detection {
            component: kind,
            also: Vec::new(),
            levels,
            depends_on: Vec::new(),
            latched: false,
        },
        explanation: Explanation::default(),
        words: crate::knowledge::Words::default(),
        tests: Vec::new(),
        causes: Vec::new(),
        steps: Vec::new(),
        article: None,
        examples: Vec::new(),
    }
}

/// A warning above 0.9 for `hold`, cleared below 0.8 for `clear_hold`; critical above 0.98, cleared below 0.9.
pub(crate) fn space(hold: u64, clear_hold: u64) -> KnowledgeEntry {
    let one = |severity, above, below| {
        let when = compare(USED, Compare::Above, above);
        level(severity, when, hold, Some(compare(USED, Compare::Below, below)), clear_hold)
    };
    let levels = vec![one(Severity::Warning, 0.9, 0.8), one(Severity::Critical, 0.98, 0.9)];
    entry("fs.space", ComponentKind::Filesystem, levels)
}

pub(crate) fn depends(mut entry: KnowledgeEntry, rules: &[&str]) -> KnowledgeEntry {
    entry.detection.depends_on =
        rules.iter().map(|rule| Dependency { rule: code(rule), same_component: false }).collect();
    entry
}

pub(crate) fn sample(t: i64, on: &str, metric: &str, attributes: &[(&str, &str)], value: f64) -> Observation {
    let attributes: Attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    observation(t, on, Body::Sample { metric: metric.to_owned().into(), attributes, value })
}

pub(crate) fn used(t: i64, value: f64) -> Observation {
    sample(t, "filesystem/C:", USED, &[], value)
}

pub(crate) fn event(t: i64, on: &str, name: &str, attributes: &[(&str, &str)]) -> Observation {
    let attributes: Attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    observation(t, on, Body::Event { name: name.to_owned().into(), attributes })
}

pub(crate) fn document(t: i64, on: &str, name: &str, document: Value) -> Observation {
    observation(t, on, Body::State { name: name.to_owned().into(), document })
}

pub(crate) fn unavailable(t: i64, on: &str, what: &str) -> Observation {
    let reason = UnavailableReason::NotPermitted;
    observation(t, on, Body::Unavailable { what: what.to_owned().into(), reason, detail: String::new() })
}

pub(crate) fn presence(t: i64, presence: Presence) -> Observation {
    observation(t, "os/0", Body::Presence(presence))
}

pub(crate) fn observed_facts(t: i64, facts: Value) -> Observation {
    observation(t, "os/0", Body::Facts(facts))
}

fn observation(t: i64, on: &str, body: Body) -> Observation {
    Observation { component: component(on), observed_at: at(t), body }
}

/// A finding that fires since `since`.
pub(crate) fn finding(rule: &str, on: &str, since: i64) -> Finding {
    Finding {
        rule: code(rule),
        component: component(on),
        phase: Phase::Firing,
        severity: Severity::Critical,
        since: at(since),
        fired_at: Some(at(since)),
        level_since: vec![Some(at(since))],
        clear_since: None,
        cleared_at: None,
        value: None,
        threshold: None,
        metric: String::new(),
        suppressed: None,
        held_until: None,
        recent_fires: Vec::new(),
        episodes: 1,
        standing: Standing::Own,
    }
}

/// A device under test.
pub(crate) struct Bench {
    pub(crate) knowledge: KnowledgeSet,
    pub(crate) device: DeviceTraits,
    pub(crate) state: DeviceState,
    pub(crate) seen: Vec<Transition>,
}

impl Bench {
    pub(crate) fn new(entries: impl IntoIterator<Item = KnowledgeEntry>) -> Self {
        Self {
            knowledge: KnowledgeSet::new(entries, Vec::new()),
            device: device(),
            state: DeviceState::default(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn play(&mut self, observations: &[Observation]) -> &mut Self {
        for one in observations {
            observe(&self.knowledge, &self.device, &mut self.state, one, Vec::new(), &mut self.seen);
        }
        self
    }

    pub(crate) fn wait(&mut self, until: i64) -> &mut Self {
        advance(&self.knowledge, &self.device, &mut self.state, at(until), &mut self.seen);
        self
    }

    pub(crate) fn deadline(&self) -> Option<i64> {
        next_deadline(&self.knowledge, &self.device, &self.state).map(seconds)
    }

    /// What changed, one line each: `900 fired warning fs.space filesystem/C:`, without the pending ones.
    pub(crate) fn story(&self) -> Vec<String> {
        let told =
            self.seen.iter().filter(|t| !matches!(t.kind, TransitionKind::Pending | TransitionKind::Lapsed));
        told.map(|t| format!("{} {} {} {}", seconds(t.at), t.kind.as_str(), t.severity, t.rule)).collect()
    }
}
