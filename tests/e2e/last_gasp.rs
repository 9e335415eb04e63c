//! A machine that goes to sleep says so while it can: its silence has a name at once, and nobody else can say it for it.

use firstline_tests::rest::Rest;
use firstline_tests::system_bus::{LOGIN, STRANGER, SystemBus};
use firstline_tests::wait::{seconds, until_ok};
use firstline_tests::{Agent, Collector};

const SLEEP: &str = "PrepareForSleep";

fn wait_for(rest: &Rest, agent: &Agent, presence: &str) {
    // A stream that merely breaks is noticed after a minute or so, and is "off network".
    until_ok(&format!("the device is {presence}"), seconds(15), || {
        let device = rest.get_json(&format!("/api/v1/devices/{}", agent.device()));
        if device["presence"] == presence { Ok(()) } else { Err(device["presence"].to_string()) }
    });
}

#[test]
fn a_machine_that_goes_to_sleep_says_so_and_stays_away_until_it_is_awake() {
    let mut collector = Collector::started();
    let machine = tempfile::tempdir().expect("a folder");
    let bus = SystemBus::of(machine.path());
    let arguments = ["--root".as_ref(), machine.path().as_os_str()];
    let mut agent = Agent::enrolled(&collector).probing(&[], "").with_arguments(&arguments).started();
    collector.wait_for_device(agent.device());
    let rest = collector.rest();

    // Anybody can send such a signal; only the login manager is believed.
    bus.say(STRANGER, SLEEP, true);
    bus.say(STRANGER, "PrepareForShutdown", true);
    bus.say(LOGIN, SLEEP, true);
    wait_for(&rest, &agent, "asleep");
    let asleep = rest.get_json(&format!("/api/v1/devices/{}", agent.device()));
    assert!(asleep["presence_since"].is_string(), "{asleep:#}");
    bus.say(STRANGER, SLEEP, false);
    bus.say(LOGIN, SLEEP, false);
    wait_for(&rest, &agent, "online");

    bus.say(LOGIN, "PrepareForShutdown", true);
    let log = agent.stop_for_log();
    let slept = log.iter().filter(|line| line.contains("the machine goes to sleep")).count();
    let woke = log.iter().filter(|line| line.contains("the machine is awake")).count();
    let opened = log.iter().filter(|line| line.contains("stream to the collector is open")).count();
    assert_eq!((slept, woke, opened), (1, 1, 2), "{log:#?}");
    wait_for(&rest, &agent, "shut_down");
}
