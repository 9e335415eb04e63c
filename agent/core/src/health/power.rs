//! Battery and charger. A machine without a battery gets no line.

use super::view::View;
use super::wording::{id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Component, ComponentKind};

const DOMAIN: Domain = Domain::Power;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for state in view.samples(semconv::HW_STATUS) {
        if state.is(attribute::HW_TYPE, "battery")
            && state.is(attribute::HW_STATE, "failed")
            && state.value > 0.0
        {
            let text = format!("The battery {} reports that it is defective.", name(view, state.component));
            let advice = "Have it replaced; do not charge it unattended.";
            lines.push(state.line(Level::Problem, DOMAIN, "battery.fault", text, advice));
        }
    }
    for health in view.samples(semconv::BATTERY_HEALTH) {
        let (level, advice) = match health.value {
            share if share < 0.50 => (Level::Warning, "Have the battery replaced."),
            share if share < 0.80 => {
                (Level::Note, "Plan for a new battery if the time without mains is too short.")
            }
            _ => continue,
        };
        let text = format!(
            "The battery {} is worn: it holds {} of what it held when new.",
            name(view, health.component),
            percent(health.value)
        );
        lines.push(health.line(level, DOMAIN, "battery.health", text, advice));
    }
    for drained in view.samples(semconv::POWER_DISCHARGING_ON_AC) {
        if drained.value > 0.0 {
            let charge = view.samples(semconv::BATTERY_CHARGE);
            let charge = charge.iter().find(|s| s.component == drained.component);
            let charge = charge.map(|s| format!(" It is at {}.", percent(s.value))).unwrap_or_default();
            let text = format!("The battery loses charge although the charger is connected.{charge}");
            let advice = "Use the charger or dock that belongs to this machine, and check the plug.";
            lines.push(drained.line(Level::Warning, DOMAIN, "power.adapter_weak", text, advice));
        }
    }
    lines
}

fn name(view: &View<'_>, component: &Component) -> String {
    let text = |key| view.document(component, "battery").and_then(|d| d.get(key)).and_then(|v| v.as_text());
    debug_assert!(component.kind == ComponentKind::Battery, "asked of batteries only");
    text("name").or_else(|| text("model")).map_or_else(|| id(component), shown)
}
