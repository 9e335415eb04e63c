//! Programs that keep processors busy for long.
//!
//! One look at every process costs about 12 microseconds each, so it is taken every five minutes, and what is reported is
//! the average since the last one. Only names are read: command lines hold file names and sometimes passwords.

use crate::{Context, Descriptor, Probe, ProbeError, Root, Sink};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, UnavailableReason, order, semconv};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// More processes than this are not looked at.
const MAX_PROCESSES: usize = 4096;
/// Programs below this many processors are not worth a word.
const WORTH_REPORTING: f64 = 0.5;
/// The busiest ones, and those that were reported in the look before.
const MAX_REPORTED: usize = 5;
/// The kernel counts in USER_HZ, which is 100 in its interface to programs.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;
/// Averages over less say nothing, over more (the machine slept) too.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);

/// Processors that programs keep busy.
#[derive(Debug)]
pub struct Process {
    /// Averages over less are not reported.
    shortest: Duration,
    before: Option<Look>,
    /// What the last report named: it is reported once more when it calms down, so that its end is seen.
    reported: BTreeSet<String>,
}

impl Default for Process {
    fn default() -> Self {
        Self { shortest: SHORTEST, before: None, reported: BTreeSet::new() }
    }
}

impl Process {
    /// For a person who waits: what is busy right now, from two looks a second or more apart.
    pub fn right_now() -> Self {
        Self { shortest: Duration::from_secs(1), ..Self::default() }
    }
}

#[derive(Debug)]
struct Look {
    at: Timestamp,
    processes: BTreeMap<Identity, Used>,
}

/// A number is given again to a later process, its time of start is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    pid: u32,
    started: u64,
}

/// A program and the processor time that it has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) name: String,
    pub(crate) ticks: u64,
}

impl Probe for Process {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "process",
            interval: Duration::from_secs(300),
            trigger_interval: None,
            time_limit: Duration::from_secs(20),
            cpu_budget: Duration::from_millis(30),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let all = Component::only(ComponentKind::Process);
        if !context.reads_linux() {
            let why = "not read on this operating system yet";
            let reason = UnavailableReason::Unsupported;
            return sink.unavailable(&all, semconv::PROCESS_CPU_UTILIZATION, reason, why);
        }
        let look = match look(&context.root, context.now) {
            Ok(look) => look,
            Err(error) => return sink.failed(&all, semconv::PROCESS_CPU_UTILIZATION, &error),
        };
        if let Some(before) = self.before.replace(look)
            && let Some(now) = &self.before
        {
            let busy = busy(&before, now, self.shortest);
            self.reported = report(&busy, &self.reported, sink);
        }
    }
}

fn look(root: &Root, at: Timestamp) -> Result<Look, ProbeError> {
    let names = root.list("/proc")?;
    let pids = names.iter().filter_map(|name| name.parse::<u32>().ok()).take(MAX_PROCESSES);
    let processes = order::map(pids.filter_map(|pid| {
        let (started, used) = stat(&root.read_text(&format!("/proc/{pid}/stat")).ok()?)?;
        Some((Identity { pid, started }, used))
    }));
    Ok(Look { at, processes })
}

/// Start and processor ticks of a `stat` line. The name stands in parentheses and may hold any character.
pub(crate) fn stat(line: &str) -> Option<(u64, Used)> {
    let (begin, end) = (line.find('(')?, line.rfind(')')?);
    let name = line.get(begin + 1..end)?;
    let fields: Vec<&str> = line.get(end + 1..)?.split_ascii_whitespace().take(20).collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = number(11)?.saturating_add(number(12)?);
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Some((number(19)?, Used { name, ticks }))
}

