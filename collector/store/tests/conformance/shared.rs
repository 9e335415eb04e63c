//! What devices share: causes with their Problems, in the same commit as everything else, and who belongs to them.

use crate::fixtures::{at, component, enrolled, every_engine, finding, id, latest, line, plan, rule, ticket};
use firstline_collector_core::finding::{Finding, Phase, Standing};
use firstline_collector_core::fleet::{Attribute, AttributeKind, SharedCause};
use firstline_collector_core::ticket::Ticket;
use firstline_collector_store::plan::{CommitPlan, DevicePlan, SharedPlan};
use firstline_collector_store::record::{LatestContent, Page, TicketFilter};
use firstline_model::{ComponentKind, TicketId, Value};

fn cause(parent: u64, open: bool, ended: Option<i64>) -> SharedCause {
    SharedCause {
        rule: rule("net.site_outage"),
        shared: Attribute { kind: AttributeKind::Switch, value: "sw 3/ü".to_owned() },
        family: "outage net.site_outage".to_owned(),
        parent: TicketId(parent),
        open,
        ended: ended.map(at),
        children: 2,
        silent: vec![id("pc")],
    }
}

#[tokio::test]
async fn a_shared_cause_is_saved_with_its_problem_or_not_at_all() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let problem = ticket(1, None, "net.site_outage", "network/sw");
        let member = Finding {
            standing: Standing::Member(TicketId(1)),
            ..finding("net.gateway", "gateway/192.0.2.1", Phase::Firing, 5)
        };
        let waits = Finding {
            standing: Standing::Waiting(at(9)),
            ..finding("net.dns", "dns_server/192.0.2.53", Phase::Firing, 5)
        };
        let child =
            Ticket { parent: Some(TicketId(1)), ..ticket(2, Some(&pc), "net.link", "network_interface/e") };
        let part = DevicePlan {
            findings: vec![member.clone(), waits.clone()],
            tickets: vec![child.clone()],
            ..DevicePlan::unchanged(pc.clone())
        };
        let shared = SharedPlan {
            causes: vec![cause(1, true, None)],
            tickets: vec![problem.clone()],
            timeline: vec![line(1, "opened")],
        };
        let whole = CommitPlan { devices: vec![part], shared };
        // Another one that cannot be made true: its device is not there.
        let mut impossible = whole.clone();
        impossible.devices.push(DevicePlan::unchanged(id("nobody")));
        assert!(store.commit(impossible).await.is_err(), "{}", subject.name);
        assert_eq!(store.shared_causes(at(0)).await.unwrap(), [], "{}", subject.name);
        assert_eq!(store.ticket(TicketId(1)).await.unwrap(), None, "{}", subject.name);

        store.commit(whole).await.unwrap();
        assert_eq!(store.shared_causes(at(0)).await.unwrap(), [cause(1, true, None)], "{}", subject.name);
        assert_eq!(store.shared_cause(TicketId(1)).await.unwrap(), Some(cause(1, true, None)));
        assert_eq!(store.shared_cause(TicketId(2)).await.unwrap(), None, "{}", subject.name);
        assert_eq!(store.ticket(TicketId(1)).await.unwrap(), Some(problem), "{}", subject.name);
        assert_eq!(store.timeline(TicketId(1)).await.unwrap(), [line(1, "opened")], "{}", subject.name);
        let children = TicketFilter { parent: Some(TicketId(1)), ..TicketFilter::default() };
        let children = store.tickets(&children, &Page::first(500)).await.unwrap().rows;
        assert_eq!(children, [child], "{}", subject.name);
        let members = store.members(TicketId(1)).await.unwrap();
        assert_eq!(members.len(), 1, "{}", subject.name);
        assert_eq!((&members[0].device, &members[0].finding), (&pc, &member), "{}", subject.name);
        let kept = store.findings(Some(&pc), None).await.unwrap();
        assert!(kept.iter().any(|one| one.finding == waits), "{}: {kept:?}", subject.name);
    }
}

#[tokio::test]
async fn a_cause_that_comes_back_is_the_same_one_and_old_ones_are_left_out() {
    for subject in every_engine() {
        let store = &*subject.store;
        let problems =
            vec![ticket(1, None, "net.site_outage", "network/a"), ticket(2, None, "net.dns", "network/b")];
        for (causes, tickets) in
            [(vec![cause(1, true, None)], problems), (vec![cause(2, false, Some(50))], Vec::new())]
        {
            let shared = SharedPlan { causes, tickets, timeline: Vec::new() };
            store.commit(CommitPlan { devices: Vec::new(), shared }).await.unwrap();
        }
        assert_eq!(
            store.shared_causes(at(50)).await.unwrap(),
            [cause(2, false, Some(50))],
            "{}",
            subject.name
        );
        assert_eq!(store.shared_causes(at(51)).await.unwrap(), [], "{}", subject.name);
        assert_eq!(store.shared_cause(TicketId(1)).await.unwrap(), None, "{}", subject.name);
    }
}

#[tokio::test]
async fn who_uses_which_printer_is_known_from_what_was_reported() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let document = || LatestContent::State(Value::from("x"));
        let latest = vec![
            latest("printer/9f2c", "printer", document()),
            latest("printer/9f2c", "jobs", document()),
            latest("dns_server/192.0.2.53", "dns", document()),
            latest("cpu/0", "cpu", document()),
        ];
        let observed = latest[0].observed_at;
        store.commit(plan([DevicePlan { latest, ..DevicePlan::unchanged(pc.clone()) }])).await.unwrap();
        let kinds = [ComponentKind::Printer, ComponentKind::DnsServer];
        let mut parts = store.parts(&kinds, observed).await.unwrap();
        parts.sort();
        let mut expected =
            [(pc.clone(), component("printer/9f2c")), (pc, component("dns_server/192.0.2.53"))];
        expected.sort();
        assert_eq!(parts, expected, "{}", subject.name);
        let later = observed.plus(std::time::Duration::from_millis(1));
        assert_eq!(store.parts(&kinds, later).await.unwrap(), [], "{}", subject.name);
    }
}
