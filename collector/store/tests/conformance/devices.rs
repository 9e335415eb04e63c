//! Devices, their standing and their newest values.

use crate::fixtures::{
    at, audit, batch, component, contents, enrolled, every_engine, id, latest, only, plan,
};
use firstline_collector_store::StoreError;
use firstline_collector_store::plan::DevicePlan;
use firstline_collector_store::record::{DeviceFilter, DeviceStatus, LatestContent, Page};
use firstline_model::{ComponentKind, Presence, Value};

#[tokio::test]
async fn an_unknown_device_is_none() {
    for subject in every_engine() {
        assert_eq!(subject.store.device(&id("nobody")).await.unwrap(), None, "{}", subject.name);
        assert_eq!(subject.store.snapshot(&id("nobody"), at(0)).await.unwrap(), None, "{}", subject.name);
        assert!(subject.store.latest(&id("nobody")).await.unwrap().is_empty(), "{}", subject.name);
    }
}

#[tokio::test]
async fn pages_follow_hostnames_and_neither_repeat_nor_skip_when_devices_come_in_between() {
    for subject in every_engine() {
        let store = &*subject.store;
        for name in ["delta", "bravo", "Charlie", "echo"] {
            enrolled(store, name, Some("oslo")).await;
        }
        let filter = DeviceFilter::default();
        let first = store.devices(&filter, &Page::first(2)).await.unwrap();
        let names = |rows: &[firstline_collector_store::record::Device]| {
            rows.iter().map(|device| device.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&first.rows), ["bravo", "Charlie"], "{}", subject.name);
        enrolled(store, "alpha", None).await;
        enrolled(store, "dora", None).await;
        let second = store.devices(&filter, &Page { limit: 500, after: first.next }).await.unwrap();
        assert_eq!(names(&second.rows), ["delta", "dora", "echo"], "{}", subject.name);
        assert_eq!(second.next, None, "{}", subject.name);
    }
}

#[tokio::test]
async fn filters_take_wildcards_of_the_searched_text_literally() {
    for subject in every_engine() {
        let store = &*subject.store;
        for (name, site) in [("pc_1", Some("oslo")), ("pcx1", Some("oslo")), ("PC_2", None)] {
            enrolled(store, name, site).await;
        }
        store.set_device_status(&id("pcx1"), DeviceStatus::Revoked, &audit("device.revoke")).await.unwrap();
        let found = async |filter: DeviceFilter| {
            let page = store.devices(&filter, &Page::first(10)).await.unwrap();
            page.rows.iter().map(|device| device.id.to_string()).collect::<Vec<_>>()
        };
        let text = |text: &str| DeviceFilter { text: Some(text.to_owned()), ..DeviceFilter::default() };
        assert_eq!(found(text("pc_")).await, ["pc_1", "PC_2"], "{}", subject.name);
        assert_eq!(found(text("%")).await, Vec::<String>::new(), "{}", subject.name);
        assert_eq!(found(text(r"\")).await, Vec::<String>::new(), "{}", subject.name);
        assert_eq!(found(text("' OR 1=1 --")).await, Vec::<String>::new(), "{}", subject.name);
        let at_site = DeviceFilter { site: Some("oslo".to_owned()), ..DeviceFilter::default() };
        assert_eq!(found(at_site).await, ["pc_1", "pcx1"], "{}", subject.name);
        let revoked = DeviceFilter { status: Some(DeviceStatus::Revoked), ..DeviceFilter::default() };
        assert_eq!(found(revoked).await, ["pcx1"], "{}", subject.name);
        for refused in ["x".repeat(5000), "\0".to_owned(), "pc\0x".to_owned()] {
            let answer = store.devices(&text(&refused), &Page::first(1)).await;
            assert!(matches!(answer, Err(StoreError::Invalid { .. })), "{}", subject.name);
        }
    }
}

#[tokio::test]
async fn status_changes_are_numbered_and_audited() {
    for subject in every_engine() {
        let store = &*subject.store;
        for name in ["a", "b"] {
            enrolled(store, name, None).await;
        }
        assert!(!store.set_device_status(&id("c"), DeviceStatus::Revoked, &audit("x")).await.unwrap());
        for (name, status) in
            [("b", DeviceStatus::Revoked), ("a", DeviceStatus::Retired), ("b", DeviceStatus::Active)]
        {
            assert!(store.set_device_status(&id(name), status, &audit("device.status")).await.unwrap());
        }
        let all = store.status_changes(0).await.unwrap();
        let expected =
            [("b", DeviceStatus::Revoked), ("a", DeviceStatus::Retired), ("b", DeviceStatus::Active)];
        assert_eq!(
            all.iter().map(|(_, d, s)| (d.as_str(), *s)).collect::<Vec<_>>(),
            expected,
            "{}",
            subject.name
        );
        assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0), "{}", subject.name);
        assert_eq!(store.status_changes(all[1].0).await.unwrap(), all[2..], "{}", subject.name);
        assert_eq!(store.device(&id("a")).await.unwrap().unwrap().status, DeviceStatus::Retired);
        let log = store.audit(&Page::first(3)).await.unwrap().rows;
        assert!(log.iter().all(|entry| entry.action == "device.status"), "{}", subject.name);
    }
}

#[tokio::test]
async fn newest_values_replace_older_ones_and_come_in_order_of_component_and_name() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        let mut values = Vec::new();
        for (at, content) in contents().into_iter().enumerate() {
            // In the model's order of kinds, which is not the alphabet's.
            values.push(latest("cpu/0", &format!("metric.{at}"), content.clone()));
            values.push(latest("memory/0", &format!("metric.{at}"), content.clone()));
            values.push(latest("battery/0", &format!("metric.{at}"), content));
        }
        let part = DevicePlan { latest: values.clone(), ..DevicePlan::unchanged(pc.clone()) };
        store.commit(plan([part])).await.unwrap();
        let stored = store.latest(&pc).await.unwrap();
        values.sort_by_key(|value| (value.component.clone(), value.name.clone()));
        assert_eq!(stored, values, "{}", subject.name);
        assert_eq!(stored[0].component, only(ComponentKind::Cpu), "{}", subject.name);

        let newer = LatestContent::Sample { value: 7.0, attributes: Default::default() };
        let changed = latest("cpu/0", "metric.1", newer.clone());
        let part = DevicePlan { latest: vec![changed], ..DevicePlan::unchanged(pc.clone()) };
        store.commit(plan([part])).await.unwrap();
        let stored = store.latest(&pc).await.unwrap();
        assert_eq!(stored.len(), values.len(), "{}", subject.name);
        let one = stored.iter().find(|v| v.component == component("cpu/0") && v.name == "metric.1").unwrap();
        assert_eq!(one.content, newer, "{}", subject.name);
    }
}

