//! Peers: who counts, what is usual among them, and that the sorted lists say what counting each time would.

use super::*;
use crate::device::{KnownDevice, News};
use crate::evaluate::TransitionKind;
use crate::finding::DeviceState;
use crate::fixture::{at, entry, level, sample, seconds, secs, unavailable};
use crate::knowledge::{Compare, Condition, KnowledgeSet, Reference};
use firstline_model::{ComponentKind, Severity};
use proptest::prelude::*;

const DAY: u64 = 86_400;

fn slower(same: &[Sameness], at_least: u32) -> KnowledgeSet {
    let to = Reference::Peers { times: 2.0, spreads: 3.0, same: same.to_vec(), within: secs(DAY), at_least };
    let when =
        Condition::Relative { series: crate::fixture::series("boot", &[]), compare: Compare::Above, to };
    let level = level(Severity::Warning, when, 0, None, 0);
    KnowledgeSet::new([entry("t.slow", ComponentKind::Os, vec![level])], Vec::new())
}

struct Fleet {
    knowledge: KnowledgeSet,
    peers: Peers,
    devices: Vec<KnownDevice>,
    fired: Vec<(usize, f64)>,
}

impl Fleet {
    fn new(knowledge: KnowledgeSet, models: &[&str]) -> Self {
        let device = |(n, model): (usize, &&str)| {
            let traits = DeviceTraits {
                device: DeviceId::new(format!("d{n}")).unwrap(),
                site: None,
                tags: Vec::new(),
                device_class: None,
            };
            let facts = Value::map([("model", Value::from(*model))]);
            KnownDevice::new(traits, format!("d{n}"), facts, DeviceState::default(), Vec::new())
        };
        let devices = models.iter().enumerate().map(device).collect();
        Self { knowledge, peers: Peers::default(), devices, fired: Vec::new() }
    }

    fn says(&mut self, device: usize, observation: &Observation) {
        let mut news = News::default();
        self.devices[device].observe(&self.knowledge, &mut self.peers, observation, &mut news);
        let fired = news.transitions.iter().filter(|one| one.kind == TransitionKind::Fired);
        self.fired.extend(fired.map(|one| (device, one.threshold.unwrap())));
    }

    fn boots(&mut self, t: i64, device: usize, value: f64) {
        self.says(device, &sample(t, "os/0", "boot", &[], value));
    }
}

#[test]
fn a_slow_device_stands_out_among_its_model_and_not_among_others() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 4), &["a", "a", "a", "a", "a", "b"]);
    for (device, value) in [(0, 30.0), (1, 32.0), (2, 34.0), (3, 36.0)] {
        fleet.boots(0, device, value);
    }
    // Another model: nobody to compare with. A device that does not tell its model is nobody's peer.
    fleet.boots(1, 5, 500.0);
    assert_eq!(fleet.fired, []);
    fleet.boots(2, 4, 67.0);
    // Twice the median of 33; three spreads of 2.2 would be less.
    assert_eq!(fleet.fired, [(4, 66.0)]);
}

#[test]
fn its_own_value_does_not_count_and_too_few_peers_tell_nothing() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 4), &["a", "a", "a", "a"]);
    for t in 0..20 {
        for (device, value) in [(0, 30.0), (1, 30.0), (2, 30.0), (3, 300.0)] {
            fleet.boots(t, device, value);
        }
    }
    assert_eq!(fleet.fired, [], "of four devices each has three peers");
}

#[test]
fn old_and_unreadable_values_are_nobodys_peers() {
    let models = ["a"; 5];
    let day = i64::try_from(DAY).unwrap();
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 4), &models);
    (0..4).for_each(|device| fleet.boots(0, device, 30.0));
    fleet.boots(day + 1, 4, 300.0);
    assert_eq!(fleet.fired, [], "a day and a second ago");
    (0..4).for_each(|device| fleet.boots(day + 2, device, 30.0));
    fleet.says(3, &unavailable(day + 3, "os/0", "boot"));
    fleet.boots(day + 4, 4, 300.0);
    assert_eq!(fleet.fired, [], "one of the four could not read it");
    fleet.boots(day + 5, 3, 31.0);
    fleet.boots(day + 6, 4, 300.0);
    assert_eq!(fleet.fired.len(), 1);
}

#[test]
fn when_a_quarter_is_slow_it_is_no_matter_of_one_device() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 4), &["a"; 13]);
    for device in 0..12 {
        fleet.boots(0, device, if device < 4 { 300.0 } else { 30.0 });
    }
    fleet.fired.clear();
    fleet.boots(1, 12, 300.0);
    assert_eq!(fleet.fired, []);
}