/// Average processors by name between two looks; a program that runs several times is one.
fn busy(before: &Look, now: &Look, shortest: Duration) -> BTreeMap<String, f64> {
    let mut busy: BTreeMap<String, f64> = BTreeMap::new();
    let window = if now.at < before.at { Duration::ZERO } else { now.at.since(before.at) };
    if !(shortest..=LONGEST).contains(&window) {
        return busy;
    }
    for (identity, used) in &now.processes {
        if let Some(old) = before.processes.get(identity) {
            let seconds = used.ticks.saturating_sub(old.ticks) as f64 / TICKS_PER_SECOND;
            *busy.entry(used.name.clone()).or_default() += seconds / window.as_secs_f64();
        }
    }
    busy
}

/// Reports the busiest programs and those of the last report; returns those that are still busy.
fn report(busy: &BTreeMap<String, f64>, last: &BTreeSet<String>, sink: &mut Sink) -> BTreeSet<String> {
    let mut busiest: Vec<(&String, f64)> = busy
        .iter()
        .map(|(name, share)| (name, *share))
        .filter(|(_, share)| *share >= WORTH_REPORTING)
        .collect();
    order::sort_by(&mut busiest, |one, other| other.1.total_cmp(&one.1));
    busiest.truncate(MAX_REPORTED);
    let named: BTreeSet<String> = order::set(busiest.iter().map(|(name, _)| (*name).clone()));
    for name in named.union(last) {
        if let Ok(component) = Component::new(ComponentKind::Process, name.as_str()) {
            let share = busy.get(name).copied().unwrap_or(0.0);
            // Whole percents: the last digits are chance and would make every report another one.
            let share = (share * 100.0).round() / 100.0;
            sink.sample(&component, semconv::PROCESS_CPU_UTILIZATION, Attributes::none(), share);
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_of(seconds: i64, processes: &[(u32, u64, &str, u64)]) -> Look {
        let processes = processes.iter().map(|(pid, started, name, ticks)| {
            let used = Used { name: (*name).to_owned(), ticks: *ticks };
            (Identity { pid: *pid, started: *started }, used)
        });
        Look { at: Timestamp::from_millis(seconds * 1000), processes: processes.collect() }
    }

    #[test]
    fn the_average_is_that_of_the_same_processes_only() {
        let before = look_of(0, &[(1, 5, "a", 100), (2, 6, "a", 0), (3, 7, "old", 9_000)]);
        let now = look_of(100, &[(1, 5, "a", 5_100), (2, 6, "a", 5_000), (3, 99, "new", 9_000)]);
        assert_eq!(busy(&before, &now, SHORTEST), BTreeMap::from([("a".to_owned(), 1.0)]));
    }

    #[test]
    fn after_a_sleep_and_with_a_clock_set_back_nothing_is_said() {
        let before = look_of(10_000, &[(1, 5, "a", 0)]);
        for at in [0, 10_001, 20_000] {
            assert!(busy(&before, &look_of(at, &[(1, 5, "a", 9_999)]), SHORTEST).is_empty());
        }
    }

    #[test]
    fn what_was_busy_is_reported_once_more_when_it_has_calmed_down() {
        let mut sink = Sink::new(Timestamp::from_millis(0));
        let still = report(
            &BTreeMap::from([("calm".to_owned(), 0.1), ("busy".to_owned(), 2.0)]),
            &BTreeSet::from(["calm".to_owned(), "gone".to_owned()]),
            &mut sink,
        );
        assert_eq!(still, BTreeSet::from(["busy".to_owned()]));
        assert_eq!(sink.into_parts().0.len(), 3);
    }

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let line = "7 (x) 1 (y) S 1 7 7 0 -1 0 1 2 3 4 250 50 0 0 20 0 1 0 777 1 1";
        let (started, used) = stat(line).unwrap();
        assert_eq!((started, used.name.as_str(), used.ticks), (777, "x) 1 (y", 300));
        let line = "42 (a) (b \u{1b}c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 100 1 2";
        assert_eq!(stat(line).unwrap().1.name, "a) (b c");
        for bad in ["", "42 (a S", ") (", "42 (a) S 1 2", "7 () S 1"] {
            assert_eq!(stat(bad), None, "{bad}");
        }
    }
}
