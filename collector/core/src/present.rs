//! Values and names for people: percent, bytes and durations in words, device texts made harmless.

use firstline_model::deceptive::is_deceptive;
use firstline_model::{Attributes, Timestamp, Value, semconv};
use std::fmt::Write as _;
use std::time::Duration;

/// The longest device-supplied value in a ticket's texts, in characters.
pub const MAX_VALUE: usize = 200;

/// A value of a metric with its unit: `97.3 %`, `12.0 GiB`, `1.5 s`, `41 °C`, `-79 dBm`.
pub fn value(metric: &str, value: f64) -> String {
    if is_ratio(metric) {
        return percent(value);
    }
    if let Some(word) = word(metric, value) {
        return word.to_owned();
    }
    match semconv::metric(metric).map(|known| known.unit) {
        Some("By") => bytes(value),
        Some("By/s") => format!("{}/s", bytes(value)),
        Some("s") => seconds(value),
        Some("Cel") => format!("{} °C", number(value)),
        Some("dB[mW]") => format!("{} dBm", number(value)),
        Some(unit @ ("dB" | "rpm" | "Hz")) => format!("{} {unit}", number(value)),
        // `{error}` and the like count things: the label names them.
        Some(_) | None => number(value),
    }
}

/// A metric's name for a person: `endpoint.printer.job.age` is "printer job age". Frequent ones have their own words.
pub fn label(metric: &str) -> String {
    let known = match metric {
        semconv::FILESYSTEM_UTILIZATION => "used space",
        semconv::FILESYSTEM_USAGE => "space by state",
        semconv::FILESYSTEM_LIMIT => "size of the file system",
        semconv::FILESYSTEM_INODES_UTILIZATION => "used inodes",
        semconv::CPU_UTILIZATION => "processor in use",
        semconv::MEMORY_UTILIZATION => "memory in use",
        semconv::MEMORY_AVAILABLE => "available memory",
        semconv::PAGING_UTILIZATION => "swap in use",
        semconv::PHYSICAL_DISK_ENDURANCE => "drive endurance left",
        semconv::HW_STATUS => "hardware status",
        semconv::GATEWAY_REACHABLE => "gateway answers",
        semconv::PRINTER_REACHABLE => "printer answers",
        semconv::PRINTER_JOB_AGE => "age of the oldest print job",
        semconv::DNS_LOOKUP_DURATION => "DNS answer time",
        semconv::NETWORK_RTT => "round trip time",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let bare = ["endpoint.", "system.", "hw."].iter().find_map(|prefix| metric.strip_prefix(prefix));
    bare.unwrap_or(metric).replace(['.', '_'], " ")
}

/// Whether the metric is a share from 0 to 1. Other metrics of unit `1` are flags, states and raw values.
pub fn is_ratio(metric: &str) -> bool {
    const SHARES: &[&str] = &[
        "utilization",
        "pressure.stall",
        "available_spare",
        "supply.level",
        "loss",
        "health",
        "charge",
        "retry_ratio",
        "channel_busy",
    ];
    let unit = semconv::metric(metric).map_or("1", |known| known.unit);
    unit == "1" && SHARES.iter().any(|share| metric.contains(share))
}

/// Whether the metric says yes (1) or no (0).
pub fn is_flag(metric: &str) -> bool {
    const ENDS: &[&str] = &[
        ".reachable",
        ".up",
        "_required",
        "_unexpected",
        "_warning",
        ".synchronized",
        ".disk_encryption",
        ".firewall",
        ".secure_boot",
        ".end_of_life",
        ".discharging_on_ac",
        ".present",
        ".problem",
        ".conflict",
    ];
    ENDS.iter().any(|end| metric.ends_with(end))
}

/// A value that stands for a word: what is yes or no, and states that are numbered (RFC 8011 numbers a printer's).
pub fn word(metric: &str, value: f64) -> Option<&'static str> {
    if is_flag(metric) {
        return Some(if value >= 0.5 { "yes" } else { "no" });
    }
    // No number of a state is a fraction.
    let number = (value.fract() == 0.0).then_some(value as i64)?;
    match (metric, number) {
        (semconv::PRINTER_STATE, 3) => Some("idle"),
        (semconv::PRINTER_STATE, 4) => Some("printing"),
        (semconv::PRINTER_STATE, 5) => Some("stopped"),
        (_, _) => None,
    }
}

