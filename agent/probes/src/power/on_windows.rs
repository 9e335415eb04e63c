//! Batteries on Windows: the classes of the battery driver, brought into the form of the kernel's power supplies, so that
//! one piece of code judges both.

use super::supply::Supply;
use crate::on_windows::{Class, Half, Machine, Row};
use crate::{Context, Due, ProbeError, Sink};
use std::time::Duration;

const fn of_wmi(name: &'static str, properties: &'static [&'static str]) -> Class {
    Class { namespace: "wmi", name, properties, condition: None }
}

const STATIC: Class = of_wmi(
    "BatteryStaticData",
    &["InstanceName", "DesignedCapacity", "Capabilities", "SerialNumber", "ManufactureName", "DeviceName"],
);
const FULL: Class = of_wmi("BatteryFullChargedCapacity", &["InstanceName", "FullChargedCapacity"]);
const STATUS: Class =
    of_wmi("BatteryStatus", &["InstanceName", "PowerOnline", "Discharging", "Charging", "RemainingCapacity"]);
const CYCLES: Class = of_wmi("BatteryCycleCount", &["InstanceName", "CycleCount"]);

/// Capacities are shares of something and no energy (`BATTERY_CAPACITY_RELATIVE`): no wear can be told from them.
const RELATIVE: u64 = 0x4000_0000;
/// The driver's way to say that it does not know.
const UNKNOWN: u64 = 0xffff_ffff;

/// The supplies of this machine; empty when it has no battery.
pub fn supplies(machine: &dyn Machine) -> Result<Vec<(String, Supply)>, ProbeError> {
    let batteries = match machine.rows(&STATIC) {
        Ok(rows) => rows,
        // A machine without a battery has no driver that would offer the class.
        Err(ProbeError::NotPresent(_) | ProbeError::Unsupported(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (full, status) = (machine.rows(&FULL).unwrap_or_default(), machine.rows(&STATUS).unwrap_or_default());
    let cycles = machine.rows(&CYCLES).unwrap_or_default();
    let mut found: Vec<(String, Supply)> = Vec::new();
    for battery in &batteries {
        let Some(instance) = battery.text("InstanceName") else { continue };
        let of = |rows: &[Row]| rows.iter().find(|row| row.text("InstanceName") == Some(instance)).cloned();
        let name = battery.text("DeviceName").unwrap_or(instance).to_owned();
        found.push((name, one(battery, of(&full), of(&status), of(&cycles))));
    }
    // Each battery says whether mains power is there; one word of it is enough.
    let online: Vec<bool> = status.iter().filter_map(|row| row.truth("PowerOnline")).collect();
    if !online.is_empty() {
        let text = if online.contains(&true) { "1" } else { "0" };
        let mains = [("TYPE", "Mains"), ("ONLINE", text)].map(|(name, value)| (name, value.to_owned()));
        found.push(("mains".to_owned(), Supply::with(mains)));
    }
    Ok(found)
}

fn one(battery: &Row, full: Option<Row>, status: Option<Row>, cycles: Option<Row>) -> Supply {
    let known = |number: &u64| *number != UNKNOWN;
    let design = battery.whole("DesignedCapacity").filter(known);
    let full = full.and_then(|row| row.whole("FullChargedCapacity")).filter(known);
    let remaining = status.as_ref().and_then(|row| row.whole("RemainingCapacity")).filter(known);
    let is_relative = battery.whole("Capabilities").is_some_and(|bits| bits & RELATIVE != 0);
    let charge =
        remaining.zip(full.filter(|full| *full > 0)).map(|(left, full)| (left * 100 / full).min(100));
    let is = |name: &str| status.as_ref().and_then(|row| row.truth(name)) == Some(true);
    let state = match (is("Charging"), is("Discharging")) {
        (true, _) => Some("Charging"),
        (false, true) => Some("Discharging"),
        (false, false) => None,
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let energy = |amount: Option<u64>| number(amount.filter(|_| !is_relative));
    let cycles = cycles.and_then(|row| row.whole("CycleCount"));
    let pairs = [
        ("TYPE", Some("Battery".to_owned())),
        ("PRESENT", Some("1".to_owned())),
        ("SERIAL_NUMBER", battery.text("SerialNumber").map(str::to_owned)),
        ("MANUFACTURER", battery.text("ManufactureName").map(str::to_owned)),
        ("MODEL_NAME", battery.text("DeviceName").map(str::to_owned)),
        ("ENERGY_FULL", energy(full)),
        ("ENERGY_FULL_DESIGN", energy(design)),
        ("CAPACITY", number(charge)),
        ("CYCLE_COUNT", number(cycles)),
        ("STATUS", state.map(str::to_owned)),
    ];
    Supply::with(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// Charge and faults in every look, wear and inventory once an hour.
#[derive(Debug)]
pub struct Source {
    slow: Due,
}

impl Default for Source {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)) }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        super::report(supplies(machine), self.slow.is_due(context.now), sink);
    }
}
