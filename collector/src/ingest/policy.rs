//! What the rules in force mean for agents: which levels they watch closely, and which probes must run more often than
//! usual so that a short hold time can be kept.

use firstline_collector_core::knowledge::{Condition, DeviceTraits, KnowledgeEntry, KnowledgeSet, TextMatch};
use firstline_model::{ComponentKind, semconv};
use firstline_proto::v1;
use std::collections::BTreeMap;
use std::time::Duration;

/// How deep directory names may be shown in tickets.
const DIRECTORY_DEPTH: u32 = 3;
/// Rules with a hold time below this make their probe run more often.
const USUAL_INTERVAL: Duration = Duration::from_secs(60);
/// No probe is asked to run more often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

/// The policy for one device.
pub(crate) fn policy_for(knowledge: &KnowledgeSet, device: &DeviceTraits, revision: u64) -> v1::Policy {
    let mut triggers = Vec::new();
    let mut intervals: BTreeMap<&'static str, Duration> = BTreeMap::new();
    for code in knowledge.entries.keys() {
        let Some(entry) = knowledge.entry_for(code, device).filter(|entry| entry.enabled) else { continue };
        collect_triggers(entry, &mut triggers);
        let shortest =
            entry.detection.levels.iter().map(|level| level.hold).filter(|hold| !hold.is_zero()).min();
        if let (Some(hold), Some(probe)) = (shortest, probe_of(entry.detection.component))
            && hold < USUAL_INTERVAL
        {
            let interval = hold.max(SHORTEST_INTERVAL);
            intervals.entry(probe).and_modify(|known| *known = interval.min(*known)).or_insert(interval);
        }
    }
    triggers.sort_by(|a: &v1::Trigger, b| {
        (&a.metric, &a.component_kind, &a.attributes)
            .cmp(&(&b.metric, &b.component_kind, &b.attributes))
            .then(a.level.total_cmp(&b.level))
    });
    triggers.dedup();
    v1::Policy {
        revision,
        heartbeat_s: 60,
        probe_intervals: intervals
            .into_iter()
            .map(|(probe, interval)| v1::ProbeInterval {
                probe: probe.to_owned(),
                interval_s: u32::try_from(interval.as_secs()).unwrap_or(u32::MAX),
            })
            .collect(),
        triggers,
        directory_depth: DIRECTORY_DEPTH,
    }
}

/// The probe that reports components of this kind and is not sampled every few seconds anyway.
fn probe_of(kind: ComponentKind) -> Option<&'static str> {
    match kind {
        ComponentKind::Printer => Some("printer"),
        ComponentKind::DnsServer
        | ComponentKind::Gateway
        | ComponentKind::Network
        | ComponentKind::NetworkInterface => Some("network"),
        ComponentKind::Service | ComponentKind::Os => Some("os"),
        ComponentKind::PhysicalDisk => Some("physical_disk"),
        ComponentKind::Cpu
        | ComponentKind::Memory
        | ComponentKind::Filesystem
        | ComponentKind::LogicalDisk
        | ComponentKind::Battery
        | ComponentKind::Sensor
        | ComponentKind::Fan
        | ComponentKind::Gpu
        | ComponentKind::Vpn
        | ComponentKind::Wifi
        | ComponentKind::Endpoint
        | ComponentKind::Application
        | ComponentKind::Process
        | ComponentKind::Security
        | ComponentKind::Device
        | ComponentKind::User
        | ComponentKind::Agent
        | ComponentKind::Site => None,
    }
}

fn collect_triggers(entry: &KnowledgeEntry, triggers: &mut Vec<v1::Trigger>) {
    for level in &entry.detection.levels {
        walk(&level.when, entry.detection.component, triggers);
        if let Some(clear) = &level.clear {
            walk(clear, entry.detection.component, triggers);
        }
    }
}

fn walk(condition: &Condition, component: ComponentKind, triggers: &mut Vec<v1::Trigger>) {
    let mut add = |series: &firstline_collector_core::knowledge::SeriesMatch, level: f64| {
        let attributes = series
            .attributes
            .iter()
            .filter(|(name, _)| !semconv::STATE_ATTRIBUTES.contains(&name.as_str()))
            .filter_map(|(name, matches)| match matches {
                TextMatch::OneOf(texts) if texts.len() == 1 => Some([name.clone(), texts[0].clone()]),
                TextMatch::OneOf(_) | TextMatch::NoneOf(_) | TextMatch::StartsWith(_) => None,
            })
            .flatten()
            .collect();
        triggers.push(v1::Trigger {
            metric: series.metric.clone(),
            component_kind: component.as_str().to_owned(),
            level,
            attributes,
        });
    };
    match condition {
        Condition::Sample { series, level, .. } => add(series, *level),
        Condition::Increase { series, .. } => add(series, 0.0),
        // Events are sent at once in any case, documents with the steady record.
        Condition::Event { .. } | Condition::State { .. } => {}
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|part| walk(part, component, triggers));
        }
        Condition::Not(part) | Condition::Known(part) | Condition::EveryComponent(part) => {
            walk(part, component, triggers);
        }
    }
}
