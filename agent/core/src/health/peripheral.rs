//! What is plugged in: devices that do not work, that come and go, and whose batteries are low.

use super::view::{View, line};
use super::wording::{count, id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::ComponentKind;
use firstline_model::semconv::{self, attribute};
use std::collections::BTreeMap;

const DOMAIN: Domain = Domain::Peripheral;
/// A device that went and came back this often has a bad plug, cable or port.
const OFTEN: f64 = 3.0;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for problem in view.samples(semconv::DEVICE_PROBLEM).iter().filter(|sample| sample.value > 0.0) {
        let (what, advice) = match problem.attribute(attribute::CODE) {
            Some("over_current") => (
                "draws more power than the port gives",
                "Unplug it; try another port or a hub with its own power.",
            ),
            Some("no_descriptor") => {
                ("does not answer", "Unplug it and plug it into another port, with another cable.")
            }
            Some(_) | None => ("does not work", "Unplug it and plug it in again."),
        };
        let text = format!("The device at {} {what}.", id(problem.component));
        lines.push(problem.line(Level::Warning, DOMAIN, "dev.problem", text, advice));
    }
    let mut gone = BTreeMap::new();
    for (component, _) in view.events(semconv::USB_DISCONNECTS) {
        *gone.entry(component).or_insert(0.0) += 1.0;
    }
    for (component, times) in gone {
        if times >= OFTEN {
            let text = format!(
                "The device at {} disconnected {} times since this machine started.",
                shown(component.id()),
                count(times)
            );
            let advice = "Unless somebody unplugged it, try another cable or port.";
            lines.push(line(Level::Warning, DOMAIN, "dev.usb_flap", component, text, advice));
        }
    }
    for charge in view.samples(semconv::BATTERY_CHARGE) {
        if charge.component.kind == ComponentKind::Device && charge.value <= 0.10 {
            let name = shown(charge.attribute(attribute::HW_NAME).unwrap_or(charge.component.id()));
            let text = format!("The battery of {name} is at {}.", percent(charge.value));
            lines.push(charge.line(
                Level::Note,
                DOMAIN,
                "battery.peripheral",
                text,
                "Charge it or change its battery.",
            ));
        }
    }
    lines
}
