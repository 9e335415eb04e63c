//! What records repeat of earlier ones: finds those, so that judging a batch needs nothing but memory.
//!
//! An agent leads back only to what is durable in the same epoch before, so the record is in the store, or in what is being
//! judged with it. A back-test reads kept records in the same way, one by one. When it is neither (the agent's disk lost it
//! before it was delivered), what cannot be read is named in the audit log, and the agent is asked to say everything again.

use super::device::Incoming;
use firstline_collector_store::record::LatestContent;
use firstline_collector_store::{Store, StoreError};
use firstline_model::{Body, Component, DeviceId, Epoch, Observation, SequenceNumber, Told, Value};
use firstline_proto::convert::{DecodeError, DecodedRecord, InventoryChange, decode_record_with, leads_of};
use firstline_proto::limits;
use std::collections::BTreeMap;

/// Most earlier records that are looked at for what is judged of a device at once. An agent has one for each of its probes
/// and a few epochs; a device that names more is broken or hostile, and they are not found.
const MOST: usize = 192;

/// Earlier records by epoch and number, as far as they are needed and there.
#[derive(Default)]
pub(crate) struct Earlier {
    records: BTreeMap<(Epoch, SequenceNumber), Vec<Told>>,
    /// The newest documents that are stored, when inventories are told as changes of them.
    documents: BTreeMap<(Component, String), Value>,
}