/// The state that an enumerating series is in: `active` of a service.
pub fn state(attributes: &Attributes) -> Option<&str> {
    semconv::STATE_ATTRIBUTES.iter().find_map(|name| attributes.get(name))
}

/// A share as percent: `97.3 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// Bytes in binary units: `1.5 GiB`.
pub fn bytes(bytes: f64) -> String {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = bytes;
    let mut unit = 0;
    while size.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", number(size), UNITS[unit])
}

/// Seconds, in the unit that a person would use: `12 ms`, `1.5 s`, `15 min`.
pub fn seconds(seconds: f64) -> String {
    if seconds.abs() < 1.0 {
        format!("{} ms", number(seconds * 1000.0))
    } else if seconds.abs() < 120.0 {
        format!("{} s", number(seconds))
    } else if seconds.is_finite() && seconds > 0.0 && seconds < 1e12 {
        duration(Duration::from_secs_f64(seconds))
    } else {
        format!("{} s", number(seconds))
    }
}

/// A duration: `45 s`, `15 min`, `3 h 20 min`, `2 days`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let with = |big: u64, unit: &str, rest: u64, small: &str| match rest {
        0 => format!("{big} {unit}"),
        rest => format!("{big} {unit} {rest} {small}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0 | 1) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0 | 1, _, _) => with(hours, "h", minutes % 60, "min"),
        (_, _, _) => with(days, "days", hours % 24, "h"),
    }
}

/// A moment for a ticket's text: `2026-01-05 08:55 UTC`.
pub fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        (Some(_) | None, Some(_) | None) => text,
    }
}

/// At most one decimal, none when it is zero.
pub fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if rounded == rounded.trunc() && rounded.abs() < 1e15 {
        format!("{rounded:.0}")
    } else {
        format!("{rounded:.1}")
    }
}

/// A document's value in one line; maps and lists are joined, and cut at `max` characters.
pub fn document(value: &Value, max: usize) -> String {
    let mut text = String::new();
    write_value(&mut text, value, max);
    clean(&text, max)
}

fn write_value(text: &mut String, value: &Value, max: usize) {
    if text.len() > max * 4 {
        return;
    }
    match value {
        Value::Bool(true) => text.push_str("yes"),
        Value::Bool(false) => text.push_str("no"),
        Value::Number(value) => text.push_str(&number(*value)),
        Value::Text(value) => {
            text.push_str(value.get(..value.floor_char_boundary(max * 4)).unwrap_or_default())
        }
        Value::List(items) => {
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write_value(text, item, max);
            }
        }
        Value::Map(map) => {
            for (at, (name, item)) in map.iter().enumerate() {
                // Writing to a string cannot fail.
                let _ = write!(text, "{}{name} ", if at == 0 { "" } else { ", " });
                write_value(text, item, max);
            }
        }
    }
}

/// A text from outside in one line: what breaks lines or deceives the reader becomes a space, and it ends after
/// `max` characters.
pub fn clean(text: &str, max: usize) -> String {
    let mut cleaned: String =
        text.chars().take(max + 1).map(|c| if is_deceptive(c) { ' ' } else { c }).collect();
    if cleaned.chars().count() > max {
        cleaned = cleaned.chars().take(max.saturating_sub(1)).collect();
        cleaned.push('…');
    }
    cleaned.trim().to_owned()
}

/// Like [`clean`], with line breaks kept.
pub fn clean_lines(text: &str, max: usize) -> String {
    let cleaned: String =
        text.chars().take(max).map(|c| if c != '\n' && is_deceptive(c) { ' ' } else { c }).collect();
    cleaned.trim().to_owned()
}

#[cfg(test)]
mod tests;
