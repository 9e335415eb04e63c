//! The service: one loop on one thread that takes what the lanes collect, makes it durable, and drives the stream.
//!
//! Everything that can wake the loop is one arm of its `select!`, in a deliberate order: stop first, then what the
//! collector says, then what was collected, then time.

mod diagnostics;
mod directives;
mod inventory;
mod leaving;
mod ledger;
mod recording;
mod renewal;
mod spooling;
mod status;
mod unspooled;

use crate::cli::{Cli, RunArgs};
use crate::collect::{self, Collected, Lanes, Order, Start, wall_clock};
use crate::config::{self, Settings};
use crate::identity::{self, Identity};
use crate::overhead::Account;
use crate::probe;
use crate::recorder::Recorder;
use crate::seams::{Clock, Network, Random, Seams};
use crate::spool::{Limits, Spool};
use crate::steady::Steady;
use crate::uplink::{self, Happened, Stream};
use crate::{telemetry, trust};
use anyhow::{Context, Result, bail};
pub use diagnostics::{Asked, Diagnostics};
use firstline_agent_core::coalesce::Coalescer;
use firstline_agent_core::policy::Policy;
use firstline_agent_platform::{host, private_file, resident, signal};
use firstline_agent_probes::Root;
use firstline_agent_probes::bus::leaving::Leaving;
use firstline_delivery::{Ack, Event, Sender, SenderConfig, Spooled, Tick};
use firstline_model::{
    Body, Component, ComponentKind, Epoch, Observation, Presence, SequenceNumber, Timestamp, Value,
};
use firstline_proto::v1;
use renewal::{Lineage, Renewal};
use serde_json::json;
use status::Status;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc as channel, oneshot};
use unspooled::Unspooled;

/// How long a record waits for company on the stream: for that of the other lane, which begins at the same second. It is not
/// on disk meanwhile (`spool/held.rs`).
const LINGER: Duration = Duration::from_millis(500);
/// How long what was sent may stay without any ack: then the connection is dead.
const ACK_LIMIT: Duration = Duration::from_secs(20);
/// How often the watermark is made durable and old records are deleted.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// How long after the start its work is done.
const SETTLED: Duration = Duration::from_secs(20);
/// With more records than this from an outage, live data gets an epoch of its own. Less than that is through in a second.
const LONG_OUTAGE: u64 = 256;

pub(crate) fn command(cli: &Cli, args: &RunArgs) -> Result<ExitCode> {
    let data = cli.data_folder();
    let config_path = config::path(args.config.as_deref(), &data);
    trust::establish(&data, Some(&config_path))?;
    let settings = config::load(&config_path, args.config.is_some())?;
    telemetry::start(&settings.log);
    let Some(identity) = identity::load(&data)? else {
        bail!(
            "this machine is not enrolled (no identity in {}); run: firstline-agent enroll ADDRESS",
            data.display()
        );
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let root = probe::root(args.root.as_deref())?;
    let _lock = lock(&data)?;
    runtime.block_on(serve(&data, &config_path, root, settings, identity))?;
    Ok(ExitCode::SUCCESS)
}

/// One agent per data folder: two would number records in one spool and take each other's stream away.
fn lock(data: &Path) -> Result<File> {
    match private_file::lock(data)? {
        Some(lock) => Ok(lock),
        None => bail!("another agent runs with {} already; stop it first", data.display()),
    }
}

async fn serve(
    data: &Path,
    config_path: &Path,
    root: Root,
    settings: Settings,
    identity: Identity,
) -> Result<()> {
    let (collected_sender, collected) = channel::unbounded_channel();
    let (changed_sender, changed) = channel::unbounded_channel();
    let _watch = config::watch(config_path, move || {
        // The loop outlives the watch.
        let _ = changed_sender.send(());
    })
    .map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "changes of the configuration are not noticed")
    });

    let start = Start {
        root,
        state_dir: data.join("state"),
        disabled: settings.disabled.clone(),
        intervals: settings.intervals.clone().into_iter().collect(),
        overrides: settings.overrides.clone(),
        recorder: Arc::new(Mutex::new(Recorder::in_folder(data.join("recorder")))),
    };
    match private_file::ensure_folder(&start.state_dir) {
        Err(error) if error.is_disk_trouble() => {
            tracing::warn!(error = %error, "probes cannot remember anything until the next start");
        }
        made => made?,
    }
    let diagnostics = Diagnostics::start(&start, collected_sender.clone())?;
    let mut agent = Agent::new(settings, identity, Seams::system(data), diagnostics)?.at_home(data);
    agent.lanes =
        Some(Lanes::start(&start, &agent.account, &collected_sender).context("cannot start the probes")?);
    let (news, leaving) = channel::unbounded_channel();
    leaving::listen(start.root.clone(), news).context("cannot listen for sleep")?;
    agent.leaving = leaving;
    agent.status.listen(crate::status::serve(data), wall_clock());
    agent.take(Collected::new(
        vec![
            collect::presence(wall_clock(), Presence::Online),
            Observation {
                component: Component::only(ComponentKind::Os),
                observed_at: wall_clock(),
                body: Body::Facts(Value::map([("hostname", Value::from(host::name()))])),
            },
        ],
        true,
    ));
    tracing::info!(device = agent.identity.device_id, collector = agent.identity.collector, "agent started");
    tokio::spawn(give_back());

    agent.run(collected, changed, config_path, signal::stop_requested()).await;
    Ok(())
}

