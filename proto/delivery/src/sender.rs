//! The agent's half: decides what to send and when to connect, from numbers and sizes alone.
//!
//! The driver reports what happened (`handle_*`), then drains [`Sender::poll_event`], [`Sender::poll_commit`] and
//! [`Sender::poll_transmit`], then sleeps until [`Sender::poll_timeout`] or the next report.

mod event;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use firstline_model::{Epoch, SequenceNumber, order};

pub use event::{DisconnectReason, Event, SpoolFault, Transmit, WakeReason};
use queue::{BatchLimits, Queue};

use crate::{Ack, Backoff, Hello, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_EPOCHS, Refusal, Tick, Welcome};

/// One record in so many of the credit is kept for the newest epoch, so that a backlog in flight never uses all of it up.
const LIVE_SHARE: u64 = 8;
/// A collector cannot send an agent away for longer than this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What bounds a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderConfig {
    /// The most records in one batch; 1 to [`MAX_BATCH_RECORDS`].
    pub max_batch_records: u32,
    /// The most payload bytes in one batch; 1 to [`MAX_BATCH_BYTES`]. One larger record still leaves, alone.
    pub max_batch_bytes: u32,
    /// How long a record that is not urgent may wait for company.
    pub linger: Duration,
    /// How long the collector may take to welcome a new stream, connecting included. Not zero.
    pub connect_timeout: Duration,
    /// How long records may be in flight without any ack. Not zero.
    pub ack_timeout: Duration,
    /// When to connect again.
    pub backoff: Backoff,
}

impl Default for SenderConfig {
    /// The steady stream is a batch a minute; what cannot wait is flagged urgent.
    fn default() -> Self {
        Self {
            max_batch_records: MAX_BATCH_RECORDS,
            max_batch_bytes: MAX_BATCH_BYTES,
            linger: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            ack_timeout: Duration::from_secs(30),
            backoff: Backoff::default(),
        }
    }
}

/// Why a [`SenderConfig`] is refused: the field that is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is out of its range; see its documentation")]
pub struct InvalidConfig {
    /// The name of the field.
    pub field: &'static str,
}

/// A record that became durable in the spool, or will within a second if it is not acked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spooled {
    /// Which epoch; one that was not reported before becomes the newest.
    pub epoch: Epoch,
    /// Its number.
    pub seq: SequenceNumber,
    /// Its payload size in bytes, not 0.
    pub len: usize,
    /// Send at once, together with whatever waits before it.
    pub urgent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { at: Tick },
    Connecting { deadline: Tick },
    Connected { progress: Tick },
    Closing,
}

/// The agent's half of the stream.
#[derive(Debug)]
pub struct Sender {
    limits: BatchLimits,
    connect_timeout: Duration,
    ack_timeout: Duration,
    backoff: Backoff,
    /// Oldest first; numbers are given out in the last one only.
    queues: Vec<Queue>,
    state: State,
    credit: u32,
    not_before: Tick,
    events: VecDeque<Event>,
    turns: u64,
    newest_had_turn: bool,
}

impl Sender {
    /// A sender that wants to connect at `now`. Report what the spool holds before anything else: for each epoch,
    /// oldest first, [`Self::handle_epoch`] and then [`Self::handle_spooled`] for each kept record.
    pub fn try_new(config: SenderConfig, now: Tick) -> Result<Self, InvalidConfig> {
        let in_range = [
            ("max_batch_records", (1..=MAX_BATCH_RECORDS).contains(&config.max_batch_records)),
            ("max_batch_bytes", (1..=MAX_BATCH_BYTES).contains(&config.max_batch_bytes)),
            ("connect_timeout", !config.connect_timeout.is_zero()),
            ("ack_timeout", !config.ack_timeout.is_zero()),
        ];
        if let Some((field, _)) = in_range.into_iter().find(|(_, ok)| !ok) {
            return Err(InvalidConfig { field });
        }
        Ok(Self {
            limits: BatchLimits {
                records: config.max_batch_records,
                bytes: config.max_batch_bytes,
                linger: config.linger,
            },
            connect_timeout: config.connect_timeout,
            ack_timeout: config.ack_timeout,
            backoff: config.backoff,
            queues: Vec::new(),
            state: State::Waiting { at: now },
            credit: 0,
            not_before: now,
            events: VecDeque::new(),
            turns: 0,
            newest_had_turn: false,
        })
    }

