//! Back-tests over a store in memory: what is lost and gained, what the history does not hold, who is asked about.

use super::candidate::judge;
use super::play::{Plan, Progress, play};
use super::report::Report;
use super::*;
use crate::knowledge::{self, Source};
use firstline_collector_store::Store;
use firstline_collector_store::engines::memory::Memory;
use firstline_collector_store::plan::{CommitPlan, DevicePlan, NewMark, NewRecord};
use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus, EnrollmentToken};
use firstline_collector_store::store::{Enrollment, Ingest};
use firstline_model::{
    Attributes, Body, Component, DeviceId, Epoch, Observation, Repeat, SequenceNumber, Timestamp, Value,
    semconv,
};
use firstline_proto::convert::{encode_record, encode_record_with};

/// 2026-01-05 08:55 UTC.
const START: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const MINUTE: Duration = Duration::from_secs(60);

fn minute(minutes: u32) -> Timestamp {
    START.plus(MINUTE * minutes)
}

async fn enroll(store: &Memory, name: &str, site: &str) -> DeviceId {
    let id = DeviceId::new(name).unwrap();
    let mut hash = [0; 32];
    hash[..name.len()].copy_from_slice(name.as_bytes());
    let audit = AuditEntry {
        at: START,
        actor: "anna".to_owned(),
        action: "test".to_owned(),
        subject: "x".to_owned(),
        detail: String::new(),
    };
    let token = EnrollmentToken {
        hash,
        uses_left: 1,
        expires_at: minute(1),
        site: Some(site.to_owned()),
        created_at: START,
    };
    store.create_token(&token, &audit).await.unwrap();
    let device = Device {
        id: id.clone(),
        hostname: format!("{name}.example"),
        site: Some(site.to_owned()),
        status: DeviceStatus::Active,
        tags: Vec::new(),
        facts: Value::map::<&'static str>([]),
        agent_version: "0.1.0".to_owned(),
        enrolled_at: START,
        last_seen_at: None,
        presence: None,
        certificate_fingerprint: String::new(),
        certificate_not_after: START,
    };
    store.enroll(&hash, &device, START).await.unwrap();
    id
}

/// Stores that the disk was used so much at each of these minutes, a record each.
async fn used(store: &Memory, device: &DeviceId, values: impl IntoIterator<Item = (u32, f64)>) {
    said(store, device, 1, values.into_iter().map(|(at, value)| (at, in_full(at, value)))).await;
}

fn in_full(at: u32, value: f64) -> Vec<u8> {
    let attributes = Attributes::none().with(semconv::attribute::FILESYSTEM_TYPE, "ext4");
    let body = Body::Sample { metric: semconv::FILESYSTEM_UTILIZATION.into(), attributes, value };
    let component: Component = "filesystem//home".parse().unwrap();
    encode_record(&[Observation { component, observed_at: minute(at), body }])
}

/// What an agent sends that saw the same as in an earlier record.
fn again(at: u32, record: u64) -> Vec<u8> {
    let record = SequenceNumber(record);
    let repeat = Repeat { record, first: 0, count: 1, at: minute(at), changed: Vec::new() };
    encode_record_with(&[], &[(0, repeat)], &[])
}

/// Stores these payloads, received a second after their minutes and numbered from `first`.
async fn said(store: &Memory, device: &DeviceId, first: u64, payloads: impl Iterator<Item = (u32, Vec<u8>)>) {
    let epoch = Epoch([1; 16]);
    let record = |((at, payload), seq): ((u32, Vec<u8>), u64)| NewRecord {
        epoch,
        seq: SequenceNumber(seq),
        received_at: minute(at).plus(Duration::from_secs(1)),
        payload,
        clock_suspect: false,
    };
    let records: Vec<NewRecord> = payloads.zip(first..).map(record).collect();
    let through = SequenceNumber(first + records.len() as u64 - 1);
    let plan = CommitPlan::of(vec![DevicePlan {
        records,
        marks: vec![NewMark { epoch, before: None, through }],
        ..DevicePlan::unchanged(device.clone())
    }]);
    store.commit(plan).await.unwrap();
}

