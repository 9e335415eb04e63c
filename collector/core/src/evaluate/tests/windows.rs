//! Counters and events within a window.

use super::check;
use crate::fixture::*;
use crate::knowledge::{Compare, Condition, KnowledgeEntry};
use firstline_model::{ComponentKind, Observation, Presence, Severity};

fn errors(by: f64, within: u64) -> KnowledgeEntry {
    let grew =
        Condition::Increase { series: series("endpoint.disk.io_errors", &[]), by, within: secs(within) };
    entry("disk.io_errors", ComponentKind::PhysicalDisk, vec![level(Severity::Warning, grew, 0, None, 0)])
}

fn counter(t: i64, value: f64) -> Observation {
    sample(t, "physical_disk/S1", "endpoint.disk.io_errors", &[("op", "read")], value)
}

fn crashes(count: u32, within: u64) -> KnowledgeEntry {
    let happened = Condition::Event {
        series: series("endpoint.app.crashes", &[("app", "word")]),
        count,
        within: secs(within),
    };
    entry("app.crash", ComponentKind::Application, vec![level(Severity::Warning, happened, 0, None, 60)])
}

fn crash(t: i64, app: &str) -> Observation {
    let line = format!("fault at {t}");
    event(t, "application/word", "endpoint.app.crashes", &[("app", app), ("line", &line)])
}

#[test]
fn the_first_sight_of_a_counter_is_its_baseline() {
    check(&[errors(1.0, 3600)], &[counter(0, 5000.0), counter(60, 5000.0)], 120, &[]);
}

#[test]
fn a_counter_that_grows_fires_and_its_window_runs_out_by_itself() {
    let mut script = vec![counter(0, 10.0), counter(60, 12.0)];
    script.extend((2..=70).map(|minute| counter(minute * 60, 13.0)));
    let expected = ["120 fired warning disk.io_errors", "3660 cleared warning disk.io_errors"];
    check(&[errors(3.0, 3600)], &script, 86_400, &expected);
}

#[test]
fn a_counter_that_is_not_read_any_more_does_not_recover() {
    let script = [counter(0, 10.0), counter(60, 12.0), counter(120, 13.0), counter(180, 13.0)];
    let expected = ["120 fired warning disk.io_errors", "3660 recovering warning disk.io_errors"];
    check(&[errors(3.0, 3600)], &script, 86_400, &expected);
}

#[test]
fn a_counter_that_went_down_counts_from_zero() {
    check(&[errors(3.0, 3600)], &[counter(0, 100.0), counter(60, 2.0)], 120, &[]);
    let script = [counter(0, 100.0), counter(60, 2.0), counter(120, 3.0)];
    check(&[errors(3.0, 3600)], &script, 130, &["120 fired warning disk.io_errors"]);
}

#[test]
fn what_counts_while_a_device_wakes_up_is_not_judged() {
    let script = [
        counter(0, 10.0),
        presence(10, Presence::Asleep),
        presence(1000, Presence::Online),
        counter(1010, 20.0),
        counter(1119, 30.0),
        counter(1200, 30.0),
    ];
    check(&[errors(3.0, 3600)], &script, 1300, &[]);
    let afterwards = [counter(1260, 33.0)];
    let all = [&script[..], &afterwards[..]].concat();
    check(&[errors(3.0, 3600)], &all, 1300, &["1260 fired warning disk.io_errors"]);
}

#[test]
fn a_window_that_ran_out_while_nothing_was_judged_clears_afterwards() {
    let script = [
        counter(0, 0.0),
        counter(60, 5.0),
        presence(100, Presence::Asleep),
        presence(3600, Presence::Online),
    ];
    let expected = ["60 fired warning disk.io_errors", "3720 cleared warning disk.io_errors"];
    check(&[errors(3.0, 3600)], &script, 20_000, &expected);
}

/// Two levels that count in one window, and a recovery that looks further back.
fn throttled() -> KnowledgeEntry {
    let grew = |by: f64, within: u64| Condition::Increase {
        series: series("endpoint.cpu.throttled.time", &[]),
        by,
        within: secs(within),
    };
    let clear = || Some(Condition::Not(Box::new(grew(9.0, 900))));
    let levels = vec![
        level(Severity::Warning, grew(30.0, 600), 0, clear(), 300),
        level(Severity::Critical, grew(120.0, 600), 0, clear(), 300),
    ];
    entry("cpu.throttle", ComponentKind::Cpu, levels)
}

