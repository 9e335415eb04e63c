//! What only this engine promises: durability when the disk is full, honesty about damage, and several processes.

use super::connection::Opener;
use super::{FILE_NAME, Sqlite};
use crate::StoreError;
use crate::plan::{CommitPlan, DevicePlan, NewMark, NewRecord};
use crate::record::{AuditEntry, Device, DeviceStatus, EnrollOutcome, EnrollmentToken, Page};
use crate::store::{Desk, Devices, Enrollment, Ingest, People};
use firstline_model::{DeviceId, Epoch, SequenceNumber, Timestamp, Value};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_767_603_300_000);

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    (folder, path)
}

fn audit() -> AuditEntry {
    AuditEntry {
        at: NOW,
        actor: "anna".to_owned(),
        action: "test".to_owned(),
        subject: "x".to_owned(),
        detail: String::new(),
    }
}

fn device(name: &str) -> Device {
    Device {
        id: DeviceId::new(name).unwrap(),
        hostname: name.to_owned(),
        site: None,
        status: DeviceStatus::Active,
        tags: Vec::new(),
        facts: Value::map::<&'static str>([]),
        agent_version: "0.1.0".to_owned(),
        enrolled_at: NOW,
        last_seen_at: None,
        presence: None,
        certificate_fingerprint: String::new(),
        certificate_not_after: NOW,
    }
}

fn token(hash: u8, uses_left: u32) -> EnrollmentToken {
    let expires_at = NOW.plus(std::time::Duration::from_secs(600));
    EnrollmentToken { hash: [hash; 32], uses_left, expires_at, site: None, created_at: NOW }
}

async fn with_device(store: &Sqlite, name: &str) -> DeviceId {
    store.create_token(&token(1, 1), &audit()).await.unwrap();
    store.enroll(&[1; 32], &device(name), NOW).await.unwrap();
    DeviceId::new(name).unwrap()
}

/// Moves the mark by one, with a record of `size` bytes.
fn step(device: &DeviceId, seq: u64, size: usize) -> CommitPlan {
    let (epoch, seq) = (Epoch([1; 16]), SequenceNumber(seq));
    let before = (seq.0 > 1).then(|| SequenceNumber(seq.0 - 1));
    CommitPlan::of(vec![DevicePlan {
        records: vec![NewRecord {
            epoch,
            seq,
            received_at: NOW,
            payload: vec![0xA5; size],
            clock_suspect: false,
        }],
        marks: vec![NewMark { epoch, before, through: seq }],
        ..DevicePlan::unchanged(device.clone())
    }])
}

#[test]
fn the_bundled_sqlite_is_new_enough_and_the_pragmas_hold() {
    let (_folder, path) = place();
    let connection = Opener::new(&path).writer().unwrap();
    for (pragma, expected) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("foreign_keys", "1"),
        ("mmap_size", "0"),
        ("busy_timeout", "5000"),
        ("trusted_schema", "0"),
    ] {
        let text = connection
            .query_row(&format!("PRAGMA {pragma}"), [], |row| {
                let value = row.get_ref(0)?;
                let text = value.as_str().map(str::to_owned);
                text.or_else(|_| value.as_i64().map(|number| number.to_string()))
                    .map_err(rusqlite::Error::from)
            })
            .unwrap();
        assert_eq!(text, expected, "{pragma}");
    }
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let (folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    with_device(&store, "pc").await;
    // A temporary file is for its owner only, on every system.
    let private = tempfile::NamedTempFile::new().unwrap().as_file().metadata().unwrap().permissions();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions(), private, "{:?}", entry.file_name());
        seen += 1;
    }
    assert!(seen >= 3, "the database and its companions were expected");
}

#[tokio::test]
async fn a_full_disk_reports_nothing_as_saved_and_works_again_after_repair() {
    let (_folder, path) = place();
    let opener = Opener::new(&path);
    let limit = opener.page_limit();
    let store = Sqlite::with_opener(opener).unwrap();
    let pc = with_device(&store, "pc").await;
    store.commit(step(&pc, 1, 100)).await.unwrap();

    limit.store(1, Ordering::Relaxed); // SQLite takes the present size when the bound is below it.
    let refused = store.commit(step(&pc, 2, 1_000_000)).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable { detail }) if detail.contains("full")),
        "{refused:?}"
    );
    let snapshot = store.snapshot(&pc, NOW).await.unwrap().unwrap();
    assert_eq!(snapshot.marks[0].1, SequenceNumber(1), "reading goes on, and nothing was saved");

    limit.store(1_000_000, Ordering::Relaxed);
    store.commit(step(&pc, 2, 1_000_000)).await.unwrap();
    drop(store);
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.snapshot(&pc, NOW).await.unwrap().unwrap().marks[0].1, SequenceNumber(2));
    assert_eq!(store.totals().await.unwrap().records, 2);
}

