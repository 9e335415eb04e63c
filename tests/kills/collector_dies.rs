//! The collector is killed and loses power under load: nothing acked is lost, nothing is stored or ticketed twice, and
//! it is back within two seconds.

use firstline_tests::Collector;
use firstline_tests::backlog::now_ms;
use firstline_tests::database::number;
use firstline_tests::effort::effort;
use firstline_tests::figure::{figure, percentile};
use firstline_tests::needs::{Need, met};
use firstline_tests::oracle::fleet::Fleet;
use firstline_tests::oracle::generator::{RULE_FILE, mix};
use firstline_tests::oracle::ledger::Ledger;
use firstline_tests::oracle::verdict::{Counted, judge};
use firstline_tests::volume::{FileSystem, Volume};
use firstline_tests::wait::{pass, seconds};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEVICES: usize = 4;
/// From the start of the program to the first ack that a device hears.
const BACK_WITHIN: Duration = seconds(2);
/// Kills of one collector, before the next one is set up: so that what it has stored stays about as much.
const KILLS_EACH: u64 = 100;
/// The same for power cuts.
const CUTS_EACH: u64 = 10;

/// A collector under load and the ledger of it.
pub(crate) struct Scene {
    pub collector: Collector,
    ledger: Arc<Ledger>,
    pub fleet: Fleet,
    seed: u64,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn under_load(mut collector: Collector, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        figure("oracle.seed", seed, "seed");
        collector.write_knowledge("oracle.toml", RULE_FILE);
        collector.write_knowledge("space.toml", "override = \"fs.space\"\nenabled = false\n");
        collector.start();
        let ledger = Arc::new(Ledger::begin(&folder.path().join("ledger"), seed));
        let url = collector.enrollment_url(&["--uses", "100"]);
        let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
        let fleet = Fleet::started(DEVICES, seed, &ledger, &url, &authority, collector.agents());
        fleet.wait_for_acks(20, seconds(30));
        Self { collector, ledger, fleet, seed, _folder: folder }
    }

    /// A random instant under load.
    fn somewhen(&self, round: u64) {
        let choice = mix(&[self.seed, round, 4]);
        self.fleet.wait_for_acks(1 + choice % 24, seconds(30));
        pass(Duration::from_micros((choice >> 8) % 12_000));
    }

    /// What one transaction makes true together is true together: the mark is that of the last record.
    fn is_in_step(&self, round: u64) {
        let query = "SELECT count(*) FROM mark m WHERE through <>
                     (SELECT max(seq) FROM record r WHERE r.device = m.device AND r.epoch = m.epoch)";
        let apart = number(&self.collector.database(), query);
        assert_eq!(apart, 0, "seed {}, round {round}: marks and records are of different moments", self.seed);
    }

    /// Starts it again; how long it took until a device had an ack.
    fn restart(&mut self) -> Duration {
        let begun = Instant::now();
        self.collector.start();
        self.fleet.lead_to(self.collector.agents());
        self.fleet.wait_for_acks(1, seconds(30));
        begun.elapsed()
    }

    /// The load ends; the oracle judges.
    pub(crate) fn judged(self) -> Counted {
        let Self { mut collector, ledger, fleet, seed, _folder } = self;
        fleet.close(seconds(60));
        collector.stop();
        judge(&ledger, &collector.database(), &["--generated", "--tickets"])
            .unwrap_or_else(|faults| panic!("seed {seed}:\n{faults}"))
    }
}

/// What a campaign found, put together.
#[derive(Default)]
struct Sum {
    records: u64,
    acked: u64,
    tickets: u64,
    restarts: Vec<Duration>,
}

impl Sum {
    fn add(&mut self, counted: Counted) {
        self.records += counted.records;
        self.acked += counted.acked;
        self.tickets += counted.tickets;
    }

    /// The figures; every one was judged by the oracle, which accepts neither a lost nor a doubled one.
    fn report(&self, part: &str) {
        figure(&format!("{part}.faults"), self.restarts.len(), "count");
        figure(&format!("{part}.records"), self.records, "count");
        figure(&format!("{part}.acked"), self.acked, "count");
        figure(&format!("{part}.tickets"), self.tickets, "count");
        figure(&format!("{part}.lost"), 0, "count");
        figure(&format!("{part}.doubled"), 0, "count");
        let p99 = percentile(&format!("{part}.restart_to_first_ack"), 99, &self.restarts);
        assert!(p99 <= BACK_WITHIN, "from restart to the first ack: p99 {p99:?}");
    }
}

fn seed(campaign: u64) -> u64 {
    // A run can be repeated with the seed that it printed.
    let first = std::env::var("REPRO").ok().and_then(|seed| seed.parse().ok());
    first.unwrap_or_else(|| now_ms().unsigned_abs()).wrapping_add(campaign)
}

fn kill_again_and_again(kills: u64) -> Sum {
    let mut sum = Sum::default();
    for campaign in 0..kills.div_ceil(KILLS_EACH) {
        let mut scene = Scene::under_load(Collector::prepared(), seed(campaign));
        for round in 0..KILLS_EACH.min(kills) {
            scene.somewhen(round);
            let begun = now_ms();
            scene.collector.kill();
            scene.is_in_step(round);
            sum.restarts.push(scene.restart());
            scene.ledger.fault("kill", begun, now_ms());
        }
        sum.add(scene.judged());
    }
    sum
}

fn cut_again_and_again(kind: FileSystem, cuts: u64) -> Sum {
    let mut sum = Sum::default();
    for campaign in 0..cuts.div_ceil(CUTS_EACH) {
        let mut volume = Volume::formatted(kind);
        let mut scene = Scene::under_load(Collector::prepared_in(volume.path().join("data")), seed(campaign));
        for round in 0..CUTS_EACH.min(cuts) {
            scene.somewhen(round);
            let begun = now_ms();
            scene.collector.freeze();
            volume.cut_power();
            scene.collector.kill();
            volume.restore_power();
            is_whole(&scene.collector.database());
            scene.is_in_step(round);
            sum.restarts.push(scene.restart());
            scene.ledger.fault("power-cut", begun, now_ms());
        }
        sum.add(scene.judged());
    }
    sum
}

fn is_whole(database: &Path) {
    let faults =
        number(database, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'");
    assert_eq!(faults, 0, "the database is damaged");
}

const ORACLE: Need = Need::Program("python3");
const DISKS: [Need; 5] =
    [ORACLE, Need::Root, Need::Program("xfs_io"), Need::Program("mkfs.xfs"), Need::Program("mkfs.ext4")];

#[test]
fn r21_a_collector_killed_again_and_again_under_load_loses_and_doubles_nothing() {
    if met(&[ORACLE]) {
        kill_again_and_again(effort(200, 2_000)).report("collector_kill");
    }
}

#[test]
fn r21_a_collector_that_loses_power_on_xfs_loses_and_doubles_nothing() {
    if met(&DISKS) {
        cut_again_and_again(FileSystem::Xfs, effort(10, 100)).report("collector_power_cut_xfs");
    }
}

#[test]
fn r21_a_collector_that_loses_power_on_ext4_loses_and_doubles_nothing() {
    if met(&DISKS) {
        cut_again_and_again(FileSystem::Ext4, effort(10, 100)).report("collector_power_cut_ext4");
    }
}