/// `pc-full` is at 97 % for two hours; `pc-busy` at 92 % for forty minutes, then well; `pc-well` never.
async fn history() -> Memory {
    let store = Memory::new();
    let full = enroll(&store, "pc-full", "oslo").await;
    let busy = enroll(&store, "pc-busy", "oslo").await;
    let well = enroll(&store, "pc-well", "bergen").await;
    used(&store, &full, (0..120).map(|at| (at, 0.97))).await;
    used(&store, &busy, (0..120).map(|at| (at, if at < 40 { 0.92 } else { 0.3 }))).await;
    used(&store, &well, (0..120).map(|at| (at, 0.6))).await;
    store
}

fn plan(text: &str) -> Plan {
    let running = knowledge::rules(None).unwrap();
    Plan {
        rules: judge(&running, &[], "change.toml", text).unwrap(),
        days: 1,
        site: None,
        now: minute(121),
        longest: LONGEST,
        kept_for: None,
    }
}

async fn played(store: &Memory, plan: &Plan) -> Report {
    play(store as &dyn Store, plan, &Progress::default()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_higher_threshold_loses_the_ticket_of_the_device_that_stays_below_it() {
    let store = history().await;
    let report = played(&store, &plan("override = \"fs.space\"\n[detect.warning]\nabove = 0.95\n")).await;
    assert_eq!((report.before.tickets, report.after.tickets, report.kept), (2, 1, 1), "{report:#?}");
    assert_eq!((report.lost_total, report.gained_total), (1, 0), "{report:#?}");
    let lost = &report.lost[0];
    assert_eq!(lost.device.as_ref().unwrap().hostname, "pc-busy.example");
    assert_eq!((lost.component.as_str(), lost.site.as_deref()), ("filesystem//home", Some("oslo")));
    assert!(lost.resolved_at.is_some(), "it was over within the history");
    assert_eq!(report.components[0].before, 2);
    assert_eq!((report.history.devices, report.history.records), (3, 360));
    // Two hours are stored of the day that was asked for, and that is said.
    assert!(!report.history.complete);
    assert!(report.history.missing[0].starts_with("the first 22 hours are missing"), "{report:#?}");
    assert_eq!(
        report.summary,
        "fs.space over the 2 hours that are stored of the last day: 2 -> 1 tickets; 1 lost, 0 gained"
    );
}

#[tokio::test]
async fn a_lower_threshold_gains_the_ticket_of_the_device_that_was_well() {
    let store = history().await;
    let text =
        "override = \"fs.space\"\n[detect.warning]\nabove = 0.5\nclear = { below = 0.4, for = \"5m\" }\n";
    let report = played(&store, &plan(text)).await;
    assert_eq!((report.lost_total, report.gained_total, report.kept), (0, 1, 2), "{report:#?}");
    assert_eq!(report.gained[0].device.as_ref().unwrap().id, "pc-well");
}

#[tokio::test]
async fn what_an_agent_only_repeats_holds_as_long_as_if_it_had_been_said() {
    let (repeating, saying) = (Memory::new(), Memory::new());
    let full = enroll(&repeating, "pc-full", "oslo").await;
    let payloads = (0..40).map(|at| (at, if at == 0 { in_full(0, 0.92) } else { again(at, 1) }));
    said(&repeating, &full, 1, payloads.chain([(40, in_full(40, 0.3)), (119, in_full(119, 0.3))])).await;
    let full = enroll(&saying, "pc-full", "oslo").await;
    let values = (0..40).map(|at| (at, 0.92)).chain([(40, 0.3), (119, 0.3)]);
    used(&saying, &full, values).await;
    for hold in ["30m", "60m"] {
        let plan = plan(&format!("override = \"fs.space\"\n[detect]\nfor = \"{hold}\"\n"));
        let report = played(&repeating, &plan).await;
        assert_eq!(report, played(&saying, &plan).await, "for {hold}");
        assert_eq!((report.before.tickets, report.history.observations), (1, 42), "{report:#?}");
        assert_eq!(report.lost_total, u64::from(hold == "60m"), "forty minutes are less than an hour");
    }
}

#[tokio::test]
async fn what_repeats_a_record_that_is_deleted_is_told_as_missing() {
    let store = Memory::new();
    let full = enroll(&store, "pc-full", "oslo").await;
    let payloads = (0..60).map(|at| (at, if at == 0 { in_full(0, 0.97) } else { again(at, 1) }));
    said(&store, &full, 1, payloads).await;
    assert_eq!(store.prune_records(minute(1), 1).await.unwrap(), 1);
    let report = played(&store, &plan("override = \"fs.space\"\nimpact = 3\n")).await;
    assert_eq!((report.before.tickets, report.history.observations), (0, 0));
    let told = "59 times a record repeats one that is not stored any more";
    assert!(report.history.missing.iter().any(|one| one.starts_with(told)), "{report:#?}");
}

#[tokio::test]
async fn a_longer_hold_opens_the_same_ticket_later_and_is_no_loss() {
    let store = history().await;
    let report = played(&store, &plan("override = \"fs.space\"\n[detect]\nfor = \"60m\"\n")).await;
    assert_eq!((report.kept, report.lost_total, report.gained_total), (1, 1, 0), "{report:#?}");
    assert_eq!(report.lost[0].device.as_ref().unwrap().id, "pc-busy", "it was over before an hour");
    assert!(report.later_by_s.unwrap() > 30.0 * 60.0, "{report:#?}");
}

#[tokio::test]
async fn the_same_rules_open_the_same_tickets() {
    let store = history().await;
    let report = played(&store, &plan("override = \"fs.space\"\nimpact = 3\n")).await;
    assert_eq!((report.kept, report.lost_total, report.gained_total), (2, 0, 0));
    assert_eq!(report.before, report.after);
}

#[tokio::test]
async fn one_site_is_judged_by_its_own_devices() {
    let store = history().await;
    let plan = Plan { site: Some("bergen".to_owned()), ..plan("override = \"fs.space\"\nenabled = false\n") };
    let report = played(&store, &plan).await;
    assert_eq!((report.before.tickets, report.history.devices, report.history.records), (0, 1, 120));
}

#[tokio::test]
async fn a_back_test_that_takes_too_long_says_until_when_it_came() {
    let store = history().await;
    let plan = Plan { longest: Duration::ZERO, ..plan("override = \"fs.space\"\nenabled = false\n") };
    let report = played(&store, &plan).await;
    assert!(
        !report.history.complete && report.history.missing.iter().any(|one| one.contains("were not played"))
    );
}

#[tokio::test]
async fn a_back_test_that_was_called_off_has_no_answer() {
    let store = history().await;
    let progress = Progress::default();
    progress.cancel();
    let plan = plan("override = \"fs.space\"\nenabled = false\n");
    assert!(play(&store as &dyn Store, &plan, &progress).await.unwrap().is_none());
}

#[test]
fn a_change_takes_the_place_of_the_file_that_it_is_a_new_version_of() {
    let source = |file: &str, text: &str| Source { file: file.to_owned(), text: Ok(text.to_owned()) };
    let running = knowledge::rules(None).unwrap();
    let sources = [source("mine.toml", "override = \"fs.space\"\n[detect.warning]\nabove = 0.5\n")];
    let change = "override = \"fs.space\"\n[detect.critical]\nabove = 0.99\n";
    let warning = |file: &str| {
        let rules = judge(&running, &sources, file, change).unwrap();
        format!("{:?}", rules.after.entries[&rules.code].detection.levels[0].when)
    };
    assert!(!warning("mine.toml").contains("level: 0.5"), "the file's old text is gone");
    assert!(warning("other.toml").contains("level: 0.5"), "a further file is laid over it");
    let problems = judge(&running, &[], "x.toml", "override = \"fs.spice\"\n").unwrap_err();
    assert!(problems[0].starts_with("x.toml:1: there is no entry fs.spice"), "{problems:?}");
}