/// What only the start and rare work needed does not stay in memory.
async fn give_back() {
    let mut wait = SETTLED;
    loop {
        tokio::time::sleep(wait).await;
        resident::give_back();
        wait = HOUSEKEEPING;
    }
}

/// The service, with what it takes from outside of itself.
pub struct Agent {
    clock: Arc<dyn Clock>,
    steady: Steady,
    random: Random,
    network: Arc<dyn Network>,
    settings: Settings,
    identity: Arc<Identity>,
    spool: Spool,
    sender: Sender,
    stream: Option<Stream>,
    streams: u64,
    happened: (channel::Sender<Happened>, channel::Receiver<Happened>),
    lanes: Option<Lanes>,
    account: Account,
    policy: Policy,
    diagnostics: Diagnostics,
    unspooled: Unspooled,
    coalescer: Coalescer,
    inventory: inventory::Inventory,
    /// When everything was last said in full because the collector asked for it.
    whole_said: Option<Duration>,
    /// The disk refused, and is not asked again before this.
    spool_retry: Option<Duration>,
    /// Records that became durable since the disk refused last.
    written_in_a_row: u32,
    status: Status,
    last_housekeeping: Duration,
    /// Why the newest configuration file is not in force.
    refused: Option<String>,
    /// The data folder, where there is one.
    home: Option<PathBuf>,
    lineage: Lineage,
    renewal: Renewal,
    /// What the machine is about to do, as far as it says so.
    leaving: channel::UnboundedReceiver<Leaving>,
    /// The machine is about to sleep, at the latest when it was awake for so long.
    away_until: Option<Duration>,
    /// What is said when the agent stops.
    goodbye: v1::GoodbyeReason,
}

impl Agent {
    /// An agent with what the spool holds, not connected yet.
    pub fn new(
        settings: Settings,
        identity: Identity,
        seams: Seams,
        diagnostics: Diagnostics,
    ) -> Result<Self> {
        let Seams { clock, random, network, disk } = seams;
        let limits = Limits { quota: settings.spool_quota, keep_acked: settings.keep_acked };
        let account = Account::allowing(settings.cpu_hourly);
        let mut spool = Spool::closed(disk, Epoch(random()?), limits);
        let reading = clock.read();
        let steady = Steady::start(clock.wall(), reading, None);
        spool.begin(steady.now(reading), reading.awake);
        let config = SenderConfig { linger: LINGER, ack_timeout: ACK_LIMIT, ..SenderConfig::default() };
        let sender = Sender::try_new(config, tick(&*clock)).context("the delivery settings are refused")?;
        let mut agent = Self {
            last_housekeeping: reading.awake,
            steady,
            home: None,
            lineage: Lineage::begin(random()?),
            renewal: Renewal::default(),
            clock,
            random,
            network,
            settings,
            identity: Arc::new(identity),
            spool,
            sender,
            stream: None,
            streams: 0,
            happened: channel::channel(16),
            lanes: None,
            account,
            policy: Policy::default(),
            diagnostics,
            unspooled: Unspooled::default(),
            coalescer: Coalescer::default(),
            inventory: inventory::Inventory::default(),
            whole_said: None,
            spool_retry: None,
            // The first refusal is said.
            written_in_a_row: spooling::WORKS_AGAIN,
            status: Status::default(),
            refused: None,
            leaving: channel::unbounded_channel().1,
            away_until: None,
            goodbye: v1::GoodbyeReason::Restarting,
        };
        agent.start_spool()?;
        Ok(agent)
    }

