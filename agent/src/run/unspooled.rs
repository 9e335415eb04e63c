//! Records that wait in memory while the spool cannot be opened or written: the disk is full, read-only, or failing.
//!
//! Only so many can wait. What had to be left out is counted; the first thing that is written when the disk works again
//! names it in a gap record and says since when the disk refused and how much waited, so that nothing is missing
//! without being told.

use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp};
use firstline_proto::convert::encode_record;
use std::collections::VecDeque;

/// Most records that wait: some hours of the steady stream.
const MOST: usize = 512;
/// Most bytes of them, so that the agent stays small.
const MOST_BYTES: usize = 2 << 20;
/// Most records that one gap record names, so that a sender never has to fill a hole that looks like damage.
const MOST_NAMED: u64 = 50_000;
/// The event that tells that the disk refused.
const REFUSED: &str = "endpoint.agent.spool_refused";

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Unspooled {
    waiting: VecDeque<(Vec<u8>, bool)>,
    bytes: usize,
    refused: Option<Refused>,
}

/// The disk refused and nothing was written since.
#[derive(Debug, Clone, Copy)]
struct Refused {
    from: Timestamp,
    to: Timestamp,
    left_out: u64,
    waited: usize,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) payload: Vec<u8>,
    pub(super) urgent: bool,
    /// So many records before it are given up.
    pub(super) left_out: u64,
}

impl Unspooled {
    /// Lets a record wait; the oldest have to go when there are too many.
    pub(super) fn push(&mut self, payload: Vec<u8>, urgent: bool, now: Timestamp) {
        self.bytes += payload.len();
        self.waiting.push_back((payload, urgent));
        while self.waiting.len() > MOST || (self.bytes > MOST_BYTES && self.waiting.len() > 1) {
            self.forget_first();
            self.refused_at(now).left_out += 1;
        }
        let waiting = self.waiting.len();
        if let Some(refused) = &mut self.refused {
            refused.waited = refused.waited.max(waiting);
        }
    }

    /// The disk refused to take them.
    pub(super) fn refused(&mut self, now: Timestamp) {
        let waiting = self.waiting.len();
        let refused = self.refused_at(now);
        refused.waited = refused.waited.max(waiting);
    }

    /// What is to be written next.
    pub(super) fn next(&self) -> Option<Next> {
        match self.refused {
            Some(refused) => Some(Next {
                payload: refused.record(),
                urgent: true,
                left_out: refused.left_out.min(MOST_NAMED),
            }),
            None => self.waiting.front().map(|(payload, urgent)| Next {
                payload: payload.clone(),
                urgent: *urgent,
                left_out: 0,
            }),
        }
    }

    /// What [`Self::next`] gave is durable.
    pub(super) fn written(&mut self) {
        match &mut self.refused {
            Some(refused) if refused.left_out > MOST_NAMED => refused.left_out -= MOST_NAMED,
            Some(_) => self.refused = None,
            None => self.forget_first(),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_none() && self.waiting.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many had to be left out and are not named yet.
    pub(super) fn left_out(&self) -> u64 {
        self.refused.map_or(0, |refused| refused.left_out)
    }

    fn refused_at(&mut self, now: Timestamp) -> &mut Refused {
        let refused = self.refused.get_or_insert(Refused { from: now, to: now, left_out: 0, waited: 0 });
        refused.to = now;
        refused
    }

    fn forget_first(&mut self) {
        if let Some((payload, _)) = self.waiting.pop_front() {
            self.bytes -= payload.len();
        }
    }
}

impl Refused {
    fn record(&self) -> Vec<u8> {
        let attributes = Attributes::none()
            .with("from_ms", self.from.as_millis().to_string())
            .with("to_ms", self.to.as_millis().to_string())
            .with("waited", self.waited.to_string())
            .with("left_out", self.left_out.to_string());
        encode_record(&[Observation {
            component: Component::only(ComponentKind::Agent),
            observed_at: self.to,
            body: Body::Event { name: REFUSED.into(), attributes },
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_proto::convert::decode_record;
    use std::time::Duration;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000).plus(Duration::from_secs(second))
    }

    fn filled(records: u64) -> Unspooled {
        let mut queue = Unspooled::default();
        for n in 0..records {
            queue.push(n.to_le_bytes().to_vec(), false, at(n));
        }
        queue
    }

    #[test]
    fn r23_records_left_out_while_the_disk_refuses_are_counted_and_told_first() {
        let mut queue = filled(MOST as u64 + 3);
        queue.refused(at(600));
        let told = queue.next().unwrap();
        assert!(told.urgent);
        assert_eq!(told.left_out, 3);
        let Body::Event { attributes, .. } = decode_record(&told.payload).unwrap().remove(0).body else {
            panic!("not an event")
        };
        assert_eq!((attributes.get("left_out"), attributes.get("waited")), (Some("3"), Some("512")));
        assert_eq!(attributes.get("from_ms"), Some(at(MOST as u64).as_millis().to_string().as_str()));
        // It is told until it is durable, then the oldest that is left follows.
        assert_eq!(queue.next().unwrap(), told);
        queue.written();
        assert_eq!(queue.next().unwrap().payload, 3_u64.to_le_bytes());
        for _ in 0..MOST {
            queue.written();
        }
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn r23_a_refusal_that_cost_nothing_is_told_all_the_same() {
        let mut queue = filled(1);
        queue.refused(at(1));
        assert_eq!(queue.next().unwrap().left_out, 0);
        queue.written();
        assert_eq!(queue.next().unwrap().payload, 0_u64.to_le_bytes());
    }

    #[test]
    fn months_of_refusal_are_named_in_parts() {
        let mut queue = filled(MOST as u64 + 2 * MOST_NAMED + 7);
        let mut named = Vec::new();
        while let Some(next) = queue.next().filter(|next| next.left_out > 0) {
            named.push(next.left_out);
            queue.written();
        }
        assert_eq!(named, [MOST_NAMED, MOST_NAMED, 7]);
        assert_eq!(queue.len(), MOST);
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
