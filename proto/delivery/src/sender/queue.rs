//! One epoch as the sender sees it: which numbers the spool holds, how large they are, and how far each step got.
//!
//! Four bytes are kept for each record in the spool, never a payload.

use std::collections::VecDeque;
use std::time::Duration;

use firstline_model::{Epoch, SequenceNumber};

use super::{SpoolFault, Transmit};
use crate::{EpochOffer, MAX_BATCH_BYTES, MAX_SEQUENCE, Tick};

/// The widest hole in the numbering that is filled with given-up records; a wider one is a damaged spool.
const MAX_HOLE: u64 = 1_000_000;

/// What bounds one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) records: u32,
    pub(super) bytes: u32,
    pub(super) linger: Duration,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) epoch: Epoch,
    /// The number of `sizes[0]`, or of the next record when there is none.
    first: u64,
    /// Payload sizes of the kept records. 0 stands for one that the spool gave up.
    sizes: VecDeque<u32>,
    /// Whether any record was reported yet: the first may carry any number.
    seen: bool,
    /// The spool has nothing at or below this.
    trimmed: u64,
    /// The collector has everything up to here.
    pub(super) acked: u64,
    /// Sent on this connection up to here; never below `acked`.
    pub(super) sent: u64,
    /// The watermark that the spool was told to persist.
    pub(super) persisted: u64,
    /// The highest number that the spool says it gave out before this process began.
    given: u64,
    /// Payload bytes above `sent`.
    unsent_bytes: u64,
    /// Records up to here do not wait for company.
    flush_through: u64,
    /// When the oldest record that waits for company was spooled.
    linger_since: Option<Tick>,
    /// What this connection's hello said of the epoch.
    pub(super) offer: Option<EpochOffer>,
    /// Whether the collector answered that offer.
    welcomed: bool,
    /// The collector has numbers that this spool has not given yet: they cannot be used again.
    pub(super) frozen: bool,
    /// When this queue last had a turn, in turns.
    pub(super) served: u64,
}

impl Queue {
    pub(super) fn new(epoch: Epoch, watermark: SequenceNumber, next: SequenceNumber) -> Self {
        let acked = watermark.0.min(MAX_SEQUENCE.0);
        Self {
            epoch,
            first: acked + 1,
            sizes: VecDeque::new(),
            seen: false,
            trimmed: 0,
            acked,
            sent: acked,
            persisted: acked,
            given: next.0.saturating_sub(1).min(MAX_SEQUENCE.0),
            unsent_bytes: 0,
            flush_through: 0,
            linger_since: None,
            offer: None,
            welcomed: false,
            frozen: false,
            served: 0,
        }
    }

    /// The highest number that a record of this epoch has had.
    pub(super) fn last(&self) -> u64 {
        (self.due() - 1).max(self.persisted)
    }

    fn due(&self) -> u64 {
        self.first + self.sizes.len() as u64
    }

    pub(super) fn unsent(&self) -> u64 {
        self.last().saturating_sub(self.sent)
    }

    pub(super) fn unacked(&self) -> u64 {
        self.last().saturating_sub(self.acked)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.acked
    }

