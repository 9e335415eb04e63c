//! A collector that is killed keeps every commit that it acknowledged, and nothing twice.
//!
//! The writer is this same test binary, started again with a folder in its environment; it is killed with SIGKILL
//! at some point while several devices commit at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case has failed")]

use firstline_collector_store::engines::sqlite::{FILE_NAME, Sqlite};
use firstline_collector_store::plan::{CommitPlan, DevicePlan, NewMark, NewRecord};
use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus, EnrollmentToken};
use firstline_collector_store::store::{Enrollment, Ingest};
use firstline_model::{DeviceId, Epoch, SequenceNumber, Timestamp, Value};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const FOLDER: &str = "FIRSTLINE_TEST_KILLED_WRITER";
const EPOCH: Epoch = Epoch([3; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const DEVICES: usize = 4;
const ROUNDS: usize = 20;

fn name(n: usize) -> DeviceId {
    DeviceId::new(format!("pc-{n}")).unwrap()
}

fn step(device: &DeviceId, seq: u64) -> CommitPlan {
    CommitPlan::of(vec![DevicePlan {
        records: vec![NewRecord {
            epoch: EPOCH,
            seq: SequenceNumber(seq),
            received_at: NOW,
            payload: seq.to_le_bytes().repeat(100),
            clock_suspect: false,
        }],
        marks: vec![NewMark {
            epoch: EPOCH,
            before: (seq > 1).then(|| SequenceNumber(seq - 1)),
            through: SequenceNumber(seq),
        }],
        ..DevicePlan::unchanged(device.clone())
    }])
}

async fn stored(store: &Sqlite, device: &DeviceId) -> u64 {
    let snapshot = store.snapshot(device, NOW).await.unwrap().unwrap();
    snapshot.marks.first().map_or(0, |(_, through)| through.0)
}

/// The writer. Without a folder in the environment it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Arc::new(Sqlite::open(&Path::new(&folder).join(FILE_NAME)).unwrap());
    let writers: Vec<_> = (0..DEVICES)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let device = name(n);
                let mut seq = stored(&store, &device).await;
                while seq < u64::MAX {
                    seq += 1;
                    store.commit(step(&device, seq)).await.unwrap();
                    println!("ack {n} {seq}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn prepare(folder: &Path) {
    let store = Sqlite::open(&folder.join(FILE_NAME)).unwrap();
    let audit = AuditEntry {
        at: NOW,
        actor: "anna".to_owned(),
        action: "token.create".to_owned(),
        subject: String::new(),
        detail: String::new(),
    };
    let token = EnrollmentToken {
        hash: [1; 32],
        uses_left: 100,
        expires_at: Timestamp::from_millis(i64::MAX),
        site: None,
        created_at: NOW,
    };
    store.create_token(&token, &audit).await.unwrap();
    for n in 0..DEVICES {
        let device = Device {
            id: name(n),
            hostname: format!("pc-{n}"),
            site: None,
            status: DeviceStatus::Active,
            tags: Vec::new(),
            facts: Value::map::<&'static str>([]),
            agent_version: String::new(),
            enrolled_at: NOW,
            last_seen_at: None,
            presence: None,
            certificate_fingerprint: String::new(),
            certificate_not_after: NOW,
        };
        store.enroll(&[1; 32], &device, NOW).await.unwrap();
    }
}

/// Starts the writer, kills it after some acknowledgements, and returns the highest one of each device.
#[expect(clippy::disallowed_methods, reason = "the writer has to be a process of its own to be killed")]
fn write_until_killed(folder: &Path, acks: usize) -> BTreeMap<usize, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer_that_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut highest = BTreeMap::new();
    let mut seen = 0;
    let mut note = |line: &str| {
        // The test harness may have begun the line.
        let Some((_, ack)) = line.split_once("ack ") else { return false };
        let Some((n, seq)) = ack.split_once(' ') else { return false };
        // The last line may be cut off anywhere, so a number that is too small is possible; one too large is not.
        let (Ok(n), Ok(seq)) = (n.parse::<usize>(), seq.parse::<u64>()) else { return false };
        let known = highest.entry(n).or_insert(0);
        *known = seq.max(*known);
        true
    };
    while seen < acks {
        let line = lines.next().expect("the writer stopped by itself").unwrap();
        seen += usize::from(note(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it acknowledged before it died is still in the pipe.
    for line in lines.map_while(Result::ok) {
        note(&line);
    }
    highest
}

#[tokio::test]
async fn every_acknowledged_commit_is_there_after_a_kill() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path()).await;
    for round in 0..ROUNDS {
        let acknowledged = write_until_killed(folder.path(), 5 + round * 7);
        let store = Sqlite::open(&folder.path().join(FILE_NAME)).unwrap();
        let mut records = 0;
        for n in 0..DEVICES {
            let through = stored(&store, &name(n)).await;
            let acked = acknowledged.get(&n).copied().unwrap_or(0);
            assert!(through >= acked, "round {round}: device {n} acknowledged {acked}, {through} is stored");
            records += through;
        }
        drop(store);
        let raw = rusqlite::Connection::open(folder.path().join(FILE_NAME)).unwrap();
        let text = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        let number = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
        assert_eq!(text("PRAGMA integrity_check"), "ok", "round {round}");
        assert_eq!(u64::from(number("SELECT count(*) FROM record")), records, "round {round}");
        assert_eq!(
            u64::from(number("SELECT value FROM counter WHERE name = 'record'")),
            records,
            "round {round}"
        );
        let gaps =
            "SELECT count(*) FROM (SELECT device, count(*) AS n, max(seq) AS top FROM record GROUP BY device)
             WHERE n <> top";
        assert_eq!(number(gaps), 0, "round {round}");
    }
}
