//! Pure: which tickets of the rules in force have no counterpart under the changed ones, and the other way round.
//!
//! A ticket is the same fault under both when device and part are the same and the times in which the two were open
//! overlap: another threshold opens later, and closes earlier, and is still about that fault.

use super::tally::{Opened, Tally};
use firstline_model::{DeviceId, RuleCode, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// How two sets of tickets of one rule differ.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference<'t> {
    /// Tickets that both have.
    pub(super) kept: usize,
    /// Tickets that only the rules in force opened.
    pub(super) lost: Vec<&'t Opened>,
    /// Tickets that only the changed rules opened.
    pub(super) gained: Vec<&'t Opened>,
    /// By how much the middle one of the kept tickets opened later (`Ok`) or sooner (`Err`).
    pub(super) shift: Option<Result<Duration, Duration>>,
}

/// What it is about: whose (or which site's) and which part.
type Fault<'t> = (Option<&'t DeviceId>, Option<&'t str>, &'t str);

/// Compares the tickets of `rule`.
pub(super) fn difference<'t>(before: &'t Tally, after: &'t Tally, rule: &RuleCode) -> Difference<'t> {
    let (before, mut after) = (by_fault(before, rule), by_fault(after, rule));
    let mut found = Difference::default();
    let mut shifts = Vec::new();
    for (fault, tickets) in before {
        let mut others = after.remove(&fault).unwrap_or_default();
        for ticket in tickets {
            match others.iter().position(|other| overlap(ticket, other)) {
                Some(at) => {
                    let other = others.remove(at);
                    shifts.push(other.opened_at.as_millis() - ticket.opened_at.as_millis());
                    found.kept += 1;
                }
                None => found.lost.push(ticket),
            }
        }
        found.gained.extend(others);
    }
    found.gained.extend(after.into_values().flatten());
    found.lost.sort_by_key(|ticket| (ticket.opened_at, ticket.component.clone()));
    found.gained.sort_by_key(|ticket| (ticket.opened_at, ticket.component.clone()));
    shifts.sort_unstable();
    found.shift = shifts.get(shifts.len() / 2).map(|millis| {
        let length = Duration::from_millis(millis.unsigned_abs());
        if *millis < 0 { Err(length) } else { Ok(length) }
    });
    found
}

fn by_fault<'t>(tally: &'t Tally, rule: &RuleCode) -> BTreeMap<Fault<'t>, Vec<&'t Opened>> {
    let mut found: BTreeMap<Fault<'t>, Vec<&'t Opened>> = BTreeMap::new();
    for ticket in tally.of(rule) {
        let site = if ticket.device.is_none() { ticket.site.as_deref() } else { None };
        found.entry((ticket.device.as_ref(), site, &ticket.component)).or_default().push(ticket);
    }
    found
}

/// Whether the times in which the two were open have a moment in common.
pub(super) fn overlap(one: &Opened, other: &Opened) -> bool {
    let ends = |ticket: &Opened, at: Timestamp| ticket.resolved_at.is_some_and(|end| end < at);
    !ends(one, other.opened_at) && !ends(other, one.opened_at)
}
