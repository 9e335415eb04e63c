//! The commit: all or nothing, once, and never backwards.

use crate::fixtures::{
    at, audit, batch, enrolled, every_engine, finding, id, line, mark, moved, plan, record, state, ticket,
};
use firstline_collector_core::finding::Phase;
use firstline_collector_core::ticket::{Effect, TicketState};
use firstline_collector_store::StoreError;
use firstline_collector_store::history::RecordPlace;
use firstline_collector_store::plan::{CommitPlan, DevicePlan};
use firstline_collector_store::record::{Page, PendingDiagnostic};
use firstline_model::{DeviceId, DiagnosticRequest, Epoch, SequenceNumber, TicketId, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

fn is_conflict<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

/// A plan that touches everything a plan can touch.
fn everything(device: &DeviceId, number: u64) -> CommitPlan {
    plan([DevicePlan {
        state: Some(state()),
        findings: vec![
            finding("fs.space", "filesystem/C:", Phase::Firing, 5),
            finding("net.dns", "dns_server/10.0.0.1", Phase::Cleared, 6),
        ],
        tickets: vec![ticket(number, Some(device), "fs.space", "filesystem/C:")],
        timeline: vec![line(number, "opened"), line(number, "a kind nobody has heard of")],
        effects: vec![Effect::RunDiagnostic {
            ticket: TicketId(number),
            device: device.clone(),
            request_id: format!("{number}-1"),
            request: DiagnosticRequest::LargestDirectories { mount_point: "C:\\; rm -rf".to_owned() },
        }],
        audit: vec![audit("ticket.open")],
        ..batch(device, 0, 3)
    }])
}

#[tokio::test]
async fn what_was_committed_comes_back_as_it_was() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let committed = everything(&pc, 1);
        store.commit(committed.clone()).await.unwrap();
        let part = &committed.devices[0];
        let snapshot = store.snapshot(&pc, at(0)).await.unwrap().unwrap();
        assert_eq!(snapshot.marks, [(part.marks[0].epoch, SequenceNumber(3))], "{}", subject.name);
        let mut expected = state();
        for finding in &part.findings {
            expected
                .findings
                .insert((finding.rule.clone(), finding.component.clone()), Box::new(finding.clone()));
        }
        assert_eq!(snapshot.state, expected, "{}", subject.name);
        assert_eq!(snapshot.tickets, part.tickets, "{}", subject.name);
        assert_eq!(store.timeline(TicketId(1)).await.unwrap(), part.timeline, "{}", subject.name);
        assert_eq!(store.totals().await.unwrap().records, 3, "{}", subject.name);
        let pending = store.pending_diagnostics(&pc).await.unwrap();
        assert_eq!(pending.len(), 1, "{}", subject.name);
        let Effect::RunDiagnostic { request, .. } = &part.effects[0];
        assert_eq!(
            (&pending[0].request, pending[0].ticket),
            (request, Some(TicketId(1))),
            "{}",
            subject.name
        );
        assert_eq!(pending[0].created_at, at(100), "{}", subject.name);
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_changes_nothing() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        store.commit(everything(&pc, 1)).await.unwrap();
        let (before, totals) = (store.snapshot(&pc, at(0)).await.unwrap(), store.totals().await.unwrap());
        for _ in 0..20 {
            assert!(is_conflict(&store.commit(everything(&pc, 1)).await), "{}", subject.name);
        }
        // Records alone (a retry after the mark was read again) are inserted or ignored.
        let mut other = record(2);
        other.payload = b"something else".to_vec();
        let again = DevicePlan { records: vec![record(1), other], ..DevicePlan::unchanged(pc.clone()) };
        store.commit(plan([again])).await.unwrap();
        assert_eq!(store.snapshot(&pc, at(0)).await.unwrap(), before, "{}", subject.name);
        assert_eq!(store.totals().await.unwrap(), totals, "{}", subject.name);
        assert_eq!(store.timeline(TicketId(1)).await.unwrap().len(), 2, "{}", subject.name);
        assert_eq!(store.pending_diagnostics(&pc).await.unwrap().len(), 1, "{}", subject.name);
    }
}

