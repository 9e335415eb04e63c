//! What a person reads.

use super::*;

#[test]
fn values_read_in_the_unit_of_a_person() {
    for (metric, number, expected) in [
        (semconv::FILESYSTEM_UTILIZATION, 0.973, "97.3 %"),
        (semconv::FILESYSTEM_UTILIZATION, 1.0, "100 %"),
        (semconv::PRINTER_SUPPLY_LEVEL, 0.04, "4 %"),
        (semconv::MEMORY_AVAILABLE, 1_610_612_736.0, "1.5 GiB"),
        (semconv::NETWORK_BANDWIDTH_LIMIT, 1024.0, "1 KiB/s"),
        (semconv::DNS_LOOKUP_DURATION, 0.0124, "12.4 ms"),
        (semconv::PRINTER_JOB_AGE, 5400.0, "1 h 30 min"),
        (semconv::HW_TEMPERATURE, 41.26, "41.3 °C"),
        (semconv::WIFI_RSSI, -79.0, "-79 dBm"),
        (semconv::FAN_SPEED, 2450.0, "2450 rpm"),
        (semconv::GATEWAY_REACHABLE, 0.0, "no"),
        (semconv::DISK_IO_ERRORS, 12.0, "12"),
        ("endpoint.unknown", 1.0, "1"),
    ] {
        assert_eq!(value(metric, number), expected, "{metric}");
    }
}

#[test]
fn durations_read_in_at_most_two_units() {
    for (seconds, expected) in [
        (45, "45 s"),
        (119, "119 s"),
        (900, "15 min"),
        (12_000, "3 h 20 min"),
        (86_400, "24 h"),
        (200_000, "2 days 7 h"),
    ] {
        assert_eq!(duration(Duration::from_secs(seconds)), expected);
    }
}

#[test]
fn metrics_without_own_words_keep_their_name() {
    assert_eq!(label(semconv::FILESYSTEM_UTILIZATION), "used space");
    assert_eq!(label("endpoint.printer.jobs.queued"), "printer jobs queued");
    assert_eq!(label("other"), "other");
}

#[test]
fn texts_from_devices_are_bounded_and_harmless() {
    assert_eq!(clean("a\nb\u{1b}[31m\u{202e}c", 200), "a b [31m c");
    assert_eq!(clean(&"é".repeat(300), 10), "ééééééééé…");
    assert_eq!(clean("  x ", 200), "x");
    assert_eq!(clean_lines("a\nb\u{0}", 200), "a\nb");
}

#[test]
fn documents_read_in_one_bounded_line() {
    let map = Value::map([
        ("state", Value::from("stopped")),
        ("jobs", Value::from(3.0)),
        ("ok", Value::from(false)),
    ]);
    assert_eq!(document(&map, 200), "jobs 3, ok no, state stopped");
    assert_eq!(document(&Value::texts(["a", "b"]), 200), "a, b");
    assert!(document(&Value::texts(vec!["x".repeat(1000); 100]), 50).chars().count() <= 50);
}

#[test]
fn what_is_yes_or_no_is_told_as_such() {
    assert!(is_flag(semconv::TIME_SYNCHRONIZED) && is_flag(semconv::GATEWAY_REACHABLE));
    assert!(!is_flag(semconv::FILESYSTEM_UTILIZATION) && !is_flag(semconv::PRINTER_STATE));
    let words = [1.0, 0.0].map(|number| value(semconv::GATEWAY_REACHABLE, number));
    assert_eq!(words, ["yes", "no"]);
    let states = [3.0, 5.0, 7.0].map(|number| value(semconv::PRINTER_STATE, number));
    assert_eq!(states, ["idle", "stopped", "7"]);
}
