//! How much memory is left, how long programs wait for it, and what was killed for lack of it.

#[cfg(target_os = "linux")]
#[path = "memory/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "memory/other.rs"]
mod imp;
pub mod on_macos;
pub mod on_windows;
pub mod parse;

use crate::{Context, Descriptor, Probe, Sink};
use firstline_model::{Component, ComponentKind};
use std::time::Duration;

/// Memory and swap in use, pressure, faulty pages, and the kernel's count of kills.
#[derive(Debug, Default)]
pub struct Memory {
    source: imp::Source,
}

impl Probe for Memory {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "memory",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(4)),
            time_limit: Duration::from_secs(5),
            cpu_budget: Duration::from_millis(2),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        self.source.collect(context, &Component::only(ComponentKind::Memory), sink);
    }
}