impl Earlier {
    /// Everything that these batches of the device lead back to.
    pub(crate) async fn find<'b>(
        store: &dyn Store,
        device: &DeviceId,
        batches: impl Iterator<Item = &'b Incoming> + Clone,
    ) -> Result<Self, StoreError> {
        let mut wanted: Vec<(Epoch, SequenceNumber)> = Vec::new();
        let mut inventories = false;
        for batch in batches.clone() {
            for payload in &batch.records {
                let leads = leads_of(payload);
                wanted.extend(leads.records.into_iter().map(|seq| (batch.epoch, seq)));
                inventories |= leads.inventories;
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.truncate(MOST);
        let mut found = Self::default();
        let mut stored = Vec::new();
        for (epoch, seq) in wanted {
            match batches.clone().find_map(|batch| batch.record(epoch, seq)) {
                Some(payload) => found.take((epoch, seq), payload),
                None => stored.push((epoch, seq)),
            }
        }
        if !stored.is_empty() {
            let payloads = store.records(device, &stored).await?;
            for (key, payload) in payloads {
                found.take(key, &payload);
            }
        }
        if inventories {
            for latest in store.latest(device).await? {
                if let LatestContent::State(document) = latest.content {
                    found.documents.insert((latest.component, latest.name), document);
                }
            }
        }
        Ok(found)
    }

    /// The same for a record that is kept already: whoever plays the history needs what it leads back to, which may have been
    /// kept long before, or be deleted by now. Returns how many bytes were read.
    pub(crate) async fn find_kept(
        &mut self,
        store: &dyn Store,
        device: &DeviceId,
        epoch: Epoch,
        payload: &[u8],
    ) -> Result<usize, StoreError> {
        let wanted = leads_of(payload).records.into_iter().map(|seq| (epoch, seq)).take(MOST);
        let wanted: Vec<_> = wanted.filter(|key| !self.records.contains_key(key)).collect();
        if wanted.is_empty() {
            return Ok(0);
        }
        let mut bytes = 0;
        for (key, payload) in store.records(device, &wanted).await? {
            bytes += payload.len();
            self.take(key, &payload);
        }
        // One that is not there says nothing, and is not asked for again and again.
        for key in wanted {
            self.records.entry(key).or_default();
        }
        Ok(bytes)
    }

    fn take(&mut self, key: (Epoch, SequenceNumber), payload: &[u8]) {
        if payload.len() <= limits::REPEATABLE_BYTES
            && let Ok(record) = decode_record_with(payload)
        {
            self.records.insert(key, record.own);
        }
    }

    /// The inventory as it is now; `newer` is what is judged already and not stored. `None` when neither is what it is a
    /// change of.
    pub(crate) fn inventory(&self, change: &InventoryChange, newer: Option<&Value>) -> Option<Observation> {
        let key = (change.component.clone(), change.name.clone());
        let document = change.apply(newer.or_else(|| self.documents.get(&key))?)?;
        let body = Body::State { name: change.name.clone().into(), document };
        Some(Observation { component: change.component.clone(), observed_at: change.observed_at, body })
    }

    /// All that a record says, and what it repeats in vain.
    pub(crate) fn read(&self, epoch: Epoch, payload: &[u8]) -> Result<Read, DecodeError> {
        let DecodedRecord { own, repeats, inventories } = decode_record_with(payload)?;
        let mut read = Read { observations: Vec::new(), missing: Vec::new(), inventories };
        let mut own = own.into_iter().map(|told| told.observation);
        let mut taken = 0;
        for (place, repeat) in repeats {
            read.observations.extend(own.by_ref().take(place - taken));
            taken = place;
            match self.records.get(&(epoch, repeat.record)).map(|record| repeat.expand(record)) {
                Some(Ok(again)) => read.observations.extend(again),
                Some(Err(_)) | None => read.missing.push(repeat.record),
            }
        }
        read.observations.extend(own);
        Ok(read)
    }
}

/// A record that was read.
pub(crate) struct Read {
    /// Everything that was observed, in order.
    pub(crate) observations: Vec<Observation>,
    /// Records that it leads back to and that are not there or say something else.
    pub(crate) missing: Vec<SequenceNumber>,
    /// Inventories that were looked at again, after all that.
    pub(crate) inventories: Vec<InventoryChange>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_collector_store::engines::memory::Memory;
    use firstline_collector_store::plan::{CommitPlan, DevicePlan, NewMark, NewRecord};
    use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus, EnrollmentToken};
    use firstline_collector_store::store::{Enrollment, Ingest};
    use firstline_model::{Attributes, Repeat, Timestamp, semconv};
    use firstline_proto::convert::{encode_record, encode_record_with};

    const HERE: Epoch = Epoch([1; 16]);
    const ELSEWHERE: Epoch = Epoch([2; 16]);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn look(second: i64, values: [f64; 2]) -> Vec<Observation> {
        let sample = |(name, value): (&str, f64)| Observation {
            component: name.parse().unwrap(),
            observed_at: at(second),
            body: Body::Sample {
                metric: semconv::FILESYSTEM_UTILIZATION.into(),
                attributes: Attributes::none(),
                value,
            },
        };
        ["filesystem//", "filesystem//home"].into_iter().zip(values).map(sample).collect()
    }

    fn again(second: i64, record: u64, changed: &[(usize, i64)]) -> Vec<u8> {
        let record = SequenceNumber(record);
        let repeat = Repeat { record, first: 0, count: 2, at: at(second), changed: changed.to_vec() };
        encode_record_with(&[], &[(0, repeat)], &[])
    }

    fn batch(epoch: Epoch, first: u64, records: Vec<Vec<u8>>) -> Incoming {
        let through = SequenceNumber(first + records.len() as u64 - 1);
        let (received_at, sent_at, clock) = (at(0), at(0), at(0));
        Incoming { epoch, first: SequenceNumber(first), through, records, received_at, sent_at, clock }
    }

    /// A store with one record of one device, numbered 1 in [`HERE`].
    async fn stored(payload: Vec<u8>) -> (Memory, DeviceId) {
        let store = Memory::default();
        let text = String::new;
        let audit = AuditEntry { at: at(0), actor: text(), action: text(), subject: text(), detail: text() };
        let token = EnrollmentToken {
            hash: [1; 32],
            uses_left: 1,
            expires_at: at(100),
            site: None,
            created_at: at(0),
        };
        store.create_token(&token, &audit).await.unwrap();
        let device = Device {
            id: DeviceId::new("pc").unwrap(),
            hostname: "pc".to_owned(),
            site: None,
            status: DeviceStatus::Active,
            tags: Vec::new(),
            facts: Value::map::<&'static str>([]),
            agent_version: text(),
            enrolled_at: at(0),
            last_seen_at: None,
            presence: None,
            certificate_fingerprint: text(),
            certificate_not_after: at(0),
        };
        store.enroll(&[1; 32], &device, at(0)).await.unwrap();
        let record = NewRecord {
            epoch: HERE,
            seq: SequenceNumber(1),
            received_at: at(0),
            payload,
            clock_suspect: false,
        };
        let plan = DevicePlan {
            records: vec![record],
            marks: vec![NewMark { epoch: HERE, before: None, through: SequenceNumber(1) }],
            ..DevicePlan::unchanged(device.id.clone())
        };
        store.commit(CommitPlan::of(vec![plan])).await.unwrap();
        (store, device.id)
    }

    async fn read(store: &Memory, device: &DeviceId, batches: &[Incoming], record: usize) -> Read {
        let earlier = Earlier::find(store, device, batches.iter()).await.unwrap();
        let last = batches.last().unwrap();
        earlier.read(last.epoch, &last.records[record]).unwrap()
    }

    #[tokio::test]
    async fn a_repeat_is_read_as_if_it_had_been_said_from_the_store_and_from_what_is_judged_with_it() {
        let (store, pc) = stored(encode_record(&look(0, [0.5, 0.6]))).await;
        let from_store = batch(HERE, 2, vec![again(60, 1, &[(1, -1)])]);
        let seen = read(&store, &pc, &[from_store], 0).await;
        assert_eq!((seen.observations, seen.missing.len()), (look(60, [0.5, 0.599]), 0));

        let said = batch(ELSEWHERE, 1, vec![encode_record(&look(0, [0.1, 0.2]))]);
        let repeated = batch(ELSEWHERE, 2, vec![again(60, 1, &[]), again(120, 1, &[(0, 700)])]);
        let batches = [said, repeated];
        assert_eq!(read(&store, &pc, &batches, 0).await.observations, look(60, [0.1, 0.2]));
        assert_eq!(read(&store, &pc, &batches, 1).await.observations, look(120, [0.8, 0.2]));
    }

    #[tokio::test]
    async fn what_is_said_keeps_its_place_among_what_is_repeated() {
        let (store, pc) = stored(encode_record(&look(0, [0.5, 0.6]))).await;
        let repeat =
            Repeat { record: SequenceNumber(1), first: 1, count: 1, at: at(60), changed: Vec::new() };
        let own = look(60, [0.7, 0.8]);
        let batches = [batch(HERE, 2, vec![encode_record_with(&own, &[(1, repeat)], &[])])];
        let seen = read(&store, &pc, &batches, 0).await.observations;
        assert_eq!(seen, [own[0].clone(), look(60, [0.5, 0.6])[1].clone(), own[1].clone()]);
    }

    #[tokio::test]
    async fn a_record_that_is_not_there_or_of_another_epoch_or_too_large_is_missed_and_the_rest_is_read() {
        let (store, pc) = stored(encode_record(&look(0, [0.5, 0.6]))).await;
        for (epoch, record) in [(HERE, 9), (ELSEWHERE, 1)] {
            let seen = read(&store, &pc, &[batch(epoch, 20, vec![again(60, record, &[])])], 0).await;
            assert_eq!((seen.observations.len(), seen.missing), (0, vec![SequenceNumber(record)]));
        }
        let (store, pc) = stored(vec![0; limits::REPEATABLE_BYTES + 1]).await;
        let own = look(60, [0.7, 0.8]);
        let repeat =
            Repeat { record: SequenceNumber(1), first: 0, count: 1, at: at(60), changed: Vec::new() };
        let batches = [batch(HERE, 2, vec![encode_record_with(&own, &[(0, repeat)], &[])])];
        let seen = read(&store, &pc, &batches, 0).await;
        assert_eq!((seen.observations, seen.missing), (own, vec![SequenceNumber(1)]));
    }
}
