//! Temperatures and fans of `/sys/class/hwmon` (the kernel's `hwmon/sysfs-interface`): millidegrees and turns a minute.

use crate::physical_disk::names;
use crate::{ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, order};
use std::collections::BTreeSet;
use std::path::Path;

const FOLDER: &str = "/sys/class/hwmon";
/// More sensors and fans than this are not reported; servers have a hundred, and the hottest of them matter.
const MAX_TEMPERATURES: usize = 12;
const MAX_FANS: usize = 8;
const MAX_REMEMBERED: usize = 64;
/// A fan that stands still is needed when a sensor is this close below its limit.
const NEAR_LIMIT: f64 = 10.0;

/// A sensor of temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Temperature {
    /// The chip's name: `coretemp`.
    pub chip: String,
    /// What the chip calls the sensor: `Package id 0`, else `temp1`.
    pub label: String,
    /// Degrees now; `None` when the chip says that the sensor is broken or says something that cannot be.
    pub celsius: Option<f64>,
    /// Too hot from here on.
    pub high: Option<f64>,
    /// The hardware protects itself from here on.
    pub critical: Option<f64>,
    /// The chip itself says that the critical limit was passed.
    pub alarm: bool,
    /// The serial number of the drive that the sensor is in.
    pub drive: Option<String>,
}

impl Temperature {
    /// `critical`, `degraded` or `ok` by the part's own limits; `None` when it has none or says no temperature.
    pub fn state(&self) -> Option<&'static str> {
        let celsius = self.celsius?;
        let beyond = |limit: Option<f64>| limit.is_some_and(|limit| celsius >= limit);
        if self.alarm || beyond(self.critical) {
            Some("critical")
        } else if beyond(self.high) {
            Some("degraded")
        } else {
            (self.high.is_some() || self.critical.is_some()).then_some("ok")
        }
    }

    fn is_near_its_limit(&self) -> bool {
        let limit = self.high.or(self.critical);
        self.celsius.zip(limit).is_some_and(|(celsius, limit)| celsius >= limit - NEAR_LIMIT)
    }
}

/// What a text of millidegrees means; `None` for what no part of a computer can have (chips without a sensor at the
/// pin answer -273, 0 and 127 degrees).
pub fn celsius(text: &str) -> Option<f64> {
    let degrees = text.trim().parse::<i64>().ok()? as f64 / 1000.0;
    (degrees != 0.0 && degrees > -40.0 && degrees < 127.0).then_some(degrees)
}

/// Whether a sensor repeats what another one of the same chip says for the whole processor.
pub fn is_part_of_package(label: &str, others: &[String]) -> bool {
    let whole = |label: &String| label.starts_with("Package id") || label == "Tctl";
    (label.starts_with("Core ") || label.starts_with("Tccd")) && others.iter().any(whole)
}

pub(super) fn collect(root: &Root, turning: &mut Turning, slow: bool, sink: &mut Sink) {
    let chips = match root.list(FOLDER) {
        Ok(chips) => chips,
        Err(error) => return absent(slow, &error, sink),
    };
    let mut temperatures = Vec::new();
    let mut fans = Vec::new();
    for chip in chips {
        let folder = format!("{FOLDER}/{chip}");
        let Some(name) = root.read_value(&format!("{folder}/name")) else { continue };
        // Asking a hard disk for its temperature may keep it from falling asleep, or wake it.
        if name == "drivetemp" || is_asleep(root, &folder) {
            continue;
        }
        read_chip(root, &folder, &name, &mut temperatures, &mut fans);
    }
    if temperatures.is_empty() && fans.is_empty() {
        let error = ProbeError::NotPresent("the kernel knows no sensor of this machine".to_owned());
        return absent(slow, &error, sink);
    }
    let hot = temperatures.iter().any(Temperature::is_near_its_limit);
    // Those with a limit first: only of them it can be said whether they are too hot.
    order::sort_by_key(&mut temperatures, |temperature| temperature.state().is_none());
    for temperature in temperatures.iter().take(MAX_TEMPERATURES) {
        report(temperature, slow, sink);
    }
    for fan in fans.iter().filter(|fan| turning.is_there(fan)).take(MAX_FANS) {
        report_fan(fan, hot, sink);
    }
}

