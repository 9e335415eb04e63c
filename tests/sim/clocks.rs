//! The clocks of the simulated machines. True time is the runtime's paused clock; each machine is off from it by an
//! amount that faults change.

use firstline_agent::seams::Clock;
use firstline_agent_platform::clock::Reading;
use firstline_model::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::Instant;

/// 2026-01-05, where every simulation begins.
const EPOCH_MS: i64 = 1_767_603_600_000;

/// A machine's clocks.
#[derive(Debug)]
pub(crate) struct Machine {
    begin: Instant,
    off_ms: AtomicI64,
}

impl Machine {
    pub(crate) fn new(begin: Instant) -> Self {
        Self { begin, off_ms: AtomicI64::new(0) }
    }

    /// Moves the wall clock.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.off_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// How far the wall clock is off.
    pub(crate) fn off_ms(&self) -> i64 {
        self.off_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        let since = i64::try_from(self.begin.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(EPOCH_MS + since + self.off_ms())
    }
}

impl Clock for Machine {
    fn wall(&self) -> Timestamp {
        self.now()
    }

    fn read(&self) -> Reading {
        Reading { awake: self.begin.elapsed(), suspended: None }
    }
}
