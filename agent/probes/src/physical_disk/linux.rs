//! Drives on Linux: `/sys/block`, the NVMe health log, smartctl, the kernel's log.

use super::health::Health;
use super::report;
use super::smartctl::{self, Reading};
use super::sysfs::{self, Drive};
use super::{ata, ata_ioctl, names, nvme, nvme_ioctl};
use crate::exec::{self, Limits, Program};
use crate::kernel_log::KernelLog;
use crate::kernel_log::classify::{Message, Operation, classify};
use crate::{Context, Due, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SMARTCTL_TIME: Duration = Duration::from_secs(10);
/// No further drive is asked after this long, so that the run ends within its time limit.
const ASKING_TIME: Duration = Duration::from_secs(45);
/// More devices than this are not counted, however many names a log holds.
const MAX_COUNTED: usize = 100;

#[derive(Debug)]
pub(super) struct Source {
    log: KernelLog,
    health: Due,
    drives: Vec<Drive>,
    errors: BTreeMap<(String, Operation), Count>,
    last_run: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Count {
    errors: u64,
    reported: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            log: KernelLog::default(),
            health: Due::every(Duration::from_secs(30 * 60)),
            drives: Vec::new(),
            errors: BTreeMap::new(),
            last_run: None,
        }
    }
}

impl Source {
    pub(super) fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let mut changed = false;
        if context.steady {
            match sysfs::drives(&context.root) {
                Ok(drives) => {
                    let ids =
                        |drives: &[Drive]| drives.iter().map(|d| d.component.clone()).collect::<Vec<_>>();
                    changed = ids(&drives) != ids(&self.drives);
                    self.drives = drives;
                }
                Err(error) => sink.failed(&Component::only(ComponentKind::Os), semconv::HW_STATUS, &error),
            }
        }
        if let Err(error) = self.count_errors(&context.root) {
            for drive in self.drives.iter().filter(|_| changed) {
                sink.failed(&drive.component, semconv::DISK_IO_ERRORS, &error);
            }
        } else {
            self.report_errors(context.now, sink);
        }
        // A drive that was plugged in is asked at once.
        if context.steady && (self.health.is_due(context.now) || changed) {
            let begin = Instant::now();
            for drive in &self.drives {
                report_drive(&context.root, drive, begin, sink);
            }
        }
        self.last_run = Some(context.now);
    }

    fn count_errors(&mut self, root: &Root) -> Result<(), ProbeError> {
        for drive in &self.drives {
            for operation in Operation::ALL {
                self.errors.entry((drive.name.clone(), *operation)).or_default();
            }
        }
        let (drives, errors) = (&self.drives, &mut self.errors);
        self.log.read(root, |line| {
            let Some(Message::DiskError { device, operation }) = classify(line) else { return };
            if names::is_layer(&device) {
                return;
            }
            let owner =
                drives.iter().find(|drive| names::belongs(&device, &drive.name, drive.port.as_deref()));
            let key = (owner.map_or(device, |drive| drive.name.clone()), operation);
            if errors.len() < MAX_COUNTED || errors.contains_key(&key) {
                errors.entry(key).or_default().errors += 1;
            }
        })?;
        Ok(())
    }

    fn report_errors(&mut self, now: Timestamp, sink: &mut Sink) {
        let before = self.last_run.unwrap_or_else(|| now.minus(Duration::from_millis(1)));
        for ((device, operation), count) in &mut self.errors {
            let drive = self.drives.iter().find(|drive| drive.name == *device);
            let component = match drive {
                Some(drive) => drive.component.clone(),
                None => match Component::new(ComponentKind::PhysicalDisk, device.as_str()) {
                    Ok(component) => component,
                    Err(_) => continue,
                },
            };
            let attributes = Attributes::none()
                .with(attribute::DEVICE, device.as_str())
                .with(attribute::OP, operation.as_str());
            // Differences are taken of a counter, so its first count needs the zero before it.
            if !count.reported && count.errors > 0 {
                sink.sample_at(before, &component, semconv::DISK_IO_ERRORS, attributes.clone(), 0.0);
            }
            count.reported = true;
            sink.sample(&component, semconv::DISK_IO_ERRORS, attributes, count.errors as f64);
        }
    }
}

fn report_drive(root: &Root, drive: &Drive, begin: Instant, sink: &mut Sink) {
    let component = &drive.component;
    if let Some(size) = drive.size {
        sink.sample(component, semconv::PHYSICAL_DISK_SIZE, report::typed(), size);
    }
    let reading = if begin.elapsed() > ASKING_TIME {
        Err(ProbeError::TimedOut("other drives took too long to answer".to_owned()))
    } else {
        ask(root, drive)
    };
    let mut document = drive.document();
    match reading {
        Ok(Reading::Answered(health)) => {
            report::health(component, drive.rotational, &health, sink);
            report::extend(&mut document, &health);
        }
        // It is asked again when it is awake; until then what it said last holds.
        Ok(Reading::Asleep) => return,
        Err(error) => sink.failed(component, semconv::HW_STATUS, &error),
    }
    // What the drive says of itself is preferred: maps keep the last value of a name.
    sink.state(component, "physical_disk", Value::map(document));
}

