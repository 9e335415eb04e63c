//! Finds out whether a spool is whole, and makes a whole one of what can be found.
//!
//! A spool is whole when every row proves itself, every number between what was trimmed and what comes next is there or
//! was named in a gap record, and nothing is older than the tally. Anything else, and whatever SQLite calls damage, is
//! mended in one way: every record that proves itself, wherever it lies in the file or its journal, moves to a fresh file;
//! numbers that are missing then are named in gap records with the reason `corrupt`; the damaged file is set aside. The
//! fresh file is complete and durable before it takes the place of the damaged one, so a kill in between costs nothing.

use super::carve::{self, Journal};
use super::database::{self, insert_epoch, insert_record};
use super::gap::{self, Range};
use super::held::Held;
use super::mark::{self, Mark};
use super::tally::Count;
use super::{SpoolError, StoredEpoch};
use crate::seams::Folder;
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::{Path, PathBuf};

/// What a spool is not whole for.
pub(super) enum Trouble {
    Refused(rusqlite::Error),
    Inconsistent(&'static str),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Refused(error)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Inconsistent(what) => f.write_str(what),
        }
    }
}

/// An epoch as its row tells it.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) row: i64,
    pub(super) epoch: Epoch,
    pub(super) next: u64,
    pub(super) watermark: u64,
    trimmed: u64,
    lost: Vec<(u64, u64)>,
}

/// Every epoch with its records, when all of it is whole and not older than the tally.
pub(super) fn survey(database: &Connection, counts: &[Count]) -> Result<Vec<StoredEpoch>, Trouble> {
    let lives = lives(database, |_| Err(Trouble::Inconsistent("an epoch is damaged")))?;
    let mut stored: Vec<StoredEpoch> = Vec::with_capacity(lives.len());
    let mut records =
        database.prepare("SELECT epoch, seq, mark, length(payload) FROM record ORDER BY epoch, seq")?;
    let mut rows = records.query([])?;
    let mut row = rows.next()?;
    for life in &lives {
        let mut kept: Vec<(SequenceNumber, usize)> = Vec::new();
        while let Some(here) = row.filter(|row| row.get::<_, i64>(0).is_ok_and(|epoch| epoch == life.row)) {
            let seq: u64 = here.get(1)?;
            let mark: [u8; mark::BYTES] = here.get(2)?;
            let length: usize = here.get(3)?;
            let proven = Mark::from_bytes(&mark)
                .is_some_and(|m| m.epoch == life.epoch && m.seq.0 == seq && m.len as usize == length);
            let ascends = kept.last().is_none_or(|(before, _)| before.0 < seq);
            if !proven || !ascends || seq >= life.next {
                return Err(Trouble::Inconsistent("a record is damaged"));
            }
            kept.push((SequenceNumber(seq), length));
            row = rows.next()?;
        }
        let first = life.trimmed.max(life.watermark) + 1;
        let present = kept.iter().map(|(seq, _)| seq.0);
        if !gap::missing(first, life.next.saturating_sub(1), present, &life.lost).is_empty() {
            return Err(Trouble::Inconsistent("records are missing"));
        }
        stored.push(StoredEpoch {
            epoch: life.epoch,
            watermark: SequenceNumber(life.watermark),
            next: SequenceNumber(life.next),
            records: kept,
        });
    }
    if row.is_some() {
        return Err(Trouble::Inconsistent("a record belongs to no epoch"));
    }
    let is_older = |count: &Count| match stored.iter().find(|epoch| epoch.epoch == count.epoch) {
        Some(epoch) => epoch.next < count.next,
        None => count.watermark.0 + 1 < count.next.0,
    };
    if counts.iter().any(is_older) {
        return Err(Trouble::Inconsistent("it is older than its tally"));
    }
    Ok(stored)
}

fn lives(
    database: &Connection,
    damaged: impl Fn(Epoch) -> Result<(), Trouble>,
) -> Result<Vec<Life>, Trouble> {
    let mut statement =
        database.prepare("SELECT id, name, next, watermark, trimmed, sum FROM epoch ORDER BY id")?;
    let mut lost = database.prepare("SELECT first, last FROM lost WHERE epoch = ?")?;
    let mut lives = Vec::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (row, name, next, watermark, trimmed, sum): (i64, [u8; 16], u64, u64, u64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
        let epoch = Epoch(name);
        if sum != database::epoch_sum(epoch, next, watermark, trimmed) {
            damaged(epoch)?;
            continue;
        }
        let lost = lost.query_map([row], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        lives.push(Life { row, epoch, next, watermark, trimmed, lost });
    }
    Ok(lives)
}

/// What a mended spool came to.
pub(super) struct Mended {
    /// How many records were found.
    pub(super) found: u64,
    /// What is named in gap records.
    pub(super) missing: Vec<Range>,
    /// The gap records, in the current epoch.
    pub(super) gaps: Vec<(SequenceNumber, usize)>,
}

/// What is known of a damaged spool.
pub(super) struct Damaged<'a> {
    pub(super) path: &'a Path,
    pub(super) database: Option<Connection>,
    pub(super) journal: Journal,
    pub(super) counts: &'a [Count],
    pub(super) current: Epoch,
    /// What has numbers of the current epoch and is not in the file.
    pub(super) held: &'a Held,
}