#[test]
fn a_device_that_moves_is_a_peer_where_it_measured_last() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 2), &["a", "a", "b", "b"]);
    for device in 0..4 {
        fleet.boots(0, device, if device < 2 { 30.0 } else { 300.0 });
    }
    fleet.fired.clear();
    let facts = Value::map([("model", Value::from("b"))]);
    fleet.says(0, &crate::fixture::observed_facts(1, facts));
    fleet.boots(2, 0, 650.0);
    assert_eq!(fleet.fired, [(0, 600.0)], "among b");
    fleet.boots(3, 1, 900.0);
    assert_eq!(fleet.fired.len(), 1, "nobody of a is left");
}

#[test]
fn a_start_that_is_told_before_the_model_counts_once_the_model_is_told() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 4), &["", "", "", "", "a"]);
    (0..4).for_each(|device| fleet.boots(0, device, 30.0));
    for device in 0..4 {
        let facts = Value::map([("model", Value::from("a"))]);
        fleet.says(device, &crate::fixture::observed_facts(1, facts));
    }
    fleet.boots(2, 4, 300.0);
    assert_eq!(fleet.fired, [(4, 60.0)]);
    assert!(fleet.peers.tables[0].unplaced.is_empty());
}

#[test]
fn a_retired_device_is_no_peer_and_empty_groups_are_not_kept() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 2), &["a", "a", "a"]);
    (0..2).for_each(|device| fleet.boots(0, device, 30.0));
    fleet.peers.retire(&DeviceId::new("d0").unwrap());
    fleet.boots(1, 2, 300.0);
    assert_eq!(fleet.fired, []);
    for n in 0..100 {
        let facts = Value::map([("model", Value::Text(format!("m{n}")))]);
        fleet.says(2, &crate::fixture::observed_facts(n, facts));
        fleet.boots(n + 2, 2, 30.0);
    }
    let table = &fleet.peers.tables[0];
    assert!(table.groups.len() <= 2 && table.numbered.len() <= 3, "{table:?}");
}

#[test]
fn comparisons_that_go_on_keep_their_values_when_entries_change() {
    let mut fleet = Fleet::new(slower(&[Sameness::Model], 2), &["a"; 3]);
    (0..2).for_each(|device| fleet.boots(0, device, 30.0));
    // The same comparison in a new set, and one that is new.
    let KnowledgeSet { entries, .. } = slower(&[Sameness::Model], 2);
    let other = slower(&[Sameness::Os], 2).entries.into_values().map(|mut entry| {
        entry.code = crate::fixture::code("t.other");
        entry
    });
    fleet.knowledge = KnowledgeSet::new(entries.into_values().chain(other), Vec::new());
    assert!(fleet.peers.lacks(&fleet.knowledge));
    fleet.boots(1, 2, 300.0);
    assert_eq!(fleet.fired.len(), 1);
    assert!(!fleet.peers.lacks(&fleet.knowledge));
}

/// What a comparison says when everything is counted each time.
fn counted(newest: &BTreeMap<usize, (Timestamp, f64)>, own: usize, now: Timestamp) -> Option<(usize, f64)> {
    let others = newest.iter().filter(|(device, (at, _))| **device != own && at.plus(secs(DAY)) >= now);
    let mut values: Vec<f64> = others.map(|(_, (_, value))| *value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    let upper = values[values.len() / 2];
    Some((values.len(), f64::midpoint(values[middle], upper)))
}

proptest! {
    #[test]
    fn sorted_lists_say_what_counting_each_time_would(
        said in prop::collection::vec((0_usize..8, 0_u32..30_000, 0_u8..20), 1..200),
    ) {
        let knowledge = slower(&[Sameness::Model], 2);
        let facts = Value::map([("model", Value::from("a"))]);
        let (mut peers, mut newest, mut now) = (Peers::default(), BTreeMap::new(), 0_i64);
        for (device, later, value) in said {
            now += i64::from(later);
            let traits = DeviceTraits {
                device: DeviceId::new(format!("d{device}")).unwrap(),
                site: None,
                tags: Vec::new(),
                device_class: None,
            };
            let observation = sample(now, "os/0", "boot", &[], f64::from(value));
            let beside = peers.observe(&knowledge, &traits, &facts, &observation);
            let told = beside.first().map(|one| (one.count, one.median));
            prop_assert_eq!(told, counted(&newest, device, at(now)), "at {}", seconds(at(now)));
            newest.insert(device, (at(now), f64::from(value)));
        }
    }
}
