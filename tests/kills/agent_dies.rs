//! The agent is killed and loses power again and again: every record that it made durable arrives once and unchanged, it
//! always starts again, and soon after a start it hears an ack.
//!
//! The agent is the real one. It reads a captured machine (`--root`) whose memory the test sets anew for each life, so
//! that it says something else each time, and its own ledger lines (`firstline_agent::ledger`) say what became durable.

use firstline_tests::backlog::now_ms;
use firstline_tests::database::stored;
use firstline_tests::effort::effort;
use firstline_tests::figure::{figure, percentile};
use firstline_tests::needs::{Need, met};
use firstline_tests::oracle::generator::mix;
use firstline_tests::oracle::ledger::{Ledger, hex};
use firstline_tests::oracle::verdict::judge;
use firstline_tests::volume::{FileSystem, Volume};
use firstline_tests::wait::{pass, seconds, until_ok};
use firstline_tests::{Agent, Collector};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// From the start of the program to its first ack.
const BACK_WITHIN: Duration = seconds(2);
/// Lives of one agent, before the next one is set up. Each life numbers its records in an epoch of its own, and what is
/// acked is kept for a day.
const LIVES_EACH: u64 = 100;
/// The captured machine's memory: a thousandth of it is a whole number of KiB.
const MEMORY_KIB: u64 = 16_000_000;

pub(crate) struct Scene {
    pub(crate) collector: Collector,
    pub(crate) agent: Agent,
    ledger: Ledger,
    machine: PathBuf,
    config: PathBuf,
    /// The part of the configuration that says what is looked at.
    probes: String,
    synced: Synced,
    written: BTreeSet<(String, u64)>,
    /// Lives that came so far that their memory was told.
    told: u64,
    seed: u64,
    _folder: tempfile::TempDir,
}

/// Which lives have every record on disk before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synced {
    Always,
    /// The others send first, as is usual, and sync what is not acked within a second.
    EveryOther,
}

impl Scene {
    pub(crate) fn with_agent_in(data: Option<&Path>, seed: u64, synced: Synced) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        figure("oracle.seed", seed, "seed");
        let mut collector = Collector::started();
        let url = collector.enrollment_url(&[]);
        let data = data.map_or_else(|| folder.path().join("agent"), Path::to_owned);
        let (machine, config) = (folder.path().join("machine"), folder.path().join("agent.toml"));
        std::fs::create_dir_all(machine.join("proc")).expect("a captured machine");
        let arguments = [OsStr::new("--config"), config.as_ref(), OsStr::new("--root"), machine.as_ref()];
        let agent = Agent::enrolled_in(data, &url).with_arguments(&arguments);
        let ledger = Ledger::begin(&folder.path().join("ledger"), seed);
        ledger.device(agent.device(), 0);
        let _ = collector.rest();
        Self {
            collector,
            agent,
            ledger,
            machine,
            config,
            probes: firstline_tests::agent::probes(&["memory"]),
            synced,
            written: BTreeSet::new(),
            told: 0,
            seed,
            _folder: folder,
        }
    }

    /// From the next life on the agent also reports a long list of packages each time.
    pub(crate) fn reports_inventory(&mut self) {
        self.probes = firstline_tests::agent::probes(&["memory", "software"]);
        let package = |n: u32| {
            format!(
                "Package: a-package-with-a-long-name-{n:05}\nStatus: install ok installed\nVersion: 1.{n}-1\n\n"
            )
        };
        let status = self.machine.join("var/lib/dpkg");
        std::fs::create_dir_all(&status).expect("a captured machine");
        std::fs::write(status.join("status"), (0..12_000).map(package).collect::<String>())
            .expect("a captured machine");
    }

    /// A life begins; what its memory probe must say.
    pub(crate) fn begin(&mut self, round: u64) -> f64 {
        // Shares are told in thousandths; another one in every life.
        let thousandths = mix(&[self.seed, 5]).wrapping_add(round.wrapping_mul(7)) % 1_000;
        let available = MEMORY_KIB - MEMORY_KIB / 1_000 * thousandths;
        let text = format!(
            "MemTotal: {MEMORY_KIB} kB\nMemFree: {available} kB\nMemAvailable: {available} kB\nSwapTotal: 0 kB\n"
        );
        std::fs::write(self.machine.join("proc/meminfo"), text).expect("the captured machine can change");
        let (probes, synced) = (&self.probes, self.synced == Synced::Always || round % 2 == 1);
        let spool = format!("[spool]\nsync_every_record = {synced}");
        std::fs::write(
            &self.config,
            format!("log = \"info,firstline_agent::ledger=debug\"\n{spool}\n{probes}"),
        )
        .expect("a configuration");
        self.agent.start();
        thousandths as f64 / 1_000.0
    }

    /// A random instant of a life that has something to lose. The first life and every fourth of the others wait for their
    /// first ack; how long that took from its start.
    fn somewhen(&mut self, round: u64, begun: Instant) -> Option<Duration> {
        let choice = mix(&[self.seed, round, 6]);
        self.agent.log().wait("a record is durable", seconds(10), is_durable);
        let heard = (round == 0 || choice.is_multiple_of(4)).then(|| {
            self.agent.log().wait("an ack", seconds(10), is_ack);
            begun.elapsed()
        });
        pass(Duration::from_micros((choice >> 8) % 300_000));
        assert!(!self.agent.has_ended(), "seed {}, life {round}: the agent ended by itself", self.seed);
        heard
    }

    /// What a life's log says goes into the ledger.
    pub(crate) fn note(&mut self, log: &[String], said: f64) {
        let mut is_told = false;
        for line in log {
            if let Some((epoch, seq, hash)) = is_durable(line) {
                self.ledger.durable_hash(self.agent.device(), &epoch, seq, &hash);
                self.written.insert((epoch, seq));
                is_told |=
                    field(line, "about").is_some_and(|kinds| kinds.split(',').any(|kind| kind == "memory"));
            } else if let Some((epoch, through)) = is_ack(line) {
                self.ledger.acked(self.agent.device(), &epoch, through);
            }
        }
        if is_told {
            self.ledger.said(self.agent.device(), said);
            self.told += 1;
        }
    }

    /// A last life delivers what is left; the oracle judges. Returns how many records there were.
    pub(crate) fn judged(mut self) -> u64 {
        let said = self.begin(u64::MAX);
        let (database, device) = (self.collector.database(), self.agent.device().to_owned());
        until_ok("everything that was durable arrives", seconds(60), || {
            let there: BTreeSet<(String, u64)> =
                stored(&database, &device).into_keys().map(|(epoch, seq)| (hex(&epoch), seq)).collect();
            let missing = self.written.difference(&there).count();
            if missing == 0 {
                Ok(())
            } else {
                Err(format!("{missing} of {} records are missing", self.written.len()))
            }
        });
        self.agent.log().wait("an ack of this life", seconds(20), is_ack);
        let log = self.agent.stop_for_log();
        self.note(&log, said);
        self.collector.stop();
        let spool = self.agent.spool();
        let spool = spool.to_str().expect("a path that is text");
        let counted = judge(&self.ledger, &database, &["--spool", spool]);
        let records = counted.unwrap_or_else(|faults| panic!("seed {}:\n{faults}", self.seed)).records;
        figure("oracle.lives_told", self.told, "count");
        records
    }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

