//! Tickets and findings to read, and tickets that people change.

use crate::fixtures::{at, audit, enrolled, every_engine, finding, id, line, moved, plan, rule, ticket};
use firstline_collector_core::finding::Phase;
use firstline_collector_core::ticket::{Priority, Ticket, TicketState};
use firstline_collector_store::plan::DevicePlan;
use firstline_collector_store::record::{DeviceStatus, Page, PageOf, TicketFilter};
use firstline_collector_store::{Store, StoreError};
use firstline_model::{DeviceId, TicketId};

fn numbers(page: &PageOf<Ticket>) -> Vec<u64> {
    page.rows.iter().map(|ticket| ticket.id.0).collect()
}

async fn keep(store: &dyn Store, device: &DeviceId, tickets: Vec<Ticket>) {
    store.commit(plan([DevicePlan { tickets, ..DevicePlan::unchanged(device.clone()) }])).await.unwrap();
}

fn queued(number: u64, device: &DeviceId, priority: u8, due: Option<i64>) -> Ticket {
    let part = format!("filesystem/{number}");
    Ticket {
        priority: Priority(priority),
        resolution_due: due.map(at),
        ..ticket(number, Some(device), "fs.space", &part)
    }
}

#[tokio::test]
async fn the_queue_goes_by_priority_then_due_time_then_number() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let tickets = vec![
            queued(1, &pc, 3, Some(5)),
            queued(2, &pc, 1, None),
            queued(3, &pc, 1, Some(9)),
            queued(4, &pc, 3, Some(5)),
            queued(5, &pc, 1, Some(8)),
        ];
        keep(store, &pc, tickets).await;
        let all = store.tickets(&TicketFilter::default(), &Page::first(500)).await.unwrap();
        assert_eq!(numbers(&all), [5, 3, 2, 1, 4], "{}", subject.name);
        assert_eq!(all.next, None, "{}", subject.name);
    }
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_when_tickets_come_in_between() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        keep(store, &pc, (1..=7).map(|n| queued(n * 10, &pc, 3, None)).collect()).await;
        let filter = TicketFilter::default();
        let mut page = store.tickets(&filter, &Page::first(3)).await.unwrap();
        let mut seen = numbers(&page);
        let mut new = 1;
        while let Some(after) = page.next {
            // One before the place where we are, one after it.
            keep(store, &pc, vec![queued(new, &pc, 1, None), queued(100 + new, &pc, 5, None)]).await;
            new += 1;
            page = store.tickets(&filter, &Page { limit: 3, after: Some(after) }).await.unwrap();
            seen.extend(numbers(&page));
        }
        let old: Vec<u64> = seen.iter().copied().filter(|n| n % 10 == 0 && *n < 100).collect();
        assert_eq!(old, [10, 20, 30, 40, 50, 60, 70], "{}: {seen:?}", subject.name);
        let mut once = seen.clone();
        once.dedup();
        assert_eq!(once, seen, "{}", subject.name);
    }
}

#[tokio::test]
async fn made_up_cursors_are_refused() {
    for subject in every_engine() {
        for bad in ["", "x", "7b7d", "[1,2,3]", "' OR 1"] {
            let page = Page { limit: 10, after: Some(bad.to_owned()) };
            let tickets = subject.store.tickets(&TicketFilter::default(), &page).await;
            assert!(matches!(tickets, Err(StoreError::Invalid { .. })), "{}: {bad:?}", subject.name);
            let devices = subject.store.devices(&Default::default(), &page).await;
            assert!(matches!(devices, Err(StoreError::Invalid { .. })), "{}: {bad:?}", subject.name);
            let log = subject.store.audit(&page).await;
            assert!(matches!(log, Err(StoreError::Invalid { .. })), "{}: {bad:?}", subject.name);
        }
    }
}

#[tokio::test]
async fn tickets_are_filtered_by_every_part_of_the_filter() {
    for subject in every_engine() {
        let store = &*subject.store;
        let (pc, mac) = (enrolled(store, "pc", None).await, enrolled(store, "mac", None).await);
        let one = ticket(1, Some(&pc), "fs.space", "filesystem/C:");
        let two = Ticket {
            site: None,
            title: "100%_full".to_owned(),
            ..ticket(2, Some(&mac), "prn.jam", "printer/p")
        };
        let three =
            Ticket { summary: "Nobody reaches OSLO".to_owned(), ..ticket(3, None, "net.site", "site/oslo") };
        let done = moved(&three, TicketState::Resolved);
        keep(store, &pc, vec![one, two, three, done]).await;
        let all = TicketFilter::default();
        let text = |text: &str| TicketFilter { text: Some(text.to_owned()), ..TicketFilter::default() };
        let cases = [
            (all.clone(), vec![1, 2, 3]),
            (TicketFilter { states: vec![TicketState::New, TicketState::OnHold], ..all.clone() }, vec![1, 2]),
            (TicketFilter { states: vec![TicketState::Resolved], ..all.clone() }, vec![3]),
            (TicketFilter { device: Some(mac), ..all.clone() }, vec![2]),
            (TicketFilter { rule: Some(rule("net.site")), ..all.clone() }, vec![3]),
            (TicketFilter { site: Some("oslo".to_owned()), ..all.clone() }, vec![1, 3]),
            (TicketFilter { site: Some("oslo".to_owned()), rule: Some(rule("prn.jam")), ..all }, vec![]),
            (text("oslo"), vec![3]),
            (text("MAC.example"), vec![2]),
            (text("0%_f"), vec![2]),
            (text("%_%"), vec![]),
            (text(""), vec![1, 2, 3]),
        ];
        for (filter, expected) in cases {
            let page = store.tickets(&filter, &Page::first(10)).await.unwrap();
            assert_eq!(numbers(&page), expected, "{}: {filter:?}", subject.name);
        }
    }
}

