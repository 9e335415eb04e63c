//! The independent ledger: what agents said is durable and what they said was acked, compared with what the collector has.
//! Nothing here decides as the product decides; the only thing shared is the reading of gap records.

use firstline_model::{Body, DeviceId, Epoch, SequenceNumber};
use firstline_proto::convert::decode_record;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one epoch.
#[derive(Debug, Default)]
struct Numbering {
    /// Content of each durable record, by its number.
    durable: BTreeMap<u64, String>,
    /// The same of those that were acked before they were durable.
    delivered: BTreeMap<u64, String>,
    /// Everything through this was acked.
    acked: u64,
}

/// What agents said.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    epochs: BTreeMap<String, Numbering>,
}

/// Records as a collector has them.
pub(crate) struct Stored {
    content: BTreeMap<String, BTreeMap<u64, String>>,
    gaps: BTreeMap<String, BTreeSet<u64>>,
}

impl Stored {
    pub(crate) fn read(records: Vec<(DeviceId, Epoch, SequenceNumber, Vec<u8>)>) -> Self {
        let mut stored = Self { content: BTreeMap::new(), gaps: BTreeMap::new() };
        let mut owner: BTreeMap<String, DeviceId> = BTreeMap::new();
        for (device, epoch, seq, payload) in records {
            let name = epoch.to_string();
            let known = owner.entry(name.clone()).or_insert_with(|| device.clone());
            assert_eq!(*known, device, "an epoch is stored under two devices");
            for observation in decode_record(&payload).unwrap_or_default() {
                if let Body::Gap { epoch, first, last, .. } = observation.body {
                    // A gap that names the whole range of numbers would cover anything.
                    assert!(last - first < 100_000, "a gap of {first} to {last}");
                    stored.gaps.entry(epoch.to_string()).or_default().extend(first..=last);
                }
            }
            stored.content.entry(name).or_default().insert(seq.0, hash(&payload));
        }
        stored
    }

    fn has(&self, epoch: &str, seq: u64, content: &str) -> Result<bool, String> {
        match self.content.get(epoch).and_then(|records| records.get(&seq)) {
            Some(found) if found == content => Ok(true),
            Some(_) => Err(format!("record {seq} of {epoch} is stored with another content")),
            None => Ok(self.gaps.get(epoch).is_some_and(|gaps| gaps.contains(&seq))),
        }
    }
}

fn hash(payload: &[u8]) -> String {
    digest(&SHA256, payload).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let begin =
        line.find(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line:?}")) + name.len() + 2;
    line[begin..].split(' ').next().unwrap_or_default().trim_matches('"')
}

impl Ledger {
    /// Takes one line of an agent.
    pub(crate) fn note(&mut self, line: &str) {
        let epoch = self.epochs.entry(field(line, "epoch").to_owned()).or_default();
        let is_durable = line.contains("message=durable");
        if is_durable || line.contains("message=delivered") {
            let seq = field(line, "seq").parse().expect("a number");
            let content = field(line, "hash").to_owned();
            let records = if is_durable { &mut epoch.durable } else { &mut epoch.delivered };
            let before = records.insert(seq, content.clone());
            assert!(before.is_none_or(|before| before == content), "a number was given out twice: {line}");
        } else {
            let through: u64 = field(line, "through").parse().expect("a number");
            epoch.acked = epoch.acked.max(through);
        }
    }

    /// How many records became durable or were delivered before.
    pub(crate) fn count(&self) -> usize {
        let only =
            |epoch: &Numbering| epoch.delivered.keys().filter(|seq| !epoch.durable.contains_key(seq)).count();
        self.epochs.values().map(|epoch| epoch.durable.len() + only(epoch)).sum()
    }

    /// Everything that was acked is stored. Of a collector that was restored from a backup this cannot be asked: what was
    /// not durable on the device's side is gone when the device crashes as well.
    pub(crate) fn acked_is_stored(&self, stored: &Stored) -> Result<(), String> {
        self.compare(stored, |epoch| epoch.acked)?;
        for (name, epoch) in &self.epochs {
            for (seq, content) in &epoch.delivered {
                if !stored.has(name, *seq, content)? {
                    return Err(format!("record {seq} of {name} was acked and is not stored"));
                }
            }
        }
        Ok(())
    }

    /// Everything that was durable is stored.
    pub(crate) fn durable_is_stored(&self, stored: &Stored) -> Result<(), String> {
        self.compare(stored, |_| u64::MAX)
    }

    fn compare(&self, stored: &Stored, through: impl Fn(&Numbering) -> u64) -> Result<(), String> {
        for (name, epoch) in &self.epochs {
            for (seq, content) in epoch.durable.range(..=through(epoch)) {
                if !stored.has(name, *seq, content)? {
                    return Err(format!(
                        "record {seq} of {name} was durable and is not stored (acked through {})",
                        epoch.acked
                    ));
                }
            }
        }
        Ok(())
    }
}
