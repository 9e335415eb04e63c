//! Records that have their numbers and are not on disk yet. While the collector answers at once, nearly all of them are acked
//! within milliseconds, and what is acked need not be synced by itself: it is kept here and goes to disk in one
//! transaction with others, for a collector that is restored from a backup.
//!
//! What is not acked goes to disk within [`LONGEST`] of having been seen, so a crash costs no more than that. All of them are
//! of the current epoch and without a hole: the first follows on the last number that the file knows.

use super::database::{insert_epoch, insert_record, update_epoch};
use super::mark::Mark;
use super::{Spool, SpoolError, writing};
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use rusqlite::Transaction;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a record may be nowhere but in memory. With what it takes to notice and to sync, a second.
const LONGEST: Duration = Duration::from_millis(800);
/// How long what is acked waits for company on its way to disk.
const COMPANY: Duration = Duration::from_secs(4 * 3600);
/// So many bytes of it are company enough.
const ENOUGH_BYTES: usize = 96 << 10;

/// One of them.
#[derive(Debug)]
struct Row {
    seq: SequenceNumber,
    payload: Vec<u8>,
    at: Timestamp,
    since: Duration,
}

/// All of them, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Held {
    rows: VecDeque<Row>,
    bytes: usize,
    /// Everything through this is acked.
    acked: SequenceNumber,
}

impl Held {
    /// Takes the next record, made at `at` when the machine had been awake for `since`.
    pub(super) fn push(&mut self, seq: SequenceNumber, payload: Vec<u8>, at: Timestamp, since: Duration) {
        self.bytes += payload.len();
        self.rows.push_back(Row { seq, payload, at, since });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first number that is here.
    pub(super) fn first(&self) -> Option<SequenceNumber> {
        self.rows.front().map(|row| row.seq)
    }

    pub(super) fn payload(&self, seq: SequenceNumber) -> Option<&[u8]> {
        let place = usize::try_from(seq.0.checked_sub(self.first()?.0)?).ok()?;
        self.rows.get(place).map(|row| row.payload.as_slice())
    }

    /// The number after the last one that is here.
    pub(super) fn next(&self) -> u64 {
        self.rows.back().map_or(0, |row| row.seq.next().0)
    }

    /// Everything through this is acked.
    pub(super) fn acked(&mut self, through: SequenceNumber) {
        self.acked = through.max(self.acked);
    }

    /// What an ack through this is news of.
    fn news(&self, through: SequenceNumber) -> Vec<(SequenceNumber, usize)> {
        let is_news = |row: &&Row| row.seq > self.acked && row.seq <= through;
        self.rows.iter().filter(is_news).map(|row| (row.seq, row.payload.len())).collect()
    }

    /// How many are neither acked nor on disk.
    pub(super) fn unacked(&self) -> usize {
        self.rows.iter().rev().take_while(|row| row.seq > self.acked).count()
    }

    /// When they have to go to disk, in time awake.
    pub(super) fn due(&self) -> Option<Duration> {
        let unacked = self.rows.iter().find(|row| row.seq > self.acked).map(|row| row.since + LONGEST);
        let company = if self.bytes >= ENOUGH_BYTES { Duration::ZERO } else { COMPANY };
        let oldest = self.rows.front().map(|row| row.since.saturating_add(company));
        unacked.into_iter().chain(oldest).min()
    }

    /// Adds all of them to the epoch of this row.
    pub(super) fn write(
        &self,
        transaction: &Transaction<'_>,
        row: i64,
        epoch: Epoch,
    ) -> rusqlite::Result<()> {
        let Some(last) = self.rows.back() else { return Ok(()) };
        for held in &self.rows {
            let mark = Mark::of(epoch, held.seq, &held.payload);
            insert_record(transaction, row, mark, &held.payload, held.at)?;
        }
        update_epoch(transaction, epoch, |next, watermark, _| {
            *next = last.seq.next().0.max(*next);
            *watermark = self.acked.0.min(next.saturating_sub(1)).max(*watermark);
        })
    }

    /// All of them are on disk. Their numbers and sizes.
    pub(super) fn written(&mut self) -> Vec<(SequenceNumber, usize)> {
        self.bytes = 0;
        std::mem::take(&mut self.rows).into_iter().map(|row| (row.seq, row.payload.len())).collect()
    }

    /// Another epoch begins; all of this one is on disk.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }
}

impl Spool {
    /// Takes a record that goes to disk later, unless it is acked before, and gives it its number: only while the collector
    /// answers at once and the spool is open. `awake` is the time that the machine was awake for.
    pub(crate) fn hold(
        &mut self,
        payload: Vec<u8>,
        now: Timestamp,
        awake: Duration,
    ) -> (Epoch, SequenceNumber, usize) {
        let (seq, len) = (self.next, payload.len());
        self.held.push(seq, payload, now, awake);
        self.next = seq.next();
        (self.current, seq, len)
    }