fn ask(root: &Root, drive: &Drive) -> Result<Reading, ProbeError> {
    if matches!(drive.transport, Some("virtio" | "xen")) {
        return Err(ProbeError::Unsupported(
            "a virtual drive has no SMART; ask the machine that hosts it".to_owned(),
        ));
    }
    if drive.transport == Some("mmc") {
        return Err(ProbeError::Unsupported("memory cards have no SMART".to_owned()));
    }
    // Some controllers refuse the plain command; smartctl may know a way round.
    if root.is_system()
        && drive.name.starts_with("nvme")
        && let Ok(health) = ask_nvme(&drive.name)
    {
        return Ok(Reading::Answered(Box::new(health)));
    }
    // To open the device of a drive that the kernel has put to sleep would wake it.
    if root.read_value(&format!("/sys/block/{}/device/power/runtime_status", drive.name)).as_deref()
        == Some("suspended")
    {
        return Ok(Reading::Asleep);
    }
    // What is behind USB is left to smartctl, which knows the bridges that hang when they are asked.
    let vendor = || root.read_value(&format!("/sys/block/{}/device/vendor", drive.name));
    let is_ata = drive.transport != Some("usb") && (!root.is_system() || vendor().as_deref() == Some("ATA"));
    let refused = match is_ata.then(|| ask_ata(root, &drive.name)) {
        Some(Ok(reading)) => return Ok(reading),
        Some(Err(error)) => Some(error),
        None => None,
    };
    let device = format!("/dev/{}", drive.name);
    let limits = Limits { time: SMARTCTL_TIME, output: 1 << 20 };
    // No exit code is a failure by itself: the bits are in the output.
    let finished = exec::run(root, Program::Smartctl, &["-j", "-a", "-n", "standby", &device], limits);
    let finished = finished.map_err(|error| match error {
        ProbeError::NotPresent(_) => without_smartctl(refused),
        ProbeError::Unsupported(_)
        | ProbeError::NotPermitted(_)
        | ProbeError::TimedOut(_)
        | ProbeError::Malformed(_) => error,
    })?;
    smartctl::read(&String::from_utf8_lossy(&finished.stdout))
}

/// Why a drive says nothing where smartctl is not installed: what it answered itself, if that was nonsense.
fn without_smartctl(refused: Option<ProbeError>) -> ProbeError {
    match refused {
        Some(error @ (ProbeError::Malformed(_) | ProbeError::NotPermitted(_) | ProbeError::TimedOut(_))) => {
            error
        }
        Some(ProbeError::Unsupported(_) | ProbeError::NotPresent(_)) | None => ProbeError::Unsupported(
            "smartctl (smartmontools) is needed to ask this drive and is not installed".to_owned(),
        ),
    }
}

fn ask_ata(root: &Root, name: &str) -> Result<Reading, ProbeError> {
    if !root.is_system() {
        return Ok(Reading::Answered(Box::new(ata::health(&captured_pages(root, name)?)?)));
    }
    match ata_ioctl::read(&PathBuf::from(format!("/dev/{name}")))? {
        ata_ioctl::Answer::Asleep => Ok(Reading::Asleep),
        ata_ioctl::Answer::Pages(pages) => Ok(Reading::Answered(Box::new(ata::health(&pages)?))),
    }
}

/// The pages of a captured machine: `DIR/ata/<name>/identify.bin`, `data.bin`, `thresholds.bin`, `statistics.bin`, and
/// `status` with `passed` or `exceeded`.
fn captured_pages(root: &Root, name: &str) -> Result<ata::Pages, ProbeError> {
    let page = |file: &str| {
        let mut page = Vec::new();
        root.read_into(&format!("/ata/{name}/{file}.bin"), ata::PAGE_BYTES, &mut page).map(|()| page)
    };
    Ok(ata::Pages {
        identify: page("identify")?,
        data: page("data")?,
        thresholds: page("thresholds").ok(),
        statistics: page("statistics").ok(),
        is_exceeded: root.read_value(&format!("/ata/{name}/status")).map(|status| status == "exceeded"),
    })
}

fn ask_nvme(name: &str) -> Result<Health, ProbeError> {
    // `nvme0n1` is a namespace of the controller `nvme0`.
    let controller = name.rsplit_once('n').map_or(name, |(controller, _)| controller);
    let page = nvme_ioctl::health_log(&PathBuf::from(format!("/dev/{controller}")))?;
    let log = nvme::health_log(&page)
        .ok_or_else(|| ProbeError::Unsupported("the drive answers an empty health log".to_owned()))?;
    Ok(Health {
        verdict: Some(log.verdict()),
        rotational: Some(false),
        endurance_remaining: Some(log.endurance_remaining()),
        temperature: log.temperature,
        power_on_hours: Some(log.power_on_hours),
        nvme: Some(log),
        ..Health::default()
    })
}
