//! The series of a device, kept small: a device has about a hundred of them, and a collector many devices.
//!
//! Names of series are the same on most devices (`cpu/0`, `filesystem/C:`), so equal ones are kept once for the whole
//! process, and so are equal sets of attributes. What only some rules ask for stands beside the sample, and only where
//! there is something to remember.

use super::{LatestSample, SeriesKey};
use crate::peers::Beside;
use firstline_model::{Attributes, Component, Timestamp};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest samples of a device by series, in order of the series' names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesMap(Vec<(Arc<SeriesKey>, LatestSample)>);

/// Room is made for so many further series at a time: devices get few after their first minutes.
const ROOM: usize = 4;

impl SeriesMap {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&SeriesKey, &LatestSample)> {
        self.0.iter().map(|(key, sample)| (key.as_ref(), sample))
    }

    /// Their names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.0.iter().map(|(key, _)| key.as_ref())
    }

    /// Whether this series is known.
    pub fn contains_key(&self, key: &SeriesKey) -> bool {
        self.place(key).is_ok()
    }

    /// The newest sample of a series.
    pub fn get(&self, key: &SeriesKey) -> Option<&LatestSample> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// The newest sample of a series, to change it.
    pub fn get_mut(&mut self, key: &SeriesKey) -> Option<&mut LatestSample> {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// The newest sample of a series whose attributes are those of `attributes` that `keep` keeps, to change it.
    pub(crate) fn selected_mut(
        &mut self,
        component: &Component,
        metric: &str,
        attributes: &Attributes,
        keep: impl Fn(&str) -> bool,
    ) -> Option<&mut LatestSample> {
        let (from, to) = self.range_of(component, metric);
        let is_it =
            |key: &SeriesKey| key.attributes.iter().eq(attributes.iter().filter(|(name, _)| keep(name)));
        let at = (from..to).find(|at| is_it(&self.0[*at].0))?;
        Some(&mut self.0[at].1)
    }

    /// Remembers a sample as the newest of its series.
    pub fn insert(&mut self, key: SeriesKey, mut sample: LatestSample) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = sample,
            Err(at) => {
                let key = shared_key(key);
                sample.attributes = if sample.attributes == key.attributes {
                    key.attributes.clone()
                } else {
                    shared_attributes(&sample.attributes)
                };
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(ROOM);
                }
                self.0.insert(at, (key, sample));
            }
        }
    }

    /// The series of one metric of one component, in order.
    pub fn of<'s>(
        &'s self,
        component: &Component,
        metric: &str,
    ) -> impl Iterator<Item = (&'s SeriesKey, &'s LatestSample)> + use<'s> {
        let (from, to) = self.range_of(component, metric);
        self.0[from..to].iter().map(|(key, sample)| (key.as_ref(), sample))
    }

    /// The same, to change them.
    pub fn of_mut<'s>(
        &'s mut self,
        component: &Component,
        metric: &str,
    ) -> impl Iterator<Item = &'s mut LatestSample> + use<'s> {
        let (from, to) = self.range_of(component, metric);
        self.0[from..to].iter_mut().map(|(_, sample)| sample)
    }

    fn range_of(&self, component: &Component, metric: &str) -> (usize, usize) {
        let order = |key: &SeriesKey| key.component.cmp(component).then_with(|| (*key.metric).cmp(metric));
        let from = self.0.partition_point(|(key, _)| order(key) == Ordering::Less);
        let count = self.0[from..].iter().take_while(|(key, _)| order(key) == Ordering::Equal).count();
        (from, from + count)
    }

    fn place(&self, key: &SeriesKey) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key))
    }
}

impl FromIterator<(SeriesKey, LatestSample)> for SeriesMap {
    fn from_iter<I: IntoIterator<Item = (SeriesKey, LatestSample)>>(series: I) -> Self {
        let mut map = Self::default();
        for (key, sample) in series {
            map.insert(key, sample);
        }
        map
    }
}

/// What is remembered of a series beside its newest sample, for the rules that ask for it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The newest values before it, newest first, as many as the rules look at (N of M).
    pub before: Vec<f64>,
    /// The state attributes that came with each of `before`, in the same order; none where it is shorter.
    pub before_states: Vec<Attributes>,
    /// When its value or state attributes last differed from those before, where a rule asks for it.
    pub changed_at: Option<Timestamp>,
    /// For counters and events that a rule counts in a window: amounts with their times, oldest first, bounded.
    pub window: Vec<(Timestamp, f64)>,
    /// Why it could not be read last time, when that is newer than the sample.
    pub unavailable: Option<(Timestamp, String)>,
    /// What other devices measured when the newest sample came. Not stored: after a start of the collector it is known
    /// from the next sample on.
    pub beside: Vec<Beside>,
}

impl History {
    pub(super) const NONE: Self = Self {
        before: Vec::new(),
        before_states: Vec::new(),
        changed_at: None,
        window: Vec::new(),
        unavailable: None,
        beside: Vec::new(),
    };

