//! Judges and stores what all streams bring: one task, one transaction for everything that waits.
//!
//! While a commit is on its way to the disk, further work gathers in the queue and becomes the next commit, so the
//! cost of a flush is shared by as many devices as there are. Devices live in memory between commits; after a commit
//! that failed they are read again, so memory never knows more than the store.

mod todo;

use self::todo::{Todo, judge};
use super::announce::announce;
use super::device::{Draft, Incoming, Live};
use super::fleet::{Gathering, LiveFleet};
use super::identity::Trust;
use super::numbers::Numbers;
use super::quota::{PORTION, Quotas};
use super::registry::{Notice, Registry};
use super::repeats::Earlier;
use super::reply::{Applied, Reply};
use crate::clock::Clock;
use crate::limits;
use crate::telemetry::Figures;
use firstline_collector_core::fleet::Act;
use firstline_collector_core::knowledge::KnowledgeSet;
use firstline_collector_core::quiet::{Quiet, Window};
use firstline_collector_core::ticket::REOPEN_WITHIN;
use firstline_collector_store::plan::{CommitPlan, DevicePlan, SharedPlan};
use firstline_collector_store::record::DeviceStatus;
use firstline_collector_store::{Store, StoreError};
use firstline_model::{DeviceId, Epoch, Observation, Presence, SequenceNumber, TicketId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Work that waits, in each lane; beyond, streams wait, and with them their agents.
const QUEUE: usize = 2_048;
/// Slices of backlogs in one transaction: live data waits for this much of others' past at most.
const BACKLOG_SHARE: usize = 32;
/// Work that goes into one transaction.
const GROUP: usize = 512;
/// Ticket numbers that are reserved at once: one, so that tickets count 1, 2, 3 also over restarts. A group that needs
/// more is decided anew with more.
const RESERVE: u64 = 1;
/// Devices that are kept in memory; the ones not heard longest go first.
const MOST_LIVE: usize = 20_000;
/// How often a conflict (somebody else changed a ticket) is decided anew before the work is given back.
const ATTEMPTS: usize = 5;

/// Something to judge and store.
pub(crate) enum Work {
    /// Records of a device.
    Batch {
        device: DeviceId,
        epoch: Epoch,
        first: SequenceNumber,
        through: SequenceNumber,
        records: Vec<Vec<u8>>,
        received_at: Timestamp,
        sent_at: Timestamp,
        /// What the device's clock said when it was sent.
        clock: Timestamp,
        reply: Reply,
    },
    /// A stream began or ended.
    Presence { device: DeviceId, presence: Presence, agent_version: Option<String> },
    /// What is committed of each epoch; `None` when the store cannot say.
    Marks { device: DeviceId, reply: oneshot::Sender<Option<Vec<(Epoch, SequenceNumber)>>> },
    /// Something that the collector itself observes of a device.
    Observe { device: DeviceId, observation: Observation },
    /// What keeps breaches from becoming tickets has changed: look at all that is held back.
    LookAgain,
    /// Somebody changed the device or its tickets outside of this worker: read it again.
    Forget { device: DeviceId },
}

/// How urgent a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What a device observes now: in the next transaction.
    Live,
    /// What it kept: a share of every transaction.
    Backlog,
}

/// What changed, for pages that follow.
#[derive(Debug, Clone)]
pub struct Changed {
    pub site: Option<String>,
    /// None for what is of no single device.
    pub device: Option<DeviceId>,
    pub tickets: Vec<TicketId>,
}

/// The way into the ingest, for sessions and background tasks.
pub struct Ingest {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) work: mpsc::Sender<Work>,
    backlog: mpsc::Sender<Work>,
    pub(crate) quotas: Quotas,
    pub(crate) registry: Arc<Registry>,
    pub(crate) figures: Arc<Figures>,
    clock: Clock,
    knowledge: RwLock<Arc<KnowledgeSet>>,
    revision: AtomicU64,
    trust: RwLock<Option<Arc<Trust>>>,
}

