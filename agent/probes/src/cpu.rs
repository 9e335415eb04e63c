//! How busy the processors are, and how long programs wait for them.

#[cfg(target_os = "linux")]
#[path = "cpu/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "cpu/other.rs"]
mod imp;
pub mod on_macos;
pub mod on_windows;
pub mod parse;

use crate::{Context, Descriptor, Probe, Sink};
use firstline_model::{Component, ComponentKind};
use std::time::Duration;

/// Utilization as differences of counters (so from the second run on; of a captured machine since its boot) and
/// pressure from the first run on.
#[derive(Debug, Default)]
pub struct Cpu {
    source: imp::Source,
}

impl Probe for Cpu {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "cpu",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(5),
            cpu_budget: Duration::from_millis(2),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        self.source.collect(context, &Component::only(ComponentKind::Cpu), sink);
    }
}
