//! The durable queue: SQLite in WAL mode with `synchronous=FULL`, so that what [`Spool::append`] returned survives a
//! kill and a power cut.
//!
//! # Contract
//!
//! - A record gets its number when it becomes durable, never before. Numbers are given out in one epoch per process
//!   life, so a spool restored from an old copy cannot give a number out twice.
//! - A watermark (everything through it is acked) becomes durable with the next append or [`Spool::flush`]; it may
//!   lag behind, which only causes a resend. Records are deleted only at or below a durable watermark.
//! - Acked records stay for a while ([`Limits::keep_acked`]), because a collector that is restored from a backup needs
//!   them again. They are the first to go when the quota is reached; after them the oldest unacked records go, and a gap
//!   record that counts them is appended in the same transaction.
//! - A failed write leaves the spool as it was; the caller keeps the payload and tries again. A file that SQLite calls
//!   damaged is set aside, never deleted, and a new one begins.

use crate::seams::Disk;
use firstline_model::{Body, Component, ComponentKind, Epoch, Observation, SequenceNumber, Timestamp};
use firstline_proto::convert::encode_record;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why the spool could not do its work.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    /// SQLite refused: disk full, read-only, I/O error.
    #[error("the spool {} cannot be used", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The damaged file could not be set aside.
    #[error("the damaged spool {} cannot be set aside", path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What bounds the spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most bytes of payload.
    pub quota: u64,
    /// How long acked records are kept.
    pub keep_acked: Duration,
}

/// An epoch as the sender has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEpoch {
    /// Its name.
    pub epoch: Epoch,
    /// Everything through this is acked.
    pub watermark: SequenceNumber,
    /// The number that its next record would get.
    pub next: SequenceNumber,
    /// Number and size of each record that is kept.
    pub records: Vec<(SequenceNumber, usize)>,
}

/// A record that became durable, and what had to go for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The new records, the given one last (a gap record may stand before it).
    pub records: Vec<(Epoch, SequenceNumber, usize)>,
    /// Deleted for the quota: everything of this epoch through this number.
    pub trimmed: Vec<(Epoch, SequenceNumber)>,
}

