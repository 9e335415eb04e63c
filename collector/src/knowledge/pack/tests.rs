//! What the built-in entries make of a device's day: which tickets, in which words, with what ruled out.

use super::super::set;
use firstline_collector_core::desk::{DeskContext, DeskOutcome, decide};
use firstline_collector_core::evaluate::{advance, observe};
use firstline_collector_core::finding::DeviceState;
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::sla::Calendar;
use firstline_collector_core::ticket::Ticket;
use firstline_model::{
    Attributes, Body, Component, DeviceId, DiagnosticOutcome, DiagnosticReport, Observation, TicketId,
    Timestamp, Value,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A device, the pack, and the tickets that come of it.
struct Day {
    knowledge: Arc<KnowledgeSet>,
    device: DeviceTraits,
    state: DeviceState,
    tickets: BTreeMap<TicketId, Ticket>,
    suppressed: Vec<String>,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

impl Day {
    fn new() -> Self {
        let device = DeviceId::new("pc-017").unwrap();
        Self {
            knowledge: set::judge(&[]).loaded.unwrap().set,
            device: DeviceTraits { device, site: None, tags: Vec::new(), device_class: None },
            state: DeviceState::default(),
            tickets: BTreeMap::new(),
            suppressed: Vec::new(),
        }
    }

    fn sample(
        &mut self,
        t: i64,
        component: &str,
        metric: &'static str,
        attributes: &[(&str, &str)],
        value: f64,
    ) {
        let attributes: Attributes =
            attributes.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let body = Body::Sample { metric: metric.into(), attributes, value };
        self.seen(t, component, body);
    }

    fn seen(&mut self, t: i64, component: &str, body: Body) {
        let component: Component = component.parse().unwrap();
        let observation = Observation { component, observed_at: at(t), body };
        let mut transitions = Vec::new();
        advance(&self.knowledge, &self.device, &mut self.state, at(t), &mut transitions);
        observe(&self.knowledge, &self.device, &mut self.state, &observation, Vec::new(), &mut transitions);
        self.decide(t, &transitions, &[]);
    }

    fn decide(
        &mut self,
        t: i64,
        transitions: &[firstline_collector_core::evaluate::Transition],
        reports: &[DiagnosticReport],
    ) {
        let tickets: Vec<Ticket> = self.tickets.values().cloned().collect();
        let mut next = u64::try_from(tickets.len()).unwrap();
        let context = DeskContext {
            now: at(t),
            knowledge: &self.knowledge,
            device: &self.device,
            hostname: "pc-017",
            state: &self.state,
            tickets: &tickets,
            recent_changes: &[],
            calendar: Calendar::default(),
        };
        let DeskOutcome { tickets, suppressions, .. } = decide(&context, transitions, reports, &mut || {
            next += 1;
            TicketId(next)
        });
        self.tickets.extend(tickets.into_iter().map(|ticket| (ticket.id, ticket)));
        self.suppressed.extend(suppressions.iter().map(|one| format!("{}: {}", one.rule, one.reason)));
    }

    fn answer(&mut self, t: i64, name: &str, outcome: DiagnosticOutcome, facts: Value) {
        let asked = self.tickets.values().flat_map(|ticket| &ticket.tested);
        let request_id =
            asked.filter(|test| test.diagnostic == name).map(|test| test.request_id.clone()).next();
        let report = DiagnosticReport {
            request_id: request_id.unwrap_or_else(|| panic!("{name} was not asked for")),
            name: name.to_owned(),
            subject: String::new(),
            outcome,
            summary: String::new(),
            facts,
            finished_at: at(t),
            took_ms: 5,
        };
        self.decide(t, &[], &[report]);
    }

    fn only_ticket(&self) -> &Ticket {
        let titles: Vec<&str> = self.tickets.values().map(|ticket| ticket.title.as_str()).collect();
        assert_eq!(titles.len(), 1, "{titles:?}");
        self.tickets.values().next().unwrap()
    }
}

#[test]
fn a_jam_on_a_stopped_printer_is_one_ticket_in_plain_words() {
    let mut day = Day::new();
    for minute in 0..20 {
        let t = minute * 60;
        let printer = "printer/finance-2";
        let jam = [("keyword", "media-jam"), ("severity", "error"), ("printer", "finance-2")];
        day.sample(t, printer, "endpoint.printer.state", &[("printer", "finance-2")], 5.0);
        day.sample(t, printer, "endpoint.printer.state_reason", &jam, 1.0);
        day.sample(t, printer, "endpoint.printer.reachable", &[("printer", "finance-2")], 1.0);
    }
    let ticket = day.only_ticket();
    assert_eq!(ticket.title, "Printer finance-2: paper is jammed");
    assert!(
        ticket.summary.starts_with("Paper is jammed in the printer. Your print jobs"),
        "{}",
        ticket.summary
    );
    assert!(ticket.steps[0].contains("pull the paper out"), "{:?}", ticket.steps);
    assert_eq!((ticket.priority.0, ticket.rule.as_ref().unwrap().as_str()), (4, "prn.error"));
    assert!(
        day.suppressed.iter().any(|one| one.starts_with("prn.stopped: hidden by prn.error")),
        "{:?}",
        day.suppressed
    );
}

#[test]
fn an_empty_printer_that_stops_is_one_ticket() {
    let mut day = Day::new();
    for minute in 0..20 {
        let reason = [("keyword", "toner-empty"), ("severity", "error")];
        day.sample(minute * 60, "printer/finance-2", "endpoint.printer.state", &[], 5.0);
        day.sample(minute * 60, "printer/finance-2", "endpoint.printer.state_reason", &reason, 1.0);
    }
    assert_eq!(day.only_ticket().title, "Printer finance-2: toner is used up");
}

#[test]
fn a_dead_resolver_rules_out_link_address_and_gateway() {
    let mut day = Day::new();
    for look in 0..4 {
        let said = [("server", "192.0.2.53"), ("rcode", "timeout")];
        day.sample(look * 30, "dns_server/192.0.2.53", "endpoint.dns.lookup.duration", &said, 2.0);
    }
    let truth = |name: &'static str, truth: bool| Value::map([(name, Value::from(truth))]);
    day.answer(100, "link", DiagnosticOutcome::Ok, truth("default_route", true));
    day.answer(101, "gateway", DiagnosticOutcome::Ok, truth("reachable", true));
    let none = Value::map([("asked", Value::from(1.0)), ("answering", Value::from(0.0))]);
    day.answer(102, "dns_servers", DiagnosticOutcome::Problem, none);
    let ticket = day.only_ticket();
    assert_eq!(
        ticket.title,
        "Web addresses cannot be looked up: DNS server 192.0.2.53 does not answer properly (timeout)"
    );
    assert_eq!(ticket.priority.0, 3);
    for out in ["Link:", "Address:", "Gateway:"] {
        assert!(
            ticket.ruled_out.iter().any(|one| one.cause.starts_with(out)),
            "{out} {:?}",
            ticket.ruled_out
        );
    }
    let likely = ticket.likely_cause.as_deref().unwrap();
    assert!(likely.starts_with("None of the configured DNS servers answers"), "{likely}");
}

#[test]
fn a_dead_gateway_hides_the_names_that_cannot_be_looked_up() {
    let mut day = Day::new();
    for look in 0..20 {
        let t = look * 15;
        day.sample(t, "gateway/192.0.2.1", "endpoint.network.gateway.reachable", &[], 0.0);
        let said = [("server", "192.0.2.53"), ("rcode", "timeout")];
        day.sample(t, "dns_server/192.0.2.53", "endpoint.dns.lookup.duration", &said, 2.0);
    }
    assert_eq!(day.only_ticket().title, "The computer cannot reach its router (192.0.2.1)");
}

#[test]
fn a_failed_service_is_named_with_its_exit_code() {
    let mut day = Day::new();
    for minute in 0..7 {
        let document = Value::map([
            ("active_state", Value::from("failed")),
            ("result", Value::from("exit-code")),
            ("exit_status", Value::from(3.0)),
        ]);
        day.seen(minute * 60, "service/backup", Body::State { name: "service".into(), document });
        let failed = [("name", "backup"), ("state", "failed")];
        day.sample(minute * 60, "service/backup", "endpoint.service.state", &failed, 1.0);
    }
    assert_eq!(day.only_ticket().title, "The backup service has stopped and did not restart (exit-code 3)");
}

#[test]
fn priorities_are_those_of_the_catalogue() {
    let priority = |component: &str, metric: &'static str, attributes: &[(&str, &str)], value: f64| {
        let mut day = Day::new();
        for minute in 0..30 {
            day.sample(minute * 60, component, metric, attributes, value);
        }
        day.only_ticket().priority.0
    };
    assert_eq!(priority("filesystem/C:", "system.filesystem.utilization", &[], 0.95), 4);
    assert_eq!(priority("filesystem/C:", "endpoint.filesystem.readonly_unexpected", &[], 1.0), 2);
    assert_eq!(priority("gateway/192.0.2.1", "endpoint.network.gateway.reachable", &[], 0.0), 3);
    assert_eq!(priority("printer/a", "endpoint.printer.reachable", &[], 0.0), 4);
    assert_eq!(priority("printer/a", "endpoint.printer.state", &[], 5.0), 4);
    assert_eq!(priority("physical_disk/S1", "hw.status", &[("hw.state", "predicted_failure")], 1.0), 3);
    assert_eq!(
        priority("service/cups", "endpoint.service.state", &[("name", "cups"), ("state", "failed")], 1.0),
        3
    );
}
