//! The agent's own time: the time of its observations. It goes on evenly, asleep or awake, whatever happens to the clock of
//! the machine, so that observations keep their order and their distances when that clock jumps.
//!
//! It begins where the machine's clock is, and may be as wrong as that one. That does no harm: each batch says what both
//! clocks show, and the collector, which knows the time, corrects. What matters is that all records of a spool are in one
//! time, also over restarts: within one boot a process goes on exactly where the last one was; after a boot it believes the
//! machine's clock, unless that is behind the newest record of the spool, or more than a year ahead of it.

use firstline_agent_platform::boot::boot_id;
use firstline_agent_platform::clock::Reading;
use firstline_agent_platform::private_file;
use firstline_model::{Body, Observation, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No build of this program is older: 2026-01-01T00:00:00Z.
const NOT_BEFORE: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// A machine that was off for longer than this is taken for one whose clock is wrong; and nothing that a probe reports
/// happened longer ago.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steady {
    /// The time when the machine's steady clock showed zero.
    zero: Timestamp,
}

/// What is kept for the next process of the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    boot: String,
    zero_ms: i64,
}

impl Steady {
    /// Begins at the machine's clock `wall`. `newest` is when the newest record of the spool was made.
    pub(crate) fn start(wall: Timestamp, reading: Reading, newest: Option<Timestamp>) -> Self {
        let oldest = newest.unwrap_or(NOT_BEFORE).max(NOT_BEFORE);
        let is_plausible = wall >= oldest && newest.is_none_or(|newest| wall.since(newest) <= LONGEST);
        let now = if is_plausible { wall } else { oldest };
        Self { zero: now.minus(ran(reading)) }
    }

    /// Goes on where another process of this boot was, if there was one, and keeps where this one is. A folder that cannot
    /// be written costs the next process its continuity only.
    pub(crate) fn at_home(self, data: &Path) -> Self {
        let Some(boot) = boot_id() else { return self };
        let path = path(data);
        let kept = path.exists().then(|| private_file::read(&path).ok()).flatten();
        let kept = kept.and_then(|bytes| toml::from_str::<Kept>(std::str::from_utf8(&bytes).ok()?).ok());
        match kept.filter(|kept| kept.boot == boot) {
            Some(kept) => Self { zero: Timestamp::from_millis(kept.zero_ms) },
            None => {
                let kept = Kept { boot, zero_ms: self.zero.as_millis() };
                let written = toml::to_string(&kept)
                    .map_err(anyhow::Error::from)
                    .and_then(|text| Ok(private_file::replace(&path, text.as_bytes())?));
                if let Err(error) = written {
                    tracing::warn!(error = format!("{error:#}"), "the agent's time cannot be kept");
                }
                self
            }
        }
    }

    /// Now.
    pub(crate) fn now(&self, reading: Reading) -> Timestamp {
        self.zero.plus(ran(reading))
    }

    /// Moves what was observed by the machine's clock, which says `wall` now, into this time. What cannot be (the clock
    /// jumped since) was observed now.
    pub(crate) fn take_over(&self, observations: &mut [Observation], wall: Timestamp, reading: Reading) {
        let now = self.now(reading);
        let moved = |at: Timestamp| {
            let age = wall.since(at);
            if at > wall || age > LONGEST { now } else { now.minus(age) }
        };
        for observation in observations {
            observation.observed_at = moved(observation.observed_at);
            if let Body::Diagnostic(report) = &mut observation.body {
                report.finished_at = moved(report.finished_at);
            }
        }
    }
}

fn ran(reading: Reading) -> Duration {
    reading.awake + reading.suspended.unwrap_or_default()
}

fn path(data: &Path) -> PathBuf {
    data.join("clock.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Attributes, Component, ComponentKind};

    const S: fn(u64) -> Duration = Duration::from_secs;
    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const TEN_YEARS: Duration = Duration::from_secs(3652 * 24 * 3600);

    fn reading(awake: u64, suspended: u64) -> Reading {
        Reading { awake: S(awake), suspended: Some(S(suspended)) }
    }

    fn seen(at: Timestamp) -> Observation {
        Observation {
            component: Component::only(ComponentKind::Cpu),
            observed_at: at,
            body: Body::Sample { metric: "m".into(), attributes: Attributes::none(), value: 1.0 },
        }
    }

    #[test]
    fn r20_observations_keep_their_distances_while_the_clock_jumps() {
        let steady = Steady::start(START, reading(1_000, 50), None);
        for (second, off) in [(10, TEN_YEARS), (20, S(0)), (30, TEN_YEARS + TEN_YEARS)] {
            let wall = START.plus(S(second)).minus(TEN_YEARS).plus(off);
            let now = reading(1_000 + second - 5, 55);
            let mut observed =
                [seen(wall.minus(S(3))), seen(wall.plus(TEN_YEARS)), seen(wall.minus(TEN_YEARS))];
            steady.take_over(&mut observed, wall, now);
            let expected = START.plus(S(second));
            assert_eq!(observed.map(|o| o.observed_at), [expected.minus(S(3)), expected, expected]);
        }
    }

    #[test]
    fn r20_a_restart_on_a_clock_that_jumped_goes_on_where_the_spool_is() {
        let start = |wall, newest| Steady::start(wall, reading(7, 0), newest).now(reading(7, 0));
        assert_eq!(start(START.plus(TEN_YEARS), Some(START)), START);
        assert_eq!(start(START.minus(TEN_YEARS), Some(START)), START);
        assert_eq!(start(START.plus(S(86_400 * 90)), Some(START)), START.plus(S(86_400 * 90)), "it was off");
        assert_eq!(start(START, None), START);
        assert_eq!(start(Timestamp::from_millis(0), None), NOT_BEFORE, "an empty clock battery");
    }

    #[test]
    fn r20_a_second_process_of_a_boot_goes_on_exactly_where_the_first_was() {
        // Boots have no names on other systems; there a process goes on where the spool is.
        if boot_id().is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let first = Steady::start(START, reading(100, 0), None).at_home(folder.path());
        let jumped = Steady::start(START.plus(S(3600)), reading(160, 0), Some(START)).at_home(folder.path());
        assert_eq!(jumped.now(reading(160, 0)), first.now(reading(160, 0)));
        std::fs::write(path(folder.path()), "damaged").unwrap();
        let anew = Steady::start(START, reading(200, 0), None).at_home(folder.path());
        assert_eq!(anew.now(reading(200, 0)), START);
    }
}
