//! Numbers, times and names in the form in which people read them.

use crate::web::shown::Shown;
use firstline_collector_core::present::{is_ratio, word};
use firstline_model::{Timestamp, Value, semconv};
use std::fmt::Write;
use std::time::Duration;

/// A length of time in at most two parts: `45 s`, `3 min`, `2 h 10 min`, `4 d 3 h`.
pub(super) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => two_parts(hours, "h", minutes % 60, "min"),
        _ => two_parts(days, "d", hours % 24, "h"),
    }
}

fn two_parts(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// How long ago: `3 min ago`, `just now`.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let elapsed = now.since(then);
    if elapsed < Duration::from_secs(5) {
        "just now".to_owned()
    } else {
        format!("{} ago", duration(elapsed))
    }
}

/// A moment for people, in UTC: `2026-01-05 08:55`.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(date), Some(time)) => format!("{date} {time}"),
        (None, _) | (_, None) => text,
    }
}

/// A metric's value with its unit: `97.3 %`, `4.2 GiB`, `12 ms`, `yes`.
pub(super) fn measured(metric: &str, value: f64) -> String {
    let unit = semconv::metric(metric).map_or("", |metric| metric.unit);
    match unit {
        "By" => bytes(value),
        "By/s" => bits_per_second(value * 8.0),
        "Cel" => format!("{value:.0} °C"),
        "dB[mW]" => format!("{value:.0} dBm"),
        "dB" | "rpm" | "Hz" => format!("{value:.0} {unit}"),
        "s" => seconds(value),
        "1" if is_ratio(metric) => format!("{} %", short(value * 100.0)),
        "1" | "" => word(metric, value).map_or_else(|| short(value), str::to_owned),
        counted => {
            let noun = counted.trim_matches(['{', '}']);
            let plural = if value == 1.0 { "" } else { "s" };
            format!("{} {noun}{plural}", short(value))
        }
    }
}

/// At most one digit after the point, none where it would be zero or means nothing.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        "no number".to_owned()
    } else if value.fract().abs() < 0.05 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn bytes(value: f64) -> String {
    let mut scaled = value;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if scaled.abs() < 1024.0 {
            return format!("{} {unit}", short(scaled));
        }
        scaled /= 1024.0;
    }
    format!("{} PiB", short(scaled))
}

fn bits_per_second(value: f64) -> String {
    let mut scaled = value;
    for unit in ["bit/s", "kbit/s", "Mbit/s"] {
        if scaled.abs() < 1000.0 {
            return format!("{} {unit}", short(scaled));
        }
        scaled /= 1000.0;
    }
    format!("{} Gbit/s", short(scaled))
}

fn seconds(value: f64) -> String {
    if value.abs() < 1.0 {
        format!("{} ms", short(value * 1000.0))
    } else if (60.0..1e15).contains(&value) {
        duration(Duration::from_secs_f64(value))
    } else {
        format!("{} s", short(value))
    }
}

/// A metric's or document's name without the prefixes that only a program needs: `filesystem utilization`.
pub(super) fn label(name: &str) -> Shown {
    let rest =
        ["endpoint.", "system.", "hw."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    Shown::line(&rest.replace(['.', '_'], " "))
}

/// A machine word as people write it: `in_progress` is `in progress`.
pub(super) fn words(text: &str) -> String {
    text.replace('_', " ")
}

/// Escapes what must not stand in a query or path as it is.
pub(super) fn query_escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// A document as lines of path and value, for a page; at most [`MAX_LINES`].
pub(super) fn document_lines(value: &Value) -> Vec<(Shown, Shown)> {
    let mut lines = Vec::new();
    push_lines("", value, &mut lines);
    lines
}

/// A document with more values than this is cut on pages.
pub(super) const MAX_LINES: usize = 200;

fn push_lines(path: &str, value: &Value, lines: &mut Vec<(Shown, Shown)>) {
    if lines.len() >= MAX_LINES {
        return;
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} › {name}") };
    match value {
        Value::Map(map) => {
            map.iter().for_each(|(name, value)| push_lines(&below(&words(name)), value, lines))
        }
        Value::List(items) if items.iter().all(is_scalar) => {
            let joined: Vec<String> = items.iter().map(scalar).collect();
            lines.push((Shown::line(path), Shown::line(&joined.join(", "))));
        }
        Value::List(items) => {
            for (number, item) in items.iter().enumerate() {
                push_lines(&below(&(number + 1).to_string()), item, lines);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            lines.push((Shown::line(path), Shown::line(&scalar(value))));
        }
    }
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => true,
        Value::List(_) | Value::Map(_) => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => short(*number),
        Value::Text(text) => text.clone(),
        Value::List(_) | Value::Map(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_parts() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_800, "2 h 10 min"),
            (7_200, "2 h"),
            (356_400, "4 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn values_carry_the_unit_that_people_use() {
        let cases: &[(&str, f64, &str)] = &[
            (semconv::FILESYSTEM_UTILIZATION, 0.973, "97.3 %"),
            (semconv::MEMORY_AVAILABLE, 4.5 * 1024.0 * 1024.0 * 1024.0, "4.5 GiB"),
            (semconv::NETWORK_BANDWIDTH_LIMIT, 125_000_000.0, "1 Gbit/s"),
            (semconv::NETWORK_RTT, 0.0124, "12.4 ms"),
            (semconv::UPTIME, 93_600.0, "1 d 2 h"),
            (semconv::GATEWAY_REACHABLE, 0.0, "no"),
            (semconv::TIME_SYNCHRONIZED, 0.0, "no"),
            (semconv::WIFI_RETRY_RATIO, 0.25, "25 %"),
            (semconv::HW_TEMPERATURE, 41.6, "42 °C"),
            (semconv::WIFI_RSSI, -79.0, "-79 dBm"),
            (semconv::FAN_SPEED, 2450.0, "2450 rpm"),
            (semconv::DISK_IO_ERRORS, 1.0, "1 error"),
            (semconv::DISK_IO_ERRORS, 3.0, "3 errors"),
            ("unknown.metric", 2.25, "2.2"),
        ];
        for (metric, value, text) in cases {
            assert_eq!(measured(metric, *value), *text, "{metric}");
        }
    }

    #[test]
    fn documents_become_lines() {
        let document = Value::map([
            ("printer_state", Value::from("stopped")),
            ("jobs", Value::List(vec![Value::map([("id", Value::from(7.0))])])),
            ("reasons", Value::texts(["media-jam-error", "cover-open"])),
        ]);
        let lines: Vec<String> =
            document_lines(&document).iter().map(|(path, text)| format!("{path}={text}")).collect();
        assert_eq!(
            lines,
            ["jobs › 1 › id=7", "printer state=stopped", "reasons=media-jam-error, cover-open"]
        );
    }
}
