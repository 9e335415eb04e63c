//! What an agent kept while nobody listened: a spool of an earlier life, large enough that a fault can strike in the
//! middle of its delivery, with faults in it that have to become one ticket each.

use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp, semconv};
use firstline_proto::convert::encode_record;
use rusqlite::{Connection, params};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of the earlier life.
const EPOCH: [u8; 16] = *b"an earlier life.";

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Records.
    pub records: u64,
    /// Drives that fill up in it, one after the other. Each stays full for twenty minutes of its time.
    pub full_drives: u64,
}

impl Backlog {
    /// Writes it into the spool of an agent that does not run. The agent must have run before, so that the tables are
    /// its own.
    ///
    /// # Panics
    /// When the spool is not as expected.
    pub fn write(self, spool: &Path) {
        let mut database = Connection::open(spool).expect("the spool can be opened");
        let transaction = database.transaction().expect("the spool can be written");
        let next = self.records + 1;
        transaction
            .execute(
                "INSERT INTO epoch(name, next, watermark, trimmed, sum) VALUES(?, ?, 0, 0, ?)",
                params![EPOCH.as_slice(), next, epoch_sum(next)],
            )
            .expect("an epoch can be added");
        let epoch = transaction.last_insert_rowid();
        // All of it lies within the last hour, because older faults would be another matter.
        let begin = now_ms() - 3_000_000;
        let step = 2_400_000 / i64::try_from(self.records).unwrap_or(i64::MAX).max(1);
        for seq in 1..=self.records {
            let at = begin + step * i64::try_from(seq).unwrap_or(0);
            let payload = encode_record(&self.observations(seq, at));
            transaction
                .execute(
                    "INSERT INTO record(epoch, seq, spooled_at, mark, payload) VALUES(?, ?, ?, ?, ?)",
                    params![epoch, seq, at, mark(seq, &payload), payload],
                )
                .expect("a record can be added");
        }
        transaction.commit().expect("the backlog can be committed");
    }

    /// A drive fills at its turn in the first half and stays full; the sequence number is in every record, so that no
    /// two are alike.
    fn observations(self, seq: u64, at: i64) -> Vec<Observation> {
        let drive = seq % self.full_drives;
        let is_full = seq > drive * (self.records / 2) / self.full_drives;
        vec![
            sample(
                ComponentKind::Filesystem,
                &drive_name(drive),
                semconv::FILESYSTEM_UTILIZATION,
                at,
                if is_full { 0.95 } else { 0.5 },
            ),
            sample(ComponentKind::Agent, "0", semconv::PROBE_DURATION, at, seq as f64),
        ]
    }
}

/// The checksum of the epoch's row: of its name and its numbers, next, watermark and trimmed.
fn epoch_sum(next: u64) -> u32 {
    let numbers = [next, 0, 0].map(u64::to_le_bytes).concat();
    crc32fast::hash(&[EPOCH.as_slice(), &numbers].concat())
}

/// What stands before each payload: a magic word, the epoch, the number, length and checksum, and a checksum of all this.
fn mark(seq: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a record");
    let mut mark = [b"FLr1".as_slice(), &EPOCH, &seq.to_le_bytes(), &length.to_le_bytes()].concat();
    mark.extend(crc32fast::hash(payload).to_le_bytes());
    mark.extend(crc32fast::hash(&mark).to_le_bytes());
    mark
}

/// The component id of a drive of the backlog.
pub fn drive_name(drive: u64) -> String {
    format!("/backlog/{drive}")
}

fn sample(kind: ComponentKind, id: &str, metric: &'static str, at: i64, value: f64) -> Observation {
    Observation {
        component: Component::new(kind, id.to_owned()).expect("a component"),
        observed_at: Timestamp::from_millis(at),
        body: Body::Sample { metric: metric.into(), attributes: Attributes::none(), value },
    }
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the end of time")
}
