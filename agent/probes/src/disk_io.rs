//! How long drives take to answer, and how busy they are: the counters of `/proc/diskstats`.
//!
//! Counters are reported as they are; rates and latencies are differences that the collector takes. Layers above
//! drives (RAID, encryption, logical volumes) are left out, else one operation would count several times.

pub mod on_windows;
pub mod parse;

use crate::physical_disk::sysfs;
use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason};
use std::time::Duration;

/// The counters of each drive.
#[derive(Debug)]
pub struct DiskIo {
    inventory: Due,
    drives: Vec<(String, Component)>,
    buffer: Vec<u8>,
}

impl Default for DiskIo {
    fn default() -> Self {
        Self { inventory: Due::every(Duration::from_secs(3600)), drives: Vec::new(), buffer: Vec::new() }
    }
}

impl Probe for DiskIo {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "disk_io",
            interval: Duration::from_secs(120),
            trigger_interval: None,
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let all = Component::only(ComponentKind::PhysicalDisk);
        if !context.reads_linux() {
            let reason = UnavailableReason::Unsupported;
            return sink.unavailable(
                &all,
                semconv::DISK_OPERATION_TIME,
                reason,
                "not read on this operating system yet",
            );
        }
        if let Err(error) = self.counters(context, sink) {
            sink.failed(&all, semconv::DISK_OPERATION_TIME, &error);
        }
    }
}

impl DiskIo {
    fn counters(&mut self, context: &Context, sink: &mut Sink) -> Result<(), ProbeError> {
        context.root.read_into("/proc/diskstats", Root::TEXT_LIMIT, &mut self.buffer)?;
        let counted = parse::diskstats(&self.buffer);
        // Who is who is asked anew when a drive came or went.
        let is_new = |name: &str| self.drives.iter().all(|(known, _)| known != name);
        if counted.iter().any(|(name, _)| is_new(name)) || self.inventory.is_due(context.now) {
            let drives = sysfs::drives(&context.root)?;
            self.drives = drives.into_iter().map(|drive| (drive.name, drive.component)).collect();
            // One that the kernel counts and does not list is a reader without a card; it is not asked for again.
            for (name, _) in &counted {
                if !self.drives.iter().any(|(known, _)| known == name) {
                    self.drives.push((name.clone(), Component::only(ComponentKind::PhysicalDisk)));
                }
            }
        }
        for (name, counters) in counted {
            let Some((_, component)) = self.drives.iter().find(|(known, _)| *known == name) else { continue };
            if counters == parse::Counters::default()
                || *component == Component::only(ComponentKind::PhysicalDisk)
            {
                continue;
            }
            let directions = [("read", counters.read), ("write", counters.write)];
            for (direction, parse::Direction { operations, milliseconds }) in directions {
                let attributes = || Attributes::none().with(attribute::DISK_DIRECTION, direction);
                sink.sample(component, semconv::DISK_OPERATIONS, attributes(), operations as f64);
                let seconds = milliseconds as f64 / 1000.0;
                sink.sample(component, semconv::DISK_OPERATION_TIME, attributes(), seconds);
            }
            let seconds = counters.busy_milliseconds as f64 / 1000.0;
            sink.sample(component, semconv::DISK_IO_TIME, Attributes::none(), seconds);
        }
        Ok(())
    }
}