    pub(super) fn unacked_bytes(&self) -> u64 {
        self.bytes_above(self.acked)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Takes note of a durable record.
    pub(super) fn spooled(
        &mut self,
        seq: u64,
        len: usize,
        urgent: bool,
        now: Tick,
    ) -> Result<(), SpoolFault> {
        let number = SequenceNumber(seq);
        if seq == 0 || seq > MAX_SEQUENCE.0 {
            return Err(SpoolFault::OutOfRange { number });
        }
        let size = match u32::try_from(len) {
            Ok(0) => return Err(SpoolFault::Empty { number }),
            Ok(size) if size <= MAX_BATCH_BYTES => size,
            Ok(_) | Err(_) => return Err(SpoolFault::TooLarge { number, len }),
        };
        if !self.seen && self.offer.is_none() {
            // What lies between the watermark and the first kept record was given up before this process began.
            self.first = seq;
            self.raise_to(seq - 1);
        }
        let due = self.due();
        if seq < due {
            return Err(SpoolFault::NotAscending { number, expected: SequenceNumber(due) });
        }
        if seq - due > MAX_HOLE {
            return Err(SpoolFault::Hole { number, expected: SequenceNumber(due) });
        }
        self.seen = true;
        for _ in due..seq {
            self.sizes.push_back(0);
        }
        self.sizes.push_back(size);
        if seq > self.sent {
            self.unsent_bytes += u64::from(size);
            self.linger_since.get_or_insert(now);
            if urgent {
                self.flush_through = seq;
            }
        }
        Ok(())
    }

    /// The spool no longer has `through` and what lies before it.
    pub(super) fn trim(&mut self, through: u64) {
        let through = through.min(self.last());
        if through <= self.trimmed {
            return;
        }
        let from = self.first.max(self.trimmed + 1);
        self.trimmed = through;
        for seq in from..(through + 1).min(self.due()) {
            if let Some(size) = self.index(seq).and_then(|at| self.sizes.get_mut(at)) {
                if seq > self.sent {
                    self.unsent_bytes -= u64::from(*size);
                }
                *size = 0;
            }
        }
        self.drop_front();
    }

    /// Makes the offer of a new connection.
    pub(super) fn make_offer(&mut self) -> EpochOffer {
        if !self.seen && self.given >= self.first {
            // Everything that was numbered before this process began was given up: only the numbering goes on.
            self.first = self.given + 1;
            self.raise_to(self.given);
        }
        // Acked records that a damaged spool no longer has must not get their numbers given out again.
        if self.persisted >= self.due() + MAX_HOLE {
            self.sizes.clear();
            self.first = self.persisted + 1;
        }
        while self.due() <= self.persisted {
            self.sizes.push_back(0);
        }
        let offer = EpochOffer {
            epoch: self.epoch,
            first_unacked: SequenceNumber(self.first),
            next: SequenceNumber(self.last() + 1),
        };
        self.offer = Some(offer);
        self.welcomed = false;
        offer
    }

    /// Continues after `mark` on a connection that has just been made; all that waited goes at once.
    pub(super) fn resume(&mut self, mark: u64) {
        self.welcomed = true;
        self.acked = mark;
        self.rewind();
        self.flush_through = self.last();
        self.drop_front();
    }

    /// Forgets the connection.
    pub(super) fn disconnected(&mut self) {
        self.offer = None;
        self.welcomed = false;
        // An ack outlives its connection, and so does a watermark that a restored collector fell behind of.
        self.acked = self.acked.max(self.persisted);
        self.drop_front();
        self.rewind();
    }

    /// Counts an ack that is neither stale nor beyond `last`.
    pub(super) fn ack(&mut self, through: u64) {
        self.acked = through;
        if through > self.sent {
            self.sent = through;
            self.unsent_bytes = self.bytes_above(through);
        }
        self.settle();
        self.drop_front();
    }

    /// Whether a batch should leave now. Older epochs get no company any more and never wait for it.
    pub(super) fn is_ready(&self, now: Tick, is_newest: bool, limits: BatchLimits) -> bool {
        self.may_send()
            && (!is_newest
                || self.flush_through > self.sent
                || self.is_full(limits)
                || self.linger_since.is_none_or(|since| since.plus(limits.linger) <= now))
    }

    /// When a batch that waits for company has waited long enough.
    pub(super) fn linger_deadline(&self, limits: BatchLimits) -> Option<Tick> {
        if self.may_send() { self.linger_since.map(|since| since.plus(limits.linger)) } else { None }
    }

    /// Takes the next batch of at most `credit` records; a single record leaves whatever its size.
    pub(super) fn take(&mut self, credit: u64, limits: BatchLimits) -> Option<Transmit> {
        let first = self.sent + 1;
        let start = self.index(first)?;
        let most = credit.min(u64::from(limits.records));
        let (mut count, mut bytes) = (0_u32, 0_u64);
        for &size in self.sizes.range(start..) {
            if u64::from(count) == most || (count > 0 && bytes + u64::from(size) > u64::from(limits.bytes)) {
                break;
            }
            count += 1;
            bytes += u64::from(size);
        }
        if count == 0 {
            return None;
        }
        self.sent += u64::from(count);
        self.unsent_bytes -= bytes;
        self.settle();
        Some(Transmit { epoch: self.epoch, first: SequenceNumber(first), count })
    }

    /// The watermark to persist, when it advanced.
    pub(super) fn take_commit(&mut self) -> Option<SequenceNumber> {
        if self.frozen || self.acked <= self.persisted {
            return None;
        }
        self.persisted = self.acked;
        Some(SequenceNumber(self.acked))
    }

    fn may_send(&self) -> bool {
        self.welcomed && !self.frozen && self.unsent() > 0
    }

    fn is_full(&self, limits: BatchLimits) -> bool {
        self.unsent() >= u64::from(limits.records) || self.unsent_bytes >= u64::from(limits.bytes)
    }

    /// Drops what the spool no longer has, except what this connection's collector still counts on: numbering on
    /// the wire has no holes, so those numbers travel as empty records.
    fn drop_front(&mut self) {
        while self.first <= self.trimmed
            && (self.offer.is_none() || (self.welcomed && self.first <= self.acked))
            && self.sizes.pop_front().is_some()
        {
            self.first += 1;
        }
        if self.offer.is_none() {
            self.raise_to(self.first - 1);
        }
    }

    /// Nothing at or below `through` is left to deliver, and no watermark needs to be written for it.
    fn raise_to(&mut self, through: u64) {
        self.acked = self.acked.max(through);
        self.persisted = self.persisted.max(through);
        if self.sent < through {
            self.sent = through;
            self.unsent_bytes = self.bytes_above(through);
        }
    }

    fn rewind(&mut self) {
        self.sent = self.acked;
        self.unsent_bytes = self.bytes_above(self.sent);
        self.settle();
    }

    fn settle(&mut self) {
        if self.unsent() == 0 {
            self.linger_since = None;
        }
    }

    fn bytes_above(&self, seq: u64) -> u64 {
        let start = usize::try_from((seq + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.sizes.iter().skip(start).map(|&size| u64::from(size)).sum()
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first)?).ok().filter(|&at| at < self.sizes.len())
    }
}
