//! Printers that jam, run out of toner and fall silent, as they say over IPP and over SNMP.

use super::{is_resolved, is_worked};
use firstline_tests::needs::{self, Need};
use firstline_tests::office::Office;
use firstline_tests::printer::{self, PrintServer, QUEUE};
use firstline_tests::snmp::{self, SnmpPrinter};
use firstline_tests::wait::{never, seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;

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
fn a_jam_that_is_known_over_snmp_only_is_the_same_ticket_and_silence_is_no_recovery() {
    let needs = printer::PROGRAMS.iter().chain(snmp::PROGRAMS).map(|name| Need::Program(name));
    if !needs::met(&needs.chain([Need::Root, Need::Program("ip")]).collect::<Vec<_>>()) {
        return;
    }
    let office = Office::opened();
    let printing = PrintServer::started(&office);
    let mut device = SnmpPrinter::started(&office);
    let mut collector = Collector::prepared()
        .listening_on(office.gateway())
        .overriding("prn.error", "for = \"5s\"\nclear = { for = \"3s\" }");
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

    device.falls_silent();
    until("what is wrong is not known any more", seconds(60), || {
        let reasons = latest(&mut collector, &agent, "endpoint.printer.state_reason", QUEUE);
        reasons.iter().any(|one| one["unavailable"] == "timed_out").then_some(())
    });
    // Longer than a recovery would have to last.
    never("silence resolves a ticket", seconds(7), || {
        let now = collector.ticket("prn.error", "is there", seconds(1), |_| true);
        is_resolved(&now).then(|| format!("{now:#}"))
    });

    device.answers_again();
    let resolved = collector.ticket("prn.error", "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}

#[test]
fn toner_that_is_used_up_by_snmp_is_a_ticket_of_the_queue_and_a_new_cartridge_resolves_it() {
    let needs = printer::PROGRAMS.iter().chain(snmp::PROGRAMS).map(|name| Need::Program(name));
    if !needs::met(&needs.chain([Need::Root, Need::Program("ip")]).collect::<Vec<_>>()) {
        return;
    }
    let office = Office::opened();
    let printing = PrintServer::started(&office);
    printing.adds_an_encrypted_queue("warehouse");
    let device = SnmpPrinter::started(&office);
    let mut collector = Collector::prepared()
        .listening_on(office.gateway())
        .overriding("prn.supply_empty", "for = \"5s\"\nclear = { for = \"3s\" }");
    collector.start();
    let overrides = format!("{}{}", printing.overrides(), device.overrides());
    let agent = Agent::enrolled(&collector).in_office(&office).probing(&["printer"], &overrides).started();
    collector.wait_for_device(agent.device());
    // A printer that is asked over IPP says its UUID, the same one by SNMP its serial number.
    until_ok("each queue leads to a printer that is known", seconds(60), || {
        let device = collector.rest().get_json(&format!("/api/v1/devices/{}", agent.device()));
        let printers = &device["facts"]["printers"];
        let starts =
            |queue: &str, with: &str| printers[queue].as_str().is_some_and(|text| text.starts_with(with));
        let is_known = starts(QUEUE, "uuid:") && printers["warehouse"] == "serial:SN-4711";
        if is_known { Ok(()) } else { Err(device["facts"].to_string()) }
    });
    device.runs_out();

    let ticket = collector.ticket("prn.supply_empty", "is worked", seconds(60), is_worked);
    assert_eq!(ticket["component"]["id"], "warehouse");
    let title = ticket["title"].as_str().unwrap();
    assert!(title.starts_with("Printer warehouse") && title.contains("Black Toner"), "{title}");

    device.is_refilled();
    let resolved = collector.ticket("prn.supply_empty", "is resolved", seconds(60), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}

fn latest(collector: &mut Collector, agent: &Agent, name: &str, component: &str) -> Vec<Json> {
    let device = collector.rest().get_json(&format!("/api/v1/devices/{}", agent.device()));
    let all = device["latest"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|one| one["name"] == name && one["component"]["id"] == component).collect()
}
