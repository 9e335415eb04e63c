//! The independent judge: it sees every spooled record, every message and every stored row, and shares no code with
//! what it judges.

use std::collections::{BTreeMap, BTreeSet};

use firstline_delivery::{Ack, Epoch, SequenceNumber, Welcome};

pub(crate) type Key = (Epoch, u64);
pub(crate) type Rows = BTreeMap<Key, Vec<u8>>;

/// What the agent has put on the current stream, counted naively.
#[derive(Debug, Default)]
struct Wire {
    sent: BTreeMap<Epoch, u64>,
    acked: BTreeMap<Epoch, u64>,
    credit: u64,
}

/// What really happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) spooled: Rows,
    pub(crate) given_up: BTreeSet<Key>,
    wire: Wire,
    violations: Vec<String>,
}

impl Ledger {
    pub(crate) fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    pub(crate) fn verdict(&self) -> Result<(), String> {
        self.violations.first().map_or(Ok(()), |text| Err(text.clone()))
    }

    pub(crate) fn spool(&mut self, key: Key, payload: Vec<u8>) {
        if self.spooled.insert(key, payload).is_some() {
            self.violation(format!("number reused: {}", key.1));
        }
    }

    /// A row is about to become visible in the store.
    pub(crate) fn stored(&mut self, rows: &Rows, key: Key, payload: &[u8]) {
        if rows.contains_key(&key) {
            self.violation(format!("stored twice: {}", key.1));
        }
        match self.spooled.get(&key) {
            Some(original) if original == payload => {}
            Some(_) => self.violation(format!("content differs: {}", key.1)),
            None => self.violation(format!("stored but never spooled: {}", key.1)),
        }
    }

    /// The store leaves numbers out, or takes an empty record.
    pub(crate) fn left_out(&mut self, key: Key) {
        if !self.given_up.contains(&key) {
            self.violation(format!("left out although not given up: {}", key.1));
        }
    }

    /// The spool is about to delete an acked record.
    pub(crate) fn trimmed(&mut self, rows: &Rows, key: Key) {
        if !rows.contains_key(&key) && !self.given_up.contains(&key) {
            self.violation(format!("trimmed but not stored: {}", key.1));
        }
    }

    /// The collector is about to say that it has `epoch` up to `through`.
    pub(crate) fn promised(&mut self, rows: &Rows, epoch: Epoch, through: SequenceNumber) {
        let missing = (1..=through.0).map(|seq| (epoch, seq)).find(|key| {
            self.spooled.contains_key(key) && !rows.contains_key(key) && !self.given_up.contains(key)
        });
        if let Some((_, seq)) = missing {
            self.violation(format!("acked but not committed: {seq} by {through}"));
        }
    }

    pub(crate) fn stream_began(&mut self, welcome: &Welcome) {
        let marks: BTreeMap<Epoch, u64> = welcome.marks.iter().map(|m| (m.epoch, m.through.0)).collect();
        self.wire = Wire { sent: marks.clone(), acked: marks, credit: u64::from(welcome.credit) };
    }

    pub(crate) fn acked(&mut self, ack: &Ack) {
        let through = ack.through.0;
        for map in [&mut self.wire.sent, &mut self.wire.acked] {
            let entry = map.entry(ack.epoch).or_default();
            *entry = (*entry).max(through);
        }
        self.wire.credit = u64::from(ack.credit);
    }

    pub(crate) fn transmitted(&mut self, epoch: Epoch, first: u64, count: u64) {
        let sent = self.wire.sent.entry(epoch).or_default();
        let due = *sent + 1;
        *sent = first + count - 1;
        if first != due {
            self.violation(format!("sent out of order: {first} instead of {due}"));
        }
        let sum = |map: &BTreeMap<Epoch, u64>| map.values().sum::<u64>();
        let in_flight = sum(&self.wire.sent) - sum(&self.wire.acked);
        if in_flight > self.wire.credit {
            self.violation(format!("credit exceeded: {in_flight} of {}", self.wire.credit));
        }
    }

    /// Everything has come to rest: what was spooled is stored once, or given up, and nothing else is stored.
    pub(crate) fn final_check(&mut self, rows: &Rows) {
        let lost = self.spooled.iter().find(|(key, payload)| match rows.get(key) {
            Some(stored) => stored != *payload,
            None => !self.given_up.contains(key),
        });
        if let Some(((_, seq), _)) = lost {
            self.violation(format!("lost: {seq}"));
        }
        if let Some((_, seq)) = rows.keys().find(|key| !self.spooled.contains_key(key)) {
            self.violation(format!("appeared from nowhere: {seq}"));
        }
    }
}