#[tokio::test]
async fn the_newest_values_of_a_name_come_from_every_device() {
    for subject in every_engine() {
        let store = &*subject.store;
        let mut expected = Vec::new();
        for (name, number) in [("mac", 1.0), ("pc", 2.0)] {
            let device = enrolled(store, name, None).await;
            let sample = |value| LatestContent::Sample { value, attributes: Default::default() };
            let values = ["boot", "rtt", "other"].map(|name| latest("os/0", name, sample(number)));
            expected.extend(values[..2].iter().map(|value| (device.clone(), value.clone())));
            let part = DevicePlan { latest: values.to_vec(), ..DevicePlan::unchanged(device) };
            store.commit(plan([part])).await.unwrap();
        }
        let mut found = store.newest_of(&["rtt", "boot", "nothing"]).await.unwrap();
        found.sort_by(|(one, a), (other, b)| (one, &a.name).cmp(&(other, &b.name)));
        assert_eq!(found, expected, "{}", subject.name);
        assert!(store.newest_of(&[]).await.unwrap().is_empty(), "{}", subject.name);
    }
}

#[tokio::test]
async fn what_a_device_says_of_itself_replaces_what_it_said_before() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", Some("oslo")).await;
        let facts = Value::map([("hostname", Value::from("renamed")), ("model", Value::from("5440"))]);
        let part = DevicePlan {
            facts: Some(facts.clone()),
            presence: Some(Presence::Asleep),
            agent_version: Some("0.2.0".to_owned()),
            ..batch(&pc, 0, 1)
        };
        store.commit(plan([part])).await.unwrap();
        store.commit(plan([DevicePlan { seen_at: None, ..batch(&pc, 1, 2) }])).await.unwrap();
        let device = store.device(&pc).await.unwrap().unwrap();
        assert_eq!(device.hostname, "renamed", "{}", subject.name);
        assert_eq!(device.facts, facts, "{}", subject.name);
        assert_eq!(device.presence, Some(Presence::Asleep), "{}", subject.name);
        assert_eq!(device.agent_version, "0.2.0", "{}", subject.name);
        assert_eq!(device.last_seen_at, Some(at(100)), "{}", subject.name);
        assert_eq!(device.site.as_deref(), Some("oslo"), "{}", subject.name);
    }
}

#[tokio::test]
async fn r4_nothing_of_a_device_is_stored_once_its_identity_was_withdrawn() {
    for subject in every_engine() {
        let store = &*subject.store;
        let pc = enrolled(store, "pc", None).await;
        store.commit(plan([batch(&pc, 0, 3)])).await.unwrap();
        for status in [DeviceStatus::Revoked, DeviceStatus::Retired, DeviceStatus::Quarantined] {
            store.set_device_status(&pc, status, &audit("device.status")).await.unwrap();
            let late = store.commit(plan([batch(&pc, 3, 5)])).await;
            assert!(matches!(late, Err(StoreError::Conflict { .. })), "{}: {late:?}", subject.name);
            // That it went away may still be noted.
            let gone =
                DevicePlan { presence: Some(Presence::OffNetwork), ..DevicePlan::unchanged(pc.clone()) };
            store.commit(plan([gone])).await.unwrap();
        }
        store.set_device_status(&pc, DeviceStatus::Active, &audit("device.release")).await.unwrap();
        store.commit(plan([batch(&pc, 3, 5)])).await.unwrap();
    }
}
