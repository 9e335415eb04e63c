//! Main memory: how much is free, whether programs wait for it, swap, programs that were ended for lack of it, and
//! faults of the memory itself. Counters since the start of the machine are history and so worth a note, but for errors
//! that could not be corrected.

use super::view::{View, line};
use super::wording::{counted, gibibytes, id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::ComponentKind;
use firstline_model::semconv::{self, attribute};

const DOMAIN: Domain = Domain::Memory;
const CLOSE: &str = "Close programs that are not needed, the largest first.";

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = space(view);
    lines.extend(pressure(view));
    lines.extend(killed(view));
    lines.extend(faults(view));
    lines
}

fn space(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for used in view.samples(semconv::MEMORY_UTILIZATION) {
        if used.value > 0.90 {
            let left = view.value_of(used.component, semconv::MEMORY_AVAILABLE);
            let left = left.map(|bytes| format!(", {} are left", gibibytes(bytes))).unwrap_or_default();
            let text = format!("Memory is nearly used up: {} is in use{left}.", percent(used.value));
            lines.push(used.line(Level::Warning, DOMAIN, "mem.available", text, CLOSE));
        }
    }
    for swap in view.samples(semconv::PAGING_UTILIZATION) {
        if swap.value > 0.90 {
            let level = if swap.value > 0.98 { Level::Problem } else { Level::Warning };
            let text = format!(
                "The overflow memory on disk is {} full; next, programs are ended by force.",
                percent(swap.value)
            );
            lines.push(swap.line(level, DOMAIN, "mem.swap", text, CLOSE));
        }
    }
    lines
}

fn pressure(view: &View<'_>) -> Option<Line> {
    let full = |window: &str| {
        view.samples(semconv::PRESSURE_STALL).into_iter().find(|sample| {
            sample.component.kind == ComponentKind::Memory
                && sample.is(attribute::KIND, "full")
                && sample.is(attribute::WINDOW, window)
        })
    };
    let now = full("avg10").filter(|sample| sample.value > 0.60).map(|sample| (Level::Problem, sample));
    let (level, sample) =
        now.or_else(|| full("avg60").filter(|s| s.value > 0.10).map(|s| (Level::Warning, s)))?;
    let text =
        format!("Programs stand still {} of the time because they wait for memory.", percent(sample.value));
    Some(sample.line(level, DOMAIN, "mem.pressure", text, CLOSE))
}

fn killed(view: &View<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = view
        .documents("oom")
        .map(|(component, document)| {
            let program = document.get("process").and_then(|name| name.as_text()).unwrap_or("a program");
            let text = format!(
                "Since this machine started, {} was ended because there was no memory left; what was not saved in it is lost.",
                shown(program)
            );
            line(Level::Note, DOMAIN, "mem.oom", component, text, "If it happens again, have this program looked at.")
        })
        .collect();
    if lines.is_empty()
        && let Some(kills) = view.samples(semconv::OOM_KILLS).into_iter().find(|sample| sample.value > 0.0)
    {
        let text = format!(
            "{} ended for lack of memory since this machine started.",
            if kills.value == 1.0 {
                "A program was".to_owned()
            } else {
                format!("{} were", counted(kills.value, "program"))
            }
        );
        lines.push(kills.line(Level::Note, DOMAIN, "mem.oom", text, ""));
    }
    lines
}

fn faults(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for errors in view.samples(semconv::HW_ERRORS).iter().filter(|s| s.is(attribute::HW_TYPE, "memory")) {
        let module = id(errors.component);
        let number = counted(errors.value, "error");
        if errors.value > 0.0 && errors.is(attribute::ERROR_TYPE, "uncorrected") {
            let text = format!(
                "The memory module {module} had {number} since the start that could not be corrected: data may be wrong."
            );
            let advice = "Save your work, shut down, and have this memory module replaced.";
            lines.push(errors.line(Level::Problem, DOMAIN, "mem.ecc", text, advice));
        } else if errors.value > 0.0 {
            let text =
                format!("The memory module {module} corrected {number} since the start; nothing was lost.");
            let advice = "If the number keeps growing from day to day, have the module replaced.";
            lines.push(errors.line(Level::Note, DOMAIN, "mem.ecc", text, advice));
        }
    }
    for bad in view.samples(semconv::MEMORY_HARDWARE_CORRUPTED) {
        if bad.value > 0.0 {
            let text = format!(
                "The system took {:.0} KiB of memory out of use because it is faulty.",
                (bad.value / 1024.0).min(1e12)
            );
            let advice = "Have the memory modules tested; a faulty one must be replaced.";
            lines.push(bad.line(Level::Warning, DOMAIN, "mem.hwcorrupt", text, advice));
        }
    }
    lines
}
