//! How much processor time the agent may use, what it used, and what it gives up when that is too much.
//!
//! There are two bounds. Each probe has one for a run; one that passes it is stretched by the schedule until it fits. All of
//! the agent together, the programs that it starts included, may use [`HOURLY`] on average unless the machine's configuration
//! says otherwise: an allowance that fills as time passes and holds at most what fills in [`BURST`], so that the first look at
//! everything after a start is no overrun. When it is used up,
//! the probes of [`SHED_ORDER`] are slowed down, one step a minute, from the front of the list; when half of it is back, one
//! step a minute is taken back. What the list does not name is never slowed down.

use std::collections::BTreeMap;
use std::time::Duration;

/// Processor time that the agent may use in an hour, on average: a thousandth of one processor.
pub const HOURLY: Duration = Duration::from_millis(3600);
/// What fills the allowance in so much time may be used at once: 3 s of [`HOURLY`].
pub const BURST: Duration = Duration::from_secs(3000);
/// How often the use is compared with the allowance.
pub const ACCOUNTING: Duration = Duration::from_secs(60);
/// A probe that is slowed down runs so much less often, and not between its steady looks.
pub const SLOWED: u32 = 8;

/// What is slowed down, first to last: what changes slowly and costs much goes first, what shows that a machine cannot be
/// worked with goes last. The steady looks of `memory`, `filesystem`, `physical_disk` and `os` stay as they are; of those four
/// only the looks in between go, at the very end.
pub const SHED_ORDER: &[Shed] = &[
    Shed::Whole("software"),
    Shed::Whole("process"),
    Shed::Whole("security"),
    Shed::Whole("certificate"),
    Shed::Whole("peripheral"),
    Shed::Whole("wifi"),
    Shed::Whole("sensor"),
    Shed::Whole("gpu"),
    Shed::Whole("time"),
    Shed::Whole("account"),
    Shed::Whole("ecc"),
    Shed::Whole("power"),
    Shed::Whole("disk_io"),
    Shed::Whole("lvm"),
    Shed::Whole("raid"),
    Shed::Whole("vpn"),
    Shed::Whole("path"),
    Shed::Whole("connectivity"),
    Shed::Whole("printer"),
    Shed::Whole("cpu"),
    Shed::Whole("network"),
    Shed::LooksBetween("os"),
    Shed::LooksBetween("physical_disk"),
    Shed::LooksBetween("filesystem"),
    Shed::LooksBetween("memory"),
];

/// A step of giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// The probe runs [`SLOWED`] times less often.
    Whole(&'static str),
    /// The probe looks no more between its steady looks.
    LooksBetween(&'static str),
}

impl Shed {
    /// The probe's name.
    pub const fn probe(self) -> &'static str {
        match self {
            Self::Whole(probe) | Self::LooksBetween(probe) => probe,
        }
    }
}

/// What a probe has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Runs that ended.
    pub runs: u64,
    /// Processor time of all runs.
    pub total: Duration,
    /// Processor time of the costliest run.
    pub longest: Duration,
    /// Runs above the probe's bound.
    pub over: u64,
    /// Runs that panicked, hung or could not be started.
    pub failed: u64,
}

/// The account of all probes and of the whole.
#[derive(Debug, Clone)]
pub struct Budget {
    hourly: Duration,
    probes: BTreeMap<&'static str, Spent>,
    steps: usize,
    /// When the account was looked at last, and the processor time of the whole agent then.
    seen: Option<(Duration, Duration)>,
    /// What may be used without anything being given up.
    left: Duration,
    /// The times of looks within the last hour, with the processor time then.
    hour: Vec<(Duration, Duration)>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::allowing(HOURLY)
    }
}

impl Budget {
    /// With so much processor time an hour.
    pub const fn allowing(hourly: Duration) -> Self {
        Self { hourly, probes: BTreeMap::new(), steps: 0, seen: None, left: Duration::ZERO, hour: Vec::new() }
    }

    /// What may be used in an hour.
    pub const fn allowed(&self) -> Duration {
        self.hourly
    }

    /// What fills in this time.
    fn filled(&self, passed: Duration) -> Duration {
        let filled = self.hourly.as_millis() * passed.as_millis() / 3_600_000;
        Duration::from_millis(u64::try_from(filled).unwrap_or(u64::MAX))
    }

    /// A run of a probe ended; `cpu` is what it used, where the system says it.
    pub fn handle_run(
        &mut self,
        probe: &'static str,
        completed: bool,
        cpu: Option<Duration>,
        bound: Duration,
    ) {
        let spent = self.probes.entry(probe).or_default();
        spent.runs += 1;
        spent.failed += u64::from(!completed);
        let cpu = cpu.unwrap_or_default();
        spent.total += cpu;
        spent.longest = spent.longest.max(cpu);
        spent.over += u64::from(cpu > bound);
    }

