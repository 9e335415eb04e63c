//! What other devices of the same kind measure: the level that a value is compared with where a fixed number would be
//! wrong and the device's own past tells nothing.
//!
//! Of every series that some entry compares so, the newest value of each device is kept, sorted, by the group that its
//! device is in ([`Sameness`]). When a device says such a value, it is told what the others of its group say at that
//! moment ([`Beside`]), and that stands beside its sample: between two samples of its own nothing changes, so the verdict
//! depends on the order of what was said only, live and in a replay.
//!
//! Not counted are the device's own value, what is older than the entry allows, and what could not be read last. The
//! spread comes from the quartiles: when a quarter of a group is slow it becomes so wide that slowness is no news of a
//! single device any more. One value costs two searches in a sorted list.

use crate::knowledge::{Comparison, DeviceTraits, KnowledgeSet, Sameness};
use firstline_model::{Attributes, Body, Component, DeviceId, Observation, Timestamp, Value, semconv};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A device has no more comparable series of one metric; further ones of a broken or hostile one are not compared.
const MOST_SERIES: usize = 64;
/// The distance between the quartiles is so many standard deviations of what is distributed normally.
const QUARTILES: f64 = 1.349;

/// What the others of a group say at the moment of a device's sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    comparison: Arc<Comparison>,
    /// How many others.
    pub count: usize,
    /// The value in their middle.
    pub median: f64,
    /// Their usual deviation from it.
    pub spread: f64,
}

impl Beside {
    /// Whether it is the one that a condition asks for.
    pub(crate) fn answers(&self, same: &[Sameness], within: std::time::Duration) -> bool {
        self.comparison.same == same && self.comparison.within == within
    }
}

/// The newest values of all devices, as far as entries compare them with each other.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    tables: Vec<Table>,
    /// Numbers of devices.
    devices: BTreeMap<DeviceId, usize>,
}

/// The values of one comparison.
#[derive(Debug, Clone)]
struct Table {
    comparison: Arc<Comparison>,
    /// By the number of the device.
    series: Vec<Vec<Held>>,
    groups: BTreeMap<Arc<GroupKey>, usize>,
    /// Values of devices that have not said yet what they are: a start is told before the model is.
    unplaced: BTreeMap<usize, Vec<Unplaced>>,
    /// Empty ones are used again.
    numbered: Vec<Group>,
    free: Vec<usize>,
}

/// A value whose group is not known yet.
#[derive(Debug, Clone)]
struct Unplaced {
    component: Component,
    attributes: Attributes,
    value: f64,
    at: Timestamp,
}

/// Devices that are the same in this, and the series that is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    same: Vec<Arc<str>>,
    component: Component,
    attributes: Attributes,
}

#[derive(Debug, Clone, Default)]
struct Group {
    key: Option<Arc<GroupKey>>,
    values: Vec<f64>,
    /// With the numbers of their devices.
    by_time: BTreeSet<(Timestamp, usize)>,
}

/// The newest value of one device.
#[derive(Debug, Clone)]
struct Held {
    key: Arc<GroupKey>,
    group: usize,
    value: f64,
    at: Timestamp,
}

impl Peers {
    /// Takes an observation in and says what the peers of its device say, for every comparison that asks. Most
    /// observations are compared with nothing, which costs a few comparisons of names.
    pub fn observe(
        &mut self,
        knowledge: &KnowledgeSet,
        device: &DeviceTraits,
        facts: &Value,
        observation: &Observation,
    ) -> Vec<Beside> {
        let (metric, said) = match &observation.body {
            Body::Sample { metric, attributes, value } if value.is_finite() => {
                (metric.as_ref(), Some((attributes, *value)))
            }
            Body::Unavailable { what, .. } => (what.as_ref(), None),
            Body::Sample { .. }
            | Body::Event { .. }
            | Body::State { .. }
            | Body::Presence(_)
            | Body::Diagnostic(_)
            | Body::Facts(_)
            | Body::Gap { .. } => return Vec::new(),
        };
        let comparisons = knowledge.comparisons();
        let component = &observation.component;
        let is_about = |one: &Comparison| one.series.metric == metric && one.component == component.kind;
        if !comparisons.iter().any(|one| is_about(one)) {
            return Vec::new();
        }
        self.follow(comparisons);
        let number = self.number(&device.device);
        let tables = self.tables.iter_mut().filter(|table| is_about(&table.comparison));
        let mut beside = Vec::new();
        for table in tables {
            match said {
                None => table.forget(number, |key| key.component == *component),
                Some((attributes, value)) => {
                    let who = Who { number, device, facts };
                    beside.extend(table.take(&who, component, attributes, value, observation.observed_at));
                }
            }
        }
        beside
    }

