//! The generator: the same seed gives the same bytes, and the truth tells what the trace shows.

use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const SMALL: Fleet = Fleet { devices: 60, days: 3, seed: 11, faults: 45 };

fn lines(fleet: Fleet) -> (Truths, Vec<String>) {
    let mut trace = Vec::new();
    let (truths, written) = generate(fleet, &mut trace).unwrap();
    let lines: Vec<String> = String::from_utf8(trace).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(written.observations, lines.len() as u64);
    (truths, lines)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let (truths, trace) = lines(SMALL);
    let (again, trace_again) = lines(SMALL);
    assert!(truths == again && trace == trace_again);
    let (other, other_trace) = lines(Fleet { seed: 12, ..SMALL });
    assert!(truths != other && trace != other_trace);
}

#[test]
fn a_trace_is_sorted_and_each_line_is_one_observation() {
    let (_, trace) = lines(SMALL);
    let mut before = 0.0;
    let keys = ["metric", "event", "state", "presence", "facts"];
    for line in &trace {
        let value: Value = serde_json::from_str(line).unwrap();
        let at = clock::parse(value["t"].as_str().unwrap()).unwrap();
        assert!(at >= before, "{line}");
        before = at;
        assert_eq!(keys.iter().filter(|key| value.get(**key).is_some()).count(), 1, "{line}");
        assert!(value["device"].is_string());
        if let Some(metric) = value.get("metric") {
            assert!(value["value"].is_number() && value["component"].is_string(), "{metric}");
        }
    }
}

/// The seconds in which each device says something.
fn spoken(trace: &[String]) -> BTreeMap<&str, Vec<f64>> {
    let mut spoken: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in trace {
        // Times and names have their fixed places in a line.
        let (at, rest) = line[6..].split_at(20);
        let device = rest[12..].split('"').next().unwrap();
        spoken.entry(device).or_default().push(clock::parse(at).unwrap());
    }
    spoken
}

#[test]
fn each_fault_lies_in_the_trace_and_its_devices_speak_in_its_time() {
    let (truths, trace) = lines(SMALL);
    assert!(truths.faults.len() >= 40, "{} faults fitted in", truths.faults.len());
    let spoken = spoken(&trace);
    for fault in &truths.faults {
        assert!(fault.start < fault.due || fault.hold_s == 0, "{fault:?}");
        assert!(fault.due <= fault.end && fault.end <= SMALL.days * DAY, "{fault:?}");
        let (from, to) = (f64::from(fault.start), f64::from(fault.end) + 600.0);
        for device in &fault.devices {
            let speaks = spoken[device.as_str()].iter().any(|at| (from..=to).contains(at));
            assert!(speaks, "{device} says nothing while {} lasts", fault.kind);
        }
    }
}

/// Without its faults a fleet has none of what makes them: the values of a trace come from the plan, and from nothing
/// else.
#[test]
fn a_fleet_without_faults_has_no_truth_and_no_failed_drive() {
    let fleet = Fleet { faults: 0, ..SMALL };
    let (truths, trace) = lines(fleet);
    assert_eq!(truths.faults, []);
    let failed = ["predicted_failure", "link_local", "\"toner-empty\"", "bugcheck"];
    for word in failed {
        assert!(!trace.iter().any(|line| line.contains(word)), "{word} without a fault");
    }
}

#[test]
fn thirty_kinds_of_faults_fit_into_two_weeks() {
    let truths = prepare(Fleet { devices: 1000, days: 14, seed: 1, faults: 400 }).truths;
    let kinds: BTreeSet<&str> = truths.faults.iter().map(|fault| fault.kind.as_str()).collect();
    assert!(kinds.len() >= 60, "{} kinds: {kinds:?}", kinds.len());
    assert_eq!(truths.faults.len(), 400);
    assert!(truths.faults.iter().filter(|fault| fault.shared.is_some()).count() >= 30);
}

/// A replay that finds everything, as far as its output is concerned.
fn perfect(truths: &Truths) -> Vec<String> {
    let line = |(number, fault): (usize, &truth::Truth)| {
        let (kind, device, rule, component) = match &fault.shared {
            Some(shared) => ("problem", Value::Null, &shared.rule, &shared.components[0]),
            None => {
                ("incident", Value::from(fault.devices[0].clone()), &fault.rules[0], &fault.components[0])
            }
        };
        serde_json::json!({
            "t": clock::text(fault.due), "ticket": number + 1, "transition": "opened", "kind": kind, "device": device,
            "rule": rule, "component": component, "likely_cause": fault.likely_cause[0],
        })
        .to_string()
    };
    truths.faults.iter().enumerate().map(line).collect()
}

#[test]
fn a_perfect_replay_has_a_perfect_score_and_a_fault_taken_out_of_the_truth_makes_its_ticket_false() {
    let truths = prepare(SMALL).truths;
    let tickets = perfect(&truths);
    let judge = |truths: Truths| {
        let mut scorer = Scorer::new(truths);
        tickets.iter().for_each(|line| scorer.take(line).unwrap());
        scorer.finish()
    };
    let score = judge(truths.clone());
    assert_eq!((score.recall(), score.false_tickets, score.causes(), score.parents()), (1.0, 0, 1.0, 1.0));
    let mut fewer = truths;
    let at = fewer.faults.iter().position(|fault| fault.shared.is_none()).unwrap();
    fewer.faults.remove(at);
    assert_eq!(judge(fewer).false_tickets, 1);
}
