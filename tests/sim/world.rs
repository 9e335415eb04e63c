//! One seed: three agents, the network between, a collector, and everything that happens to them, on virtual time.
//!
//! The agents' loop, sender, spool and uplink and the collector's connection, session, worker, engine and rule pack are
//! the product's own; what is simulated is what lies outside of them: clocks, randomness, byte streams, the agent's disk
//! (`disk.rs`) and the collector's store (the memory engine, which passes the conformance suite of the others).
//! Probes are replaced by measurements that follow from the seed.

use crate::clocks::Machine;
use crate::disk::{self, Drive};
use crate::ledger::{Ledger, Stored};
use crate::network::{CAPACITY, End, Link, Way};
use crate::plan::{Act, DEVICES, END, STORM, episodes, is_full, story};
use crate::random::Random;
use crate::trace::Trace;
use firstline_agent::collect::{Collected, RunOf};
use firstline_agent::config::Settings;
use firstline_agent::identity::Identity;
use firstline_agent::run::{Agent, Asked, Diagnostics};
use firstline_agent::seams::Seams;
use firstline_collector::ingest::admission::Admission;
use firstline_collector::ingest::listener::{self, Kind, Peer};
use firstline_collector::ingest::registry::Registry;
use firstline_collector::ingest::session::Sessions;
use firstline_collector::ingest::worker;
use firstline_collector::telemetry::Figures;
use firstline_collector_core::knowledge::KnowledgeSet;
use firstline_collector_core::ticket::TicketState;
use firstline_collector_store::engines::memory::Memory;
use firstline_collector_store::record::{
    AuditEntry, Device, DeviceStatus, EnrollmentToken, Page, TicketFilter,
};
use firstline_collector_store::store::{Desk, Enrollment};
use firstline_model::{Attributes, Body, Component, DeviceId, Observation, Timestamp, Value, semconv};
use firstline_proto::limits;
use firstline_proto::v1::session_server::SessionServer;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How often a device measures.
const RHYTHM: Duration = Duration::from_secs(60);

/// Nothing is measured in so much time before the end.
const QUIET: Duration = Duration::from_secs(5 * 60);
/// How often everything that was acked is looked for.
const COMPARISON: Duration = Duration::from_secs(30 * 60);

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) lines: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) records: usize,
    pub(crate) streams: u64,
    pub(crate) failure: Option<String>,
    /// The end of the trace, for a failure.
    pub(crate) newest: Vec<String>,
}

/// Runs a seed. Everything of it stays on this thread.
pub(crate) fn run(seed: u64, knowledge: &Arc<KnowledgeSet>, loud: bool) -> Outcome {
    let trace = Trace::new(loud);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let result = tracing::subscriber::with_default(trace.clone(), || {
        runtime.block_on(async {
            let begin = Instant::now();
            trace.begin(begin);
            let mut world = World::new(seed, Arc::clone(knowledge), trace.clone(), begin).await;
            let failure = world.live().await.err();
            let streams = world.devices.iter().map(|device| device.link.figures().0).sum();
            let (records, virtual_time) = (world.ledger.count(), begin.elapsed());
            world.end().await;
            (failure, streams, records, virtual_time)
        })
    });
    drop(runtime);
    disk::forget_all();
    let (failure, streams, records, virtual_time) = result;
    let newest = if failure.is_some() { trace.newest(60) } else { Vec::new() };
    Outcome { hash: trace.hash(), lines: trace.lines(), virtual_time, records, streams, failure, newest }
}

/// A machine with an agent, which may be dead.
struct Computer {
    id: DeviceId,
    machine: Arc<Machine>,
    link: Arc<Link>,
    drive: Drive,
    /// Small files that are replaced as a whole: where the device stands in the chain of its streams.
    home: TempDir,
    life: Option<Life>,
    lives: u64,
    asleep: bool,
    next_measure: Duration,
    measured: u64,
}

/// One life of an agent.
struct Life {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    collected: mpsc::UnboundedSender<Collected>,
    /// Tests that were asked for are received and never answered: there are no probes here.
    _asked: std::sync::mpsc::Receiver<Asked>,
    _changed: mpsc::UnboundedSender<()>,
}

