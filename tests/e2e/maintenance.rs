//! A fault within a maintenance window: no ticket, a reason, and a ticket when the window is taken away.

use firstline_tests::disk::SmallDisk;
use firstline_tests::needs::{self, Need};
use firstline_tests::wait::{seconds, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::{Value as Json, json};

const SPACE: &str = "for = \"5s\"\nclear = { below = 0.8, for = \"5s\" }";

#[test]
fn a_full_disk_within_a_window_has_a_reason_and_opens_a_ticket_when_the_window_is_removed() {
    if !needs::met(&[Need::Root]) {
        return;
    }
    let mut collector = Collector::prepared().overriding("fs.space", SPACE);
    collector.start();
    let agent = Agent::enrolled(&collector).probing(&["filesystem"], "").started();
    collector.wait_for_device(agent.device());
    let rest = collector.rest();
    let window = json!({
        "name": "night", "scope": {"device": agent.device()}, "rules": ["fs."],
        "once": {"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
    });
    let headers = [("content-type", "application/json")];
    let made = rest.ask("POST", "/api/v1/maintenance", &headers, &window.to_string());
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["active"], true);

    let disk = SmallDisk::mounted(8);
    let place = disk.path().to_str().unwrap().to_owned();
    disk.fill();
    let ours = format!("/api/v1/suppressions?device={}&rule=fs.space&reason=maintenance", agent.device());
    let held = until_ok("the breach is held back", seconds(60), || {
        let found = rest.get_json(&ours);
        let all = found["items"].as_array().unwrap();
        all.iter().find(|one| one["component"]["id"] == place).cloned().ok_or_else(|| found.to_string())
    });
    assert_eq!(held["reason"], "maintenance: night");
    assert!(held["until"].as_str().unwrap().starts_with("2099-01-01"), "{held:#}");
    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let tickets = rest.get_json("/api/v1/tickets?rule=fs.space");
    assert!(!tickets["items"].as_array().unwrap().iter().any(is_ours), "{tickets:#}");

    // It outlives a restart, and opens when the window is gone.
    collector.stop();
    collector.start();
    collector.wait_for_device(agent.device());
    let rest = collector.rest();
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(rest.ask("DELETE", &format!("/api/v1/maintenance/{id}"), &[], "").status, 204);
    let opened = collector.ticket_where("fs.space", is_ours, "is open", seconds(30), |_| true);
    assert_eq!(opened["device"]["id"], agent.device());
}
