//! The battery on macOS: `AppleSmartBattery` in the registry of devices, brought into the form of the kernel's power
//! supplies, so that one piece of code judges both.

use super::supply::Supply;
use crate::on_macos::{Half, Machine, Question, plist};
use crate::row::Row;
use crate::{Context, Due, ProbeError, Sink};
use serde_json::Value;
use std::time::Duration;

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

fn supplies(machine: &dyn Machine) -> Result<Vec<(String, Supply)>, ProbeError> {
    let text = machine.answer(Question::Battery)?;
    // Nothing at all is the answer of a machine without a battery.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let list = plist::parse(&text).map_err(ProbeError::Malformed)?;
    let Value::Array(batteries) = list else {
        return Err(ProbeError::Malformed("ioreg's answer is no list".to_owned()));
    };
    Ok(batteries.into_iter().take(4).filter_map(Row::new).flat_map(|battery| of_one(&battery)).collect())
}

/// Current that flows out is negative, and the registry writes negative numbers as very large ones.
fn is_negative(current: f64) -> bool {
    !(0.0..=9e18).contains(&current)
}

fn of_one(battery: &Row) -> Vec<(String, Supply)> {
    // Current machines give shares under the plain names and milliampere hours under the raw ones.
    let full = battery.whole("AppleRawMaxCapacity").or_else(|| battery.whole("NominalChargeCapacity"));
    let (now, most) =
        (battery.whole("CurrentCapacity"), battery.whole("MaxCapacity").filter(|most| *most > 0));
    let charge = now.zip(most).map(|(now, most)| now.saturating_mul(100) / most);
    let is = |name: &str| battery.truth(name) == Some(true);
    let state = if is("FullyCharged") {
        "Full"
    } else if is("IsCharging") {
        "Charging"
    } else if battery
        .number("InstantAmperage")
        .or_else(|| battery.number("Amperage"))
        .is_some_and(is_negative)
    {
        "Discharging"
    } else {
        "Not charging"
    };
    // Anything but 0 stands for a cell that was switched off for good.
    let failure =
        battery.whole("PermanentFailureStatus").map(|status| if status == 0 { "Good" } else { "Dead" });
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let name = battery.text("DeviceName").unwrap_or("InternalBattery").to_owned();
    let pairs = [
        ("TYPE", Some("Battery".to_owned())),
        (
            "PRESENT",
            Some(if battery.truth("BatteryInstalled") == Some(false) { "0" } else { "1" }.to_owned()),
        ),
        (
            "SERIAL_NUMBER",
            battery.text("Serial").or_else(|| battery.text("BatterySerialNumber")).map(str::to_owned),
        ),
        ("MANUFACTURER", battery.text("Manufacturer").map(str::to_owned)),
        ("MODEL_NAME", battery.text("DeviceName").map(str::to_owned)),
        ("CHARGE_FULL", number(full)),
        ("CHARGE_FULL_DESIGN", number(battery.whole("DesignCapacity"))),
        ("CAPACITY", number(charge)),
        ("CYCLE_COUNT", number(battery.whole("CycleCount"))),
        ("HEALTH", failure.map(str::to_owned)),
        ("STATUS", Some(state.to_owned())),
    ];
    let supply = Supply::with(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let mut found = vec![(name, supply)];
    if let Some(online) = battery.truth("ExternalConnected") {
        let text = if online { "1" } else { "0" };
        let mains = [("TYPE", "Mains"), ("ONLINE", text)].map(|(name, value)| (name, value.to_owned()));
        found.push(("mains".to_owned(), Supply::with(mains)));
    }
    found
}
