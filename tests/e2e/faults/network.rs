//! What breaks between a desk and the world, layer by layer: each is one ticket with the layer's own name, and its end
//! resolves it.

use super::{is_resolved, is_worked};
use firstline_tests::branch::Branch;
use firstline_tests::dns::DnsServer;
use firstline_tests::needs::{self, Need};
use firstline_tests::portal::Portal;
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;
use std::net::IpAddr;

const NAMESPACES: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("sysctl")];
const LONG: std::time::Duration = seconds(60);

/// A branch office whose agent asks two name servers and a page of the world behind its router.
struct Desk {
    branch: Branch,
    names: [DnsServer; 2],
    portal: Portal,
    collector: Collector,
    agent: Agent,
}

impl Desk {
    /// `begin` is what is so before the agent looks for the first time.
    fn opened(probes: &[&str], rules: &[(&str, &str)], begin: impl FnOnce(&Branch)) -> Self {
        let branch = Branch::opened();
        begin(&branch);
        let world = branch.world();
        let first = DnsServer::started(world[0]);
        let second = first.beside(world[1]);
        let portal = Portal::started(world[0]);
        let mut collector = rules
            .iter()
            .fold(Collector::prepared().listening_on(branch.collector()), |collector, (rule, detect)| {
                collector.overriding(rule, detect)
            });
        collector.start();
        let target = format!("path_target = \"{}\"\n", world[0]);
        let overrides = format!("{}{}{target}", first.overrides(), portal.setting());
        let agent =
            Agent::enrolled(&collector).in_namespace(branch.desk()).probing(probes, &overrides).started();
        collector.wait_for_device(agent.device());
        Self { branch, names: [first, second], portal, collector, agent }
    }

    fn latest(&mut self, name: &str, component: &str) -> Vec<Json> {
        let device = self.collector.rest().get_json(&format!("/api/v1/devices/{}", self.agent.device()));
        let all = device["latest"].as_array().cloned().unwrap_or_default();
        let is_it = |one: &Json| one["name"] == name && one["component"]["id"] == component;
        all.into_iter().filter(is_it).collect()
    }

    /// Waits until the network's one sentence begins like this.
    fn wait_for_verdict(&mut self, beginning: &str) {
        until_ok(&format!("the verdict begins with {beginning:?}"), LONG, || {
            let sentence =
                self.latest("verdict", "0").first().map(|one| one["document"]["sentence"].to_string());
            let sentence = sentence.unwrap_or_default();
            if sentence.trim_matches('"').starts_with(beginning) { Ok(()) } else { Err(sentence) }
        });
    }

    fn tickets(&mut self) -> Vec<Json> {
        self.collector.rest().get_json("/api/v1/tickets")["items"].as_array().cloned().unwrap_or_default()
    }

    /// What a rule asserts, tickets or none.
    fn asserts(&mut self, rule: &str) -> bool {
        let found =
            self.collector.rest().get_json(&format!("/api/v1/findings?device={}", self.agent.device()));
        let all = found["items"].as_array().or(found.as_array()).cloned().unwrap_or_default();
        all.iter().any(|one| one["rule"] == rule && one["phase"] == "firing")
    }

    fn hidden(&mut self, rule: &str) -> Option<String> {
        let found = self.collector.rest().get_json(&format!("/api/v1/suppressions?rule={rule}"));
        found["items"].as_array()?.first()?["reason"].as_str().map(str::to_owned)
    }
}

fn text(address: IpAddr) -> String {
    address.to_string()
}

