//! Batteries and mains on Linux: one file, `uevent`, of each folder of `/sys/class/power_supply`.

use super::supply::{Kind, Supply};
use crate::{ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, Value};

const FOLDER: &str = "/sys/class/power_supply";
/// More supplies than this are not read.
const MAX_SUPPLIES: usize = 32;

pub(super) fn collect(root: &Root, slow: bool, sink: &mut Sink) {
    let supplies: Vec<(String, Supply)> = root
        .list(FOLDER)
        .unwrap_or_default()
        .into_iter()
        .take(MAX_SUPPLIES)
        .filter_map(|name| {
            let uevent = root.read_text(&format!("{FOLDER}/{name}/uevent")).ok()?;
            Some((name, Supply::of(&uevent)))
        })
        .collect();
    report(&supplies, slow, sink);
}

/// Reports supplies, however they were read.
pub(super) fn report(supplies: &[(String, Supply)], slow: bool, sink: &mut Sink) {
    let of_kind = |kind: Kind| supplies.iter().filter(move |(_, supply)| supply.kind() == Some(kind));
    let outside: Vec<bool> = of_kind(Kind::Outside).filter_map(|(_, supply)| supply.online()).collect();
    let on_mains = (!outside.is_empty()).then(|| outside.contains(&true));
    let mut any = false;
    for (name, supply) in of_kind(Kind::Battery) {
        any = true;
        battery(name, supply, on_mains, slow, sink);
    }
    if !any && slow {
        let battery = Component::only(ComponentKind::Battery);
        let error = ProbeError::NotPresent("this machine has no battery".to_owned());
        sink.failed(&battery, semconv::BATTERY_HEALTH, &error);
    }
    // A mouse says how full it is when it likes to; once an hour is enough.
    for (name, supply) in of_kind(Kind::Peripheral).filter(|_| slow) {
        let label = supply.text("MODEL_NAME").unwrap_or(name);
        let Ok(component) = Component::new(ComponentKind::Device, label) else { continue };
        if let Some(charge) = supply.charge() {
            let attributes = Attributes::none().with(attribute::HW_NAME, label);
            sink.sample(&component, semconv::BATTERY_CHARGE, attributes, charge);
        }
    }
}

fn battery(name: &str, supply: &Supply, on_mains: Option<bool>, slow: bool, sink: &mut Sink) {
    let Ok(component) = Component::new(ComponentKind::Battery, supply.text("SERIAL_NUMBER").unwrap_or(name))
    else {
        return;
    };
    let none = Attributes::none;
    if !supply.is_present() {
        if slow {
            let detail = "the battery was taken out";
            sink.unavailable(&component, semconv::BATTERY_HEALTH, UnavailableReason::NotPresent, detail);
        }
        return;
    }
    match supply.charge() {
        Some(charge) => sink.sample(&component, semconv::BATTERY_CHARGE, none(), charge),
        None if slow => {
            let detail = "the battery says no charge between 0 and 100 %";
            sink.unavailable(&component, semconv::BATTERY_CHARGE, UnavailableReason::Malformed, detail);
        }
        None => {}
    }
    if let Some(defective) = supply.is_defective() {
        let state = if defective { "failed" } else { "ok" };
        let attributes = none().with(attribute::HW_TYPE, "battery").with(attribute::HW_STATE, state);
        sink.sample(&component, semconv::HW_STATUS, attributes, 1.0);
    } else if slow {
        let detail = "this battery's driver does not report defects";
        sink.unavailable(&component, semconv::HW_STATUS, UnavailableReason::Unsupported, detail);
    }
    if let Some(on_mains) = on_mains {
        let drained = on_mains && supply.is_discharging();
        sink.sample(&component, semconv::POWER_DISCHARGING_ON_AC, none(), f64::from(u8::from(drained)));
    } else if slow {
        let detail = "no driver says whether mains power is connected";
        sink.unavailable(
            &component,
            semconv::POWER_DISCHARGING_ON_AC,
            UnavailableReason::Unsupported,
            detail,
        );
    }
    if slow {
        wear(name, supply, &component, sink);
    }
}

fn wear(name: &str, supply: &Supply, component: &Component, sink: &mut Sink) {
    match supply.health() {
        Some(health) => {
            let rounded = (health * 1000.0).round() / 1000.0;
            sink.sample(component, semconv::BATTERY_HEALTH, Attributes::none(), rounded);
        }
        None => {
            let detail = "the battery does not say believably what it holds and what it was made for";
            sink.unavailable(component, semconv::BATTERY_HEALTH, UnavailableReason::Malformed, detail);
        }
    }
    let texts = [("manufacturer", "MANUFACTURER"), ("model", "MODEL_NAME"), ("technology", "TECHNOLOGY")];
    let mut document = vec![("name", Value::from(name))];
    document.extend(texts.into_iter().filter_map(|(key, from)| Some((key, Value::from(supply.text(from)?)))));
    // Some drivers say 0 for "not counted".
    let cycles = supply.number("CYCLE_COUNT").filter(|count| (1..100_000).contains(count));
    document.extend(cycles.map(|count| ("cycle_count", Value::from(count as f64))));
    sink.state(component, "battery", Value::map(document));
}