#[tokio::test]
async fn r23_the_check_of_the_store_writes_to_the_file_every_time() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let outside = Connection::open(&path).unwrap();
    let version = || outside.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
    for _ in 0..3 {
        let before = version();
        store.check_writable().await.unwrap();
        assert_ne!(version(), before, "nothing was written");
    }
    assert_eq!(store.totals().await.unwrap().records, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_conflict_in_a_group_costs_only_its_own_plan() {
    let (_folder, path) = place();
    let store = Arc::new(Sqlite::open(&path).unwrap());
    let mut devices = Vec::new();
    store.create_token(&token(1, 100), &audit()).await.unwrap();
    for n in 0..100 {
        let name = format!("pc-{n}");
        assert_eq!(store.enroll(&[1; 32], &device(&name), NOW).await.unwrap(), EnrollOutcome::Enrolled);
        devices.push(DeviceId::new(name).unwrap());
    }
    // While another process holds the lock, everything gathers into one group.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let commits: Vec<_> = (0..)
        .zip(devices)
        .map(|(n, device)| {
            let store = Arc::clone(&store);
            // Every third claims a mark that is not there.
            let seq = if n % 3 == 0 { 9 } else { 1 };
            tokio::spawn(async move { (n, store.commit(step(&device, seq, 10)).await) })
        })
        .collect();
    tokio::task::yield_now().await;
    other.execute_batch("COMMIT").unwrap();
    for commit in commits {
        let (n, result) = commit.await.unwrap();
        match result {
            Ok(()) => assert_ne!(n % 3, 0),
            Err(StoreError::Conflict { .. }) => assert_eq!(n % 3, 0),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(store.totals().await.unwrap().records, 66);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_file_share_tokens_numbers_and_status_changes() {
    let (_folder, path) = place();
    let stores = [Arc::new(Sqlite::open(&path).unwrap()), Arc::new(Sqlite::open(&path).unwrap())];
    stores[0].create_token(&token(1, 1), &audit()).await.unwrap();
    let attempts: Vec<_> = (0..64)
        .map(|n| {
            let store = Arc::clone(&stores[n % 2]);
            tokio::spawn(async move {
                let outcome = store.enroll(&[1; 32], &device(&format!("pc-{n}")), NOW).await.unwrap();
                (outcome == EnrollOutcome::Enrolled, store.reserve_tickets(1).await.unwrap())
            })
        })
        .collect();
    let (mut enrolled, mut numbers) = (0, BTreeSet::new());
    for attempt in attempts {
        let (won, number) = attempt.await.unwrap();
        enrolled += u32::from(won);
        assert!(numbers.insert(number), "{number} was given twice");
    }
    assert_eq!(enrolled, 1);
    let one = stores[0].devices(&Default::default(), &Page::first(10)).await.unwrap().rows.remove(0);
    stores[0].set_device_status(&one.id, DeviceStatus::Revoked, &audit()).await.unwrap();
    let seen = stores[1].status_changes(0).await.unwrap();
    assert_eq!(seen, [(1, one.id, DeviceStatus::Revoked)]);
}

#[tokio::test]
async fn timeline_and_audit_refuse_change_and_removal() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    with_device(&store, "pc").await;
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "PRAGMA foreign_keys = OFF; INSERT INTO timeline (ticket, at, kind, text) VALUES (1, 1, 'a', 'b')",
    )
    .unwrap();
    for sql in [
        "UPDATE timeline SET text = 'c'",
        "DELETE FROM timeline",
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
    ] {
        let refused = raw.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn words_that_this_version_does_not_know_are_named_with_table_and_row() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let pc = with_device(&store, "pc").await;
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "INSERT INTO engine_state (device, body) VALUES ('pc', '{\"samples\": 3}');
         INSERT INTO finding (device, rule, component_kind, component_id, phase, since, body)
         VALUES ('pc', 'a', 'os', '0', 'pending', 1, 'not json');",
    )
    .unwrap();
    let damaged = |result: Result<(), StoreError>, table: &str| match result {
        Err(StoreError::Corrupt { detail }) => {
            assert!(detail.contains(table) && detail.contains("pc"), "{detail}")
        }
        other => panic!("{table}: {other:?}"),
    };
    damaged(store.snapshot(&pc, NOW).await.map(drop), "engine_state");
    damaged(store.findings(None, None).await.map(drop), "finding");
    raw.execute("UPDATE device SET status = 'borrowed'", []).unwrap();
    damaged(store.device(&pc).await.map(drop), "device");
}

#[tokio::test]
async fn a_damaged_file_is_refused_in_words_and_without_a_panic() {
    let (_folder, path) = place();
    std::fs::write(
        &path,
        b"this is a text, not a database, and it is long enough to be read as a header".repeat(50),
    )
    .unwrap();
    let refused = Sqlite::open(&path).unwrap_err();
    assert!(matches!(&refused, StoreError::Corrupt { detail } if detail.contains(FILE_NAME)), "{refused}");

    std::fs::remove_file(&path).unwrap();
    let store = Sqlite::open(&path).unwrap();
    let pc = with_device(&store, "pc").await;
    for seq in 1..=50 {
        store.commit(step(&pc, seq, 5000)).await.unwrap();
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    // Every page but the first in turn; what is read must be the truth or an error.
    let pages = whole.len() / 4096;
    assert!(pages > 30, "the file was expected to be larger");
    let mut refusals = 0;
    for page in (1..pages).step_by(3) {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xFF);
        std::fs::write(&path, &damaged).unwrap();
        let Ok(store) = Sqlite::open(&path) else {
            refusals += 1;
            continue;
        };
        let results = [
            store.snapshot(&pc, NOW).await.map(drop),
            store.commit(step(&pc, 51, 5000)).await,
            store.prune_records(NOW.plus(std::time::Duration::from_secs(1)), 100).await.map(drop),
            store.audit(&Page::first(10)).await.map(drop),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            assert!(
                matches!(
                    error,
                    StoreError::Corrupt { .. } | StoreError::Unavailable { .. } | StoreError::Conflict { .. }
                ),
                "{error}"
            );
            refusals += 1;
        }
        drop(store);
        for companion in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{companion}", path.display()));
        }
    }
    assert!(refusals > 0, "no damage was noticed");
}

#[test]
fn a_folder_that_does_not_exist_is_unavailable() {
    let (folder, _) = place();
    let refused = Sqlite::open(&folder.path().join("missing").join(FILE_NAME)).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Unavailable { detail } if detail.contains("missing")),
        "{refused}"
    );
}
