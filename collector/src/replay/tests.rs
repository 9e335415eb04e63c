//! Whole traces in, tickets out: one cause is one ticket, silence of one is nothing, the same trace says the same.

use super::line::Reader;
use super::output::Output;
use super::run::Replay;
use crate::{knowledge, maintenance};
use firstline_collector_core::quiet::Quiet;
use serde_json::{Value, json};

/// 2026-01-05T08:00:00Z, a Monday.
const START: i64 = 1_767_600_000;

/// A trace in the making. Lines are sorted by time when it is played.
#[derive(Default)]
struct Trace(Vec<(i64, Value)>);

impl Trace {
    fn line(&mut self, at: i64, device: &str, mut line: Value) {
        let time = jiff::Timestamp::from_second(START + at).unwrap().to_string();
        line["t"] = json!(time);
        line["device"] = json!(device);
        self.0.push((at, line));
    }

    fn sample(&mut self, at: i64, device: &str, component: &str, metric: &str, value: f64) {
        self.line(at, device, json!({"metric": metric, "component": component, "value": value}));
    }

    fn facts(&mut self, device: &str, facts: Value) {
        self.line(0, device, json!({ "facts": facts }));
    }

    fn play(self) -> Vec<Value> {
        self.play_with(&Quiet::default())
    }

    fn play_with(mut self, quiet: &Quiet) -> Vec<Value> {
        self.0.sort_by_key(|(at, _)| *at);
        let lines: Vec<String> = self.0.iter().map(|(_, line)| line.to_string()).collect();
        let first = play(&lines, quiet);
        assert_eq!(first, play(&lines, quiet), "the same trace must say the same");
        let text = String::from_utf8(first).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn play(lines: &[String], quiet: &Quiet) -> Vec<u8> {
    let rules = knowledge::rules(None).unwrap().without_tests().with_quiet(quiet.clone());
    let mut out = Vec::new();
    let mut replay = Replay::new(&rules, Output::new(&mut out, true));
    let reader = Reader::new();
    for line in lines {
        let seen = reader.read(line.as_bytes()).unwrap();
        replay.take(&seen.device, &seen.observation).unwrap().unwrap();
    }
    replay.finish().unwrap();
    out
}

fn with<'a>(lines: &'a [Value], key: &str, value: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line[key] == *value).collect()
}

#[test]
fn a_breach_within_a_window_is_a_line_with_its_reason_and_a_ticket_when_the_window_is_over() {
    let mut trace = Trace::default();
    for at in (0..7200).step_by(60) {
        trace.sample(at, "pc-017", "filesystem/C:", "system.filesystem.utilization", 0.97);
    }
    let window = json!({"name": "night", "rules": ["fs."],
        "once": {"from": "2026-01-05T08:00:00Z", "until": "2026-01-05T09:00:00Z"}});
    let window: maintenance::Definition = serde_json::from_value(window).unwrap();
    let quiet = Quiet { windows: vec![window.window(1).unwrap()], ..Quiet::standard() };
    let lines = trace.play_with(&quiet);
    let held = with(&lines, "suppressed", "maintenance: night");
    assert_eq!(held.len(), 1, "{lines:#?}");
    let expected = [("device", "pc-017"), ("rule", "fs.space"), ("component", "filesystem/C:")];
    for (key, value) in expected {
        assert_eq!(held[0][key], value);
    }
    assert!(held[0]["t"].as_str().unwrap() < "2026-01-05T09:00:00Z");
    let opened = with(&lines, "transition", "opened");
    assert_eq!(opened.len(), 1);
    let at = opened[0]["t"].as_str().unwrap();
    assert!(("2026-01-05T09:00:00Z".."2026-01-05T09:05:01Z").contains(&at), "{at}");
}

const GATEWAY: &str = "endpoint.network.gateway.reachable";

