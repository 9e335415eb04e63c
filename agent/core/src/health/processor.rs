//! Processor, heat and fans: load by the time that programs wait, throttling by the difference of two looks, heat only
//! against limits that the hardware itself publishes.

use super::view::View;
use super::wording::{celsius, id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Component, ComponentKind, order};

const DOMAIN: Domain = Domain::Processor;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = load(view).into_iter().collect();
    lines.extend(throttling(view));
    lines.extend(temperatures(view));
    lines.extend(fans(view));
    lines
}

fn load(view: &View<'_>) -> Option<Line> {
    let mut busiest = view.samples(semconv::PROCESS_CPU_UTILIZATION);
    order::sort_by(&mut busiest, |one, other| other.value.total_cmp(&one.value));
    let busiest = busiest.first().map(|program| {
        format!(" Busiest is {}, which keeps {:.1} processors busy.", id(program.component), program.value)
    });
    let waiting = view.samples(semconv::PRESSURE_STALL).into_iter().find(|sample| {
        sample.component.kind == ComponentKind::Cpu
            && sample.is(attribute::KIND, "some")
            && sample.is(attribute::WINDOW, "avg300")
    });
    if let Some(waiting) = waiting.filter(|sample| sample.value > 0.50) {
        let text = format!(
            "The processor has more to do than it can: in the last 5 minutes programs waited for it {} of the time.{}",
            percent(waiting.value),
            busiest.unwrap_or_default()
        );
        let advice = "Close the program that needs most, or wait until an update, scan or build is over.";
        return Some(waiting.line(Level::Warning, DOMAIN, "cpu.pressure", text, advice));
    }
    // How busy it is alone is no fault; it explains why the machine feels slow.
    let busy =
        view.samples(semconv::CPU_UTILIZATION).into_iter().find(|sample| sample.attributes.is_empty())?;
    (busy.value > 0.95).then(|| {
        let text = format!(
            "The processor is {} busy right now; everything may feel slow.{}",
            percent(busy.value),
            busiest.unwrap_or_default()
        );
        busy.line(Level::Note, DOMAIN, "cpu.utilization", text, "")
    })
}

fn throttling(view: &View<'_>) -> Option<Line> {
    let (sample, grown, seconds) = view.increases(semconv::CPU_THROTTLED_TIME).into_iter().next()?;
    let share = grown / seconds;
    (share > 0.05).then(|| {
        let level = if share > 0.20 { Level::Problem } else { Level::Warning };
        let text =
            format!("The processor slows itself down to avoid overheating, {} of the time.", percent(share));
        let advice =
            "Free the air vents, put the machine on a hard surface, and have fan and dust looked at.";
        sample.line(level, DOMAIN, "cpu.throttle", text, advice)
    })
}

fn limit(view: &View<'_>, component: &Component, kind: &str) -> Option<f64> {
    let limits = view.samples(semconv::HW_TEMPERATURE_LIMIT);
    let limit = limits.iter().find(|s| s.component == component && s.is(attribute::HW_LIMIT_TYPE, kind));
    limit.map(|sample| sample.value)
}

fn temperatures(view: &View<'_>) -> Vec<Line> {
    let states = view.samples(semconv::HW_STATUS);
    let of_sensors = states.iter().filter(|s| s.is(attribute::HW_TYPE, "temperature") && s.value > 0.0);
    of_sensors
        .filter_map(|state| {
            let (level, kind) = match state.attribute(attribute::HW_STATE)? {
                "degraded" => (Level::Warning, "high.degraded"),
                "failed" | "predicted_failure" => (Level::Problem, "high.critical"),
                _ => return None,
            };
            let degrees = view.value_of(state.component, semconv::HW_TEMPERATURE);
            let measured = degrees.map_or("too hot".to_owned(), celsius);
            let limit = limit(view, state.component, kind).map(|limit| format!(" of {}", celsius(limit)));
            let text = format!(
                "{} is at {measured}, at or above its own limit{}. The machine may slow down or switch itself off.",
                id(state.component),
                limit.unwrap_or_default()
            );
            let advice = "Move the machine to a cool, hard surface; if it stays hot, have its cooling looked at.";
            Some(state.line(level, DOMAIN, "temp.high", text, advice))
        })
        .collect()
}

fn fans(view: &View<'_>) -> Vec<Line> {
    let states = view.samples(semconv::HW_STATUS);
    states
        .iter()
        .filter(|s| s.is(attribute::HW_TYPE, "fan") && s.is(attribute::HW_STATE, "failed") && s.value > 0.0)
        .map(|state| {
            let text = format!(
                "The fan {} does not work as it should while the machine is hot.",
                shown(state.component.id())
            );
            state.line(Level::Problem, DOMAIN, "fan.failed", text, "Have the fan cleaned or replaced.")
        })
        .collect()
}
