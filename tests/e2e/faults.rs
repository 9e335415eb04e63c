//! Real faults become one worked ticket each, and their end resolves it.

mod kernel;

use firstline_tests::disk::SmallDisk;
use firstline_tests::dns::DnsServer;
use firstline_tests::needs::{self, Need};
use firstline_tests::office::Office;
use firstline_tests::printer::{self, PrintServer};
use firstline_tests::snmp::{self, SnmpPrinter};
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;

const QUICK_SPACE: &str = "for = \"5s\"\nclear = { below = 0.8, for = \"5s\" }";

fn is_worked(ticket: &Json) -> bool {
    let tested = ticket["tested"].as_array();
    tested.is_some_and(|tests| !tests.is_empty() && tests.iter().all(|test| test["outcome"].is_string()))
}

fn is_resolved(ticket: &Json) -> bool {
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

#[test]
fn a_silent_resolver_becomes_one_ticket_that_rules_link_address_and_gateway_out() {
    if !needs::met(&[Need::Root, Need::Program("ip")]) {
        return;
    }
    let office = Office::opened();
    let dns = DnsServer::started(office.gateway());
    let mut collector = Collector::prepared()
        .listening_on(office.gateway())
        .overriding("net.dns", "for = \"8s\"\nclear = { for = \"5s\" }");
    collector.start();
    let agent =
        Agent::enrolled(&collector).in_office(&office).probing(&["network"], &dns.overrides()).started();
    collector.wait_for_device(agent.device());
    until("the agent asks its resolver", seconds(30), || (dns.asked() > 0).then_some(()));
    dns.stop();

    let ticket = collector.ticket("net.dns", "is worked", seconds(90), is_worked);
    assert_eq!(ticket["component"]["id"], office.gateway().to_string());
    let ruled_out = ticket["ruled_out"].to_string();
    for cause in ["Link", "Address", "Gateway"] {
        assert!(ruled_out.contains(cause), "{cause} is not ruled out: {ticket:#}");
    }
    assert!(ticket["likely_cause"].to_string().contains("DNS"), "{}", ticket["likely_cause"]);

    dns.start();
    let resolved = collector.ticket("net.dns", "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}

#[test]
fn a_paper_jam_becomes_one_ticket_in_plain_words_and_a_cleared_one_resolves_it() {
    let needs = printer::PROGRAMS.iter().map(|name| Need::Program(name));
    if !needs::met(&needs.chain([Need::Root, Need::Program("ip")]).collect::<Vec<_>>()) {
        return;
    }
    let office = Office::opened();
    let printing = PrintServer::started(&office);
    let mut collector = Collector::prepared()
        .listening_on(office.gateway())
        .overriding("prn.error", "for = \"5s\"\nclear = { for = \"5s\" }");
    collector.start();
    let agent =
        Agent::enrolled(&collector).in_office(&office).probing(&["printer"], &printing.overrides()).started();
    collector.wait_for_device(agent.device());
    let jam = printing.print_and_jam();

    let ticket = collector.ticket("prn.error", "is worked", seconds(60), is_worked);
    assert_eq!(ticket["component"]["kind"], "printer");
    let title = ticket["title"].as_str().unwrap();
    assert!(title.contains("paper is jammed"), "{title}");
    let summary = ticket["summary"].as_str().unwrap();
    assert!(summary.contains("Paper is jammed") && !summary.contains("media-jam"), "{summary}");
    assert!(ticket["steps"].to_string().contains("pull the paper out"), "{}", ticket["steps"]);
    assert!(ticket["likely_cause"].to_string().contains("jammed"), "{ticket:#}");
    let all = collector.rest().get_json("/api/v1/tickets");
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all:#}");

    jam.clear();
    let resolved = collector.ticket("prn.error", "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}

#[test]
fn a_jam_that_is_known_over_snmp_only_is_the_same_ticket() {
    let needs = printer::PROGRAMS.iter().chain(snmp::PROGRAMS).map(|name| Need::Program(name));
    if !needs::met(&needs.chain([Need::Root, Need::Program("ip")]).collect::<Vec<_>>()) {
        return;
    }
    let office = Office::opened();
    let printing = PrintServer::started(&office);
    let device = SnmpPrinter::started(&office);
    let mut collector = Collector::prepared()
        .listening_on(office.gateway())
        .overriding("prn.error", "for = \"5s\"\nclear = { for = \"5s\" }");
    collector.start();
    let overrides = format!("{}{}", printing.overrides(), device.overrides());
    let agent = Agent::enrolled(&collector).in_office(&office).probing(&["printer"], &overrides).started();
    collector.wait_for_device(agent.device());
    device.jams();

    let ticket = collector.ticket("prn.error", "is worked", seconds(60), is_worked);
    let title = ticket["title"].as_str().unwrap();
    assert!(title.contains("paper is jammed"), "{title}");
    let all = collector.rest().get_json("/api/v1/tickets");
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all:#}");

    device.recovers();
    let resolved = collector.ticket("prn.error", "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}
