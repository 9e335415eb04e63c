//! The score: figures for a person and for a program.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fleet::truth::Truths;

/// What became of the faults of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub faults: usize,
    pub found: usize,
    pub cause_right: usize,
    pub shared: usize,
    pub parents: usize,
    /// Seconds beyond the hold time, and the same in intervals of the probe.
    pub delays: Vec<f64>,
    pub intervals: Vec<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Score {
    pub devices: u32,
    pub days: u32,
    pub kinds: BTreeMap<String, Row>,
    pub false_tickets: usize,
    pub false_by: BTreeMap<String, usize>,
    pub false_parents: usize,
    /// Tickets that a fault explains although another ticket is about it.
    pub beside: usize,
    pub beside_by: BTreeMap<String, usize>,
    pub ungrouped_tickets: usize,
    pub members_stood_for: usize,
    /// What went wrong, one line each.
    pub examples: Vec<String>,
}

impl Score {
    pub(crate) fn of_fleet(truths: &Truths) -> Self {
        Self { devices: truths.devices, days: truths.days, ..Self::default() }
    }

    /// Adds the score of another seed. Devices stay what they are, days add up.
    pub(crate) fn add(&mut self, other: Self) {
        self.devices = self.devices.max(other.devices);
        self.days += other.days;
        self.false_tickets += other.false_tickets;
        self.false_parents += other.false_parents;
        self.beside += other.beside;
        self.ungrouped_tickets += other.ungrouped_tickets;
        self.members_stood_for += other.members_stood_for;
        self.examples.extend(other.examples);
        for (rule, count) in other.false_by {
            *self.false_by.entry(rule).or_default() += count;
        }
        for (what, count) in other.beside_by {
            *self.beside_by.entry(what).or_default() += count;
        }
        for (kind, row) in other.kinds {
            self.kinds.entry(kind).or_default().add(row);
        }
    }

    fn all(&self) -> Row {
        let mut all = Row::default();
        for row in self.kinds.values() {
            all.add(row.clone());
        }
        all
    }

    /// Share of the faults that were found.
    pub(crate) fn recall(&self) -> f64 {
        let all = self.all();
        share(all.found, all.faults)
    }

    /// False tickets per 100 devices and week.
    pub(crate) fn false_rate(&self) -> f64 {
        let hundreds_and_weeks = f64::from(self.devices) / 100.0 * f64::from(self.days) / 7.0;
        if hundreds_and_weeks > 0.0 { self.false_tickets as f64 / hundreds_and_weeks } else { 0.0 }
    }

    /// Share of the faults that were found, of which the likely cause was right.
    pub(crate) fn causes(&self) -> f64 {
        let all = self.all();
        share(all.cause_right, all.found)
    }

    pub(crate) fn parents(&self) -> f64 {
        let all = self.all();
        share(all.parents, all.shared)
    }

    /// The median (or another share) of the delays beyond the hold time, in seconds and in intervals.
    pub(crate) fn delay(&self, quantile: f64) -> (f64, f64) {
        let all = self.all();
        (at(all.delays, quantile), at(all.intervals, quantile))
    }

    pub(crate) fn to_json(&self) -> Value {
        let kinds: BTreeMap<&str, Value> =
            self.kinds.iter().map(|(kind, row)| (kind.as_str(), row.to_json())).collect();
        let ((median, median_intervals), (p95, p95_intervals)) = (self.delay(0.5), self.delay(0.95));
        let all = self.all();
        json!({
            "devices": self.devices, "days": self.days, "faults": all.faults, "found": all.found,
            "recall": self.recall(), "false_tickets": self.false_tickets,
            "false_tickets_per_100_devices_and_week": self.false_rate(), "false_by_rule": self.false_by,
            "delay_beyond_hold_s": {"median": median, "p95": p95},
            "delay_beyond_hold_intervals": {"median": median_intervals, "p95": p95_intervals},
            "likely_cause_right": self.causes(), "shared": all.shared, "shared_found": all.parents,
            "shared_found_share": self.parents(), "false_parents": self.false_parents,
            "tickets_beside_their_cause": self.beside_by, "ungrouped_tickets": self.ungrouped_tickets,
            "members_stood_for": self.members_stood_for, "kinds": kinds, "examples": self.examples,
        })
    }

    /// A table for a person.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:<30} {:>6} {:>6} {:>6} {:>8} {:>9} {:>9}",
            "kind", "faults", "found", "cause", "parents", "median s", "p95 s"
        );
        for (kind, row) in &self.kinds {
            let parents =
                if row.shared > 0 { format!("{}/{}", row.parents, row.shared) } else { "-".to_owned() };
            let (median, p95) = (at(row.delays.clone(), 0.5), at(row.delays.clone(), 0.95));
            let mark = if row.found < row.faults || row.parents < row.shared { "  <" } else { "" };
            let _ = writeln!(
                out,
                "{kind:<30} {:>6} {:>6} {:>6} {parents:>8} {median:>9.0} {p95:>9.0}{mark}",
                row.faults, row.found, row.cause_right
            );
        }
        for (rule, count) in &self.false_by {
            let _ = writeln!(out, "false tickets of {rule}: {count}");
        }
        for (what, count) in &self.beside_by {
            let _ = writeln!(out, "tickets of {what}: {count}");
        }
        let _ = writeln!(
            out,
            "recall {:.2} %, {:.2} false tickets per 100 devices and week, cause right {:.1} %, shared causes {:.1} %, \
             {} false parents, {} device tickets without their parent",
            self.recall() * 100.0,
            self.false_rate(),
            self.causes() * 100.0,
            self.parents() * 100.0,
            self.false_parents,
            self.ungrouped_tickets
        );
        out
    }
}

impl Row {
    fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.found += other.found;
        self.cause_right += other.cause_right;
        self.shared += other.shared;
        self.parents += other.parents;
        self.delays.extend(other.delays);
        self.intervals.extend(other.intervals);
    }

    fn to_json(&self) -> Value {
        json!({
            "faults": self.faults, "found": self.found, "cause_right": self.cause_right, "shared": self.shared,
            "parents": self.parents, "delay_median_s": at(self.delays.clone(), 0.5),
            "delay_p95_s": at(self.delays.clone(), 0.95),
        })
    }
}

/// One of nothing is all of it.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// The value below which a share of the values lies; 0 without values.
fn at(mut values: Vec<f64>, quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let wanted = (last as f64 * quantile).round();
    (0..values.len()).find(|place| *place as f64 >= wanted).map_or(0.0, |place| values[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_values_are_values() {
        assert_eq!(at(vec![], 0.5), 0.0);
        assert_eq!(at(vec![3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(at(vec![1.0, 2.0, 3.0, 4.0, 100.0], 0.95), 100.0);
    }
}
