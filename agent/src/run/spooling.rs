//! From what was collected to what is durable: the way into the spool, and what happens while the disk refuses.
//!
//! While the collector answers at once, a steady record goes to it first and to disk when it is not acked within a second
//! (`spool/held.rs`): a sync a minute would be most of what this agent writes. What is urgent, and everything while there is
//! no stream or a backlog, is durable before it is sent.
//!
//! A disk that refuses is asked again every two seconds. What was collected waits in memory until then, within bounds
//! (`unspooled`), and nothing of it counts as durable. It makes no difference whether the spool could not even be opened when
//! the agent started: what it holds becomes known, and is delivered, when the disk heals.

use super::unspooled::Next;
use super::{Agent, HOUSEKEEPING, ledger, report, tick};
use crate::collect::Collected;
use crate::spool::SpoolError;
use crate::steady::Steady;
use anyhow::Result;
use firstline_model::{Epoch, SequenceNumber};
use firstline_proto::convert::{encode_record, encode_record_with};
use firstline_proto::limits;
use std::time::Duration;

/// While the spool cannot be opened or written, it is tried this often.
const SPOOL_RETRY: Duration = Duration::from_secs(2);
/// So many records in a row have to become durable before a trouble of the disk counts as over. A full disk takes one now and
/// then, when the journal begins anew in the room that it has; that is still the same trouble, and said once.
pub(super) const WORKS_AGAIN: u32 = 2;