pub(crate) fn is_durable(line: &str) -> Option<(String, u64, String)> {
    let (_, line) = line.split_once("firstline_agent::ledger: ")?;
    let line = line.strip_prefix("durable").or_else(|| line.strip_prefix("delivered"))?;
    Some((
        field(line, "epoch")?.to_owned(),
        field(line, "seq")?.parse().ok()?,
        field(line, "hash")?.to_owned(),
    ))
}

fn is_ack(line: &str) -> Option<(String, u64)> {
    let line = line.split_once("firstline_agent::ledger: acked")?.1;
    Some((field(line, "epoch")?.to_owned(), field(line, "through")?.parse().ok()?))
}

pub(crate) fn seed(campaign: u64) -> u64 {
    let first = std::env::var("REPRO").ok().and_then(|seed| seed.parse().ok());
    first.unwrap_or_else(|| now_ms().unsigned_abs()).wrapping_add(campaign)
}

/// Lives and deaths of agents: by a kill, or by a power cut of the disk that their data lie on.
fn again_and_again(part: &str, disk: Option<FileSystem>, deaths: u64) {
    let (mut records, mut first_acks) = (0, Vec::new());
    for campaign in 0..deaths.div_ceil(LIVES_EACH) {
        let mut volume = disk.map(Volume::formatted);
        let data = volume.as_ref().map(|volume| volume.path().join("agent"));
        let mut scene = Scene::with_agent_in(data.as_deref(), seed(campaign), Synced::EveryOther);
        for round in 0..LIVES_EACH.min(deaths) {
            let begun = Instant::now();
            let said = scene.begin(round);
            first_acks.extend(scene.somewhen(round, begun));
            let fault = now_ms();
            if let Some(volume) = &mut volume {
                scene.agent.freeze();
                volume.cut_power();
                let log = scene.agent.kill_for_log();
                scene.note(&log, said);
                volume.restore_power();
            } else {
                let log = scene.agent.kill_for_log();
                scene.note(&log, said);
            }
            scene.ledger.fault("death", fault, now_ms());
        }
        records += scene.judged();
    }
    figure(&format!("{part}.faults"), deaths, "count");
    figure(&format!("{part}.records"), records, "count");
    figure(&format!("{part}.lost"), 0, "count");
    figure(&format!("{part}.doubled"), 0, "count");
    let p99 = percentile(&format!("{part}.start_to_first_ack"), 99, &first_acks);
    assert!(p99 <= BACK_WITHIN, "from the start to the first ack: p99 {p99:?}");
}

const ORACLE: Need = Need::Program("python3");

#[test]
fn r22_an_agent_killed_again_and_again_delivers_every_durable_record_once() {
    if met(&[ORACLE]) {
        again_and_again("agent_kill", None, effort(200, 2_000));
    }
}

#[test]
fn r22_an_agent_that_loses_power_on_xfs_delivers_every_durable_record_once() {
    if met(&[ORACLE, Need::Root, Need::Program("xfs_io"), Need::Program("mkfs.xfs")]) {
        again_and_again("agent_power_cut_xfs", Some(FileSystem::Xfs), effort(10, 100));
    }
}

#[test]
fn r22_an_agent_that_loses_power_on_ext4_delivers_every_durable_record_once() {
    if met(&[ORACLE, Need::Root, Need::Program("xfs_io"), Need::Program("mkfs.ext4")]) {
        again_and_again("agent_power_cut_ext4", Some(FileSystem::Ext4), effort(10, 100));
    }
}
