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
        // What is compared with a moving level is judged from the steady record.
        Condition::Relative { .. } => {}
        // Events are sent at once in any case, documents with the steady record.
        Condition::Event { .. }
        | Condition::State { .. }
        | Condition::Absent { .. }
        | Condition::Changed { .. }
        | Condition::AnyComponent { .. }
        | Condition::On(_) => {}
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|part| walk(part, component, triggers));
        }
        Condition::Not(part) | Condition::Known(part) | Condition::EveryComponent(part) => {
            walk(part, component, triggers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Knowledge;
    use firstline_model::DeviceId;

    fn policy(overrides: &[(&str, &str)]) -> v1::Policy {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in overrides {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let knowledge = Knowledge::open(folder.path()).unwrap();
        assert!(knowledge.problems().is_empty(), "{:?}", knowledge.problems());
        let device = DeviceTraits {
            device: DeviceId::new("pc-1").unwrap(),
            site: None,
            tags: Vec::new(),
            device_class: None,
        };
        policy_for(&knowledge.running().set, &device, 1)
    }

    fn levels(policy: &v1::Policy, metric: &str) -> Vec<f64> {
        policy
            .triggers
            .iter()
            .filter(|trigger| trigger.metric == metric)
            .map(|trigger| trigger.level)
            .collect()
    }

    #[test]
    fn levels_of_breach_and_of_recovery_reach_the_agent_once() {
        let levels = levels(&policy(&[]), semconv::FILESYSTEM_UTILIZATION);
        assert_eq!(levels, [0.8, 0.9, 0.98]);
    }

    #[test]
    fn a_short_hold_makes_the_probe_run_often_enough_and_no_more_often_than_allowed() {
        assert!(policy(&[]).probe_intervals.iter().all(|i| i.interval_s >= 5));
        let short = policy(&[("p.toml", "override = \"prn.stopped\"\n[detect]\nfor = \"1s\"\n")]);
        let printer = short.probe_intervals.iter().find(|i| i.probe == "printer").unwrap();
        assert_eq!(printer.interval_s, 5);
    }

    #[test]
    fn a_disabled_entry_asks_for_nothing() {
        let off = policy(&[("off.toml", "override = \"fs.space\"\nenabled = false\n")]);
        assert_eq!(levels(&off, semconv::FILESYSTEM_UTILIZATION), Vec::<f64>::new());
    }

    #[test]
    fn rounding_at_the_source_moves_no_value_across_a_level_of_the_pack() {
        use firstline_model::resolution;
        let triggers = policy(&[]).triggers;
        assert!(triggers.len() > 20, "{}", triggers.len());
        let too_coarse: Vec<_> = triggers
            .iter()
            .filter(|trigger| resolution::rounded(&trigger.metric, trigger.level) != trigger.level)
            .map(|trigger| (&trigger.metric, trigger.level))
            .collect();
        assert!(too_coarse.is_empty(), "levels between two steps of their metric: {too_coarse:?}");
    }
}