fn office(trace: &mut Trace, site: &str, count: i64, dead: impl Fn(i64) -> bool, until: i64) {
    for number in 0..count {
        let device = format!("{site}-{number}");
        trace.facts(&device, json!({"site": site, "switch": format!("sw-{site}"), "model": "Latitude 5440"}));
        for at in (number % 15..until).step_by(15) {
            trace.sample(at, &device, "gateway/192.0.2.1", GATEWAY, f64::from(u8::from(!dead(at))));
        }
    }
}

#[test]
fn five_hundred_devices_behind_one_dead_switch_are_one_parent_and_no_ticket_of_their_own() {
    let mut trace = Trace::default();
    office(&mut trace, "oslo", 500, |at| (60..300).contains(&at), 600);
    office(&mut trace, "bergen", 40, |_| false, 600);
    let lines = trace.play();
    let opened = with(&lines, "transition", "opened");
    assert_eq!(opened.len(), 1, "{:?}", &opened[..opened.len().min(5)]);
    assert_eq!(opened[0]["kind"], "problem");
    assert_eq!(
        (&opened[0]["rule"], &opened[0]["component"]),
        (&json!("net.site_outage"), &json!("site/oslo"))
    );
    assert_eq!(opened[0]["device"], Value::Null);
    let member = |line: &&Value| line["parent"] == opened[0]["ticket"] && line["suppressed"].is_string();
    assert_eq!(lines.iter().filter(member).count(), 500);
    assert_eq!(with(&lines, "transition", "resolved").len(), 1, "the parent resolves when they do");
}

#[test]
fn a_printer_that_two_computers_call_differently_is_one_problem_with_the_name_that_most_use() {
    let mut trace = Trace::default();
    let uuid = "uuid:f119f7ed-31f1-3647-5d3d-79b700c9950a";
    for (number, queue) in ["floor-3", "finance", "finance"].into_iter().enumerate() {
        let device = format!("pc-{number}");
        let printers: serde_json::Map<String, Value> =
            [(queue.to_owned(), json!(uuid))].into_iter().collect();
        trace.facts(&device, json!({ "printers": printers }));
        for at in (number as i64..3600).step_by(60) {
            let reachable = f64::from(u8::from(!(300..1800).contains(&at)));
            trace.sample(at, &device, &format!("printer/{queue}"), "endpoint.printer.reachable", reachable);
        }
    }
    // One with a printer of the same name elsewhere.
    trace.facts("pc-9", json!({"printers": {"finance": "uuid:f119f7ed-31f1-3647-5d3d-79b700c9950b"}}));
    for at in (9..3600).step_by(60) {
        trace.sample(at, "pc-9", "printer/finance", "endpoint.printer.reachable", 1.0);
    }
    let lines = trace.play();
    let problems = with(&lines, "kind", "problem");
    let opened: Vec<_> = problems.iter().filter(|line| line["transition"] == "opened").collect();
    assert_eq!(opened.len(), 1, "{lines:#?}");
    assert_eq!(
        (&opened[0]["rule"], &opened[0]["component"]),
        (&json!("prn.unreachable"), &json!("printer/finance"))
    );
    let children =
        lines.iter().filter(|line| line["transition"] == "opened" && line["kind"] != "problem").count();
    assert_eq!(children, 3, "{lines:#?}");
    assert!(problems.iter().any(|line| line["transition"] == "resolved"), "{problems:#?}");
}

#[test]
fn a_printer_that_stops_for_many_is_one_problem_with_children_and_late_ones_join() {
    let mut trace = Trace::default();
    for number in 0..6 {
        let device = format!("pc-{number}");
        trace.facts(&device, json!({"site": "oslo"}));
        // The last one looks at the printer ten minutes later than the others.
        let from = if number == 5 { 600 } else { number * 7 };
        for at in (from..3000).step_by(60) {
            let state = if (60..1500).contains(&at) { 5.0 } else { 3.0 };
            trace.sample(at, &device, "printer/9f2c", "endpoint.printer.state", state);
        }
    }
    let lines = trace.play();
    let problems = with(&lines, "kind", "problem");
    assert_eq!(problems[0]["transition"], "opened");
    assert_eq!(
        (&problems[0]["rule"], &problems[0]["component"]),
        (&json!("prn.stopped"), &json!("printer/9f2c"))
    );
    let opened = with(&lines, "transition", "opened");
    let children = opened.iter().filter(|line| line["kind"] == "incident").count();
    assert_eq!(children, 6, "{opened:?}");
    for device in 0..6 {
        let device = json!(format!("pc-{device}"));
        let child =
            lines.iter().any(|line| line["device"] == device && line["parent"] == problems[0]["ticket"]);
        assert!(child, "{device} has no parent: {lines:?}");
    }
    assert_eq!(problems.last().unwrap()["transition"], "resolved");
}

