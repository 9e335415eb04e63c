//! Renewed certificates and chains of streams.

use crate::fixtures::{at, audit, enrolled, every_engine, id};
use firstline_collector_core::lineage::{Place, Shown, Verdict, judge};
use firstline_collector_store::StoreError;
use firstline_collector_store::identity::{DeviceIdentity, NextCertificate};
use firstline_collector_store::record::DeviceStatus;

fn next(fingerprint: &str, issuer: &str) -> NextCertificate {
    NextCertificate { fingerprint: fingerprint.to_owned(), not_after: at(9999), issuer: issuer.to_owned() }
}

#[tokio::test]
async fn r5_a_renewed_certificate_replaces_the_old_one_when_it_is_shown() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let before = store.device(&pc).await.unwrap().unwrap().certificate_fingerprint;
        store.offer_certificate(&pc, &next("lost", "a"), &audit("device.renew")).await.unwrap();
        store.offer_certificate(&pc, &next("cd", "b"), &audit("device.renew")).await.unwrap();
        assert!(!store.adopt_certificate(&pc, "lost").await.unwrap(), "{}", subject.name);
        let kept = store.device(&pc).await.unwrap().unwrap();
        assert_eq!(kept.certificate_fingerprint, before, "{}: the old one is good until then", subject.name);
        assert!(store.adopt_certificate(&pc, "cd").await.unwrap(), "{}", subject.name);
        assert!(!store.adopt_certificate(&pc, "cd").await.unwrap(), "{}", subject.name);
        let kept = store.device(&pc).await.unwrap().unwrap();
        assert_eq!((kept.certificate_fingerprint.as_str(), kept.certificate_not_after), ("cd", at(9999)));
        let expected = DeviceIdentity { issuer: Some("b".to_owned()), ..DeviceIdentity::default() };
        assert_eq!(store.identity(&pc).await.unwrap(), expected, "{}", subject.name);
        let missing = store.offer_certificate(&id("nobody"), &next("x", "a"), &audit("device.renew")).await;
        assert!(matches!(missing, Err(StoreError::Conflict { .. })), "{}: {missing:?}", subject.name);
    }
}

#[tokio::test]
async fn r6_devices_are_counted_by_the_authority_of_their_certificate() {
    for subject in every_engine() {
        let store = &*subject.store;
        for (name, issuer) in [("one", Some("a")), ("two", Some("b")), ("three", Some("b")), ("four", None)] {
            let device = enrolled(store, name, None).await;
            if let Some(issuer) = issuer {
                store.note_issuer(&device, issuer).await.unwrap();
            }
        }
        store.set_device_status(&id("one"), DeviceStatus::Revoked, &audit("device.revoke")).await.unwrap();
        let counted = store.issuers().await.unwrap();
        assert_eq!(counted, [(None, 1), (Some("b".to_owned()), 2)], "{}", subject.name);
    }
}

#[tokio::test]
async fn r7_a_lineage_moves_only_from_where_it_stands() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let shown = Shown { incarnation: [1; 16], attempt: 1, place: Place::default() };
        let Verdict::Continues(first) = judge(None, &shown, [2; 16]) else { panic!() };
        assert!(store.move_lineage(&pc, None, Some(&first)).await.unwrap(), "{}", subject.name);
        assert!(!store.move_lineage(&pc, None, Some(&first)).await.unwrap(), "{}", subject.name);
        assert_eq!(store.identity(&pc).await.unwrap().lineage, Some(first), "{}", subject.name);
        assert!(store.move_lineage(&pc, Some(&first), None).await.unwrap(), "{}", subject.name);
        assert_eq!(store.identity(&pc).await.unwrap().lineage, None, "{}", subject.name);
    }
}