    /// Keeps its identity and its place in the chain of streams in this folder, and goes on from what is there.
    #[must_use]
    pub fn at_home(mut self, data: &Path) -> Self {
        self.lineage.continue_from(Lineage::load(data, &self.identity.device_id));
        self.home = Some(data.to_owned());
        self.inventory = inventory::Inventory::at_home(data);
        self.steady = self.steady.at_home(data);
        let reading = self.clock.read();
        self.spool.begin(self.steady.now(reading), reading.awake);
        self
    }

    /// Runs until `stop`.
    pub async fn run(
        mut self,
        mut collected: channel::UnboundedReceiver<Collected>,
        mut changed: channel::UnboundedReceiver<()>,
        config_path: &Path,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        loop {
            self.housekeeping();
            self.drive();
            let wait = self.next_wake();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(leaving) = self.leaving.recv() => self.leave(leaving).await,
                Some(event) = self.happened.1.recv() => self.handle(event),
                Some(found) = collected.recv() => self.take(found),
                Some(()) = changed.recv() => self.reload(config_path),
                reply = self.status.next() => self.answer(reply),
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.stop().await;
    }

    /// Whoever asked may be gone.
    fn answer(&self, reply: oneshot::Sender<String>) {
        let (records, bytes) = self.sender.backlog();
        let _ = reply.send(self.status.line(json!({
            "device": self.identity.device_id,
            "collector": self.identity.collector,
            "records_waiting": records,
            "bytes_waiting": bytes,
            "records_in_memory": self.unspooled.len(),
            "records_left_out": self.unspooled.left_out(),
            "spool_bytes": self.spool.bytes(),
            "policy_revision": self.policy.revision,
            "configuration_refused": self.refused,
            "overhead": self.account.told(),
        })));
    }

    fn tick(&self) -> Tick {
        tick(&*self.clock)
    }

    /// Now, in the time of observations and records.
    fn now(&self) -> Timestamp {
        self.steady.now(self.clock.read())
    }

    /// The stream is over: when to come back is the sender's decision.
    fn disconnected(&mut self) {
        self.stream = None;
        if self.spool.unwritten() > 0 {
            self.write_held();
        }
        let (now, random) = (self.tick(), jitter(&self.random));
        self.sender.handle_disconnected(now, random);
    }

    /// Does what the delivery protocol wants done, unless the machine is about to sleep.
    fn drive(&mut self) {
        if !self.is_away() {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        self.sender.handle_timeout(self.tick());
        while let Some(event) = self.sender.poll_event() {
            match event {
                Event::Connect => {
                    self.put_live_first();
                    self.streams += 1;
                    let mut hello =
                        uplink::hello(&self.sender.hello(), self.clock.wall(), self.policy.revision);
                    hello.lineage = Some(self.lineage.next_hello());
                    let (network, identity) = (Arc::clone(&self.network), Arc::clone(&self.identity));
                    self.stream =
                        Some(Stream::open(self.streams, network, identity, hello, self.happened.0.clone()));
                }
                Event::Disconnect(reason) => {
                    tracing::info!(reason = %reason, "the stream is closed");
                    self.status.disconnected(&reason.to_string(), self.clock.wall());
                    self.disconnected();
                }
                Event::CollectorBehind { epoch, acked, through } => {
                    // What was acked and is nowhere but here is not at the collector any more.
                    self.write_held();
                    tracing::warn!(%epoch, %acked, %through, "the collector was restored from a backup; what is kept is sent again");
                }
                Event::RolledBack { epoch, next, through } => {
                    tracing::warn!(%epoch, %next, %through, "this spool was restored from an old copy; its old records stay behind");
                    self.sender.handle_epoch_removed(epoch);
                }
            }
        }
        while let Some((epoch, through)) = self.sender.poll_commit() {
            let (from_memory, now) = (self.spool.acked_from_memory(epoch, through), self.now());
            ledger::delivered(&mut self.spool, &from_memory, now);
            self.spool.set_watermark(epoch, through);
            ledger::acked(epoch, through);
        }
        while self.stream.as_ref().is_some_and(Stream::has_room) {
            let Some(transmit) = self.sender.poll_transmit(self.tick()) else { break };
            let now = self.now();
            let read = self.spool.read(transmit.epoch, transmit.first, transmit.count, now);
            self.report_news();
            let records = match read {
                Ok(records) => records,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{:#}", anyhow::Error::from(error)),
                        "the spool cannot be read"
                    );
                    self.disconnected();
                    return;
                }
            };
            let batch = v1::Batch {
                epoch: transmit.epoch.0.to_vec(),
                first_seq: transmit.first.0,
                records,
                sent_at_ms: self.now().as_millis(),
                clock_ms: self.clock.wall().as_millis(),
                generation: self.lineage.durable_generation(),
            };
            let message = v1::agent_message::Message::Batch(batch);
            if !self.stream.as_ref().is_some_and(|stream| stream.send(message)) {
                tracing::debug!("the stream ended while sending");
                break;
            }
        }
    }

    /// Records of one epoch are delivered in order, so what is observed from now on would wait for all that an outage left.
    /// A new epoch waits for nothing; the old one drains behind it.
    fn put_live_first(&mut self) {
        let waiting = self.sender.newest_backlog();
        if waiting < LONG_OUTAGE || !self.write_held() {
            return;
        }
        match (self.random)() {
            Ok(name) => {
                self.spool.begin_epoch(Epoch(name));
                self.sender.handle_epoch(Epoch(name), SequenceNumber(0), SequenceNumber(1));
                tracing::info!(waiting, "live data goes first from here on; what waits follows behind it");
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "no new epoch: live data waits for the backlog");
            }
        }
    }

