//! Clocks that are off by years, on both sides, while both programs run: tickets are those of right clocks, and one more
//! says that the device's clock is wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot read an answer has failed")]

use firstline_tests::database::{number, stored};
use firstline_tests::disk::SmallDisk;
use firstline_tests::fake_clock::{self, FakeClock};
use firstline_tests::link::Link;
use firstline_tests::needs::{self, Need};
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TEN_YEARS: i64 = 3652;
const SPACE: &str = "for = \"5s\"\nclear = { below = 0.8, for = \"5s\" }";
const OFFSET: &str = "for = \"5s\"\nclear = { unless = { any = [{ metric = \"endpoint.time.offset\", above = 30 }, \
                      { metric = \"endpoint.time.offset\", below = -30 }] }, for = \"5s\" }";

fn is_there(_: &Json) -> bool {
    true
}

fn is_resolved(ticket: &Json) -> bool {
    ticket["state"] == "resolved"
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Seconds since 1970 of a moment that REST gives.
fn moment(ticket: &Json, name: &str) -> f64 {
    let text = ticket[name].as_str().unwrap_or_else(|| panic!("{name} of {ticket:#}"));
    let at: jiff::Timestamp = text.parse().unwrap();
    Duration::from_millis(u64::try_from(at.as_millisecond()).unwrap()).as_secs_f64()
}

/// What a fault and its end leave behind: the tickets as (rule, state), and how long the hold was.
struct Outcome {
    tickets: Vec<(String, String)>,
    held: f64,
    restarted_on_wrong_clocks: bool,
}

/// A collector that agents find again when it was started anew, and an agent of it.
fn office(collector: &Collector) -> (Link, Agent) {
    let link = Link::to(collector.agents());
    let agent = Agent::enrolled_at(&collector.enrollment_url(&["--host", &link.address().to_string()]));
    (link, agent.probing(&["filesystem"], ""))
}

fn restart(collector: &mut Collector, link: &Link) {
    collector.start();
    link.lead_to(collector.agents());
}

/// A disk fills and is emptied; on the way both programs are started again.
fn a_fault_and_its_end(
    collector: &mut Collector,
    agent: &mut Agent,
    link: &Link,
    wrong: Option<(&FakeClock, &FakeClock)>,
) -> Outcome {
    let disk = SmallDisk::mounted(8);
    let place = disk.path().to_str().unwrap().to_owned();
    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let start = now();
    disk.fill();
    let ticket = collector.ticket_where("fs.space", is_ours, "is there", seconds(60), is_there);
    let (opened, first) = (moment(&ticket, "opened_at"), moment(&ticket, "first_observed_at"));
    for at in [opened, first] {
        assert!(start - 2.0 <= at && at <= now() + 2.0, "{at} is not between {start} and {}", now());
    }

    // Both come back while their clocks are wrong: TLS connects, and each goes on in its own time.
    agent.stop();
    collector.stop();
    if let Some((of_agent, of_collector)) = wrong {
        of_agent.turn(-TEN_YEARS);
        of_collector.turn(TEN_YEARS);
    }
    restart(collector, link);
    agent.start();
    collector.wait_for_device(agent.device());

    disk.empty();
    let resolved = collector.ticket_where("fs.space", is_ours, "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
    let resolved_at = moment(&resolved, "resolved_at");
    assert!(start <= resolved_at && resolved_at <= now() + 2.0, "resolved at {resolved_at}");
    let found = collector.rest().get_json(&format!("/api/v1/tickets?device={}", agent.device()));
    let text = |ticket: &Json, name: &str| ticket[name].as_str().unwrap().to_owned();
    let ours = |ticket: &&Json| ticket["rule"] == "time.offset" || is_ours(ticket);
    let mut tickets: Vec<(String, String)> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(ours)
        .map(|ticket| (text(ticket, "rule"), text(ticket, "state")))
        .collect();
    tickets.sort();
    Outcome { tickets, held: opened - first, restarted_on_wrong_clocks: wrong.is_some() }
}

/// No number is missing and none was stored under another.
fn assert_nothing_is_lost(collector: &Collector, device: &str) {
    let mut of_epoch = std::collections::BTreeMap::<_, Vec<u64>>::new();
    for ((epoch, seq), _) in stored(&collector.database(), device) {
        of_epoch.entry(epoch).or_default().push(seq);
    }
    assert_eq!(of_epoch.len(), 2, "the agent lived twice");
    for numbers in of_epoch.values() {
        assert_eq!(*numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn r20_tickets_of_machines_whose_clocks_jump_by_ten_years_are_those_of_right_clocks() {
    if !needs::met(&[Need::Root]) || !fake_clock::is_there() {
        return;
    }
    let prepared = || Collector::prepared().overriding("fs.space", SPACE).overriding("time.offset", OFFSET);
    let right = {
        let mut collector = prepared();
        collector.start();
        let (link, mut agent) = office(&collector);
        agent.start();
        collector.wait_for_device(agent.device());
        a_fault_and_its_end(&mut collector, &mut agent, &link, None)
    };
    assert_eq!(right.tickets, [("fs.space".to_owned(), "resolved".to_owned())]);

    let (of_agent, of_collector) = (FakeClock::right(), FakeClock::right());
    let mut collector = prepared().with_clock(&of_collector);
    collector.start();
    let (link, agent) = office(&collector);
    let mut agent = agent.with_clock(&of_agent);
    let jumping = (
        of_agent.jumping(seconds(3), &[TEN_YEARS, -TEN_YEARS, 0]),
        of_collector.jumping(seconds(5), &[-TEN_YEARS, TEN_YEARS]),
    );
    agent.start();
    collector.wait_for_device(agent.device());
    let wrong = a_fault_and_its_end(&mut collector, &mut agent, &link, Some((&of_agent, &of_collector)));
    assert!(wrong.restarted_on_wrong_clocks);
    assert!((right.held - wrong.held).abs() < 6.0, "held {} and {} seconds", right.held, wrong.held);

    // One more ticket, and what came meanwhile is marked.
    let clock = collector.ticket("time.offset", "is there", seconds(60), is_there);
    assert_eq!(clock["device"]["id"], agent.device());
    let others: Vec<_> = wrong.tickets.iter().filter(|(rule, _)| rule != "time.offset").cloned().collect();
    assert_eq!(others, right.tickets);
    let rest = collector.rest();
    until_ok("a value is marked as of a suspect clock", seconds(30), || {
        let device = rest.get_json(&format!("/api/v1/devices/{}", agent.device()));
        let marked = device["latest"].as_array().unwrap().iter().any(|value| value["clock_suspect"] == true);
        if marked { Ok(()) } else { Err(device["latest"].to_string()) }
    });
    let marked = "SELECT count(*) FROM record WHERE clock_suspect";
    assert!(number(&collector.database(), marked) > 0);
    assert_nothing_is_lost(&collector, agent.device());

    // The clocks are right again. A collector that was started anew does not remember the jumps.
    drop(jumping);
    collector.stop();
    restart(&mut collector, &link);
    let resolved = collector.ticket("time.offset", "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], clock["id"]);
    until("values are no longer marked", seconds(30), || {
        let device = collector.rest().get_json(&format!("/api/v1/devices/{}", agent.device()));
        let is_marked = |value: &Json| {
            value["clock_suspect"] == true
                && value["name"] == "system.filesystem.utilization"
                && value["component"]["id"] == "/"
        };
        (!device["latest"].as_array().unwrap().iter().any(is_marked)).then_some(())
    });
}
