//! A worn battery, a defective one, and one that drains on mains: each up to its ticket, and to its end where it has one
//! (wear has none but another battery).

use super::faults::{is_resolved, is_worked};
use firstline_tests::battery::{Battery, Condition, SUPPLIES};
use firstline_tests::needs::{self, Need};
use firstline_tests::process::say;
use firstline_tests::wait::seconds;
use firstline_tests::{Agent, Collector};
use std::ffi::OsStr;
use std::path::Path;

#[test]
fn a_battery_that_is_worn_drains_on_mains_and_fails_has_a_ticket_for_each() {
    if !needs::met(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    if !Path::new(SUPPLIES).is_dir() {
        return say("SKIPPED: this kernel has no power supplies, so there is no place to show some in");
    }
    let mut collector = Collector::prepared()
        .overriding("battery.health", "at_least = \"1 of 1\"")
        .overriding(
            "battery.fault",
            "clear = { where = { \"hw.state\" = \"ok\" }, equals = 1, for = \"3s\" }",
        )
        .overriding("power.adapter_weak", "for = \"3s\"\nclear = { equals = 0, for = \"3s\" }");
    collector.start();
    let worn = Condition { holds: 26_000_000, ..Condition::GOOD };
    let battery = Battery::fitted(worn);
    let wrapper = battery.wrapper();
    let wrapper: Vec<&OsStr> = wrapper.iter().map(|part| part.as_os_str()).collect();
    let agent = Agent::enrolled(&collector).probing(&["power"], "").under(&wrapper).started();
    collector.wait_for_device(agent.device());

    let health = collector.ticket("battery.health", "is worked", seconds(40), is_worked);
    assert_eq!(health["component"]["id"], "4711", "{health:#}");
    assert_eq!(health["title"], "The battery (4711) holds only 45.6 % of its original charge");

    battery.becomes(Condition { status: "Discharging", ..worn });
    let drains = collector.ticket("power.adapter_weak", "is worked", seconds(40), is_worked);
    assert_eq!(drains["title"], "The battery drains although the charger is connected");

    battery.becomes(worn);
    collector.ticket("power.adapter_weak", "is resolved", seconds(40), is_resolved);
    battery.becomes(Condition { health: "Dead", ..worn });
    let fault = collector.ticket("battery.fault", "is worked", seconds(40), is_worked);
    assert_eq!(fault["title"], "The battery (4711) reports a fault");
    battery.becomes(worn);
    collector.ticket("battery.fault", "is resolved", seconds(40), is_resolved);

    // Wear is looked at once an hour, so that another battery has taken its place is known after hours only.
    let still = collector.ticket("battery.health", "is there", seconds(5), |_| true);
    assert!(still["id"] == health["id"] && !is_resolved(&still), "{still:#}");
    let all = collector.rest().get_json("/api/v1/tickets");
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "{all:#}");
}