    /// A device has said (more of) what it is: its values that waited for that find their groups.
    pub fn describes_itself(&mut self, device: &DeviceTraits, facts: &Value) {
        let Some(number) = self.devices.get(&device.device).copied() else { return };
        let who = Who { number, device, facts };
        for table in &mut self.tables {
            for one in table.unplaced.remove(&number).unwrap_or_default() {
                table.take(&who, &one.component, &one.attributes, one.value, one.at);
            }
        }
    }

    /// Makes room for the comparisons of these entries, so that nothing is lacking of what is said from now on.
    pub fn begin(&mut self, knowledge: &KnowledgeSet) {
        self.follow(knowledge.comparisons());
    }

    /// Whether some comparison of these entries has not been made yet: what devices said before is not known here.
    pub fn lacks(&self, knowledge: &KnowledgeSet) -> bool {
        let known = |one: &&Arc<Comparison>| self.tables.iter().any(|table| table.comparison == **one);
        !knowledge.comparisons().iter().all(|one| known(&one))
    }

    /// The metrics that these entries compare.
    pub fn metrics(knowledge: &KnowledgeSet) -> BTreeSet<&str> {
        knowledge.comparisons().iter().map(|one| one.series.metric.as_str()).collect()
    }

    /// A device is no peer of anybody any more.
    pub fn retire(&mut self, device: &DeviceId) {
        let Some(number) = self.devices.get(device).copied() else { return };
        self.tables.iter_mut().for_each(|table| table.forget(number, |_| true));
    }

    /// Keeps the tables of comparisons that go on, whatever else changed in the entries.
    fn follow(&mut self, comparisons: &[Arc<Comparison>]) {
        let same = self.tables.len() == comparisons.len()
            && self.tables.iter().zip(comparisons).all(|(table, one)| Arc::ptr_eq(&table.comparison, one));
        if same {
            return;
        }
        let mut before = std::mem::take(&mut self.tables);
        self.tables = comparisons
            .iter()
            .map(|one| match before.iter().position(|table| table.comparison == *one) {
                Some(at) => Table { comparison: Arc::clone(one), ..before.swap_remove(at) },
                None => Table::of(Arc::clone(one)),
            })
            .collect();
    }

    fn number(&mut self, device: &DeviceId) -> usize {
        if let Some(known) = self.devices.get(device) {
            return *known;
        }
        let number = self.devices.len();
        self.devices.insert(device.clone(), number);
        number
    }
}

/// Whose value it is.
struct Who<'a> {
    number: usize,
    device: &'a DeviceTraits,
    facts: &'a Value,
}

impl Who<'_> {
    /// What a device is, in one respect; `None` when it does not say.
    fn is(&self, one: Sameness) -> Option<&str> {
        let text = match one {
            Sameness::Site => self.device.site.as_deref(),
            Sameness::DeviceClass => self.device.device_class.as_deref(),
            Sameness::Model | Sameness::Os | Sameness::GatewayMac => {
                self.facts.get(one.as_str()).and_then(Value::as_text)
            }
        };
        text.filter(|text| !text.is_empty())
    }
}

impl Table {
    fn of(comparison: Arc<Comparison>) -> Self {
        Self {
            comparison,
            series: Vec::new(),
            groups: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            numbered: Vec::new(),
            free: Vec::new(),
        }
    }

