//! CLOCK_BOOTTIME counts suspended time, CLOCK_MONOTONIC does not.

use super::Reading;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

pub(super) fn read() -> Reading {
    let awake = duration(clock_gettime(ClockId::Monotonic));
    let boot = duration(clock_gettime(ClockId::Boottime));
    Reading { awake, suspended: Some(boot.saturating_sub(awake)) }
}

fn duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
