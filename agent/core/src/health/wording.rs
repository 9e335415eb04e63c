//! Numbers and names as a person reads them. Names come from devices and are read in a terminal.

use firstline_model::{Component, deceptive};

/// The longest name that is shown.
const LONGEST: usize = 120;

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).clamp(-999.0, 999.0))
}

/// A device's text on one line, without what could move the cursor or deceive the eye.
pub(super) fn shown(name: &str) -> String {
    let safe = deceptive::one_line(name);
    if safe.chars().count() <= LONGEST {
        return safe;
    }
    safe.chars().take(LONGEST).chain(['\u{2026}']).collect()
}

pub(super) fn id(component: &Component) -> String {
    shown(component.id())
}

/// A count; absurd ones are not written out.
pub(super) fn count(number: f64) -> String {
    if number > 1e9 { "more than a billion".to_owned() } else { format!("{number:.0}") }
}

/// `1 error`, `3 errors`.
pub(super) fn counted(number: f64, noun: &str) -> String {
    let plural = if number == 1.0 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

pub(super) fn gibibytes(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / (1024.0 * 1024.0 * 1024.0))
}

/// A time in its largest whole unit.
pub(super) fn duration(seconds: f64) -> String {
    let (size, unit) = [(86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute")]
        .into_iter()
        .find(|(size, _)| seconds >= 2.0 * size)
        .unwrap_or((1.0, "second"));
    counted((seconds / size).floor(), unit)
}

pub(super) fn celsius(degrees: f64) -> String {
    format!("{:.0} \u{b0}C", degrees.clamp(-999.0, 9999.0))
}