    /// Remembers the value that a newer one replaces, as one of at most `most`.
    pub(crate) fn replaced(&mut self, value: f64, states: Attributes, most: usize) {
        if self.before.len() == self.before.capacity() {
            self.before.reserve_exact((most - self.before.len().min(most)).clamp(1, 4));
        }
        self.before.truncate(most.saturating_sub(1));
        self.before.insert(0, value);
        // Most are the same as those before, and states that were none leave no trace.
        let states = match self.before_states.first() {
            Some(known) if *known == states => known.clone(),
            Some(_) | None => shared_attributes(&states),
        };
        if !states.is_empty() || !self.before_states.is_empty() {
            self.before_states.insert(0, states);
            self.before_states.truncate(most);
            while self.before_states.last().is_some_and(Attributes::is_empty) {
                self.before_states.pop();
            }
        }
    }
}

/// What is equal on many devices is kept once. What nobody has any more goes when the set has doubled.
struct Once<T> {
    known: BTreeSet<T>,
    sweep_at: usize,
}

/// What can be shared, and knows whether it is.
trait Shared: Ord + Clone {
    fn is_shared(&self) -> bool;
}

impl<T: Ord> Shared for Arc<T> {
    fn is_shared(&self) -> bool {
        Self::strong_count(self) > 1
    }
}

impl Shared for Attributes {
    fn is_shared(&self) -> bool {
        self.has_copies()
    }
}

impl<T: Shared> Once<T> {
    const fn new() -> Self {
        Self { known: BTreeSet::new(), sweep_at: 1024 }
    }

    fn share(&mut self, one: T) -> T {
        if let Some(known) = self.known.get(&one) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(Shared::is_shared);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        self.known.insert(one.clone());
        one
    }
}

static KEYS: Mutex<Once<Arc<SeriesKey>>> = Mutex::new(Once::new());

fn shared_key(key: SeriesKey) -> Arc<SeriesKey> {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).share(Arc::new(key))
}

static ATTRIBUTES: Mutex<Once<Attributes>> = Mutex::new(Once::new());

/// The same attributes, kept once for all that have them.
pub(crate) fn shared_attributes(attributes: &Attributes) -> Attributes {
    if attributes.is_empty() {
        return Attributes::none();
    }
    ATTRIBUTES.lock().unwrap_or_else(PoisonError::into_inner).share(attributes.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Rhythm;
    use crate::fixture::{at, component};
    use std::collections::BTreeMap;

    fn key(on: &str, metric: &str, value: &str) -> SeriesKey {
        let attributes = match value {
            "" => Attributes::none(),
            value => Attributes::none().with("a", value),
        };
        SeriesKey { component: component(on), metric: metric.into(), attributes }
    }

    #[test]
    fn the_map_says_what_an_ordinary_one_says_in_whatever_order_series_come() {
        let mut map = SeriesMap::default();
        let mut plain = BTreeMap::new();
        let (on, metrics, values) = (["cpu/0", "fan/1", "fan/10"], ["m", "m.x", "n"], ["", "1", "2"]);
        // 11 and 27 have no common factor, so every combination comes once, in no order.
        for step in 0..27 {
            let n = step * 11 % 27;
            let key = key(on[n % 3], metrics[n / 3 % 3], values[n / 9]);
            let sample = LatestSample::new(at(0), n as f64, Attributes::none(), Rhythm::default());
            map.insert(key.clone(), sample.clone());
            plain.insert(key, sample);
        }
        assert!(map.iter().eq(plain.iter()));
        for on in on.into_iter().chain(["gpu/0"]) {
            for metric in metrics.into_iter().chain(["o"]) {
                let of = map.of(&component(on), metric);
                assert!(
                    of.eq(plain.iter().filter(|(k, _)| k.component == component(on) && *k.metric == *metric))
                );
            }
        }
        assert_eq!(map.get(&key("fan/1", "m", "2")), plain.get(&key("fan/1", "m", "2")));
        assert!(!map.contains_key(&key("fan/1", "m", "3")));
    }

    #[test]
    fn equal_names_are_kept_once_and_go_when_nobody_has_them() {
        let mut once = Once::new();
        let held = once.share(Arc::new("held".to_owned()));
        assert!(Arc::ptr_eq(&held, &once.share(Arc::new("held".to_owned()))));
        for number in 0..5000 {
            once.share(Arc::new(format!("{number}")));
        }
        assert!(once.known.len() <= 1024, "{}", once.known.len());
        assert!(Arc::ptr_eq(&held, &once.share(Arc::new("held".to_owned()))));
    }

    #[test]
    fn the_values_before_are_bounded_and_their_states_too() {
        let state = |text: &str| Attributes::none().with("hw.state", text);
        let mut history = History::default();
        for (value, states) in
            [(1.0, state("bad")), (2.0, Attributes::none()), (3.0, state("bad")), (4.0, Attributes::none())]
        {
            history.replaced(value, states, 3);
        }
        assert_eq!(history.before, [4.0, 3.0, 2.0]);
        assert_eq!(history.before_states, [Attributes::none(), state("bad")]);
    }
}
