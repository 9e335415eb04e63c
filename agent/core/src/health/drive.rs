//! The verdict on a drive: replace now, watch, healthy, or cannot tell, with the attribute, its value and the reason.
//!
//! The levels are those of hard disks that were watched by the hundred thousand (the share of drives that failed within a
//! year). Three things never decide: the number of entries in an NVMe drive's error log, attribute 188 (command
//! time-outs, packed by some makers) and attribute 199 (errors of the cable) alone. The drive's own verdict that it fails
//! does. One look has no trend: where growth would tell more, the line says so.

use super::view::View;
use super::wording::{celsius, count, counted, id, percent, shown};
use firstline_model::Component;
use firstline_model::order;
use firstline_model::semconv::{self, attribute};

/// What to do with a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It gave no verdict and nothing else speaks against it.
    CannotTell,
    /// It says that it is well and nothing speaks against it.
    Healthy,
    /// It has signs of age or failure.
    Watch,
    /// It fails, or will soon.
    ReplaceNow,
}

impl Verdict {
    /// The verdict in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CannotTell => "cannot tell",
            Self::Healthy => "healthy",
            Self::Watch => "watch it",
            Self::ReplaceNow => "replace it now",
        }
    }
}

/// The judgement of one drive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub verdict: Verdict,
    /// The check of the gravest reason.
    pub check: &'static str,
    /// The reasons, gravest first.
    pub reasons: Vec<String>,
}

