//! The flight recorder: what came before a breach stands in the ticket, and a technician gets it by asking.

use firstline_tests::disk::SmallDisk;
use firstline_tests::needs::{self, Need};
use firstline_tests::wait::{seconds, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;

/// The series of a recording that was answered.
fn series(tested: &Json) -> Vec<Json> {
    tested["facts"]["series"].as_array().cloned().unwrap_or_default()
}

fn recording(ticket: &Json) -> Option<&Json> {
    ticket["tested"].as_array()?.iter().find(|test| test["diagnostic"] == "recorder")
}

#[test]
fn the_minutes_before_a_breach_stand_in_its_ticket_and_a_technician_gets_them_by_asking() {
    if !needs::met(&[Need::Root]) {
        return;
    }
    let quick = "for = \"9s\"\nclear = { below = 0.8, for = \"5s\" }";
    let mut collector = Collector::prepared().overriding("fs.space", quick);
    collector.start();
    let disk = SmallDisk::mounted(8);
    let agent = Agent::enrolled(&collector).probing(&["filesystem"], "").started();
    collector.wait_for_device(agent.device());
    disk.fill();
    let place = disk.path().to_str().expect("a path").to_owned();
    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let ticket = collector.ticket_where("fs.space", is_ours, "has its recording", seconds(60), |ticket| {
        recording(ticket).is_some_and(|test| test["outcome"] == "ok")
    });
    let recorded = recording(&ticket).expect("a recording");
    assert_eq!(recorded["subject"], format!("filesystem/{place}"));
    let used = series(recorded);
    let used = used.iter().find(|one| one["metric"] == "system.filesystem.utilization").expect("used space");
    // Looks every four seconds, from before the breach on: more than were ever sent steadily.
    assert!(used["points"].as_array().is_some_and(|points| points.len() >= 3), "{used}");
    assert!(used["lowest"].as_f64() < Some(0.5) && used["highest"].as_f64() > Some(0.9), "{used}");

    let rest = collector.rest();
    let page = rest.get(&format!("/tickets/{}", ticket["id"]));
    assert!(page.body.contains("The minutes before") && page.body.contains("<polyline"), "{}", page.body);

    let path = format!("/api/v1/devices/{}/diagnostics", agent.device());
    let asked = rest.ask(
        "POST",
        &path,
        &[("content-type", "application/json")],
        &format!("{{\"name\":\"recorder\",\"subject\":\"filesystem/{place}\"}}"),
    );
    assert_eq!(asked.status, 202, "{}", asked.body);
    let request = asked.json()["request_id"].clone();
    until_ok("the technician's recording", seconds(30), || {
        let device = rest.get_json(&format!("/api/v1/devices/{}", agent.device())).to_string();
        let is_there = device.contains(request.as_str().unwrap_or("none")) && device.contains("points");
        if is_there { Ok(()) } else { Err(device) }
    });
    let audit = rest.get_json("/api/v1/audit").to_string();
    assert!(audit.contains("diagnostic.request") && audit.contains("recorder"), "{audit}");
}