    /// How many records are neither acked nor on disk.
    pub(crate) fn unwritten(&self) -> usize {
        self.held.unacked()
    }

    /// When [`Spool::write_held`] has to be called, in time awake.
    pub(crate) fn held_due(&self) -> Option<Duration> {
        self.held.due()
    }

    /// What an ack of `epoch` through `through` is news of that is not on disk: the collector has it.
    pub(crate) fn acked_from_memory(
        &self,
        epoch: Epoch,
        through: SequenceNumber,
    ) -> Vec<(Epoch, SequenceNumber, usize)> {
        let found = if epoch == self.current { self.held.news(through) } else { Vec::new() };
        found.into_iter().map(|(seq, len)| (epoch, seq, len)).collect()
    }

    /// Makes everything durable that has a number, and returns it.
    pub(crate) fn write_held(
        &mut self,
        now: Timestamp,
    ) -> Result<Vec<(Epoch, SequenceNumber, usize)>, SpoolError> {
        if self.held.is_empty() {
            return Ok(Vec::new());
        }
        self.mending(now, |spool| {
            let current = spool.current;
            let transaction = writing(&mut spool.database)?;
            let id = match spool.current_row {
                Some(id) => id,
                None => insert_epoch(&transaction, current, 1, 0, 0)?,
            };
            spool.held.write(&transaction, id, current)?;
            transaction.commit()?;
            spool.current_row = Some(id);
            Ok(())
        })?;
        self.bytes += self.held.bytes() as u64;
        let written = self.held_is_written();
        self.note();
        Ok(written)
    }

    /// What was held is on disk.
    pub(super) fn held_is_written(&mut self) -> Vec<(Epoch, SequenceNumber, usize)> {
        let current = self.current;
        self.held.written().into_iter().map(|(seq, len)| (current, seq, len)).collect()
    }

    /// The payloads of `count` records from `first`; one that is no longer kept is empty. One that does not prove itself
    /// is named in a gap record, which is durable when this returns, and is empty too.
    pub(crate) fn read(
        &mut self,
        epoch: Epoch,
        first: SequenceNumber,
        count: u32,
        now: Timestamp,
    ) -> Result<Vec<Vec<u8>>, SpoolError> {
        let from = self.held.first().filter(|_| epoch == self.current);
        let stored = from.map_or(u64::from(count), |from| from.0.saturating_sub(first.0));
        let stored = u32::try_from(stored).unwrap_or(count).min(count);
        // Before the disk is asked: what is wrong with it may move what is held to it.
        let held: Vec<Vec<u8>> = (first.0 + u64::from(stored)..first.0 + u64::from(count))
            .map(|seq| self.held.payload(SequenceNumber(seq)).unwrap_or_default().to_vec())
            .collect();
        let mut payloads = if stored > 0 { self.read_stored(epoch, first, stored, now)? } else { Vec::new() };
        payloads.extend(held);
        Ok(payloads)
    }
}