    /// The spool has `epoch`, newer than all reported before, with its persisted watermark (0: nothing was acked) and
    /// the number that its next record would get, which the records that are left may no longer tell. Nothing
    /// happens when the epoch is known.
    pub fn handle_epoch(&mut self, epoch: Epoch, watermark: SequenceNumber, next: SequenceNumber) {
        if self.queue(epoch).is_none() {
            self.queues.push(Queue::new(epoch, watermark, next));
        }
    }

    /// A record became durable. When it is refused, its number stays unused or travels as given up, and the driver
    /// does what the fault says.
    pub fn handle_spooled(&mut self, record: Spooled, now: Tick) -> Result<(), SpoolFault> {
        self.handle_epoch(record.epoch, SequenceNumber(0), SequenceNumber(1));
        let Some(queue) = self.queue(record.epoch) else { return Ok(()) };
        queue.spooled(record.seq.0, record.len, record.urgent, now)?;
        self.close_when_epoch_waits();
        Ok(())
    }

    /// The spool deleted the records of `epoch` up to `through`: acked and trimmed, or given up with a gap record.
    pub fn handle_trimmed(&mut self, epoch: Epoch, through: SequenceNumber) {
        if let Some(queue) = self.queue(epoch) {
            queue.trim(through.0);
            self.forget_finished();
        }
    }

    /// The spool deleted `epoch` as a whole.
    pub fn handle_epoch_removed(&mut self, epoch: Epoch) {
        self.queues.retain(|queue| queue.epoch != epoch);
    }

    /// The first message of a new stream: at most [`MAX_EPOCHS`] epochs, the newest first, then those with records
    /// to deliver from the oldest on, then those with only an acked tail.
    pub fn hello(&mut self) -> Hello {
        for queue in &mut self.queues {
            queue.offer = None;
        }
        self.forget_finished();
        let mut places: Vec<usize> = (0..self.queues.len()).collect();
        let newest = self.queues.len().saturating_sub(1);
        order::sort_by_key(&mut places, |&at| {
            (at != newest, self.queues.get(at).is_none_or(|q| q.unacked() == 0), at)
        });
        places.truncate(MAX_EPOCHS);
        let epochs =
            places.into_iter().filter_map(|at| self.queues.get_mut(at).map(Queue::make_offer)).collect();
        Hello { epochs }
    }

    /// The collector answered the hello. Each epoch continues after its mark.
    pub fn handle_connected(&mut self, welcome: &Welcome, now: Tick) {
        let State::Connecting { .. } = self.state else { return };
        let marks = order::map(welcome.marks.iter().map(|mark| (mark.epoch, mark.through.0)));
        self.state = State::Connected { progress: now };
        self.backoff.handle_connected(now);
        self.credit = welcome.credit;
        self.newest_had_turn = false;
        let newest = self.queues.len().saturating_sub(1);
        for (at, queue) in self.queues.iter_mut().enumerate() {
            let epoch = queue.epoch;
            let Some(offer) = queue.offer else { continue };
            let Some(&mark) = marks.get(&epoch) else {
                return self.close(DisconnectReason::MarkMissing { epoch });
            };
            let through = SequenceNumber(mark);
            if mark < offer.first_unacked.0 - 1 {
                return self.close(DisconnectReason::Violation { epoch, through });
            }
            if mark >= offer.next.0 && at == newest {
                queue.frozen = true;
                self.events.push_back(Event::RolledBack { epoch, next: offer.next, through });
                continue;
            }
            // An older epoch gives out no numbers: whatever it lost at its end, the collector has.
            let mark = mark.min(offer.next.0 - 1);
            if mark < queue.acked {
                let acked = SequenceNumber(queue.acked);
                self.events.push_back(Event::CollectorBehind { epoch, acked, through });
            }
            queue.resume(mark);
        }
        self.forget_finished();
        self.close_when_epoch_waits();
    }

