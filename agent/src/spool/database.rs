//! The SQLite file: its tables, how it is opened, and the small statements that several operations share.

use super::mark::Mark;
use super::{SpoolError, carve};
use crate::sabotage;
use crate::seams::Disk;
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use rusqlite::{Connection, Transaction, params};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many damaged files are kept for whoever wants to know what happened.
const MOST_ASIDE: u32 = 2;

/// `mark` stands before `payload` so that the two lie side by side in the file. `epoch.sum` and `mark` let each row prove
/// itself; `trimmed` and `lost` tell what is missing on purpose or was named in a gap record. No table has an index beside
/// itself: a survey reads the tables, and an index that is damaged would hide rows that are there. (Files of an earlier form
/// have one on the epoch's name; `NOT INDEXED` leaves it aside.)
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS epoch(
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL,
    next INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    trimmed INTEGER NOT NULL DEFAULT 0,
    sum INTEGER
);
CREATE TABLE IF NOT EXISTS record(
    epoch INTEGER NOT NULL REFERENCES epoch(id),
    seq INTEGER NOT NULL,
    spooled_at INTEGER NOT NULL,
    mark BLOB NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY(epoch, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lost(
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
);
";

/// Opens the file, or makes it.
pub(super) fn open(disk: &dyn Disk) -> rusqlite::Result<Connection> {
    let database = disk.open()?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.pragma_update(None, "page_size", carve::PAGE as i64)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if sabotage::is(sabotage::FSYNC_SKIPPED) { "OFF" } else { "FULL" };
    database.pragma_update(None, "synchronous", synchronous)?;
    // Small: the spool is written once and read once.
    database.pragma_update(None, "cache_size", -128)?;
    database.pragma_update(None, "mmap_size", 0)?;
    database.pragma_update(None, "wal_autocheckpoint", 64)?;
    database.pragma_update(None, "journal_size_limit", 1 << 20)?;
    database.execute_batch(SCHEMA)?;
    Ok(database)
}

/// Opens a file that this process has not open yet, and settles the journal that an earlier one left.
pub(super) fn open_settled(disk: &dyn Disk) -> rusqlite::Result<Connection> {
    if disk.folder().is_some() && is_of_another_version(disk.path()) {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
            Some("its header names a version of the file format that nobody wrote here".to_owned()),
        ));
    }
    let database = open(disk)?;
    settle_journal(&database)?;
    Ok(database)
}

/// Whether the header names a version that SQLite would only read. It would be opened, and refuse every record for ever.
fn is_of_another_version(path: &Path) -> bool {
    /// Where the header names the versions for writing and for reading; 2 is that of a journal that is written ahead.
    const VERSIONS: std::ops::Range<usize> = 18..20;
    let mut header = [0; VERSIONS.end];
    let is_whole = File::open(path).and_then(|mut file| file.read_exact(&mut header)).is_ok();
    is_whole && header[VERSIONS].iter().any(|version| *version > 2)
}

/// Writes what the journal holds into the file itself, synced, and empties the journal. After a failed sync the system still
/// shows the journal's pages and never writes them, and reports success from then on: whatever a later process appended
/// behind them would be gone after a power cut. A disk that refuses this refuses the spool, which is then tried again.
fn settle_journal(database: &Connection) -> rusqlite::Result<()> {
    let is_busy = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?;
    if is_busy != 0 {
        tracing::debug!("somebody reads the spool, its journal stays as it is");
    }
    Ok(())
}

/// Whether SQLite says that the file is damaged. A value of another type than the tables hold is damage too.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    let code = error.sqlite_error_code();
    // A file that ends in the middle of a page. A disk that cannot be read is another matter, and may recover.
    if let E::SqliteFailure(
        rusqlite::ffi::Error { extended_code: rusqlite::ffi::SQLITE_IOERR_SHORT_READ, .. },
        _,
    ) = error
    {
        return true;
    }
    matches!(code, Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
        || matches!(
            error,
            E::InvalidColumnType(..) | E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..)
        )
        // The statements are this program's own and right: what SQLite finds wrong with one is in the file, such as a table
        // or a column that the schema lacks, or a format that it does not know.
        || code == Some(rusqlite::ErrorCode::Unknown)
        || matches!(error, E::SqlInputError { .. })
}

