//! Printers: what stops them, supplies, and jobs that do not get on. The keyword decides how grave a reason is together
//! with its severity, because an idle printer without toner says so as a mere report.

use super::view::View;
use super::wording::{count, duration, id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::Component;
use firstline_model::semconv::{self, attribute};

const DOMAIN: Domain = Domain::Printer;
const LOW: f64 = 0.10;
const EMPTY: f64 = 0.01;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for state in view.samples(semconv::PRINTER_STATE) {
        let printer = state.component;
        let jobs = view.value_of(printer, semconv::PRINTER_JOBS_QUEUED).unwrap_or(0.0);
        let reasons = reasons(view, printer, jobs);
        let is_explained = reasons.iter().any(|line| line.level >= Level::Warning);
        lines.extend(reasons);
        if state.value == 5.0 && !is_explained {
            let level = level(jobs);
            let text = format!("The printer {} is stopped{}.", id(printer), waiting(jobs));
            let advice = "See what its display says, then resume it in the print settings.";
            lines.push(state.line(level, DOMAIN, "prn.stopped", text, advice));
        }
        lines.extend(contact(view, printer, jobs));
        lines.extend(stuck(view, printer));
        lines.extend(supplies(view, printer));
    }
    lines
}

/// A printer that stops with jobs waiting keeps somebody from working.
fn level(jobs: f64) -> Level {
    if jobs > 0.0 { Level::Problem } else { Level::Warning }
}

fn waiting(jobs: f64) -> String {
    match jobs {
        none if none <= 0.0 => String::new(),
        1.0 => "; a job waits".to_owned(),
        more => format!("; {} jobs wait", count(more)),
    }
}

/// What a reason is about, and what helps.
enum Meaning {
    Nothing,
    Paused,
    Soon,
    Empty,
    Stops(&'static str),
    Contact,
}

fn meaning(keyword: &str) -> Meaning {
    match keyword {
        "none" | "cups-waiting-for-job-completed" => Meaning::Nothing,
        word if word.starts_with("cups-remote-") || word.starts_with("com.apple.print.recoverable") => {
            Meaning::Nothing
        }
        "paused" | "moving-to-paused" => Meaning::Paused,
        "connecting-to-device" | "timed-out" => Meaning::Contact,
        "toner-low"
        | "marker-supply-low"
        | "developer-low"
        | "opc-near-eol"
        | "media-low"
        | "output-area-almost-full"
        | "marker-waste-almost-full"
        | "cleaner-life-almost-over" => Meaning::Soon,
        "toner-empty"
        | "marker-supply-empty"
        | "developer-empty"
        | "marker-waste-full"
        | "waste-receptacle-full" => Meaning::Empty,
        "media-jam" => Meaning::Stops("Open the printer as its display shows and take the paper out."),
        "media-empty" | "media-needed" => Meaning::Stops("Put paper into the tray."),
        "cover-open" | "door-open" | "interlock-open" => Meaning::Stops("Close all covers."),
        _ => Meaning::Stops("See what its display says."),
    }
}

fn reasons(view: &View<'_>, printer: &Component, jobs: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    let all = view.samples(semconv::PRINTER_STATE_REASON);
    for reason in all.iter().filter(|reason| reason.component == printer && reason.value > 0.0) {
        let keyword = reason.attribute(attribute::KEYWORD).unwrap_or("other");
        let is_grave = matches!(reason.attribute(attribute::SEVERITY), Some("error" | "warning"));
        let words = shown(keyword).replace('-', " ");
        let says = format!("The printer {} reports: {words}{}.", id(printer), waiting(jobs));
        let (level, check, advice) = match meaning(keyword) {
            Meaning::Nothing => continue,
            Meaning::Paused if is_grave => {
                (level(jobs), "prn.stopped", "Somebody paused it; resume it in the print settings.")
            }
            Meaning::Empty => {
                let level = if jobs > 0.0 && is_grave { Level::Problem } else { Level::Warning };
                (level, "prn.supply_empty", "Put a new cartridge or container in.")
            }
            // A low supply is normal life; its level is said where it is known.
            Meaning::Soon => (Level::Note, "prn.supply_low", ""),
            Meaning::Contact => continue,
            Meaning::Stops(advice) if is_grave => (level(jobs), "prn.error", advice),
            Meaning::Paused | Meaning::Stops(_) => (Level::Note, "prn.error", ""),
        };
        lines.push(reason.line(level, DOMAIN, check, says, advice));
    }
    lines
}

fn contact(view: &View<'_>, printer: &Component, jobs: f64) -> Option<Line> {
    let answers = view.samples(semconv::PRINTER_REACHABLE);
    let silent = answers.iter().find(|answer| answer.component == printer && answer.value == 0.0)?;
    let text = format!("The printer {} does not answer{}.", id(printer), waiting(jobs));
    let advice = "Check that it is switched on and connected.";
    Some(silent.line(level(jobs), DOMAIN, "prn.unreachable", text, advice))
}

fn stuck(view: &View<'_>, printer: &Component) -> Option<Line> {
    let ages = view.samples(semconv::PRINTER_JOB_AGE);
    let age = ages.iter().find(|age| age.component == printer)?;
    let job = view.document(printer, "printer").and_then(|document| document.get("oldest_job"));
    let is_printing = job.and_then(|job| job.get("state")?.as_text()) == Some("processing");
    let limit = if is_printing { 600.0 } else { 1800.0 };
    (age.value > limit).then(|| {
        let text =
            format!("A job at the printer {} has not got on for {}.", id(printer), duration(age.value));
        let advice = "Cancel the oldest job, switch the printer off and on, and print it again.";
        age.line(Level::Warning, DOMAIN, "prn.stuck_job", text, advice)
    })
}

fn supplies(view: &View<'_>, printer: &Component) -> Vec<Line> {
    let levels = view.samples(semconv::PRINTER_SUPPLY_LEVEL);
    levels
        .iter()
        .filter(|supply| supply.component == printer && supply.value <= LOW)
        .map(|supply| {
            let name = shown(supply.attribute(attribute::SUPPLY).unwrap_or("a supply"));
            let printer = id(printer);
            if supply.value <= EMPTY {
                let text = format!("At the printer {printer}, {name} is used up.");
                supply.line(Level::Warning, DOMAIN, "prn.supply_empty", text, "Put a new one in.")
            } else {
                let text =
                    format!("At the printer {printer}, {name} is low: {} is left.", percent(supply.value));
                supply.line(Level::Note, DOMAIN, "prn.supply_low", text, "Have a new one ready.")
            }
        })
        .collect()
}