#[test]
fn windows_that_run_out_one_after_the_other_between_two_samples_are_settled_once() {
    let counter = |t: i64, value: f64| sample(t, "cpu/0", "endpoint.cpu.throttled.time", &[], value);
    let mut script: Vec<Observation> =
        (0..=30).map(|minute| counter(minute * 60, 15.0 * minute as f64)).collect();
    script.extend((31..=60).map(|minute| counter(minute * 60 + 25, 450.0)));
    let expected = [
        "120 fired warning cpu.throttle",
        "480 escalated critical cpu.throttle",
        "2700 recovering critical cpu.throttle",
        "3000 cleared critical cpu.throttle",
    ];
    check(&[throttled()], &script, 4000, &expected);
    // The same while samples come seldom, so that several windows end between two of them.
    let seldom: Vec<Observation> = script.iter().take(31).cloned().chain([counter(2500, 450.0)]).collect();
    check(&[throttled()], &seldom, 2600, &expected[..2]);
}

#[test]
fn events_are_counted_within_their_window_and_by_their_attributes() {
    let script = [crash(0, "word"), crash(100, "excel"), crash(200, "word"), crash(4000, "word")];
    check(&[crashes(3, 3600)], &script, 5000, &[]);
    let script = [crash(0, "word"), crash(100, "word"), crash(200, "word")];
    let expected = [
        "200 fired warning app.crash",
        "3600 recovering warning app.crash",
        "3660 cleared warning app.crash",
    ];
    check(&[crashes(3, 3600)], &script, 10_000, &expected);
}

#[test]
fn an_event_reported_late_counts_when_it_happened() {
    let script = [crash(0, "word"), crash(200, "word"), crash(100, "word")];
    let mut bench = Bench::new([crashes(3, 3600)]);
    bench.play(&script).wait(10_000);
    assert_eq!(bench.seen.last().map(|t| seconds(t.at)), Some(3660));
}

#[test]
fn a_flood_of_events_needs_bounded_memory() {
    let mut bench = Bench::new([crashes(3, 86_400)]);
    for t in 0..5000 {
        bench.play(&[crash(t, "word")]);
    }
    let (_, series) = bench.state.samples.iter().next().unwrap();
    assert_eq!(bench.state.samples.len(), 1, "events with other messages are the same series");
    assert!(series.history().window.len() <= 256);
    assert_eq!(series.history().window.iter().map(|(_, amount)| amount).sum::<f64>(), 5000.0);
}

/// An interface without a carrier, while no other one has any.
fn no_link(hold: u64) -> KnowledgeEntry {
    let down = || compare("hw.network.up", Compare::Equals, 0.0);
    let when = Condition::All(vec![down(), Condition::EveryComponent(Box::new(down()))]);
    let clear = compare("hw.network.up", Compare::Equals, 1.0);
    entry(
        "net.link",
        ComponentKind::NetworkInterface,
        vec![level(Severity::Warning, when, hold, Some(clear), 0)],
    )
}

#[test]
fn a_second_interface_that_comes_up_ends_what_was_pending_on_the_first() {
    let link = |t: i64, name: &str, up: f64| {
        sample(t, &format!("network_interface/{name}"), "hw.network.up", &[], up)
    };
    // In the morning the dock takes over from Wi-Fi, in the afternoon Wi-Fi from the dock.
    let script = [
        link(0, "wlan0", 0.0),
        link(30, "eth0", 1.0),
        link(60, "wlan0", 0.0),
        link(90, "eth0", 1.0),
        link(1000, "eth0", 0.0),
        link(1050, "wlan0", 1.0),
    ];
    check(&[no_link(120)], &script, 2000, &[]);
    let both = [
        link(0, "wlan0", 0.0),
        link(30, "eth0", 1.0),
        link(60, "eth0", 0.0),
        link(90, "wlan0", 0.0),
        link(120, "eth0", 0.0),
    ];
    check(&[no_link(120)], &both, 200, &["180 fired warning net.link"]);
}