fn absent(slow: bool, error: &ProbeError, sink: &mut Sink) {
    if slow {
        sink.failed(&Component::only(ComponentKind::Sensor), semconv::HW_TEMPERATURE, error);
        sink.failed(&Component::only(ComponentKind::Fan), semconv::FAN_SPEED, error);
    }
}

fn is_asleep(root: &Root, folder: &str) -> bool {
    ["device/power/runtime_status", "device/device/power/runtime_status"]
        .iter()
        .any(|file| root.read_value(&format!("{folder}/{file}")).as_deref() == Some("suspended"))
}

#[derive(Debug)]
pub(super) struct Fan {
    id: String,
    rpm: u64,
    alarm: bool,
    has_label: bool,
}

/// The fans that turned once. Chips have more inputs than a board has fans, and an input without a fan stands still for ever:
/// of an input that nobody named, only one that turned is known to be a fan.
#[derive(Debug, Default)]
pub(super) struct Turning {
    seen: BTreeSet<String>,
    is_read: bool,
    changed: bool,
}

impl Turning {
    /// Takes up what an earlier process has seen.
    pub(super) fn recall(&mut self, file: Option<&Path>) {
        if !std::mem::replace(&mut self.is_read, true) {
            let known = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
            self.seen = known.lines().take(MAX_REMEMBERED).map(str::to_owned).collect();
        }
    }

    /// Keeps it for the next process.
    pub(super) fn keep(&mut self, file: Option<&Path>) {
        let Some(file) = file.filter(|_| std::mem::take(&mut self.changed)) else { return };
        let names: Vec<&str> = self.seen.iter().map(String::as_str).collect();
        if let Err(error) = std::fs::write(file, names.join("\n")) {
            tracing::warn!(path = %file.display(), %error, "fans that turned cannot be remembered");
        }
    }

    fn is_there(&mut self, fan: &Fan) -> bool {
        if fan.rpm > 0 && self.seen.len() < MAX_REMEMBERED && !fan.id.contains('\n') {
            self.changed |= self.seen.insert(fan.id.clone());
        }
        fan.rpm > 0 || fan.alarm || fan.has_label || self.seen.contains(&fan.id)
    }
}

fn read_chip(
    root: &Root,
    folder: &str,
    chip: &str,
    temperatures: &mut Vec<Temperature>,
    fans: &mut Vec<Fan>,
) {
    let Ok(files) = root.list(folder) else { return };
    let inputs = |kind: &str| {
        let of_kind = |file: &String| {
            let number = file.strip_prefix(kind)?.strip_suffix("_input")?;
            number.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{kind}{number}"))
        };
        files.iter().filter_map(of_kind).collect::<Vec<_>>()
    };
    let value = |sensor: &str, what: &str| root.read_value(&format!("{folder}/{sensor}_{what}"));
    let label = |sensor: &str| value(sensor, "label").unwrap_or_else(|| sensor.to_owned());
    let sensors = inputs("temp");
    let labels: Vec<String> = sensors.iter().map(|sensor| label(sensor)).collect();
    let drive = root
        .read_value(&format!("{folder}/device/serial"))
        .filter(|_| chip == "nvme")
        .and_then(|text| names::serial(&text));
    for (sensor, label) in sensors.iter().zip(&labels) {
        if is_part_of_package(label, &labels) || (chip == "nvme" && label != "Composite") {
            continue;
        }
        let degrees = |what: &str| value(sensor, what).and_then(|text| celsius(&text));
        let flag = |what: &str| value(sensor, what).as_deref() == Some("1");
        let limit = |what: &str| degrees(what).filter(|limit| *limit > 0.0);
        temperatures.push(Temperature {
            chip: chip.to_owned(),
            label: label.clone(),
            celsius: degrees("input").filter(|_| !flag("fault")),
            high: limit("max"),
            critical: limit("crit"),
            alarm: flag("crit_alarm"),
            drive: drive.clone(),
        });
    }
    for sensor in inputs("fan") {
        let Some(rpm) = value(&sensor, "input").and_then(|text| text.parse().ok()) else { continue };
        let alarm = ["alarm", "fault"].iter().any(|what| value(&sensor, what).as_deref() == Some("1"));
        let has_label = value(&sensor, "label").is_some();
        fans.push(Fan { id: format!("{chip}/{}", label(&sensor)), rpm, alarm, has_label });
    }
}