/// Two sites of twenty that report once a minute; the first one is quiet from 20 to 40 minutes.
fn two_sites(trace: &mut Trace, comes_back: bool) {
    for (site, quiet_from, quiet_until) in [("oslo", 1200, 2400), ("bergen", 4000, 4000)] {
        for number in 0..20 {
            let device = format!("{site}-{number}");
            trace.facts(&device, json!({ "site": site }));
            for at in (number..3600).step_by(60) {
                if at < quiet_from || (at >= quiet_until && comes_back) {
                    trace.sample(at, &device, "cpu/0", "system.cpu.utilization", 0.1);
                }
            }
        }
    }
}

#[test]
fn a_site_that_falls_silent_while_others_report_is_one_ticket() {
    let mut trace = Trace::default();
    two_sites(&mut trace, true);
    let lines = trace.play();
    let opened = with(&lines, "transition", "opened");
    assert_eq!(opened.len(), 1, "{lines:?}");
    assert_eq!(
        (&opened[0]["rule"], &opened[0]["component"]),
        (&json!("net.site_outage"), &json!("site/oslo"))
    );
    assert_eq!(with(&lines, "rule", "agent.silent").len(), 20);
    assert_eq!(with(&lines, "transition", "resolved").len(), 1);
}

#[test]
fn laptops_that_go_to_sleep_together_are_nothing() {
    let mut trace = Trace::default();
    two_sites(&mut trace, false);
    for number in 0..20 {
        trace.line(1201, &format!("oslo-{number}"), json!({"presence": "asleep"}));
    }
    assert_eq!(trace.play(), Vec::<Value>::new());
}

#[test]
fn faults_that_only_happen_at_the_same_time_have_no_parent() {
    let mut trace = Trace::default();
    for number in 0..60 {
        let device = format!("pc-{number}");
        trace.facts(&device, json!({"site": format!("site-{}", number % 6), "model": "Latitude 5440"}));
        for at in (0..900).step_by(15) {
            let answers = f64::from(u8::from(number >= 4 || at < 60));
            trace.sample(at, &device, "gateway/192.0.2.1", GATEWAY, answers);
        }
    }
    let lines = trace.play();
    assert_eq!(with(&lines, "kind", "problem").len(), 0, "{lines:?}");
    assert_eq!(with(&lines, "transition", "opened").len(), 4);
}

#[test]
fn a_crash_that_comes_with_a_driver_version_names_the_driver() {
    let mut trace = Trace::default();
    for number in 0..60 {
        let device = format!("pc-{number}");
        let version = if number < 8 { "31.0" } else { "30.2" };
        let drivers = json!({"igfx": version, "e1000e": "3.1"});
        trace.facts(&device, json!({"site": format!("site-{}", number % 5), "drivers": drivers}));
        for at in (0..20_000).step_by(600) {
            trace.sample(at, &device, "cpu/0", "system.cpu.utilization", 0.1);
        }
        for crash in 0..2 {
            if number < 8 {
                let crashed = json!({
                    "event": "endpoint.os.unexpected_restart",
                    "component": "os/0",
                    "attrs": {"cause": "bugcheck"},
                });
                trace.line(601 + number * 300 + crash * 3600, &device, crashed);
            }
        }
    }
    let lines = trace.play();
    let problems = with(&lines, "kind", "problem");
    assert_eq!(
        (&problems[0]["rule"], &problems[0]["component"]),
        (&json!("os.crash"), &json!("device/igfx 31.0"))
    );
    assert_eq!(problems.iter().filter(|line| line["transition"] == "opened").count(), 1);
}