    fn next_wake(&self) -> Duration {
        let now = self.tick();
        let mut wait = HOUSEKEEPING;
        if let Some((at, _)) = self.sender.poll_timeout() {
            wait = wait.min(at.since(now));
        }
        if let Some(until) = self.away_until {
            wait = until.saturating_sub(self.clock.read().awake);
        }
        // What is due for a disk that refuses waits for it.
        if let Some(due) = self.spool_retry.or_else(|| self.spool.held_due()) {
            wait = wait.min(due.saturating_sub(self.clock.read().awake));
        }
        // Timers of the runtime have a resolution of 1 ms; waking just before the time would spin.
        wait + Duration::from_millis(1)
    }

    fn handle(&mut self, event: Happened) {
        match event {
            Happened::Ended { stream, why } => {
                if self.stream.as_ref().is_some_and(|open| open.number() == stream) {
                    tracing::info!(why, "no stream to the collector");
                    self.status.disconnected(&why, self.clock.wall());
                    self.disconnected();
                }
            }
            Happened::Renewed(renewed) => self.renewed(*renewed),
            Happened::Message(message) => match message.message {
                Some(v1::collector_message::Message::Welcome(welcome)) => match uplink::welcome(&welcome)
                    .and_then(|delivery| self.keep_place(&welcome).map(|()| delivery))
                {
                    Ok(welcome) => {
                        tracing::info!(credit = welcome.credit, "stream to the collector is open");
                        self.status.connected(self.clock.wall());
                        self.sender.handle_connected(&welcome, self.tick());
                    }
                    Err(error) => self.drop_stream(&format!("{error:#}")),
                },
                Some(v1::collector_message::Message::Ack(ack)) => match Epoch::from_bytes(&ack.epoch) {
                    Ok(epoch) => {
                        let through = SequenceNumber(ack.through_seq);
                        self.status.acked(self.clock.wall());
                        self.sender.handle_ack(&Ack { epoch, through, credit: ack.credit }, self.tick());
                    }
                    Err(error) => self.drop_stream(&error.to_string()),
                },
                Some(v1::collector_message::Message::Refusal(refusal)) => {
                    tracing::warn!(reason = ?refusal.reason(), text = status::short(&refusal.text), "the collector refused the stream");
                    self.sender.handle_refusal(uplink::refusal(&refusal), self.tick());
                    if refusal.reason() == v1::RefusalReason::Expired {
                        self.renew();
                    }
                }
                Some(v1::collector_message::Message::Directive(directive)) => self.obey(directive),
                Some(v1::collector_message::Message::Trust(trust)) => self.take_trust(trust),
                // A newer collector may say things that this version does not know.
                None => tracing::debug!("the collector sent a message that this version does not know"),
            },
        }
    }

