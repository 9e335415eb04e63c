//! Clocks that know about sleep.
//!
//! Hold times count powered-on time, so the agent has to notice that the machine slept. Linux has two clocks that
//! differ by exactly the time spent suspended. Where a system offers no such pair here, the reading says so and no
//! sleep is ever reported, which errs towards counting too much time rather than losing a fault.

use std::time::Duration;

#[cfg(target_os = "linux")]
#[path = "clock/linux.rs"]
mod imp;

#[cfg(not(target_os = "linux"))]
#[path = "clock/other.rs"]
mod imp;

/// One reading of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Time since an origin that does not change while the process lives; stands still while the machine sleeps.
    pub awake: Duration,
    /// Time spent suspended since boot, where the system tells.
    pub suspended: Option<Duration>,
}

/// Reads the clocks now.
pub fn read() -> Reading {
    imp::read()
}

/// Tells from successive readings how long the machine slept in between.
#[derive(Debug, Clone, Copy)]
pub struct SleepDetector {
    suspended: Option<Duration>,
}

impl SleepDetector {
    /// Shorter differences are the two clocks being read one after the other.
    const NOISE: Duration = Duration::from_millis(500);

    /// Starts from a first reading.
    pub fn new(first: Reading) -> Self {
        Self { suspended: first.suspended }
    }

    /// How long the machine slept since the reading before; `None` when it did not.
    pub fn slept(&mut self, reading: Reading) -> Option<Duration> {
        let (before, now) = (self.suspended?, reading.suspended?);
        let slept = now.checked_sub(before).filter(|slept| *slept >= Self::NOISE)?;
        self.suspended = Some(now);
        Some(slept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(suspended_ms: u64) -> Reading {
        Reading { awake: Duration::ZERO, suspended: Some(Duration::from_millis(suspended_ms)) }
    }

    #[test]
    fn sleep_is_reported_once_and_noise_never() {
        let mut detector = SleepDetector::new(reading(1_000));
        assert_eq!(detector.slept(reading(1_003)), None);
        assert_eq!(detector.slept(reading(61_000)), Some(Duration::from_secs(60)));
        assert_eq!(detector.slept(reading(61_001)), None);
    }

    #[test]
    fn without_a_second_clock_nothing_is_reported() {
        let unknown = Reading { awake: Duration::ZERO, suspended: None };
        assert_eq!(SleepDetector::new(unknown).slept(reading(60_000)), None);
    }

    #[test]
    fn the_clock_of_this_machine_runs() {
        let (first, second) = (read(), read());
        assert!(second.awake >= first.awake);
    }
}
