//! Drives as lines, arrays of drives, and how long drives take to answer.

use super::drive::{self, Judgement, Verdict};
use super::view::{Sample, View, line};
use super::wording::{id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Component, ComponentKind, order};
use std::collections::BTreeSet;

const DOMAIN: Domain = Domain::Disk;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = drives(view).iter().filter_map(|drive| verdict(view, drive)).collect();
    lines.extend(arrays(view));
    lines.extend(pools(view));
    lines.extend(latency(view));
    lines
}

/// Every drive that something is known of. Those that the kernel's log names and nobody lists count too.
fn drives<'a>(view: &View<'a>) -> BTreeSet<&'a Component> {
    let metrics = [semconv::HW_STATUS, semconv::PHYSICAL_DISK_SIZE, semconv::DISK_IO_ERRORS];
    let of_samples = metrics.iter().flat_map(|metric| view.samples(metric)).map(|sample| sample.component);
    let of_failures = view.unavailable(semconv::HW_STATUS).map(|(component, _, _)| component);
    let all = of_samples.chain(of_failures);
    order::set(all.filter(|component| component.kind == ComponentKind::PhysicalDisk))
}

fn verdict(view: &View<'_>, component: &Component) -> Option<Line> {
    let Judgement { verdict, check, reasons } = drive::judge(view, component);
    let name = drive::name(view, component);
    let reasons = reasons.join("; ");
    let (level, text, advice) = match verdict {
        Verdict::ReplaceNow => (
            Level::Problem,
            format!("The drive {name}: {}. Why: {reasons}.", verdict.as_str()),
            "Back up now, then have it replaced.",
        ),
        Verdict::Watch => (
            Level::Warning,
            format!("The drive {name}: {}. Why: {reasons}.", verdict.as_str()),
            "See that there is a backup. Run this again tomorrow: if the number has grown, have it replaced.",
        ),
        Verdict::Healthy => return Some(healthy(view, component, &name)),
        // Why it cannot be told stands with what could not be seen.
        Verdict::CannotTell => return None,
    };
    Some(line(level, DOMAIN, check, component, text, advice))
}

fn healthy(view: &View<'_>, component: &Component, name: &str) -> Line {
    let left = view.value_of(component, semconv::PHYSICAL_DISK_ENDURANCE);
    let is_worn = left.is_some_and(|left| left <= 0.20);
    let left = left.map(|left| format!("; {} of its rated life is left", percent(left))).unwrap_or_default();
    let text = format!("The drive {name}: healthy by its own verdict and values{left}.");
    let (level, advice) = if is_worn { (Level::Note, "Plan for a new one.") } else { (Level::Healthy, "") };
    let check = if is_worn { "nvme.wear" } else { "disk.smart_failing" };
    line(level, DOMAIN, check, component, text, advice)
}

fn arrays(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for state in view.samples(semconv::HW_STATUS) {
        if !state.is(attribute::HW_TYPE, "logical_disk") || state.value == 0.0 {
            continue;
        }
        let name = id(state.component);
        let document = view.document(state.component, "array");
        let text_of = |key| document.and_then(|d| d.get(key)).and_then(|value| value.as_text());
        let number_of = |key| document.and_then(|d| d.get(key)).and_then(|value| value.as_number());
        let (level, text, advice) = match state.attribute(attribute::HW_STATE) {
            Some("failed") => (
                Level::Problem,
                format!("The array {name} has failed: its data cannot be reached."),
                "Do not write to it; call the helpdesk.",
            ),
            Some("degraded") => {
                let members = document.and_then(|d| d.get("members"));
                let faulty: Vec<String> = match members {
                    Some(firstline_model::Value::Map(members)) => {
                        let bad = members.iter().filter(|(_, state)| state.as_text() == Some("faulty"));
                        bad.map(|(member, _)| shown(member)).collect()
                    }
                    Some(_) | None => Vec::new(),
                };
                let faulty =
                    if faulty.is_empty() { String::new() } else { format!(" ({})", faulty.join(", ")) };
                let repair = number_of("progress")
                    .map(|share| format!(" It is being repaired, {} done.", percent(share)));
                let level = if text_of("action").is_some_and(|action| action == "recover") && repair.is_some()
                {
                    Level::Warning
                } else {
                    Level::Problem
                };
                let text = format!(
                    "The array {name} has lost a drive{faulty}: it works, but the next failure loses data.{}",
                    repair.unwrap_or_default()
                );
                (level, text, "Have the lost drive replaced now, and see that there is a backup.")
            }
            Some(_) | None => continue,
        };
        lines.push(state.line(level, DOMAIN, "raid.degraded", text, advice));
    }
    lines
}

