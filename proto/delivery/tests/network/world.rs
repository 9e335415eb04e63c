//! The reference world: one agent, one collector, one network that does what networks do.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use firstline_delivery::{
    Ack, Batch, BatchVerdict, Epoch, Event, Hello, Receiver, Refusal, Sender, SenderConfig, SequenceNumber,
    Spooled, Tick, Welcome,
};

use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::step::Step;
use crate::store::{Pending, Store};

/// A mistake built in on purpose: the judge must notice each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// The collector acks what it has only received.
    AckBeforeCommit,
    /// The agent deletes what it has only sent.
    TrimOnSend,
    /// The agent deletes what is acked before its watermark is durable, and keeps no other note of its numbers.
    TrimBeforeWatermark,
    /// The agent sends what a crash can still take away, and gives its numbers out again.
    SendBeforeDurable,
    /// The store does not compare a batch with the mark that it has.
    ApplyWithoutMarkCheck,
    /// The store writes the mark before the rows.
    MarkBeforeRows,
    /// The collector ignores how many records to skip.
    ApplyWithoutSkip,
    /// The agent takes more credit than it was given.
    IgnoreCredit,
    /// The agent writes a batch again on a live stream.
    ResendOnLiveStream,
    /// The stream does not keep its order.
    ReorderStream,
    /// The agent forgets its older epochs when it starts.
    ForgetOlderEpochs,
}

#[derive(Debug, Clone)]
enum Up {
    Hello(Hello),
    Batch(Batch),
}

#[derive(Debug, Clone)]
enum Down {
    Welcome(Welcome),
    Ack(Ack),
    Refusal(Refusal),
}

#[derive(Debug, Default)]
struct Connection {
    up: VecDeque<Up>,
    down: VecDeque<Down>,
    greeted: bool,
    black_hole: bool,
    /// Something arrived here that no agent sent on this stream: refusals are then in order.
    disturbed: bool,
}

pub(crate) struct World {
    sabotage: Sabotage,
    keeps_everything: bool,
    now: Tick,
    counter: u64,
    disk: Disk,
    sender: Sender,
    watermarks: BTreeMap<Epoch, u64>,
    connection: Option<Connection>,
    old_batches: Vec<Batch>,
    receiver: Receiver,
    budget: u32,
    pending: VecDeque<Pending>,
    store: Store,
    backup: Option<Store>,
    restored: bool,
    ledger: Ledger,
    trace: Vec<String>,
}

fn new_sender(now: Tick) -> Sender {
    let config = SenderConfig {
        max_batch_records: 4,
        max_batch_bytes: 64,
        linger: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(5),
        ack_timeout: Duration::from_secs(8),
        ..SenderConfig::default()
    };
    Sender::try_new(config, now).expect("the config is in range")
}

/// Lets `steps` happen, then heals the network, and judges. Returns everything that was said on the way.
pub(crate) fn run(steps: &[Step], sabotage: Sabotage, keeps_everything: bool) -> Result<Vec<String>, String> {
    let mut world = World::new(sabotage, keeps_everything);
    for &step in steps {
        world.step(step);
        world.ledger.verdict()?;
    }
    world.heal();
    world.ledger.final_check(&world.store.rows);
    world.ledger.verdict()?;
    Ok(world.trace)
}

impl World {
    fn new(sabotage: Sabotage, keeps_everything: bool) -> Self {
        let mut world = Self {
            sabotage,
            keeps_everything,
            now: Tick(0),
            counter: 0,
            disk: Disk::default(),
            sender: new_sender(Tick(0)),
            watermarks: BTreeMap::new(),
            connection: None,
            old_batches: Vec::new(),
            receiver: Receiver::new([], 8),
            budget: 8,
            pending: VecDeque::new(),
            store: Store::default(),
            backup: None,
            restored: false,
            ledger: Ledger::default(),
            trace: Vec::new(),
        };
        world.start_agent(true);
        world
    }