/// The queue.
pub(crate) struct Spool {
    disk: Box<dyn Disk>,
    path: PathBuf,
    database: Connection,
    limits: Limits,
    current: Epoch,
    current_row: Option<i64>,
    next: SequenceNumber,
    bytes: u64,
    watermarks: Vec<(Epoch, SequenceNumber)>,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS epoch(
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    next INTEGER NOT NULL,
    watermark INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS record(
    epoch INTEGER NOT NULL REFERENCES epoch(id),
    seq INTEGER NOT NULL,
    spooled_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY(epoch, seq)
) WITHOUT ROWID;
";

impl Spool {
    /// Opens the spool on `disk`; new records will belong to `fresh`, which must be random.
    pub(crate) fn open(disk: Box<dyn Disk>, fresh: Epoch, limits: Limits) -> Result<Self, SpoolError> {
        let path = disk.path().to_path_buf();
        let database = match open_database(&*disk) {
            Ok(database) => database,
            Err(error) if is_damage(&error) => {
                tracing::warn!(file = %path.display(), error = %error, "the spool is damaged and is set aside");
                disk.set_aside().map_err(|source| SpoolError::SetAside { path: path.clone(), source })?;
                open_database(&*disk).map_err(|source| SpoolError::Sqlite { path: path.clone(), source })?
            }
            Err(source) => return Err(SpoolError::Sqlite { path, source }),
        };
        let bytes = database
            .query_row("SELECT coalesce(sum(length(payload)), 0) FROM record", [], |row| row.get::<_, u64>(0))
            .map_err(|source| SpoolError::Sqlite { path: path.clone(), source })?;
        Ok(Self {
            disk,
            path,
            database,
            limits,
            current: fresh,
            current_row: None,
            next: SequenceNumber(1),
            bytes,
            watermarks: Vec::new(),
        })
    }

    /// The epoch of this process.
    pub(crate) fn current(&self) -> Epoch {
        self.current
    }

    /// New bounds.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of payload that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything that is kept, oldest epoch first.
    pub(crate) fn stored(&self) -> Result<Vec<StoredEpoch>, SpoolError> {
        self.attempt(|database| {
            let mut epochs = database.prepare("SELECT id, name, watermark, next FROM epoch ORDER BY id")?;
            let rows = epochs.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get(2)?, row.get(3)?))
            })?;
            let mut records =
                database.prepare("SELECT seq, length(payload) FROM record WHERE epoch = ? ORDER BY seq")?;
            rows.map(|row| {
                let (id, name, watermark, next) = row?;
                let kept = records
                    .query_map([id], |row| Ok((SequenceNumber(row.get(0)?), row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let (watermark, next) = (SequenceNumber(watermark), SequenceNumber(next));
                Ok(StoredEpoch { epoch: Epoch(name), watermark, next, records: kept })
            })
            .collect()
        })
    }

    /// Makes a record durable and gives it its number.
    pub(crate) fn append(&mut self, payload: &[u8], now: Timestamp) -> Result<Appended, SpoolError> {
        let (current, quota) = (self.current, self.limits.quota);
        let (mut row, mut next, mut bytes) = (self.current_row, self.next, self.bytes);
        let watermarks = std::mem::take(&mut self.watermarks);
        let result = (|| {
            let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write_watermarks(&transaction, &watermarks)?;
            let id = match row {
                Some(id) => id,
                None => {
                    transaction.execute(
                        "INSERT INTO epoch(name, next, watermark) VALUES(?, 1, 0)",
                        params![current.0.as_slice()],
                    )?;
                    transaction.last_insert_rowid()
                }
            };
            row = Some(id);
            let mut appended = Appended { records: Vec::new(), trimmed: Vec::new() };
            let needed = payload.len() as u64;
            let mut given_up = Vec::new();
            while bytes + needed > quota {
                let Some(freed) = drop_oldest(&transaction, id)? else { break };
                bytes = bytes.saturating_sub(freed.bytes);
                appended.trimmed.push((freed.epoch, freed.last));
                given_up.extend(freed.unacked.map(|(first, last)| (freed.epoch, first, last)));
            }
            let mut insert = |payload: &[u8]| -> rusqlite::Result<()> {
                transaction
                    .prepare_cached("INSERT INTO record(epoch, seq, spooled_at, payload) VALUES(?, ?, ?, ?)")?
                    .execute(params![id, next.0, now.as_millis(), payload])?;
                appended.records.push((current, next, payload.len()));
                bytes += payload.len() as u64;
                next = next.next();
                Ok(())
            };
            if !given_up.is_empty() {
                insert(&gap_record(&given_up, now))?;
            }
            insert(payload)?;
            transaction.execute("UPDATE epoch SET next = ? WHERE id = ?", params![next.0, id])?;
            transaction.commit()?;
            Ok(appended)
        })();
        match result {
            Ok(appended) => {
                (self.current_row, self.next, self.bytes) = (row, next, bytes);
                Ok(appended)
            }
            Err(source) => {
                self.watermarks = watermarks;
                Err(self.failed(source))
            }
        }
    }

    /// The payloads of `count` records from `first`; one that is no longer kept is empty.
    pub(crate) fn read(
        &self,
        epoch: Epoch,
        first: SequenceNumber,
        count: u32,
    ) -> Result<Vec<Vec<u8>>, SpoolError> {
        self.attempt(|database| {
            let mut statement = database.prepare_cached(
                "SELECT seq, payload FROM record WHERE epoch = (SELECT id FROM epoch WHERE name = ?)
                 AND seq >= ? AND seq < ? ORDER BY seq",
            )?;
            let mut payloads = vec![Vec::new(); count as usize];
            let end = first.0.saturating_add(u64::from(count));
            let mut rows = statement.query(params![epoch.0.as_slice(), first.0, end])?;
            while let Some(row) = rows.next()? {
                let place = row.get::<_, u64>(0)? - first.0;
                if let Some(payload) = usize::try_from(place).ok().and_then(|place| payloads.get_mut(place)) {
                    *payload = row.get(1)?;
                }
            }
            Ok(payloads)
        })
    }

    /// Everything of the epoch through this number is acked. Durable with the next append or flush.
    pub(crate) fn set_watermark(&mut self, epoch: Epoch, through: SequenceNumber) {
        self.watermarks.retain(|(known, _)| *known != epoch);
        self.watermarks.push((epoch, through));
    }

    /// Makes the watermarks durable, then deletes acked records that were kept long enough, and epochs that are done.
    /// Returns what was deleted.
    pub(crate) fn flush(&mut self, now: Timestamp) -> Result<Vec<(Epoch, SequenceNumber)>, SpoolError> {
        let watermarks = std::mem::take(&mut self.watermarks);
        let (keep, current) = (self.limits.keep_acked, self.current_row.unwrap_or(-1));
        let result = (|| {
            let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write_watermarks(&transaction, &watermarks)?;
            transaction.commit()?;
            // Only now is the watermark durable, and only what it covers may go.
            let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut deleted = Vec::new();
            {
                let mut old = transaction.prepare(
                    "SELECT e.name, max(r.seq), e.id FROM record r JOIN epoch e ON e.id = r.epoch
                     WHERE r.seq <= e.watermark AND r.spooled_at < ? GROUP BY e.id",
                )?;
                let mut rows = old.query([now.minus(keep).as_millis()])?;
                while let Some(row) = rows.next()? {
                    let (name, last, id): ([u8; 16], u64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    transaction
                        .execute("DELETE FROM record WHERE epoch = ? AND seq <= ?", params![id, last])?;
                    deleted.push((Epoch(name), SequenceNumber(last)));
                }
            }
            transaction.execute(
                "DELETE FROM epoch WHERE id <> ? AND id NOT IN (SELECT DISTINCT epoch FROM record)",
                [current],
            )?;
            transaction.commit()?;
            self.database
                .query_row("SELECT coalesce(sum(length(payload)), 0) FROM record", [], |row| row.get(0))
                .map(|bytes: u64| (deleted, bytes))
        })();
        match result {
            Ok((deleted, bytes)) => {
                self.bytes = bytes;
                Ok(deleted)
            }
            Err(source) => {
                self.watermarks = watermarks;
                Err(self.failed(source))
            }
        }
    }

    fn attempt<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SpoolError> {
        read(&self.database).map_err(|source| SpoolError::Sqlite { path: self.path.clone(), source })
    }

    fn failed(&mut self, source: rusqlite::Error) -> SpoolError {
        // After a failed write or sync nothing is known of the connection's pages: start from the file again.
        if let Ok(database) = open_database(&*self.disk) {
            self.database = database;
        }
        let known = self.database.query_row(
            "SELECT id, next FROM epoch WHERE name = ?",
            params![self.current.0.as_slice()],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)),
        );
        if let Ok(known) = known.optional() {
            self.current_row = known.map(|(id, _)| id);
            self.next = SequenceNumber(known.map_or(1, |(_, next)| next));
        }
        SpoolError::Sqlite { path: self.path.clone(), source }
    }
}

