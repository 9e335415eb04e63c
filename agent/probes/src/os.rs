//! The operating system: what it is, how long it runs, whether it needs a restart, what it says of itself, and its
//! services.

pub mod apt;
#[cfg(target_os = "linux")]
mod boot;
#[cfg(target_os = "linux")]
mod crash;
#[cfg(target_os = "linux")]
#[path = "os/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "os/other.rs"]
mod imp;
pub mod on_macos;
pub mod on_windows;
pub mod parse;
pub mod services;
#[cfg(target_os = "linux")]
mod systemd;
pub mod units;
#[cfg(target_os = "linux")]
mod updates;
#[cfg(target_os = "linux")]
mod usb;

use crate::{Context, Descriptor, Probe, Sink};
use firstline_model::{Component, ComponentKind};
use std::time::Duration;

/// Facts about the system, uptime, restart needed, service states, and the kernel's messages.
#[derive(Debug, Default)]
pub struct Os {
    source: imp::Source,
}

impl Probe for Os {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "os",
            interval: Duration::from_secs(60),
            // Only the kernel's log is read that often; services and facts have their own pace.
            trigger_interval: Some(Duration::from_secs(4)),
            time_limit: Duration::from_secs(30),
            cpu_budget: Duration::from_millis(20),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        self.source.collect(context, &Component::only(ComponentKind::Os), sink);
    }
}
