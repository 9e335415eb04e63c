//! Records that wait in memory while the spool cannot be written: the disk is full, read-only, or failing.
//!
//! Only so many can wait. What had to be left out is counted, and the first record that is written when the disk works
//! again says how many there were and from when to when, so that nothing is missing without being told.

use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp};
use firstline_proto::convert::encode_record;
use std::collections::VecDeque;

/// Most records that wait: some hours of the steady stream.
const MOST: usize = 512;
/// Most bytes of them, so that the agent stays small.
const MOST_BYTES: usize = 2 << 20;
/// The event that tells of records that were left out.
const LEFT_OUT: &str = "endpoint.agent.records_left_out";

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Unspooled {
    waiting: VecDeque<(Vec<u8>, bool)>,
    bytes: usize,
    left_out: Option<LeftOut>,
}

#[derive(Debug, Clone, Copy)]
struct LeftOut {
    count: u64,
    from: Timestamp,
    to: Timestamp,
}

impl Unspooled {
    /// Lets a record wait; the oldest have to go when there are too many.
    pub(super) fn push(&mut self, payload: Vec<u8>, urgent: bool, now: Timestamp) {
        self.bytes += payload.len();
        self.waiting.push_back((payload, urgent));
        while self.waiting.len() > MOST || (self.bytes > MOST_BYTES && self.waiting.len() > 1) {
            self.forget_first();
            let left_out = self.left_out.get_or_insert(LeftOut { count: 0, from: now, to: now });
            left_out.count += 1;
            left_out.to = now;
        }
    }

    /// What is to be written next, and whether it is urgent.
    pub(super) fn next(&self) -> Option<(Vec<u8>, bool)> {
        match self.left_out {
            Some(left_out) => Some((left_out.record(), true)),
            None => self.waiting.front().cloned(),
        }
    }

    /// What [`Self::next`] gave is durable.
    pub(super) fn written(&mut self) {
        if self.left_out.take().is_none() {
            self.forget_first();
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.left_out.is_none() && self.waiting.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn forget_first(&mut self) {
        if let Some((payload, _)) = self.waiting.pop_front() {
            self.bytes -= payload.len();
        }
    }
}

impl LeftOut {
    fn record(&self) -> Vec<u8> {
        let attributes = Attributes::none()
            .with("count", self.count.to_string())
            .with("from_ms", self.from.as_millis().to_string())
            .with("to_ms", self.to.as_millis().to_string())
            .with("reason", "unspooled");
        encode_record(&[Observation {
            component: Component::only(ComponentKind::Agent),
            observed_at: self.to,
            body: Body::Event { name: LEFT_OUT.into(), attributes },
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_proto::convert::decode_record;
    use std::time::Duration;

    #[test]
    fn r23_records_left_out_while_the_disk_refuses_are_counted_and_told_first() {
        let mut queue = Unspooled::default();
        let at = |n: u64| Timestamp::from_millis(1_000_000).plus(Duration::from_secs(n));
        for n in 0..MOST as u64 + 3 {
            queue.push(n.to_le_bytes().to_vec(), false, at(n));
        }
        let (told, urgent) = queue.next().unwrap();
        assert!(urgent);
        let Body::Event { attributes, .. } = decode_record(&told).unwrap().remove(0).body else {
            panic!("not an event")
        };
        assert_eq!(attributes.get("count"), Some("3"));
        assert_eq!(attributes.get("from_ms"), Some(at(MOST as u64).as_millis().to_string().as_str()));
        // It is told until it is durable, then the oldest that is left follows.
        assert_eq!(queue.next().unwrap().0, told);
        queue.written();
        assert_eq!(queue.next().unwrap().0, 3_u64.to_le_bytes());
        for _ in 0..MOST {
            queue.written();
        }
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn large_records_do_not_fill_the_memory() {
        let mut queue = Unspooled::default();
        for _ in 0..10 {
            queue.push(vec![1; MOST_BYTES / 3], false, Timestamp::from_millis(5));
        }
        assert!(queue.bytes <= MOST_BYTES);
        assert_eq!(queue.len(), 3);
    }
}
