//! Tokens and what they make.

use crate::fixtures::{at, audit, device, enrolled, every_engine, id, token};
use firstline_collector_store::StoreError;
use firstline_collector_store::record::{Device, EnrollOutcome, Page};
use std::sync::Arc;

#[tokio::test]
async fn a_token_makes_the_device_at_its_site() {
    for subject in every_engine() {
        let store = &*subject.store;
        store.create_token(&token(1, 1, Some("oslo")), &audit("token.create")).await.unwrap();
        let outcome = store.enroll(&[1; 32], &device("pc"), at(1)).await.unwrap();
        assert_eq!(outcome, EnrollOutcome::Enrolled, "{}", subject.name);
        let expected = Device { site: Some("oslo".to_owned()), ..device("pc") };
        assert_eq!(store.device(&id("pc")).await.unwrap(), Some(expected), "{}", subject.name);
    }
}

#[tokio::test]
async fn unknown_used_and_expired_tokens_make_nothing_and_are_audited() {
    for subject in every_engine() {
        let store = &*subject.store;
        store.create_token(&token(1, 1, None), &audit("token.create")).await.unwrap();
        store.create_token(&token(2, 5, None), &audit("token.create")).await.unwrap();
        store.enroll(&[1; 32], &device("first"), at(1)).await.unwrap();
        for (hash, now, reason) in [(1, 2, "used"), (2, 600, "expired"), (3, 2, "unknown")] {
            let outcome = store.enroll(&[hash; 32], &device("second"), at(now)).await.unwrap();
            assert_eq!(outcome, EnrollOutcome::Refused { reason }, "{}", subject.name);
            let newest = &store.audit(&Page::first(1)).await.unwrap().rows[0];
            assert_eq!(
                (newest.action.as_str(), newest.detail.as_str()),
                ("enroll.refused", reason),
                "{}",
                subject.name
            );
        }
        assert_eq!(store.device(&id("second")).await.unwrap(), None, "{}", subject.name);
    }
}

#[tokio::test]
async fn a_conflict_gives_the_use_of_the_token_back() {
    for subject in every_engine() {
        let store = &*subject.store;
        enrolled(store, "pc", None).await;
        store.create_token(&token(1, 1, None), &audit("token.create")).await.unwrap();
        let twice = store.enroll(&[1; 32], &device("pc"), at(1)).await;
        assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{}: {twice:?}", subject.name);
        let outcome = store.enroll(&[1; 32], &device("other"), at(1)).await.unwrap();
        assert_eq!(outcome, EnrollOutcome::Enrolled, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_with_a_one_time_token_make_one_device() {
    for subject in every_engine() {
        for round in 0..10_u8 {
            subject.store.create_token(&token(round, 1, None), &audit("token.create")).await.unwrap();
            let attempts: Vec<_> = (0..64)
                .map(|client| {
                    let store = Arc::clone(&subject.store);
                    let device = device(&format!("pc-{round}-{client}"));
                    tokio::spawn(async move { store.enroll(&[round; 32], &device, at(1)).await.unwrap() })
                })
                .collect();
            let mut enrolled = 0;
            for attempt in attempts {
                match attempt.await.unwrap() {
                    EnrollOutcome::Enrolled => enrolled += 1,
                    EnrollOutcome::Refused { reason } => assert_eq!(reason, "used", "{}", subject.name),
                }
            }
            assert_eq!(enrolled, 1, "{}", subject.name);
        }
        let devices = subject.store.devices(&Default::default(), &Page::first(500)).await.unwrap();
        assert_eq!(devices.rows.len(), 10, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r1_two_processes_with_one_database_never_issue_twice_for_one_token() {
    const ROUNDS: u8 = 100;
    let folder = tempfile::tempdir().unwrap();
    let engine = firstline_collector_store::engines::engine("sqlite").unwrap();
    let handles = [(engine.open)(folder.path()).unwrap(), (engine.open)(folder.path()).unwrap()];
    for round in 0..ROUNDS {
        handles[0].create_token(&token(round, 1, None), &audit("token.create")).await.unwrap();
        let attempts: Vec<_> = (0..64)
            .map(|client| {
                let store = Arc::clone(&handles[client % 2]);
                let device = device(&format!("pc-{round}-{client}"));
                tokio::spawn(async move { store.enroll(&[round; 32], &device, at(1)).await.unwrap() })
            })
            .collect();
        let mut enrolled = 0;
        for attempt in attempts {
            enrolled += usize::from(attempt.await.unwrap() == EnrollOutcome::Enrolled);
        }
        assert_eq!(enrolled, 1, "round {round}");
    }
    let devices = handles[1].devices(&Default::default(), &Page::first(500)).await.unwrap();
    assert_eq!(devices.rows.len(), usize::from(ROUNDS));
}