    /// The collector committed records. Acks of an earlier stream must not be reported.
    pub fn handle_ack(&mut self, ack: &Ack, now: Tick) {
        let State::Connected { .. } = self.state else { return };
        let (epoch, through) = (ack.epoch, ack.through);
        let queue = self.queue(epoch).filter(|queue| queue.offer.is_some());
        let Some(queue) = queue else { return };
        if through.0 > queue.last() {
            return self.close(DisconnectReason::Violation { epoch, through });
        }
        if queue.frozen || through.0 < queue.acked {
            return;
        }
        if through.0 > queue.acked {
            queue.ack(through.0);
            self.state = State::Connected { progress: now };
        }
        self.credit = ack.credit;
        self.close_when_epoch_waits();
    }

    /// The collector ended the stream and said why.
    pub fn handle_refusal(&mut self, refusal: Refusal, now: Tick) {
        if let Refusal::Busy { retry_after } = &refusal {
            self.not_before = now.plus((*retry_after).min(LONGEST_RETRY_AFTER));
        }
        self.close(DisconnectReason::Refused(refusal));
    }

    /// The stream ended, or could not be opened. `random` is uniform in 0..1 and spreads the next attempt.
    pub fn handle_disconnected(&mut self, now: Tick, random: f64) {
        if let State::Waiting { .. } = self.state {
            return;
        }
        // What the collector asked for and the jitter on top: it tells many the same second.
        let at = now.max(self.not_before).plus(self.backoff.handle_disconnected(now, random));
        self.state = State::Waiting { at };
        self.credit = 0;
        for queue in &mut self.queues {
            queue.disconnected();
        }
        // What was asked of the connection that is gone no longer matters; what was learned does.
        self.events.retain(|event| !matches!(event, Event::Connect | Event::Disconnect(_)));
        self.forget_finished();
    }

    /// The machine's network came back or changed: a waiting sender need not wait for its backoff, unless the
    /// collector itself asked for patience.
    pub fn handle_network_change(&mut self, now: Tick) {
        if let State::Waiting { at } = &mut self.state {
            *at = (*at).min(now.max(self.not_before));
        }
    }

    /// Time passed. Harmless at any time.
    pub fn handle_timeout(&mut self, now: Tick) {
        match self.state {
            State::Waiting { at } if at <= now => {
                self.state = State::Connecting { deadline: now.plus(self.connect_timeout) };
                self.events.push_back(Event::Connect);
            }
            State::Connecting { deadline } if deadline <= now => self.close(DisconnectReason::ConnectTimeout),
            State::Connected { progress } => {
                if self.in_flight() > 0 && progress.plus(self.ack_timeout) <= now {
                    self.close(DisconnectReason::AckTimeout);
                }
            }
            State::Waiting { .. } | State::Connecting { .. } | State::Closing => {}
        }
    }

    /// The next batch to put on the stream. The newest epoch goes first and then has every second turn, and some of the
    /// credit is its alone, so that live data does not wait behind another epoch's backlog; older ones take turns
    /// for the rest.
    pub fn poll_transmit(&mut self, now: Tick) -> Option<Transmit> {
        let State::Connected { .. } = self.state else { return None };
        let in_flight = self.in_flight();
        let credit = u64::from(self.credit).checked_sub(in_flight).filter(|&left| left > 0)?;
        let limits = self.limits;
        let older_credit = self.older_credit(in_flight);
        let (newest, older) = self.queues.split_last_mut()?;
        let older = older
            .iter_mut()
            .filter(|q| older_credit > 0 && q.is_ready(now, false, limits))
            .min_by_key(|q| q.served);
        let newest = Some(newest).filter(|q| q.is_ready(now, true, limits));
        let (queue, is_newest) = match (newest, older) {
            (Some(newest), None) => (newest, true),
            (Some(newest), Some(_)) if !self.newest_had_turn => (newest, true),
            (_, Some(older)) => (older, false),
            (None, None) => return None,
        };
        let transmit = queue.take(if is_newest { credit } else { older_credit }, limits)?;
        self.newest_had_turn = is_newest;
        self.turns += 1;
        queue.served = self.turns;
        if in_flight == 0 {
            // The wait for an ack begins with the first record that needs one.
            self.state = State::Connected { progress: now };
        }
        Some(transmit)
    }

    /// A watermark for the spool to persist: everything of the epoch up to it is committed. Only when it is durable
    /// may the spool trim, and may keep what it likes.
    pub fn poll_commit(&mut self) -> Option<(Epoch, SequenceNumber)> {
        let commit = self.queues.iter_mut().find_map(|q| q.take_commit().map(|through| (q.epoch, through)));
        if commit.is_some() {
            self.forget_finished();
        }
        commit
    }