/// One life of the collector.
struct Service {
    worker: JoinHandle<()>,
    connections: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

struct World {
    seed: u64,
    begin: Instant,
    trace: Trace,
    knowledge: Arc<KnowledgeSet>,
    clock: Arc<Machine>,
    store: Arc<Memory>,
    backup: Option<Memory>,
    service: Option<Service>,
    refused: bool,
    restored: bool,
    next_comparison: Duration,
    devices: Vec<Computer>,
    ledger: Ledger,
}

impl World {
    async fn new(seed: u64, knowledge: Arc<KnowledgeSet>, trace: Trace, begin: Instant) -> Self {
        let store = Arc::new(Memory::new());
        let clock = Arc::new(Machine::new(begin));
        let mut devices = Vec::new();
        for number in 0..DEVICES {
            let id = DeviceId::new(format!("pc-{number}")).expect("an id");
            enroll(&store, &id, number, clock.now()).await;
            devices.push(Computer {
                id,
                machine: Arc::new(Machine::new(begin)),
                link: Arc::new(Link::new(number, Random::new(seed, &format!("link {number}")))),
                drive: Drive::new(&format!("disk-{number}"), Random::new(seed, &format!("disk {number}"))),
                home: home(),
                life: None,
                lives: 0,
                asleep: false,
                next_measure: Duration::from_secs(number as u64),
                measured: 0,
            });
        }
        let mut world = Self {
            seed,
            begin,
            trace,
            knowledge,
            clock,
            store,
            backup: None,
            service: None,
            refused: false,
            restored: false,
            next_comparison: COMPARISON,
            devices,
            ledger: Ledger::default(),
        };
        world.start_collector();
        for number in 0..DEVICES {
            world.start_agent(number);
        }
        world
    }

    /// The whole life of the seed.
    async fn live(&mut self) -> Result<(), String> {
        let mut story = story(self.seed).into_iter().peekable();
        loop {
            let now = self.begin.elapsed();
            while story.peek().is_some_and(|(at, _)| *at <= now) {
                let Some((_, act)) = story.next() else { break };
                self.trace.act(&format!("{act:?}"));
                self.act(act).await?;
            }
            self.measure();
            if now >= STORM && story.peek().is_none() {
                break;
            }
            self.pass_until(story.peek().map_or(STORM, |(at, _)| *at)).await;
            self.listen()?;
        }
        self.trace.act("the storm is over");
        self.heal();
        // A record that waits for a disk, a backoff or a lost stream has long come by then.
        loop {
            if self.begin.elapsed() + QUIET < END {
                self.measure();
                self.pass_until(self.begin.elapsed() + RHYTHM).await;
            } else {
                // What was measured last needs time to arrive.
                tokio::time::sleep(QUIET).await;
            }
            self.listen()?;
            if self.begin.elapsed() >= END {
                break;
            }
        }
        self.judge().await
    }

    /// Lets time pass, until `at` or the next measurement.
    async fn pass_until(&self, at: Duration) {
        let next = self.devices.iter().filter(|device| device.life.is_some() && !device.asleep);
        let next = next.map(|device| device.next_measure).min().unwrap_or(at);
        let now = self.begin.elapsed();
        let until = at.min(next).max(now + Duration::from_millis(1));
        tokio::time::sleep_until(self.begin + until).await;
    }

    /// Every agent that is awake measures what is due.
    fn measure(&mut self) {
        let now = self.begin.elapsed();
        for number in 0..DEVICES {
            let device = &mut self.devices[number];
            if now < device.next_measure {
                continue;
            }
            device.next_measure = now + RHYTHM;
            let Some(life) = device.life.as_ref().filter(|_| !device.asleep) else { continue };
            device.measured += 1;
            let at = device.machine.now();
            let mut observations = Vec::new();
            for (drive, name) in ["/data", "/home"].iter().enumerate() {
                let share = if is_full(self.seed, number, drive, now) { 0.97 } else { 0.41 };
                observations.push(used_space(name, share, at));
            }
            let runs = vec![RunOf { probe: "filesystem", places: 0..observations.len() }];
            observations.push(counter(device.measured, at));
            // The agent may have died of its own accord; then it collects nothing.
            let _ = life.collected.send(Collected { observations, urgent: false, runs });
        }
    }

