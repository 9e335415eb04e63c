//! What of one stream goes to the worker when: in small slices, live data first, within the device's quota.
//!
//! A batch may hold a thousand records of a backlog. Handed over as one it would stand in front of everybody else's
//! transaction, so it goes in slices, the next when the last is durable. The newest epoch and the older ones take their turns
//! independently: what a device observes now does not wait for what it kept during an outage. Nothing more is read from a
//! stream while enough of it waits here, so one connection costs a bounded amount of memory; the rest waits in its spool.

use super::quota::{PORTION, Standing};
use super::reply::{Applied, Line};
use super::worker::{Ingest, Lane, Work};
use crate::limits;
use firstline_collector_store::sabotage;
use firstline_delivery::{Ack, Batch, Receiver};
use firstline_model::{DeviceId, Epoch, SequenceNumber, Timestamp};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A device that is out of credit for the writer's sake and not its own is looked at again this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A few consecutive records of one epoch.
struct Slice {
    epoch: Epoch,
    first: SequenceNumber,
    through: SequenceNumber,
    records: Vec<Vec<u8>>,
    bytes: usize,
    received_at: Timestamp,
    sent_at: Timestamp,
    /// What the device's clock said when it was sent.
    clock: Timestamp,
    lane: Lane,
}

/// Slices of one kind of epochs, one at a time with the worker.
#[derive(Default)]
struct Row {
    waiting: VecDeque<Slice>,
    is_under_way: bool,
}

/// A slice that was dealt with; `None` when the worker is gone.
pub(super) struct Done {
    is_newest: bool,
    pub(super) epoch: Epoch,
    pub(super) through: SequenceNumber,
    pub(super) applied: Option<Applied>,
}

/// One stream's way to the worker.
pub(super) struct Intake {
    ingest: Arc<Ingest>,
    device: DeviceId,
    newest_epoch: Option<Epoch>,
    line: Line,
    newest: Row,
    older: Row,
    /// Bytes that wait here.
    held: usize,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The credit that the agent was told last.
    told: u32,
    is_throttled: bool,
}

impl Intake {
    /// For a stream whose hello offered `newest` first.
    pub(super) fn new(ingest: Arc<Ingest>, device: DeviceId, newest: Option<Epoch>) -> Self {
        Self {
            ingest,
            device,
            newest_epoch: newest,
            line: Line::default(),
            newest: Row::default(),
            older: Row::default(),
            held: 0,
            under_way: FuturesUnordered::new(),
            told: 0,
            is_throttled: false,
        }
    }

    /// The agent was told so much credit.
    pub(super) fn told(&mut self, credit: u32) {
        self.told = credit;
    }

    /// How many records may be in flight: what the writer can take of one device now, and what the device's quota leaves.
    pub(super) fn budget(&mut self, in_flight: u64) -> u32 {
        let standing = self.standing();
        self.note(&standing);
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        self.ingest.credit().min(in_flight.saturating_add(standing.records))
    }

    /// Says once that a device is throttled, and once that it no longer is.
    fn note(&mut self, standing: &Standing) {
        let is_throttled = standing.records == 0;
        if is_throttled == self.is_throttled {
            return;
        }
        self.is_throttled = is_throttled;
        if is_throttled {
            self.ingest.figures.throttled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::info!(device = %self.device, "the device used its quota up; what it has more waits in its spool");
        } else {
            tracing::debug!(device = %self.device, "the device is within its quota again");
        }
    }

    fn standing(&self) -> Standing {
        self.ingest.quotas.standing(&self.device, Instant::now())
    }

    /// Whether the next message may be read, and otherwise when: now only so much waits here, and nothing is owed.
    pub(super) fn may_read_in(&self) -> Option<Duration> {
        // When a slice is done, this is asked again.
        if self.held >= limits::HELD_BYTES { None } else { Some(self.standing().owes_for) }
    }