/// A file that lies beside `path` and whose name ends so.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Puts the mended file in the place of the damaged one, which is kept, as are the last few.
pub(super) fn put_in_place(mended: &Path, path: &Path) -> Result<(), SpoolError> {
    let place = |n: u32| path.with_file_name(format!("spool-damaged-{n}.db"));
    let step = |path: &Path, done: std::io::Result<()>| match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SpoolError::SetAside { path: path.to_path_buf(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    };
    if path.exists() {
        for n in (1..MOST_ASIDE).rev() {
            step(path, std::fs::rename(place(n), place(n + 1)))?;
        }
        step(path, std::fs::rename(path, place(1)))?;
    }
    // The journal belongs to the damaged file and would be laid over the mended one.
    for suffix in ["-wal", "-shm"] {
        let journal = beside(path, suffix);
        step(&journal, std::fs::remove_file(&journal))?;
    }
    step(path, std::fs::rename(mended, path))
}

/// The checksum of an epoch's row.
pub(super) fn epoch_sum(name: Epoch, next: u64, watermark: u64, trimmed: u64) -> i64 {
    let mut bytes = name.0.to_vec();
    for number in [next, watermark, trimmed] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    i64::from(crc32fast::hash(&bytes))
}

/// Changes an epoch's row and keeps its checksum right.
pub(super) fn update_epoch(
    transaction: &Transaction<'_>,
    name: Epoch,
    change: impl FnOnce(&mut u64, &mut u64, &mut u64),
) -> rusqlite::Result<()> {
    use rusqlite::OptionalExtension;
    let row = transaction
        .prepare_cached("SELECT next, watermark, trimmed FROM epoch NOT INDEXED WHERE name = ?")?
        .query_row([name.0.as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((mut next, mut watermark, mut trimmed)) = row else { return Ok(()) };
    change(&mut next, &mut watermark, &mut trimmed);
    let sum = epoch_sum(name, next, watermark, trimmed);
    transaction
        .prepare_cached(
            "UPDATE epoch NOT INDEXED SET next = ?, watermark = ?, trimmed = ?, sum = ? WHERE name = ?",
        )?
        .execute(params![next, watermark, trimmed, sum, name.0.as_slice()])?;
    Ok(())
}

/// Adds an epoch and gives its row.
pub(super) fn insert_epoch(
    transaction: &Transaction<'_>,
    name: Epoch,
    next: u64,
    watermark: u64,
    trimmed: u64,
) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO epoch(name, next, watermark, trimmed, sum) VALUES(?, ?, ?, ?, ?)",
        params![name.0.as_slice(), next, watermark, trimmed, epoch_sum(name, next, watermark, trimmed)],
    )?;
    Ok(transaction.last_insert_rowid())
}

/// Adds a record to the epoch of this row, unless it is there.
pub(super) fn insert_record(
    transaction: &Transaction<'_>,
    row: i64,
    mark: Mark,
    payload: &[u8],
    now: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO record(epoch, seq, spooled_at, mark, payload) VALUES(?, ?, ?, ?, ?)",
        )?
        .execute(params![row, mark.seq.0, now.as_millis(), mark.to_bytes().as_slice(), payload])?;
    Ok(())
}

/// Everything of these epochs through these numbers is acked.
pub(super) fn write_watermarks(
    transaction: &Transaction<'_>,
    watermarks: &[(Epoch, SequenceNumber)],
) -> rusqlite::Result<()> {
    for (epoch, through) in watermarks {
        // What is acked may not be in the file yet (`held`).
        update_epoch(transaction, *epoch, |next, watermark, _| {
            *watermark = through.0.min(next.saturating_sub(1)).max(*watermark);
        })?;
    }
    Ok(())
}
