//! The collector's half, one per device: decides what of a batch is new, what to refuse, and what may be acked.
//!
//! It holds numbers only. Payloads go from the stream to the store past it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use firstline_model::{Epoch, SequenceNumber};

use crate::{
    Ack, Batch, EpochMark, Hello, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_EPOCHS, MAX_SEQUENCE, Refusal,
    Welcome,
};

/// Above this many known epochs, a hello forgets those that it does not offer.
const MAX_KNOWN_EPOCHS: usize = 16 * MAX_EPOCHS;

/// A hello that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The answer to send.
    pub welcome: Welcome,
    /// Records that the agent can no longer send and the collector never had. The agent's gap records say why.
    pub skipped: Vec<Skipped>,
}

/// A range of records that will never arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Skipped {
    /// Which epoch.
    pub epoch: Epoch,
    /// The first missing number.
    pub first: SequenceNumber,
    /// The last missing number.
    pub through: SequenceNumber,
}

/// What to do with a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchVerdict {
    /// Apply `records[skip..]` in one transaction together with the mark `through`, after every batch before it;
    /// then report [`Receiver::committed`]. The transaction compares with the mark that it finds: a stream that
    /// was lost with batches under way brings them again. Empty records only advance the mark.
    Apply {
        /// Which epoch.
        epoch: Epoch,
        /// How many records at the front are known already.
        skip: usize,
        /// The number of the first new record.
        first_new: SequenceNumber,
        /// The number of the last new record.
        through: SequenceNumber,
    },
    /// Nothing in it is new. Nothing needs to be sent.
    Duplicate {
        /// What is committed of its epoch.
        through: SequenceNumber,
    },
    /// Send this and close the stream.
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    committed: u64,
    /// Handed out as [`BatchVerdict::Apply`] on this stream; never below `committed`.
    applied: u64,
    offered: bool,
}

/// The collector's half of one device's stream. It may live for one stream or for many.
#[derive(Debug)]
pub struct Receiver {
    epochs: BTreeMap<Epoch, Progress>,
    budget: u32,
    /// What the agent was told: the right to have this much in flight is never taken back.
    granted: u32,
    open: bool,
}

impl Receiver {
    /// A receiver that knows the device's committed marks (at least those of the epochs that it will be offered)
    /// and lets `budget` records be in flight. A budget of 0 lets nothing in until it is raised.
    pub fn new(marks: impl IntoIterator<Item = EpochMark>, budget: u32) -> Self {
        let epochs = marks.into_iter().map(|mark| {
            let committed = mark.through.0.min(MAX_SEQUENCE.0);
            (mark.epoch, Progress { committed, applied: committed, offered: false })
        });
        Self { epochs: epochs.collect(), budget, granted: 0, open: false }
    }

    /// A new stream begins. What the last one left without a commit will be sent again.
    pub fn handle_hello(&mut self, hello: &Hello) -> Result<Accepted, Refusal> {
        self.open = false;
        check_hello(hello)?;
        for progress in self.epochs.values_mut() {
            progress.applied = progress.committed;
            progress.offered = false;
        }
        let (mut marks, mut skipped) = (Vec::new(), Vec::new());
        for offer in &hello.epochs {
            let (epoch, given_up) = (offer.epoch, offer.first_unacked.0 - 1);
            let progress = self.epochs.entry(epoch).or_insert(Progress {
                committed: given_up,
                applied: given_up,
                offered: true,
            });
            if progress.committed < given_up {
                let first = SequenceNumber(progress.committed + 1);
                skipped.push(Skipped { epoch, first, through: SequenceNumber(given_up) });
                progress.committed = given_up;
                progress.applied = given_up;
            }
            progress.offered = true;
            marks.push(EpochMark { epoch, through: SequenceNumber(progress.committed) });
        }
        if self.epochs.len() > MAX_KNOWN_EPOCHS {
            self.epochs.retain(|_, progress| progress.offered);
        }
        self.open = true;
        self.granted = self.budget;
        Ok(Accepted { welcome: Welcome { marks, credit: self.granted }, skipped })
    }

    /// A batch arrived. After a refusal everything is refused until the next hello.
    pub fn handle_batch(&mut self, batch: &Batch) -> BatchVerdict {
        let verdict = self.judge(batch);
        match &verdict {
            Ok(BatchVerdict::Apply { epoch, through, .. }) => {
                if let Some(progress) = self.epochs.get_mut(epoch) {
                    progress.applied = through.0;
                }
            }
            Ok(BatchVerdict::Duplicate { .. } | BatchVerdict::Refused(_)) => {}
            Err(_) => self.open = false,
        }
        verdict.unwrap_or_else(BatchVerdict::Refused)
    }

