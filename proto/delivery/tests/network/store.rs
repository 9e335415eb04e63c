//! A store of maps: rows and marks, changed together.

use std::collections::BTreeMap;

use firstline_delivery::{Epoch, EpochMark, SequenceNumber};

use crate::ledger::{Ledger, Rows};
use crate::world::Sabotage;

/// A batch that the receiver said to apply, waiting for its transaction.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) through: u64,
    pub(crate) records: Vec<Vec<u8>>,
}

/// What survives a crash of the collector.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) rows: Rows,
    marks: BTreeMap<Epoch, u64>,
}

impl Store {
    pub(crate) fn marks(&self) -> impl Iterator<Item = EpochMark> {
        self.marks.iter().map(|(&epoch, &through)| EpochMark { epoch, through: SequenceNumber(through) })
    }

    /// A mark that is written before its rows, as no store may do.
    pub(crate) fn mark_early(&mut self, pending: &Pending) {
        self.marks.insert(pending.epoch, pending.through);
    }

    /// One transaction: the new rows and the mark.
    pub(crate) fn commit(&mut self, pending: &Pending, ledger: &mut Ledger, sabotage: Sabotage) {
        let known = self.marks.get(&pending.epoch).copied();
        for seq in known.unwrap_or(pending.first - 1) + 1..pending.first {
            if sabotage != Sabotage::MarkBeforeRows {
                ledger.left_out((pending.epoch, seq));
            }
        }
        let checks_mark = !matches!(sabotage, Sabotage::ApplyWithoutMarkCheck | Sabotage::MarkBeforeRows);
        for (seq, payload) in (pending.first..).zip(&pending.records) {
            let key = (pending.epoch, seq);
            if checks_mark && known.is_some_and(|known| seq <= known) {
                continue;
            }
            if payload.is_empty() {
                ledger.left_out(key);
            } else {
                ledger.stored(&self.rows, key, payload);
                self.rows.insert(key, payload.clone());
            }
        }
        let mark = self.marks.entry(pending.epoch).or_default();
        *mark = (*mark).max(pending.through);
    }
}
