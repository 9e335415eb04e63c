//! Real faults become one worked ticket each, and their end resolves it.

mod kernel;
mod network;
mod printing;

use firstline_tests::disk::SmallDisk;
use firstline_tests::needs::{self, Need};
use firstline_tests::wait::seconds;
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;

const QUICK_SPACE: &str = "for = \"5s\"\nclear = { below = 0.8, for = \"5s\" }";

pub(crate) fn is_worked(ticket: &Json) -> bool {
    let tested = ticket["tested"].as_array();
    tested.is_some_and(|tests| !tests.is_empty() && tests.iter().all(|test| test["outcome"].is_string()))
}

pub(crate) fn is_resolved(ticket: &Json) -> bool {
    ticket["state"] == "resolved"
}

#[test]
fn a_full_disk_becomes_one_worked_ticket_and_space_resolves_it() {
    if !needs::met(&[Need::Root]) {
        return;
    }
    let mut collector = Collector::prepared().overriding("fs.space", QUICK_SPACE);
    collector.start();
    let disk = SmallDisk::mounted(8);
    let agent = Agent::enrolled(&collector).probing(&["filesystem"], "").started();
    collector.wait_for_device(agent.device());
    disk.fill();

    let place = disk.path().to_str().unwrap().to_owned();
    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let ticket = collector.ticket_where("fs.space", is_ours, "is worked", seconds(60), is_worked);
    assert_eq!(ticket["component"]["kind"], "filesystem");
    assert_eq!(ticket["device"]["id"], agent.device());
    assert_eq!(ticket["state"], "new");
    let evidence = ticket["evidence"].as_array().unwrap();
    assert!(evidence.iter().any(|e| e["metric"] == "system.filesystem.utilization"), "{evidence:?}");
    assert_eq!(ticket["tested"][0]["diagnostic"], "largest_directories");
    assert!(ticket["tested"][0]["facts"].to_string().contains("holiday-films"), "{}", ticket["tested"]);
    assert!(!ticket["steps"].as_array().unwrap().is_empty());
    assert!(ticket["title"].as_str().unwrap().contains("full"), "{}", ticket["title"]);

    disk.empty();
    let resolved = collector.ticket_where("fs.space", is_ours, "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}
