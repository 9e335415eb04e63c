//! The Windows half on a running Windows, or on Wine, which answers a part of it: what is asked must come back as an
//! observation or as a reason, and what every Windows has must come back as numbers.
#![cfg(windows)]

use firstline_agent_probes::isolate::{Isolated, Outcome};
use firstline_agent_probes::{Context, PROBES, Root, json};
use firstline_model::Timestamp;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

fn look(probe: &str) -> Vec<Value> {
    let entry = PROBES.iter().find(|entry| entry.name == probe).expect("a probe");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let now = Timestamp::from_millis(i64::try_from(now).expect("a date"));
    let mut isolated = Isolated::new(entry);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let run = isolated.run(Context::new(Root::system(), now));
        assert_eq!(run.outcome, Outcome::Completed, "{probe}");
        seen.extend(run.observations.iter().map(json::observation));
    }
    seen
}

fn value(seen: &[Value], metric: &str) -> Option<f64> {
    seen.iter().find(|line| line["metric"] == metric)?["value"].as_f64()
}

#[test]
fn what_every_windows_has_comes_back_as_numbers() {
    assert!(value(&look("memory"), "system.memory.limit").expect("all memory") > 1e8);
    assert!(value(&look("os"), "system.uptime").expect("time since the start") > 0.0);
    assert!(value(&look("filesystem"), "system.filesystem.limit").expect("a drive") > 1e6);
}

#[test]
fn every_probe_answers_or_says_why_not() {
    for entry in PROBES {
        for line in look(entry.name) {
            let is_known = ["metric", "state", "event", "facts", "unavailable"]
                .iter()
                .any(|key| line.get(*key).is_some());
            assert!(is_known, "{}: {line}", entry.name);
            println!("{line}");
        }
    }
}