    fn drop_stream(&mut self, why: &str) {
        tracing::warn!(why, "the collector sent something that cannot be");
        self.disconnected();
    }

    fn reload(&mut self, path: &Path) {
        match config::load(path, false) {
            Ok(settings) if settings == self.settings => {}
            Ok(settings) => {
                if settings.log != self.settings.log
                    || settings.disabled != self.settings.disabled
                    || settings.intervals != self.settings.intervals
                    || settings.cpu_hourly != self.settings.cpu_hourly
                {
                    tracing::info!(
                        "log, switched-off probes, intervals and limits take effect at the next start"
                    );
                }
                if let Some(lanes) = &self.lanes {
                    lanes.tell(&Order::Overrides(settings.overrides.clone()));
                }
                self.spool
                    .set_limits(Limits { quota: settings.spool_quota, keep_acked: settings.keep_acked });
                self.settings = settings;
                tracing::info!("configuration reloaded");
            }
            Err(error) => {
                let error = format!("{error:#}");
                // One save of a file is several events of its folder.
                if self.refused.as_ref() != Some(&error) {
                    tracing::warn!(error, "the changed configuration is refused; the one in force stays");
                    self.refused = Some(error);
                }
                return;
            }
        }
        self.refused = None;
    }

    async fn stop(mut self) {
        self.spool_retry = None;
        self.write_waiting();
        self.write_held();
        self.drive();
        if let Some(stream) = self.stream.take() {
            stream.close(self.goodbye).await;
        }
        let (now, awake) = (self.now(), self.clock.read().awake);
        if let Err(error) = self.spool.flush(now, awake) {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "the spool cannot be tidied");
        }
        if !self.unspooled.is_empty() {
            let records = self.unspooled.len() as u64 + self.unspooled.left_out();
            tracing::warn!(records, "the disk refuses to the end; what waited in memory is lost");
        }
        tracing::info!(
            spool_bytes = self.spool.bytes(),
            epoch = %self.spool.current(),
            "agent stopped"
        );
    }
}

fn report(sender: &mut Sender, epoch: Epoch, seq: SequenceNumber, len: usize, urgent: bool, now: Tick) {
    if let Err(fault) = sender.handle_spooled(Spooled { epoch, seq, len, urgent }, now) {
        tracing::error!(%epoch, %seq, fault = %fault, "a spooled record cannot be delivered");
    }
}

fn tick(clock: &dyn Clock) -> Tick {
    Tick(u64::try_from(clock.read().awake.as_millis()).unwrap_or(u64::MAX))
}

/// A number in 0..1 for jitter. Without randomness the longest wait is the harmless choice.
pub(crate) fn jitter(random: &Random) -> f64 {
    let Ok(bytes) = random() else { return 1.0 };
    let [a, b, c, d, ..] = bytes;
    f64::from(u32::from_le_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}