#[tokio::test]
async fn a_plan_whose_last_part_conflicts_leaves_nothing() {
    for subject in every_engine() {
        let store = &*subject.store;
        let (one, two) = (enrolled(store, "one", None).await, enrolled(store, "two", None).await);
        store.commit(plan([batch(&two, 0, 5)])).await.unwrap();
        let (before, totals) = (store.snapshot(&one, at(0)).await.unwrap(), store.totals().await.unwrap());
        let log = store.audit(&Page::first(100)).await.unwrap();
        let last_parts = [
            batch(&two, 3, 6),
            batch(&two, 0, 6),
            DevicePlan {
                tickets: vec![moved(&ticket(8, None, "a.b", "site/x"), TicketState::New)],
                ..batch(&two, 5, 6)
            },
            DevicePlan { timeline: vec![line(77, "opened")], ..batch(&two, 5, 6) },
            batch(&id("nobody"), 0, 1),
        ];
        for last in last_parts {
            let mut all = everything(&one, 1);
            all.devices.push(last.clone());
            let result = store.commit(all).await;
            assert!(is_conflict(&result), "{}: {last:?} gave {result:?}", subject.name);
            assert_eq!(store.snapshot(&one, at(0)).await.unwrap(), before, "{}", subject.name);
            assert_eq!(store.totals().await.unwrap(), totals, "{}", subject.name);
            assert_eq!(store.ticket(TicketId(1)).await.unwrap(), None, "{}", subject.name);
            assert!(store.timeline(TicketId(1)).await.unwrap().is_empty(), "{}", subject.name);
            assert!(store.pending_diagnostics(&one).await.unwrap().is_empty(), "{}", subject.name);
            assert_eq!(store.audit(&Page::first(100)).await.unwrap(), log, "{}", subject.name);
        }
        // And the same first part alone is fine.
        store.commit(everything(&one, 1)).await.unwrap();
    }
}

#[tokio::test]
async fn marks_move_only_from_what_is_stored_and_never_backwards() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let with = |mark| plan([DevicePlan { marks: vec![mark], ..DevicePlan::unchanged(pc.clone()) }]);
        store.commit(with(mark(None, 5))).await.unwrap();
        for bad in [mark(None, 9), mark(Some(4), 9), mark(Some(6), 9), mark(Some(5), 4)] {
            assert!(is_conflict(&store.commit(with(bad.clone())).await), "{}: {bad:?}", subject.name);
        }
        store.commit(with(mark(Some(5), 9))).await.unwrap();
        let snapshot = store.snapshot(&pc, at(0)).await.unwrap().unwrap();
        assert_eq!(snapshot.marks[0].1, SequenceNumber(9), "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_commits_on_one_mark_one_wins() {
    for subject in every_engine() {
        let pc = enrolled(&*subject.store, "pc", None).await;
        let racers: Vec<_> = (0..50)
            .map(|_| {
                let (store, plan) = (Arc::clone(&subject.store), everything(&pc, 1));
                tokio::spawn(async move { store.commit(plan).await })
            })
            .collect();
        let mut won = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(()) => won += 1,
                Err(error) => {
                    assert!(matches!(error, StoreError::Conflict { .. }), "{}: {error}", subject.name)
                }
            }
        }
        assert_eq!(won, 1, "{}", subject.name);
        assert_eq!(subject.store.totals().await.unwrap().records, 3, "{}", subject.name);
    }
}

#[tokio::test]
async fn one_fault_has_one_open_ticket() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let other = enrolled(store, "other", None).await;
        let with = |tickets: Vec<_>| plan([DevicePlan { tickets, ..DevicePlan::unchanged(pc.clone()) }]);
        let first = ticket(1, Some(&pc), "fs.space", "filesystem/C:");
        store.commit(with(vec![first.clone()])).await.unwrap();
        let same = ticket(2, Some(&pc), "fs.space", "filesystem/C:");
        assert!(is_conflict(&store.commit(with(vec![same.clone()])).await), "{}", subject.name);
        assert!(is_conflict(&store.save_ticket(&same, &[], &audit("x")).await), "{}", subject.name);
        // Another component, rule or device is another fault.
        let others = vec![
            ticket(3, Some(&pc), "fs.space", "filesystem/D:"),
            ticket(4, Some(&pc), "fs.inodes", "filesystem/C:"),
            ticket(5, Some(&other), "fs.space", "filesystem/C:"),
        ];
        store.commit(with(others)).await.unwrap();
        // The successor may open in the plan that ends the first, in whatever order they stand there.
        let ended = moved(&first, TicketState::Resolved);
        store.commit(with(vec![same.clone(), ended.clone()])).await.unwrap();
        // The first cannot reopen while its successor is open.
        assert!(
            is_conflict(&store.commit(with(vec![moved(&ended, TicketState::New)])).await),
            "{}",
            subject.name
        );
        store.commit(with(vec![moved(&same, TicketState::Closed)])).await.unwrap();
        store.commit(with(vec![moved(&ended, TicketState::New)])).await.unwrap();
    }
}

