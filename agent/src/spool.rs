//! The durable queue: SQLite in WAL mode with `synchronous=FULL`, so that what [`Spool::append`] returned survives a
//! kill and a power cut.
//!
//! # Contract
//!
//! - A record gets its number when it becomes durable, or, while the collector answers at once, up to a second before it
//!   ([`Spool::hold`]). Numbers are given out in epochs that this process life began, so neither a crash nor a spool that was
//!   restored from an old copy can give a number out twice.
//! - A watermark (everything through it is acked) becomes durable with the next append or [`Spool::flush`]; it may
//!   lag behind, which only causes a resend. Records are deleted only at or below a durable watermark.
//! - Acked records stay for a while ([`Limits::keep_acked`]), because a collector that is restored from a backup needs
//!   them again. They are the first to go when the quota is reached; after them the oldest unacked records go, and a gap
//!   record that counts them is appended in the same transaction.
//! - A failed write leaves the spool as it was; the caller keeps the payload and tries again. Nothing is known of a
//!   connection whose sync failed, so the file is opened anew and the payload is written from memory. The new connection
//!   is there before the old one goes: what the failed commit left in the journal is then overwritten, not found.
//! - A disk that refuses to have the spool opened at all is tried again as one that refuses a write ([`opening`]). Records
//!   that the caller could not keep in memory until then get numbers when it works again, and a gap record names them.
//! - Every record proves itself ([`mark`]). One that does not is never delivered: it is named in a gap record with the
//!   reason `corrupt` before its number goes out empty. A file that SQLite calls damaged, or in which something is
//!   missing, is mended ([`mend`]): what is whole is kept, what is not is named, the damaged file is set aside.
//! - A clock that is wrong deletes nothing that is not acked, and of the rest little at a time ([`Spool::flush`]).
//!
//! # What damage costs
//!
//! One flipped byte costs at most the record that it is in: records are found by their marks, not by the pages and
//! pointers around them. A lost page of 4 KiB costs the records that have a part of it.

mod broken;
mod carve;
mod database;
mod gap;
mod held;
mod mark;
mod mend;
mod opening;
mod tally;
mod trim;

use crate::sabotage::{self, SPOOL_RESET_ON_BAD_RECORD};
use crate::seams::Disk;
use carve::Journal;
use database::{insert_epoch, insert_record, is_damage, update_epoch, write_watermarks};
use firstline_agent_platform::disk;
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use gap::Range;
use held::Held;
use mark::Mark;
use mend::{Damaged, Mended, Trouble};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tally::{Count, Tally};
use thiserror::Error;

/// While the file system has less than its reserve free, the spool stops growing, unless it is smaller than this.
const ALWAYS_ALLOWED: u64 = 16 << 20;

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
    /// The damaged file could not be set aside or replaced.
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
    /// What had its number before.
    pub held: Vec<(Epoch, SequenceNumber, usize)>,
    /// Deleted for the quota: everything of this epoch through this number.
    pub trimmed: Vec<(Epoch, SequenceNumber)>,
}

/// The queue.
pub(crate) struct Spool {
    disk: Box<dyn Disk>,
    path: PathBuf,
    /// `None` until the disk lets it be opened, and while a damaged file is being replaced.
    database: Option<Connection>,
    /// Whether it was opened once. Until then nothing is known of what it holds.
    is_open: bool,
    /// The journal as it was before SQLite first looked at it, until the file is open.
    journal: Journal,
    tally: Tally,
    limits: Limits,
    current: Epoch,
    current_row: Option<i64>,
    next: SequenceNumber,
    /// What has its number and is not on disk yet.
    held: Held,
    bytes: u64,
    watermarks: Vec<(Epoch, SequenceNumber)>,
    /// Gap records that became durable and that the caller does not know yet.
    news: Vec<(SequenceNumber, usize)>,
    /// Time awake and time by the wall clock when this life began.
    begun: Option<(Duration, Timestamp)>,
}

impl Spool {
    /// The epoch that records belong to now.
    pub(crate) fn current(&self) -> Epoch {
        self.current
    }

    /// From here on records belong to `fresh`, which must be random. It becomes durable with its first record.
    pub(crate) fn begin_epoch(&mut self, fresh: Epoch) {
        (self.current, self.current_row, self.next) = (fresh, None, SequenceNumber(1));
        self.held.begin();
        self.tally.leave();
    }