#[derive(Debug, Default)]
struct Reasons(Vec<(Verdict, &'static str, String)>);

impl Reasons {
    fn add(&mut self, verdict: Verdict, check: &'static str, text: String) {
        self.0.push((verdict, check, text));
    }
}

pub(super) fn judge(view: &View<'_>, drive: &Component) -> Judgement {
    let mut reasons = Reasons::default();
    let own = own_verdict(view, drive, &mut reasons);
    ata(view, drive, &mut reasons);
    nvme(view, drive, &mut reasons);
    kernel(view, drive, &mut reasons);
    // A stable order: reasons of one gravity stay as they were found.
    order::sort_by_key(&mut reasons.0, |reason| std::cmp::Reverse(reason.0));
    let without = if own { Verdict::Healthy } else { Verdict::CannotTell };
    let first = reasons.0.first();
    Judgement {
        verdict: first.map_or(without, |reason| reason.0),
        check: first.map_or("disk.smart_failing", |reason| reason.1),
        reasons: reasons.0.into_iter().map(|reason| reason.2).collect(),
    }
}

/// What the drive says of itself. Whether it said anything.
fn own_verdict(view: &View<'_>, drive: &Component, reasons: &mut Reasons) -> bool {
    let states = view.samples(semconv::HW_STATUS);
    let mut said = false;
    for state in states.iter().filter(|s| s.component == drive && s.value > 0.0) {
        let text = match state.attribute(attribute::HW_STATE) {
            Some("failed") => "the drive's own verdict is that it has failed",
            Some("predicted_failure") => "the drive's own verdict is that it is about to fail",
            Some("ok") => {
                said = true;
                continue;
            }
            Some(_) | None => continue,
        };
        said = true;
        reasons.add(Verdict::ReplaceNow, "disk.smart_failing", text.to_owned());
    }
    said
}

/// The level of a raw value from which a hard disk is to be watched, and from which it is to be replaced.
struct Levels {
    id: &'static str,
    name: &'static str,
    watch: f64,
    replace: f64,
    why: &'static str,
}

const NEVER: f64 = f64::INFINITY;
const ATA: &[Levels] = &[
    Levels {
        id: "187",
        name: "errors that it could not correct",
        watch: 1.0,
        replace: NEVER,
        why: "a third or more of such drives fail within a year",
    },
    Levels {
        id: "197",
        name: "sectors that wait to be replaced",
        watch: 1.0,
        replace: 6.0,
        why: "a third or more of such drives fail within a year",
    },
    Levels {
        id: "198",
        name: "sectors that it cannot read",
        watch: 1.0,
        replace: 1.0,
        why: "most such drives fail within a year",
    },
    Levels {
        id: "5",
        name: "sectors that it replaced",
        watch: 16.0,
        replace: 70.0,
        why: "the risk grows with their number",
    },
    Levels {
        id: "10",
        name: "starts of its motor that had to be repeated",
        watch: 1.0,
        replace: NEVER,
        why: "half of such drives fail within a year, unless the power supply is weak",
    },
];

fn ata(view: &View<'_>, drive: &Component, reasons: &mut Reasons) {
    // Of drives without spinning disks the probe reports cable errors only: the other numbers mean other things there.
    let values = view.samples(semconv::PHYSICAL_DISK_SMART);
    for levels in ATA {
        let of = values.iter().find(|s| s.component == drive && s.is(attribute::SMART_ATTRIBUTE, levels.id));
        let Some(sample) = of else { continue };
        let verdict = match sample.value {
            raw if raw >= levels.replace => Verdict::ReplaceNow,
            raw if raw >= levels.watch => Verdict::Watch,
            _ => continue,
        };
        let text =
            format!("attribute {} ({}) is {}: {}", levels.id, levels.name, count(sample.value), levels.why);
        reasons.add(verdict, "disk.ata_attr", text);
    }
    table(view, drive, reasons);
}

/// Attributes by their normalised value: those below the maker's threshold now, and errors on the way to the host.
fn table(view: &View<'_>, drive: &Component, reasons: &mut Reasons) {
    let document = view.document(drive, "physical_disk").and_then(|document| document.get("attributes"));
    let Some(firstline_model::Value::Map(rows)) = document else { return };
    for (title, row) in rows {
        let (number, name) = title.split_once(' ').unwrap_or((title, ""));
        let value = row.get("value").and_then(|value| value.as_number());
        let shown_value = value.map_or("unknown".to_owned(), count);
        let name = shown(name).replace('_', " ");
        if matches!(row.get("failing_now"), Some(firstline_model::Value::Bool(true))) {
            let text =
                format!("attribute {number} ({name}) is at {shown_value}, below the maker's threshold now");
            reasons.add(Verdict::ReplaceNow, "disk.ata_attr", text);
        } else if number == "184" && value.is_some_and(|value| value <= 98.0) {
            let text =
                format!("attribute 184 ({name}) is at {shown_value}: data were damaged inside the drive");
            reasons.add(Verdict::ReplaceNow, "disk.ata_attr", text);
        }
    }
}

fn nvme(view: &View<'_>, drive: &Component, reasons: &mut Reasons) {
    let of = |metric| view.value_of(drive, metric);
    for warning in view.samples(semconv::NVME_CRITICAL_WARNING) {
        if warning.component != drive || warning.value == 0.0 {
            continue;
        }
        let bit = warning.attribute(attribute::BIT).unwrap_or_default();
        let (verdict, text) = match bit {
            "0" => (Verdict::ReplaceNow, "its spare capacity is below the maker's threshold"),
            "1" => (Verdict::Watch, "it is too hot or too cold right now"),
            "2" => (Verdict::ReplaceNow, "it is no longer reliable"),
            "3" => (Verdict::ReplaceNow, "it accepts no more writes"),
            "4" => (Verdict::Watch, "its protection against loss of power has failed"),
            _ => (Verdict::Watch, "part of its memory accepts no more writes"),
        };
        let text = format!("it warns (critical warning, bit {}): {text}", shown(bit));
        reasons.add(verdict, "nvme.critical_warning", text);
    }
    if let (Some(spare), Some(threshold)) =
        (of(semconv::NVME_AVAILABLE_SPARE), of(semconv::NVME_AVAILABLE_SPARE_THRESHOLD))
        && threshold > 0.0
        && spare <= threshold + 0.10
    {
        let verdict = if spare < threshold { Verdict::ReplaceNow } else { Verdict::Watch };
        let (spare, threshold) = (percent(spare), percent(threshold));
        reasons.add(
            verdict,
            "nvme.spare",
            format!("its spare capacity is {spare}, the maker's limit is {threshold}"),
        );
    }
    if of(semconv::PHYSICAL_DISK_ENDURANCE).is_some_and(|left| left <= 0.0) {
        let text =
            "its rated life is used up, which wears further from here and is no failure yet".to_owned();
        reasons.add(Verdict::Watch, "nvme.wear", text);
    }
    hot(view, drive, reasons);
}

fn hot(view: &View<'_>, drive: &Component, reasons: &mut Reasons) {
    let Some(degrees) = view.value_of(drive, semconv::HW_TEMPERATURE) else { return };
    let limits = view.samples(semconv::HW_TEMPERATURE_LIMIT);
    let limit = limits
        .iter()
        .filter(|s| s.component == drive && degrees >= s.value)
        .map(|sample| sample.value)
        .max_by(f64::total_cmp);
    if let Some(limit) = limit {
        let text = format!("it is at {}, its own limit is {}", celsius(degrees), celsius(limit));
        reasons.add(Verdict::Watch, "nvme.temp", text);
    }
}

/// Errors that the kernel saw. Media errors that the drive itself counted are old news unless the kernel saw some too.
fn kernel(view: &View<'_>, drive: &Component, reasons: &mut Reasons) {
    let errors = view.samples(semconv::DISK_IO_ERRORS);
    let of = |names: &[&str]| -> f64 {
        let own = errors.iter().filter(|s| s.component == drive);
        own.filter(|s| s.attribute(attribute::OP).is_some_and(|op| names.contains(&op)))
            .map(|s| s.value)
            .sum()
    };
    let (transfers, others) = (of(&["read", "write"]), of(&["other"]));
    if transfers < 1.0 && others < 3.0 {
        return;
    }
    let all = counted(transfers + others, "failed request");
    let media = view.samples(semconv::HW_ERRORS);
    let media = media.iter().find(|s| s.component == drive && s.is(attribute::ERROR_TYPE, "media"));
    let media = media.filter(|s| s.value > 0.0);
    let media = media.map(|s| format!(", and the drive itself counts {}", counted(s.value, "media error")));
    let text = format!(
        "the kernel's log holds {all} to it (read or write errors){}; a loose cable can do that too",
        media.unwrap_or_default()
    );
    reasons.add(Verdict::Watch, "disk.io_errors", text);
}

/// The drive as a person can find it: model, kernel's name, serial number.
pub(super) fn name(view: &View<'_>, drive: &Component) -> String {
    let document = view.document(drive, "physical_disk");
    let text = |key| document.and_then(|d| d.get(key)).and_then(|value| value.as_text()).map(shown);
    let mut name = text("model").unwrap_or_default();
    let mut further = Vec::new();
    further.extend(text("device"));
    further.extend(text("serial").map(|serial| format!("serial number {serial}")));
    if name.is_empty() {
        name = if further.is_empty() { id(drive) } else { further.remove(0) };
    }
    if further.is_empty() { name } else { format!("{name} ({})", further.join(", ")) }
}
