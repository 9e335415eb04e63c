//! How long drives take to answer on Windows: the raw counters behind its performance monitor. Most of them have 32 bits and
//! begin anew every few minutes of waiting, so they are added up here from the first look on; a drive whose requests
//! waited together for longer than one turn of the counter between two looks is told as quicker than it was.

use crate::on_windows::{Class, Half, Machine, Row};
use crate::physical_disk::on_windows::components;
use crate::{Context, Due, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind};
use std::collections::BTreeMap;
use std::time::Duration;

const COUNTERS: Class = Class::of_cimv2(
    "Win32_PerfRawData_PerfDisk_PhysicalDisk",
    &[
        "Name",
        "DiskReadsPersec",
        "DiskWritesPersec",
        "AvgDisksecPerRead",
        "AvgDisksecPerWrite",
        "PercentIdleTime",
        "Timestamp_Sys100NS",
        "Frequency_PerfTime",
    ],
);
const MAX_DRIVES: usize = 64;
/// Ticks a second of a clock that makes sense.
const FREQUENCIES: std::ops::RangeInclusive<u64> = 1_000..=100_000_000_000;

/// What was counted since the first look.
#[derive(Debug)]
pub struct Source {
    inventory: Due,
    drives: BTreeMap<u32, Component>,
    counted: BTreeMap<u32, Counted>,
}

impl Default for Source {
    fn default() -> Self {
        let inventory = Due::every(Duration::from_secs(3600));
        Self { inventory, drives: BTreeMap::new(), counted: BTreeMap::new() }
    }
}

/// The raw counters of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Raw {
    /// Requests by direction, reading first.
    requests: [u32; 2],
    /// Ticks that they took.
    ticks: [u32; 2],
    /// Time without a request, and the time itself, in 100 ns.
    idle: u64,
    at: u64,
    frequency: u64,
}

#[derive(Debug)]
struct Counted {
    last: Raw,
    requests: [u64; 2],
    seconds: [f64; 2],
    busy_seconds: f64,
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        if let Err(error) = self.look(machine, context, sink) {
            sink.failed(&Component::only(ComponentKind::PhysicalDisk), semconv::DISK_OPERATION_TIME, &error);
        }
    }
}

impl Source {
    fn look(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) -> Result<(), ProbeError> {
        let rows = machine.rows(&COUNTERS)?;
        let raw: BTreeMap<u32, Raw> = rows.iter().filter_map(raw).take(MAX_DRIVES).collect();
        let is_new = raw.keys().any(|number| !self.drives.contains_key(number));
        if is_new || self.inventory.is_due(context.now) {
            self.drives = components(machine)?;
        }
        self.counted.retain(|number, _| raw.contains_key(number));
        for (number, raw) in raw {
            let Some(component) = self.drives.get(&number) else { continue };
            let counted = self.counted.entry(number).or_insert(Counted {
                last: raw,
                requests: [0; 2],
                seconds: [0.0; 2],
                busy_seconds: 0.0,
            });
            counted.add(raw);
            counted.tell(component, sink);
        }
        Ok(())
    }
}

impl Counted {
    fn add(&mut self, raw: Raw) {
        for direction in 0..2 {
            let requests = raw.requests[direction].wrapping_sub(self.last.requests[direction]);
            let ticks = raw.ticks[direction].wrapping_sub(self.last.ticks[direction]);
            self.requests[direction] += u64::from(requests);
            self.seconds[direction] += f64::from(ticks) / raw.frequency as f64;
        }
        let passed = raw.at.saturating_sub(self.last.at);
        let idle = raw.idle.saturating_sub(self.last.idle).min(passed);
        self.busy_seconds += (passed - idle) as f64 / 1e7;
        self.last = raw;
    }

    fn tell(&self, component: &Component, sink: &mut Sink) {
        for (at, direction) in ["read", "write"].into_iter().enumerate() {
            let attributes = || Attributes::none().with(attribute::DISK_DIRECTION, direction);
            sink.sample(component, semconv::DISK_OPERATIONS, attributes(), self.requests[at] as f64);
            sink.sample(component, semconv::DISK_OPERATION_TIME, attributes(), self.seconds[at]);
        }
        sink.sample(component, semconv::DISK_IO_TIME, Attributes::none(), self.busy_seconds);
    }
}

/// A row is called `0 C: D:`, after the drive's number and what is on it; one of them is the sum of all.
fn raw(row: &Row) -> Option<(u32, Raw)> {
    let number = row.text("Name")?.split(' ').next()?.parse().ok()?;
    let short = |name: &str| row.whole(name).and_then(|number| u32::try_from(number).ok());
    let raw = Raw {
        requests: [short("DiskReadsPersec")?, short("DiskWritesPersec")?],
        ticks: [short("AvgDisksecPerRead")?, short("AvgDisksecPerWrite")?],
        idle: row.whole("PercentIdleTime")?,
        at: row.whole("Timestamp_Sys100NS")?,
        frequency: row.whole("Frequency_PerfTime").filter(|frequency| FREQUENCIES.contains(frequency))?,
    };
    Some((number, raw))
}
