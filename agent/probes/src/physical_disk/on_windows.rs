//! Drives on Windows: what the storage service says of their health, what the drivers predict, and the errors in the event
//! log. Reliability counters and predictions need an administrator.

use super::health::{Health, Verdict, plausible_celsius};
use super::{names, report};
use crate::on_windows::event::{self, Event, Meaning};
use crate::on_windows::{Class, Half, Machine, Row, Since};
use crate::{Context, Due, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, Value};
use std::collections::BTreeMap;
use std::time::Duration;

const STORAGE: &str = r"Microsoft\Windows\Storage";
const DISKS: Class = Class {
    namespace: STORAGE,
    name: "MSFT_PhysicalDisk",
    properties: &[
        "DeviceId",
        "FriendlyName",
        "SerialNumber",
        "FirmwareVersion",
        "MediaType",
        "BusType",
        "HealthStatus",
        "Size",
    ],
    condition: None,
};
const COUNTERS: Class = Class {
    namespace: STORAGE,
    name: "MSFT_StorageReliabilityCounter",
    properties: &[
        "DeviceId",
        "Temperature",
        "Wear",
        "PowerOnHours",
        "ReadErrorsUncorrected",
        "WriteErrorsUncorrected",
    ],
    condition: None,
};
const PREDICTIONS: Class = Class {
    namespace: "wmi",
    name: "MSStorageDriver_FailurePredictStatus",
    properties: &["InstanceName", "PredictFailure"],
    condition: None,
};
/// Ties the name of a driver's instance to the number of a drive.
const DRIVES: Class = Class::of_cimv2("Win32_DiskDrive", &["Index", "PNPDeviceID"]);

const MAX_DRIVES: usize = 64;
const MAX_COUNTED: usize = 100;

/// Health of drives every half hour, and their errors all the time.
#[derive(Debug)]
pub struct Source {
    health: Due,
    /// Component by the drive's number.
    drives: BTreeMap<u32, Component>,
    errors: BTreeMap<(u32, &'static str), u64>,
    record: Option<u64>,
    last_run: Option<Timestamp>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            health: Due::every(Duration::from_secs(30 * 60)),
            drives: BTreeMap::new(),
            errors: BTreeMap::new(),
            record: None,
            last_run: None,
        }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        if !context.steady {
            return;
        }
        let os = Component::only(ComponentKind::Os);
        if self.health.is_due(context.now)
            && let Err(error) = self.health(machine, sink)
        {
            sink.failed(&os, semconv::HW_STATUS, &error);
        }
        if let Err(error) = self.errors(machine, context.now, sink) {
            sink.failed(&os, semconv::DISK_IO_ERRORS, &error);
        }
        self.last_run = Some(context.now);
    }
}

impl Source {
    fn health(&mut self, machine: &dyn Machine, sink: &mut Sink) -> Result<(), ProbeError> {
        let disks = machine.rows(&DISKS)?;
        if disks.is_empty() {
            return Err(ProbeError::NotPresent("the storage service lists no drive".to_owned()));
        }
        let counters = machine.rows(&COUNTERS);
        let predictions = Predictions::read(machine);
        self.drives.clear();
        for disk in disks.iter().take(MAX_DRIVES) {
            let Some((number, serial, component)) = named(disk, &self.drives) else { continue };
            let of_disk =
                |rows: &[Row]| rows.iter().find(|row| row.whole("DeviceId") == Some(number.into())).cloned();
            let counter = counters.as_deref().ok().and_then(of_disk);
            drive(disk, number, serial, &component, counter.as_ref(), predictions.of(number), sink);
            if let Err(error) = &counters {
                sink.failed(&component, semconv::PHYSICAL_DISK_ENDURANCE, error);
            }
            self.drives.insert(number, component);
        }
        Ok(())
    }

    fn errors(&mut self, machine: &dyn Machine, now: Timestamp, sink: &mut Sink) -> Result<(), ProbeError> {
        // What a drive did before the agent ran is history.
        let since = self.record.map_or(Since::Ago(Duration::from_secs(60)), Since::Record);
        for event in machine.events("System", event::DRIVE_IDS, since)? {
            let Ok(event) = Event::parse(&event) else { continue };
            self.record = Some(event.record.max(self.record.unwrap_or(0)));
            if let Some(Meaning::DriveError { drive, operation }) = event::meaning(&event)
                && (self.errors.len() < MAX_COUNTED || self.errors.contains_key(&(drive, operation)))
            {
                let before = self.last_run.unwrap_or_else(|| now.minus(Duration::from_millis(1)));
                let count = self.errors.entry((drive, operation)).or_insert(0);
                // Differences are taken of a counter, so its first count needs the zero before it.
                if *count == 0 {
                    report_errors(&self.drives, drive, operation, 0, before, sink);
                }
                *count += 1;
            }
        }
        for (&(drive, operation), &count) in &self.errors {
            report_errors(&self.drives, drive, operation, count, now, sink);
        }
        Ok(())
    }
}

/// A drive's number, serial number and component, given those that have a name already.
fn named(disk: &Row, known: &BTreeMap<u32, Component>) -> Option<(u32, Option<String>, Component)> {
    let number = disk.whole("DeviceId").and_then(|number| u32::try_from(number).ok())?;
    let serial = disk.text("SerialNumber").and_then(names::serial);
    let by_number = || Component::new(ComponentKind::PhysicalDisk, format!("PhysicalDrive{number}")).ok();
    let by_serial = serial.clone().map(|serial| Component::new(ComponentKind::PhysicalDisk, serial));
    let component = match by_serial {
        Some(by_serial) => by_serial.ok()?,
        None => by_number()?,
    };
    // Two drives in one dock may show the serial number of the dock.
    let is_taken = known.values().any(|known| *known == component);
    Some((number, serial, if is_taken { by_number()? } else { component }))
}