    /// New bounds.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of payload that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.held.bytes() as u64
    }

    /// Gap records that were appended beside what the caller asked for; each is told once.
    pub(crate) fn take_news(&mut self) -> Vec<(Epoch, SequenceNumber, usize)> {
        let current = self.current;
        std::mem::take(&mut self.news).into_iter().map(|(seq, length)| (current, seq, length)).collect()
    }

    /// Everything that is kept, oldest epoch first.
    pub(crate) fn stored(&self) -> Result<Vec<StoredEpoch>, SpoolError> {
        mend::survey(self.database()?, &[]).map_err(|trouble| match trouble {
            Trouble::Refused(source) => self.refused(source),
            Trouble::Inconsistent(what) => {
                SpoolError::SetAside { path: self.path.clone(), source: std::io::Error::other(what) }
            }
        })
    }

    /// Makes a record durable and gives it its number.
    pub(crate) fn append(&mut self, payload: &[u8], now: Timestamp) -> Result<Appended, SpoolError> {
        self.append_after(0, payload, now)
    }

    /// The same, after `left_out` records that could not be kept until the disk took them: they get numbers that nobody
    /// will ever see, and a gap record that names these.
    pub(crate) fn append_after(
        &mut self,
        left_out: u64,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Appended, SpoolError> {
        let watermarks = std::mem::take(&mut self.watermarks);
        match self.mending(now, |spool| spool.try_append(left_out, payload, now, &watermarks)) {
            Ok(mut appended) => {
                appended.held = self.held_is_written();
                self.note();
                Ok(appended)
            }
            Err(error) => {
                self.watermarks = watermarks;
                Err(error)
            }
        }
    }

    fn try_append(
        &mut self,
        left_out: u64,
        payload: &[u8],
        now: Timestamp,
        watermarks: &[(Epoch, SequenceNumber)],
    ) -> rusqlite::Result<Appended> {
        let quota = self.room();
        let current = self.current;
        let (mut next, mut bytes) = (self.next, self.bytes);
        let transaction = writing(&mut self.database)?;
        write_watermarks(&transaction, watermarks)?;
        let id = match self.current_row {
            Some(id) => id,
            None => insert_epoch(&transaction, current, 1, 0, 0)?,
        };
        self.held.write(&transaction, id, current)?;
        bytes += self.held.bytes() as u64;
        let mut appended = Appended { records: Vec::new(), held: Vec::new(), trimmed: Vec::new() };
        let needed = payload.len() as u64;
        let mut given_up = Vec::new();
        while bytes + needed > quota {
            let Some(freed) = gap::drop_oldest(&transaction, id)? else { break };
            bytes = bytes.saturating_sub(freed.bytes);
            appended.trimmed.push((freed.epoch, freed.last));
            given_up.extend(freed.unacked);
        }
        let mut payloads = gap::records(&given_up, "quota", now);
        if left_out > 0 {
            let last = next.0.saturating_add(left_out - 1);
            transaction.execute("INSERT INTO lost VALUES(?, ?, ?)", params![id, next.0, last])?;
            payloads.extend(gap::records(
                &[Range { epoch: current, first: next.0, last }],
                "disk_refused",
                now,
            ));
            next = SequenceNumber(last).next();
        }
        payloads.push(payload.to_vec());
        for payload in payloads {
            insert_record(&transaction, id, Mark::of(current, next, &payload), &payload, now)?;
            appended.records.push((current, next, payload.len()));
            bytes += payload.len() as u64;
            next = next.next();
        }
        update_epoch(&transaction, current, |stored, _, _| *stored = next.0)?;
        transaction.commit()?;
        (self.current_row, self.next, self.bytes) = (Some(id), next, bytes);
        Ok(appended)
    }

    /// How much may be kept now: the quota, and no more than now while the file system is short of space.
    fn room(&self) -> u64 {
        let quota = self.limits.quota;
        let folder = self.disk.folder();
        let is_short = folder.and_then(disk::space).is_some_and(|space| space.free < space.reserve());
        if is_short { quota.min(self.bytes.max(ALWAYS_ALLOWED)) } else { quota }
    }

    fn read_stored(
        &mut self,
        epoch: Epoch,
        first: SequenceNumber,
        count: u32,
        now: Timestamp,
    ) -> Result<Vec<Vec<u8>>, SpoolError> {
        let (mut payloads, mut damaged) = self.mending(now, |spool| spool.try_read(epoch, first, count))?;
        if !damaged.is_empty() && !self.is_sound() {
            // To delete records where pages are mixed up would give other records' pages away.
            self.mend_now(now, &"a record is damaged and so is what holds it")?;
            (payloads, damaged) = self.mending(now, |spool| spool.try_read(epoch, first, count))?;
            self.note();
        }
        if !damaged.is_empty() {
            tracing::warn!(%epoch, records = damaged.len(), "records of the spool are damaged and are given up");
            self.mending(now, |spool| spool.give_up(epoch, &damaged, now))?;
            self.note();
        }
        Ok(payloads)
    }

    fn try_read(
        &self,
        epoch: Epoch,
        first: SequenceNumber,
        count: u32,
    ) -> rusqlite::Result<(Vec<Vec<u8>>, Vec<Range>)> {
        let database = self.database.as_ref().ok_or(rusqlite::Error::InvalidQuery)?;
        let mut payloads = vec![Vec::new(); count as usize];
        let end = first.0.saturating_add(u64::from(count));
        let known = database
            .prepare_cached("SELECT id, next, trimmed FROM epoch NOT INDEXED WHERE name = ?")?
            .query_row([epoch.0.as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((id, next, trimmed)): Option<(i64, u64, u64)> = known else {
            return Ok((payloads, Vec::new()));
        };
        let mut statement = database.prepare_cached(
            "SELECT seq, mark, payload FROM record WHERE epoch = ? AND seq >= ? AND seq < ? ORDER BY seq",
        )?;
        let mut rows = statement.query(params![id, first.0, end])?;
        let mut whole = Vec::with_capacity(payloads.len());
        while let Some(row) = rows.next()? {
            let (seq, mark, payload): (u64, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let mark = Mark::from_bytes(&mark).filter(|m| m.epoch == epoch && m.seq.0 == seq);
            let place = seq.checked_sub(first.0).and_then(|place| usize::try_from(place).ok());
            if let Some(place) = place.and_then(|place| payloads.get_mut(place))
                && mark.is_some_and(|mark| mark.fits(&payload))
            {
                *place = payload;
                whole.push(seq);
            }
        }
        let named: Vec<(u64, u64)> = database
            .prepare_cached("SELECT first, last FROM lost WHERE epoch = ?")?
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let (begin, last) = (first.0.max(trimmed.saturating_add(1)), end.min(next).saturating_sub(1));
        let damaged = gap::missing(begin, last, whole.into_iter(), &named);
        Ok((payloads, damaged.into_iter().map(|(first, last)| Range { epoch, first, last }).collect()))
    }

    /// Names these records of an epoch in gap records and forgets what is left of them.
    fn give_up(&mut self, epoch: Epoch, ranges: &[Range], now: Timestamp) -> rusqlite::Result<()> {
        let current = self.current;
        let mut next = self.next;
        let mut news = Vec::new();
        let transaction = writing(&mut self.database)?;
        let id = match self.current_row {
            Some(id) => id,
            None => insert_epoch(&transaction, current, 1, 0, 0)?,
        };
        self.held.write(&transaction, id, current)?;
        for range in ranges {
            let bounds = params![epoch.0.as_slice(), range.first, range.last];
            transaction.execute(
                "DELETE FROM record WHERE epoch = (SELECT id FROM epoch NOT INDEXED WHERE name = ?) AND seq BETWEEN ? AND ?",
                bounds,
            )?;
            transaction.execute(
                "INSERT INTO lost SELECT id, ?2, ?3 FROM epoch NOT INDEXED WHERE name = ?1",
                bounds,
            )?;
        }
        for payload in gap::records(ranges, "corrupt", now) {
            insert_record(&transaction, id, Mark::of(current, next, &payload), &payload, now)?;
            news.push((next, payload.len()));
            next = next.next();
        }
        update_epoch(&transaction, current, |stored, _, _| *stored = next.0)?;
        transaction.commit()?;
        (self.current_row, self.next) = (Some(id), next);
        self.bytes += self.held.bytes() as u64;
        self.held_is_written();
        self.bytes += news.iter().map(|(_, length)| *length as u64).sum::<u64>();
        self.news.extend(news);
        Ok(())
    }

    /// Everything of the epoch through this number is acked. Durable with the next append or flush.
    pub(crate) fn set_watermark(&mut self, epoch: Epoch, through: SequenceNumber) {
        self.watermarks.retain(|(known, _)| *known != epoch);
        self.watermarks.push((epoch, through));
        if epoch == self.current {
            self.held.acked(through);
        }
    }

    /// From here on time passes as the machine is awake.
    pub(crate) fn begin(&mut self, now: Timestamp, awake: Duration) {
        self.begun = Some((awake, now));
    }

    /// When the newest record was spooled.
    pub(crate) fn newest(&self) -> Result<Option<Timestamp>, SpoolError> {
        let newest: rusqlite::Result<Option<i64>> = self.database()?.query_row(
            "SELECT max((SELECT spooled_at FROM record WHERE epoch = e.id ORDER BY seq DESC LIMIT 1)) FROM epoch e",
            [],
            |row| row.get(0),
        );
        newest.map(|newest| newest.map(Timestamp::from_millis)).map_err(|source| self.refused(source))
    }

    fn database(&self) -> Result<&Connection, SpoolError> {
        self.database.as_ref().ok_or_else(|| self.refused(rusqlite::Error::InvalidQuery))
    }

    fn refused(&self, source: rusqlite::Error) -> SpoolError {
        SpoolError::Sqlite { path: self.path.clone(), source }
    }

    /// Does `work`. When the file turns out to be damaged, it is mended and `work` is done once more; after any other
    /// failure the file is opened anew, because nothing is known of the pages of a connection whose write failed.
    fn mending<T>(
        &mut self,
        now: Timestamp,
        work: impl Fn(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        let source = match work(self) {
            Ok(done) => return Ok(done),
            Err(source) => source,
        };
        if !is_damage(&source) {
            self.reopen();
            return Err(self.refused(source));
        }
        self.mend_now(now, &source)?;
        work(self).map_err(|source| {
            self.reopen();
            self.refused(source)
        })
    }

    /// Mends the file and opens what came of it.
    fn mend_now(&mut self, now: Timestamp, trouble: &dyn std::fmt::Display) -> Result<(), SpoolError> {
        tracing::warn!(file = %self.path.display(), trouble = %trouble, "the spool is damaged and is mended");
        let (_, counts) = Tally::load(self.disk.folder());
        let (journal, database) = (Journal::beside(&*self.disk), self.database.take());
        let mended = self.mend(database, journal, &counts, now);
        self.reopen();
        mended
    }

    /// Whether each page of the file belongs to one thing.
    fn is_sound(&self) -> bool {
        let check = |database: &Connection| {
            database.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        };
        self.database.as_ref().and_then(|database| check(database).ok()).is_some_and(|said| said == "ok")
    }

    fn mend(
        &mut self,
        database: Option<Connection>,
        journal: Journal,
        counts: &[Count],
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        if sabotage::is(SPOOL_RESET_ON_BAD_RECORD) {
            drop(database);
            return broken::reset(&self.path);
        }
        if self.disk.folder().is_none() {
            drop(database);
            return self
                .disk
                .set_aside()
                .map_err(|source| SpoolError::SetAside { path: self.path.clone(), source });
        }
        let held = &self.held;
        let damaged = Damaged { path: &self.path, database, journal, counts, current: self.current, held };
        let mended = damaged.mend(now)?;
        say(&self.path, &mended);
        self.held_is_written();
        self.news.extend(mended.gaps);
        Ok(())
    }

    /// Starts from the file again.
    fn reopen(&mut self) {
        // Beside a connection of this process the journal is known, and a disk that refuses is not asked for more than it was.
        let opened = match self.database {
            Some(_) => database::open(&*self.disk),
            None => database::open_settled(&*self.disk),
        };
        match opened {
            Ok(database) => self.database = Some(database),
            Err(error) => tracing::debug!(error = %error, "the spool cannot be opened again yet"),
        }
        self.find_current();
    }

    fn find_current(&mut self) {
        let Some(database) = &self.database else { return };
        let known = database
            .query_row(
                "SELECT id, next FROM epoch NOT INDEXED WHERE name = ?",
                [self.current.0.as_slice()],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)),
            )
            .optional();
        if let Ok(known) = known {
            self.current_row = known.map(|(id, _)| id);
            // What is held has numbers that the file does not know yet.
            self.next = self.next.max(SequenceNumber(known.map_or(1, |(_, next)| next)));
        }
    }

    /// Notes in the tally how far the current epoch is.
    fn note(&mut self) {
        let count = Count { epoch: self.current, next: self.next, watermark: SequenceNumber(0) };
        // The first record of an epoch needs a line of its own.
        if !self.tally.note(count) {
            self.note_all();
        }
    }

    fn note_all(&mut self) {
        if let Ok(stored) = self.stored() {
            self.tally.rewrite(&stored, self.current);
        }
    }
}

/// A transaction that will write.
fn writing(database: &mut Option<Connection>) -> rusqlite::Result<rusqlite::Transaction<'_>> {
    let database = database.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
    database.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn say(path: &Path, mended: &Mended) {
    let missing: u64 = mended.missing.iter().map(|range| range.last.saturating_sub(range.first) + 1).sum();
    tracing::warn!(
        file = %path.display(),
        found = mended.found,
        missing,
        "the spool was mended; the damaged file is kept beside it"
    );
}

#[cfg(test)]
mod tests;
