//! Which ticket speaks of which fault.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Row, Score};
use super::{AFTERWARDS, TRACES, Told};
use crate::fleet::truth::{Truth, Truths};

/// How a ticket relates to the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is about this fault.
    Of(usize),
    /// This fault explains it, but another ticket is about it.
    Beside(usize),
    Nowhere,
}

/// What became of one fault.
#[derive(Debug, Clone, Default)]
struct Found {
    /// The first time a ticket spoke of it.
    at: Option<f64>,
    cause_right: bool,
    parent: Option<u64>,
}

pub(super) fn judge(
    truths: &Truths,
    tickets: &BTreeMap<u64, Told>,
    stood_for: &[(u64, String, String)],
) -> Score {
    let faults = &truths.faults;
    let mut by_device: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, fault) in faults.iter().enumerate() {
        for device in &fault.devices {
            by_device.entry(device).or_default().push(place);
        }
    }
    let mut score = Score::of_fleet(truths);
    let mut found = vec![Found::default(); faults.len()];
    for (id, told) in tickets.iter().filter(|(_, told)| told.is_problem) {
        for at in &told.opened {
            let right = faults.iter().position(|fault| is_parent_of(fault, told, *at));
            match right {
                Some(place) => {
                    found[place].parent = Some(*id);
                    note(&mut found[place], &faults[place], told, *at);
                }
                None => {
                    score.false_parents += 1;
                    score.false_tickets += 1;
                    score.examples.push(describe("false parent", *id, told, *at));
                }
            }
        }
    }
    let mut ungrouped: BTreeSet<usize> = BTreeSet::new();
    for (id, told) in tickets.iter().filter(|(_, told)| !told.is_problem) {
        let near = by_device.get(told.device.as_str()).map(Vec::as_slice).unwrap_or_default();
        for at in &told.opened {
            match place_of(faults, near, told, *at) {
                Place::Of(place) => {
                    if faults[place].shared.is_none() || found[place].parent.is_none() {
                        note(&mut found[place], &faults[place], told, *at);
                    } else if told.parent.is_none() {
                        score.ungrouped_tickets += 1;
                        ungrouped.insert(place);
                    }
                }
                Place::Beside(_) if told.parent.is_some() => {}
                Place::Beside(place) => {
                    score.beside += 1;
                    *score
                        .beside_by
                        .entry(format!("{} beside {}", told.rule, faults[place].kind))
                        .or_default() += 1;
                }
                Place::Nowhere => {
                    score.false_tickets += 1;
                    *score.false_by.entry(told.rule.clone()).or_default() += 1;
                    score.examples.push(describe("false ticket", *id, told, *at));
                }
            }
        }
    }
    for (place, fault) in faults.iter().enumerate() {
        let one = &found[place];
        let row = score.kinds.entry(fault.kind.clone()).or_default();
        count(row, fault, one);
        if one.at.is_none() {
            let devices = fault.devices.join(",");
            score.examples.push(format!("missed {} {} on {devices:.60}", fault.fault, fault.kind));
        } else if !one.cause_right {
            score.examples.push(format!("wrong cause {} {}", fault.fault, fault.kind));
        }
        if let Some(parent) = one.parent {
            score.members_stood_for += stood_for.iter().filter(|(of, _, _)| *of == parent).count();
        } else if fault.shared.is_some() {
            score.examples.push(format!("no parent {} {}", fault.fault, fault.kind));
        }
    }
    score
}

fn count(row: &mut Row, fault: &Truth, found: &Found) {
    row.faults += 1;
    row.shared += usize::from(fault.shared.is_some());
    row.parents += usize::from(found.parent.is_some());
    if let Some(at) = found.at {
        row.found += 1;
        row.cause_right += usize::from(found.cause_right);
        let beyond = (at - f64::from(fault.due)).max(0.0);
        row.delays.push(beyond);
        row.intervals.push(beyond / f64::from(fault.interval_s.max(1)));
    }
}

fn note(found: &mut Found, fault: &Truth, told: &Told, at: f64) {
    found.at = Some(found.at.map_or(at, |before| before.min(at)));
    let right = fault.likely_cause.iter().any(|word| told.likely_cause.contains(word.as_str()));
    found.cause_right |= right || fault.likely_cause.is_empty();
}

fn is_in_time(fault: &Truth, at: f64) -> bool {
    at >= f64::from(fault.start) && at <= f64::from(fault.end) + AFTERWARDS
}

fn is_parent_of(fault: &Truth, told: &Told, at: f64) -> bool {
    fault.shared.as_ref().is_some_and(|shared| {
        shared.rule == told.rule && shared.components.contains(&told.component) && is_in_time(fault, at)
    })
}

fn place_of(faults: &[Truth], near: &[usize], told: &Told, at: f64) -> Place {
    let in_time = || near.iter().copied().filter(|place| is_in_time(&faults[*place], at));
    let is_of = |fault: &Truth| {
        fault.rules.contains(&told.rule)
            && (fault.components.is_empty() || fault.components.contains(&told.component))
    };
    if let Some(place) = in_time().find(|place| is_of(&faults[*place])) {
        return Place::Of(place);
    }
    let speaks = |fault: &Truth| fault.also.contains(&told.rule);
    let lately = |place: &usize| {
        let fault = &faults[*place];
        speaks(fault) && at >= f64::from(fault.start) && at <= f64::from(fault.end) + TRACES
    };
    near.iter().copied().find(lately).map_or(Place::Nowhere, Place::Beside)
}

fn describe(what: &str, id: u64, told: &Told, at: f64) -> String {
    let second = crate::fleet::clock::text(crate::fleet::fault::seconds(at));
    format!("{what} #{id} {second} {} {} {}", told.device, told.rule, told.component)
}