    /// Takes the new records of a batch, with what both clocks of the device said. The quota is charged here.
    pub(super) fn take(
        &mut self,
        batch: Batch,
        skip: usize,
        first_new: SequenceNumber,
        (sent_at, clock): (Timestamp, Timestamp),
    ) {
        let (epoch, received_at) = (batch.epoch, self.ingest.now());
        let is_newest = self.newest_epoch == Some(epoch);
        let mut records = batch.records.into_iter().skip(skip).peekable();
        let (mut count, mut bytes, mut first) = (0, 0, first_new);
        let mut slices = Vec::new();
        while records.peek().is_some() {
            let mut slice = Slice {
                epoch,
                first,
                through: first,
                records: Vec::new(),
                bytes: 0,
                received_at,
                sent_at,
                clock,
                lane: Lane::Backlog,
            };
            while let Some(record) = records.next_if(|record| {
                slice.records.is_empty()
                    || (slice.records.len() < limits::SLICE_RECORDS
                        && slice.bytes + record.len() <= limits::SLICE_BYTES)
            }) {
                slice.bytes += record.len();
                slice.records.push(record);
                slice.through = first;
                first = first.next();
            }
            count += slice.records.len();
            bytes += slice.bytes;
            slices.push(slice);
        }
        // What is live comes in ones and twos.
        if let ([only], true) = (slices.as_mut_slice(), is_newest) {
            only.lane = Lane::Live;
        }
        self.held += bytes;
        self.ingest.quotas.charge(&self.device, count, bytes, Instant::now());
        self.row(is_newest).waiting.extend(slices);
    }

    fn row(&mut self, is_newest: bool) -> &mut Row {
        if is_newest { &mut self.newest } else { &mut self.older }
    }

    /// Hands over whatever may go now. `false` when the worker is gone.
    pub(super) async fn hand_over(&mut self) -> bool {
        for is_newest in [true, false] {
            loop {
                let acks_early = sabotage::is(sabotage::ACK_BEFORE_COMMIT);
                let row = self.row(is_newest);
                if row.is_under_way && !acks_early {
                    break;
                }
                let Some(slice) = row.waiting.pop_front() else { break };
                row.is_under_way = true;
                self.held -= slice.bytes;
                let (epoch, through) = (slice.epoch, slice.through);
                let (reply, applied) = self.line.place();
                let work = Work::Batch {
                    device: self.device.clone(),
                    epoch,
                    first: slice.first,
                    through,
                    records: slice.records,
                    received_at: slice.received_at,
                    sent_at: slice.sent_at,
                    clock: slice.clock,
                    reply,
                };
                if !self.ingest.hand_over(slice.lane, work).await {
                    return false;
                }
                self.under_way.push(Box::pin(async move {
                    let applied = if acks_early { Some(Applied::Committed) } else { applied.await.ok() };
                    Done { is_newest, epoch, through, applied }
                }));
            }
        }
        true
    }

    /// The next slice that was dealt with; `None` when none is under way.
    pub(super) async fn next_done(&mut self) -> Option<Done> {
        let done = self.under_way.next().await?;
        self.row(done.is_newest).is_under_way = false;
        Some(done)
    }

    /// Waits until everything that was taken is dealt with.
    pub(super) async fn drain(&mut self) {
        while self.hand_over().await && self.next_done().await.is_some_and(|done| done.is_stored()) {}
    }

    /// Whether a slice is with the worker.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// When to look whether the agent can be given more credit; `None` while it has enough or an ack will bring it.
    pub(super) fn grants_in(&self, in_flight: u64) -> Option<Duration> {
        let is_short = u64::from(self.told) < in_flight + u64::from(PORTION);
        (is_short && in_flight == 0).then(|| self.standing().portion_in.max(LOOK_AGAIN))
    }

    /// The ack that gives the agent more credit, if there is more to give.
    pub(super) fn grant(&mut self, receiver: &mut Receiver) -> Option<Ack> {
        let budget = self.budget(receiver.in_flight());
        receiver.set_budget(budget)
    }

    /// A slice is durable: the ack to send for it, with the right to send more as the writer and the device's quota stand now.
    pub(super) fn committed(&mut self, receiver: &mut Receiver, done: &Done) -> Option<Ack> {
        // Its records no longer count as in flight once the ack is made, so the budget must not count them either.
        let mark = receiver.mark(done.epoch).map_or(0, |mark| mark.0);
        let left = receiver.in_flight().saturating_sub(done.through.0.saturating_sub(mark));
        let budget = self.budget(left);
        let more = receiver.set_budget(budget);
        receiver.committed(done.epoch, done.through).or(more)
    }
}

impl Done {
    fn is_stored(&self) -> bool {
        self.applied == Some(Applied::Committed)
    }
}