struct Freed {
    epoch: Epoch,
    last: SequenceNumber,
    bytes: u64,
    unacked: Option<(SequenceNumber, SequenceNumber)>,
}

/// Deletes some of the oldest records: acked ones first, then unacked ones, never of nothing.
fn drop_oldest(transaction: &rusqlite::Transaction<'_>, current: i64) -> rusqlite::Result<Option<Freed>> {
    const AT_ONCE: u32 = 64;
    let acked = transaction
        .query_row(
            "SELECT r.epoch FROM record r JOIN epoch e ON e.id = r.epoch WHERE r.seq <= e.watermark
             ORDER BY r.epoch, r.seq LIMIT 1",
            [],
            |row| row.get::<_, i64>(0),
        )
        .optional()?;
    let id = match acked {
        Some(id) => Some(id),
        None => transaction
            .query_row("SELECT epoch FROM record ORDER BY epoch, seq LIMIT 1", [], |row| row.get(0))
            .optional()?,
    };
    let Some(id) = id else { return Ok(None) };
    let (name, watermark): ([u8; 16], u64) =
        transaction.query_row("SELECT name, watermark FROM epoch WHERE id = ?", [id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let bound = if acked.is_some() { watermark } else { u64::MAX >> 1 };
    let (first, last, bytes): (u64, u64, u64) = transaction.query_row(
        "SELECT min(seq), max(seq), sum(length(payload)) FROM
         (SELECT seq, payload FROM record WHERE epoch = ? AND seq <= ? ORDER BY seq LIMIT ?)",
        params![id, bound, AT_ONCE],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    transaction.execute("DELETE FROM record WHERE epoch = ? AND seq <= ?", params![id, last])?;
    if id != current {
        transaction.execute(
            "DELETE FROM epoch WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM record WHERE epoch = ?1)",
            [id],
        )?;
    }
    let unacked = acked.is_none().then_some((SequenceNumber(first), SequenceNumber(last)));
    Ok(Some(Freed { epoch: Epoch(name), last: SequenceNumber(last), bytes, unacked }))
}

fn gap_record(given_up: &[(Epoch, SequenceNumber, SequenceNumber)], now: Timestamp) -> Vec<u8> {
    let gap = |(epoch, first, last): &(Epoch, SequenceNumber, SequenceNumber)| Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: now,
        body: Body::Gap { epoch: *epoch, first: first.0, last: last.0, reason: "quota".into() },
    };
    encode_record(&given_up.iter().map(gap).collect::<Vec<_>>())
}

fn write_watermarks(
    transaction: &rusqlite::Transaction<'_>,
    watermarks: &[(Epoch, SequenceNumber)],
) -> rusqlite::Result<()> {
    for (epoch, through) in watermarks {
        transaction.execute(
            "UPDATE epoch SET watermark = max(watermark, ?) WHERE name = ?",
            params![through.0, epoch.0.as_slice()],
        )?;
    }
    Ok(())
}

fn open_database(disk: &dyn Disk) -> rusqlite::Result<Connection> {
    let database = disk.open()?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    // Small: the spool is written once and read once.
    database.pragma_update(None, "cache_size", -128)?;
    database.pragma_update(None, "mmap_size", 0)?;
    database.pragma_update(None, "wal_autocheckpoint", 64)?;
    database.pragma_update(None, "journal_size_limit", 1 << 20)?;
    database.execute_batch(SCHEMA)?;
    Ok(database)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

#[cfg(test)]
mod tests;