    fn step(&mut self, step: Step) {
        self.trace.push(format!("{:?} {step:?}", self.now));
        match step {
            Step::Spool { count, urgent } => (0..count).for_each(|_| self.spool(urgent)),
            Step::Advance { millis } => self.now = self.now.plus(Duration::from_millis(u64::from(millis))),
            Step::Deliver { up, down } => {
                (0..up).for_each(|_| self.deliver_up());
                (0..down).for_each(|_| self.deliver_down());
            }
            Step::Duplicate => {
                if let Some(connection) = &mut self.connection
                    && let Some(Up::Batch(batch)) = connection.up.front().cloned()
                {
                    connection.up.push_front(Up::Batch(batch));
                }
            }
            Step::Replay { which } => {
                let old = self.old_batches.get(usize::from(which) % self.old_batches.len().max(1)).cloned();
                if let (Some(connection), Some(batch)) = (&mut self.connection, old)
                    && connection.greeted
                {
                    connection.disturbed = true;
                    connection.up.push_front(Up::Batch(batch));
                }
            }
            Step::Cut => self.cut(),
            Step::BlackHole => {
                if let Some(connection) = &mut self.connection {
                    connection.black_hole = true;
                    connection.up.clear();
                    connection.down.clear();
                }
            }
            Step::Commit { count } => (0..count).for_each(|_| self.commit()),
            Step::FailCommit => {
                self.pending.clear();
                self.cut();
            }
            Step::Persist => self.persist(),
            Step::CrashAgent { new_epoch } => {
                self.cut();
                self.start_agent(new_epoch);
            }
            Step::CrashCollector => self.crash_collector(),
            Step::NewEpoch => self.begin_epoch(),
            Step::Evict { count } => self.evict(count),
            Step::Budget { records } => self.set_budget(u32::from(records)),
            Step::Backup => self.backup = Some(self.store.clone()),
            Step::Restore => {
                if let Some(backup) = self.backup.clone() {
                    self.restored = true;
                    self.store = backup;
                    self.crash_collector();
                }
            }
        }
        self.drive();
    }

    // ---- agent

    fn start_agent(&mut self, new_epoch: bool) {
        if self.sabotage == Sabotage::SendBeforeDurable
            && let Some((_, on_disk)) = self.disk.newest()
            && let Some((seq, _)) = on_disk.rows.pop_last()
        {
            on_disk.last = seq - 1;
            let key = self.disk.newest().map(|(epoch, _)| (epoch, seq));
            // It was never durable, so nothing was promised about it.
            key.map(|key| self.ledger.spooled.remove(&key));
        }
        if self.sabotage == Sabotage::TrimBeforeWatermark
            && let Some((_, on_disk)) = self.disk.newest()
        {
            on_disk.last = on_disk.rows.keys().last().copied().unwrap_or(0).max(on_disk.watermark);
        }
        if self.sabotage == Sabotage::ForgetOlderEpochs {
            let older = self.disk.epochs.len().saturating_sub(1);
            self.disk.epochs.drain(..older);
        }
        self.watermarks.clear();
        self.sender = new_sender(self.now);
        if let Err(fault) = self.disk.load(&mut self.sender, self.now) {
            self.ledger.violation(fault);
        }
        if new_epoch {
            self.begin_epoch();
        }
    }

    fn begin_epoch(&mut self) {
        let epoch = self.disk.begin_epoch();
        self.sender.handle_epoch(epoch, SequenceNumber(0), SequenceNumber(1));
    }

    fn spool(&mut self, urgent: bool) {
        self.counter += 1;
        // Sizes from 1 to 30 bytes, contents all different, also for a number that is used twice.
        let mut payload = self.counter.to_string().into_bytes();
        payload.resize(payload.len() + (self.counter as usize * 7) % 25, b'.');
        let Some((epoch, on_disk)) = self.disk.newest() else { return };
        on_disk.last += 1;
        let (seq, len) = (on_disk.last, payload.len());
        on_disk.rows.insert(seq, payload.clone());
        self.ledger.spool((epoch, seq), payload);
        let record = Spooled { epoch, seq: SequenceNumber(seq), len, urgent };
        if let Err(fault) = self.sender.handle_spooled(record, self.now) {
            self.ledger.violation(fault.to_string());
        }
    }