    fn take(
        &mut self,
        who: &Who<'_>,
        component: &Component,
        attributes: &Attributes,
        value: f64,
        at: Timestamp,
    ) -> Option<Beside> {
        let comparison = Arc::clone(&self.comparison);
        let names_it = |name: &str| !semconv::STATE_ATTRIBUTES.contains(&name);
        let is_selected = comparison.series.selects(attributes);
        let is_series = |key: &GroupKey| {
            key.component == *component
                && key.attributes.iter().eq(attributes.iter().filter(|(name, _)| names_it(name)))
        };
        let known =
            self.series.get(who.number).and_then(|all| all.iter().position(|one| is_series(&one.key)));
        if let Some(known) = known {
            if at < self.series[who.number][known].at {
                return None;
            }
            let held = self.series[who.number].swap_remove(known);
            self.take_out(&held, who.number);
            let is_there = |(one, then): (&Sameness, &Arc<str>)| who.is(*one) == Some(&**then);
            if is_selected && comparison.same.iter().zip(&held.key.same).all(is_there) {
                return self.hold(who.number, Held { value, at, ..held });
            }
            self.close_if_empty(held.group);
        }
        if !is_selected || self.series.get(who.number).is_some_and(|all| all.len() >= MOST_SERIES) {
            return None;
        }
        let same = comparison.same.iter().map(|one| who.is(*one).map(Arc::from)).collect::<Option<_>>();
        let Some(same) = same else {
            let waiting = self.unplaced.entry(who.number).or_default();
            waiting.retain(|one| one.component != *component || one.attributes != *attributes);
            if waiting.len() < MOST_SERIES {
                let (component, attributes) = (component.clone(), attributes.clone());
                waiting.push(Unplaced { component, attributes, value, at });
            }
            return None;
        };
        let attributes = attributes.iter().filter(|(name, _)| names_it(name));
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let key = Arc::new(GroupKey { same, component: component.clone(), attributes });
        let group = self.group(&key);
        self.hold(who.number, Held { key, group, value, at })
    }

    /// The number of a group.
    fn group(&mut self, key: &Arc<GroupKey>) -> usize {
        if let Some(known) = self.groups.get(key) {
            return *known;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.numbered.push(Group::default());
            self.numbered.len() - 1
        });
        self.numbered[number].key = Some(Arc::clone(key));
        self.groups.insert(Arc::clone(key), number);
        number
    }

    /// Puts a value into its group; returns what the others say there.
    fn hold(&mut self, device: usize, held: Held) -> Option<Beside> {
        self.expire(held.group, held.at);
        let group = &mut self.numbered[held.group];
        let beside = beside(&group.values, &self.comparison);
        let place = group.values.partition_point(|known| known.total_cmp(&held.value).is_lt());
        group.values.insert(place, held.value);
        group.by_time.insert((held.at, device));
        if self.series.len() <= device {
            self.series.resize_with(device + 1, Vec::new);
        }
        self.series[device].push(held);
        beside
    }

    /// What is too old for a value of `now` counts no longer.
    fn expire(&mut self, group: usize, now: Timestamp) {
        while let Some((at, device)) = self.numbered[group].by_time.first().copied() {
            if at.plus(self.comparison.within) >= now {
                return;
            }
            let place = self.series[device].iter().position(|held| held.group == group);
            let Some(place) = place else {
                self.numbered[group].by_time.pop_first();
                continue;
            };
            let held = self.series[device].swap_remove(place);
            self.take_out(&held, device);
        }
    }

    fn forget(&mut self, device: usize, which: impl Fn(&GroupKey) -> bool) {
        self.unplaced.remove(&device);
        let Some(series) = self.series.get_mut(device) else { return };
        let gone: Vec<Held> = series.extract_if(.., |held| which(&held.key)).collect();
        for held in gone {
            self.take_out(&held, device);
            self.close_if_empty(held.group);
        }
    }

    /// A group in which nobody is left is not kept: devices may call their model anything.
    fn close_if_empty(&mut self, number: usize) {
        if !self.numbered[number].values.is_empty() {
            return;
        }
        let group = std::mem::take(&mut self.numbered[number]);
        if let Some(key) = group.key {
            self.groups.remove(&key);
        }
        self.free.push(number);
    }

    fn take_out(&mut self, held: &Held, device: usize) {
        let group = &mut self.numbered[held.group];
        group.by_time.remove(&(held.at, device));
        let place = group.values.partition_point(|known| known.total_cmp(&held.value).is_lt());
        if group.values.get(place).is_some_and(|known| known.total_cmp(&held.value).is_eq()) {
            group.values.remove(place);
        }
    }
}

/// The middle and the spread of sorted values.
fn beside(values: &[f64], comparison: &Arc<Comparison>) -> Option<Beside> {
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let below = values[place.floor() as usize];
        let above = values[place.ceil() as usize];
        below + (above - below) * place.fract()
    };
    let spread = (at(0.75) - at(0.25)) / QUARTILES;
    Some(Beside { comparison: Arc::clone(comparison), count: values.len(), median: at(0.5), spread })
}

#[cfg(test)]
mod tests;
