//! Copies of a file that is in use, and the check of a copy before anything is trusted to it.
//!
//! A copy is one moment: a read transaction is held from the first page to the last, which in WAL mode keeps no writer
//! waiting. Without it SQLite would begin anew at every commit of another process and never end under load. Meanwhile
//! the write-ahead log cannot be reset, so it grows by what is written during the copy.

use super::connection::{Opener, create_private};
use super::failure::{Failure, count};
use super::migrations;
use crate::StoreError;
use firstline_model::Timestamp;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::path::Path;

/// Pages copied at once; between two portions progress is told.
const PORTION: i32 = 1024;
/// Faults of a damaged file that are named.
const MOST_FAULTS: u32 = 5;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Its schema.
    pub schema: i64,
    /// Devices, whatever their status.
    pub devices: u64,
    /// Tickets.
    pub tickets: u64,
    /// Records.
    pub records: u64,
    /// The last ticket number that was given out.
    pub last_ticket: u64,
    /// When the newest record was received.
    pub newest_record: Option<Timestamp>,
    /// When the first device was enrolled.
    pub first_enrolled: Option<Timestamp>,
}

/// The newest schema that this program knows.
pub fn newest_schema() -> i64 {
    migrations::newest()
}

/// Copies `source` to the new file `target`, which only its owner may read; the copy is checked. `progress` hears how
/// many bytes of how many are done.
pub fn snapshot(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Snapshot, StoreError> {
    let reader = Opener::new(source).reader()?;
    create_private(target)?;
    let mut copy = Connection::open(target).map_err(failed)?;
    copy_pages(&reader, &mut copy, progress).map_err(failed)?;
    check_connection(&copy, "quick_check")?;
    Ok(summary(&copy)?)
}

fn copy_pages(
    source: &Connection,
    target: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> rusqlite::Result<()> {
    // Nothing is trusted to this file before it is checked and made durable as a whole.
    target.pragma_update(None, "journal_mode", "OFF")?;
    target.pragma_update(None, "synchronous", "OFF")?;
    let page: u64 = source.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let moment = source.unchecked_transaction()?;
    // The first read is what begins the moment.
    let _: i64 = moment.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let backup = Backup::new(&moment, target)?;
    loop {
        let step = backup.step(PORTION)?;
        let at = backup.progress();
        let pages = |count: i32| u64::try_from(count).unwrap_or(0) * page;
        progress(pages(at.pagecount - at.remaining), pages(at.pagecount));
        if step == StepResult::Done {
            break;
        }
        // Nobody else knows the target, and the source is only read: nothing can be in the way.
        if step != StepResult::More {
            return Err(rusqlite::Error::InvalidQuery);
        }
    }
    drop(backup);
    moment.finish()
}

/// Checks a copy from end to end: every page, every index, the schema. Says what it holds.
pub fn check(path: &Path) -> Result<Snapshot, StoreError> {
    let connection = Opener::new(path).reader()?;
    check_connection(&connection, "integrity_check")?;
    Ok(summary(&connection)?)
}

/// A quick check of a file that may be in use: structure, without comparing indexes.
pub fn quick_check(path: &Path) -> Result<Snapshot, StoreError> {
    let connection = Opener::new(path).reader()?;
    check_connection(&connection, "quick_check")?;
    Ok(summary(&connection)?)
}

fn check_connection(connection: &Connection, kind: &str) -> Result<(), StoreError> {
    let read = || {
        let mut statement = connection.prepare(&format!("PRAGMA {kind}({MOST_FAULTS})"))?;
        let said = statement.query_map([], |row| row.get::<_, String>(0))?;
        said.collect::<rusqlite::Result<Vec<_>>>()
    };
    let said = read().map_err(failed)?;
    if said.iter().map(String::as_str).eq(["ok"]) {
        return Ok(());
    }
    Err(StoreError::Corrupt { detail: said.join("; ") })
}

fn summary(connection: &Connection) -> Result<Snapshot, Failure> {
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    let moment = |query: &str| {
        connection
            .query_row(query, [], |row| row.get::<_, Option<i64>>(0))
            .map(|at| at.map(Timestamp::from_millis))
    };
    Ok(Snapshot {
        schema: number("SELECT coalesce(max(version), 0) FROM schema_version")?,
        devices: count("device", number("SELECT count(*) FROM device")?)?,
        tickets: count("ticket", number("SELECT count(*) FROM ticket")?)?,
        records: count("counter", number("SELECT value FROM counter WHERE name = 'record'")?)?,
        last_ticket: count("counter", number("SELECT value FROM counter WHERE name = 'ticket'")?)?,
        newest_record: moment("SELECT max(received_at) FROM record")?,
        first_enrolled: moment("SELECT min(enrolled_at) FROM device")?,
    })
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::from(Failure::Sqlite(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::sqlite::Sqlite;

    #[test]
    fn f26_a_copy_made_while_others_write_is_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("collector.db"), folder.path().join("copy.db"));
        let store = Sqlite::open(&source).unwrap();
        let writer = Connection::open(&source).unwrap();
        writer
            .execute_batch("CREATE TABLE pair (a, b); INSERT INTO pair VALUES (0, zeroblob(16 << 20))")
            .unwrap();
        let (mut portions, mut n) = (0, 0);
        snapshot(&source, &target, &mut |done, total| {
            // Another process commits between any two portions.
            n += 1;
            writer.execute("INSERT INTO pair VALUES (?1, zeroblob(5000))", [n]).unwrap();
            assert!(done <= total);
            portions += 1;
        })
        .unwrap();
        assert!((4..40).contains(&portions), "the copy began anew: {portions} portions");
        let copy = Connection::open(&target).unwrap();
        let rows: i64 = copy.query_row("SELECT count(*) FROM pair", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "something of a later moment is in the copy");
        assert_eq!(check(&target).unwrap().schema, newest_schema());
        drop(store);
    }

    #[test]
    fn f26_a_damaged_copy_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("collector.db");
        drop(Sqlite::open(&path).unwrap());
        check(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8192].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(check(&path), Err(StoreError::Corrupt { .. })));
    }
}