    fn evict(&mut self, count: u8) {
        let Some((epoch, on_disk)) = self.disk.epochs.iter_mut().find(|(_, e)| !e.rows.is_empty()) else {
            return;
        };
        let mut through = 0;
        for _ in 0..count {
            if let Some((seq, _)) = on_disk.rows.pop_first() {
                self.ledger.given_up.insert((*epoch, seq));
                through = seq;
            }
        }
        self.sender.handle_trimmed(*epoch, SequenceNumber(through));
    }

    fn persist(&mut self) {
        for (epoch, through) in std::mem::take(&mut self.watermarks) {
            if let Some(on_disk) = self.disk.epoch(epoch) {
                on_disk.watermark = through;
            }
            self.trim(epoch, through);
        }
    }

    fn trim(&mut self, epoch: Epoch, through: u64) {
        if self.keeps_everything {
            return;
        }
        let Some(on_disk) = self.disk.epoch(epoch) else { return };
        while let Some(row) = on_disk.rows.first_entry().filter(|row| *row.key() <= through) {
            self.ledger.trimmed(&self.store.rows, (epoch, *row.key()));
            row.remove();
        }
        self.sender.handle_trimmed(epoch, SequenceNumber(through));
    }

    /// What every driver of a sender does after anything happened.
    fn drive(&mut self) {
        self.sender.handle_timeout(self.now);
        while let Some(event) = self.sender.poll_event() {
            self.trace.push(format!("{:?} {event:?}", self.now));
            match event {
                Event::Connect => {
                    let hello = self.sender.hello();
                    self.connection =
                        Some(Connection { up: [Up::Hello(hello)].into(), ..Default::default() });
                }
                Event::Disconnect(_) => self.cut(),
                Event::CollectorBehind { .. } if self.restored => {}
                Event::CollectorBehind { .. } => {
                    self.ledger.violation("the collector fell behind".to_owned())
                }
                Event::RolledBack { .. } => self.ledger.violation("the spool was rolled back".to_owned()),
            }
        }
        while let Some((epoch, through)) = self.sender.poll_commit() {
            self.watermarks.insert(epoch, through.0);
            if self.sabotage == Sabotage::TrimBeforeWatermark {
                self.trim(epoch, through.0);
            }
        }
        while let Some(transmit) = self.sender.poll_transmit(self.now) {
            self.trace.push(format!("{:?} {transmit:?}", self.now));
            let (epoch, first, count) = (transmit.epoch, transmit.first, u64::from(transmit.count));
            let batch = Batch { epoch, first, records: self.disk.read(epoch, first.0, count) };
            let writes = if self.sabotage == Sabotage::ResendOnLiveStream { 2 } else { 1 };
            for _ in 0..writes {
                self.ledger.transmitted(epoch, first.0, count);
                if let Some(connection) = self.connection.as_mut().filter(|c| !c.black_hole) {
                    connection.up.push_back(Up::Batch(batch.clone()));
                }
            }
            if self.sabotage == Sabotage::TrimOnSend {
                self.trim(epoch, batch.through().0);
            }
        }
    }

    fn deliver_down(&mut self) {
        let Some(message) = self.connection.as_mut().and_then(|c| c.down.pop_front()) else { return };
        self.trace.push(format!("{:?} {message:?}", self.now));
        match message {
            Down::Welcome(welcome) => {
                self.ledger.stream_began(&welcome);
                self.sender.handle_connected(&welcome, self.now);
            }
            Down::Ack(mut ack) => {
                self.ledger.acked(&ack);
                if self.sabotage == Sabotage::IgnoreCredit {
                    ack.credit += 3;
                }
                self.sender.handle_ack(&ack, self.now);
            }
            Down::Refusal(refusal) => self.sender.handle_refusal(refusal, self.now),
        }
        self.drive();
    }

    // ---- collector

    fn deliver_up(&mut self) {
        let reorders = self.sabotage == Sabotage::ReorderStream;
        let Some(connection) = self.connection.as_mut() else { return };
        let greeted = connection.greeted;
        let message = if reorders && greeted { connection.up.pop_back() } else { connection.up.pop_front() };
        match message {
            None => {}
            Some(Up::Hello(hello)) => match self.receiver.handle_hello(&hello) {
                Ok(accepted) => {
                    self.trace.push(format!("{:?} {accepted:?}", self.now));
                    for mark in &accepted.welcome.marks {
                        self.ledger.promised(&self.store.rows, mark.epoch, mark.through);
                    }
                    connection.greeted = true;
                    self.say(Down::Welcome(accepted.welcome));
                }
                Err(refusal) => self.refuse(refusal),
            },
            Some(Up::Batch(batch)) => {
                self.old_batches.push(batch.clone());
                self.take_batch(batch);
            }
        }
    }

