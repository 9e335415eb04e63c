//! Order without a copy of the sorting algorithm for every sort of thing and every place that sorts.
//!
//! The standard library's sort is written out anew for each type and each comparison, about four kilobytes at a time, and
//! collecting into a sorted map or set sorts first, with another copy at each place that collects. What agents put in order
//! are lists of tens; that they are small programs counts for more.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Sorts as the standard library's stable sort does.
pub fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let places = sorted(items.len(), &mut |one, other| compare(&items[one], &items[other]));
    for at in 0..items.len() {
        // What should stand here has been moved on by every earlier exchange with its place.
        let mut from = places[at];
        while from < at {
            from = places[from];
        }
        items.swap(at, from);
    }
}

/// Sorts by what `key` makes of each, as the standard library's stable sort does.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], mut key: impl FnMut(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// The places of a list's items in the order in which they should stand.
fn sorted(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|&one, &other| compare(one, other));
    places
}

/// A map of these pairs; of equal keys the last one's value counts.
pub fn map<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(pairs);
    map
}

/// A set of these.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists of keys that repeat, of many lengths: the same at every run.
    fn lists() -> impl Iterator<Item = Vec<(u32, usize)>> {
        let mut state = 1_u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % 23
        };
        (0..150).map(move |length| (0..length).map(|at| (next(), at)).collect())
    }

    #[test]
    fn it_sorts_as_the_standard_library_does_and_keeps_the_order_of_equals() {
        for mut ours in lists() {
            let mut theirs = ours.clone();
            sort_by(&mut ours, |one, other| other.0.cmp(&one.0));
            theirs.sort_by_key(|one| std::cmp::Reverse(one.0));
            assert_eq!(ours, theirs);
            sort_by_key(&mut ours, |one| one.1 % 7);
            theirs.sort_by_key(|one| one.1 % 7);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn maps_and_sets_are_those_that_collecting_makes() {
        for pairs in lists() {
            assert_eq!(map(pairs.clone()), pairs.iter().copied().collect::<BTreeMap<_, _>>());
            assert_eq!(set(pairs.clone()), pairs.into_iter().collect::<BTreeSet<_>>());
        }
    }
}