#[tokio::test]
async fn a_person_cannot_save_over_somebody_elses_change() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let first = ticket(1, Some(&pc), "fs.space", "filesystem/C:");
        store.save_ticket(&first, &[line(1, "opened")], &audit("ticket.open")).await.unwrap();
        let mine = moved(&first, TicketState::Assigned);
        let theirs = moved(&first, TicketState::Cancelled);
        store.save_ticket(&mine, &[line(1, "state")], &audit("ticket.assign")).await.unwrap();
        let late = store.save_ticket(&theirs, &[line(1, "note")], &audit("ticket.cancel")).await;
        assert!(matches!(late, Err(StoreError::Conflict { .. })), "{}", subject.name);
        assert_eq!(store.ticket(TicketId(1)).await.unwrap(), Some(mine), "{}", subject.name);
        assert_eq!(
            store.timeline(TicketId(1)).await.unwrap(),
            [line(1, "opened"), line(1, "state")],
            "{}",
            subject.name
        );
        assert_eq!(
            store.audit(&Page::first(1)).await.unwrap().rows,
            [audit("ticket.assign")],
            "{}",
            subject.name
        );
        assert_eq!(store.ticket(TicketId(u64::MAX)).await.unwrap(), None, "{}", subject.name);
    }
}

#[tokio::test]
async fn findings_come_newest_first_without_those_that_are_over() {
    for subject in every_engine() {
        let store = &*subject.store;
        let (pc, mac) = (enrolled(store, "pc", Some("oslo")).await, enrolled(store, "mac", None).await);
        let mine = vec![
            finding("a.old", "os/0", Phase::Firing, 1),
            finding("a.new", "os/0", Phase::Pending, 3),
            finding("a.over", "os/0", Phase::Cleared, 4),
        ];
        let parts = [
            DevicePlan { findings: mine, ..DevicePlan::unchanged(pc.clone()) },
            DevicePlan {
                findings: vec![finding("a.mid", "os/0", Phase::Clearing, 2)],
                ..DevicePlan::unchanged(mac.clone())
            },
        ];
        store.commit(plan(parts)).await.unwrap();
        let rules = async |device: Option<&DeviceId>, site: Option<&str>| {
            let found = store.findings(device, site).await.unwrap();
            found.iter().map(|one| format!("{} {}", one.hostname, one.finding.rule)).collect::<Vec<_>>()
        };
        let all = ["pc.example a.new", "mac.example a.mid", "pc.example a.old"];
        assert_eq!(rules(None, None).await, all, "{}", subject.name);
        assert_eq!(rules(Some(&mac), None).await, [all[1]], "{}", subject.name);
        assert_eq!(rules(None, Some("oslo")).await, [all[0], all[2]], "{}", subject.name);
        assert!(rules(Some(&mac), Some("oslo")).await.is_empty(), "{}", subject.name);
        assert_eq!(store.totals().await.unwrap().firing, 2, "{}", subject.name);
    }
}

#[tokio::test]
async fn totals_count_every_status_and_state() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        enrolled(store, "old", None).await;
        store.set_device_status(&id("old"), DeviceStatus::Retired, &audit("x")).await.unwrap();
        let first = ticket(1, Some(&pc), "fs.space", "filesystem/C:");
        keep(store, &pc, vec![first, ticket(2, Some(&pc), "fs.space", "filesystem/D:")]).await;
        let totals = store.totals().await.unwrap();
        let devices = |status| totals.devices.iter().find(|(known, _)| *known == status).unwrap().1;
        assert_eq!(
            (devices(DeviceStatus::Active), devices(DeviceStatus::Retired)),
            (1, 1),
            "{}",
            subject.name
        );
        assert_eq!(devices(DeviceStatus::Revoked), 0, "{}", subject.name);
        let tickets = |state| totals.tickets.iter().find(|(known, _)| *known == state).unwrap().1;
        assert_eq!((tickets(TicketState::New), tickets(TicketState::Closed)), (2, 0), "{}", subject.name);
        assert_eq!(totals.records, 0, "{}", subject.name);
    }
}
