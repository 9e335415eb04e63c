//! Small cases with an obvious score.

use super::*;
use crate::fleet::truth::{Shared, Truth};
use serde_json::json;

fn truth(kind: &str, device: &str, rule: &str, component: &str) -> Truth {
    Truth {
        fault: "f0001".to_owned(),
        kind: kind.to_owned(),
        devices: vec![device.to_owned()],
        components: vec![component.to_owned()],
        start: 1000,
        end: 5000,
        due: 1300,
        hold_s: 300,
        interval_s: 60,
        rules: vec![rule.to_owned()],
        also: vec!["svc.failed".to_owned()],
        likely_cause: vec!["cable".to_owned()],
        shared: None,
    }
}

fn shared() -> Truth {
    let shared = Shared {
        attribute: "switch".to_owned(),
        value: "sw-1".to_owned(),
        rule: "net.site_outage".to_owned(),
        components: vec!["network/sw-1".to_owned()],
    };
    Truth {
        devices: vec!["pc-1".to_owned(), "pc-2".to_owned()],
        components: Vec::new(),
        likely_cause: vec!["sw-1".to_owned()],
        shared: Some(shared),
        ..truth("shared.switch_dead", "", "net.gateway", "")
    }
}

fn opened(ticket: u64, at: u32, device: &str, rule: &str, component: &str) -> Value {
    json!({
        "t": clock::text(at), "ticket": ticket, "transition": "opened", "kind": "incident", "device": device,
        "rule": rule, "component": component, "likely_cause": "The cable is bad", "parent": null,
    })
}

fn problem(ticket: u64, at: u32, component: &str) -> Value {
    json!({
        "t": clock::text(at), "ticket": ticket, "transition": "opened", "kind": "problem", "device": null,
        "rule": "net.site_outage", "component": component, "likely_cause": "the switch sw-1 is shared",
    })
}

fn score(faults: Vec<Truth>, lines: &[Value]) -> Score {
    let mut scorer = Scorer::new(Truths { devices: 100, days: 7, seed: 1, faults });
    for line in lines {
        scorer.take(&line.to_string()).unwrap();
    }
    scorer.finish()
}

#[test]
fn a_fault_with_its_ticket_is_found_with_the_delay_beyond_the_hold_time() {
    let faults = vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    let score = score(faults, &[opened(1, 1420, "pc-1", "net.link", "network_interface/eth0")]);
    assert_eq!((score.recall(), score.false_tickets, score.causes()), (1.0, 0, 1.0));
    assert_eq!(score.delay(0.5), (120.0, 2.0));
}