    /// Takes what agents said. Now and then, and before a collector dies, what was acked is compared with what is stored.
    fn listen(&mut self) -> Result<(), String> {
        for line in self.trace.take_ledger() {
            self.ledger.note(&line);
        }
        for error in self.trace.errors() {
            let expected = self.refused && error.contains("cannot store");
            if !expected {
                return Err(format!("the product logged an error: {error}"));
            }
        }
        let most = self.devices.iter().map(|device| device.link.figures().1).max().unwrap_or(0);
        if most > CAPACITY * 2 {
            return Err(format!("{most} bytes waited in a stream"));
        }
        if self.begin.elapsed() < self.next_comparison {
            return Ok(());
        }
        self.next_comparison = self.begin.elapsed() + COMPARISON;
        self.compare_acked()
    }

    fn compare_acked(&self) -> Result<(), String> {
        // A collector that was restored from a backup has to be filled again first.
        if self.restored { Ok(()) } else { self.ledger.acked_is_stored(&Stored::read(self.store.records())) }
    }

    async fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::CollectorDies => {
                self.stop_collector().await;
                self.compare_acked()?;
            }
            Act::CollectorStarts => self.start_collector(),
            Act::CollectorRefuses(refuse) => {
                self.refused |= refuse;
                self.store.refuse_commits(refuse);
            }
            Act::BackupIsMade => {
                let copy = self.store.copy();
                copy.refuse_commits(false);
                self.backup = Some(copy);
            }
            Act::BackupIsRestored => {
                if let Some(backup) = &self.backup {
                    self.store = Arc::new(backup.copy());
                    self.restored = true;
                }
            }
            Act::AgentDies(device) => self.kill_agent(device).await,
            Act::AgentIsStopped(device) => self.stop_agent(device).await,
            Act::PowerGoes(device, writes) => self.devices[device].drive.lose_power_after(writes),
            Act::PowerIsGone(device) => {
                self.kill_agent(device).await;
                self.devices[device].drive.cut_power();
            }
            Act::AgentStarts(device) => self.start_agent(device),
            Act::DiskIsFull(device, full) => self.devices[device].drive.set_full(full),
            Act::SyncFails(device, fails) => self.devices[device].drive.set_sync_fails(fails),
            Act::ClockJumps(device, by) => self.devices[device].machine.jump(by),
            Act::StreamIsTorn(device) => self.devices[device].link.tear(),
            Act::StreamIsTornLate(device, later) => self.devices[device].link.tear_late(later),
            Act::LinkIsDead(device, dead) => self.devices[device].link.set_dead(dead),
            Act::LinkIsSlow(device, low, high) => self.devices[device].link.set_latency(low, high),
            Act::LinkFlipsBits(device, percent) => self.devices[device].link.set_flips(percent),
            Act::StreamComesAgain(device) => {
                self.devices[device].link.replay();
            }
            Act::Sleeps(device, asleep) => {
                let device = &mut self.devices[device];
                device.asleep = asleep;
                device.link.set_asleep(asleep);
            }
        }
        Ok(())
    }

    /// From now on nothing fails.
    fn heal(&mut self) {
        self.store.refuse_commits(false);
        for number in 0..DEVICES {
            let device = &mut self.devices[number];
            device.asleep = false;
            device.link.set_asleep(false);
            device.link.set_dead(false);
            device.link.set_flips(0);
            device.link.set_latency(1, 40);
            device.drive.set_full(false);
            device.drive.set_sync_fails(false);
            if self.devices[number].life.is_none() {
                self.start_agent(number);
            }
        }
        if self.service.is_none() {
            self.start_collector();
        }
    }

    fn start_collector(&mut self) {
        let (stop_sender, stop) = watch::channel(false);
        let clock = Arc::clone(&self.clock);
        let (ingest, worker) = worker::start(
            Arc::clone(&self.store) as _,
            Arc::new(move || clock.now()),
            Arc::clone(&self.knowledge),
            Arc::new(Registry::default()),
            Arc::new(Figures::default()),
            Arc::new(|_| ()),
            stop.clone(),
        );
        let random = Mutex::new(Random::new(self.seed, "admission"));
        let draw = move || {
            let mut random = random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            random.between(0, 999_999) as f64 / 1e6
        };
        let service = SessionServer::new(Sessions::new(ingest, Admission::new(Arc::new(draw))))
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        let service = tonic::service::Routes::new(service).into_axum_router();
        let (door, mut arrivals) = mpsc::unbounded_channel::<(usize, End)>();
        let ids: Vec<DeviceId> = self.devices.iter().map(|device| device.id.clone()).collect();
        let connections = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Some((number, end)) = arrivals.recv().await {
                let peer = Peer {
                    address: ([10, 0, 0, u8::try_from(number).unwrap_or(0)], 40_000).into(),
                    device: Some((ids[number].clone(), fingerprint(number))),
                    validity: None,
                };
                let (service, mut stop) = (service.clone(), stop.clone());
                open.spawn(async move {
                    // How a connection ends is the product's business and in the trace.
                    let _ = listener::connection(Kind::Agents, end, peer, service, &mut stop).await;
                });
                while open.try_join_next().is_some() {}
            }
        });
        for device in &self.devices {
            device.link.set_door(Some(door.clone()));
        }
        self.service = Some(Service { worker, connections, _stop: stop_sender });
    }

    /// The process is gone from one moment to the next.
    async fn stop_collector(&mut self) {
        let Some(service) = self.service.take() else { return };
        for device in &self.devices {
            device.link.set_door(None);
            device.link.tear();
        }
        service.worker.abort();
        service.connections.abort();
        // Both end with the abort.
        let _ = (service.worker.await, service.connections.await);
    }

    fn start_agent(&mut self, number: usize) {
        let device = &mut self.devices[number];
        if device.life.is_some() {
            return;
        }
        device.drive.restart();
        device.lives += 1;
        let random = Random::new(self.seed, &format!("agent {number} life {}", device.lives));
        let random = Mutex::new(random);
        let seams = Seams {
            clock: Arc::clone(&device.machine) as _,
            random: Arc::new(move || {
                Ok(random.lock().unwrap_or_else(std::sync::PoisonError::into_inner).bytes())
            }),
            network: Arc::new(Way(Arc::clone(&device.link))),
            disk: Box::new(device.drive.clone()),
        };
        let identity = Identity {
            device_id: device.id.to_string(),
            collector: "simulated:1".to_owned(),
            private_key: String::new(),
            certificate: String::new(),
            authorities: Vec::new(),
        };
        let (waiting, asked) = std::sync::mpsc::sync_channel(64);
        let agent = Agent::new(Settings::default(), identity, seams, Diagnostics::through(waiting));
        let agent = match agent {
            Ok(agent) => agent.at_home(device.home.path()),
            Err(error) => {
                // A disk that refuses everything refuses the start too; the service manager tries again.
                self.trace.act(&format!("agent {number} does not start: {error:#}"));
                return;
            }
        };
        let (collected, found) = mpsc::unbounded_channel();
        let (changed, changes) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            agent
                .run(found, changes, Path::new("/nowhere/agent.toml"), async move {
                    // Dropping the sender is a request too.
                    let _ = stopped.await;
                })
                .await;
        });
        device.life = Some(Life { task, stop: Some(stop), collected, _asked: asked, _changed: changed });
    }

    async fn kill_agent(&mut self, number: usize) {
        let Some(life) = self.devices[number].life.take() else { return };
        life.task.abort();
        // It ends with the abort.
        let _ = life.task.await;
    }

    async fn stop_agent(&mut self, number: usize) {
        let Some(mut life) = self.devices[number].life.take() else { return };
        if let Some(stop) = life.stop.take() {
            // An agent that ended already cannot be asked to.
            let _ = stop.send(());
        }
        let _ = life.task.await;
    }

    /// At the end: everything durable is stored, and the calm device has the tickets that a naive reader expects.
    async fn judge(&mut self) -> Result<(), String> {
        self.listen()?;
        let stored = Stored::read(self.store.records());
        self.ledger.durable_is_stored(&stored)?;
        if !self.restored {
            self.ledger.acked_is_stored(&stored)?;
        }
        let page = Page { limit: 500, after: None };
        let tickets = self.store.tickets(&TicketFilter::default(), &page).await;
        let tickets = tickets.map_err(|error| error.to_string())?.rows;
        for (drive, name) in ["/data", "/home"].iter().enumerate() {
            let expected = episodes(self.seed, 0, drive).len();
            let id = &self.devices[0].id;
            let mine: Vec<_> = tickets
                .iter()
                .filter(|ticket| ticket.device.as_ref() == Some(id))
                .filter(|ticket| {
                    ticket.component.as_ref().is_some_and(|c| c.to_string() == format!("filesystem/{name}"))
                })
                .collect();
            if mine.len() != expected.min(1) {
                return Err(format!("{name} of {id}: {} tickets for {expected} episodes", mine.len()));
            }
            for ticket in mine {
                if !matches!(ticket.state, TicketState::Resolved | TicketState::Closed) {
                    return Err(format!(
                        "{name} of {id}: the ticket is {:?} after the fault is over",
                        ticket.state
                    ));
                }
                let timeline = self.store.timeline(ticket.id).await.map_err(|error| error.to_string())?;
                let count = |kind: &str| timeline.iter().filter(|entry| entry.kind == kind).count();
                let (opened, reopened) = (count("opened"), count("reopened"));
                if (opened, reopened) != (1, expected - 1) {
                    return Err(format!(
                        "{name} of {id}: opened {opened}, reopened {reopened} for {expected} episodes"
                    ));
                }
            }
        }
        Ok(())
    }

    async fn end(mut self) {
        for number in 0..DEVICES {
            self.kill_agent(number).await;
        }
        self.stop_collector().await;
    }
}

