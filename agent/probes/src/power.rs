//! Batteries and mains: how worn a battery is, whether it is defective, and whether the charger feeds the machine.

mod linux;
pub mod on_macos;
pub mod on_windows;
pub mod supply;

use crate::{Context, Descriptor, Due, Probe, ProbeError, Sink};
use firstline_model::{Component, ComponentKind, UnavailableReason, semconv};
use std::time::Duration;

/// Charge and faults once a minute, wear and inventory once an hour.
#[derive(Debug)]
pub struct Power {
    slow: Due,
}

impl Default for Power {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)) }
    }
}

impl Probe for Power {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "power",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(20),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        if context.reads_linux() {
            return linux::collect(&context.root, slow, sink);
        }
        let battery = Component::only(ComponentKind::Battery);
        let reason = UnavailableReason::Unsupported;
        sink.unavailable(&battery, semconv::BATTERY_HEALTH, reason, "not read on this operating system yet");
    }
}

/// Reports what another system than Linux told.
fn report(supplies: Result<Vec<(String, supply::Supply)>, ProbeError>, slow: bool, sink: &mut Sink) {
    match supplies {
        Ok(supplies) => linux::report(&supplies, slow, sink),
        Err(error) => sink.failed(&Component::only(ComponentKind::Battery), semconv::BATTERY_HEALTH, &error),
    }
}