#[test]
fn a_dead_router_is_one_ticket_and_the_names_and_pages_behind_it_add_none() {
    if !needs::met(NAMESPACES) {
        return;
    }
    let mut desk = Desk::opened(
        &["network", "connectivity", "path"],
        &[
            ("net.gateway", "for = \"8s\"\nclear = { equals = 1, for = \"3s\" }"),
            ("net.dns", "for = \"4s\"\nclear = { for = \"3s\" }"),
        ],
        |_| {},
    );
    let all_is_well =
        "No fault is seen: the link is up, there is an address, the gateway answers, names are looked up.";
    desk.wait_for_verdict(all_is_well);
    desk.branch.router_dies();

    let ticket = desk.collector.ticket("net.gateway", "is worked", LONG, is_worked);
    assert_eq!(ticket["component"]["id"], text(desk.branch.router()));
    assert!(
        ticket["title"].as_str().unwrap().starts_with("The computer cannot reach its router"),
        "{ticket:#}"
    );
    assert!(ticket["likely_cause"].to_string().contains("router, switch or access point"), "{ticket:#}");
    desk.wait_for_verdict("The gateway does not answer; the link is up, there is an address.");
    let hidden = until("the name servers' silence is explained", LONG, || desk.hidden("net.dns"));
    assert_eq!(hidden, "hidden by net.gateway");
    let all = desk.tickets();
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(!desk.asserts("net.captive"));

    desk.branch.router_lives();
    let resolved = desk.collector.ticket("net.gateway", "is resolved", LONG, is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
    desk.wait_for_verdict(all_is_well);
    let all = desk.tickets();
    assert_eq!(all.len(), 1, "{all:#?}");
}

#[test]
fn one_dead_name_server_can_wait_all_of_them_cannot_and_a_sign_in_page_is_a_notice() {
    if !needs::met(NAMESPACES) {
        return;
    }
    let mut desk = Desk::opened(
        &["network", "connectivity"],
        &[("net.dns", "for = \"5s\"\nclear = { for = \"3s\" }"), ("net.captive", "clear = { for = \"3s\" }")],
        |_| {},
    );
    until("both name servers are asked", LONG, || {
        desk.names.iter().all(|server| server.asked() > 0).then_some(())
    });
    desk.names[1].stop();
    let [first, second] = desk.branch.world().map(text);
    let is_the_second = |ticket: &Json| ticket["component"]["id"] == second;
    let one = desk.collector.ticket_where("net.dns", is_the_second, "is worked", LONG, is_worked);
    assert_eq!(one["severity"], "info", "another one answers: {one:#}");
    assert!(one["likely_cause"].to_string().contains("while another one answers"), "{one:#}");
    desk.wait_for_verdict("No fault is seen: the link is up");

    desk.names[0].stop();
    desk.wait_for_verdict(
        "No name server answers; the link is up, there is an address, the gateway answers.",
    );
    let all =
        desk.collector.ticket("net.dns", "is critical", LONG, |ticket| ticket["severity"] == "critical");
    assert_eq!(all["id"], one["id"], "the same fault became worse");
    let ruled_out = one["ruled_out"].to_string();
    for cause in ["Link", "Address", "Gateway"] {
        assert!(ruled_out.contains(cause), "{cause} is not ruled out: {one:#}");
    }
    assert!(desk.latest("endpoint.dns.lookup.duration", &first).iter().any(|one| one["value"].is_number()));
    desk.names.iter().for_each(DnsServer::start);
    let resolved = desk.collector.ticket("net.dns", "is resolved", LONG, is_resolved);
    assert_eq!(resolved["id"], one["id"]);

    desk.portal.stands_in_the_way(true);
    until("the sign-in page is noticed", LONG, || desk.asserts("net.captive").then_some(()));
    let tickets = desk.tickets();
    assert_eq!(tickets.len(), 1, "a sign-in page is for the person at the desk: {tickets:#?}");
    desk.portal.stands_in_the_way(false);
    until("the way is free", LONG, || (!desk.asserts("net.captive")).then_some(()));
}

#[test]
fn packets_that_vanish_for_their_size_or_at_random_are_a_ticket_each() {
    if !needs::met(&[NAMESPACES, &[Need::Program("nft")]].concat()) {
        return;
    }
    let mut desk = Desk::opened(
        &["network", "path"],
        &[
            ("net.mtu", "at_least = \"1 of 1\"\nclear = { for = \"3s\" }"),
            ("net.loss", "for = \"3s\"\nclear = { for = \"3s\" }"),
        ],
        |branch| {
            branch.loses(40);
            branch.narrows(1200);
        },
    );
    let target = text(desk.branch.world()[0]);
    let large = desk.collector.ticket("net.mtu", "is worked", LONG, is_worked);
    assert_eq!(large["title"], format!("Large packets vanish on the way to {target}"));
    let measured = desk.latest("endpoint.network.path_mtu", "0");
    // The kernel lets four bytes more through, the room of a VLAN's tag.
    let value = measured[0]["value"].as_f64().unwrap();
    assert!((1200.0..=1204.0).contains(&value), "{measured:?}");
    let lost = desk.collector.ticket("net.loss", "is worked", LONG, is_worked);
    let title = lost["title"].as_str().unwrap();
    assert!(title.ends_with("of the packets to gateway are lost; calls break up"), "{title}");

    desk.branch.narrows(1500);
    // The agent measures again at once when the way out is another one.
    desk.branch.takes_the_other_way();
    for (rule, ticket) in [("net.mtu", large), ("net.loss", lost)] {
        let resolved = desk.collector.ticket(rule, "is resolved", LONG, is_resolved);
        assert_eq!(resolved["id"], ticket["id"]);
    }
    let all = desk.tickets();
    assert_eq!(all.len(), 2, "{all:#?}");
}