impl Agent {
    /// Opens the spool for the first time. Only what a person has to put right ends the agent.
    pub(super) fn start_spool(&mut self) -> Result<()> {
        match self.open_spool() {
            Err(error) if error.needs_a_person() => Err(error.into()),
            Err(error) => {
                self.disk_refused(error, "the spool cannot be opened, records wait in memory");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Opens the spool and takes over what it holds.
    fn open_spool(&mut self) -> Result<(), SpoolError> {
        self.spool.try_open(self.now())?;
        // What it holds was made in the same time, and nothing comes before it. A spool that cannot say so now says what is
        // wrong with it below.
        let (newest, reading) = (self.spool.newest().ok().flatten(), self.clock.read());
        self.steady = Steady::start(self.steady.now(reading), reading, newest);
        self.spool.begin(self.steady.now(reading), reading.awake);
        for stored in self.spool.stored()? {
            self.sender.handle_epoch(stored.epoch, stored.watermark, stored.next);
            for (seq, len) in stored.records {
                report(&mut self.sender, stored.epoch, seq, len, false, tick(&*self.clock));
            }
        }
        // The newest is that of this life, although it has no record yet: an older one that ends below what the collector has
        // of it lost nothing but what was never on disk.
        self.sender.handle_epoch(self.spool.current(), SequenceNumber(0), SequenceNumber(1));
        Ok(())
    }

    /// Makes what was collected durable.
    pub(super) fn take(&mut self, mut found: Collected) {
        found.observations.iter().for_each(|observation| self.status.saw(observation));
        self.steady.take_over(&mut found.observations, self.clock.wall(), self.clock.read());
        self.spool_observations(&found);
    }

    /// In full they can wait for any disk and stand in any epoch. As repeats they can only go straight into the spool.
    fn spool_observations(&mut self, found: &Collected) {
        let is_straight = self.unspooled.is_empty() && self.spool_retry.is_none() && self.spool.is_open();
        let (epoch, awake) = (self.spool.current(), self.clock.read().awake);
        let short = (is_straight && found.observations.len() <= limits::RECORD_OBSERVATIONS).then(|| {
            let told = self.inventory.tell(found);
            let short = self.coalescer.coalesce(&told.rest.observations, &told.rest.runs, epoch, awake);
            (short, told.changes, told.documents)
        });
        for chunk in found.observations.chunks(limits::RECORD_OBSERVATIONS) {
            let payload = encode_record(chunk);
            if payload.len() > limits::RECORD_BYTES {
                tracing::warn!(bytes = payload.len(), "a record is larger than the limit and is left out");
                continue;
            }
            self.unspooled.push(payload, found.urgent, self.now());
        }
        let payload =
            short.as_ref().map(|(short, changes, _)| encode_record_with(&short.own, &short.repeats, changes));
        let repeatable = payload.as_ref().is_some_and(|payload| payload.len() <= limits::REPEATABLE_BYTES);
        let written = self.write_waiting_as(payload);
        if let (Some((short, _, documents)), Some((epoch, seq))) = (short, written) {
            self.coalescer.written(short, epoch, seq, repeatable, awake);
            self.inventory.written(documents);
        }
    }

    /// Writes what waits. While the disk refuses, it waits in memory, and nothing of it counts as durable.
    pub(super) fn write_waiting(&mut self) {
        self.write_waiting_as(None);
    }

    /// Writes what waits, the first of it as `short`, which says the same. What that became in the spool, if it did.
    fn write_waiting_as(&mut self, mut short: Option<Vec<u8>>) -> Option<(Epoch, SequenceNumber)> {
        if self.spool_retry.is_some_and(|retry| retry > self.clock.read().awake) {
            return None;
        }
        if !self.spool.is_open()
            && let Err(error) = self.open_spool()
        {
            self.disk_refused(error, "the spool cannot be opened, records wait in memory");
            return None;
        }
        let is_due = self.spool.held_due().is_some_and(|due| due <= self.clock.read().awake);
        if is_due && !self.write_held() {
            return None;
        }
        let mut written = None;
        while let Some(Next { payload, urgent, left_out }) = self.unspooled.next() {
            let now = self.now();
            let short = short.take();
            if left_out == 0 && !urgent && self.may_hold() {
                let is_short = short.is_some();
                let awake = self.clock.read().awake;
                let (epoch, seq, len) = self.spool.hold(short.unwrap_or(payload), now, awake);
                if is_short {
                    written = Some((epoch, seq));
                }
                report(&mut self.sender, epoch, seq, len, false, tick(&*self.clock));
                self.unspooled.written();
                continue;
            }
            let appended = self.spool.append_after(left_out, short.as_ref().unwrap_or(&payload), now);
            self.report_news();
            match appended {
                Ok(appended) => {
                    ledger::durable(&mut self.spool, &appended.held, now);
                    ledger::durable(&mut self.spool, &appended.records, now);
                    for (epoch, through) in appended.trimmed {
                        // What could be repeated may be among it.
                        self.coalescer.forget();
                        self.sender.handle_trimmed(epoch, through);
                    }
                    if short.is_some() {
                        written = appended.records.last().map(|(epoch, seq, _)| (*epoch, *seq));
                    }
                    for (epoch, seq, len) in appended.records {
                        report(&mut self.sender, epoch, seq, len, urgent, tick(&*self.clock));
                    }
                    if left_out > 0 {
                        tracing::warn!(
                            left_out,
                            "records that found no room in memory are named in a gap record"
                        );
                    }
                    self.unspooled.written();
                    self.written_in_a_row = self.written_in_a_row.saturating_add(1);
                    self.disk_works();
                }
                Err(error) => {
                    self.disk_refused(error, "the spool cannot be written, records wait in memory");
                    return written;
                }
            }
        }
        self.disk_works();
        written
    }

    /// Whether the collector answers at once, as far as this agent can tell: nothing waits for an ack but what is held.
    fn may_hold(&self) -> bool {
        let (waiting, _) = self.sender.backlog();
        !self.settings.sync_every_record
            && self.spool_retry.is_none()
            && self.sender.is_flowing()
            && waiting == self.spool.unwritten() as u64
    }

    /// Makes everything durable that has a number. Whether it is.
    pub(super) fn write_held(&mut self) -> bool {
        let now = self.now();
        match self.spool.write_held(now) {
            Ok(written) => {
                self.report_news();
                ledger::durable(&mut self.spool, &written, now);
                true
            }
            Err(error) => {
                self.disk_refused(error, "the spool cannot be written, records wait in memory");
                false
            }
        }
    }

    /// Says it once, and again only where the status is asked for.
    fn disk_refused(&mut self, error: SpoolError, what: &'static str) {
        let error = format!("{:#}", anyhow::Error::from(error));
        let (waiting, awake) = (self.unspooled.len(), self.clock.read().awake);
        if self.spool_retry.is_none() && self.written_in_a_row >= WORKS_AGAIN {
            tracing::warn!(error, waiting, "{what}");
        } else {
            tracing::debug!(error, waiting, "{what}");
        }
        self.written_in_a_row = 0;
        self.unspooled.refused(self.now());
        self.status.spooled(Some(&error), self.clock.wall());
        self.spool_retry = Some(awake + SPOOL_RETRY);
    }

    fn disk_works(&mut self) {
        if self.spool_retry.take().is_some() {
            tracing::info!(waiting = self.unspooled.len(), "the spool can be written again");
            self.status.spooled(None, self.clock.wall());
            // Streams may have ended because the spool could not be read: that wait is over.
            let now = self.tick();
            self.sender.handle_network_change(now);
        }
    }

    /// Gap records that the spool wrote by itself are sent as any other.
    pub(super) fn report_news(&mut self) {
        let (news, now) = (self.spool.take_news(), self.now());
        if !news.is_empty() {
            // Records are gone, and what was said in them may be among it.
            self.coalescer.forget();
        }
        ledger::durable(&mut self.spool, &news, now);
        for (epoch, seq, len) in news {
            report(&mut self.sender, epoch, seq, len, true, tick(&*self.clock));
        }
    }

    pub(super) fn housekeeping(&mut self) {
        self.write_waiting();
        let (now, awake) = (self.now(), self.clock.read().awake);
        if awake.saturating_sub(self.last_housekeeping) < HOUSEKEEPING {
            return;
        }
        self.last_housekeeping = awake;
        match self.spool.flush(now, awake) {
            Ok(deleted) => {
                for (epoch, through) in deleted {
                    self.sender.handle_trimmed(epoch, through);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "the spool cannot be tidied"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