impl Ingest {
    /// Whom agents are to trust; `None` where nothing is issued.
    pub(crate) fn trust(&self) -> Option<Arc<Trust>> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes whom agents are to trust, and tells every agent.
    pub(crate) fn set_trust(&self, trust: Trust) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(trust));
        self.registry.tell_all(&Notice::Trust);
    }

    /// Puts work into its lane, waiting for room. `false` when the worker is gone.
    pub(crate) async fn hand_over(&self, lane: Lane, work: Work) -> bool {
        let lane = match lane {
            Lane::Live => &self.work,
            Lane::Backlog => &self.backlog,
        };
        lane.send(work).await.is_ok()
    }

    /// How many records one device may have in flight as things stand: less, the more slices of backlogs wait already, so
    /// that what waits here for its turn is never more than the writer can take soon.
    pub(crate) fn credit(&self) -> u32 {
        let waiting = self.backlog.max_capacity() - self.backlog.capacity();
        let most = limits::DEVICE_CREDIT;
        match u32::try_from(waiting / BACKLOG_SHARE) {
            Ok(0) => most,
            Ok(turns) => (most / (turns + 1)).max(PORTION),
            Err(_) => PORTION,
        }
    }

    /// Now, by the collector's clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The rules in force and their revision.
    pub(crate) fn knowledge(&self) -> (Arc<KnowledgeSet>, u64) {
        let knowledge = Arc::clone(&self.knowledge.read().unwrap_or_else(PoisonError::into_inner));
        (knowledge, self.revision.load(Ordering::Acquire))
    }

    /// Puts other maintenance windows into force. Agents need not know.
    pub(crate) fn set_windows(&self, windows: Vec<Window>) {
        let mut running = self.knowledge.write().unwrap_or_else(PoisonError::into_inner);
        *running = Arc::new(running.with_quiet(Quiet { windows, ..running.quiet.clone() }));
        drop(running);
        // A full queue means that what waits is judged by the new ones soon.
        let _ = self.work.try_send(Work::LookAgain);
    }

    /// Puts other rules into force and tells every agent.
    pub(crate) fn set_knowledge(&self, knowledge: &KnowledgeSet) {
        let mut running = self.knowledge.write().unwrap_or_else(PoisonError::into_inner);
        *running = Arc::new(knowledge.with_quiet(running.quiet.clone()));
        drop(running);
        self.revision.fetch_add(1, Ordering::AcqRel);
        self.registry.tell_all(&Notice::Policy);
    }
}

/// Starts the worker.
pub fn start(
    store: Arc<dyn Store>,
    clock: Clock,
    knowledge: Arc<KnowledgeSet>,
    registry: Arc<Registry>,
    figures: Arc<Figures>,
    changed: Arc<dyn Fn(Changed) + Send + Sync>,
    stop: watch::Receiver<bool>,
) -> (Arc<Ingest>, tokio::task::JoinHandle<()>) {
    let (work, queue) = mpsc::channel(QUEUE);
    let (backlog, kept) = mpsc::channel(QUEUE);
    // Revisions grow over restarts too, so that an agent never takes an older policy for the newer one.
    let revision = u64::try_from(clock().as_millis()).unwrap_or(1);
    let ingest = Arc::new(Ingest {
        store,
        work,
        backlog,
        quotas: Quotas::default(),
        registry,
        figures,
        clock,
        knowledge: RwLock::new(knowledge),
        revision: AtomicU64::new(revision),
        trust: RwLock::new(None),
    });
    let worker = Worker {
        ingest: Arc::clone(&ingest),
        live: HashMap::new(),
        fleet: LiveFleet::default(),
        deadlines: BTreeSet::new(),
        deadline_of: HashMap::new(),
        numbers: Numbers::default(),
        wanted_numbers: RESERVE,
        changed,
    };
    (ingest, tokio::spawn(worker.run(queue, kept, stop)))
}

struct Worker {
    ingest: Arc<Ingest>,
    live: HashMap<DeviceId, Live>,
    /// What the devices have in common.
    fleet: LiveFleet,
    deadlines: BTreeSet<(Timestamp, DeviceId)>,
    deadline_of: HashMap<DeviceId, Timestamp>,
    numbers: Numbers,
    /// So many are reserved at once.
    wanted_numbers: u64,
    changed: Arc<dyn Fn(Changed) + Send + Sync>,
}