/// A drive that fails says so in several places, and not at the same moment.
#[test]
fn a_failing_nvme_drive_is_one_ticket_as_severe_as_the_worst_that_it_says() {
    let mut trace = Trace::default();
    let drive = "physical_disk/S1";
    for at in (0..4 * 3600).step_by(1800) {
        let fails = at >= 3600;
        let warning = json!({"metric": "endpoint.nvme.critical_warning", "component": drive,
            "attrs": {"bit": "0"}, "value": i32::from(fails)});
        trace.line(at, "lt-1", warning);
        trace.sample(at, "lt-1", drive, "endpoint.nvme.available_spare_threshold", 0.1);
        trace.sample(at + 1, "lt-1", drive, "endpoint.nvme.available_spare", if fails { 0.05 } else { 1.0 });
        let state = if fails { "failed" } else { "ok" };
        let status = json!({"metric": "hw.status", "component": drive,
            "attrs": {"hw.type": "physical_disk", "hw.state": state}, "value": 1});
        trace.line(at + 2, "lt-1", status);
    }
    let lines = trace.play();
    let opened = with(&lines, "transition", "opened");
    assert_eq!(opened.len(), 1, "{lines:#?}");
    assert_eq!(opened[0]["rule"], "nvme.critical_warning");
    let raised = lines.iter().any(|line| line["transition"] == "updated" && line["severity"] == "critical");
    assert!(raised, "a drive that fails now is no warning: {lines:#?}");
}

#[test]
fn a_device_that_no_name_server_answers_has_one_ticket_however_many_they_are() {
    let mut trace = Trace::default();
    for at in (0..1800).step_by(30) {
        let (rcode, took) = if at >= 600 { ("timeout", 4.5) } else { ("noerror", 0.02) };
        for (n, server) in ["10.1.0.53", "10.1.0.54", "10.1.0.55"].into_iter().enumerate() {
            let line = json!({"metric": "endpoint.dns.lookup.duration", "component": format!("dns_server/{server}"),
                "attrs": {"server": server, "rcode": rcode}, "value": took});
            trace.line(at + n as i64, "pc-1", line);
        }
    }
    let lines = trace.play();
    let opened = with(&lines, "transition", "opened");
    assert_eq!(opened.len(), 1, "{lines:#?}");
    let hidden = with(&lines, "suppressed", "hidden by net.dns");
    assert_eq!(hidden.len(), 2, "{lines:#?}");
}

#[test]
fn a_dead_vpn_gateway_is_one_problem_although_most_laptops_that_know_it_are_in_the_office() {
    let mut trace = Trace::default();
    for number in 0..60 {
        let device = format!("lt-{number}");
        trace.facts(&device, json!({"site": "oslo", "device_class": "laptop"}));
        let state = |trace: &mut Trace, at: i64, word: &str| {
            let line = json!({"metric": "endpoint.vpn.state", "component": "vpn/north",
                "attrs": {"name": "north", "state": word}, "value": 1});
            trace.line(at, &device, line);
        };
        let morning = 12 * 3600;
        // Everybody used it yesterday, eight do today.
        for at in (0..1800).step_by(300) {
            state(&mut trace, at + number % 30, "up");
        }
        for at in (1800..morning + 3600).step_by(600) {
            trace.sample(at + number % 30, &device, "cpu/0", "system.cpu.utilization", 0.1);
        }
        if number < 8 {
            for at in (morning..morning + 1800).step_by(30) {
                let word = if at >= morning + 600 { "failed" } else { "up" };
                state(&mut trace, at + number % 30, word);
            }
        }
    }
    let lines = trace.play();
    let opened = with(&lines, "transition", "opened");
    let problems: Vec<_> = opened.iter().filter(|line| line["kind"] == "problem").collect();
    assert_eq!(problems.len(), 1, "{opened:#?}");
    assert_eq!((&problems[0]["rule"], &problems[0]["component"]), (&json!("net.vpn"), &json!("vpn/north")));
}
