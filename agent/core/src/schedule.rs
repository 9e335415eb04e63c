//! Which probe is due when.
//!
//! Time is powered-on time: while the machine sleeps nothing becomes due. Steady runs lie on a common grid, so that
//! probes of one interval make one record together; runs in between look for triggers only. A probe that fails backs
//! off, one that takes more processor time than its budget is stretched until it fits, and when all together take too much,
//! some are slowed down (`budget`).

use crate::budget::{SLOWED, Shed};
use std::time::Duration;

/// A probe as the schedule sees it.
#[derive(Debug, Clone)]
struct Entry {
    name: &'static str,
    wanted: Duration,
    interval: Duration,
    trigger: Option<Duration>,
    budget: Duration,
    next_steady: Duration,
    next_trigger: Option<Duration>,
    failures: u32,
    overruns: u32,
    shed: Option<Shed>,
}

impl Entry {
    /// The interval that failures, overruns and what is given up make of the wanted one.
    fn stretched(&self) -> Duration {
        let by_itself = 2_u32.saturating_pow(self.failures.max(self.overruns)).min(Schedule::LONGEST_STRETCH);
        let by_all = if matches!(self.shed, Some(Shed::Whole(_))) { SLOWED } else { 1 };
        self.wanted * by_itself.max(by_all)
    }
}

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRun {
    /// Which probe.
    pub probe: &'static str,
    /// A steady run, of which everything is reported; else one in between, of which only what crosses a trigger is.
    pub steady: bool,
}

/// Why to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// This probe's steady run.
    Steady(&'static str),
    /// This probe's run in between.
    Trigger(&'static str),
}

/// All probes with their rhythm.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    entries: Vec<Entry>,
}

impl Schedule {
    /// The longest stretch of an interval by failures or overruns.
    const LONGEST_STRETCH: u32 = 32;

    /// Adds a probe that is due at once.
    pub fn add(
        &mut self,
        name: &'static str,
        interval: Duration,
        trigger: Option<Duration>,
        budget: Duration,
    ) {
        self.entries.push(Entry {
            name,
            wanted: interval,
            interval,
            trigger,
            budget,
            next_steady: Duration::ZERO,
            next_trigger: trigger,
            failures: 0,
            overruns: 0,
            shed: None,
        });
    }

    /// Changes a probe's interval; the next steady run moves to the new grid. `None` when there is no such probe.
    pub fn set_interval(&mut self, name: &str, interval: Duration, now: Duration) -> Option<()> {
        let entry = self.entries.iter_mut().find(|entry| entry.name == name)?;
        if entry.wanted != interval {
            entry.wanted = interval;
            entry.interval = interval;
            entry.next_steady = entry.next_steady.min(after(now, interval));
        }
        Some(())
    }

    /// What is given up from now on, all of it. What is not given up any more is due by its own interval again.
    pub fn set_shed(&mut self, shed: &[Shed], now: Duration) {
        for entry in &mut self.entries {
            let found = shed.iter().copied().find(|shed| shed.probe() == entry.name);
            if found == entry.shed {
                continue;
            }
            entry.shed = found;
            entry.interval = entry.stretched();
            match found {
                Some(Shed::Whole(_)) => entry.next_steady = after(now, entry.interval),
                Some(Shed::LooksBetween(_)) => {}
                None => entry.next_steady = entry.next_steady.min(after(now, entry.interval)),
            }
            entry.next_trigger = match found {
                Some(_) => None,
                None => entry.trigger.map(|every| now + every),
            };
        }
    }

    /// Everything that is due, each probe once; a steady run takes the place of one in between.
    pub fn poll_due(&mut self, now: Duration) -> Vec<DueRun> {
        let mut due = Vec::new();
        for entry in &mut self.entries {
            let steady = entry.next_steady <= now;
            let between = entry.next_trigger.is_some_and(|at| at <= now);
            if steady {
                entry.next_steady = after(now, entry.interval);
            }
            if steady || between {
                entry.next_trigger = entry.trigger.filter(|_| entry.shed.is_none()).map(|every| now + every);
                due.push(DueRun { probe: entry.name, steady });
            }
        }
        due
    }

    /// When the next run is due, and why.
    pub fn poll_timeout(&self) -> Option<(Duration, WakeReason)> {
        let steady = self.entries.iter().map(|e| (e.next_steady, WakeReason::Steady(e.name)));
        let between =
            self.entries.iter().filter_map(|e| e.next_trigger.map(|at| (at, WakeReason::Trigger(e.name))));
        steady.chain(between).min_by_key(|(at, _)| *at)
    }