/// Shares of a pool from which it should be looked at, and from which it fills up any moment.
const NEARLY_FULL: f64 = 0.90;
const FULL: f64 = 0.98;

fn pools(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (component, document) in view.documents("thin_pool") {
        let name = id(component);
        let data = view.value_of(component, semconv::LVM_DATA_UTILIZATION);
        let metadata = view.value_of(component, semconv::LVM_METADATA_UTILIZATION);
        let fullest = data.unwrap_or(0.0).max(metadata.unwrap_or(0.0));
        let mut of = vec![];
        of.extend(data.map(|share| format!("{} of its space", percent(share))));
        of.extend(metadata.map(|share| format!("{} of its index", percent(share))));
        let used = format!("it has used {}", of.join(" and "));
        let (level, text) = match document.get("state").and_then(|state| state.as_text()) {
            Some("failed") => (Level::Problem, format!("The storage pool {name} has failed.")),
            Some("out_of_space") => (Level::Problem, format!("The storage pool {name} is full: {used}.")),
            Some("read_only") => {
                (Level::Problem, format!("The storage pool {name} can no more be written to; {used}."))
            }
            Some("needs_check") => {
                (Level::Warning, format!("The storage pool {name} says that it needs a check; {used}."))
            }
            Some(_) | None if fullest > FULL => {
                (Level::Problem, format!("The storage pool {name} is as good as full: {used}."))
            }
            Some(_) | None if fullest > NEARLY_FULL => {
                (Level::Warning, format!("The storage pool {name} is nearly full: {used}."))
            }
            Some(_) | None => continue,
        };
        let advice = "Save elsewhere what matters; have the pool extended, or old snapshots removed.";
        lines.push(line(level, DOMAIN, "lvm.thin", component, text, advice));
    }
    lines
}

/// Requests a second below which an average says nothing.
const FEWEST: f64 = 5.0;

fn latency(view: &View<'_>) -> Vec<Line> {
    let operations = view.increases(semconv::DISK_OPERATIONS);
    let mut lines = Vec::new();
    for (time, waited, seconds) in view.increases(semconv::DISK_OPERATION_TIME) {
        let same =
            |sample: &Sample<'_>| sample.component == time.component && sample.attributes == time.attributes;
        let Some((_, requests, _)) = operations.iter().find(|(sample, _, _)| same(sample)) else { continue };
        if requests / seconds < FEWEST {
            continue;
        }
        let average = waited / requests;
        let document = view.document(time.component, "physical_disk");
        let spins = document.and_then(|d| d.get("rotational")) == Some(&firstline_model::Value::Bool(true));
        let limit = if spins { 0.10 } else { 0.05 };
        if average <= limit {
            continue;
        }
        let direction = time.attribute(attribute::DISK_DIRECTION).unwrap_or("requests");
        let text = format!(
            "The drive {} is slow right now: a {} takes {:.0} ms on average.",
            drive::name(view, time.component),
            shown(direction),
            (average * 1000.0).min(1e6)
        );
        let level = if average > 0.5 { Level::Warning } else { Level::Note };
        let advice =
            "Find the program that reads and writes so much; if none does, have the drive looked at.";
        lines.push(time.line(level, DOMAIN, "disk.latency", text, advice));
    }
    lines
}
