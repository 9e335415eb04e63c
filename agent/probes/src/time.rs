//! Whether something keeps this machine's clock right.
//!
//! How wrong the clock is, the collector measures; the machine itself only knows whether a time service steers it and how
//! far off the kernel believes it may be.

#[cfg(target_os = "linux")]
#[path = "time/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "time/other.rs"]
mod imp;

use crate::{Context, Descriptor, Probe, ProbeError, Root, Sink};
use firstline_model::{Attributes, Component, ComponentKind, semconv};
use std::time::Duration;

/// The kernel's flag of a clock that nothing steers (`STA_UNSYNC` of `linux/timex.h`).
const UNSYNCHRONIZED: i64 = 0x40;
/// From this error on the kernel itself calls the clock unsynchronised (`NTP_PHASE_LIMIT`).
const LARGEST_ERROR: Duration = Duration::from_secs(16);

/// Whether the clock is synchronised.
#[derive(Debug, Default)]
pub struct Time;

impl Probe for Time {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "time",
            interval: Duration::from_secs(600),
            trigger_interval: None,
            time_limit: Duration::from_secs(5),
            cpu_budget: Duration::from_millis(1),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let os = Component::only(ComponentKind::Os);
        let state = if context.root.is_system() { imp::state() } else { captured(&context.root) };
        match state {
            Ok(state) => {
                let value = if state.is_synchronized() { 1.0 } else { 0.0 };
                sink.sample(&os, semconv::TIME_SYNCHRONIZED, Attributes::none(), value);
            }
            Err(error) => sink.failed(&os, semconv::TIME_SYNCHRONIZED, &error),
        }
    }
}

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    status: i64,
    largest_error: Duration,
}

impl State {
    fn is_synchronized(self) -> bool {
        self.status & UNSYNCHRONIZED == 0 && self.largest_error < LARGEST_ERROR
    }
}

/// A captured machine's answer: `adjtimex.json` with `status` and `maxerror` in microseconds, as the call returns them.
fn captured(root: &Root) -> Result<State, ProbeError> {
    let text = root.read_text("/adjtimex.json")?;
    let malformed = || ProbeError::Malformed("adjtimex.json has no status and maxerror".to_owned());
    let answer: serde_json::Value = serde_json::from_str(&text).map_err(|_| malformed())?;
    let status = answer["status"].as_i64().ok_or_else(malformed)?;
    let error = answer["maxerror"].as_u64().ok_or_else(malformed)?;
    Ok(State { status, largest_error: Duration::from_micros(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_synchronised_when_it_is_steered_and_its_error_is_bounded() {
        let state = |status, seconds| State { status, largest_error: Duration::from_secs(seconds) };
        assert!(state(0x2001, 1).is_synchronized());
        assert!(!state(0x41, 1).is_synchronized());
        assert!(!state(0x2001, 16).is_synchronized());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_running_kernel_answers() {
        assert!(imp::state().is_ok());
    }
}