    /// The agent and what it started have used `used` since it started; `now` is powered-on time. True when what is given up
    /// has changed. Does something once in [`ACCOUNTING`] only.
    pub fn handle_use(&mut self, used: Duration, now: Duration) -> bool {
        let Some((then, used_then)) = self.seen else {
            // What the start itself took is not to be taken from what the first looks may take.
            (self.seen, self.left) = (Some((now, used)), self.filled(BURST));
            self.hour.push((now, used));
            return false;
        };
        let passed = now.saturating_sub(then);
        if passed < ACCOUNTING {
            return false;
        }
        self.seen = Some((now, used));
        self.hour.push((now, used));
        let hour_ago = now.saturating_sub(Duration::from_secs(3600));
        let old = self.hour.iter().take_while(|(at, _)| *at < hour_ago).count();
        // The last look before the hour is where the hour begins.
        self.hour.drain(..old.saturating_sub(1));
        let most = self.filled(BURST);
        let (have, taken) = (self.left + self.filled(passed), used.saturating_sub(used_then));
        self.left = have.saturating_sub(taken).min(most);
        let before = self.steps;
        if taken >= have {
            self.steps = (self.steps + 1).min(SHED_ORDER.len());
        } else if self.left * 2 >= most {
            self.steps = self.steps.saturating_sub(1);
        }
        self.steps != before
    }

    /// What is given up now.
    pub fn shed(&self) -> &'static [Shed] {
        SHED_ORDER.get(..self.steps).unwrap_or(SHED_ORDER)
    }

    /// What each probe has used.
    pub fn probes(&self) -> impl Iterator<Item = (&'static str, Spent)> {
        self.probes.iter().map(|(name, spent)| (*name, *spent))
    }

    /// Processor time of the last hour, in seconds an hour; `None` before the second look.
    pub fn hourly(&self) -> Option<f64> {
        let ((begin, used_then), (end, used)) = (self.hour.first()?, self.hour.last()?);
        let hours = end.saturating_sub(*begin).as_secs_f64() / 3600.0;
        (hours > 0.0).then(|| used.saturating_sub(*used_then).as_secs_f64() / hours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = ACCOUNTING;

    /// Looks once a minute at an agent that uses `each` a minute; the steps after each look.
    fn minutes(
        budget: &mut Budget,
        from: u32,
        count: u32,
        used: &mut Duration,
        each: Duration,
    ) -> Vec<usize> {
        (from..from + count)
            .map(|minute| {
                *used += each;
                budget.handle_use(*used, MINUTE * minute);
                budget.shed().len()
            })
            .collect()
    }

    #[test]
    fn an_agent_within_its_allowance_gives_nothing_up() {
        let (mut budget, mut used) = (Budget::default(), Duration::from_secs(9));
        assert!(!budget.handle_use(used, Duration::ZERO), "what the start took does not count");
        let steps = minutes(&mut budget, 1, 600, &mut used, HOURLY / 60);
        assert!(steps.iter().all(|steps| *steps == 0), "{steps:?}");
        let hourly = budget.hourly().unwrap();
        assert!((hourly - HOURLY.as_secs_f64()).abs() < 0.01, "{hourly}");
    }

    #[test]
    fn too_much_is_given_up_step_by_step_from_the_front_and_taken_back_when_half_is_there_again() {
        let (mut budget, mut used) = (Budget::default(), Duration::ZERO);
        budget.handle_use(used, Duration::ZERO);
        let busy = minutes(&mut budget, 1, 6, &mut used, Duration::from_secs(1));
        assert_eq!(busy, [0, 0, 0, 1, 2, 3]);
        assert_eq!(budget.shed(), &SHED_ORDER[..3]);
        let calm = minutes(&mut budget, 7, 40, &mut used, Duration::ZERO);
        // 60 ms a minute: half of 3 s is back after 25 minutes.
        assert_eq!((calm[23], calm[24], calm[25], calm[26], calm[27]), (3, 2, 1, 0, 0));
    }

    #[test]
    fn never_more_is_given_up_than_the_list_names() {
        let (mut budget, mut used) = (Budget::default(), Duration::ZERO);
        budget.handle_use(used, Duration::ZERO);
        let steps = minutes(&mut budget, 1, 100, &mut used, Duration::from_secs(60));
        assert_eq!(steps.last(), Some(&SHED_ORDER.len()));
        for kept in ["memory", "filesystem", "physical_disk", "os"] {
            assert!(!SHED_ORDER.contains(&Shed::Whole(kept)), "{kept}");
        }
    }

    #[test]
    fn the_costliest_run_and_the_runs_above_the_bound_are_remembered() {
        let mut budget = Budget::default();
        for (completed, cpu) in [(true, Some(5)), (true, Some(30)), (false, None), (true, Some(1))] {
            budget.handle_run("x", completed, cpu.map(Duration::from_millis), Duration::from_millis(10));
        }
        let spent = Spent {
            runs: 4,
            total: Duration::from_millis(36),
            longest: Duration::from_millis(30),
            over: 1,
            failed: 1,
        };
        assert_eq!(budget.probes().collect::<Vec<_>>(), [("x", spent)]);
    }
}