impl Worker {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Work>,
        mut backlog: mpsc::Receiver<Work>,
        mut stop: watch::Receiver<bool>,
    ) {
        match self.ingest.store.devices_in_motion().await {
            Ok(devices) => {
                for device in devices {
                    self.load(&device).await;
                    self.schedule(&device, self.ingest.now());
                }
            }
            Err(error) => tracing::error!(error = %error, "findings in motion cannot be read"),
        }
        self.refresh_fleet().await;
        loop {
            let due = self.deadlines.first().map(|(at, _)| *at).into_iter().chain(self.fleet.next_deadline());
            let wait = due.min().map_or(Duration::from_secs(3600), |at| at.since(self.ingest.now()));
            let mut group = Vec::new();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {
                    // What waits was not acked, and comes again.
                    return;
                }
                received = queue.recv_many(&mut group, GROUP) => if received == 0 { return },
                Some(slice) = backlog.recv() => group.push(slice),
                () = tokio::time::sleep(wait + Duration::from_millis(1)) => {}
            }
            // What is live never crowds backlogs out, and they never stand before it.
            for _ in 0..BACKLOG_SHARE {
                let Ok(slice) = backlog.try_recv() else { break };
                group.push(slice);
            }
            self.handle(group).await;
        }
    }

    async fn handle(&mut self, group: Vec<Work>) {
        let mut todo: BTreeMap<DeviceId, Todo> = BTreeMap::new();
        for work in group {
            match work {
                Work::Batch {
                    device,
                    epoch,
                    first,
                    through,
                    records,
                    received_at,
                    sent_at,
                    clock,
                    reply,
                } => {
                    let incoming = Incoming { epoch, first, through, records, received_at, sent_at, clock };
                    todo.entry(device).or_default().batches.push((incoming, reply));
                }
                Work::Presence { device, presence, agent_version } => {
                    todo.entry(device).or_default().presence = Some((presence, agent_version));
                }
                Work::Observe { device, observation } => {
                    todo.entry(device).or_default().observed.push(observation);
                }
                Work::Marks { device, reply } => {
                    let marks = self.load(&device).await.map(|live| live.marks.clone());
                    // A session that ended meanwhile does not need the answer.
                    let _ = reply.send(marks);
                }
                Work::LookAgain => {
                    for (device, _) in self.live.iter().filter(|(_, live)| live.holds_back()) {
                        todo.entry(device.clone()).or_default().time = true;
                    }
                }
                Work::Forget { device } => {
                    self.live.remove(&device);
                    self.load(&device).await;
                    self.schedule(&device, self.ingest.now());
                }
            }
        }
        let now = self.ingest.now();
        let fleet_is_due = self.fleet.next_deadline().is_some_and(|at| at <= now);
        while let Some((at, device)) = self.deadlines.first().cloned() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.deadline_of.remove(&device);
            todo.entry(device).or_default().time = true;
        }
        if !todo.is_empty() || fleet_is_due {
            self.apply(todo).await;
        }
        self.forget_oldest();
    }

    /// Judges and commits a group. A conflict is decided anew with what is stored now, device by device.
    async fn apply(&mut self, mut todo: BTreeMap<DeviceId, Todo>) {
        'attempts: for attempt in 1..=ATTEMPTS {
            let (knowledge, _) = self.ingest.knowledge();
            self.reserve().await;
            if !self.refresh_fleet().await {
                break;
            }
            let now = self.ingest.now();
            let mut plan = CommitPlan::default();
            let mut observations = 0;
            let mut drafts = BTreeMap::new();
            let mut acts = Vec::new();
            for (device, todo) in &mut todo {
                let Some(live) = self.load(device).await else { continue };
                // The session has just seen the device active: what memory holds may be from before its release.
                if live.device.status != DeviceStatus::Active && !todo.batches.is_empty() {
                    self.live.remove(device);
                    if self.load(device).await.is_none() {
                        continue;
                    }
                }
                let numbers = &mut self.numbers;
                let Some(live) = self.live.get_mut(device) else { continue };
                if live.device.status != DeviceStatus::Active {
                    for (_, reply) in todo.batches.drain(..) {
                        reply.send(Applied::Withdrawn);
                    }
                }
                for (_, reply) in todo.batches.extract_if(.., |(_, reply)| reply.is_cut_off()) {
                    reply.send(Applied::NotStored);
                }
                let batches = todo.batches.iter().map(|(incoming, _)| incoming);
                let earlier = match Earlier::find(&*self.ingest.store, device, batches).await {
                    Ok(earlier) => earlier,
                    Err(error) => {
                        tracing::error!(device = %device, error = %error, "earlier records cannot be read");
                        self.distrust(drafts.keys().chain([device]));
                        break 'attempts;
                    }
                };
                let mut draft = live.draft();
                let peers = self.fleet.peers_mut();
                let noticed = judge(live, &knowledge, peers, todo, &earlier, now, &mut draft);
                if draft.lacks_earlier {
                    self.ingest.registry.tell(device, Notice::SendWhole);
                }
                observations += draft.observations;
                self.fleet.take(&knowledge, live, &mut draft, &noticed, now, &mut acts);
                live.decide(&knowledge, now, &mut || numbers.take(), &mut draft);
                drafts.insert(device.clone(), draft);
            }
            self.fleet.pass_time(now, &mut acts);
            if let Err(error) = self.share(acts, &knowledge, now, &mut drafts, &mut plan.shared).await {
                tracing::error!(error = %error, "shared causes cannot be read");
                self.distrust(drafts.keys());
                break;
            }
            let stored: BTreeSet<DeviceId> = drafts.keys().cloned().collect();
            for (device, draft) in drafts {
                let Some(live) = self.live.get_mut(&device) else { continue };
                let part = live.finish(now, draft);
                if part != DevicePlan::unchanged(device) {
                    plan.devices.push(part);
                }
            }
            if self.numbers.was_overdrawn() {
                // More tickets than numbers were reserved for: decide anew with enough of them.
                self.wanted_numbers = self.wanted_numbers.saturating_mul(16);
                self.distrust(&stored);
                continue;
            }
            let told = announce(&plan, &self.live);
            let effects: Vec<DeviceId> = plan
                .devices
                .iter()
                .filter(|part| !part.effects.is_empty())
                .map(|part| part.device.clone())
                .collect();
            match self.ingest.store.commit(plan).await {
                Ok(()) => {
                    self.wanted_numbers = RESERVE;
                    self.committed(todo, &stored, observations);
                    for device in effects {
                        self.ingest.registry.tell(&device, Notice::Diagnostics);
                    }
                    for change in told {
                        (self.changed)(change);
                    }
                    return;
                }
                Err(StoreError::Conflict { what }) if attempt < ATTEMPTS => {
                    tracing::debug!(what, attempt, "somebody else was first; deciding anew");
                    self.distrust(&stored);
                }
                Err(error) => {
                    tracing::error!(error = %error, devices = stored.len(), "cannot store; agents keep their records");
                    self.ingest.figures.store_failures.fetch_add(1, Ordering::Relaxed);
                    self.distrust(&stored);
                    break;
                }
            }
        }
        // Dropping the replies says that nothing was stored; time and presence come again.
        let again = self.ingest.now().plus(Duration::from_secs(2));
        for (device, todo) in std::mem::take(&mut todo) {
            for (_, reply) in todo.batches {
                reply.send(Applied::NotStored);
            }
            self.set_deadline(&device, Some(again));
        }
    }

    /// Makes what devices share part of the decision. Other devices than those that brought something may be concerned.
    async fn share(
        &mut self,
        acts: Vec<Act>,
        knowledge: &KnowledgeSet,
        now: Timestamp,
        drafts: &mut BTreeMap<DeviceId, Draft>,
        shared: &mut SharedPlan,
    ) -> Result<(), StoreError> {
        for device in self.fleet.devices_of(&acts) {
            if !drafts.contains_key(&device)
                && let Some(live) = self.load(&device).await
            {
                drafts.insert(device, live.draft());
            }
        }
        let store = Arc::clone(&self.ingest.store);
        let desk = Gathering::new(knowledge, now, &mut self.live, drafts, &mut self.numbers, shared);
        self.fleet.perform(&*store, acts, desk).await
    }

    /// Forgets what was not stored.
    fn distrust<'d>(&mut self, devices: impl IntoIterator<Item = &'d DeviceId>) {
        self.fleet.distrust();
        for device in devices {
            self.live.remove(device);
        }
    }

    /// Reads what is stored of shared causes, unless it is known. `false` when it cannot be read.
    async fn refresh_fleet(&mut self) -> bool {
        let (knowledge, _) = self.ingest.knowledge();
        let read = self.fleet.refresh(&*self.ingest.store, &knowledge, self.ingest.now()).await;
        if let Err(error) = &read {
            tracing::error!(error = %error, "shared causes cannot be read");
        }
        read.is_ok()
    }

    fn committed(&mut self, todo: BTreeMap<DeviceId, Todo>, stored: &BTreeSet<DeviceId>, observations: u64) {
        let now = self.ingest.now();
        let figures = Arc::clone(&self.ingest.figures);
        figures.commits.fetch_add(1, Ordering::Relaxed);
        figures.observations.fetch_add(observations, Ordering::Relaxed);
        for (device, todo) in todo {
            let is_stored = stored.contains(&device);
            for (incoming, reply) in todo.batches {
                if is_stored {
                    figures.batches.fetch_add(1, Ordering::Relaxed);
                    figures.records.fetch_add(incoming.records.len() as u64, Ordering::Relaxed);
                    figures.durable_after(now.since(incoming.received_at));
                }
                reply.send(if is_stored { Applied::Committed } else { Applied::NotStored });
            }
            self.schedule(&device, now);
        }
        for device in stored {
            self.schedule(device, now);
        }
    }

    async fn load(&mut self, device: &DeviceId) -> Option<&mut Live> {
        if !self.live.contains_key(device) {
            let reopen_since = self.ingest.now().minus(REOPEN_WITHIN);
            match self.ingest.store.snapshot(device, reopen_since).await {
                Ok(Some(snapshot)) => {
                    let live = Live::new(snapshot);
                    self.fleet.read(&live, self.ingest.now());
                    self.live.insert(device.clone(), live);
                }
                Ok(None) => return None,
                Err(error) => {
                    tracing::error!(device = %device, error = %error, "a device cannot be read");
                    return None;
                }
            }
        }
        self.live.get_mut(device)
    }

    async fn reserve(&mut self) {
        if self.numbers.left() < self.wanted_numbers {
            match self.ingest.store.reserve_tickets(self.wanted_numbers).await {
                Ok(first) => self.numbers = Numbers::of(first, self.wanted_numbers),
                Err(error) => tracing::error!(error = %error, "no ticket numbers can be reserved"),
            }
        }
    }

    fn schedule(&mut self, device: &DeviceId, now: Timestamp) {
        let (knowledge, _) = self.ingest.knowledge();
        // A deadline that has passed and changed nothing must not keep the worker busy.
        let soonest = now.plus(Duration::from_millis(50));
        let deadline = self.live.get(device).and_then(|live| live.deadline(&knowledge));
        let deadline =
            deadline.map(|at| if at <= now { now.plus(Duration::from_secs(2)) } else { at.max(soonest) });
        self.set_deadline(device, deadline);
    }

    fn set_deadline(&mut self, device: &DeviceId, deadline: Option<Timestamp>) {
        if let Some(old) = self.deadline_of.remove(device) {
            self.deadlines.remove(&(old, device.clone()));
        }
        if let Some(at) = deadline {
            self.deadline_of.insert(device.clone(), at);
            self.deadlines.insert((at, device.clone()));
        }
    }

    fn forget_oldest(&mut self) {
        if self.live.len() <= MOST_LIVE {
            return;
        }
        let mut heard: Vec<(Option<Timestamp>, DeviceId)> =
            self.live.values().map(|live| (live.device.last_seen_at, live.id().clone())).collect();
        heard.sort();
        for (_, device) in heard.into_iter().take(MOST_LIVE / 10) {
            if !self.deadline_of.contains_key(&device) {
                self.live.remove(&device);
            }
        }
    }
}