#[tokio::test]
async fn one_shared_cause_has_one_open_parent() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let with = |tickets: Vec<_>| plan([DevicePlan { tickets, ..DevicePlan::unchanged(pc.clone()) }]);
        let parent = ticket(1, None, "net.site_outage", "site/oslo");
        store.commit(with(vec![parent.clone()])).await.unwrap();
        let second = ticket(2, None, "net.site_outage", "site/oslo");
        assert!(is_conflict(&store.commit(with(vec![second.clone()])).await), "{}", subject.name);
        store.commit(with(vec![ticket(3, None, "net.site_outage", "site/bergen")])).await.unwrap();
        store.commit(with(vec![moved(&parent, TicketState::Cancelled)])).await.unwrap();
        store.commit(with(vec![second])).await.unwrap();
    }
}

#[tokio::test]
async fn a_ticket_that_changes_twice_in_a_plan_is_stored_as_it_is_last() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let first = ticket(1, Some(&pc), "fs.space", "filesystem/C:");
        let second = moved(&first, TicketState::Resolved);
        let third = moved(&second, TicketState::New);
        let with = |tickets: Vec<_>| plan([DevicePlan { tickets, ..DevicePlan::unchanged(pc.clone()) }]);
        assert!(
            is_conflict(&store.commit(with(vec![first.clone(), third.clone()])).await),
            "{}",
            subject.name
        );
        store.commit(with(vec![first, second, third.clone()])).await.unwrap();
        assert_eq!(store.ticket(TicketId(1)).await.unwrap(), Some(third), "{}", subject.name);
    }
}

#[tokio::test]
async fn a_snapshot_has_open_tickets_and_those_resolved_recently() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let states = [TicketState::New, TicketState::OnHold, TicketState::Resolved, TicketState::Closed];
        for (n, state) in (1..).zip(states) {
            let opened = ticket(n, Some(&pc), "fs.space", &format!("filesystem/{n}"));
            let tickets = vec![opened.clone(), moved(&opened, state)];
            store.commit(plan([DevicePlan { tickets, ..DevicePlan::unchanged(pc.clone()) }])).await.unwrap();
        }
        // They were resolved at second 50.
        for (reopen_since, expected) in [(50, vec![1, 2, 3]), (51, vec![1, 2])] {
            let snapshot = store.snapshot(&pc, at(reopen_since)).await.unwrap().unwrap();
            let ids: Vec<u64> = snapshot.tickets.iter().map(|ticket| ticket.id.0).collect();
            assert_eq!(ids, expected, "{}", subject.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ticket_numbers_are_given_out_once() {
    for subject in every_engine() {
        let reservations: Vec<_> = (0..40)
            .map(|n| {
                let store = Arc::clone(&subject.store);
                tokio::spawn(async move { (store.reserve_tickets(n % 4).await.unwrap().0, n % 4) })
            })
            .collect();
        let mut given = BTreeSet::new();
        for reservation in reservations {
            let (first, count) = reservation.await.unwrap();
            for number in first..first + count {
                assert!(number >= 1 && given.insert(number), "{}: {number} was given twice", subject.name);
            }
        }
        assert_eq!(given, (1..=60).collect(), "{}", subject.name);
    }
}

#[tokio::test]
async fn devices_with_pending_or_clearing_findings_are_in_motion() {
    for subject in every_engine() {
        let store = &*subject.store;
        for (name, phase) in
            [("p", Phase::Pending), ("f", Phase::Firing), ("c", Phase::Clearing), ("o", Phase::Cleared)]
        {
            let pc = enrolled(store, name, None).await;
            let findings = vec![finding("fs.space", "filesystem/C:", phase, 5)];
            store.commit(plan([DevicePlan { findings, ..DevicePlan::unchanged(pc) }])).await.unwrap();
        }
        assert_eq!(store.devices_in_motion().await.unwrap(), [id("c"), id("p")], "{}", subject.name);
    }
}

#[tokio::test]
async fn a_diagnostic_is_asked_once_and_finished_only_by_its_own_device() {
    for subject in every_engine() {
        let store = &*subject.store;
        let (pc, other) = (enrolled(store, "pc", None).await, enrolled(store, "other", None).await);
        let asked: Vec<PendingDiagnostic> = DiagnosticRequest::NAMES
            .iter()
            .map(|(name, _)| PendingDiagnostic {
                ticket: None,
                device: pc.clone(),
                request_id: format!("person-{name}"),
                request: DiagnosticRequest::from_name(name, "\"'é").unwrap(),
                created_at: at(3),
            })
            .collect();
        for request in &asked {
            store.request_diagnostic(request, &audit("diagnostic.run")).await.unwrap();
            assert!(is_conflict(&store.request_diagnostic(request, &audit("x")).await), "{}", subject.name);
        }
        let nobody =
            PendingDiagnostic { device: id("nobody"), request_id: "n".to_owned(), ..asked[0].clone() };
        assert!(is_conflict(&store.request_diagnostic(&nobody, &audit("x")).await), "{}", subject.name);
        assert_eq!(store.pending_diagnostics(&pc).await.unwrap(), asked, "{}", subject.name);
        let finish = |device: &DeviceId| {
            let finished_requests = vec![asked[0].request_id.clone(), "never asked".to_owned()];
            plan([DevicePlan { finished_requests, ..DevicePlan::unchanged(device.clone()) }])
        };
        store.commit(finish(&other)).await.unwrap();
        assert_eq!(store.pending_diagnostics(&pc).await.unwrap().len(), asked.len(), "{}", subject.name);
        store.commit(finish(&pc)).await.unwrap();
        assert_eq!(store.pending_diagnostics(&pc).await.unwrap(), asked[1..], "{}", subject.name);
        // Its id stays taken.
        assert!(is_conflict(&store.request_diagnostic(&asked[0], &audit("x")).await), "{}", subject.name);
    }
}

#[tokio::test]
async fn old_records_go_oldest_first_within_the_limit_and_marks_stay() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        assert_eq!(store.oldest_record().await.unwrap(), None, "{}", subject.name);
        store.commit(plan([batch(&pc, 0, 10)])).await.unwrap();
        assert_eq!(store.oldest_record().await.unwrap(), Some(at(1)), "{}", subject.name);
        for (before, limit, expected) in [(6, 3, 3), (6, 3, 2), (6, 3, 0), (10, 100, 4)] {
            assert_eq!(store.prune_records(at(before), limit).await.unwrap(), expected, "{}", subject.name);
        }
        assert_eq!(store.totals().await.unwrap().records, 1, "{}", subject.name);
        assert_eq!(store.oldest_record().await.unwrap(), Some(at(10)), "{}", subject.name);
        let snapshot = store.snapshot(&pc, at(0)).await.unwrap().unwrap();
        assert_eq!(snapshot.marks[0].1, SequenceNumber(10), "{}", subject.name);
    }
}

