//! Maintenance windows, and breaches that made no ticket.

use crate::fixtures::{at, audit, component, enrolled, every_engine};
use firstline_collector_core::desk::Suppression;
use firstline_collector_store::plan::{CommitPlan, DevicePlan};
use firstline_collector_store::quiet::{MaintenanceWindow, SuppressionFilter};
use firstline_collector_store::record::Page;
use firstline_model::{DeviceId, RuleCode};

fn window(name: &str, site: Option<&str>) -> MaintenanceWindow {
    MaintenanceWindow {
        id: 0,
        name: name.to_owned(),
        site: site.map(str::to_owned),
        definition: "{\"once\":{}}".to_owned(),
        created_by: "anna".to_owned(),
        created_at: at(7),
    }
}

fn held(rule: &str, seconds: i64, reason: &str) -> Suppression {
    Suppression {
        rule: RuleCode::new(rule).unwrap(),
        component: component("filesystem/C:"),
        at: at(seconds),
        reason: reason.to_owned(),
        until: (seconds % 2 == 0).then(|| at(seconds + 100)),
    }
}

#[tokio::test]
async fn a_window_is_kept_until_it_is_removed_and_numbers_are_not_used_again() {
    for subject in every_engine() {
        let store = &*subject.store;
        let first = store.add_window(&window("a", None), &audit("maintenance.create")).await.unwrap();
        let second =
            store.add_window(&window("b", Some("oslo")), &audit("maintenance.create")).await.unwrap();
        let kept = store.windows().await.unwrap();
        let expected = [
            MaintenanceWindow { id: first, ..window("a", None) },
            MaintenanceWindow { id: second, ..window("b", Some("oslo")) },
        ];
        assert_eq!(kept, expected, "{}", subject.name);
        assert!(store.remove_window(second, &audit("maintenance.delete")).await.unwrap(), "{}", subject.name);
        assert!(
            !store.remove_window(second, &audit("maintenance.delete")).await.unwrap(),
            "{}",
            subject.name
        );
        let third = store.add_window(&window("c", None), &audit("maintenance.create")).await.unwrap();
        assert!(third > second, "{}", subject.name);
        let lines = store.audit(&Page { limit: 10, after: None }).await.unwrap().rows;
        assert_eq!(lines[0].subject, format!("maintenance:{third}"), "{}", subject.name);
    }
}

#[tokio::test]
async fn breaches_without_a_ticket_are_listed_newest_first_by_device_rule_reason_and_site() {
    for subject in every_engine() {
        let store = &*subject.store;
        let mut devices: Vec<DeviceId> = Vec::new();
        for (name, site) in [("one", Some("oslo")), ("two", Some("bergen"))] {
            let device = enrolled(store, name, site).await;
            let suppressions = (0..4)
                .map(|n| {
                    let rule = if n < 2 { "fs.space" } else { "net.dns" };
                    held(rule, n, if n == 3 { "hidden by net.gateway" } else { "maintenance: night" })
                })
                .collect();
            let part = DevicePlan { suppressions, ..DevicePlan::unchanged(device.clone()) };
            store.commit(CommitPlan { devices: vec![part], ..CommitPlan::default() }).await.unwrap();
            devices.push(device);
        }
        let list = async |filter: SuppressionFilter| {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = store.suppressions(&filter, &Page { limit: 3, after }).await.unwrap();
                all.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    return all;
                }
            }
        };
        let all = list(SuppressionFilter::default()).await;
        assert_eq!(all.len(), 8, "{}", subject.name);
        assert_eq!(all[0].hostname, all[3].hostname);
        assert_eq!(all[0].suppression, held("net.dns", 3, "hidden by net.gateway"), "{}", subject.name);
        assert_eq!(all[1].suppression, held("net.dns", 2, "maintenance: night"), "{}", subject.name);
        let of = |device: usize| SuppressionFilter {
            device: Some(devices[device].clone()),
            ..SuppressionFilter::default()
        };
        assert_eq!(list(of(0)).await.len(), 4);
        let rule = Some(RuleCode::new("fs.space").unwrap());
        assert_eq!(list(SuppressionFilter { rule, ..of(1) }).await.len(), 2, "{}", subject.name);
        let reason = Some("maintenance".to_owned());
        assert_eq!(list(SuppressionFilter { reason, ..SuppressionFilter::default() }).await.len(), 6);
        let site = Some("bergen".to_owned());
        let bergen = list(SuppressionFilter { site, ..SuppressionFilter::default() }).await;
        assert!(bergen.len() == 4 && bergen.iter().all(|one| one.device == devices[1]), "{}", subject.name);
        assert_eq!(store.prune_suppressions(at(2), 3).await.unwrap(), 3, "{}", subject.name);
        assert_eq!(store.prune_suppressions(at(2), 3).await.unwrap(), 1, "{}", subject.name);
        assert_eq!(list(SuppressionFilter::default()).await.len(), 4, "{}", subject.name);
    }
}