fn report(temperature: &Temperature, slow: bool, sink: &mut Sink) {
    let component = match &temperature.drive {
        Some(serial) => Component::new(ComponentKind::PhysicalDisk, serial.as_str()),
        None => Component::new(ComponentKind::Sensor, format!("{}/{}", temperature.chip, temperature.label)),
    };
    let Ok(component) = component else { return };
    let named = || Attributes::none().with(attribute::HW_NAME, temperature.chip.as_str());
    let Some(celsius) = temperature.celsius else {
        if slow {
            let detail = "the sensor is broken or says a temperature that cannot be";
            sink.unavailable(&component, semconv::HW_TEMPERATURE, UnavailableReason::Malformed, detail);
        }
        return;
    };
    sink.sample(&component, semconv::HW_TEMPERATURE, named(), celsius.round());
    // Of a drive's state only its own verdict speaks.
    if let Some(state) = temperature.state().filter(|_| temperature.drive.is_none()) {
        let attributes =
            Attributes::none().with(attribute::HW_TYPE, "temperature").with(attribute::HW_STATE, state);
        sink.sample(&component, semconv::HW_STATUS, attributes, 1.0);
    }
    if slow {
        let limits = [("high.degraded", temperature.high), ("high.critical", temperature.critical)];
        for (kind, limit) in limits.into_iter().filter_map(|(kind, limit)| Some((kind, limit?))) {
            sink.sample(
                &component,
                semconv::HW_TEMPERATURE_LIMIT,
                named().with(attribute::HW_LIMIT_TYPE, kind),
                limit,
            );
        }
    }
}

/// Many fans stand still while it is cool, so that alone is no fault.
fn report_fan(fan: &Fan, hot: bool, sink: &mut Sink) {
    let Ok(component) = Component::new(ComponentKind::Fan, fan.id.as_str()) else { return };
    sink.sample(&component, semconv::FAN_SPEED, Attributes::none(), fan.rpm as f64);
    let state = if fan.alarm || (fan.rpm == 0 && hot) { "failed" } else { "ok" };
    let attributes = Attributes::none().with(attribute::HW_TYPE, "fan").with(attribute::HW_STATE, state);
    sink.sample(&component, semconv::HW_STATUS, attributes, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_that_cannot_be_are_none() {
        assert_eq!(celsius("45500\n"), Some(45.5));
        assert_eq!(celsius("-5000"), Some(-5.0));
        for absurd in ["", "x", "0", "-273150", "127000", "65261850", "99999999999999999999"] {
            assert_eq!(celsius(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn an_input_without_a_name_is_a_fan_once_it_has_turned() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fans");
        let fan = |rpm| Fan { id: "lm80/fan1".to_owned(), rpm, alarm: false, has_label: false };
        let look = |rpm| {
            let mut turning = Turning::default();
            turning.recall(Some(&file));
            let is_there = turning.is_there(&fan(rpm));
            turning.keep(Some(&file));
            is_there
        };
        // Each look is that of another process.
        assert_eq!([0, 1200, 0].map(look), [false, true, true]);
        let named = Fan { has_label: true, ..fan(0) };
        let alarmed = Fan { alarm: true, ..fan(0) };
        assert!([named, alarmed].iter().all(|fan| Turning::default().is_there(fan)));
    }

    #[test]
    fn cores_are_left_out_where_the_chip_speaks_for_the_package() {
        let labels = ["Package id 0", "Core 0"].map(str::to_owned);
        assert!(is_part_of_package("Core 0", &labels));
        assert!(!is_part_of_package("Package id 0", &labels));
        assert!(!is_part_of_package("Core 0", &["Core 0".to_owned()]));
    }
}
