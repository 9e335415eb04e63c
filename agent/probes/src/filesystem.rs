//! How full the local file systems are, and whether they still accept writes.
//!
//! A file system that fell back to read-only does not look so: `/proc/mounts` may go on saying `rw`. So several
//! signals are read: mount options, the error counter of ext4, the kernel's log, and a write into the agent's own
//! folder.

#[cfg(target_os = "linux")]
#[path = "filesystem/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "filesystem/other.rs"]
mod imp;
pub mod on_macos;
pub mod on_windows;
pub mod parse;
pub mod select;
mod space;
#[cfg(target_os = "linux")]
mod table;

use crate::{Context, Descriptor, Probe, Sink};
use std::time::Duration;

/// Space, inodes, errors and unexpected read-only state of each local file system.
#[derive(Debug, Default)]
pub struct Filesystem {
    source: imp::Source,
}

impl Probe for Filesystem {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "filesystem",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(4)),
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        self.source.collect(context, sink);
    }
}