    /// The next thing for the driver to do or report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and poll again at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Tick, WakeReason)> {
        match self.state {
            State::Waiting { at } => Some((at, WakeReason::Reconnect)),
            State::Connecting { deadline } => Some((deadline, WakeReason::ConnectTimeout)),
            State::Closing => None,
            State::Connected { progress } => {
                let in_flight = self.in_flight();
                let ack = (in_flight > 0).then(|| (progress.plus(self.ack_timeout), WakeReason::AckTimeout));
                // Who may not send now has nothing to wake for: the ack that gives it credit wakes by itself.
                let older = if self.older_credit(in_flight) > 0 { self.queues.len() } else { 1 };
                let linger = (u64::from(self.credit) > in_flight)
                    .then(|| {
                        self.queues
                            .iter()
                            .rev()
                            .take(older)
                            .filter_map(|q| q.linger_deadline(self.limits))
                            .min()
                    })
                    .flatten()
                    .map(|at| (at, WakeReason::Linger));
                ack.into_iter().chain(linger).min_by_key(|(at, _)| *at)
            }
        }
    }

    /// Changes how long records wait for company, as the collector's policy says.
    pub fn set_linger(&mut self, linger: Duration) {
        self.limits.linger = linger;
    }

    /// Whether a collector has welcomed this agent and the stream has not ended.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// How many records are sent on this stream and not acked.
    pub fn in_flight(&self) -> u64 {
        self.queues.iter().map(Queue::in_flight).sum()
    }

    /// How many records of older epochs may be sent now.
    fn older_credit(&self, in_flight: u64) -> u64 {
        let credit = u64::from(self.credit);
        credit.saturating_sub(in_flight).saturating_sub(credit / LIVE_SHARE)
    }

    /// How many records of the newest epoch wait for an ack: live data has to wait for them.
    pub fn newest_backlog(&self) -> u64 {
        self.queues.last().map_or(0, Queue::unacked)
    }

    /// How many records wait for an ack, in flight or not, and their payload bytes. Walks the whole backlog.
    pub fn backlog(&self) -> (u64, u64) {
        self.queues.iter().fold((0, 0), |(records, bytes), queue| {
            (records + queue.unacked(), bytes + queue.unacked_bytes())
        })
    }

    /// Whether what becomes known now can leave at once: there is a stream, and credit for more than what is in flight.
    pub fn is_flowing(&self) -> bool {
        matches!(self.state, State::Connected { .. }) && u64::from(self.credit) > self.in_flight()
    }

    fn queue(&mut self, epoch: Epoch) -> Option<&mut Queue> {
        self.queues.iter_mut().find(|queue| queue.epoch == epoch)
    }

    fn close(&mut self, reason: DisconnectReason) {
        if let State::Connecting { .. } | State::Connected { .. } = self.state {
            self.state = State::Closing;
            self.events.push_back(Event::Disconnect(reason));
        }
    }

    /// A stream carries only what its hello offered. A newer epoch is worth a new stream at once; one that did not
    /// fit in the hello waits until those before it are through.
    fn close_when_epoch_waits(&mut self) {
        let State::Connected { .. } = self.state else { return };
        let Some((newest, older)) = self.queues.split_last() else { return };
        let waits = |queue: &&Queue| queue.offer.is_none() && !queue.frozen && queue.unacked() > 0;
        let waiting = Some(newest).filter(waits).or_else(|| {
            let draining = older.iter().any(|q| q.offer.is_some() && !q.frozen && q.unacked() > 0);
            older.iter().find(waits).filter(|_| !draining)
        });
        if let Some(epoch) = waiting.map(|queue| queue.epoch) {
            self.close(DisconnectReason::EpochWaiting { epoch });
        }
    }

    /// An older epoch of which the spool has nothing left, and whose watermark was handed out, is over.
    fn forget_finished(&mut self) {
        let Some(newest) = self.queues.last().map(|queue| queue.epoch) else { return };
        self.queues.retain(|q| {
            q.epoch == newest || q.offer.is_some() || !q.is_empty() || q.acked > q.persisted || q.frozen
        });
    }
}