/// The component of each drive, by its number.
pub(crate) fn components(machine: &dyn Machine) -> Result<BTreeMap<u32, Component>, ProbeError> {
    let mut found = BTreeMap::new();
    for disk in machine.rows(&DISKS)?.iter().take(MAX_DRIVES) {
        if let Some((number, _, component)) = named(disk, &found) {
            found.insert(number, component);
        }
    }
    Ok(found)
}

fn report_errors(
    drives: &BTreeMap<u32, Component>,
    drive: u32,
    operation: &str,
    count: u64,
    at: Timestamp,
    sink: &mut Sink,
) {
    let device = format!("PhysicalDrive{drive}");
    let component = drives.get(&drive).cloned();
    let component = component.or_else(|| Component::new(ComponentKind::PhysicalDisk, device.as_str()).ok());
    if let Some(component) = component {
        let attributes = Attributes::none().with(attribute::DEVICE, device).with(attribute::OP, operation);
        sink.sample_at(at, &component, semconv::DISK_IO_ERRORS, attributes, count as f64);
    }
}

/// What drivers predict, by the number of the drive.
struct Predictions {
    rows: Vec<Row>,
    drives: Vec<Row>,
}

impl Predictions {
    fn read(machine: &dyn Machine) -> Self {
        // Most NVMe drives have none; then the storage service's word is all there is.
        let rows = machine.rows(&PREDICTIONS).unwrap_or_default();
        let drives = if rows.is_empty() { Vec::new() } else { machine.rows(&DRIVES).unwrap_or_default() };
        Self { rows, drives }
    }

    /// Instances are called after the device with `_0` behind it, in any case of letters.
    fn of(&self, number: u32) -> Option<bool> {
        let drive = self.drives.iter().find(|row| row.whole("Index") == Some(number.into()))?;
        let device = drive.text("PNPDeviceID")?.to_ascii_lowercase();
        let is_of = |row: &&Row| {
            let name = row.text("InstanceName").unwrap_or_default().to_ascii_lowercase();
            name.strip_prefix(&device).is_some_and(|rest| rest.starts_with('_'))
        };
        self.rows.iter().find(is_of)?.truth("PredictFailure")
    }
}

fn drive(
    disk: &Row,
    number: u32,
    serial: Option<String>,
    component: &Component,
    counter: Option<&Row>,
    predicted: Option<bool>,
    sink: &mut Sink,
) {
    // 0 healthy, 1 warning, 2 unhealthy, 5 unknown.
    let verdict = match (predicted, disk.whole("HealthStatus")) {
        (Some(true), _) | (_, Some(1)) => Some(Verdict::PredictedFailure),
        (_, Some(2)) => Some(Verdict::Failed),
        (_, Some(0)) | (Some(false), _) => Some(Verdict::Ok),
        (None, _) => None,
    };
    // 3 turns, 4 is flash, 5 is storage class memory.
    let rotational = match disk.whole("MediaType") {
        Some(3) => Some(true),
        Some(4 | 5) => Some(false),
        Some(_) | None => None,
    };
    let wear = counter.and_then(|row| row.number("Wear")).filter(|wear| (0.0..=255.0).contains(wear));
    let celsius = counter.and_then(|row| row.number("Temperature")).filter(|celsius| *celsius > 0.0);
    let health = Health {
        verdict,
        rotational,
        model: disk.text("FriendlyName").map(str::to_owned),
        serial,
        firmware: disk.text("FirmwareVersion").map(str::to_owned),
        // Drives with spinning disks say 0 here, which means nothing there.
        endurance_remaining: wear
            .filter(|_| rotational == Some(false))
            .map(|wear| (1.0 - wear / 100.0).max(0.0)),
        temperature: celsius.and_then(plausible_celsius),
        power_on_hours: counter.and_then(|row| row.number("PowerOnHours")).filter(|hours| *hours > 0.0),
        ..Health::default()
    };
    if verdict.is_none() {
        let why = "the storage service does not know the drive's health".to_owned();
        sink.failed(component, semconv::HW_STATUS, &ProbeError::Unsupported(why));
    }
    let size = disk.number("Size").filter(|size| *size > 0.0);
    if let Some(size) = size {
        sink.sample(component, semconv::PHYSICAL_DISK_SIZE, report::typed(), size);
    }
    report::health(component, rotational == Some(true), &health, sink);
    let uncorrected: Vec<f64> = ["ReadErrorsUncorrected", "WriteErrorsUncorrected"]
        .into_iter()
        .filter_map(|name| counter?.number(name))
        .collect();
    if !uncorrected.is_empty() {
        let attributes = report::typed().with(attribute::ERROR_TYPE, "media");
        sink.sample(component, semconv::HW_ERRORS, attributes, uncorrected.iter().sum());
    }
    let transport = match disk.whole("BusType") {
        Some(3) => Some("ata"),
        Some(7) => Some("usb"),
        Some(8) => Some("raid"),
        Some(10) => Some("sas"),
        Some(11) => Some("sata"),
        Some(12 | 13) => Some("mmc"),
        Some(14 | 15) => Some("virtual"),
        Some(17) => Some("nvme"),
        Some(_) | None => None,
    };
    let mut document = vec![("device", Value::from(format!("PhysicalDrive{number}")))];
    document.extend(transport.map(|transport| ("transport", Value::from(transport))));
    document.extend(size.map(|size| ("size", Value::from(size))));
    report::extend(&mut document, &health);
    sink.state(component, "physical_disk", Value::map(document));
}