    /// The store committed `epoch` up to `through`; call it strictly after the transaction returned. The ack to
    /// send is none when this stream did not offer the epoch. A number below an earlier one changes nothing.
    pub fn committed(&mut self, epoch: Epoch, through: SequenceNumber) -> Option<Ack> {
        let through = through.0.min(MAX_SEQUENCE.0);
        let progress =
            self.epochs.entry(epoch).or_insert(Progress { committed: 0, applied: 0, offered: false });
        // A transaction of an earlier stream may cover more than this stream has brought. That part used none of this
        // stream's credit: what the agent has on its way of other epochs still needs it.
        let used = through.min(progress.applied).saturating_sub(progress.committed);
        progress.committed = progress.committed.max(through);
        progress.applied = progress.applied.max(progress.committed);
        if !progress.offered {
            return None;
        }
        let left = u64::from(self.granted).saturating_sub(used);
        self.granted = u32::try_from(left).unwrap_or(u32::MAX).max(self.budget);
        self.ack(epoch)
    }

    /// Changes how many records may be in flight. A larger budget counts at once: the ack to send says so. A smaller
    /// one counts as records in flight are committed, because what was granted may be on its way.
    pub fn set_budget(&mut self, budget: u32) -> Option<Ack> {
        self.budget = budget;
        if budget <= self.granted {
            return None;
        }
        let epoch = self.epochs.iter().find(|(_, progress)| progress.offered).map(|(epoch, _)| *epoch)?;
        self.granted = budget;
        self.ack(epoch)
    }

    /// What is committed of `epoch`, when it is known.
    pub fn mark(&self, epoch: Epoch) -> Option<SequenceNumber> {
        self.epochs.get(&epoch).map(|progress| SequenceNumber(progress.committed))
    }

    /// How many records of this stream were handed out to be applied and are not committed.
    pub fn in_flight(&self) -> u64 {
        self.epochs.values().filter(|p| p.offered).map(|p| p.applied - p.committed).sum()
    }

    fn ack(&self, epoch: Epoch) -> Option<Ack> {
        if !self.open {
            return None;
        }
        self.mark(epoch).map(|through| Ack { epoch, through, credit: self.granted })
    }

    fn judge(&self, batch: &Batch) -> Result<BatchVerdict, Refusal> {
        let epoch = batch.epoch;
        if !self.open {
            return Err(Refusal::HelloExpected);
        }
        let (records, bytes) = (batch.records.len(), batch.records.iter().map(Vec::len).sum::<usize>());
        if records > MAX_BATCH_RECORDS as usize || bytes > MAX_BATCH_BYTES as usize {
            return Err(Refusal::BatchTooLarge { records, bytes });
        }
        let (first, through) = (batch.first.0, batch.through().0);
        if records == 0 || first == 0 || through > MAX_SEQUENCE.0 {
            return Err(Refusal::InvalidBatch { epoch });
        }
        let Some(progress) = self.epochs.get(&epoch).filter(|progress| progress.offered) else {
            return Err(Refusal::UnknownEpoch { epoch });
        };
        let expected = progress.applied + 1;
        if first > expected {
            return Err(Refusal::SequenceGap { epoch, expected: SequenceNumber(expected) });
        }
        if through < expected {
            return Ok(BatchVerdict::Duplicate { through: SequenceNumber(progress.committed) });
        }
        if self.in_flight() + (through - progress.applied) > u64::from(self.granted) {
            return Err(Refusal::CreditExceeded { credit: self.granted });
        }
        // At most MAX_BATCH_RECORDS, since the batch reaches beyond `expected`.
        let skip = usize::try_from(expected - first).unwrap_or(usize::MAX);
        let (first_new, through) = (SequenceNumber(expected), SequenceNumber(through));
        Ok(BatchVerdict::Apply { epoch, skip, first_new, through })
    }
}

fn check_hello(hello: &Hello) -> Result<(), Refusal> {
    if hello.epochs.len() > MAX_EPOCHS {
        return Err(Refusal::TooManyEpochs { offered: hello.epochs.len() });
    }
    let mut seen = BTreeSet::new();
    for offer in &hello.epochs {
        let (first, next) = (offer.first_unacked, offer.next);
        if first.0 == 0 || first > next || next > MAX_SEQUENCE || !seen.insert(offer.epoch) {
            return Err(Refusal::InvalidOffer { epoch: offer.epoch });
        }
    }
    Ok(())
}