#[tokio::test]
async fn records_that_are_asked_for_are_given_as_they_came_and_others_are_left_out() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let other = enrolled(store, "other", None).await;
        let part = batch(&pc, 0, 3);
        let (epoch, second) = (part.records[1].epoch, part.records[1].clone());
        store.commit(plan([part])).await.unwrap();
        let elsewhere = Epoch([9; 16]);
        let wanted = [(epoch, SequenceNumber(2)), (epoch, SequenceNumber(4)), (elsewhere, SequenceNumber(2))];
        let found = store.records(&pc, &wanted).await.unwrap();
        assert_eq!(found, [((epoch, SequenceNumber(2)), second.payload)], "{}", subject.name);
        assert_eq!(store.records(&other, &wanted).await.unwrap(), [], "{}", subject.name);
        assert_eq!(store.records(&pc, &[]).await.unwrap(), [], "{}", subject.name);
    }
}

#[tokio::test]
async fn a_device_that_says_odd_things_keeps_its_hostname() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        for facts in [Value::map([("hostname", Value::from(3.0))]), Value::from("not a map")] {
            let part = DevicePlan { facts: Some(facts.clone()), ..DevicePlan::unchanged(pc.clone()) };
            store.commit(plan([part])).await.unwrap();
            let device = store.device(&pc).await.unwrap().unwrap();
            assert_eq!((device.hostname.as_str(), &device.facts), ("pc.example", &facts), "{}", subject.name);
        }
    }
}

#[tokio::test]
async fn history_is_read_page_by_page_in_order_of_receipt_and_each_record_once() {
    for subject in every_engine() {
        let store = &*subject.store;
        let mut expected = Vec::new();
        for (name, times) in [("pc-b", [30, 10, 20]), ("pc-a", [20, 20, 40])] {
            let device = enrolled(store, name, None).await;
            let mut part = batch(&device, 0, 3);
            for (record, seconds) in part.records.iter_mut().zip(times) {
                record.received_at = at(seconds);
                record.clock_suspect = seconds == 40;
                expected.push((at(seconds), device.clone(), record.seq, record.clock_suspect));
            }
            store.commit(plan([part])).await.unwrap();
        }
        expected.sort();
        let mut read = Vec::new();
        let mut after = RecordPlace::before(at(0));
        loop {
            let page = store.kept_records(&after, at(1_000), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.place();
            read.extend(
                page.into_iter().map(|one| (one.received_at, one.device, one.seq, one.clock_suspect)),
            );
        }
        assert_eq!(read, expected, "{}", subject.name);
        let some = store.kept_records(&RecordPlace::before(at(20)), at(40), 100).await.unwrap();
        assert_eq!(some.len(), 4, "{}: 20 is inside, 40 is not", subject.name);
    }
}
