//! Drives: what they are, what they say of their health, and which errors the kernel saw.
//!
//! A drive that says it is well proves nothing: reads may fail while its own verdict stays good. So the kernel's log
//! is read too, and "cannot tell" is reported as unavailable, never as well.

pub mod ata;
#[cfg(target_os = "linux")]
#[path = "physical_disk/linux_ata.rs"]
mod ata_ioctl;
pub mod health;
#[cfg(target_os = "linux")]
#[path = "physical_disk/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "physical_disk/other.rs"]
mod imp;
pub mod names;
pub mod nvme;
#[cfg(target_os = "linux")]
#[path = "physical_disk/linux_nvme.rs"]
mod nvme_ioctl;
pub mod on_macos;
pub mod on_windows;
mod report;
pub mod smartctl;
#[path = "physical_disk/linux_sysfs.rs"]
pub(crate) mod sysfs;

use crate::{Context, Descriptor, Probe, Sink};
use std::time::Duration;

/// Inventory and health of each drive every 30 minutes, and the kernel's I/O errors all the time.
#[derive(Debug, Default)]
pub struct PhysicalDisk {
    source: imp::Source,
}

impl Probe for PhysicalDisk {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "physical_disk",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(4)),
            time_limit: Duration::from_secs(60),
            cpu_budget: Duration::from_millis(20),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        self.source.collect(context, sink);
    }
}