#[test]
fn without_a_ticket_the_fault_is_missed() {
    let score = score(vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")], &[]);
    assert_eq!((score.recall(), score.false_tickets), (0.0, 0));
}

#[test]
fn tickets_of_another_device_rule_component_or_time_are_false() {
    let faults = || vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    for line in [
        opened(1, 1420, "pc-2", "net.link", "network_interface/eth0"),
        opened(1, 1420, "pc-1", "net.dns", "dns_server/10.0.0.53"),
        opened(1, 900, "pc-1", "net.link", "network_interface/eth0"),
        opened(1, 6000, "pc-1", "net.link", "network_interface/eth0"),
    ] {
        let score = score(faults(), std::slice::from_ref(&line));
        assert_eq!((score.recall(), score.false_tickets), (0.0, 1), "{line}");
        // One false ticket of 100 devices in one week.
        assert!((score.false_rate() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_ticket_that_the_fault_explains_is_neither_false_nor_the_finding_of_it() {
    let faults = vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    let score = score(faults, &[opened(1, 1420, "pc-1", "svc.failed", "service/vpn")]);
    assert_eq!((score.recall(), score.false_tickets, score.beside), (0.0, 0, 1));
    let faults = || vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    let next_day = |at| self::score(faults(), &[opened(1, at, "pc-1", "svc.failed", "service/vpn")]);
    assert_eq!((next_day(80_000).false_tickets, next_day(95_000).false_tickets), (0, 1));
}

#[test]
fn another_cause_than_the_real_one_is_wrong() {
    let mut fault = truth("net.link", "pc-1", "net.link", "network_interface/eth0");
    fault.likely_cause = vec!["switch port".to_owned()];
    let score = score(vec![fault], &[opened(1, 1420, "pc-1", "net.link", "network_interface/eth0")]);
    assert_eq!((score.recall(), score.causes()), (1.0, 0.0));
}

#[test]
fn the_likely_cause_is_the_one_that_the_ticket_said_last() {
    let faults = vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    let mut update = opened(1, 1500, "pc-1", "net.link", "network_interface/eth0");
    update["transition"] = json!("updated");
    update["likely_cause"] = json!("The adapter has stopped");
    let lines = [opened(1, 1420, "pc-1", "net.link", "network_interface/eth0"), update];
    let mut scorer = Scorer::new(Truths { devices: 100, days: 7, seed: 1, faults });
    for line in &lines {
        scorer.take(&line.to_string()).unwrap();
    }
    assert_eq!(scorer.tickets[&1].likely_cause, "the adapter has stopped");
}

#[test]
fn a_shared_fault_is_found_by_its_parent_and_children_are_not_false() {
    let mut child = opened(2, 1420, "pc-1", "net.gateway", "gateway/10.0.0.1");
    child["parent"] = json!(1);
    let recorded = json!({"t": clock::text(1420), "suppressed": "part of ticket 1", "device": "pc-2", "rule": "net.gateway", "component": "gateway/10.0.0.1", "parent": 1});
    let score = score(vec![shared()], &[problem(1, 1400, "network/sw-1"), child, recorded]);
    assert_eq!((score.recall(), score.parents(), score.causes()), (1.0, 1.0, 1.0));
    assert_eq!((score.false_tickets, score.false_parents, score.ungrouped_tickets), (0, 0, 0));
    assert_eq!(score.members_stood_for, 1);
}

#[test]
fn device_tickets_alone_find_a_shared_fault_but_not_its_cause() {
    let lines = [
        opened(1, 1420, "pc-1", "net.gateway", "gateway/10.0.0.1"),
        opened(2, 1420, "pc-2", "net.gateway", "gateway/10.0.0.1"),
    ];
    let score = score(vec![shared()], &lines);
    assert_eq!((score.recall(), score.parents(), score.false_tickets), (1.0, 0.0, 0));
}

#[test]
fn a_parent_that_names_another_part_or_nothing_planted_is_false() {
    for faults in [vec![shared()], vec![]] {
        let score = score(faults, &[problem(1, 1400, "network/sw-2")]);
        assert_eq!((score.false_parents, score.false_tickets), (1, 1));
    }
}

#[test]
fn a_ticket_beside_its_parent_without_being_its_child_is_counted() {
    let lines =
        [problem(1, 1400, "network/sw-1"), opened(2, 1420, "pc-1", "net.gateway", "gateway/10.0.0.1")];
    let score = score(vec![shared()], &lines);
    assert_eq!((score.parents(), score.ungrouped_tickets, score.false_tickets), (1.0, 1, 0));
}

#[test]
fn a_ticket_that_is_reopened_finds_the_fault_that_came_back() {
    let faults = vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    let mut again = opened(1, 1420, "pc-1", "net.link", "network_interface/eth0");
    again["transition"] = json!("reopened");
    assert_eq!(score(faults, &[again]).recall(), 1.0);
}

#[test]
fn scores_of_several_seeds_add_up() {
    let faults = vec![truth("net.link", "pc-1", "net.link", "network_interface/eth0")];
    let mut sum = score(faults.clone(), &[]);
    sum.add(score(faults, &[opened(1, 1420, "pc-1", "net.link", "network_interface/eth0")]));
    assert_eq!((sum.devices, sum.days, sum.recall()), (100, 14, 0.5));
}