    /// A run ended. Failures double the interval, runs above the budget stretch it, good ones bring it back.
    pub fn handle_finished(&mut self, name: &str, completed: bool, cpu: Option<Duration>) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) else { return };
        entry.failures = if completed { 0 } else { entry.failures.saturating_add(1) };
        let over = cpu.is_some_and(|cpu| cpu > entry.budget);
        entry.overruns =
            if over { entry.overruns.saturating_add(1) } else { entry.overruns.saturating_sub(1) };
        entry.interval = entry.stretched();
    }
}

/// The next point of the grid of `interval` after `now`.
fn after(now: Duration, interval: Duration) -> Duration {
    let interval_ms = interval.as_millis().max(1);
    let next = (now.as_millis() / interval_ms + 1) * interval_ms;
    Duration::from_millis(u64::try_from(next).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn schedule() -> Schedule {
        let mut schedule = Schedule::default();
        schedule.add("memory", S(60), Some(S(4)), Duration::from_millis(10));
        schedule.add("printer", S(60), None, Duration::from_millis(10));
        schedule
    }

    fn steady(schedule: &mut Schedule, now: Duration) -> Vec<&'static str> {
        schedule.poll_due(now).into_iter().filter(|due| due.steady).map(|due| due.probe).collect()
    }

    #[test]
    fn all_probes_run_at_start_and_then_together_on_the_grid() {
        let mut schedule = schedule();
        assert_eq!(steady(&mut schedule, S(7)), ["memory", "printer"]);
        assert_eq!(steady(&mut schedule, S(59)), Vec::<&str>::new());
        assert_eq!(steady(&mut schedule, S(60)), ["memory", "printer"]);
    }

    #[test]
    fn cheap_probes_run_in_between_and_nothing_is_caught_up_after_a_pause() {
        let mut schedule = schedule();
        schedule.poll_due(S(0));
        assert_eq!(schedule.poll_timeout(), Some((S(4), WakeReason::Trigger("memory"))));
        assert_eq!(schedule.poll_due(S(4)), [DueRun { probe: "memory", steady: false }]);
        assert_eq!(schedule.poll_due(S(1000)).len(), 2);
        assert_eq!(schedule.poll_due(S(1001)), []);
    }

    #[test]
    fn a_failing_probe_backs_off_and_a_good_run_brings_it_back() {
        let mut schedule = schedule();
        schedule.poll_due(S(0));
        schedule.handle_finished("printer", false, None);
        schedule.handle_finished("printer", false, None);
        schedule.poll_due(S(60));
        assert_eq!(steady(&mut schedule, S(120)), ["memory"]);
        schedule.handle_finished("printer", true, None);
        assert_eq!(steady(&mut schedule, S(240)), ["memory", "printer"]);
        assert_eq!(steady(&mut schedule, S(300)), ["memory", "printer"]);
    }

    #[test]
    fn a_probe_above_its_budget_is_stretched() {
        let mut schedule = schedule();
        schedule.poll_due(S(0));
        schedule.handle_finished("printer", true, Some(S(1)));
        schedule.poll_due(S(60));
        assert_eq!(steady(&mut schedule, S(119)), Vec::<&str>::new());
        assert_eq!(steady(&mut schedule, S(120)), ["memory", "printer"]);
        schedule.handle_finished("printer", true, Some(S(1)));
        assert_eq!(steady(&mut schedule, S(180)), ["memory"]);
    }

    #[test]
    fn what_is_given_up_runs_less_often_and_comes_back_by_its_own_interval() {
        let mut schedule = schedule();
        schedule.poll_due(S(0));
        schedule.set_shed(&[Shed::Whole("printer"), Shed::LooksBetween("memory")], S(1));
        assert_eq!(schedule.poll_due(S(4)), [], "no look in between");
        assert_eq!(steady(&mut schedule, S(60)), ["memory"], "its steady look stays");
        assert_eq!(schedule.poll_due(S(64)), []);
        schedule.handle_finished("printer", true, None);
        assert_eq!(steady(&mut schedule, S(480)), ["memory", "printer"]);
        schedule.set_shed(&[Shed::LooksBetween("memory")], S(481));
        assert_eq!(steady(&mut schedule, S(540)), ["memory", "printer"]);
        schedule.set_shed(&[], S(541));
        assert_eq!(schedule.poll_due(S(545)), [DueRun { probe: "memory", steady: false }]);
    }

    #[test]
    fn a_shorter_interval_takes_effect_at_once() {
        let mut schedule = schedule();
        schedule.poll_due(S(0));
        schedule.set_interval("printer", S(5), S(1)).unwrap();
        assert_eq!(steady(&mut schedule, S(5)), ["printer"]);
        assert_eq!(schedule.set_interval("toaster", S(5), S(1)), None);
    }
}