    fn take_batch(&mut self, batch: Batch) {
        let verdict = self.receiver.handle_batch(&batch);
        self.trace.push(format!("{:?} {} {verdict:?}", self.now, batch.first));
        match verdict {
            BatchVerdict::Apply { epoch, skip, first_new, through } => {
                let skip = if self.sabotage == Sabotage::ApplyWithoutSkip { 0 } else { skip };
                let records = batch.records.into_iter().skip(skip).collect();
                let pending = Pending { epoch, first: first_new.0, through: through.0, records };
                if self.sabotage == Sabotage::MarkBeforeRows {
                    self.store.mark_early(&pending);
                }
                self.pending.push_back(pending);
                if self.sabotage == Sabotage::AckBeforeCommit {
                    self.acknowledge(epoch, through.0);
                }
            }
            BatchVerdict::Duplicate { .. } => {}
            BatchVerdict::Refused(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if self.connection.as_ref().is_some_and(|c| !c.disturbed) {
            self.ledger.violation(format!("an honest stream was refused: {refusal}"));
        }
        self.say(Down::Refusal(refusal));
    }

    fn commit(&mut self) {
        let Some(pending) = self.pending.pop_front() else { return };
        self.store.commit(&pending, &mut self.ledger, self.sabotage);
        self.acknowledge(pending.epoch, pending.through);
    }

    fn acknowledge(&mut self, epoch: Epoch, through: u64) {
        if let Some(ack) = self.receiver.committed(epoch, SequenceNumber(through)) {
            self.say_ack(ack);
        }
    }

    fn set_budget(&mut self, budget: u32) {
        self.budget = budget;
        if let Some(ack) = self.receiver.set_budget(budget) {
            self.say_ack(ack);
        }
    }

    /// An ack belongs to the stream that the receiver knows.
    fn say_ack(&mut self, ack: Ack) {
        if self.connection.as_ref().is_some_and(|c| c.greeted) {
            self.ledger.promised(&self.store.rows, ack.epoch, ack.through);
            self.say(Down::Ack(ack));
        }
    }

    fn say(&mut self, message: Down) {
        if let Some(connection) = self.connection.as_mut().filter(|c| !c.black_hole) {
            connection.down.push_back(message);
        }
    }

    fn crash_collector(&mut self) {
        self.cut();
        self.pending.clear();
        self.receiver = Receiver::new(self.store.marks(), self.budget);
    }

    // ---- network

    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            let batches = connection.up.into_iter().filter_map(|message| match message {
                Up::Batch(batch) => Some(batch),
                Up::Hello(_) => None,
            });
            self.old_batches.extend(batches);
        }
        self.counter += 1;
        let random = (self.counter % 97) as f64 / 97.0;
        self.sender.handle_disconnected(self.now, random);
    }

    /// From now on nothing goes wrong. Everything must arrive, in a bounded number of wake-ups.
    fn heal(&mut self) {
        self.set_budget(self.budget.max(5));
        for _ in 0..2_000 {
            self.drive();
            while self.connection.as_ref().is_some_and(|c| !c.up.is_empty() || !c.down.is_empty())
                || !self.pending.is_empty()
            {
                self.deliver_up();
                self.commit();
                self.deliver_down();
                if self.ledger.verdict().is_err() {
                    return;
                }
            }
            self.persist();
            if self.sender.backlog().0 == 0 {
                return;
            }
            let Some((at, reason)) = self.sender.poll_timeout() else {
                // A sender with nothing in flight relies on the transport's keepalive.
                if self.connection.as_ref().is_some_and(|c| c.black_hole) {
                    self.cut();
                    continue;
                }
                return self.ledger.violation("stuck: records wait and nothing will wake".to_owned());
            };
            self.trace.push(format!("{:?} woken by {reason:?}", at));
            self.now = self.now.max(at);
        }
        self.ledger.violation("no progress on a healed network".to_owned());
    }
}
