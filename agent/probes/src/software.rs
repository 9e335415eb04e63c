//! Which packages are installed: the inventory in which shared causes are sought.

#[cfg(target_os = "linux")]
#[path = "software/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "software/other.rs"]
mod imp;
pub mod on_macos;
pub mod on_windows;
pub mod parse;

use crate::{Context, Descriptor, Probe, Sink};
use firstline_model::{Component, ComponentKind};
use std::time::Duration;

/// The state document `software`: package name to version.
#[derive(Debug, Default)]
pub struct Software;

impl Probe for Software {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "software",
            interval: Duration::from_secs(12 * 3600),
            trigger_interval: None,
            time_limit: Duration::from_secs(30),
            cpu_budget: Duration::from_millis(200),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        imp::collect(context, &Component::only(ComponentKind::Os), sink);
    }
}