impl Damaged<'_> {
    /// Moves everything that proves itself to a fresh file, and names the rest.
    pub(super) fn mend(self, now: Timestamp) -> Result<Mended, SpoolError> {
        let Self { path, database, journal, counts, current, held } = self;
        let known =
            database.as_ref().and_then(|database| lives(database, |_| Ok(())).ok()).unwrap_or_default();
        drop(database);
        let mended = mended_path(path);
        for leftover in [mended.clone(), database::beside(&mended, "-wal"), database::beside(&mended, "-shm")]
        {
            match std::fs::remove_file(&leftover) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(SpoolError::SetAside { path: leftover, source: error });
                }
                Ok(()) | Err(_) => {}
            }
        }
        let refused = |source| SpoolError::Sqlite { path: mended.clone(), source };
        let outcome = {
            let mut fresh = database::open(&Folder { path: mended.clone() }).map_err(refused)?;
            let plan = plan(known, counts, current);
            let outcome = fill(&mut fresh, path, &journal, plan, (current, held), now).map_err(refused)?;
            // Everything into the file itself: the journal would stay behind when it is renamed.
            fresh.pragma_update(None, "wal_checkpoint", "TRUNCATE").map_err(refused)?;
            fresh.close().map_err(|(_, error)| refused(error))?;
            outcome
        };
        database::put_in_place(&mended, path)?;
        Ok(outcome)
    }
}

/// Where the fresh file is made.
pub(super) fn mended_path(path: &Path) -> PathBuf {
    path.with_file_name("spool-mended.db")
}

/// Which epochs to expect, oldest first, the current one last.
fn plan(known: Vec<Life>, counts: &[Count], current: Epoch) -> Vec<Life> {
    let mut lives: Vec<Life> = counts
        .iter()
        .map(|count| Life {
            row: 0,
            epoch: count.epoch,
            next: count.next.0,
            watermark: count.watermark.0,
            trimmed: 0,
            lost: Vec::new(),
        })
        .collect();
    for life in known {
        match lives.iter_mut().find(|known| known.epoch == life.epoch) {
            Some(there) => {
                there.next = there.next.max(life.next);
                there.watermark = there.watermark.max(life.watermark);
                there.trimmed = life.trimmed;
                there.lost = life.lost;
            }
            None => lives.push(life),
        }
    }
    lives.sort_by_key(|life| life.epoch == current);
    lives
}

fn fill(
    fresh: &mut Connection,
    damaged: &Path,
    journal: &Journal,
    mut lives: Vec<Life>,
    (current, held): (Epoch, &Held),
    now: Timestamp,
) -> rusqlite::Result<Mended> {
    // When nothing tells which epochs there were, every one that is found counts; else what belongs to none of them is
    // left over from records that were deleted long ago.
    let any = lives.iter().all(|life| life.epoch == current);
    let transaction = fresh.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for life in &mut lives {
        life.row = insert_epoch(&transaction, life.epoch, life.next, life.watermark, life.trimmed)?;
    }
    carve::records(damaged, journal, |mark, payload| {
        let place = match lives.iter().position(|life| life.epoch == mark.epoch) {
            Some(place) => place,
            None if any => {
                let row = insert_epoch(&transaction, mark.epoch, 1, 0, 0)?;
                lives.push(Life {
                    row,
                    epoch: mark.epoch,
                    next: 1,
                    watermark: 0,
                    trimmed: 0,
                    lost: Vec::new(),
                });
                lives.len() - 1
            }
            None => return Ok(()),
        };
        let Some(life) = lives.get_mut(place) else { return Ok(()) };
        if mark.seq.0 > life.trimmed && !payload.is_empty() {
            insert_record(&transaction, life.row, mark, payload, now)?;
            life.next = life.next.max(mark.seq.0.saturating_add(1));
        }
        Ok::<_, rusqlite::Error>(())
    })?;
    if !held.is_empty() {
        let life = match lives.iter().position(|life| life.epoch == current) {
            Some(place) => lives.get_mut(place),
            None => {
                let row = insert_epoch(&transaction, current, 1, 0, 0)?;
                lives.push(Life { row, epoch: current, next: 1, watermark: 0, trimmed: 0, lost: Vec::new() });
                lives.last_mut()
            }
        };
        if let Some(life) = life {
            held.write(&transaction, life.row, current)?;
            life.next = life.next.max(held.next());
        }
    }
    let found = transaction.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
    let mut missing = Vec::new();
    for life in &lives {
        let present: Vec<u64> = transaction
            .prepare_cached("SELECT seq FROM record WHERE epoch = ? ORDER BY seq")?
            .query_map([life.row], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let first = life.trimmed.max(life.watermark) + 1;
        let holes = gap::missing(first, life.next.saturating_sub(1), present.into_iter(), &life.lost);
        for (first, last) in life.lost.iter().chain(&holes) {
            transaction.execute("INSERT INTO lost VALUES(?, ?, ?)", params![life.row, first, last])?;
        }
        missing.extend(holes.into_iter().map(|(first, last)| Range { epoch: life.epoch, first, last }));
    }
    let mut gaps = Vec::new();
    if !missing.is_empty() && !lives.iter().any(|life| life.epoch == current) {
        let row = insert_epoch(&transaction, current, 1, 0, 0)?;
        lives.push(Life { row, epoch: current, next: 1, watermark: 0, trimmed: 0, lost: Vec::new() });
    }
    if let Some(life) = lives.iter_mut().find(|life| life.epoch == current) {
        for payload in gap::records(&missing, "corrupt", now) {
            let seq = SequenceNumber(life.next);
            insert_record(&transaction, life.row, Mark::of(current, seq, &payload), &payload, now)?;
            gaps.push((seq, payload.len()));
            life.next += 1;
        }
    }
    for life in &lives {
        database::update_epoch(&transaction, life.epoch, |next, _, _| *next = life.next)?;
    }
    transaction.commit()?;
    Ok(Mended { found, missing, gaps })
}