/// In memory where the system has it: what is simulated needs no real disk.
fn home() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}

fn fingerprint(number: usize) -> String {
    format!("{number:064x}")
}

async fn enroll(store: &Memory, id: &DeviceId, number: usize, now: Timestamp) {
    let audit = AuditEntry {
        at: now,
        actor: "simulation".to_owned(),
        action: "enroll".to_owned(),
        subject: id.to_string(),
        detail: String::new(),
    };
    let mut hash = [0; 32];
    hash[0] = u8::try_from(number).unwrap_or(0) + 1;
    let token = EnrollmentToken {
        hash,
        uses_left: 1,
        expires_at: now.plus(Duration::from_hours(1)),
        site: Some("oslo".to_owned()),
        created_at: now,
    };
    store.create_token(&token, &audit).await.expect("a token");
    let device = Device {
        id: id.clone(),
        hostname: id.to_string(),
        site: Some("oslo".to_owned()),
        status: DeviceStatus::Active,
        tags: Vec::new(),
        facts: Value::map([("os", Value::from("linux"))]),
        agent_version: String::new(),
        enrolled_at: now,
        last_seen_at: None,
        presence: None,
        certificate_fingerprint: fingerprint(number),
        certificate_not_after: now.plus(Duration::from_hours(720)),
    };
    store.enroll(&hash, &device, now).await.expect("a device");
}

fn used_space(drive: &str, share: f64, at: Timestamp) -> Observation {
    Observation {
        component: format!("filesystem/{drive}").parse::<Component>().expect("a component"),
        observed_at: at,
        body: Body::Sample {
            metric: semconv::FILESYSTEM_UTILIZATION.into(),
            attributes: Attributes::none().with("system.filesystem.type", "ext4"),
            value: share,
        },
    }
}

/// Makes every record another one.
fn counter(number: u64, at: Timestamp) -> Observation {
    Observation {
        component: "agent/0".parse::<Component>().expect("a component"),
        observed_at: at,
        body: Body::Sample {
            metric: "endpoint.simulation.measured".into(),
            attributes: Attributes::none(),
            #[expect(clippy::cast_precision_loss, reason = "a count of minutes")]
            value: number as f64,
        },
    }
}
