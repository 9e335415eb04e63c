//! Drives on macOS: the inventory's NVMe and SATA drives with the verdict that they give on themselves. Counters need
//! smartctl, which is not asked here yet.

use super::health::{Health, Verdict};
use super::{names, report};
use crate::on_macos::{Half, Machine, Question, section};
use crate::row::Row;
use crate::{Context, Due, ProbeError, Sink};
use firstline_model::{Component, ComponentKind, UnavailableReason, Value, semconv};
use std::time::Duration;

const MAX_DRIVES: usize = 64;

/// Health of each drive, every half hour.
#[derive(Debug)]
pub struct Source {
    due: Due,
}

impl Default for Source {
    fn default() -> Self {
        Self { due: Due::every(Duration::from_secs(30 * 60)) }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        if !self.due.is_due(context.now) {
            return;
        }
        let os = Component::only(ComponentKind::Os);
        let mut seen: Vec<Component> = Vec::new();
        let mut errors = Vec::new();
        for (question, transport) in [(Question::Nvme, "nvme"), (Question::Sata, "sata")] {
            match section(machine, question) {
                Ok(rows) => {
                    for row in rows.iter().filter(|row| row.text("bsd_name").is_some()).take(MAX_DRIVES) {
                        drive(row, transport, &mut seen, sink);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        // Machines have one sort of drive or the other: one answer is enough.
        if let (true, Some(error)) = (seen.is_empty(), errors.first()) {
            sink.failed(&os, semconv::HW_STATUS, error);
        }
        let why = "the log of macOS is not read for errors of drives";
        sink.unavailable(&os, semconv::DISK_IO_ERRORS, UnavailableReason::Unsupported, why);
    }
}

fn drive(row: &Row, transport: &'static str, seen: &mut Vec<Component>, sink: &mut Sink) {
    let Some(device) = row.text("bsd_name") else { return };
    let serial = row.text("device_serial").and_then(names::serial);
    let id = serial.clone().unwrap_or_else(|| device.to_owned());
    let named = |id: &str| Component::new(ComponentKind::PhysicalDisk, id).ok();
    // Two drives in one dock may show the serial number of the dock.
    let component = named(&id).filter(|component| !seen.contains(component)).or_else(|| named(device));
    let Some(component) = component.filter(|component| !seen.contains(component)) else { return };
    let verdict = match row.text("smart_status") {
        Some("Verified") => Some(Verdict::Ok),
        Some("Failing") => Some(Verdict::PredictedFailure),
        Some(_) | None => None,
    };
    let rotational = match row.text("spsata_medium_type") {
        Some("Rotational") => Some(true),
        Some("Solid State") => Some(false),
        Some(_) | None => (transport == "nvme").then_some(false),
    };
    let health = Health {
        verdict,
        rotational,
        model: row.text("device_model").map(str::to_owned),
        serial,
        firmware: row.text("device_revision").map(str::to_owned),
        ..Health::default()
    };
    let size = row.number("size_in_bytes").filter(|size| *size > 0.0);
    if let Some(size) = size {
        sink.sample(&component, semconv::PHYSICAL_DISK_SIZE, report::typed(), size);
    }
    if verdict.is_none() {
        let why = "macOS does not pass on what this drive says of its health".to_owned();
        sink.failed(&component, semconv::HW_STATUS, &ProbeError::Unsupported(why));
    }
    report::health(&component, rotational == Some(true), &health, sink);
    let mut document = vec![("device", Value::from(device)), ("transport", Value::from(transport))];
    document.extend(size.map(|size| ("size", Value::from(size))));
    report::extend(&mut document, &health);
    sink.state(&component, "physical_disk", Value::map(document));
    seen.push(component);
}
