//! What a probe is: a source of observations with a name, a rhythm and limits.

use crate::{Context, Sink};
use firstline_model::Timestamp;
use std::time::Duration;

/// A source of observations. Its values may be read for the first time at any moment; what a probe keeps between runs
/// (counters of the last run, the place in a log) lives in the value itself and is lost when the probe is replaced
/// after a panic or a hang.
pub trait Probe: Send {
    /// Name, rhythm and limits. The same at every call.
    fn descriptor(&self) -> Descriptor;

    /// Reads the source once and puts what it finds into `sink`. Failures are observations too: they are put into
    /// the sink as unavailable values and never returned.
    fn collect(&mut self, context: &Context, sink: &mut Sink);
}

/// Rhythm and limits of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The name on the command line, in the policy and in the agent's own metrics.
    pub name: &'static str,
    /// How often the probe runs unless the policy says otherwise.
    pub interval: Duration,
    /// How often it also runs in between, for sources so cheap that faults may be looked for all the time. Such a
    /// probe does its expensive work at its own pace (see [`Due`]).
    pub trigger_interval: Option<Duration>,
    /// After this long a run counts as hung.
    pub time_limit: Duration,
    /// Processor time that one run may take before the agent stretches the interval.
    pub cpu_budget: Duration,
}

/// An entry of the registry.
#[derive(Debug, Clone, Copy)]
pub struct ProbeEntry {
    /// The probe's name, equal to its descriptor's.
    pub name: &'static str,
    /// Makes a fresh probe without state.
    pub new: fn() -> Box<dyn Probe>,
}

impl ProbeEntry {
    /// A fresh probe as it runs on this system.
    pub fn make(&self) -> Box<dyn Probe> {
        let probe = (self.new)();
        #[cfg(windows)]
        if let Some(half) = crate::on_windows::half(self.name) {
            return Box::new(crate::on_windows::OnWindows { probe, half });
        }
        #[cfg(target_os = "macos")]
        if let Some(half) = crate::on_macos::half(self.name) {
            return Box::new(crate::on_macos::OnMacos { probe, half });
        }
        probe
    }
}

/// Paces the expensive part of a probe that runs more often than that part should.
#[derive(Debug, Clone)]
pub struct Due {
    every: Duration,
    last: Option<Timestamp>,
}

impl Due {
    /// Due at once, and then again when `every` has passed.
    pub const fn every(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// Whether the part is due now; if so, its time starts anew. A clock that was set back makes it due.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        let due = match self.last {
            None => true,
            Some(last) => now < last || now.since(last) >= self.every,
        };
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_part_is_due_at_once_then_after_its_interval_and_after_the_clock_went_back() {
        let mut due = Due::every(Duration::from_secs(60));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let runs: Vec<bool> = [1000, 1059, 1060, 1061, 500, 559].iter().map(|&s| due.is_due(at(s))).collect();
        assert_eq!(runs, [true, false, true, false, true, false]);
    }
}
