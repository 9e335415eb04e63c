//! While a technician watches, a device is looked at every second; then at its own pace again.

use firstline_tests::browser::{self, Browser};
use firstline_tests::needs::{self, Need};
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::json;
use std::collections::BTreeSet;

const METRIC: &str = "system.cpu.utilization";

fn seen(device: &serde_json::Value) -> Option<String> {
    let latest = device["latest"].as_array()?;
    Some(latest.iter().find(|one| one["name"] == METRIC)?["observed_at"].to_string())
}

#[test]
fn a_watched_device_is_looked_at_every_second_and_then_at_its_own_pace() {
    let mut collector = Collector::started();
    let agent = Agent::enrolled(&collector).probing(&["cpu", "memory"], "").started();
    collector.wait_for_device(agent.device());
    let rest = collector.rest();
    let path = format!("/api/v1/devices/{}", agent.device());
    let watch = |time: u64| {
        let body = json!({ "seconds": time }).to_string();
        rest.ask("POST", &format!("{path}/live"), &[("content-type", "application/json")], &body)
    };
    until_ok("the device is connected", seconds(30), || {
        let answer = watch(60);
        if answer.status == 202 { Ok(()) } else { Err(answer.body) }
    });
    // At its own pace there are five at most.
    let mut looks = BTreeSet::new();
    until("six looks within seconds", seconds(20), || {
        looks.extend(seen(&rest.get_json(&path)));
        (looks.len() >= 6).then_some(())
    });

    assert_eq!(watch(0).status, 202);
    agent.log().wait("the agent hears that nobody watches any more", seconds(10), |line| {
        line.contains("for_s=0").then_some(())
    });
    // The last look may be on its way, and the probe has an interval of five seconds.
    let (mut after, begun) = (BTreeSet::new(), std::time::Instant::now());
    until("five seconds are over", seconds(10), || {
        after.extend(seen(&rest.get_json(&path)));
        (begun.elapsed().as_secs() >= 5).then_some(())
    });
    assert!(after.len() <= 3, "{after:?}");
}

#[test]
fn the_board_and_the_page_of_a_watched_device_renew_themselves() {
    if !needs::met(&[Need::Program(browser::PROGRAM)]) {
        return;
    }
    let mut collector = Collector::started();
    let agent = Agent::enrolled(&collector).probing(&["cpu", "memory"], "").started();
    collector.wait_for_device(agent.device());
    let origin = format!("https://{}", collector.web());
    let mut browser = Browser::start(&origin);
    browser.sign_in(&collector.setup_link());
    let _ = browser.evaluate(
        "window.first = document.getElementById('board-list'); document.dispatchEvent(new Event('visibilitychange'))",
    );
    until("the board is read again", seconds(20), || {
        (browser.evaluate("window.first !== document.getElementById('board-list')") == true).then_some(())
    });
    browser.open(&format!("{origin}/devices/{}", agent.device()));
    browser.follow("document.querySelector('form[action$=\"/live\"]').requestSubmit()");
    assert!(browser.evaluate("document.getElementById('live').textContent").to_string().contains("Live"));
    browser.keep_picture("live");
    let _ = browser.evaluate("window.first = document.getElementById('device-values')");
    until("the page has new values without being loaded again", seconds(20), || {
        (browser.evaluate("window.first !== document.getElementById('device-values')") == true).then_some(())
    });
    browser.follow("document.querySelector('form[action$=\"/live\"]').requestSubmit()");
    assert_eq!(browser.evaluate("document.getElementById('live') === null"), true);
    assert_eq!(browser.misdeeds(), Vec::<String>::new());
}
